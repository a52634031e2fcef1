"""Rows on their way into a panel: what a rule finds in them, and what is set aside or refused for it.

A rule is a function that tells of the rows that break it, the first of them in words. Rows that keep every
rule become the panel; the others are set aside with the reason, or an error refuses them all. Whether a row
is bad is decided by that row and those before it, so that what comes later never moves what a model trained
until then has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date
from typing import Any, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from qhq.data.columns import unit_of
from qhq.data.marks import explain_cell
from qhq.data.panel import DateArray, FloatArray, IntArray, Mask
from qhq.data.quarantine import Quarantine, Reason, RowDoubt, RowPolicy, percent_of
from qhq.errors import DataError, apart, is_printable


def close_stands_in(table: pd.DataFrame) -> bool:
    """Whether a table that was read from a file has its close in the place of an adjusted close."""
    headers = table.attrs.get("headers", {})
    return "close" in headers and headers.get("adj_close") == headers["close"]


@dataclass(frozen=True, eq=False)
class Draft:
    """Rows on their way into a panel: R rows, by symbol and date, not yet to be trusted.

    Attributes:
        symbols: Names that ``code`` points into.
        columns: Names of the C columns.
        code: Index into ``symbols``, shape (R,).
        dates: datetime64[D], NaT where a date could not be read, shape (R,).
        values: NaN where a number could not be read, shape (R, C).
        rows: Row number in the file, the first below the header is 1, shape (R,).
        origin: The file.
        unreadable: Whether a cell holds something that cannot be read, shape (R, C).
        signed: Whether prices may be below zero: nothing takes their logarithms.
        table: The table it was made of, under the names of the schema: row n of the file is its row n - 1.
            An index named ``line`` is the line of the file; ``attrs['headers']`` are the file's own names.
        calendar: Name of the exchange's calendar that the config gives; None if it gives none.
    """

    symbols: tuple[str, ...]
    columns: tuple[str, ...]
    code: npt.NDArray[np.intp]
    dates: npt.NDArray[np.datetime64]
    values: FloatArray
    rows: npt.NDArray[np.intp]
    origin: str
    unreadable: Mask
    signed: bool
    table: pd.DataFrame
    calendar: str | None = field(default=None, kw_only=True)

    def at(self, row: int) -> str:
        """Name one row for people: by symbol and date, and as a person counts in the file."""
        symbol = self.symbols[self.code[row]]
        day = "" if np.isnat(self.dates[row]) else f" on {self.dates[row]}"
        return f"{symbol}{day} ({self.place(row)})"

    def place(self, row: int) -> str:
        """Where a row stands in the file: the first below the header is row 1, the first line is line 1."""
        number = int(self.rows[row])
        line = f", line {self.table.index[number - 1]}" if self.table.index.name == "line" else ""
        return f"row {number} of {self.origin}{line}"

    def cell(self, row: int, name: str) -> str:
        """Text of a cell as it stands in the file; '' where it is empty or the column is not there."""
        if name not in self.table.columns:
            return ""
        value = self.table[name].iloc[int(self.rows[row]) - 1]
        if not pd.isna(value):
            return str(value).strip()
        words = self.table.attrs.get("words", {}).get(name, {})
        return str(words.get(int(self.table.index[int(self.rows[row]) - 1]), "")) if words else ""

    def called(self, name: str) -> str:
        """Name of a column in rules; that of the close where it substitutes for a missing adjusted close."""
        return "close" if name == "adj_close" and close_stands_in(self.table) else name

    def header(self, name: str) -> str:
        """Name of a column in the file."""
        return str(self.table.attrs.get("headers", {}).get(name, name))

    def show(self, row: int, name: str) -> str:
        """Show a cell that cannot be read: its text, column, place and likely cause."""
        header, cell = self.header(name), self.cell(row, name)
        cause, _ = explain_cell(cell, unit_of(name))
        shown = f"'{cell}' in column '{header}'" if cell else f"nothing in column '{header}'"
        return f"{shown} for {self.at(row)}: {cause}"

    def cure(self, row: int, name: str) -> str:
        """What to do about a cell that cannot be read."""
        order = self.table.attrs.get("dates")
        if unit_of(name) == "date" and order and self.cell(row, name):
            return f"Correct the cell, or set data.format.dates to another order than {order}, which is set"
        return explain_cell(self.cell(row, name), unit_of(name))[1]

    def column(self, name: str) -> FloatArray:
        """Values of a column, all NaN where there is none, shape (R,)."""
        if name not in self.columns:
            return np.full(len(self.code), np.nan)
        return self.values[:, self.columns.index(name)]

    def keep(self, rows: Mask) -> Self:
        """Copy out the rows of a mask of shape (R,); names keep their numbers."""
        parts: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        arrays = {name: part[rows] for name, part in parts.items() if isinstance(part, np.ndarray)}
        return replace(self, **(parts | arrays))

    def follows(self) -> Mask:
        """Whether each row has a row before it in its series, shape (R,)."""
        follows = np.zeros(len(self.code), dtype=np.bool_)
        follows[1:] = self.code[1:] == self.code[:-1]
        return follows


@dataclass(frozen=True, eq=False)
class RowFinding:
    """A broken rule, in the three parts of an error.

    Attributes:
        must: What must hold.
        rows: Positions in the draft of the rows where it does not, ascending, at least one.
        got: What came in the first of them.
        fix: What the user can do.
        aside: Positions of the rows to set aside, where they are not ``rows``.
        misread: Whether it points at a wrong reading of the file rather than at a wrong row
            (``RowPolicy.bad_rows``).
        unusable: Whether no policy but an explicit one may set the rows aside: they are real.
        counted: Whether the rows count towards ``data.bad_rows_limit``.
        columns: Columns that it is about: it holds only where all of them are read. Empty is the row itself.
    """

    must: str
    rows: npt.NDArray[np.intp]
    got: str
    fix: str
    aside: npt.NDArray[np.intp] | None = None
    misread: bool = False
    unusable: bool = False
    counted: bool = True
    columns: tuple[str, ...] = ()


DraftT = TypeVar("DraftT", bound=Draft)
Rules = Mapping[str, Callable[[DraftT], Iterator[RowFinding]]]

DROP_ROW = "Correct or drop that row"
# Relative difference of two numbers that say the same.
_EQUAL = 1e-9
ROUNDED = 1e-3
"""Relative difference of two prices of a day that rounding to the cent, or an adjustment, can make."""


def find_rows(
    broken: Mask,
    must: str,
    got: Callable[[int], str],
    fix: str = DROP_ROW,
    *,
    misread: bool = False,
    columns: tuple[str, ...] = (),
) -> Iterator[RowFinding]:
    """Tell of the rows of a mask, if there are any; ``got`` describes one of them."""
    rows = np.flatnonzero(broken)
    if len(rows):
        yield RowFinding(must, rows, got(int(rows[0])), fix, misread=misread, columns=columns)


def check_letters(draft: Draft, names: Sequence[str], codes: IntArray, noun: str) -> Iterator[RowFinding]:
    """Every name can be seen: no record of a run holds one that turns a line round or that a terminal obeys.

    Args:
        draft: Its rows.
        names: Of its series, or of their groups.
        codes: Which of them a row has, shape (R,).
        noun: What they are names of.
    """
    hidden = np.array([not is_printable(name) for name in names], dtype=np.bool_)
    yield from find_rows(
        hidden[codes],
        f"Every {noun} must be text that can be printed",
        lambda row: f"{names[codes[row]]!r} in {draft.place(row)}",  # repr escapes just these
        "Rename it in the file: it holds characters that nobody sees, such as a mark of direction",
    )


def check_dates(draft: Draft) -> Iterator[RowFinding]:
    """Every row has a date."""
    rows = np.flatnonzero(np.isnat(draft.dates))
    if len(rows):
        first = int(rows[0])
        fix = f"{draft.cure(first, 'date')} ({len(rows):,} in all)"
        must = "Every row must have a date that can be read"
        yield RowFinding(must, rows, draft.show(first, "date"), fix, misread=True)


def check_duplicates(draft: Draft, noun: str = "symbol") -> Iterator[RowFinding]:
    """No date comes twice in a series; the rows named are the later ones.

    Of rows that say the same, one stays. Of rows that differ none can be trusted, so none does.
    """
    same = draft.follows()
    same[1:] &= draft.dates[1:] == draft.dates[:-1]
    later = np.flatnonzero(same)
    if not len(later):
        return
    # Not exact: vendors write the same price with more or fewer digits.
    one, other = draft.values[later], draft.values[later - 1]
    differs = np.zeros(len(same), dtype=np.bool_)
    differs[later] = ~(np.isclose(one, other, rtol=_EQUAL, atol=0, equal_nan=True)).all(axis=1)
    # A day on which any two rows differ goes as a whole, so that the order in the file decides nothing.
    day = np.cumsum(~same) - 1  # the number of each (series, date)
    torn = np.bincount(day, weights=differs)[day] > 0
    for later_ones, aside in ((same & torn, torn), (same & ~torn, same & ~torn)):
        rows = np.flatnonzero(later_ones)
        if len(rows):
            row = int(rows[0])
            yield RowFinding(
                f"A {noun} must have one row a date",
                rows,
                f"{draft.at(row - 1)} and again in row {draft.rows[row]}{_difference(draft, row)}",
                f"{'Keep the right one of each' if torn[row] else 'Drop the doubles'}, {len(later)} in all",
                aside=np.flatnonzero(aside),
                counted=bool(torn[row]),
            )


def _difference(draft: Draft, row: int) -> str:
    """Say where a row and the one before it differ; '' where they say the same."""
    one, other = draft.values[row - 1], draft.values[row]
    differ = np.flatnonzero(~np.isclose(one, other, rtol=_EQUAL, atol=0, equal_nan=True))
    pairs = [f"{draft.columns[place]} {one[place]:.10g} and {other[place]:.10g}" for place in differ[:3]]
    return f" ({', '.join(pairs)})" if pairs else ""


def check_bounds(draft: Draft, names: tuple[str, ...], *, zero: bool) -> Iterator[RowFinding]:
    """Columns are above zero, or zero or more with ``zero``."""
    for name in draft.columns:
        if name in names:
            values = draft.column(name)
            yield from find_rows(
                values < 0 if zero else values <= 0,
                f"'{name}' must be {'zero or more' if zero else 'above zero'}",
                lambda row, values=values: f"{values[row]:g} for {draft.at(row)}",  # type: ignore[misc]
                columns=(name,),
            )


def check_order(draft: Draft, below: str, above: str, rounded: float = 0.0) -> Iterator[RowFinding]:
    """One column does not exceed another by more than a relative error, where both have a value."""
    low, high = draft.column(below), draft.column(above)
    return find_rows(
        low - high > rounded * np.abs(high),
        f"'{below}' must not exceed '{above}'",
        lambda row: f"{' > '.join(apart(low[row], high[row], digits=6))} for {draft.at(row)}",
        columns=(below, above),
    )


def today() -> np.datetime64:
    """Today's date in UTC, which no exchange of stock options is ahead of while it trades."""
    return np.datetime64("today", "D")


