"""Scalings of any series: each window by itself, each symbol by its training rows, or all of them by one.

What looks at a window alone, or at all series together, knows no symbol and carries over to new ones; a
symbol that was not there cannot be scaled by its own rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from qhq.data.panel import FloatArray, IntArray, Mask, Panel
from qhq.data.scaling.affine import STILL, ColumnwiseScaler, Stored, as_unit, check_columns, input_values
from qhq.data.spec import Scaling
from qhq.data.windows import Windows
from qhq.errors import DataError, nearest

# A window's volatility is taken as at least this fraction of the median one in training.
_FLOOR_FRACTION = 0.1


@dataclass(frozen=True, eq=False)
class WindowScaler(ColumnwiseScaler):
    """Each window by its own last value and volatility.

    Attributes:
        columns: The F features.
        floor: Least volatility of each, shape (F,).
    """

    kind: ClassVar[Scaling] = "window"
    level: ClassVar[bool] = False
    columns: tuple[str, ...]
    floor: FloatArray

    @classmethod
    def fit(cls, train: Windows) -> Self:
        """Fit the floor."""
        return cls(
            train.cut.features, as_unit(_FLOOR_FRACTION * np.median(_window_volatility(train.inputs), axis=0))
        )

    def feature_scale(self, windows: Windows) -> tuple[FloatArray, FloatArray]:
        """Last value, and that times the volatility."""
        check_columns(self.columns, windows)
        raw = windows.inputs
        # The floor: in a window that hardly moves, noise would be blown up to full size.
        last, volatility = raw[:, -1:], np.maximum(_window_volatility(raw), self.floor)
        return last, volatility[:, None] * last


@dataclass(frozen=True, eq=False)
class WindowMeanScaler(ColumnwiseScaler):
    """Each window by its own mean, all by one spread; values may be negative, as log volatility is.

    Attributes:
        columns: The F features.
        unit: Standard deviation of each about the means of the training windows, shape (F,).
    """

    kind: ClassVar[Scaling] = "window_mean"
    level: ClassVar[bool] = False
    columns: tuple[str, ...]
    unit: FloatArray

    @classmethod
    def fit(cls, train: Windows) -> Self:
        """Fit the spread."""
        inputs = train.inputs
        # About each window's own mean: a trend over the years must not widen the unit.
        unit = np.sqrt(inputs.var(axis=1).mean(axis=0))
        size = np.abs(inputs).max(axis=(0, 1))
        # A constant column has a variance of rounding errors only, which must not become its unit.
        return cls(train.cut.features, np.where(unit > STILL * size, unit, 1.0))

    def feature_scale(self, windows: Windows) -> tuple[FloatArray, FloatArray]:
        """Mean of the window, and the spread."""
        check_columns(self.columns, windows)
        return windows.inputs.mean(axis=1, keepdims=True), self.unit

    def target_scale(self, windows: Windows) -> tuple[FloatArray, FloatArray]:
        """See ``AffineScaler.target_scale``."""
        check_columns(self.columns, windows)
        own = windows.cut.target_positions
        # The mean over all columns is summed in another order, so the last bit of a forecast would differ
        # from what runs of earlier versions have on file.
        return windows.inputs[:, :, own].mean(axis=1, keepdims=True), self.unit[own]


def _window_volatility(inputs: FloatArray) -> FloatArray:
    """Root mean square of the log returns in each window: (N, T, F) -> (N, F), per session."""
    returns: FloatArray = np.diff(np.log(inputs), axis=1)
    volatility: FloatArray = np.sqrt(np.mean(returns**2, axis=1))
    return volatility


@dataclass(frozen=True, eq=False)
class PanelScaler(ColumnwiseScaler):
    """Each column of all series together by one offset and one unit: raw values and min-max.

    With option quotes from cents to hundreds in one panel, most contracts are squeezed into a corner of the
    range, and few rows make up the whole loss: the first failure of the thesis behind this project.

    Attributes:
        kind: Which of the two.
        columns: The F features.
        offset: Subtracted first, shape (F,).
        unit: Divided by then, shape (F,).
    """

    level: ClassVar[bool] = True
    kind: Scaling
    columns: tuple[str, ...]
    offset: FloatArray
    unit: FloatArray

    @classmethod
    def fit_raw(cls, train: Windows) -> Self:
        """Leave values as they are."""
        names = train.cut.features
        return cls("raw", names, np.zeros(len(names)), np.ones(len(names)))

    @classmethod
    def fit_minmax(cls, train: Windows) -> Self:
        """Take each column's lowest and highest value over all series."""
        values = input_values(train, train.cut.features)
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        return cls("panel_minmax", train.cut.features, low, as_unit(high - low))

    def feature_scale(self, windows: Windows) -> tuple[FloatArray, FloatArray]:
        """The same for all windows."""
        check_columns(self.columns, windows)
        return self.offset, self.unit


