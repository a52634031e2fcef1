"""Columns of options. Moneyness and greeks take the implied volatility of the row before.

So they are known before the day's option quotes are, and may stand beside a window of task ``price``.
"""

from __future__ import annotations

import numpy as np

from qhq.data.columns.series import last_finite, previous
from qhq.data.panel import FloatArray, Panel
from qhq.pricing import black_scholes
from qhq.pricing.implied_volatility import implied_volatility

DAYS_A_YEAR = 365.0


def years(panel: Panel) -> FloatArray:
    """Calendar days to expiry over 365, shape (R,)."""
    return (panel.column("expiry") - panel.dates.astype("datetime64[D]").astype(np.float64)) / DAYS_A_YEAR


def mid(panel: Panel) -> FloatArray:
    """Middle of bid and ask, or without them the Black-Scholes price of ``iv``, shape (R,)."""
    if {"bid", "ask"} <= set(panel.columns):
        return (panel.column("bid") + panel.column("ask")) / 2
    return black_scholes.price(*_contract(panel), panel.column("iv"), discount(panel), panel.column("right"))


def iv(panel: Panel) -> FloatArray:
    """Black-Scholes implied volatility of ``mid``, NaN where there is none, shape (R,)."""
    return implied_volatility(panel.column("mid"), *_contract(panel), discount(panel), panel.column("right"))


def forward(panel: Panel) -> FloatArray:
    """Forward price of the underlying, spot / discount: no dividend until expiry, shape (R,)."""
    return panel.column("spot") / discount(panel)


def spot_return(panel: Panel) -> FloatArray:
    """ln(spot / the row before's): what the underlying did since the last quotes, shape (R,)."""
    logs = np.log(panel.column("spot"))
    return logs - previous(panel, logs)


def spread(panel: Panel) -> FloatArray:
    """Ask - bid, shape (R,)."""
    return panel.column("ask") - panel.column("bid")


def log_moneyness(panel: Panel) -> FloatArray:
    """ln(strike / forward), shape (R,)."""
    return np.log(panel.column("strike") / panel.column("forward"))


def moneyness(panel: Panel) -> FloatArray:
    """Log-moneyness over iv sqrt(years), with the row before's iv: in standard deviations, shape (R,)."""
    scale = earlier_volatility(panel) * np.sqrt(np.maximum(panel.column("years"), 0))
    return _divide(log_moneyness(panel), scale)


def delta(panel: Panel) -> FloatArray:
    """Change of price for a unit of spot, shape (R,)."""
    return black_scholes.delta(*_greek_inputs(panel))


def gamma(panel: Panel) -> FloatArray:
    """Change of delta for a unit of spot, shape (R,)."""
    return black_scholes.gamma(*_greek_inputs(panel))


def vega(panel: Panel) -> FloatArray:
    """Change of price for a unit of volatility, shape (R,)."""
    return black_scholes.vega(*_greek_inputs(panel))


def theta(panel: Panel) -> FloatArray:
    """Change of price for a year that passes, shape (R,)."""
    return black_scholes.theta(*_greek_inputs(panel))


def discount(panel: Panel) -> FloatArray:
    """exp(-rate years), shape (R,)."""
    return np.exp(-panel.column("rate") * panel.column("years"))


def earlier_volatility(panel: Panel) -> FloatArray:
    """Newest implied volatility of the series before the row, shape (R,)."""
    return previous(panel, last_finite(panel, panel.column("iv")))


def _contract(panel: Panel) -> tuple[FloatArray, FloatArray, FloatArray]:
    return panel.column("forward"), panel.column("strike"), panel.column("years")


def _greek_inputs(panel: Panel) -> tuple[FloatArray, ...]:
    return (*_contract(panel), earlier_volatility(panel), discount(panel), panel.column("right"))


def _divide(values: FloatArray, by: FloatArray) -> FloatArray:
    positive = by > 0
    return np.where(positive, values / np.where(positive, by, 1.0), np.nan)
