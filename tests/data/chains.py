"""Chains made by hand, as a source of quotes gives them."""

from __future__ import annotations

from datetime import date, datetime

import pandas as pd

EXPIRIES = (date(2026, 12, 18), date(2027, 1, 15))


def make_chain(
    underlying: str = "AAPL",
    *,
    expiry: date = EXPIRIES[0],
    session: str = "2026-11-20",
    stamp: str = "2026-11-20T21:20:00",
    strikes: tuple[float, ...] = (190.0, 200.0),
    bid: float = 3.0,
) -> pd.DataFrame:
    """Calls and puts of one expiry; bids grow by strike."""
    rows = [
        {
            "contract_id": f"{underlying}{expiry:%y%m%d}{side[0].upper()}{int(strike * 1000):08d}",
            "underlying": underlying,
            "date": pd.Timestamp(session),
            "expiry": pd.Timestamp(expiry),
            "strike": strike,
            "right": side,
            "style": "american",
            "bid": bid + number,
            "ask": bid + number + 0.1,
            "last": bid + number,
            "iv": 0.25 + 0.01 * number,
            "volume": 10.0,
            "open_interest": 100.0,
            "spot": 195.0,
            "quote_time": pd.Timestamp(stamp, tz="UTC"),
            "kind": "traded",
        }
        for side in ("call", "put")
        for number, strike in enumerate(strikes)
    ]
    return pd.DataFrame(rows)


class Source:
    """Chains at hand; ``broken`` names (symbol, expiry) or symbols that fail."""

    def __init__(self, now: datetime, broken: set[object] | None = None) -> None:
        self.now, self.broken = now, broken or set()

    def expiries(self, symbol: str) -> tuple[date, ...]:
        if symbol in self.broken:
            raise ValueError(f"no options of {symbol}")
        return EXPIRIES

    def chain(self, symbol: str, expiry: date) -> pd.DataFrame:
        if (symbol, expiry) in self.broken:
            raise OSError("the line is dead")
        stamp, session = f"{self.now:%Y-%m-%dT%H:%M:%S}", f"{self.now:%Y-%m-%d}"
        return make_chain(symbol, expiry=expiry, session=session, stamp=stamp)
