"""Prices over the strike or the spot, so that contracts of any size look alike.

A Black-Scholes price is homogeneous of degree one: price / strike is a function of spot / strike, time to
expiry and volatility alone (Hutchinson, Lo and Poggio, "A nonparametric approach to pricing and hedging
derivative securities via learning networks", 1994; Garcia and Gencay, "Pricing and hedging derivative
securities with neural networks and a homogeneity hint", 2000). So what is learned in these units carries over
to contracts and underlyings never seen, and a split of shares moves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from qhq.data.columns import is_count, price_power
from qhq.data.panel import FloatArray
from qhq.data.scaling.pooled import input_values, robust_spread
from qhq.data.scaling.stored import check_columns, read_array
from qhq.data.windows import Windows

Level = Literal["strike", "spot"]


def price_powers(names: Sequence[str]) -> FloatArray:
    """Power of the unit of prices in the unit of each column, shape (len(names),)."""
    return np.array([price_power(name) for name in names])


def count_logs(values: FloatArray, names: Sequence[str]) -> FloatArray:
    """Take ln(1 + x) of columns that count something; values (..., C)."""
    counts = np.array([is_count(name) for name in names], dtype=bool)
    return np.where(counts, np.log1p(np.where(counts, values, 0.0)), values) if counts.any() else values


@dataclass(frozen=True, eq=False)
class HomogeneousInputs:
    """Features without a unit: prices over the row's own strike or spot, then all by one mean and spread.

    Attributes:
        columns: The F features.
        by: What prices are divided by.
        mean: Pooled over the training part, shape (F,).
        unit: Robust spread, pooled over the training part, shape (F,).
    """

    columns: tuple[str, ...]
    by: Level
    mean: FloatArray
    unit: FloatArray

    @classmethod
    def fit(cls, train: Windows, by: Level) -> Self:
        """Fit mean and spread on every input row of a training part."""
        names = train.cut.features
        values = _without_unit(input_values(train, names), input_values(train, (by,))[:, 0], names)
        return cls(names, by, np.nanmean(values, axis=0), robust_spread(values))

    def scale(self, windows: Windows) -> FloatArray:
        """Scaled features, shape (N, T, F), no unit."""
        check_columns(self.columns, windows)
        values = _without_unit(windows.inputs, windows.along(self.by), self.columns)
        return (values - self.mean) / self.unit

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        names = {"columns": list(self.columns), "by": self.by}
        return {**names, "mean": self.mean.tolist(), "unit": self.unit.tolist()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        names = (tuple(content["columns"]), content["by"])
        return cls(*names, read_array(content["mean"]), read_array(content["unit"]))


def _without_unit(values: FloatArray, level: FloatArray, names: Sequence[str]) -> FloatArray:
    """Divide prices by a level and take logarithms of counts; values (..., F), level (...)."""
    return count_logs(values / level[..., None] ** price_powers(names), names)
