"""The border: a table becomes a panel, or an error that names the rule, the row and what to do.

`tables` finds the columns and reads the cells (`marks`, what vendors write into them), `draft` says what a
rule and a finding are and sets rows aside. `stocks` and `options` put it together for each panel, with the
rules and doubts of the first; `option_rules`, `option_units` and `option_doubts` are those of the second.
Their checks stop at the first broken rule; `find_breaches` lists every one, and the doubts beside them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from qhq.data.checks.draft import Draft, DraftT, Rules, advice, cut_span, find_broken, find_doubts
from qhq.data.checks.option_doubts import OPTION_DOUBTS, READING_DOUBTS
from qhq.data.checks.option_rules import OPTION_RULES
from qhq.data.checks.option_units import UNIT_RULES
from qhq.data.checks.options import draft_options
from qhq.data.checks.stocks import STOCK_DOUBTS, STOCK_RULES, draft_stocks
from qhq.data.columns import PanelKind
from qhq.data.file_format import AS_PANEL, OptionUnits
from qhq.data.quarantine import STRICT, RowDoubt, RowPolicy
from qhq.data.sessions import find_calendar, strays
from qhq.errors import DataError

_Severity = Literal["error", "aside", "warning"]


@dataclass(frozen=True)
class Breach:
    """A rule and the rows that break it.

    Attributes:
        rule: Its code, such as ``duplicate``.
        must: What must hold, or for a warning ought to.
        count: Rows that break it.
        rows: The first of them, as row numbers in the file; the first below the header is 1.
        example: What came in the first of them.
        fix: What the user can do.
        severity: ``error`` keeps the data out of training, ``aside`` the rows alone, ``warning`` nothing.
        every: All rows that are left out for it, as row numbers; one may break several rules.
    """

    rule: str
    must: str
    count: int
    rows: tuple[int, ...]
    example: str
    fix: str
    severity: _Severity
    every: frozenset[int] = field(default=frozenset(), repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, with the first rows alone."""
        return {name: value for name, value in asdict(self).items() if name != "every"}


def rows_aside(breaches: Iterable[Breach]) -> int:
    """How many rows a training leaves out: each once, however many rules it breaks."""
    return len(frozenset[int]().union(*(each.every for each in breaches if each.severity == "aside")))


def find_breaches(
    frame: pd.DataFrame,
    origin: str,
    kind: PanelKind,
    policy: RowPolicy = STRICT,
    *,
    units: OptionUnits = AS_PANEL,
    read: Collection[str] | None = None,
) -> list[Breach]:
    """Check every rule on every row: errors first, then rows that are set aside, then doubts.

    Args:
        frame: A table, as ``check_panel`` or ``check_options`` take it; its index is not looked at.
        origin: Where it came from.
        kind: Which of the two panels it should be.
        policy: What to do with rows that break a rule; under the strict one every broken rule is an error.
        units: Units of an option file.
        read: Columns of stocks that a training reads; None is all. What is wrong in another one concerns
            only a config that reads it, and is no error.

    Raises:
        DataError: If needed columns are missing, or it has no rows.
        ConfigError: If there is no such calendar.
    """
    if kind == "stocks":
        draft = cut_span(draft_stocks(frame, origin, signed=policy.signed), policy.span)
        found, stocks = _sorted_out(draft, STOCK_RULES, policy, read)
        stocks = replace(stocks, calendar=policy.calendar)
        return [*_wrong_calendar(stocks), *found, *_as_breaches(find_doubts(stocks, STOCK_DOUBTS), "warning")]
    options = cut_span(draft_options(frame, origin, units=units), policy.span)
    misread = _as_breaches(find_doubts(options, UNIT_RULES), "error")
    found, options = _sorted_out(options, OPTION_RULES, policy)
    options = replace(options, calendar=policy.calendar)
    doubts = find_doubts(options, {**OPTION_DOUBTS, **READING_DOUBTS})
    return [*misread, *_wrong_calendar(options), *found, *_as_breaches(doubts, "warning")]


def _wrong_calendar(draft: Draft) -> list[Breach]:
    """A calendar that the config names and that is not the rows' own: a training refuses them."""
    known = draft.dates[~np.isnat(draft.dates)]
    if draft.calendar is None or not len(known):
        return []
    try:
        find_calendar(known, draft.calendar)
    except DataError as error:
        beside = strays(draft.dates, draft.calendar)
        # Of bars of weeks, say, all are meant.
        rows = tuple(int(row) for row in draft.rows[beside if beside.any() else slice(None)])
        return [Breach("calendar", error.must, len(rows), rows[:10], error.got, error.fix, "error")]
    return []


def _sorted_out(
    draft: DraftT, rules: Rules[DraftT], policy: RowPolicy, read: Collection[str] | None = None
) -> tuple[list[Breach], DraftT]:
    """Broken rules, all that count as errors if they are more than may be set aside; and the rows left."""
    broken, kept = find_broken(draft, rules, policy, read)
    unread = [
        [] if read is None else [name for name in each.finding.columns if name not in read] for each in broken
    ]
    counts = [each.reason.count if each.reason.counted else 0 for each in broken]
    for_all = sum(count for count, others in zip(counts, unread, strict=True) if not others)
    found = []
    for each, count, others in zip(broken, counts, unread, strict=True):
        # A column that no given config reads costs rows only to one that does, so that its rows are not added
        # to those of another such column.
        fits = policy.allows(for_all + (count if others else 0), len(draft.rows))
        aside = not each.refused and (fits or not each.reason.counted)
        where = f"a config that reads {' and '.join(others)}" if others else ""
        facts = (each.reason.must, len(each.finding.rows), each.reason.rows, each.reason.example)
        cure = advice(each.finding, policy)
        if aside:
            fix = f"None is needed: {where or 'training'} leaves these rows out (data.bad_rows)"
            fix += f". To keep them: {cure[0].lower()}{cure[1:]}" if policy.editable else ""
        else:
            fix = f"Only {where} refuses the file for it. There: {cure}" if others else cure
        severity: _Severity = "aside" if aside else "warning" if others else "error"
        found.append(Breach(each.rule, *facts, fix, severity, each.rows))
    order = ("error", "aside", "warning")
    return sorted(found, key=lambda breach: order.index(breach.severity)), kept


def _as_breaches(doubts: Iterable[RowDoubt], severity: _Severity) -> list[Breach]:
    return [
        Breach(each.rule, each.must, each.count, each.rows, each.example, each.fix, severity)
        for each in doubts
    ]
