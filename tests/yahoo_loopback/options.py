"""``/v7/finance/options/{symbol}``: the expiries, and the chain of one of them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from math import erf, exp, log, sqrt
from typing import Any

from .chart import last_trade
from .listing import Listing
from .market import Market

VOLATILITY, RATE = 0.3, 0.05
STRIKES = (0.9, 0.95, 1.0, 1.05, 1.1)
"""Listed strikes over the spot, rounded to 5."""


def no_options() -> dict[str, Any]:
    """What is said of a symbol without options."""
    return {"optionChain": {"result": [], "error": None}}


def unauthorized() -> dict[str, Any]:
    """What is said without a good crumb."""
    return {"finance": {"result": None, "error": {"code": "Unauthorized", "description": "Invalid Crumb"}}}


def expiries(market: Market) -> list[date]:
    """The next four Fridays, today's included until its close."""
    today = market.now.date()
    friday = today + timedelta(days=(4 - today.weekday()) % 7)
    return [friday + timedelta(weeks=week) for week in range(4)]


def options(market: Market, listing: Listing, query: dict[str, str]) -> dict[str, Any]:
    """The chain of the expiry asked for, else of the next one."""
    listed = expiries(market)
    spot = float(listing.close[market.sessions(listing)[-1]])
    stamps = {_epoch(day): day for day in listed}
    expiry = stamps.get(int(query["date"])) if "date" in query else listed[0]
    strikes = sorted({round(spot * part / 5) * 5.0 for part in STRIKES})
    sides = {
        name: [_contract(market, listing, expiry, right, strike) for strike in strikes] if expiry else []
        for name, right in (("calls", 1), ("puts", -1))
    }
    underlying = {
        "symbol": listing.symbol,
        "quoteType": listing.kind,
        "exchangeTimezoneName": listing.zone,
        "regularMarketPrice": spot,
        "regularMarketTime": last_trade(market, listing),
        "marketState": "REGULAR" if market.quoted else "CLOSED",
    }
    result = {
        "underlyingSymbol": listing.symbol,
        "expirationDates": list(stamps),
        "strikes": strikes,
        "hasMiniOptions": False,
        "quote": underlying,
        "options": [{"expirationDate": query.get("date"), "hasMiniOptions": False, **sides}],
    }
    return {"optionChain": {"result": [result], "error": None}}


def model_price(spot: float, strike: float, years: float, right: int) -> float:
    """Black-Scholes at the market's one volatility and rate; right +1 call, -1 put."""
    width = VOLATILITY * sqrt(years)
    d1 = (log(spot / strike) + RATE * years) / width + width / 2
    first, second = (0.5 * (1 + erf(right * d / sqrt(2))) for d in (d1, d1 - width))
    return right * (spot * first - strike * exp(-RATE * years) * second)


def _contract(market: Market, listing: Listing, expiry: date, right: int, strike: float) -> dict[str, Any]:
    spot = float(listing.close[market.sessions(listing)[-1]])
    years = max((expiry - market.now.date()).days, 1) / 365
    value = model_price(spot, strike, years, right)
    letter = "C" if right > 0 else "P"
    contract = {
        "contractSymbol": f"{listing.symbol.strip('^')}{expiry:%y%m%d}{letter}{int(strike * 1000):08d}",
        "strike": strike,
        "currency": "USD",
        "lastPrice": round(value, 2),
        "change": 0.0,
        "percentChange": 0.0,
        "openInterest": 100,
        "bid": round(value * 0.98, 2) if market.quoted else 0.0,
        "ask": round(value * 1.02 + 0.01, 2) if market.quoted else 0.0,
        "contractSize": "REGULAR",
        "expiration": _epoch(expiry),
        "lastTradeDate": last_trade(market, listing) - 60,
        "impliedVolatility": VOLATILITY if market.quoted else 1e-05,
        "inTheMoney": right * (spot - strike) > 0,
    }
    # A contract that was not traded today has no volume at all.
    return contract if round(strike) % 10 else {**contract, "volume": 10}


def _epoch(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())