@dataclass(frozen=True, eq=False)
class SymbolScaler(ColumnwiseScaler):
    """Each symbol by an offset and a unit from its training rows: min-max, standard and log-standard.

    Attributes:
        kind: Which of the three; ``log_standard`` is standard of ln(1 + x), for what counts something.
        columns: The F features.
        symbols: The S symbols.
        offset: Subtracted first, shape (S, F).
        unit: Divided by then, shape (S, F).
    """

    level: ClassVar[bool] = True
    kind: Scaling
    columns: tuple[str, ...]
    symbols: tuple[str, ...]
    offset: FloatArray
    unit: FloatArray

    @classmethod
    def fit_minmax(cls, train: Windows) -> Self:
        """Take each symbol's lowest and highest value."""
        panel = _real_rows(train)
        low, high = _extremes(panel)
        return cls("minmax", panel.columns, panel.symbols, low, as_unit(high - low))

    @classmethod
    def fit_standard(cls, train: Windows) -> Self:
        """Take each symbol's mean and standard deviation."""
        return cls._by_mean("standard", _real_rows(train))

    @classmethod
    def fit_log_standard(cls, train: Windows) -> Self:
        """Take each symbol's mean and standard deviation of ln(1 + x)."""
        panel = _real_rows(train)
        return cls._by_mean("log_standard", replace(panel, values=np.log1p(panel.values)))

    @classmethod
    def _by_mean(cls, kind: Scaling, panel: Panel) -> Self:
        mean = _symbol_mean(panel.values, panel.code, len(panel.symbols))
        variance = _symbol_mean((panel.values - mean[panel.code]) ** 2, panel.code, len(panel.symbols))
        low, high = _extremes(panel)
        # A constant column has a variance of rounding errors only, which must not become its unit.
        unit = as_unit(np.where(low == high, 0.0, np.sqrt(variance)))
        return cls(kind, panel.columns, panel.symbols, mean, unit)

    def feature_scale(self, windows: Windows) -> tuple[FloatArray, FloatArray]:
        """Those of each window's symbol."""
        rows = _rows_of(self.columns, self.symbols, windows)
        return self.offset[rows][:, None], self.unit[rows][:, None]

    def _forth(self, values: FloatArray, windows: Windows) -> FloatArray:  # noqa: ARG002
        return np.log1p(values) if self.kind == "log_standard" else values

    def _back(self, values: FloatArray, windows: Windows) -> FloatArray:  # noqa: ARG002
        """A count is not below zero."""
        return np.expm1(np.maximum(values, 0.0)) if self.kind == "log_standard" else values


@dataclass(frozen=True, eq=False)
class LogReturnScaler(Stored):
    """Log returns over the symbol's volatility in training.

    Attributes:
        columns: The F features.
        symbols: The S symbols.
        volatility: Shape (S, F).
    """

    kind: ClassVar[Scaling] = "log_return"
    level: ClassVar[bool] = False
    columns: tuple[str, ...]
    symbols: tuple[str, ...]
    volatility: FloatArray

    @classmethod
    def fit(cls, train: Windows) -> Self:
        """Take each symbol's volatility."""
        panel = _real_rows(train)
        returns = np.diff(np.log(panel.values), axis=0)
        # A difference across two symbols is no return.
        own = np.diff(panel.code) == 0
        mean_square = _symbol_mean(returns[own] ** 2, panel.code[1:][own], len(panel.symbols))
        return cls(panel.columns, panel.symbols, as_unit(np.sqrt(mean_square)))

    def inputs(self, windows: Windows) -> FloatArray:
        """See ``Scaler.inputs``; the first row of a window has no return, so T' = T - 1."""
        rows = _rows_of(self.columns, self.symbols, windows)
        return np.diff(np.log(windows.inputs), axis=1) / self.volatility[rows][:, None]

    def targets(self, windows: Windows) -> FloatArray:
        """See ``Scaler.targets``; each horizon's return since the window's last value."""
        # Of the whole way from the last value, not of one step after another: errors of horizons do not add
        # up.
        return np.log(windows.targets / windows.last[:, None]) / self._of_targets(windows)

    def to_raw_units(self, outputs: FloatArray, windows: Windows) -> FloatArray:
        """See ``Scaler.to_raw_units``."""
        return windows.last[:, None] * np.exp(outputs * self._of_targets(windows))

    def _of_targets(self, windows: Windows) -> FloatArray:
        rows = _rows_of(self.columns, self.symbols, windows)
        return self.volatility[np.ix_(rows, windows.cut.target_positions)][:, None]


def _real_rows(train: Windows) -> Panel:
    """Rows that have every feature, of the features only.

    Raises:
        DataError: If a symbol has fewer than two.
    """
    panel, names = train.panel, train.cut.features
    values = panel.values[:, panel.positions(names)]
    real: Mask = np.asarray(np.isfinite(values).all(axis=1))
    count = np.bincount(panel.code[real], minlength=len(panel.symbols))
    if count.min() < 2:
        raise DataError(
            "The training split must have two rows of every symbol to scale it by itself",
            got=f"{count.min()} of {panel.symbols[int(count.argmin())]} with every feature",
            fix="Drop that symbol, lengthen the split (data.split), or choose scaling window_mean",
        )
    return replace(panel.keep(real), columns=names, values=values[real])


def _extremes(panel: Panel) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest value of each symbol, shape (S, F) each."""
    # Rows lie by symbol, so that reduceat needs only where each begins.
    first = np.searchsorted(panel.code, np.arange(len(panel.symbols)))
    return np.minimum.reduceat(panel.values, first), np.maximum.reduceat(panel.values, first)


def _symbol_mean(values: FloatArray, code: IntArray, count: int) -> FloatArray:
    """Mean of the rows of each symbol: (R, F) -> (S, F)."""
    total = np.zeros((count, values.shape[1]))
    np.add.at(total, code, values)
    return total / np.bincount(code, minlength=count)[:, None]


def _rows_of(columns: tuple[str, ...], symbols: tuple[str, ...], windows: Windows) -> IntArray:
    """Row of each window's symbol in the scaler's arrays, shape (N,)."""
    check_columns(columns, windows)
    for symbol in windows.panel.symbols:
        if symbol not in symbols:
            raise DataError(
                "The scaler must have seen every symbol in training",
                got=f"'{symbol}'",
                fix=f"{nearest(symbol, symbols)}. Or scale by 'window', which carries over to new symbols",
            )
    lookup = np.array([symbols.index(symbol) for symbol in windows.panel.symbols], dtype=np.intp)
    return lookup[windows.code]
