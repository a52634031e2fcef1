"""Whether one forecast is better than another, or only luckier.

The test is that of Diebold and Mariano ("Comparing predictive accuracy", 1995) on the differences d of two
losses, with the correction of Harvey, Leybourne and Newbold ("Testing the equality of prediction mean squared
errors", 1997). With n dates, a horizon of h rows and the autocovariances g_k of d,

    V = g_0 + 2 (g_1 + ... + g_(h-1))        errors h rows ahead overlap, and reach no further
    statistic = mean(d) / sqrt(V / n) * sqrt((n + 1 - 2h + h(h - 1)/n) / n),   against t with n - 1 degrees

Several symbols on one date move together, so their losses are averaged by date first: n counts dates, not
windows. Over many pairs some are unequal by chance; Holm (1979) keeps the probability of calling any of them
so, wrongly, at the level.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from qhq.data.panel import FloatArray
from qhq.data.windows import Windows
from qhq.errors import DataError, nearest
from qhq.evaluation.baselines.last_value import last_value
from qhq.evaluation.options import has_option_prices

Loss = Literal["absolute", "squared"]
Verdict = Literal["better", "no different", "worse", "not tested"]

LEVEL = 0.05
WEIGHING = "Skill and tests give every symbol the same weight; in the MAE those of high prices weigh more."
"""Why a forecast can have the lower MAE and yet be the worse one."""

LEAST_DATES = 10
"""Fewer dates, or fewer than twice the horizon, are not tested."""

SAME = 1e-9
"""Losses that differ by less than this part of their mean are of one forecast, but for rounding."""


@dataclass(frozen=True)
class Comparison:
    """Two forecasts of the same windows.

    Attributes:
        first: Name of the one.
        second: Name of the other.
        gain: 1 - mean loss of the first / that of the second; above zero the first is better. None where
            the second never errs.
        dates: How many there are.
        statistic: Diebold-Mariano with the small-sample correction; below zero the first is better. None
            where it was not tested.
        p_value: Two-sided; None where it was not tested.
        adjusted: The same after Holm over all pairs of the table; None where it was not tested.
        reason: Why it was not tested; empty where it was.
    """

    first: str
    second: str
    gain: float | None
    dates: int
    statistic: float | None
    p_value: float | None
    adjusted: float | None
    reason: str = ""

    def verdict(self, level: float = LEVEL) -> Verdict:
        """Whether the first is better or worse than the second, at a level over all pairs."""
        if self.adjusted is None or self.statistic is None:
            return "not tested"
        if self.adjusted > level:
            return "no different"
        return "better" if self.statistic < 0 else "worse"


def date_losses(
    windows: Windows, forecast: FloatArray, unit: FloatArray, loss: Loss = "absolute"
) -> FloatArray:
    """Mean loss of each date over its windows, horizons and targets, shape (D,), dates ascending.

    A window's date is that of its first target. Of several seeds, average what this gives.

    Args:
        windows: N of them.
        forecast: Shape (N, H, K).
        unit: Of each window's errors, shape (N,) or, of each target, (N, K): see ``loss_unit``.
        loss: Of an error over its unit.
    """
    error = np.abs(forecast - windows.targets) / unit.reshape(len(unit), 1, -1)
    each = (error**2 if loss == "squared" else error).mean(axis=(1, 2))
    return mean_by_date(windows, each)


def mean_by_date(windows: Windows, losses: FloatArray) -> FloatArray:
    """Average losses of windows (N,) over those of one date, shape (D,), dates ascending."""
    _, date, counts = np.unique(windows.dates[:, 0], return_inverse=True, return_counts=True)
    means: FloatArray = np.bincount(date, losses) / counts
    return means


def loss_unit(windows: Windows, scale: FloatArray) -> FloatArray:
    """What errors are divided by so that no group and no target outweighs the others, shape (N, K).

    Of option prices the strike; else the scale of MASE (N,) or (N, K), and for a group never trained on, or
    a target that did not move in training, the mean error of its last value in these windows. It weighs
    groups and targets; it is the same for all forecasts.
    """
    shape = (len(windows), len(windows.cut.targets))
    if has_option_prices(windows):
        return np.broadcast_to(windows.known("strike")[:, None], shape)
    unit = np.broadcast_to(scale.reshape(len(scale), -1), shape).copy()
    error = np.abs(windows.targets - last_value(windows)).mean(axis=1)
    for name in np.unique(windows.group[np.isnan(unit).any(axis=1)]):
        own = windows.group == name
        mean = error[own].mean(axis=0)
        unit[own] = np.where(np.isnan(unit[own]), np.where(mean > 0, mean, 1.0), unit[own])
    return unit


def diebold_mariano(first: FloatArray, second: FloatArray, horizon: int = 1) -> tuple[float, float]:
    """Test that two losses are alike: the corrected statistic, and its two-sided p-value.

    Args:
        first: Loss of the one on each date, in their order, shape (D,).
        second: Loss of the other.
        horizon: Rows ahead of the furthest forecast, H.

    Raises:
        DataError: If there are too few dates, or nothing to test: the losses are the same, or differ by the
            same on all dates.
    """
    reason = _reason(first, second, horizon)
    if reason:
        raise DataError("A Diebold-Mariano test needs losses that differ", got=reason, fix="Lengthen test")
    difference = first - second
    count, mean = len(difference), difference.mean()
    factor = (count + 1 - 2 * horizon + horizon * (horizon - 1) / count) / count
    statistic = mean / np.sqrt(_variance(difference, horizon) / count) * np.sqrt(factor)
    # scipy.stats takes half a second to import, which whoever only sends to hardware need not wait for.
    from scipy.stats import t as student

    return float(statistic), float(2 * student.sf(abs(statistic), count - 1))


def _reason(first: FloatArray, second: FloatArray, horizon: int) -> str:
    """Why two losses cannot be tested; empty if they can."""
    if first.shape != second.shape or first.ndim != 1:
        return f"losses of shapes {first.shape} and {second.shape}"
    least = max(LEAST_DATES, 2 * horizon)
    if len(first) < least:
        return f"{len(first)} dates, fewer than {least}"
    difference = first - second
    size = SAME * (np.abs(first).mean() + np.abs(second).mean()) / 2
    if not np.isfinite(difference).all():
        return "losses that are not finite"
    if np.abs(difference).max() <= size:
        return "the same losses on all dates"
    return "losses that differ by the same on all dates" if np.ptp(difference) <= size else ""


def _variance(difference: FloatArray, horizon: int) -> float:
    """Long-run variance of n times the mean; with Bartlett's weights if it is not above zero without."""
    centred = difference - difference.mean()
    count = len(centred)
    covariance = np.array([centred[lag:] @ centred[: count - lag] / count for lag in range(horizon)])
    plain = covariance[0] + 2 * covariance[1:].sum()
    # A truncated sum need not be a variance: of differences that swing to and fro it may be negative.
    if plain > 1e-9 * covariance[0]:
        return float(plain)
    weights = 1 - np.arange(1, horizon) / horizon
    return float(covariance[0] + 2 * weights @ covariance[1:])


