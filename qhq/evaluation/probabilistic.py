"""Errors of quantile forecasts: the pinball loss, the continuous ranked probability score, and coverage.

The CRPS of a forecast distribution F is the integral over all levels p of twice the pinball loss of its
p-quantile (Gneiting and Ranjan, J. Bus. Econ. Stat. 2011), in the unit of the targets. It is taken here by
the trapezoidal rule over the levels that were forecast, so more levels make it more exact. Of a point
forecast it is the absolute error. A forecast is never judged alone: beside it stand the last value with the
quantiles of its own errors on the validation split (`last_value_quantiles`), and the last value as a point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TypedDict

import numpy as np

from qhq.data.panel import FloatArray
from qhq.data.windows import Windows
from qhq.errors import DataError
from qhq.evaluation.baselines.persistence import last_value
from qhq.evaluation.conformal import coverage_of, fit_conformal
from qhq.files import Json


def pinball(actual: FloatArray, quantiles: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Pinball loss of each value and level, (N, H, K, L).

    Args:
        actual: What came, shape (N, H, K).
        quantiles: Shape (N, H, K, L).
        levels: Probabilities, (L,).

    >>> pinball(np.array([[[3.0]]]), np.array([[[[1.0, 5.0]]]]), [0.1, 0.9]).round(3).tolist()
    [[[[0.2, 0.2]]]]
    """
    missed, at = actual[..., None] - quantiles, np.asarray(levels)
    loss: FloatArray = np.maximum(at * missed, (at - 1) * missed)
    return loss


def crps(actual: FloatArray, quantiles: FloatArray, levels: Sequence[float]) -> FloatArray:
    """CRPS of each value, (N, H, K); arguments as of `pinball`, the levels ascending."""
    # What lies outside the outermost quantiles is taken to lie on them.
    at = np.array([0.0, *levels, 1.0])
    whole = np.concatenate([quantiles[..., :1], quantiles, quantiles[..., -1:]], axis=-1)
    found: FloatArray = 2 * np.trapezoid(pinball(actual, whole, at.tolist()), at, axis=-1)
    return found


def last_value_quantiles(validation: Windows, windows: Windows, levels: Sequence[float]) -> FloatArray | None:
    """The last value with quantiles of its errors on the validation split, (N, H, K, L).

    They are the ends of its conformal intervals; None where the validation split is too short for one.
    """
    naive, known = last_value(windows), last_value(validation)
    found = np.repeat(naive[..., None], len(levels), axis=-1)
    try:
        for place, level in enumerate(levels):
            # An interval has two quantiles, of this level and of its mirror; the median is the last value
            # itself.
            if level < 0.5:
                low, high = fit_conformal(validation, known, 1 - 2 * level).interval(windows, naive)
                found[..., place] = low
                found[..., [other for other, each in enumerate(levels) if np.isclose(each, 1 - level)]] = (
                    high[..., None]
                )
    except DataError:
        return None
    return found


class QuantileScores(TypedDict):
    """Measures of quantile forecasts as plain JSON.

    ``pinball`` by level and their ``mean``; ``below``, by level, the share of values below each quantile,
    which should be its level; ``coverage`` of each pair of levels that lie symmetrically.
    """

    pinball: dict[str, float]
    crps: float
    below: dict[str, float]
    coverage: list[Json]


def score_quantiles(windows: Windows, quantiles: FloatArray, levels: Sequence[float]) -> QuantileScores:
    """Measure quantile forecasts.

    Args:
        windows: What was forecast.
        quantiles: Shape (N, H, K, L), in the unit of the targets.
        levels: Probabilities, ascending, (L,).
    """
    losses = pinball(windows.targets, quantiles, levels)
    names = [f"{level:g}" for level in levels]
    below = (windows.targets[..., None] < quantiles).mean(axis=(0, 1, 2))
    return {
        "pinball": {**dict(zip(names, losses.mean(axis=(0, 1, 2)).tolist(), strict=True)),
                    "mean": float(losses.mean())},
        "crps": float(crps(windows.targets, quantiles, levels).mean()),
        "below": dict(zip(names, below.tolist(), strict=True)),
        "coverage": [
            asdict(each)
            for low, high in pairs(levels)
            for each in coverage_of(
                (quantiles[..., low], quantiles[..., high]),
                windows,
                # 0.95 - 0.05 is 0.8999999999999999.
                round(levels[high] - levels[low], 10),
                windows.targets,
            )
        ],
    }  # fmt: skip


def crps_skill(windows: Windows, own: FloatArray, other: FloatArray, levels: Sequence[float]) -> float | None:
    """1 - CRPS over that of other quantiles, of each symbol and target alone, then their mean.

    Args:
        windows: What was forecast.
        own: Quantiles, shape (N, H, K, L).
        other: Those to be judged by.
        levels: Of both, (L,).
    """
    one, two = (crps(windows.targets, each, levels) for each in (own, other))
    ratios = []
    for name in np.unique(windows.group):
        rows = windows.group == name
        below = two[rows].mean(axis=(0, 1))
        ratios += (one[rows].mean(axis=(0, 1))[below > 0] / below[below > 0]).tolist()
    return 1 - float(np.mean(ratios)) if ratios else None


def pairs(levels: Sequence[float]) -> list[tuple[int, int]]:
    """Places of levels p and 1 - p, the widest interval first."""
    return [
        (low, high)
        for low in range(len(levels))
        for high in range(low + 1, len(levels))
        if np.isclose(levels[low] + levels[high], 1.0)
    ]


def column_of(level: float) -> str:
    """Name of a quantile's column in tables of forecasts."""
    return f"q_{level:g}"


def level_of(name: str) -> float | None:
    """The level of a column of quantiles; None of any other column.

    >>> level_of("q_0.05"), level_of("quote")
    (0.05, None)
    """
    try:
        return float(name.removeprefix("q_")) if name.startswith("q_") else None
    except ValueError:
        return None
