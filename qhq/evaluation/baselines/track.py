"""Targets on a scale on which changes can be added up, and put side by side over all series.

| target                             | on its track     | modelled as |
|------------------------------------|------------------|-------------|
| price of a stock, spot, forward    | ln x             | changes     |
| quote of an option                 | x / strike       | changes     |
| shares, contracts                  | ln(1 + x)        | levels      |
| return                             | x                | levels      |
| all else (volatility, logarithms)  | x                | levels      |

So doubling all prices, or a split of shares, doubles every forecast and moves nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from qhq.data.columns import Scale, change_scale, unit_of
from qhq.data.panel import FloatArray, Mask
from qhq.data.windows import Windows

LEAST_WINDOWS = 100
"""A group with fewer training windows than this is forecast with what was fitted on all groups together."""


@dataclass(frozen=True)
class Track:
    """One target and its scale.

    Attributes:
        name: Of the target.
        kind: What is done to its values.
        differenced: Whether it is the changes that come back to a mean, not the values.
    """

    name: str
    kind: Scale
    differenced: bool

    @property
    def is_return(self) -> bool:
        """Whether a value is itself a change, so that nothing moves where it is 0."""
        return unit_of(self.name) == "return"

    def past(self, windows: Windows) -> FloatArray:
        """Values along the input rows, shape (N, T)."""
        return self._forth(windows.along(self.name), _strike(windows))

    def future(self, windows: Windows) -> FloatArray:
        """Values that followed, shape (N, H)."""
        return self._forth(windows.targets[:, :, windows.cut.targets.index(self.name)], _strike(windows))

    def series(self, windows: Windows, rows: slice) -> FloatArray:
        """Values along some rows R of the panel, gaps filled as in the inputs, shape (R,)."""
        panel = windows.panel
        values = (panel.filled if windows.cut.masked else panel.values)[rows]
        strike = values[:, panel.columns.index("strike")] if self.kind == "strike" else np.ones(len(values))
        return self._forth(values[:, panel.columns.index(self.name)], strike)

    def back(self, values: FloatArray, windows: Windows) -> FloatArray:
        """Bring values (N, H) back to the unit of the file; a quote is not below zero."""
        if self.kind == "log":
            return np.exp(values)
        if self.kind == "count":
            return np.expm1(np.maximum(values, 0.0))
        if self.kind == "strike":
            return np.maximum(values, 0.0) * _strike(windows)
        return values

    def slope(self, windows: Windows) -> FloatArray:
        """Units of the file for one of the track, at the last value, shape (N,)."""
        last = windows.at_last(self.name)
        if self.kind == "strike":
            return _strike(windows)[:, 0]
        return {"log": last, "count": 1.0 + last}.get(self.kind, np.ones(len(windows)))

    def _forth(self, values: FloatArray, strike: FloatArray) -> FloatArray:
        if self.kind == "log":
            return np.log(values)
        if self.kind == "count":
            return np.log1p(values)
        return values / strike if self.kind == "strike" else values


def _strike(windows: Windows) -> FloatArray:
    """Strike of each window at its last input row, 1 without one, shape (N, 1)."""
    known = "strike" in windows.panel.columns
    return (windows.at_last("strike") if known else np.ones(len(windows)))[:, None]


def tracks(windows: Windows) -> tuple[Track, ...]:
    """Choose the scale of each of the K targets, by its unit alone."""
    options = "strike" in windows.panel.columns
    scales = {name: change_scale(name, options=options) for name in windows.cut.targets}
    return tuple(Track(name, scale, scale in ("log", "strike")) for name, scale in scales.items())


@dataclass(frozen=True, eq=False)
class ByGroup:
    """Numbers of each group (underlying), and of all together for those never trained on.

    Attributes:
        names: The G groups with enough training windows.
        values: A row for each, and one of all together at the end, shape (G + 1, ...).
    """

    names: tuple[str, ...]
    values: FloatArray

    @classmethod
    def fit(cls, train: Windows, measure: Callable[[Mask], FloatArray]) -> Self:
        """Take ``measure`` of the windows of each group, and of all; a mask of shape (N,) says which."""
        group = train.group
        names, counts = np.unique(group, return_counts=True)
        kept = tuple(str(name) for name in names[counts >= LEAST_WINDOWS])
        masks = [*(group == name for name in kept), np.ones(len(train), dtype=bool)]
        return cls(kept, np.stack([measure(mask) for mask in masks]))

    def of(self, windows: Windows) -> FloatArray:
        """Look up each window's row, shape (N, ...)."""
        place = {name: row for row, name in enumerate(self.names)}
        rows = np.array([place.get(name, len(self.names)) for name in windows.panel.group_names])
        values: FloatArray = self.values[rows[windows.code]]
        return values
