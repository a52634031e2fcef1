"""The scalers themselves: what each does to windows, and how it is stored; ``scaling`` fits them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from qhq.data.panel import FloatArray, IntArray
from qhq.data.spec import Scaling
from qhq.data.windows import Windows
from qhq.errors import DataError, nearest


class Scaler(Protocol):
    """What every scaler does. N windows, T' = T rows (T - 1 for log returns), F features, K targets."""

    @property
    def kind(self) -> Scaling:
        """Its name in a config."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The F features it was fitted on."""

    def inputs(self, windows: Windows) -> FloatArray:
        """Scaled features, shape (N, T', F), no unit."""

    def targets(self, windows: Windows) -> FloatArray:
        """Scaled targets, shape (N, H, K), no unit."""

    def to_price(self, outputs: FloatArray, windows: Windows) -> FloatArray:
        """Bring outputs (N, H, K) in the unit of ``targets`` back to the unit of the file."""

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON, exact; ``scaler_from_dict`` reads it."""


def scaler_from_dict(content: Mapping[str, Any]) -> Scaler:
    """Read back what ``Scaler.to_dict`` wrote.

    Raises:
        DataError: If the content is not that of a scaler.
    """
    try:
        return _READERS[content["kind"]](content)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            "A stored scaler must have the content that to_dict wrote",
            got=f"{type(error).__name__}: {error}",
            fix="Train again, or take the scaler of another run",
        ) from error


@dataclass(frozen=True, eq=False)
class WindowScaler:
    """Each window by its own last value and volatility; knows no symbol, so it carries over to new ones.

    Attributes:
        columns: The F features.
        floor: Least volatility of each, shape (F,).
    """

    kind: ClassVar[Scaling] = "window"
    columns: tuple[str, ...]
    floor: FloatArray

    def inputs(self, windows: Windows) -> FloatArray:
        """See ``Scaler.inputs``."""
        raw = windows.inputs
        unit = self._volatility(windows, raw) * raw[:, -1]
        return (raw - raw[:, -1:]) / unit[:, None]

    def targets(self, windows: Windows) -> FloatArray:
        """See ``Scaler.targets``."""
        last = windows.last[:, None]
        return (windows.targets - last) / self._target_unit(windows)

    def to_price(self, outputs: FloatArray, windows: Windows) -> FloatArray:
        """See ``Scaler.to_price``."""
        return windows.last[:, None] + outputs * self._target_unit(windows)

    def to_dict(self) -> dict[str, Any]:
        """See ``Scaler.to_dict``."""
        return {"kind": self.kind, "columns": list(self.columns), "floor": self.floor.tolist()}

    def _volatility(self, windows: Windows, raw: FloatArray) -> FloatArray:
        """Volatility of each window and feature, shape (N, F)."""
        _check_columns(self.columns, windows)
        return np.maximum(window_volatility(raw), self.floor)

    def _target_unit(self, windows: Windows) -> FloatArray:
        volatility = self._volatility(windows, windows.inputs)[:, windows.cut.target_positions]
        return (volatility * windows.last)[:, None]


@dataclass(frozen=True, eq=False)
class SymbolScaler:
    """Each symbol by an offset and a unit from its training rows: min-max and standard.

    Attributes:
        kind: Which of the two.
        columns: The F features.
        symbols: The S symbols.
        offset: Subtracted first, shape (S, F).
        unit: Divided by then, shape (S, F).
    """

    kind: Scaling
    columns: tuple[str, ...]
    symbols: tuple[str, ...]
    offset: FloatArray
    unit: FloatArray

    def inputs(self, windows: Windows) -> FloatArray:
        """See ``Scaler.inputs``."""
        rows = _rows(self.columns, self.symbols, windows)
        return (windows.inputs - self.offset[rows][:, None]) / self.unit[rows][:, None]

    def targets(self, windows: Windows) -> FloatArray:
        """See ``Scaler.targets``."""
        offset, unit = self._of_targets(windows)
        return (windows.targets - offset) / unit

    def to_price(self, outputs: FloatArray, windows: Windows) -> FloatArray:
        """See ``Scaler.to_price``."""
        offset, unit = self._of_targets(windows)
        return outputs * unit + offset

    def to_dict(self) -> dict[str, Any]:
        """See ``Scaler.to_dict``."""
        names = {"kind": self.kind, "columns": list(self.columns), "symbols": list(self.symbols)}
        return {**names, "offset": self.offset.tolist(), "unit": self.unit.tolist()}

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

    def _of_targets(self, windows: Windows) -> FloatArray:
        rows = _rows(self.columns, self.symbols, windows)
        return self.volatility[np.ix_(rows, windows.cut.target_positions)][:, None]


def window_volatility(inputs: FloatArray) -> FloatArray:
    """Root mean square of the log returns in each window: (N, T, F) -> (N, F), per session."""
    returns: FloatArray = np.diff(np.log(inputs), axis=1)
    volatility: FloatArray = np.sqrt(np.mean(returns**2, axis=1))
    return volatility


def _check_columns(columns: tuple[str, ...], windows: Windows) -> None:
    if columns != windows.cut.features:
        raise DataError(
            f"The scaler was fitted on the features {', '.join(columns)}",
            got=f"windows of {', '.join(windows.cut.features)}",
            fix="Use the data section of the run that the scaler came from",
        )


def _rows(columns: tuple[str, ...], symbols: tuple[str, ...], windows: Windows) -> IntArray:
    """Row of each window's symbol in the scaler's arrays, shape (N,)."""
    _check_columns(columns, windows)
    for symbol in windows.panel.symbols:
        if symbol not in symbols:
            raise DataError(
                "The scaler must have seen every symbol in training",
                got=f"'{symbol}'",
                fix=f"{nearest(symbol, symbols)}. Or scale by 'window', which carries over to new symbols",
            )
    lookup = np.array([symbols.index(symbol) for symbol in windows.panel.symbols], dtype=np.intp)
    return lookup[windows.code]


def _read_window(content: Mapping[str, Any]) -> Scaler:
    return WindowScaler(tuple(content["columns"]), _array(content["floor"]))


def _read_symbol(content: Mapping[str, Any]) -> Scaler:
    names = (content["kind"], tuple(content["columns"]), tuple(content["symbols"]))
    return SymbolScaler(*names, _array(content["offset"]), _array(content["unit"]))


def _read_log_return(content: Mapping[str, Any]) -> Scaler:
    names = (tuple(content["columns"]), tuple(content["symbols"]))
    return LogReturnScaler(*names, _array(content["volatility"]))


def _array(content: Any) -> FloatArray:
    return np.array(content, dtype=np.float64)


_READERS: dict[Scaling, Callable[[Mapping[str, Any]], Scaler]] = {
    "window": _read_window,
    "minmax": _read_symbol,
    "standard": _read_symbol,
    "log_return": _read_log_return,
}