def check_future(draft: Draft) -> Iterator[RowFinding]:
    """No row lies after today."""
    return find_rows(
        draft.dates > today(),
        "'date' must not lie after today",
        lambda row: f"{draft.dates[row]} with today {today()}, for {draft.at(row)}",
        misread=True,
    )


# Rows are set aside, or all refused.

_SHOWN_ROWS = 10

# Rules whose breach leaves in doubt that a row's date was a session.
_UNDATED = frozenset({"date", "future", "name", "duplicate", "expiry", "quote_time"})


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
    """A finding, and how many rows of it no rule before had set aside.

    ``rows`` are all rows that it sets aside, as row numbers in the file.
    """

    rule: str
    finding: RowFinding
    reason: Reason
    refused: bool
    rows: frozenset[int]


# How far outside the sessions a start or end may lie: a week of weekend and holidays.
_EDGE = np.timedelta64(7, "D")


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
        # A row without a date may belong to the span: it stays, for the rule that tells of it.
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
            # Each rule judges what the rules before it left, or one bad row would be reported several times.
            missed += [] if code in _UNDATED else [draft.dates[bad]]
            draft = draft.keep(~bad)
    quarantine = Quarantine(draft.origin, checked, tuple(each.reason for each in broken if each.reason.count))
    if not policy.allows(quarantine.counted, checked):
        raise _too_many(broken, quarantine, policy)
    return Sifted(draft, quarantine, np.unique(np.concatenate(missed)))


