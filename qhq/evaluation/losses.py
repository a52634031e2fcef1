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
symbol and target (`loss_unit`).

The first loss decides; it is named before anything is measured. Whether the second agrees stands beside it.

Errors of option prices are over the strike, or in implied volatility: an error in percent of the price says
nothing of an option worth a cent, while over the strike, or as a volatility, errors of contracts and
underlyings can be put side by side. The implied volatility is that of a European option: the right of an
American one to exercise early is taken to be worth nothing.

Which rows count is decided by the actual prices alone: those that have an implied volatility. A forecast that
has none there (at or below the intrinsic value, or at or above what no option can be worth) is not left out,
or a model could escape its worst errors: it is taken at the nearest bound, a volatility of 0 or of
`_HIGHEST_VOLATILITY`, and counted. So all forecasts of the same windows are judged by the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from qhq.data.columns import OPTION_PRICES
from qhq.data.panel import FloatArray
from qhq.data.windows import Cut, Windows
from qhq.errors import DataError
from qhq.evaluation.baselines.har import VOLATILITIES
from qhq.evaluation.baselines.persistence import last_value
from qhq.pricing.black_scholes import implied_volatility

QLIKE, _SQUARED_LOG = "qlike", "squared_log"
_OVER_STRIKE, _IMPLIED_VOLATILITY = "over_strike", "implied_volatility"
ABSOLUTE = "absolute"

TITLES = {
    QLIKE: "QLIKE",
    _SQUARED_LOG: "squared log error",
    _OVER_STRIKE: "absolute error over the strike",
    _IMPLIED_VOLATILITY: "absolute error of the implied volatility",
    ABSOLUTE: "absolute error over the symbol's unit",
}
"""Losses as people read them."""

SHORT = {
    QLIKE: "QLIKE",
    _SQUARED_LOG: "log error²",
    _OVER_STRIKE: "error/strike",
    _IMPLIED_VOLATILITY: "iv error",
    ABSOLUTE: "error/unit",
}
"""The same at the head of a column."""

# A forecast of less than a hundredth of the volatility, or more than a hundred times it, counts as that.
# Without a bound a single forecast that is not above zero would have an infinite loss, and no mean would say
# anything of all the others.
_FURTHEST = float(np.log(100.0))


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
        return QLIKE, _SQUARED_LOG
    if has_option_prices(windows):
        return _OVER_STRIKE, _IMPLIED_VOLATILITY
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
            error = np.clip(ratio, -_FURTHEST, _FURTHEST)
            values = {QLIKE: qlike(error), _SQUARED_LOG: error**2}
            # Of a session that did not move every forecast is at the bound: that says nothing of this one.
            bounded[name] = int(np.count_nonzero((ratio != error) & (ratio > -np.inf)))
        elif names[0] == _OVER_STRIKE:
            volatility, outside = volatility_errors(windows, forecast)
            values = {
                _OVER_STRIKE: np.abs(_strike_errors(windows, forecast)),
                _IMPLIED_VOLATILITY: np.abs(volatility),
            }
            bounded[name] = int(np.count_nonzero(outside))
        else:
            values = {ABSOLUTE: np.abs(forecast - windows.targets) / unit}
        for loss, value in values.items():
            each[loss][name] = _mean_known_by_date(windows, value)
            rows[loss] = int(np.count_nonzero(np.isfinite(value)))
    return TaskLosses(each, {name: count for name, count in bounded.items() if count}, rows)


def qlike(error: FloatArray) -> FloatArray:
    """QLIKE of the variance, from errors of the logarithm of the volatility, actual minus forecast.

    An error beyond ``_FURTHEST`` counts as that.
    """
    # Twice a logarithm of the volatility is that of the variance; expm1 keeps digits near 0.
    twice = 2 * np.clip(error, -_FURTHEST, _FURTHEST)
    loss: FloatArray = np.expm1(twice) - twice
    return loss


def _mean_known_by_date(windows: Windows, values: FloatArray) -> FloatArray:
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
            # np.where computes both sides: what is a logarithm already must not be logged, nor warn.
            np.where(is_log, each, np.log(np.where(is_log, 1.0, np.maximum(each, 0.0))))
            for each in (windows.targets, forecast)
        )
    with np.errstate(invalid="ignore"):
        # Of a forecast of 0 as well the difference would be NaN.
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


_Loss = Literal["absolute", "squared"]


