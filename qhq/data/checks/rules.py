"""The rules that rows must keep: each finds the rows that break it, and names the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from qhq.data.schema import PRICES
from qhq.errors import DataError

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
    """

    symbols: tuple[str, ...]
    columns: tuple[str, ...]
    code: npt.NDArray[np.intp]
    dates: npt.NDArray[np.datetime64]
    values: FloatArray
    rows: npt.NDArray[np.intp]
    origin: str

    def at(self, row: int) -> str:
        """Name one row for people."""
        symbol = self.symbols[self.code[row]]
        return f"{symbol} on {self.dates[row]} (row {self.rows[row]} of {self.origin})"

    def column(self, name: str) -> FloatArray:
        """Values of a column, all NaN where there is none, shape (R,)."""
        if name not in self.columns:
            return np.full(len(self.code), np.nan)
        return self.values[:, self.columns.index(name)]

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
    """

    must: str
    rows: npt.NDArray[np.intp]
    got: str
    fix: str


DraftT = TypeVar("DraftT", bound=Draft)
Rules = Mapping[str, Callable[[DraftT], Iterator[Finding]]]

DROP_ROW = "Correct or drop that row"


def check_rules(draft: DraftT, rules: Rules[DraftT]) -> None:
    """Check every rule.

    Raises:
        DataError: At the first row that breaks one.
    """
    for rule in rules.values():
        for finding in rule(draft):
            raise DataError(finding.must, got=finding.got, fix=finding.fix)


def find_rows(broken: Mask, must: str, got: Callable[[int], str], fix: str = DROP_ROW) -> Iterator[Finding]:
    """Tell of the rows of a mask, if there are any; ``got`` describes one of them."""
    rows = np.flatnonzero(broken)
    if len(rows):
        yield Finding(must, rows, got(int(rows[0])), fix)


def check_dates(draft: Draft) -> Iterator[Finding]:
    """Every row has a date."""
    return find_rows(
        np.isnat(draft.dates),
        "Every row must have a date written YYYY-MM-DD",
        lambda row: (
            f"no readable date in row {draft.rows[row]} of {draft.origin} ({draft.symbols[draft.code[row]]})"
        ),
    )


def check_duplicates(draft: Draft, noun: str = "symbol") -> Iterator[Finding]:
    """No date comes twice in a series; the rows told of are the later ones."""
    same = draft.follows()
    same[1:] &= draft.dates[1:] == draft.dates[:-1]
    return find_rows(
        same,
        f"A {noun} must have one row a date",
        lambda row: f"{draft.at(row - 1)} and again in row {draft.rows[row]}",
        f"Drop the doubles, {np.count_nonzero(same)} in all",
    )


def check_finite(draft: Draft) -> Iterator[Finding]:
    """No number is missing or infinite."""
    broken = ~np.isfinite(draft.values)
    rows = np.asarray(broken.any(axis=1))
    count = np.count_nonzero(rows)
    if count:
        row = int(np.argmax(rows))
        column = int(np.argmax(broken[row]))
        yield Finding(
            f"'{draft.columns[column]}' must be a finite number in every row",
            np.flatnonzero(rows),
            f"{_name_number(draft.values[row, column])} for {draft.at(row)}",
            f"Fill or drop the rows, {count} in all",
        )


def _name_number(value: float) -> str:
    return "NaN or no number" if np.isnan(value) else f"{value:g}"


def check_bounds(draft: Draft, names: tuple[str, ...], *, zero: bool) -> Iterator[Finding]:
    """Columns are above zero, or zero or more with ``zero``."""
    for name in draft.columns:
        if name in names:
            values = draft.column(name)
            yield from find_rows(
                values < 0 if zero else values <= 0,
                f"'{name}' must be {'zero or more' if zero else 'above zero'}",
                lambda row, values=values: f"{values[row]:g} for {draft.at(row)}",  # type: ignore[misc]
            )


def check_order(draft: Draft, below: str, above: str) -> Iterator[Finding]:
    """One column does not exceed another, where both have a value."""
    low, high = draft.column(below), draft.column(above)
    return find_rows(
        low > high,
        f"'{below}' must not exceed '{above}'",
        lambda row: f"{low[row]:g} > {high[row]:g} for {draft.at(row)}",
    )


def _check_prices(draft: Draft) -> Iterator[Finding]:
    return check_bounds(draft, PRICES, zero=False)


def _check_amounts(draft: Draft) -> Iterator[Finding]:
    return check_bounds(draft, ("volume", "dividend", "split"), zero=True)


def _check_ranges(draft: Draft) -> Iterator[Finding]:
    """High is at least, and low at most, each of the day's unadjusted prices."""
    pairs = [("low", "high"), ("open", "high"), ("close", "high"), ("low", "open"), ("low", "close")]
    for below, above in pairs:
        yield from check_order(draft, below, above)


def today() -> np.datetime64:
    """Today's date in UTC, which no exchange of stock options is ahead of while it trades."""
    return np.datetime64("today", "D")


def check_future(draft: Draft) -> Iterator[Finding]:
    """No row lies after today."""
    return find_rows(
        draft.dates > today(),
        "'date' must not lie after today",
        lambda row: f"{draft.dates[row]} with today {today()}, for {draft.at(row)}",
    )


STOCK_RULES: Rules[Draft] = {
    "date": check_dates,
    "future": check_future,
    "duplicate": check_duplicates,
    "number": check_finite,
    "price": _check_prices,
    "amount": _check_amounts,
    "range": _check_ranges,
}
"""What every row of a stock panel keeps, in the order in which it is checked."""
