"""The panel: rows by series and date, checked once at the border (columns: ``qhq.data.columns``).

`describe_panel` counts what one holds: spans, rows, gaps, splits; of options also contracts and quotes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Required, TypedDict

import numpy as np
import numpy.typing as npt

from qhq.data.quarantine import NOTHING_ASIDE, Quarantine, RowDoubt
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
        missed: Sessions of rows that were set aside, so that the gap they leave is one. datetime64[D].
        quarantine: What was set aside.
        doubts: How the rows may have been misread.
        notes: What a user should know of how a file was read.
        called: What a column is to be called before people, where another of the file stands for it: the
            close, where there is no adjusted close.
    """

    symbols: tuple[str, ...]
    columns: tuple[str, ...]
    code: IntArray
    dates: DateArray
    values: FloatArray
    groups: tuple[str, ...] = ()
    segment: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    label: str = "traded"
    missed: DateArray = field(default_factory=lambda: np.empty(0, dtype="datetime64[D]"))
    quarantine: Quarantine = NOTHING_ASIDE
    doubts: tuple[RowDoubt, ...] = ()
    notes: tuple[str, ...] = ()
    called: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.segment) == 0:
            # Frozen, so a default that depends on another field is set past the lock.
            object.__setattr__(self, "segment", self.code)

    @property
    def sessions(self) -> DateArray:
        """Dates on which any series has a row, or had one that was set aside, ascending."""
        return np.unique(np.concatenate([self.dates, self.missed]))

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
        # -1, where nothing came before, would take the last row of all; the line below makes it NaN.
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
        missed = self.missed[(self.missed >= first) & (self.missed <= last)]
        return replace(self.keep((self.dates >= first) & (self.dates <= last)), missed=missed)

    def without_groups(self, names: Iterable[str]) -> Panel:
        """Drop the series of these groups, and their rows."""
        return self._with_series(~np.isin(np.asarray(self.group_names, dtype=np.str_), list(names)))

    def without_empty_series(self) -> Panel:
        """Drop the series that have no row."""
        return self._with_series(self.counts > 0)

    def _with_series(self, stays: npt.NDArray[np.bool_]) -> Panel:
        rest = self.keep(stays[self.code])
        chosen = np.flatnonzero(stays)
        return replace(
            rest,
            symbols=tuple(self.symbols[code] for code in chosen),
            groups=tuple(self.groups[code] for code in chosen) if self.groups else (),
            code=(np.cumsum(stays) - 1)[rest.code],
        )

    def without_columns(self, names: Iterable[str]) -> Panel:
        """Drop columns, where they are there."""
        dropped = set(names)
        stays = [name not in dropped for name in self.columns]
        columns = tuple(name for name in self.columns if name not in dropped)
        return replace(self, columns=columns, values=self.values[:, stays])

    def with_columns(self, columns: Mapping[str, FloatArray]) -> Panel:
        """Add columns of shape (R,), at the end."""
        added = np.column_stack([self.values, *columns.values()])
        return replace(self, columns=(*self.columns, *columns), values=added)


# Weekdays without a row that are a gap even where no other series has a row.
_CLOSED = 3


class Gap(TypedDict):
    """Between which dates a series stops: sessions that others have there, and weekdays."""

    after: str
    before: str
    sessions: int
    weekdays: int


class SplitDay(TypedDict):
    """A split of shares: new ones for an old one."""

    date: str
    ratio: float


class _ContractFacts(TypedDict, total=False):
    contracts: int
    expiries: int
    without_quote: int
    without_iv: int
    kind: str


class PanelFacts(_ContractFacts):
    """What a panel holds of one symbol, or of one underlying and its contracts."""

    symbol: Required[str]
    rows: Required[int]
    first: Required[str | None]
    last: Required[str | None]
    sessions: Required[int]
    gaps: Required[list[Gap]]
    splits: Required[list[SplitDay]]


def describe_panel(panel: Panel) -> list[PanelFacts]:
    """Describe each symbol, or each underlying of an option panel, in the order of the panel."""
    names = list(dict.fromkeys(panel.group_names))
    number = np.array([names.index(name) for name in panel.group_names], dtype=np.intp)
    group = number[panel.code]
    return [_describe(panel, name, np.flatnonzero(group == code)) for code, name in enumerate(names)]


def _describe(panel: Panel, name: str, rows: IntArray) -> PanelFacts:
    days = np.unique(panel.dates[rows])
    contracts: _ContractFacts = _describe_contracts(panel, rows) if panel.groups else {}
    # The keys of options stand between the others: in this order the columns of a table are printed.
    return {
        "symbol": name,
        "rows": len(rows),
        "first": str(days[0]) if len(days) else None,
        "last": str(days[-1]) if len(days) else None,
        "sessions": len(days),
        **contracts,
        "gaps": find_gaps(days, panel.sessions),
        "splits": _find_splits(panel, rows),
    }


def _describe_contracts(panel: Panel, rows: IntArray) -> _ContractFacts:
    quoted = np.isfinite(_column(panel, "mid")[rows])
    volatile = np.isfinite(_column(panel, "iv")[rows])
    return {
        "contracts": len(np.unique(panel.code[rows])),
        "expiries": len(np.unique(_column(panel, "expiry")[rows])),
        "without_quote": int(np.count_nonzero(~quoted)),
        "without_iv": int(np.count_nonzero(quoted & ~volatile)),
        "kind": panel.label,
    }


def find_gaps(days: DateArray, sessions: DateArray) -> list[Gap]:
    """Find where a series stops for a while.

    Args:
        days: Its dates, ascending, each once.
        sessions: Dates on which any series has a row, ascending.

    Returns:
        A gap for each pair of neighbours between which another series has a row, or ``_CLOSED`` weekdays lie.
    """
    missed = np.diff(np.searchsorted(sessions, days)) - 1
    # busday_count takes the first day and not the last: one less leaves those between.
    weekdays = np.busday_count(days[:-1], days[1:]) - 1
    return [
        {
            "after": str(days[place]),
            "before": str(days[place + 1]),
            "sessions": int(missed[place]),
            "weekdays": int(weekdays[place]),
        }
        for place in np.flatnonzero((missed > 0) | (weekdays >= _CLOSED))
    ]


def _find_splits(panel: Panel, rows: IntArray) -> list[SplitDay]:
    """Find the splits that some rows tell of, each day once: date, and new shares for an old one."""
    ratio = _column(panel, "split")[rows]
    split = np.flatnonzero((ratio > 0) & (ratio != 1))
    # Contracts of one underlying all tell of its split: by date it is one.
    ratios = {str(panel.dates[rows[row]]): round(float(ratio[row]), 6) for row in split}
    return [{"date": day, "ratio": ratios[day]} for day in sorted(ratios)]


def _column(panel: Panel, name: str) -> FloatArray:
    return panel.column(name) if name in panel.columns else np.full(len(panel.code), np.nan)