def date_losses(
    windows: Windows, forecast: FloatArray, unit: FloatArray, loss: _Loss = "absolute"
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
    _, date, counts = np.unique(windows.dates[:, 0], return_inverse=True, return_counts=True)
    means: FloatArray = np.bincount(date, each) / counts
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
    # A copy, as a broadcast array cannot be written to.
    unit = np.broadcast_to(scale.reshape(len(scale), -1), shape).copy()
    error = np.abs(windows.targets - last_value(windows)).mean(axis=1)
    for name in np.unique(windows.group[np.isnan(unit).any(axis=1)]):
        own = windows.group == name
        mean = error[own].mean(axis=0)
        unit[own] = np.where(np.isnan(unit[own]), np.where(mean > 0, mean, 1.0), unit[own])
    return unit


# No forecast's implied volatility counts as more, per square root of a year, unless the actual one is.
_HIGHEST_VOLATILITY = 5.0

_Rows = npt.NDArray[np.bool_] | slice


@dataclass(frozen=True)
class OptionMetrics:
    """Errors over all windows, horizons and targets.

    Attributes:
        mae_over_strike: Mean absolute error over the strike, no unit.
        rmse_over_strike: Root mean square error over the strike, no unit.
        iv_mae: Mean absolute error of the implied volatility, a fraction per square root of a year, where the
            actual price has one; None where none has.
        iv_rows: Values that ``iv_mae`` is the mean of, the same for all forecasts of the same windows.
        iv_bounded: How many forecasts of those have no implied volatility and were taken at a bound.
    """

    mae_over_strike: float
    rmse_over_strike: float
    iv_mae: float | None
    iv_rows: int
    iv_bounded: int


def has_option_prices(windows: Windows) -> bool:
    """Whether these are windows of options, and every target is a price."""
    return bool(windows.panel.groups) and set(windows.cut.targets) <= set(OPTION_PRICES)


def score_options(windows: Windows, forecast: FloatArray) -> OptionMetrics:
    """Measure forecasts of option prices, shape (N, H, K).

    Raises:
        DataError: If the targets are not prices of options.
    """
    every: _Rows = slice(None)
    return _measure(_strike_errors(windows, forecast), *volatility_errors(windows, forecast), every)


def score_options_by_group(windows: Windows, forecast: FloatArray) -> dict[str, OptionMetrics]:
    """Measure each underlying alone; arguments and errors as in ``score_options``."""
    price, (volatility, bounded) = _strike_errors(windows, forecast), volatility_errors(windows, forecast)
    group = windows.group
    return {
        name: _measure(price, volatility, bounded, group == name) for name in dict.fromkeys(group.tolist())
    }


def _measure(
    price: FloatArray, volatility: FloatArray, bounded: npt.NDArray[np.bool_], rows: _Rows
) -> OptionMetrics:
    price, volatility = price[rows], volatility[rows]
    known = np.isfinite(volatility)
    return OptionMetrics(
        mae_over_strike=float(np.abs(price).mean()),
        rmse_over_strike=float(np.sqrt(np.mean(price**2))),
        iv_mae=float(np.abs(volatility[known]).mean()) if known.any() else None,
        iv_rows=int(np.count_nonzero(known)),
        iv_bounded=int(np.count_nonzero(bounded[rows])),
    )


def _strike_errors(windows: Windows, forecast: FloatArray) -> FloatArray:
    """Error over the strike, shape (N, H, K).

    Raises:
        DataError: If the targets are not prices of options, or the forecast (N, H, K) is of other windows.
    """
    actual = windows.targets
    if not has_option_prices(windows) or forecast.shape != actual.shape or not len(actual):
        raise DataError(
            f"Errors over the strike need prices of options ({', '.join(OPTION_PRICES)}), forecast (N, H, K),"
            " N > 0",
            got=f"{', '.join(windows.cut.targets)} with forecasts of shape {forecast.shape}",
            fix="Choose other data.targets, or select the same windows for both",
        )
    return (forecast - actual) / windows.known("strike")[:, None, None]


def volatility_errors(windows: Windows, forecast: FloatArray) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Error of the implied volatility, and which forecasts were taken at a bound, both of shape (N, H, K).

    The error is NaN where the actual price has no implied volatility, whatever the forecast is. Spot, time to
    expiry and rate are those of the target's own row: this judges, it does not forecast.
    """
    names = ("forward", "strike", "years", "rate", "right")
    forward, strike, years, rate, right = (_at_targets(windows, name) for name in names)
    discount = np.exp(-rate * years)
    market = (forward, strike, years, discount, right)
    actual, found = implied_volatility(windows.targets, *market), implied_volatility(forecast, *market)
    known = np.isfinite(actual)
    bounded = known & ~np.isfinite(found)
    # fmax, as an actual volatility may be NaN: then the bound stands alone.
    highest = np.fmax(actual, _HIGHEST_VOLATILITY)
    # Without a volatility a price is too low for any or too high for any; the intrinsic value tells which.
    intrinsic = discount * np.maximum(right * (forward - strike), 0.0)
    found = np.where(bounded, np.where(forecast > intrinsic, highest, 0.0), np.minimum(found, highest))
    return np.asarray(np.where(known, found - actual, np.nan)), np.asarray(bounded)


def _at_targets(windows: Windows, name: str) -> FloatArray:
    """Look up a column at the target rows, shape (N, H, 1)."""
    rows = windows.starts[:, None] + windows.cut.window + np.arange(windows.cut.horizon)
    values: FloatArray = windows.panel.column(name)[rows][:, :, None]
    return values
