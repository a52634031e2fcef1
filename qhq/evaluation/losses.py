"""The losses that forecasts of a task are judged by, date by date.

| targets                                  | first loss             | second loss         |
|------------------------------------------|------------------------|---------------------|
| realised volatility, or its logarithm    | QLIKE                  | squared log error   |
| prices of options                        | error over the strike  | implied volatility  |
| all else                                 | absolute error         |                     |

QLIKE of an actual variance s and a forecast h is ``s/h - ln(s/h) - 1``: a forecast that is too low costs more
than one that is too high by as much, and a proxy of the variance that is noisy, but right on average, ranks
forecasts as the variance itself would (Patton, "Volatility forecast comparison using imperfect volatility
proxies", 2011). The squared log error is that of the volatility. The absolute error is over the unit of the
symbol and target (`significance.loss_unit`).

The first loss decides; it is named before anything is measured. Whether the second agrees stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from qhq.data.panel import FloatArray
from qhq.data.windows import Cut, Windows
from qhq.errors import DataError
from qhq.evaluation.baselines.har import VOLATILITIES
from qhq.evaluation.options import has_option_prices, strike_errors, volatility_errors
from qhq.evaluation.significance import loss_unit

QLIKE, SQUARED_LOG = "qlike", "squared_log"
OVER_STRIKE, IMPLIED_VOLATILITY = "over_strike", "implied_volatility"
ABSOLUTE = "absolute"

TITLES = {
    QLIKE: "QLIKE",
    SQUARED_LOG: "squared log error",
    OVER_STRIKE: "absolute error over the strike",
    IMPLIED_VOLATILITY: "absolute error of the implied volatility",
    ABSOLUTE: "absolute error over the symbol's unit",
}
"""Losses as people read them."""

SHORT = {
    QLIKE: "QLIKE",
    SQUARED_LOG: "log error²",
    OVER_STRIKE: "error/strike",
    IMPLIED_VOLATILITY: "iv error",
    ABSOLUTE: "error/unit",
}
"""The same at the head of a column."""

FURTHEST = float(np.log(100.0))
"""A forecast of less than a hundredth of the volatility, or more than a hundred times it, counts as that.

Without a bound a single forecast that is not above zero would have an infinite loss, and no mean would say
anything of all the others.
"""


@dataclass(frozen=True)
class TaskLosses:
    """Losses of several forecasts of the same windows.

    Attributes:
        by_name: ``{loss: {forecast: losses}}``, the task's first loss first. Losses have shape (D,), of dates
            ascending: means over the windows of a date (that of their first target), horizons and targets.
            All forecasts have the same dates; under another loss there may be fewer of them, as a date on
            which no option has an implied volatility is left out.
        bounded: How many values of each forecast were taken at a bound: option prices without an implied
            volatility, or volatilities too far from the actual one. Only of forecasts with any.
        rows: How many values each loss is made of, ``{loss: count}``, the same for all forecasts.
    """

    by_name: dict[str, dict[str, FloatArray]]
    bounded: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def primary(self) -> str:
        """Name of the loss that decides."""
        return next(iter(self.by_name))


def loss_names(windows: Windows) -> tuple[str, ...]:
    """Losses of the task that windows like these set, the one that decides first."""
    if is_volatility(windows.cut):
        return QLIKE, SQUARED_LOG
    if has_option_prices(windows):
        return OVER_STRIKE, IMPLIED_VOLATILITY
    return (ABSOLUTE,)


def is_volatility(cut: Cut) -> bool:
    """Whether every target is a realised volatility of a session, or its logarithm."""
    return VOLATILITIES.keys() >= set(cut.targets)


def task_losses(windows: Windows, forecasts: Mapping[str, FloatArray], scale: FloatArray) -> TaskLosses:
    """Measure forecasts by the losses of their task.

    Args:
        windows: N of them.
        forecasts: By name, each of shape (N, H, K), in the unit of the targets.
        scale: That of MASE, shape (N,) or (N, K), NaN where there is none.

    Raises:
        DataError: If a forecast is not finite, or is of other windows.
    """
    names = loss_names(windows)
    for name, forecast in forecasts.items():
        _check(name, forecast, windows)
    each: dict[str, dict[str, FloatArray]] = {loss: {} for loss in names}
    bounded: dict[str, int] = {}
    rows: dict[str, int] = {}
    unit = loss_unit(windows, scale)[:, None, :]
    for name, forecast in forecasts.items():
        if names[0] == QLIKE:
            ratio = _log_ratio(windows, forecast)
            error = np.clip(ratio, -FURTHEST, FURTHEST)
            values = {QLIKE: qlike(error), SQUARED_LOG: error**2}
            bounded[name] = int(np.count_nonzero((ratio != error) & (ratio > -np.inf)))
        elif names[0] == OVER_STRIKE:
            volatility, outside = volatility_errors(windows, forecast)
            values = {
                OVER_STRIKE: np.abs(strike_errors(windows, forecast)),
                IMPLIED_VOLATILITY: np.abs(volatility),
            }
            bounded[name] = int(np.count_nonzero(outside))
        else:
            values = {ABSOLUTE: np.abs(forecast - windows.targets) / unit}
        for loss, value in values.items():
            each[loss][name] = mean_known_by_date(windows, value)
            rows[loss] = int(np.count_nonzero(np.isfinite(value)))
    return TaskLosses(each, {name: count for name, count in bounded.items() if count}, rows)


def qlike(error: FloatArray) -> FloatArray:
    """QLIKE of the variance, from errors of the logarithm of the volatility, actual minus forecast.

    An error beyond ``FURTHEST`` counts as that.
    """
    # Twice a logarithm of the volatility is that of the variance; expm1 keeps digits near 0.
    twice = 2 * np.clip(error, -FURTHEST, FURTHEST)
    loss: FloatArray = np.expm1(twice) - twice
    return loss


def mean_known_by_date(windows: Windows, values: FloatArray) -> FloatArray:
    """Mean of the finite values (N, H, K) of each date that has one, shape (D,), dates ascending."""
    _, date = np.unique(windows.dates[:, 0], return_inverse=True)
    known = np.isfinite(values)
    counts = np.bincount(date, known.sum(axis=(1, 2)))
    sums = np.bincount(date, np.where(known, values, 0.0).sum(axis=(1, 2)))
    means: FloatArray = sums[counts > 0] / counts[counts > 0]
    return means


def _log_ratio(windows: Windows, forecast: FloatArray) -> FloatArray:
    """ln(actual volatility / forecast), shape (N, H, K): inf of a forecast that is not above zero.

    It is -inf of a session that did not move, under every forecast.
    """
    is_log = np.array([VOLATILITIES[name] for name in windows.cut.targets])
    with np.errstate(divide="ignore"):
        actual, found = (
            np.where(is_log, each, np.log(np.where(is_log, 1.0, np.maximum(each, 0.0))))
            for each in (windows.targets, forecast)
        )
    with np.errstate(invalid="ignore"):
        return np.where(np.isneginf(actual), -np.inf, actual - found)


def _check(name: str, forecast: FloatArray, windows: Windows) -> None:
    shape = (len(windows), windows.cut.horizon, len(windows.cut.targets))
    wrong = np.count_nonzero(~np.isfinite(forecast))
    if forecast.shape != shape or wrong:
        raise DataError(
            f"A forecast that is judged must be finite, one for each target: shape {shape}",
            got=f"'{name}' of shape {forecast.shape}, {wrong} of its values not finite",
            fix="Select the same windows for all forecasts, and look at the loss in the history",
        )
