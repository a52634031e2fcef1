"""The panel: rows by series and date, checked once at the border (columns: ``qhq.data.schema``)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from qhq.data.cells import read_days, read_numbers
from qhq.data.rules import STOCK_RULES, Draft, check_rules
from qhq.data.schema import ACTIONS, COLUMNS, KEYS, STOCKS, Column, alias_names
from qhq.errors import DataError, nearest

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
DateArray = npt.NDArray[np.datetime64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Panel:
    """Checked rows of several series (stocks, or option contracts), R in all, by series and then by date.

    Attributes:
        symbols: Names of the S series: stocks in the order in which they were asked for, or contracts.
        columns: Names of the C columns.
        code: Index into ``symbols`` of each row, shape (R,).
        dates: Session of each row, datetime64[D], shape (R,).
        values: Raw values, shape (R, C), in the unit of the file; a missing option quote is NaN.
        groups: Underlying of each series, S of them; empty for stocks, each of which is its own.
        segment: Number of the run of rows that each row is in, shape (R,): no window leaves one. Left
            empty, every series is one.
        label: What the quotes are: traded, surface, model or mixed.
    """

    symbols: tuple[str, ...]
    columns: tuple[str, ...]
    code: IntArray
    dates: DateArray
    values: FloatArray
    groups: tuple[str, ...] = ()
    segment: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    label: str = "traded"

    def __post_init__(self) -> None:
        if len(self.segment) == 0:
            object.__setattr__(self, "segment", self.code)

    @property
    def sessions(self) -> DateArray:
        """Dates on which any series has a row, ascending."""
        return np.unique(self.dates)

    @property
    def counts(self) -> IntArray:
        """Rows of each series, in the order of ``symbols``, shape (S,)."""
        return np.bincount(self.code, minlength=len(self.symbols))

    @property
    def group_names(self) -> tuple[str, ...]:
        """Underlying of each series, S of them; of a stock its own symbol."""
        return self.groups or self.symbols

    @cached_property
    def filled(self) -> FloatArray:
        """Values with each gap filled from the row before in its segment, shape (R, C)."""
        first = np.searchsorted(self.segment, self.segment)
        rows = np.arange(len(self.values))[:, None]
        newest = np.maximum.accumulate(np.where(np.isfinite(self.values), rows, -1), axis=0)
        kept = np.take_along_axis(self.values, np.maximum(newest, 0), axis=0)
        return np.where(newest >= first[:, None], kept, np.nan)

    def column(self, name: str) -> FloatArray:
        """Values of one column, shape (R,).

        Raises:
            DataError: If the panel has no such column.
        """
        if name not in self.columns:
            raise DataError(
                "A column must be one of the panel's", got=f"'{name}'", fix=nearest(name, self.columns)
            )
        return self.values[:, self.columns.index(name)]

    def positions(self, names: Iterable[str]) -> IntArray:
        """Column numbers of ``names``."""
        return np.array([self.columns.index(name) for name in names], dtype=np.intp)

    def keep(self, rows: Mask) -> Panel:
        """Copy out the rows of a mask of shape (R,); the series keep their numbers."""
        return replace(
            self,
            code=self.code[rows],
            dates=self.dates[rows],
            values=self.values[rows],
            segment=self.segment[rows],
        )

    def between(self, first: np.datetime64, last: np.datetime64) -> Panel:
        """Copy out the rows with ``first <= date <= last``."""
        return self.keep((self.dates >= first) & (self.dates <= last))

    def without_groups(self, names: Iterable[str]) -> Panel:
        """Drop the series of these groups, and their rows."""
        stays = ~np.isin(np.asarray(self.group_names, dtype=np.str_), list(names))
        rest = self.keep(stays[self.code])
        chosen = np.flatnonzero(stays)
        return replace(
            rest,
            symbols=tuple(self.symbols[code] for code in chosen),
            groups=tuple(self.groups[code] for code in chosen) if self.groups else (),
            code=(np.cumsum(stays) - 1)[rest.code],
        )

    def with_columns(self, columns: Mapping[str, FloatArray]) -> Panel:
        """Add columns of shape (R,), at the end."""
        added = np.column_stack([self.values, *columns.values()])
        return replace(self, columns=(*self.columns, *columns), values=added)


def check_panel(
    frame: pd.DataFrame,
    origin: str,
    *,
    symbols: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> Panel:
    """Check a table of stocks against the schema and sort it.

    Args:
        frame: One row for each symbol and session, in any order; its index is not looked at.
        origin: Where it came from, for errors.
        symbols: Symbols to keep; None is all.
        columns: Value columns to keep; None is every column of the schema that is there.

    Raises:
        DataError: At the first rule that is broken, with symbol, date and row.
    """
    draft = draft_stocks(frame, origin, symbols, columns)
    check_rules(draft, STOCK_RULES)
    return Panel(draft.symbols, draft.columns, draft.code, draft.dates, draft.values)


def draft_stocks(
    frame: pd.DataFrame,
    origin: str,
    symbols: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> Draft:
    """Turn text into dates and numbers, and sort by symbol and date; arguments as of ``check_panel``.

    Raises:
        DataError: If a column or a symbol is missing.
    """
    names = match_columns(frame.columns, origin, columns)
    frame = frame[list(names)].rename(columns=names)
    wanted = tuple(columns or (name for name in COLUMNS if name in frame.columns))
    labels = frame["symbol"].astype(str)
    chosen = tuple(symbols) if symbols is not None else tuple(labels.unique())
    codes = pd.Index(chosen).get_indexer(pd.Index(labels)).astype(np.intp)
    check_names(chosen, np.bincount(codes[codes >= 0], minlength=len(chosen)), labels.unique(), origin)
    kept = np.flatnonzero(codes >= 0)
    dates = read_days(frame["date"].iloc[kept])
    order = np.lexsort((dates, codes[kept]))
    rows = kept[order]
    values = np.empty((len(rows), len(wanted)))
    for place, name in enumerate(wanted):
        values[:, place] = read_numbers(frame[name])[0][rows]
    for name in set(ACTIONS).intersection(wanted):
        place = wanted.index(name)
        values[:, place] = np.where(np.isnan(values[:, place]), 0.0, values[:, place])
    return Draft(chosen, wanted, codes[rows], dates[order], values, rows + 1, origin)


def match_columns(present: Iterable[object], origin: str, wanted: Sequence[str] | None) -> dict[str, str]:
    """Find the columns that are needed, ``{name in the file: name in the schema}``.

    Raises:
        DataError: If one is missing, or stands there under two names.
    """
    header = [str(name) for name in present]
    needed = (*KEYS, *(COLUMNS if wanted is None else wanted))
    found = name_columns(header, origin, needed, STOCKS)
    missing = [name for name in (KEYS if wanted is None else needed) if name not in found.values()]
    if missing:
        raise DataError(
            f"{origin} must have the columns {', '.join(KEYS if wanted is None else needed)}",
            got=f"no '{missing[0]}'" + (f" (nor {', '.join(missing[1:])})" if missing[1:] else ""),
            fix=f"Rename a column or change data.features and data.targets. {nearest(missing[0], header)}",
        )
    return found


def name_columns(
    header: Iterable[str], origin: str, wanted: Iterable[str], table: Mapping[str, Column]
) -> dict[str, str]:
    """Find the wanted columns that are there, ``{name in the file: name in the schema}``.

    Raises:
        DataError: If one stands there under two names.
    """
    names, known = set(wanted), {name: canonical_name(name, table) for name in header}
    found: dict[str, str] = {}
    for name in header:
        if known[name] not in names:
            continue
        twin = next((other for other in found if found[other] == known[name]), None)
        if twin is not None:
            raise DataError(
                f"{origin} must have one column for '{known[name]}'",
                got=f"both '{twin}' and '{name}'",
                fix="Rename or drop one",
            )
        found[name] = known[name]
    return found


def canonical_name(name: str, table: Mapping[str, Column] = STOCKS) -> str:
    """Write a column name as the schema does: that of stocks, or another table of it.

    >>> canonical_name("Adj Close"), canonical_name("Ticker")
    ('adj_close', 'symbol')
    """
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return alias_names(table).get(plain, plain)


def check_names(chosen: Sequence[str], counts: IntArray, present: Iterable[str], origin: str) -> None:
    """Every name that is asked for has rows.

    Raises:
        DataError: If one has none, or there is no name at all.
    """
    for symbol, count in zip(chosen, counts, strict=True):
        if count == 0:
            raise DataError(
                f"Every symbol of data.symbols must be in {origin}",
                got=f"no row of '{symbol}'",
                fix=nearest(symbol, present),
            )
    if not chosen:
        raise DataError(f"{origin} must have rows", got="none", fix="Check that the file is the right one")
