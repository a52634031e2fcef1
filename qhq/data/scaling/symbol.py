"""Scalings of each symbol by its own rows in training; a symbol that was not there cannot be scaled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from qhq.data.panel import FloatArray, IntArray, Panel
from qhq.data.scaling.stored import check_columns, read_array
from qhq.data.spec import Scaling
from qhq.data.windows import Windows
from qhq.errors import DataError, nearest


@dataclass(frozen=True, eq=False)
class SymbolScaler:
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

    def inputs(self, windows: Windows) -> FloatArray:
        """See ``Scaler.inputs``."""
        rows = _rows(self.columns, self.symbols, windows)
        return (self._forth(windows.inputs) - self.offset[rows][:, None]) / self.unit[rows][:, None]

    def targets(self, windows: Windows) -> FloatArray:
        """See ``Scaler.targets``."""
        offset, unit = self._of_targets(windows)
        return (self._forth(windows.targets) - offset) / unit

    def to_price(self, outputs: FloatArray, windows: Windows) -> FloatArray:
        """See ``Scaler.to_price``; a count is not below zero."""
        offset, unit = self._of_targets(windows)
        values = outputs * unit + offset
        return np.expm1(np.maximum(values, 0.0)) if self.kind == "log_standard" else values

    def to_dict(self) -> dict[str, Any]:
        """See ``Scaler.to_dict``."""
        names = {"kind": self.kind, "columns": list(self.columns), "symbols": list(self.symbols)}
        return {**names, "offset": self.offset.tolist(), "unit": self.unit.tolist()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        names = (content["kind"], tuple(content["columns"]), tuple(content["symbols"]))
        return cls(*names, read_array(content["offset"]), read_array(content["unit"]))

    def _forth(self, values: FloatArray) -> FloatArray:
        return np.log1p(values) if self.kind == "log_standard" else values

    def _of_targets(self, windows: Windows) -> tuple[FloatArray, FloatArray]:
        cells = np.ix_(_rows(self.columns, self.symbols, windows), windows.cut.target_positions)
        return self.offset[cells][:, None], self.unit[cells][:, None]


@dataclass(frozen=True, eq=False)
class LogReturnScaler:
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

    def inputs(self, windows: Windows) -> FloatArray:
        """See ``Scaler.inputs``; the first row of a window has no return, so T' = T - 1."""
        rows = _rows(self.columns, self.symbols, windows)
        return np.diff(np.log(windows.inputs), axis=1) / self.volatility[rows][:, None]

    def targets(self, windows: Windows) -> FloatArray:
        """See ``Scaler.targets``; each horizon's return since the window's last value."""
        return np.log(windows.targets / windows.last[:, None]) / self._of_targets(windows)

    def to_price(self, outputs: FloatArray, windows: Windows) -> FloatArray:
        """See ``Scaler.to_price``."""
        return windows.last[:, None] * np.exp(outputs * self._of_targets(windows))

    def to_dict(self) -> dict[str, Any]:
        """See ``Scaler.to_dict``."""
        names = {"kind": self.kind, "columns": list(self.columns), "symbols": list(self.symbols)}
        return {**names, "volatility": self.volatility.tolist()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        names = (tuple(content["columns"]), tuple(content["symbols"]))
        return cls(*names, read_array(content["volatility"]))

    def _of_targets(self, windows: Windows) -> FloatArray:
        rows = _rows(self.columns, self.symbols, windows)
        return self.volatility[np.ix_(rows, windows.cut.target_positions)][:, None]


def fit_minmax(train: Windows) -> SymbolScaler:
    """Take each symbol's lowest and highest value."""
    panel = _real_rows(train)
    first = _first_rows(panel)
    low = np.minimum.reduceat(panel.values, first, axis=0)
    high = np.maximum.reduceat(panel.values, first, axis=0)
    return SymbolScaler("minmax", panel.columns, panel.symbols, low, _unit(high - low))


def fit_standard(train: Windows) -> SymbolScaler:
    """Take each symbol's mean and standard deviation."""
    return _by_mean("standard", _real_rows(train))


def fit_log_standard(train: Windows) -> SymbolScaler:
    """Take each symbol's mean and standard deviation of ln(1 + x)."""
    panel = _real_rows(train)
    return _by_mean("log_standard", replace(panel, values=np.log1p(panel.values)))


def _by_mean(kind: Scaling, panel: Panel) -> SymbolScaler:
    mean = _symbol_mean(panel.values, panel.code, len(panel.symbols))
    variance = _symbol_mean((panel.values - mean[panel.code]) ** 2, panel.code, len(panel.symbols))
    # A constant column has a variance of rounding errors only, which must not become its unit.
    unit = _unit(np.where(_is_constant(panel), 0.0, np.sqrt(variance)))
    return SymbolScaler(kind, panel.columns, panel.symbols, mean, unit)


def fit_log_return(train: Windows) -> LogReturnScaler:
    """Take each symbol's volatility."""
    panel = _real_rows(train)
    returns = np.diff(np.log(panel.values), axis=0)
    own = np.diff(panel.code) == 0
    mean_square = _symbol_mean(returns[own] ** 2, panel.code[1:][own], len(panel.symbols))
    return LogReturnScaler(panel.columns, panel.symbols, _unit(np.sqrt(mean_square)))


def _real_rows(train: Windows) -> Panel:
    """Rows that have every feature, of the features only.

    Raises:
        DataError: If a symbol has fewer than two.
    """
    panel, names = train.panel, train.cut.features
    values = panel.values[:, panel.positions(names)]
    real = np.isfinite(values).all(axis=1)
    count = np.bincount(panel.code[real], minlength=len(panel.symbols))
    if count.min() < 2:
        raise DataError(
            "The training part must have two rows of every symbol to scale it by itself",
            got=f"{count.min()} of {panel.symbols[int(count.argmin())]} with every feature",
            fix="Drop that symbol, lengthen the part (data.split), or choose scaling window_mean",
        )
    return replace(
        panel,
        columns=names,
        code=panel.code[real],
        dates=panel.dates[real],
        values=values[real],
        segment=panel.segment[real],
    )


def _first_rows(panel: Panel) -> IntArray:
    return np.searchsorted(panel.code, np.arange(len(panel.symbols)))


def _symbol_mean(values: FloatArray, code: IntArray, count: int) -> FloatArray:
    """Mean of the rows of each symbol: (R, F) -> (S, F)."""
    total = np.zeros((count, values.shape[1]))
    np.add.at(total, code, values)
    return total / np.bincount(code, minlength=count)[:, None]


def _is_constant(panel: Panel) -> npt.NDArray[np.bool_]:
    first = _first_rows(panel)
    low, high = np.minimum.reduceat(panel.values, first), np.maximum.reduceat(panel.values, first)
    return np.asarray(low == high)


def _unit(spread: FloatArray) -> FloatArray:
    return np.where(spread > 0, spread, 1.0)


def _rows(columns: tuple[str, ...], symbols: tuple[str, ...], windows: Windows) -> IntArray:
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
