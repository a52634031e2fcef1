"""In which units an option file is written: what a config says of it. Imports neither numpy nor pandas."""

from __future__ import annotations

from typing import Literal

from qhq.documents import Spec

Volatility = Literal["fraction", "percent", "basis_points", "variance", "total_variance"]


class OptionUnits(Spec):
    """Units of an option file; None is what the panel has, and doubted where the numbers look otherwise.

    Attributes:
        volatility: Of ``iv``: a fraction per square root of a year (0.2), percent (20), basis points (2000),
            variance (0.04), or variance times years to expiry.
        rates: Of ``rate``: a fraction per year (0.05) or percent (5).
        prices: Of bid, ask, mid and last: per share, or per contract of 100 shares (or of ``multiplier``).
        strikes: In the unit of the spot, in hundredths or in thousandths of it.
        expiries: ``as_written``, or ``last_trading_day``: a Saturday, a Sunday or a US exchange holiday
            means the last trading day before it, to which days to expiry are then counted.
    """

    volatility: Volatility | None = None
    rates: Literal["fraction", "percent"] | None = None
    prices: Literal["per_share", "per_contract"] | None = None
    strikes: Literal["spot_unit", "hundredths", "thousandths"] | None = None
    expiries: Literal["as_written", "last_trading_day"] | None = None


AS_PANEL = OptionUnits()
"""Nothing said of the units."""
