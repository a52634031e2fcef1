"""The state of the service: what is listed, what time it is there, what goes wrong, and what was asked."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime

from tests.loopback.faults import Fault, FaultBook

from .listing import Listing, make_listing

CRUMB = "loop.back"


class Market:
    """A market whose clock stands still until a test sets it.

    Args:
        listings: What is listed; `usual_listings` if none are given.
        now: Its clock, aware.

    Attributes:
        requests: Every request as (Yahoo host it was meant for, path), oldest first.
        spans: First day of every span of prices asked for, oldest first.
        quoted: Whether options have quotes; outside hours Yahoo shows zeros.
    """

    def __init__(self, listings: list[Listing] | None = None, now: datetime | None = None) -> None:
        given = usual_listings() if listings is None else listings
        self.listings = {listing.symbol: listing for listing in given}
        self.now = now or datetime(2024, 6, 28, 21, 0, tzinfo=UTC)
        self.faults = FaultBook()
        self.requests: list[tuple[str, str]] = []
        self.spans: list[date] = []
        self.quoted = True

    def fault(self, on: str, **changes: object) -> Fault:
        """Make requests fail: `do` may also be "half" (a cut text), "cut", "empty", "redirect"."""
        return self.faults.add("", on=f"GET {on}", **changes)

    def asked(self, part: str = "/v8/finance/chart/") -> int:
        """How many requests had this in their path."""
        return sum(part in path for _, path in self.requests)

    def hosts(self) -> Counter[str]:
        """Yahoo hosts that requests were meant for."""
        return Counter(host for host, _ in self.requests)

    def sessions(self, listing: Listing) -> list[int]:
        """Rows of a listing that have begun."""
        return [row for row, day in enumerate(listing.days) if listing.opens(day) <= self.now]


def usual_listings() -> list[Listing]:
    """Two US stocks, one with actions, an index, a currency pair, a class B share and a London stock."""
    first, last = date(2023, 1, 2), date(2024, 12, 31)
    actions = {
        "dividends": {date(2023, 2, 10): 0.46, date(2023, 8, 11): 0.24, date(2024, 5, 10): 0.25},
        "splits": {date(2023, 6, 5): 2.0, date(2024, 9, 10): 4.0},
    }
    return [
        make_listing("AAPL", first, last, seed=1, **actions),
        make_listing("MSFT", first, last, seed=2),
        make_listing("^GSPC", first, last, seed=3, kind="INDEX"),
        make_listing("EURUSD=X", first, last, seed=4, zone="Europe/London", kind="CURRENCY"),
        make_listing("BRK-B", first, last, seed=5),
        make_listing("AAPL240719C00200000", date(2024, 3, 1), date(2024, 7, 19), seed=6, kind="OPTION"),
    ]
