"""Rows that keep every rule, the others set aside with the reason; or the error that refuses them all.

Whether a row is bad is decided by that row and those before it, so that what comes later never moves what a
model trained until then has seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Generic

import numpy as np

from qhq.data.checks.rules import DROP_ROW, DraftT, Finding, Rules
from qhq.data.panel import DateArray
from qhq.data.quarantine import Doubt, Quarantine, Reason, RowPolicy, share
from qhq.errors import DataError

SHOWN_ROWS = 10

_UNDATED = frozenset({"date", "future", "name", "duplicate", "expiry", "quote_time"})
"""Rules whose breach leaves in doubt that a row's date was a session."""


@dataclass(frozen=True, eq=False)
class Sifted(Generic[DraftT]):
    """A draft that keeps every rule.

    Attributes:
        draft: The rows that do.
        quarantine: The others.
        missed: Dates of rows set aside, on which no other row need be left; sessions all the same, so that
            the gap is one. datetime64[D].
    """

    draft: DraftT
    quarantine: Quarantine
    missed: DateArray


@dataclass(frozen=True)
class Broken:
    """A finding, and how many rows of it no rule before had set aside."""

    rule: str
    finding: Finding
    reason: Reason
    refused: bool


_EDGE = np.timedelta64(7, "D")
"""How far outside the sessions a start or end may lie: a week of weekend and holidays."""


def cut_span(draft: DraftT, span: tuple[date | None, date | None]) -> DraftT:
    """Leave out the rows before ``data.start`` and after ``data.end``, so that no rule looks at them.

    Raises:
        DataError: If one of the two lies outside the rows: cutting would pretend to years that are not there.
    """
    if span == (None, None):
        return draft
    dated = ~np.isnat(draft.dates)
    inside = np.ones(len(dated), dtype=np.bool_)
    for key, day in zip(("start", "end"), span, strict=True):
        if day is None or not dated.any():
            continue
        first, last = draft.dates[dated].min(), draft.dates[dated].max()
        limit = np.datetime64(day, "D")
        if not first - _EDGE <= limit <= last + _EDGE:
            raise DataError(
                f"data.{key} must lie in the span of the data",
                got=f"{day}, where the rows of {draft.origin} run from {first} to {last}",
                fix=f"Choose a date in that span, or leave data.{key} out",
            )
        inside &= ~dated | (draft.dates >= limit if key == "start" else draft.dates <= limit)
    return draft.keep(inside)


def sift(draft: DraftT, rules: Rules[DraftT], policy: RowPolicy) -> Sifted[DraftT]:
    """Set the rows aside that break a rule.

    Raises:
        DataError: If ``policy.span`` lies outside the rows; at the first broken rule whose rows ``policy``
            does not let be set aside; or if they are too many.
    """
    draft = cut_span(draft, policy.span)
    if policy.bad_rows == "refuse":
        for rule in rules.values():
            for finding in rule(draft):
                raise DataError(finding.must, got=finding.got, fix=advice(finding, policy))
        return Sifted(draft, Quarantine(draft.origin, len(draft.rows)), draft.dates[:0])
    checked, broken = len(draft.rows), []
    missed = [draft.dates[:0]]
    for code, rule in rules.items():
        bad = np.zeros(len(draft.rows), dtype=np.bool_)
        for each in _tell(draft, code, rule(draft), bad, policy):
            broken.append(each)
            if each.refused:
                raise DataError(each.finding.must, got=each.finding.got, fix=advice(each.finding, policy))
        if bad.any():
            missed += [] if code in _UNDATED else [draft.dates[bad]]
            draft = draft.keep(~bad)
    quarantine = Quarantine(draft.origin, checked, tuple(each.reason for each in broken if each.reason.count))
    if not policy.allows(quarantine.counted, checked):
        raise too_many(broken, quarantine, policy)
    return Sifted(draft, quarantine, np.unique(np.concatenate(missed)))


def find_broken(
    draft: DraftT, rules: Rules[DraftT], policy: RowPolicy, read: Collection[str] | None = None
) -> tuple[list[Broken], DraftT]:
    """Tell of every broken rule, in order, and give back the rows that are left when it is not refused.

    A row that is bad in a column that is not among ``read`` stays: a training keeps it.
    """
    broken: list[Broken] = []
    for code, rule in rules.items():
        told = list(_tell(draft, code, rule(draft), np.zeros(len(draft.rows), dtype=np.bool_), policy))
        broken += told
        if policy.bad_rows != "refuse":
            kept = np.ones(len(draft.rows), dtype=np.bool_)
            for finding in (each.finding for each in told):
                if read is None or set(finding.columns) <= set(read):
                    kept[finding.rows if finding.aside is None else finding.aside] = False
            draft = draft.keep(kept)
    return broken, draft


def _tell(
    draft: DraftT, code: str, findings: Iterator[Finding], bad: np.ndarray, policy: RowPolicy
) -> Iterator[Broken]:
    """Mark the rows of each finding in ``bad``; a row counts for the first that it breaks."""
    for finding in findings:
        aside = finding.rows if finding.aside is None else finding.aside
        new = aside[~bad[aside]]
        bad[new] = True
        rows = tuple(int(row) for row in draft.rows[finding.rows[:SHOWN_ROWS]])
        reason = Reason(code, finding.must, len(new), rows, finding.got, finding.counted)
        yield Broken(code, finding, reason, is_refused(finding, policy))


def is_refused(finding: Finding, policy: RowPolicy) -> bool:
    """Whether a policy takes no data with such a row, however few there are."""
    if policy.bad_rows == "quarantine":
        return False
    return policy.bad_rows == "refuse" or finding.unusable or (finding.misread and policy.editable)


def advice(finding: Finding, policy: RowPolicy) -> str:
    """What to do about a row: nobody can correct one of a source that is not a file of their own."""
    if policy.editable or finding.unusable or finding.fix != DROP_ROW:
        return finding.fix
    return "Set data.bad_rows: quarantine, which leaves such rows out, or choose other data.symbols or dates"


def too_many(broken: list[Broken], quarantine: Quarantine, policy: RowPolicy) -> DataError:
    """The error of data with more bad rows than may be set aside, told by the rule that most break."""
    counted = [each for each in broken if each.reason.counted and each.reason.count]
    main = max(counted, key=lambda each: each.reason.count).finding
    bad, checked = quarantine.counted, quarantine.checked
    by_rule = ", ".join(f"{each.reason.count:,} '{each.rule}'" for each in counted)
    enough = np.ceil(1000 * bad / checked) / 1000
    fix = main.fix if policy.editable else "Choose other data.symbols, columns or dates"
    return DataError(
        main.must,
        got=(
            f"{main.got}. In all {bad:,} of {checked:,} rows of {quarantine.origin} break a rule"
            f" ({share(bad, checked)}: {by_rule}), where data.bad_rows_limit sets aside at most"
            f" {policy.limit:.3g}"
        ),
        fix=f"{fix}; 'qhq data check' lists them. data.bad_rows_limit: {enough:g} would leave them out",
    )


def find_doubts(draft: DraftT, rules: Rules[DraftT]) -> tuple[Doubt, ...]:
    """Tell of everything that ought to be looked at."""
    return tuple(
        Doubt(
            code,
            finding.must,
            len(finding.rows),
            tuple(int(row) for row in draft.rows[finding.rows[:SHOWN_ROWS]]),
            finding.got,
            finding.fix,
        )
        for code, rule in rules.items()
        for finding in rule(draft)
    )
