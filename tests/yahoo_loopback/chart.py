"""``/v8/finance/chart/{symbol}``: daily bars, adjusted for all splits up to today, as Yahoo's are."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from .listing import Listing
from .market import Market

Reply = dict[str, Any]


def unknown() -> Reply:
    """What is said of a symbol that is not listed, or no longer."""
    error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
    return {"chart": {"result": None, "error": error}}


def empty_chart(market: Market, listing: Listing) -> Reply:
    """A chart without a bar."""
    bare = {"meta": _meta(market, listing), "indicators": {"quote": [{}], "adjclose": [{}]}}
    return {"chart": {"result": [bare], "error": None}}


def chart(market: Market, listing: Listing, query: dict[str, str]) -> Reply:
    """The bars of a span, or of the last day."""
    stamps = {row: _stamp(market, listing, row) for row in market.sessions(listing)}
    first = int(query.get("period1", max(stamps.values(), default=0) if "range" in query else 0))
    last = int(query.get("period2", 2**40))
    rows = [row for row, stamp in stamps.items() if first <= stamp < last]
    if not rows:
        return empty_chart(market, listing)
    later = np.array([_later_splits(market, listing, row) for row in rows])
    prices = np.float32(listing.prices[rows] / later[:, None]).astype(float)
    names = ("open", "high", "low", "close")
    quote: Reply = {name: _numbers(prices[:, column]) for column, name in enumerate(names)}
    quote["volume"] = np.rint(listing.volume[rows] * later).astype(int).tolist()
    result = {
        "meta": _meta(market, listing),
        "timestamp": [stamps[row] for row in rows],
        "indicators": {"quote": [quote], "adjclose": [{"adjclose": quote["close"]}]},
    }
    events = _events(market, listing, rows)
    return {"chart": {"result": [{**result, "events": events} if events else result], "error": None}}


def _numbers(values: np.ndarray) -> list[float | None]:
    """JSON has no NaN; Yahoo has null for a price that is missing."""
    return [None if np.isnan(value) else float(value) for value in values]


def _stamp(market: Market, listing: Listing, row: int) -> int:
    """Of the opening; but a bar that is still growing has the time of the last trade."""
    day = listing.days[row]
    moment = market.now if listing.opens(day) <= market.now < listing.closes(day) else listing.opens(day)
    return int(moment.timestamp())


def _later_splits(market: Market, listing: Listing, row: int) -> float:
    day, now = listing.days[row], market.now
    known = [ratio for at, ratio in listing.splits.items() if at > day and listing.opens(at) <= now]
    return float(np.prod(known)) if known else 1.0


def _events(market: Market, listing: Listing, rows: list[int]) -> Reply:
    days = {listing.days[row]: row for row in rows}
    dividends, splits = {}, {}
    for day, amount in listing.dividends.items():
        if day in days:
            stamp = int(listing.opens(day).timestamp())
            dividends[str(stamp)] = {
                "amount": amount / _later_splits(market, listing, days[day]),
                "date": stamp,
            }
    for day, ratio in listing.splits.items():
        if day in days:
            stamp = int(listing.opens(day).timestamp())
            splits[str(stamp)] = {
                "date": stamp,
                "numerator": ratio,
                "denominator": 1.0,
                "splitRatio": f"{ratio:g}:1",
            }
    events = {"dividends": dividends, "splits": splits}
    return {name: found for name, found in events.items() if found}


def _meta(market: Market, listing: Listing) -> Reply:
    rows = market.sessions(listing)
    zone = ZoneInfo(listing.zone)
    today = market.now.astimezone(zone).date()
    while today.weekday() > 4:
        today -= timedelta(days=1)
    offset = int(
        (datetime.combine(today, datetime.min.time(), zone).utcoffset() or timedelta()).total_seconds()
    )
    regular = {
        "timezone": zone.key,
        "start": int(listing.opens(today).timestamp()),
        "end": int(listing.closes(today).timestamp()),
        "gmtoffset": offset,
    }
    return {
        "currency": "USD",
        "symbol": listing.symbol,
        "exchangeName": "NMS",
        "instrumentType": listing.kind,
        "firstTradeDate": int(listing.opens(listing.days[0]).timestamp()),
        "regularMarketTime": last_trade(market, listing),
        "gmtoffset": offset,
        "timezone": zone.key,
        "exchangeTimezoneName": listing.zone,
        "regularMarketPrice": float(listing.close[rows[-1]]) if rows else None,
        "priceHint": 2,
        "currentTradingPeriod": {name: dict(regular) for name in ("pre", "regular", "post")},
        "dataGranularity": "1d",
        "range": "",
        "validRanges": ["1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max"],
    }


def last_trade(market: Market, listing: Listing) -> int:
    """Epoch second of the last trade."""
    rows = market.sessions(listing)
    if not rows:
        return int(market.now.timestamp())
    return int(min(market.now, listing.closes(listing.days[rows[-1]])).timestamp())
