"""The panel: rows of (symbol, date), checked once, and the schema that a user's file must follow.

A CSV (UTF-8, comma, a header; as .gz too) or Parquet file has one row for each symbol and session:

| column    | what                                   | needed       | also read as               |
|-----------|----------------------------------------|--------------|----------------------------|
| symbol    | text, exact                            | yes          | ticker                     |
| date      | YYYY-MM-DD (a time after it is dropped) | yes          | day, datetime, timestamp   |
| open      | price > 0, unadjusted                  | where used   |                            |
| high      | price > 0, at least open, close, low   | where used   |                            |
| low       | price > 0, at most open, close, high   | where used   |                            |
| close     | price > 0, unadjusted                  | where used   |                            |
| volume    | shares >= 0                            | where used   | vol                        |
| adj_close | price > 0, for splits and dividends    | where used   | adjusted_close, adjclose   |

Names are compared without case, and a space, a dot or a dash counts as an underscore, so ``Adj Close`` is
``adj_close``. A column is *used* when the config's ``features`` name it; any other numeric column may be
used as well, under its own name. Columns that are not used are not read. Rows may come in any order; no
(symbol, date) may come twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from qhq.data.rules import Draft, check_rules
from qhq.data.schema import COLUMNS, KEYS
from qhq.errors import DataError, nearest

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
DateArray = npt.NDArray[np.datetime64]

_ALIASES = {
    "ticker": "symbol",
    "day": "date",
    "datetime": "date",
    "timestamp": "date",
    "vol": "volume",
    "adjclose": "adj_close",
    "adjusted_close": "adj_close",
}
_DATE = r"\d{4}-\d{2}-\d{2}(?:[T ].*)?"


@dataclass(frozen=True, eq=False)
class Panel:
    """Checked rows of several symbols, R in all, by symbol and then by date.

    Attributes:
        symbols: Names, in the order in which they were asked for.
        columns: Names of the C columns.
        code: Index into ``symbols`` of each row, shape (R,).
        dates: Session of each row, datetime64[D], shape (R,).
        values: Raw values, shape (R, C), in the unit of the file.
    """

    symbols: tuple[str, ...]
    columns: tuple[str, ...]
    code: IntArray
    dates: DateArray
    values: FloatArray

    @property
    def sessions(self) -> DateArray:
        """Dates on which any symbol has a row, ascending, shape (S,)."""
        return np.unique(self.dates)

    @property
    def counts(self) -> IntArray:
        """Rows of each symbol, in the order of ``symbols``."""
        return np.bincount(self.code, minlength=len(self.symbols))

    def between(self, first: np.datetime64, last: np.datetime64) -> Panel:
        """Copy out the rows with ``first <= date <= last``."""
        keep = (self.dates >= first) & (self.dates <= last)
        return replace(self, code=self.code[keep], dates=self.dates[keep], values=self.values[keep])

    def positions(self, names: Iterable[str]) -> IntArray:
        """Column numbers of ``names``."""
        return np.array([self.columns.index(name) for name in names], dtype=np.intp)


def check_panel(
    frame: pd.DataFrame,
    origin: str,
    *,
    symbols: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> Panel:
    """Check a table against the schema (see the top of this file) and sort it.

    Args:
        frame: One row for each symbol and session, in any order; its index is not looked at.
        origin: Where it came from, for errors.
        symbols: Symbols to keep; None is all.
        columns: Value columns to keep; None is every column of the schema that is there.

    Raises:
        DataError: At the first rule that is broken, with symbol, date and row.
    """
    names = match_columns(frame.columns, origin, columns)
    frame = frame[list(names)].rename(columns=names).reset_index(drop=True)
    wanted = tuple(columns or (name for name in COLUMNS if name in frame.columns))
    labels = frame["symbol"].astype(str)
    chosen = tuple(symbols) if symbols is not None else tuple(labels.unique())
    codes = pd.Index(chosen).get_indexer(pd.Index(labels)).astype(np.intp)
    _check_symbols(chosen, codes, labels, origin)
    kept = np.flatnonzero(codes >= 0)
    draft = _draft(frame.iloc[kept], kept, codes[kept], origin, (chosen, wanted))
    check_rules(draft)
    return Panel(chosen, wanted, draft.code, draft.dates, draft.values)


def match_columns(present: Iterable[object], origin: str, wanted: Sequence[str] | None) -> dict[str, str]:
    """Find the columns that are needed, ``{name in the file: name in the schema}``.

    Raises:
        DataError: If one is missing, or stands there under two names.
    """
    header = [str(name) for name in present]
    needed = (*KEYS, *(COLUMNS if wanted is None else wanted))
    found: dict[str, str] = {}
    for name in header:
        known = canonical_name(name)
        if known in found.values() and known in needed:
            twin = next(other for other in found if found[other] == known)
            raise DataError(
                f"{origin} must have one column for '{known}'",
                got=f"both '{twin}' and '{name}'",
                fix="Rename or drop one",
            )
        found[name] = known
    missing = [name for name in (KEYS if wanted is None else needed) if name not in found.values()]
    if missing:
        raise DataError(
            f"{origin} must have the columns {', '.join(KEYS if wanted is None else needed)}",
            got=f"no '{missing[0]}'" + (f" (nor {', '.join(missing[1:])})" if missing[1:] else ""),
            fix=f"Rename a column or change data.features and data.targets. {nearest(missing[0], header)}",
        )
    return {name: known for name, known in found.items() if known in needed}


def canonical_name(name: str) -> str:
    """Write a column name as the schema does.

    >>> canonical_name("Adj Close"), canonical_name("Ticker")
    ('adj_close', 'symbol')
    """
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return _ALIASES.get(plain, plain)


def _check_symbols(chosen: Sequence[str], codes: IntArray, labels: pd.Series[str], origin: str) -> None:
    counts = np.bincount(codes[codes >= 0], minlength=len(chosen))
    for symbol, count in zip(chosen, counts, strict=True):
        if count == 0:
            raise DataError(
                f"Every symbol of data.symbols must be in {origin}",
                got=f"no row of '{symbol}'",
                fix=nearest(symbol, labels.unique()),
            )
    if not chosen:
        raise DataError(f"{origin} must have rows", got="none", fix="Check that the file is the right one")


def _draft(
    frame: pd.DataFrame, kept: IntArray, code: IntArray, origin: str, names: tuple[tuple[str, ...], ...]
) -> Draft:
    """Turn text into dates and numbers, and sort by symbol and date."""
    symbols, columns = names
    dates = _parse_dates(frame["date"])
    order = np.lexsort((dates, code))
    values = np.column_stack([_parse_numbers(frame[name]) for name in columns])
    return Draft(
        symbols=symbols,
        columns=columns,
        code=code[order],
        dates=dates[order],
        values=values[order],
        rows=kept[order] + 1,
        origin=origin,
    )


def _parse_dates(column: pd.Series) -> DateArray:
    """Read dates, NaT where there is none; the local day of a time with an offset."""
    if not pd.api.types.is_datetime64_any_dtype(column):
        text = column.astype(str).str.strip()
        column = pd.to_datetime(text.where(text.str.fullmatch(_DATE)).str[:10], errors="coerce")
    days: DateArray = column.dt.tz_localize(None).to_numpy().astype("datetime64[D]")
    return days


def _parse_numbers(column: pd.Series) -> FloatArray:
    """Read numbers exactly as Python does, NaN where there is none."""
    if not pd.api.types.is_numeric_dtype(column):
        readable = pd.to_numeric(column, errors="coerce").notna()
        column = column.where(readable, "nan")
        return column.to_numpy(dtype=object).astype(np.float64)
    return column.to_numpy(dtype=np.float64, na_value=np.nan)
