"""Scalings of each window by itself; they know no symbol, so they carry over to new ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from qhq.data.panel import FloatArray
from qhq.data.scaling.pooled import STILL
from qhq.data.scaling.stored import check_columns, read_array
from qhq.data.spec import Scaling
from qhq.data.windows import Windows

FLOOR_FRACTION = 0.1
"""A window's volatility is taken as at least this part of the median one in training."""


@dataclass(frozen=True, eq=False)
class WindowScaler:
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
        floor = FLOOR_FRACTION * np.median(window_volatility(train.inputs), axis=0)
        return cls(train.cut.features, np.where(floor > 0, floor, 1.0))

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

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        return cls(tuple(content["columns"]), read_array(content["floor"]))

    def _volatility(self, windows: Windows, raw: FloatArray) -> FloatArray:
        """Volatility of each window and feature, shape (N, F)."""
        check_columns(self.columns, windows)
        return np.maximum(window_volatility(raw), self.floor)

    def _target_unit(self, windows: Windows) -> FloatArray:
        volatility = self._volatility(windows, windows.inputs)[:, windows.cut.target_positions]
        return (volatility * windows.last)[:, None]


@dataclass(frozen=True, eq=False)
class WindowMeanScaler:
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
        unit = np.sqrt(inputs.var(axis=1).mean(axis=0))
        size = np.abs(inputs).max(axis=(0, 1))
        # A constant column has a variance of rounding errors only, which must not become its unit.
        return cls(train.cut.features, np.where(unit > STILL * size, unit, 1.0))

    def inputs(self, windows: Windows) -> FloatArray:
        """See ``Scaler.inputs``."""
        check_columns(self.columns, windows)
        raw = windows.inputs
        return np.asarray((raw - raw.mean(axis=1, keepdims=True)) / self.unit)

    def targets(self, windows: Windows) -> FloatArray:
        """See ``Scaler.targets``."""
        mean, unit = self._of_targets(windows)
        return (windows.targets - mean) / unit

    def to_price(self, outputs: FloatArray, windows: Windows) -> FloatArray:
        """See ``Scaler.to_price``."""
        mean, unit = self._of_targets(windows)
        return mean + outputs * unit

    def to_dict(self) -> dict[str, Any]:
        """See ``Scaler.to_dict``."""
        return {"kind": self.kind, "columns": list(self.columns), "unit": self.unit.tolist()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        return cls(tuple(content["columns"]), read_array(content["unit"]))

    def _of_targets(self, windows: Windows) -> tuple[FloatArray, FloatArray]:
        """Mean (N, 1, K) and unit (K,) of the targets' own columns."""
        check_columns(self.columns, windows)
        own = windows.cut.target_positions
        return windows.inputs[:, :, own].mean(axis=1, keepdims=True), self.unit[own]


def window_volatility(inputs: FloatArray) -> FloatArray:
    """Root mean square of the log returns in each window: (N, T, F) -> (N, F), per session."""
    returns: FloatArray = np.diff(np.log(inputs), axis=1)
    volatility: FloatArray = np.sqrt(np.mean(returns**2, axis=1))
    return volatility