def find_broken(
    draft: DraftT, rules: Rules[DraftT], policy: RowPolicy, read: Collection[str] | None = None
) -> tuple[list[Broken], DraftT]:
    """Tell of every broken rule, in order, and give back the rows that are left when it is not refused.

    A row that is bad in a column that is not among ``read`` stays: a training keeps it.
    """
    broken: list[Broken] = []
    for code, rule in rules.items():
        found = list(_tell(draft, code, rule(draft), np.zeros(len(draft.rows), dtype=np.bool_), policy))
        broken += found
        if policy.bad_rows != "refuse":
            kept = np.ones(len(draft.rows), dtype=np.bool_)
            for finding in (each.finding for each in found):
                if read is None or set(finding.columns) <= set(read):
                    kept[finding.rows if finding.aside is None else finding.aside] = False
            draft = draft.keep(kept)
    return broken, draft


def _tell(
    draft: DraftT, code: str, findings: Iterator[RowFinding], bad: np.ndarray, policy: RowPolicy
) -> Iterator[Broken]:
    """Mark the rows of each finding in ``bad``; a row counts for the first that it breaks."""
    for finding in findings:
        aside = finding.rows if finding.aside is None else finding.aside
        new = aside[~bad[aside]]
        bad[new] = True
        rows = tuple(int(row) for row in draft.rows[finding.rows[:_SHOWN_ROWS]])
        reason = Reason(code, finding.must, len(new), rows, finding.got, finding.counted)
        every = frozenset(draft.rows[aside].tolist())
        yield Broken(code, finding, reason, _is_refused(finding, policy), every)