def compare(
    losses: Mapping[str, FloatArray], horizon: int, pairs: Iterable[tuple[str, str]] | None = None
) -> tuple[Comparison, ...]:
    """Test pairs of forecasts, and adjust the p-values by Holm over all that can be tested.

    Args:
        losses: Of each forecast on each date, from the same windows, each of shape (D,).
        horizon: Rows ahead of the furthest forecast, H.
        pairs: Names; None is every pair, in their order.

    Raises:
        DataError: If a pair names no forecast.
    """
    chosen = list(combinations(losses, 2) if pairs is None else pairs)
    for name in (name for pair in chosen for name in pair):
        if name not in losses:
            raise DataError("A pair must name forecasts", got=f"'{name}'", fix=nearest(name, losses))
    found = [_compare(pair, (losses[pair[0]], losses[pair[1]]), horizon) for pair in chosen]
    values = [np.nan if each.p_value is None else each.p_value for each in found]
    return tuple(
        replace(each, adjusted=None if np.isnan(adjusted) else float(adjusted))
        for each, adjusted in zip(found, holm(values), strict=True)
    )


def _compare(names: tuple[str, str], losses: tuple[FloatArray, FloatArray], horizon: int) -> Comparison:
    reason = _reason(*losses, horizon)
    statistic, p_value = (None, None) if reason else diebold_mariano(*losses, horizon)
    means = [float(each.mean()) for each in losses]
    gain = 1 - means[0] / means[1] if means[1] > 0 else None
    return Comparison(*names, gain, len(losses[0]), statistic, p_value, None, reason)


def say_p_value(value: float) -> str:
    """A p-value for people.

    >>> say_p_value(0.0421), say_p_value(0.0)
    ('0.042', '< 0.001')
    """
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Adjust p-values for all being looked at, (m,); NaN is one that was not tested, and stays.

    >>> holm([0.01, 0.04, 0.03, np.nan]).tolist()
    [0.03, 0.06, 0.06, nan]
    """
    values = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(values.shape, np.nan)
    order = np.argsort(values)[: np.count_nonzero(~np.isnan(values))]  # NaN is sorted to the end
    stepped = values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted
