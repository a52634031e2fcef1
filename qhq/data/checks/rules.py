"""The rules that rows must keep: each finds the rows that break it, and names the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from qhq.data.checks.marks import explain_cell
from qhq.data.schema import PRICES, unit_of

Mask = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]


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
        """Name of a column in rules: an adjusted close for which the close stands is a close."""
        headers = self.table.attrs.get("headers", {})
        stands_in = name == "adj_close" and "close" in headers and headers.get(name) == headers["close"]
        return "close" if stands_in else name

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
class Finding:
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
Rules = Mapping[str, Callable[[DraftT], Iterator[Finding]]]

DROP_ROW = "Correct or drop that row"
EQUAL = 1e-9
"""Relative difference of two numbers that say the same."""
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
) -> Iterator[Finding]:
    """Tell of the rows of a mask, if there are any; ``got`` describes one of them."""
    rows = np.flatnonzero(broken)
    if len(rows):
        yield Finding(must, rows, got(int(rows[0])), fix, misread=misread, columns=columns)


def _check_names(draft: Draft) -> Iterator[Finding]:
    """Every row names its symbol."""
    nameless = np.array([not name for name in draft.symbols], dtype=np.bool_)[draft.code]
    return find_rows(
        nameless,
        "Every row must name its symbol",
        lambda row: f"nothing in column '{draft.header('symbol')}' of {draft.place(row)}",
        "Download the file again: it was probably cut off. data.format.symbol names that of a file of one",
    )


def check_dates(draft: Draft) -> Iterator[Finding]:
    """Every row has a date."""
    rows = np.flatnonzero(np.isnat(draft.dates))
    if len(rows):
        first = int(rows[0])
        fix = f"{draft.cure(first, 'date')} ({len(rows):,} in all)"
        must = "Every row must have a date that can be read"
        yield Finding(must, rows, draft.show(first, "date"), fix, misread=True)


def check_duplicates(draft: Draft, noun: str = "symbol") -> Iterator[Finding]:
    """No date comes twice in a series; the rows told of are the later ones.

    Of rows that say the same, one stays. Of rows that differ none can be trusted, so none does.
    """
    same = draft.follows()
    same[1:] &= draft.dates[1:] == draft.dates[:-1]
    later = np.flatnonzero(same)
    if not len(later):
        return
    one, other = draft.values[later], draft.values[later - 1]
    differs = np.zeros(len(same), dtype=np.bool_)
    differs[later] = ~(np.isclose(one, other, rtol=EQUAL, atol=0, equal_nan=True)).all(axis=1)
    day = np.cumsum(~same) - 1  # the number of each (series, date)
    torn = np.bincount(day, weights=differs)[day] > 0
    for told, aside in ((same & torn, torn), (same & ~torn, same & ~torn)):
        rows = np.flatnonzero(told)
        if len(rows):
            row = int(rows[0])
            yield Finding(
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
    differ = np.flatnonzero(~np.isclose(one, other, rtol=EQUAL, atol=0, equal_nan=True))
    told = [f"{draft.columns[place]} {one[place]:.10g} and {other[place]:.10g}" for place in differ[:3]]
    return f" ({', '.join(told)})" if told else ""


def check_readable(draft: Draft) -> Iterator[Finding]:
    """What stands in a cell of numbers is a number."""
    yield from _tell_cells(draft, draft.unreadable, misread=True)


def check_finite(draft: Draft) -> Iterator[Finding]:
    """No number is missing or infinite."""
    yield from _tell_cells(draft, ~np.isfinite(draft.values) & ~draft.unreadable, misread=False)


def _tell_cells(draft: Draft, broken: Mask, *, misread: bool) -> Iterator[Finding]:
    """Show the first cell of each column that cannot be used."""
    for place, name in enumerate(draft.columns):
        rows = np.flatnonzero(broken[:, place])
        if len(rows):
            first = int(rows[0])
            value = draft.values[first, place]
            got = f"{value:g} for {draft.at(first)}" if np.isinf(value) else draft.show(first, name)
            fix = f"{DROP_ROW if np.isinf(value) else draft.cure(first, name)} ({len(rows):,} in all)"
            must = f"'{draft.called(name)}' must be a finite number in every row"
            yield Finding(must, rows, got, fix, misread=misread, columns=(name,))


def check_bounds(draft: Draft, names: tuple[str, ...], *, zero: bool) -> Iterator[Finding]:
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


def check_order(draft: Draft, below: str, above: str, rounded: float = 0.0) -> Iterator[Finding]:
    """One column does not exceed another by more than a relative error, where both have a value."""
    low, high = draft.column(below), draft.column(above)
    return find_rows(
        low - high > rounded * np.abs(high),
        f"'{below}' must not exceed '{above}'",
        lambda row: f"{low[row]:g} > {high[row]:g} for {draft.at(row)}",
        columns=(below, above),
    )


def _below_zero(draft: Draft, name: str) -> Mask:
    """Prices below zero that can be real: oil, power, spreads between contracts."""
    values, close = draft.column(name), draft.column("close")
    # Adjusting for dividends above the price makes adjusted closes below zero of closes above it.
    return (values < 0) & ~(close > 0) if name == "adj_close" else values < 0


def _check_below_zero(draft: Draft) -> Iterator[Finding]:
    """No price is below zero where logarithms are taken; such a row is real, and the reading of it is not."""
    for name in PRICES:
        if name in draft.columns and not draft.signed:
            must, got = f"'{draft.called(name)}' must be above zero", _teller(draft, draft.column(name))
            fix = _ADJUSTED_TOO_FAR if draft.called(name) == "adj_close" else _NO_LOGARITHM
            for finding in find_rows(_below_zero(draft, name), must, got, fix, columns=(name,)):
                yield replace(finding, unusable=True)


def _check_prices(draft: Draft) -> Iterator[Finding]:
    """Prices are above zero. Zero is no price anywhere: vendors write it where they have none."""
    for name in PRICES:
        if name in draft.columns:
            values = draft.column(name)
            broken = (values <= 0) & ~_below_zero(draft, name)
            must = f"'{draft.called(name)}' must be above zero"
            yield from find_rows(broken, must, _teller(draft, values), columns=(name,))


def _teller(draft: Draft, values: FloatArray) -> Callable[[int], str]:
    return lambda row: f"{values[row]:g} for {draft.at(row)}"


_NO_LOGARITHM = (
    "Prices below zero have no logarithm: choose data.scaling window_mean, minmax or standard and no column"
    " made of returns, cut the days off with data.start or data.end, or correct that row; data.bad_rows:"
    " quarantine leaves it out"
)


_ADJUSTED_TOO_FAR = (
    "An adjusted close below zero comes of dividends above the price: take close, as it was traded, in the"
    " place of adj_close. If the price itself was below zero, choose data.scaling window_mean, minmax or"
    " standard; data.bad_rows: quarantine leaves the rows out"
)


def _check_dividends(draft: Draft) -> Iterator[Finding]:
    """Where a dividend is not below the close before it, nobody can say what an owner earned.

    Yahoo tells liquidations so, and payments in another unit. The adjusted close is missing on that day
    alone; the prices as traded need none.
    """
    if not {"close", "dividend", "adj_close"} <= set(draft.columns):
        return
    paid, close = draft.column("dividend"), draft.column("close")
    before = np.concatenate([close[:1] * np.nan, close[:-1]])
    yield from find_rows(
        draft.follows() & np.isnan(draft.column("adj_close")) & (paid > 0) & ~(paid < before),
        "A dividend must be smaller than the close before it, to adjust for",
        lambda row: f"a dividend of {paid[row]:g} after a close of {before[row]:g} for {draft.at(row)}",
        "Take close, as it was traded, in the place of adj_close",
        columns=("adj_close",),
    )


def _check_amounts(draft: Draft) -> Iterator[Finding]:
    return check_bounds(draft, ("volume", "dividend", "split"), zero=True)


def _check_ranges(draft: Draft) -> Iterator[Finding]:
    """High is at least, and low at most, each of the day's unadjusted prices, but for rounding."""
    pairs = [("low", "high"), ("open", "high"), ("close", "high"), ("low", "open"), ("low", "close")]
    for below, above in pairs:
        yield from check_order(draft, below, above, rounded=ROUNDED)


def today() -> np.datetime64:
    """Today's date in UTC, which no exchange of stock options is ahead of while it trades."""
    return np.datetime64("today", "D")


def check_future(draft: Draft) -> Iterator[Finding]:
    """No row lies after today."""
    return find_rows(
        draft.dates > today(),
        "'date' must not lie after today",
        lambda row: f"{draft.dates[row]} with today {today()}, for {draft.at(row)}",
        misread=True,
    )


STOCK_RULES: Rules[Draft] = {
    "name": _check_names,
    "date": check_dates,
    "future": check_future,
    "cell": check_readable,
    "dividend": _check_dividends,
    "number": check_finite,
    "below_zero": _check_below_zero,
    "price": _check_prices,
    "amount": _check_amounts,
    "range": _check_ranges,
    "duplicate": check_duplicates,
}
"""What every row of a stock panel keeps, in the order in which it is checked."""
