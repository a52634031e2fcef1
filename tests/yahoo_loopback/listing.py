"""What was really traded: prices and volumes as they stood on the day."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

import numpy as np

OPEN, CLOSE = time(9, 30), time(16, 0)


@dataclass
class Listing:
    """One symbol; T sessions.

    Attributes:
        symbol: Yahoo's.
        days: Sessions, oldest first.
        prices: open, high, low, close as traded, shape (T, 4).
        volume: Shares as traded, shape (T,).
        dividends: Ex-date -> per share as of then.
        splits: Ex-date -> new shares for an old one.
        zone: Of the exchange.
        kind: Yahoo's instrumentType.
    """

    symbol: str
    days: list[date]
    prices: np.ndarray
    volume: np.ndarray
    dividends: dict[date, float] = field(default_factory=dict)
    splits: dict[date, float] = field(default_factory=dict)
    zone: str = "America/New_York"
    kind: str = "EQUITY"

    @property
    def close(self) -> np.ndarray:
        """Closes as traded, shape (T,)."""
        return self.prices[:, 3]

    def opens(self, day: date) -> datetime:
        """When the session of a day opens."""
        return datetime.combine(day, OPEN, ZoneInfo(self.zone))

    def closes(self, day: date) -> datetime:
        """When it closes."""
        return datetime.combine(day, CLOSE, ZoneInfo(self.zone))


def make_listing(
    symbol: str,
    first: date,
    last: date,
    *,
    seed: int = 0,
    dividends: dict[date, float] | None = None,
    splits: dict[date, float] | None = None,
    zone: str = "America/New_York",
    kind: str = "EQUITY",
) -> Listing:
    """A seeded random walk over all weekdays, in cents, that falls with its splits and dividends."""
    rng = np.random.default_rng(seed)
    span = np.arange(first, np.datetime64(last, "D") + 1, dtype="datetime64[D]")
    days = span[np.is_busday(span)].tolist()
    dividends, splits = dividends or {}, splits or {}
    close, closes = 400.0, []
    for day, move in zip(days, rng.normal(0, 0.01, len(days)), strict=True):
        close = (close * np.exp(move)) / splits.get(day, 1.0) - dividends.get(day, 0.0)
        closes.append(close)
    prices = np.array(closes)[:, None] * (1 + rng.uniform(0, 0.005, (len(days), 4)) * [1, 4, -4, 0])
    prices[:, 1], prices[:, 2] = prices.max(axis=1), prices.min(axis=1)
    volume = rng.integers(1_000, 9_000, len(days)) * 1000
    return Listing(symbol, days, np.round(prices, 2), volume, dividends, splits, zone, kind)
