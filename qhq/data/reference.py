"""What option quotes would be if the volatility of the last input row still held."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qhq.data.columns import OPTION_PRICES
from qhq.data.panel import FloatArray
from qhq.data.windows import Windows
from qhq.pricing import black_scholes
from qhq.pricing.implied_volatility import implied_volatility


@dataclass(frozen=True, eq=False)
class Market:
    """All but the volatility that prices the option of each window, every array of shape (N, 1).

    Attributes:
        forward: Forward price of the underlying at expiry.
        strike: Strike.
        years: Time to expiry.
        discount: Value of 1 paid at expiry.
        right: +1 for a call, -1 for a put.
    """

    forward: FloatArray
    strike: FloatArray
    years: FloatArray
    discount: FloatArray
    right: FloatArray

    def price(self, volatility: FloatArray) -> FloatArray:
        """Price by Black-Scholes: volatility (N, H) per square root of a year -> (N, H)."""
        return black_scholes.price(
            self.forward, self.strike, self.years, volatility, self.discount, self.right
        )

    def volatility(self, price: FloatArray) -> FloatArray:
        """Implied volatility of prices (N, H), NaN where there is none, shape (N, H)."""
        return implied_volatility(price, self.forward, self.strike, self.years, self.discount, self.right)


def known_market(windows: Windows) -> Market:
    """Gather what is known when forecasting: today's spot for task ``price``, else the last row's.

    The forward is spot exp((rate - q) years), with the dividend yield q that the last input row's own
    forward has; so a forecast prices the last row's option exactly as its volatility was found.
    """
    spot, strike, years, rate, right = (
        windows.known(name)[:, None] for name in ("spot", "strike", "years", "rate", "right")
    )
    forward = spot * np.exp((rate - _dividend_yield(windows)[:, None]) * years)
    return Market(forward, strike, years, np.exp(-rate * years), right)


def black_scholes_reference(windows: Windows) -> FloatArray:
    """Targets that the last input row's implied volatility implies, shape (N, H, K), in their own unit.

    ``mid`` is the Black-Scholes price at the known spot, strike, years and rate: today's for task ``price``,
    the last row's, alike for every horizon, for ``forecast``. ``bid``, ``ask`` and ``last`` lie beside it as
    they did in the last row, and not below zero. Any other target, ``iv`` too, keeps its last value.

    NaN where the last row has no implied volatility.
    """
    reference = np.repeat(windows.last[:, None], windows.cut.horizon, axis=1)
    names = windows.cut.targets
    if set(OPTION_PRICES).isdisjoint(names):
        return reference
    mid = known_market(windows).price(windows.at_last("iv")[:, None])
    earlier = windows.at_last("mid")[:, None]
    for column, name in enumerate(names):
        if name in OPTION_PRICES:
            aside = windows.last[:, [column]] - earlier
            reference[:, :, column] = mid if name == "mid" else np.maximum(mid + aside, 0.0)
    return reference


def _dividend_yield(windows: Windows) -> FloatArray:
    """Yield per year that the last input row's forward has, 0 where it tells none, shape (N,)."""
    forward, spot, years, rate = (windows.at_last(name) for name in ("forward", "spot", "years", "rate"))
    known = np.isfinite(forward) & (years > 0)
    carry = np.log(np.where(known, forward / spot, 1.0)) / np.where(known, years, 1.0)
    return np.where(known, rate - carry, 0.0)
