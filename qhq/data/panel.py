"""The panel: rows by series and date, checked once at the border (columns: ``qhq.data.columns``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from qhq.data.quarantine import NOTHING_ASIDE, Doubt, Quarantine
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
    doubts: tuple[Doubt, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.segment) == 0:
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
