"""Columns of options. Moneyness and greeks take volatility and dividend yield of the row before.

So they are known before the day's option quotes are, and may stand beside a window of task ``price``.
"""

from __future__ import annotations

import numpy as np

from qhq.data.columns.market import discount
from qhq.data.columns.series import last_finite, previous
from qhq.data.panel import FloatArray, Panel
from qhq.pricing import black_scholes


def spot_return(panel: Panel) -> FloatArray:
    """ln(spot / the row before's): what the underlying did since the last quotes, shape (R,)."""
    logs = np.log(panel.column("spot"))
    return logs - previous(panel, logs)


def spread(panel: Panel) -> FloatArray:
    """Ask - bid, shape (R,)."""
    return panel.column("ask") - panel.column("bid")


def log_moneyness(panel: Panel) -> FloatArray:
    """ln(strike / forward), the forward by the dividend yield of the row before, shape (R,)."""
    return np.log(panel.column("strike") / known_forward(panel))


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


def known_forward(panel: Panel) -> FloatArray:
    """Spot exp((rate - q) years), q the dividend yield in the row before's forward, at first 0, shape (R,).

    The day's own forward is often taken from the day's option quotes.
    """
    rate, years, spot = panel.column("rate"), panel.column("years"), panel.column("spot")
    growth = np.log(panel.column("forward") / spot)
    before = previous(panel, rate - _divide(growth, years))
    known = np.nan_to_num(before, nan=0.0)
    return spot * np.exp((rate - known) * years)


def earlier_volatility(panel: Panel) -> FloatArray:
    """Newest implied volatility of the series before the row, shape (R,)."""
    return previous(panel, last_finite(panel, panel.column("iv")))


def _greek_inputs(panel: Panel) -> tuple[FloatArray, ...]:
    contract = (known_forward(panel), panel.column("strike"), panel.column("years"))
    return (*contract, earlier_volatility(panel), discount(panel), panel.column("right"))


def _divide(values: FloatArray, by: FloatArray) -> FloatArray:
    positive = by > 0
    return np.where(positive, values / np.where(positive, by, 1.0), np.nan)
