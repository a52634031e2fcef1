"""Columns of stocks: returns, and the volatility of a session from its open, high, low and close."""

from __future__ import annotations

import numpy as np

from qhq.data.columns.series import previous
from qhq.data.panel import FloatArray, Panel


def log_return(panel: Panel) -> FloatArray:
    """ln(adj_close / the row before's), per session, shape (R,)."""
    logs = np.log(panel.column("adj_close"))
    return logs - previous(panel, logs)


def garman_klass(panel: Panel) -> FloatArray:
    """Volatility of the session, sqrt(ln(H/L)^2 / 2 - (2 ln 2 - 1) ln(C/O)^2), shape (R,).

    Garman and Klass, "On the estimation of security price volatilities from historical data" (1980).
    """
    span = np.log(panel.column("high") / panel.column("low"))
    move = np.log(panel.column("close") / panel.column("open"))
    volatility: FloatArray = np.sqrt(span**2 / 2 - (2 * np.log(2) - 1) * move**2)
    return volatility


def parkinson(panel: Panel) -> FloatArray:
    """Volatility of the session, ln(H/L) / sqrt(4 ln 2), shape (R,).

    Parkinson, "The extreme value method for estimating the variance of the rate of return" (1980).
    """
    # Rounding can put a low above its high by a hair.
    span = np.maximum(np.log(panel.column("high") / panel.column("low")), 0)
    volatility: FloatArray = span / np.sqrt(4 * np.log(2))
    return volatility


def log_garman_klass(panel: Panel) -> FloatArray:
    """Logarithm of `garman_klass`, NaN on a session that did not move, shape (R,)."""
    return _log(garman_klass(panel))


def log_parkinson(panel: Panel) -> FloatArray:
    """Logarithm of `parkinson`, NaN on a session that did not move, shape (R,)."""
    return _log(parkinson(panel))


def weekday(panel: Panel) -> FloatArray:
    """Day of the week, Monday 0 to Sunday 6, shape (R,)."""
    # 1970-01-01 was a Thursday.
    return ((panel.dates.astype("datetime64[D]").astype(np.int64) + 3) % 7).astype(np.float64)


def days_since(panel: Panel) -> FloatArray:
    """Calendar days since the row before of the same series, NaN at its first, shape (R,)."""
    days = panel.dates.astype("datetime64[D]").astype(np.float64)
    return days - previous(panel, days)


def _log(volatility: FloatArray) -> FloatArray:
    moved = volatility > 0
    return np.where(moved, np.log(np.where(moved, volatility, 1.0)), np.nan)
