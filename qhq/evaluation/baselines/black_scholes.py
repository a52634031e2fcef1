"""Black-Scholes with the implied volatility of the last input row, at the same strike and expiry."""

from __future__ import annotations

import numpy as np

from qhq.data.columns import OPTION_PRICES
from qhq.data.panel import FloatArray
from qhq.data.scaling.option import black_scholes_reference
from qhq.data.windows import Cut, Windows
from qhq.evaluation.baselines.last_value import last_value

PRICED = frozenset({*OPTION_PRICES, "iv"})
"""Quotes that follow from a volatility."""


def suits_black_scholes(windows: Windows) -> bool:
    """Whether the windows are of options, know implied volatilities, and it says more than the last value."""
    panel = windows.panel
    return bool(panel.groups) and "iv" in panel.columns and is_priced(windows.cut)


def is_priced(cut: Cut) -> bool:
    """Whether today's quotes are asked for, and follow from a volatility and today's spot.

    Without today's spot (task ``forecast``), or where the volatility itself is the target, a volatility that
    stays is a quote that stays: the last value once more, which is not counted twice.
    """
    targets = set(cut.targets)
    return cut.task == "price" and targets <= PRICED and not targets.isdisjoint(OPTION_PRICES)


def black_scholes(windows: Windows) -> FloatArray:
    """Forecast that the contract's volatility stays, shape (N, H, K), in the unit of the targets.

    A window whose last input row has no implied volatility gets the last value instead.
    """
    reference = black_scholes_reference(windows)
    return np.where(np.isfinite(reference), reference, last_value(windows))
