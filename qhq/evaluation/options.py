"""Errors of option prices: over the strike, and in implied volatility.

An error in percent of the price says nothing of an option worth a cent; over the strike, or as a volatility,
errors of contracts and underlyings can be put side by side. The implied volatility is that of a European
option: the right of an American one to exercise early is taken to be worth nothing.

Which rows count is decided by the actual prices alone: those that have an implied volatility. A forecast that
has none there (at or below the intrinsic value, or at or above what no option can be worth) is not left out,
or a model would be rid of its worst rows: it is taken at the nearest bound, a volatility of 0 or of
`HIGHEST_VOLATILITY`, and counted. So all forecasts of the same windows are judged by the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qhq.data.columns import OPTION_PRICES
from qhq.data.panel import FloatArray
from qhq.data.windows import Windows
from qhq.errors import DataError
from qhq.pricing.black_scholes import implied_volatility

HIGHEST_VOLATILITY = 5.0
"""No forecast's implied volatility counts as more, per square root of a year, unless the actual one is."""

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
    return _measure(strike_errors(windows, forecast), *volatility_errors(windows, forecast), every)


def score_options_by_group(windows: Windows, forecast: FloatArray) -> dict[str, OptionMetrics]:
    """Measure each underlying alone; arguments and errors as in ``score_options``."""
    price, (volatility, bounded) = strike_errors(windows, forecast), volatility_errors(windows, forecast)
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


def strike_errors(windows: Windows, forecast: FloatArray) -> FloatArray:
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
    highest = np.fmax(actual, HIGHEST_VOLATILITY)
    # Without a volatility a price is too low for any or too high for any; the intrinsic value tells which.
    intrinsic = discount * np.maximum(right * (forward - strike), 0.0)
    found = np.where(bounded, np.where(forecast > intrinsic, highest, 0.0), np.minimum(found, highest))
    return np.asarray(np.where(known, found - actual, np.nan)), np.asarray(bounded)


def _at_targets(windows: Windows, name: str) -> FloatArray:
    """Look up a column at the target rows, shape (N, H, 1)."""
    rows = windows.starts[:, None] + windows.cut.window + np.arange(windows.cut.horizon)
    values: FloatArray = windows.panel.column(name)[rows][:, :, None]
    return values
