"""Scalings of levels, kept to be measured beside the others: they are how option models fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np

from qhq.data.panel import FloatArray, IntArray
from qhq.data.scaling.homogeneous import price_powers
from qhq.data.scaling.pooled import input_values
from qhq.data.scaling.stored import check_columns, read_array
from qhq.data.spec import Scaling
from qhq.data.windows import Windows

FLOOR_FRACTION = 0.1
"""A contract's range is taken as at least this part of the median one in training."""


@dataclass(frozen=True, eq=False)
class PanelScaler:
    """Each column of all series together by one offset and one unit: raw values and min-max.

    With quotes from cents to hundreds in one panel, most contracts are squeezed into a corner of the
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

    def inputs(self, windows: Windows) -> FloatArray:
        """See ``Scaler.inputs``."""
        check_columns(self.columns, windows)
        return (windows.inputs - self.offset) / self.unit

    def targets(self, windows: Windows) -> FloatArray:
        """See ``Scaler.targets``."""
        check_columns(self.columns, windows)
        own = windows.cut.target_positions
        return (windows.targets - self.offset[own]) / self.unit[own]

    def to_price(self, outputs: FloatArray, windows: Windows) -> FloatArray:
        """See ``Scaler.to_price``."""
        check_columns(self.columns, windows)
        own = windows.cut.target_positions
        return outputs * self.unit[own] + self.offset[own]

    def to_dict(self) -> dict[str, Any]:
        """See ``Scaler.to_dict``."""
        names = {"kind": self.kind, "columns": list(self.columns)}
        return {**names, "offset": self.offset.tolist(), "unit": self.unit.tolist()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        names = (content["kind"], tuple(content["columns"]))
        return cls(*names, read_array(content["offset"]), read_array(content["unit"]))


@dataclass(frozen=True, eq=False)
class ContractScaler:
    """Each window by the lowest and highest value that its contract had until the last input row.

    Rows after the last input row do not count, nor those before a split of shares or a long gap. Every
    contract then looks alike and the level is lost, so a model learns one value for all of them: the second
    failure of the thesis behind this project, which moreover took each contract's range over its whole life.
    Kept for comparison.

    Attributes:
        columns: The F features.
        floor: Least range of each, shape (F,): over the strike for columns in the unit of prices.
    """

    kind: ClassVar[Scaling] = "contract_minmax"
    level: ClassVar[bool] = True
    columns: tuple[str, ...]
    floor: FloatArray

    @classmethod
    def fit(cls, train: Windows) -> Self:
        """Fit the floor."""
        low, high = _range_until_last(train)
        floor = FLOOR_FRACTION * np.median((high - low) / _price_level(train), axis=0)
        return cls(train.cut.features, floor)

    def inputs(self, windows: Windows) -> FloatArray:
        """See ``Scaler.inputs``."""
        low, unit = self._of_features(windows)
        return (windows.inputs - low[:, None]) / unit[:, None]

    def targets(self, windows: Windows) -> FloatArray:
        """See ``Scaler.targets``."""
        low, unit = self._of_targets(windows)
        return (windows.targets - low) / unit

    def to_price(self, outputs: FloatArray, windows: Windows) -> FloatArray:
        """See ``Scaler.to_price``."""
        low, unit = self._of_targets(windows)
        return outputs * unit + low

    def to_dict(self) -> dict[str, Any]:
        """See ``Scaler.to_dict``."""
        return {"kind": self.kind, "columns": list(self.columns), "floor": self.floor.tolist()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        return cls(tuple(content["columns"]), read_array(content["floor"]))

    def _of_features(self, windows: Windows) -> tuple[FloatArray, FloatArray]:
        """Offset and unit of each window, shape (N, F)."""
        check_columns(self.columns, windows)
        low, high = _range_until_last(windows)
        unit = np.maximum(high - low, self.floor * _price_level(windows))
        return low, np.where(unit > 0, unit, 1.0)

    def _of_targets(self, windows: Windows) -> tuple[FloatArray, FloatArray]:
        """Offset and unit of each window's targets, shape (N, 1, K)."""
        own = windows.cut.target_positions
        low, unit = self._of_features(windows)
        return low[:, None, own], unit[:, None, own]


def fit_raw(train: Windows) -> PanelScaler:
    """Leave values as they are."""
    names = train.cut.features
    return PanelScaler("raw", names, np.zeros(len(names)), np.ones(len(names)))


def fit_panel_minmax(train: Windows) -> PanelScaler:
    """Take each column's lowest and highest value over all series."""
    values = input_values(train, train.cut.features)
    low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    return PanelScaler("panel_minmax", train.cut.features, low, np.where(high > low, high - low, 1.0))


def _price_level(windows: Windows) -> FloatArray:
    """Strike for columns in the unit of prices, 1 for others, shape (N, F)."""
    return windows.at_last("strike")[:, None] ** price_powers(windows.cut.features)


def _range_until_last(windows: Windows) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest value of each window's segment until its last input row, shape (N, F)."""
    panel = windows.panel
    values = panel.values[:, panel.positions(windows.cut.features)]
    last = windows.starts + windows.cut.window - 1
    return _running(np.fmin, values, panel.segment)[last], _running(np.fmax, values, panel.segment)[last]


def _running(extreme: np.ufunc, values: FloatArray, segment: IntArray) -> FloatArray:
    """Extreme of each segment's rows until each row, NaN left out, shape (R, F)."""
    borders = np.flatnonzero(np.diff(segment, prepend=-1, append=-1))
    running = np.empty_like(values)
    for first, end in pairwise(borders.tolist()):
        extreme.accumulate(values[first:end], axis=0, out=running[first:end])
    return running
