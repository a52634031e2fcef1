"""Errors of option prices: over the strike, and in implied volatility.

An error in percent of the price says nothing of an option worth a cent; over the strike, or as a volatility,
errors of contracts and underlyings can be put side by side. The implied volatility is that of a European
option: the right of an American one to exercise early is taken to be worth nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qhq.data.panel import FloatArray
from qhq.data.reference import QUOTES
from qhq.data.windows import Windows
from qhq.errors import DataError
from qhq.pricing.implied_volatility import implied_volatility

_Rows = npt.NDArray[np.bool_] | slice


@dataclass(frozen=True)
class OptionMetrics:
    """Errors over all windows, horizons and targets.

    Attributes:
        mae_over_strike: Mean absolute error over the strike, no unit.
        rmse_over_strike: Root mean square error over the strike, no unit.
        iv_mae: Mean absolute error of the implied volatility, a fraction per square root of a year, where
            both the forecast and the actual price have one; None where none has.
        iv_rows: Values that ``iv_mae`` is the mean of.
    """

    mae_over_strike: float
    rmse_over_strike: float
    iv_mae: float | None
    iv_rows: int


def has_option_prices(windows: Windows) -> bool:
    """Whether these are windows of options, and every target is a price."""
    return bool(windows.panel.groups) and set(windows.cut.targets) <= set(QUOTES)


def score_options(windows: Windows, forecast: FloatArray) -> OptionMetrics:
    """Measure forecasts of option prices, shape (N, H, K).

    Raises:
        DataError: If the targets are not prices of options.
    """
    return _measure(_strike_error(windows, forecast), _volatility_error(windows, forecast), slice(None))


def score_options_by_group(windows: Windows, forecast: FloatArray) -> dict[str, OptionMetrics]:
    """Measure each underlying alone; arguments and errors as in ``score_options``."""
    price, volatility = _strike_error(windows, forecast), _volatility_error(windows, forecast)
    group = windows.group
    return {name: _measure(price, volatility, group == name) for name in dict.fromkeys(group.tolist())}


def _measure(price: FloatArray, volatility: FloatArray, rows: _Rows) -> OptionMetrics:
    price, volatility = price[rows], volatility[rows]
    both = np.isfinite(volatility)
    return OptionMetrics(
        mae_over_strike=float(np.abs(price).mean()),
        rmse_over_strike=float(np.sqrt(np.mean(price**2))),
        iv_mae=float(np.abs(volatility[both]).mean()) if both.any() else None,
        iv_rows=int(np.count_nonzero(both)),
    )


def _strike_error(windows: Windows, forecast: FloatArray) -> FloatArray:
    """Error over the strike, shape (N, H, K)."""
    actual = windows.targets
    if not has_option_prices(windows) or forecast.shape != actual.shape or not len(actual):
        raise DataError(
            f"Errors over the strike need prices of options ({', '.join(QUOTES)}), forecast (N, H, K), N > 0",
            got=f"{', '.join(windows.cut.targets)} with forecasts of shape {forecast.shape}",
            fix="Choose other data.targets, or select the same windows for both",
        )
    return (forecast - actual) / windows.known("strike")[:, None, None]


def _volatility_error(windows: Windows, forecast: FloatArray) -> FloatArray:
    """Error of the implied volatility, NaN where forecast or actual has none, shape (N, H, K).

    Spot, time to expiry and rate are those of the target's own row: this judges, it does not forecast.
    """
    names = ("forward", "strike", "years", "rate", "right")
    forward, strike, years, rate, right = (_at_targets(windows, name) for name in names)
    market = (forward, strike, years, np.exp(-rate * years), right)
    return np.asarray(implied_volatility(forecast, *market) - implied_volatility(windows.targets, *market))


def _at_targets(windows: Windows, name: str) -> FloatArray:
    """Look up a column at the target rows, shape (N, H, 1)."""
    rows = windows.starts[:, None] + windows.cut.window + np.arange(windows.cut.horizon)
    values: FloatArray = windows.panel.column(name)[rows][:, :, None]
    return values