def _is_refused(finding: RowFinding, policy: RowPolicy) -> bool:
    """Whether a policy takes no data with such a row, however few there are."""
    if policy.bad_rows == "quarantine":
        return False
    return policy.bad_rows == "refuse" or finding.unusable or (finding.misread and policy.editable)


def advice(finding: RowFinding, policy: RowPolicy) -> str:
    """What to do about a row: nobody can correct one of a source that is not a file of their own."""
    if policy.editable or finding.unusable or finding.fix != DROP_ROW:
        return finding.fix
    return "Set data.bad_rows: quarantine, which leaves such rows out, or choose other data.symbols or dates"


def _too_many(broken: list[Broken], quarantine: Quarantine, policy: RowPolicy) -> DataError:
    """The error of data with more bad rows than may be set aside, with the rule that most break."""
    counted = [each for each in broken if each.reason.counted and each.reason.count]
    main = max(counted, key=lambda each: each.reason.count).finding
    bad, checked = quarantine.counted, quarantine.checked
    by_rule = ", ".join(f"{each.reason.count:,} '{each.rule}'" for each in counted)
    # Rounded up, so that the limit that the message names is enough.
    enough = np.ceil(1000 * bad / checked) / 1000
    fix = main.fix if policy.editable else "Choose other data.symbols, columns or dates"
    return DataError(
        main.must,
        got=(
            f"{main.got}. In all {bad:,} of {checked:,} rows of {quarantine.origin} break a rule"
            f" ({percent_of(bad, checked)}: {by_rule}), where data.bad_rows_limit sets aside at most"
            f" {policy.limit:.3g}"
        ),
        fix=f"{fix}; 'qhq data check' lists them. data.bad_rows_limit: {enough:g} would leave them out",
    )


def find_doubts(draft: DraftT, rules: Rules[DraftT]) -> tuple[RowDoubt, ...]:
    """Tell of everything that ought to be looked at."""
    return tuple(
        RowDoubt(
            code,
            finding.must,
            len(finding.rows),
            tuple(int(row) for row in draft.rows[finding.rows[:_SHOWN_ROWS]]),
            finding.got,
            finding.fix,
        )
        for code, rule in rules.items()
        for finding in rule(draft)
    )
