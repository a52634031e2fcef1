"""The rules that rows must keep, each a DataError that names symbol, date and row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qhq.data.schema import PRICES
from qhq.errors import DataError

Mask = npt.NDArray[np.bool_]


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
    values: npt.NDArray[np.float64]
    rows: npt.NDArray[np.intp]
    origin: str

    def at(self, row: int) -> str:
        """Name one row for people."""
        symbol = self.symbols[self.code[row]]
        return f"{symbol} on {self.dates[row]} (row {self.rows[row]} of {self.origin})"


def check_rules(draft: Draft) -> None:
    """Check every rule.

    Raises:
        DataError: At the first row that breaks one.
    """
    _check_dates(draft)
    _check_duplicates(draft)
    _check_finite(draft)
    _check_signs(draft)
    _check_ranges(draft)


def _first(broken: Mask) -> int | None:
    """Row of the first True, or None."""
    return int(np.argmax(broken)) if broken.any() else None


def _check_dates(draft: Draft) -> None:
    row = _first(np.isnat(draft.dates))
    if row is not None:
        raise DataError(
            "Every row must have a date written YYYY-MM-DD",
            got=f"no readable date in row {draft.rows[row]} of {draft.origin}"
            f" ({draft.symbols[draft.code[row]]})",
            fix="Correct or drop that row",
        )


def _check_duplicates(draft: Draft) -> None:
    same: Mask = (draft.code[1:] == draft.code[:-1]) & (draft.dates[1:] == draft.dates[:-1])
    row = _first(same)
    if row is not None:
        raise DataError(
            "A symbol must have one row a date",
            got=f"{draft.at(row)} and again in row {draft.rows[row + 1]}",
            fix=f"Drop the doubles, {np.count_nonzero(same)} in all",
        )


def _check_finite(draft: Draft) -> None:
    broken = ~np.isfinite(draft.values)
    rows = np.asarray(broken.any(axis=1))
    row = _first(rows)
    if row is not None:
        column = int(np.argmax(broken[row]))
        raise DataError(
            f"'{draft.columns[column]}' must be a finite number in every row",
            got=f"{_name_number(draft.values[row, column])} for {draft.at(row)}",
            fix=f"Fill or drop the rows, {np.count_nonzero(rows)} in all",
        )


def _name_number(value: float) -> str:
    return "NaN or no number" if np.isnan(value) else f"{value:g}"


def _check_signs(draft: Draft) -> None:
    for column, name in enumerate(draft.columns):
        if name not in (*PRICES, "volume"):
            continue
        values = draft.values[:, column]
        row = _first(values < 0 if name == "volume" else values <= 0)
        if row is not None:
            raise DataError(
                f"'{name}' must be {'zero or more' if name == 'volume' else 'above zero'}",
                got=f"{values[row]:g} for {draft.at(row)}",
                fix="Correct or drop that row",
            )


def _check_ranges(draft: Draft) -> None:
    """High is at least, and low at most, each of the day's unadjusted prices."""
    present = {name: draft.values[:, column] for column, name in enumerate(draft.columns)}
    pairs = [("low", "high"), ("open", "high"), ("close", "high"), ("low", "open"), ("low", "close")]
    for below, above in pairs:
        if below not in present or above not in present:
            continue
        row = _first(present[below] > present[above])
        if row is not None:
            raise DataError(
                f"'{below}' must not exceed '{above}'",
                got=f"{present[below][row]:g} > {present[above][row]:g} for {draft.at(row)}",
                fix="Correct or drop that row",
            )
