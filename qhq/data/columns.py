"""The one table of columns, read or computed: what each is, in which unit, and what may be done with it.

A CSV (UTF-8, comma, a header; as .gz too) or Parquet file has one row for each symbol, or each contract, and
session, with the columns below. Names are compared without case, and a space, a dot or a dash counts as an
underscore, so ``Adj Close`` is ``adj_close``. Rows may come in any order. Other numeric columns may be used
as well, under their own names; their unit is ``number``.

To add a column, add a line. A computed one is the function of its name in ``qhq.data.formulas`` besides.
Imports neither numpy nor pandas nor torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Literal

PanelKind = Literal["stocks", "options"]
Scale = Literal["log", "strike", "count", "plain"]


@dataclass(frozen=True)
class Column:
    """One column of a panel. What is not said of it is not so.

    Attributes:
        name: As the panel names it.
        panels: ``stocks``, ``options`` or both of them.
        unit: price, shares, contracts, volatility, return, log, years, days, ratio, number, rate (a fraction
            per year, continuously compounded), date, time or text.
        meaning: What it holds, for people.
        aliases: Other names that are read as this one, separated by blanks.
        needed: Whether every file must have it.
        pricing: Whether pricing needs it of every option: where a file leaves it out, it is completed.
        asset: Whether it is a price of the asset itself, above zero: its logarithm moves alike at any level.
        unadjusted: Whether it jumps at a split of the shares, as nothing in it is adjusted.
        quote: Whether it is made of the same day's quotes of the option: no input when today's is priced.
        today: Whether pricing may see the day's own: nothing in it is made of the day's option quotes.
        event: Whether an empty cell means that nothing happened.
        logs: Whether logarithms of prices make it, so that no price may be below zero.
        computed_from: Columns that qhq computes it from, each row from itself and the rows before; None where
            it stands in a file. A file's own column of that name gives way: nobody knows what it was made of.
        price_power: Power of the unit of prices in its unit; None is 1 of a price, 0 of all else.
    """

    name: str
    panels: str
    unit: str
    meaning: str
    aliases: str = ""
    _: KW_ONLY
    needed: bool = False
    pricing: bool = False
    asset: bool = False
    unadjusted: bool = False
    quote: bool = False
    today: bool = False
    event: bool = False
    logs: bool = False
    computed_from: tuple[str, ...] | None = None
    price_power: float | None = None

    @property
    def other_names(self) -> tuple[str, ...]:
        """Its aliases, one by one."""
        return tuple(self.aliases.split())


_OHLC = ("open", "high", "low", "close")
_MARKET = ("spot", "forward", "strike", "years", "right", "rate", "iv")
_SPLITS = "stock_splits splits split_ratio"

COLUMNS: tuple[Column, ...] = (
    # A stock file. What is not needed must be there when a config names it.
    Column("symbol", "stocks", "text", "ticker, exact", "ticker", needed=True),
    Column("date", "stocks", "date", "session, YYYY-MM-DD; a time after it is dropped",
           "day datetime timestamp", needed=True),
    Column("open", "stocks", "price", "above zero, unadjusted", asset=True, unadjusted=True),
    Column("high", "stocks", "price", "above zero, at least open, close and low", asset=True,
           unadjusted=True),
    Column("low", "stocks", "price", "above zero, at most open, close and high", asset=True, unadjusted=True),
    Column("close", "stocks", "price", "above zero, unadjusted", asset=True, unadjusted=True),
    Column("volume", "stocks", "shares", "zero or more", "vol", unadjusted=True),
    Column("adj_close", "stocks", "price", "adjusted for splits and dividends", "adjusted_close adjclose",
           asset=True),
    Column("dividend", "stocks", "price", "per share, on its ex-date; 0 or empty: none", "dividends",
           event=True),
    Column("split", "stocks", "ratio", "new shares for an old one, on its ex-date; 0, 1 or empty: none",
           _SPLITS, event=True),
    # An option file: the needed columns, and one of QUOTE_SETS.
    Column("contract_id", "options", "text", "one contract, such as its OCC symbol",
           "contract contract_symbol contractsymbol option_symbol occ_symbol occ", needed=True),
    Column("underlying", "options", "text", "ticker of the stock", "underlying_symbol ticker", needed=True),
    Column("date", "options", "date", "session of the quotes, YYYY-MM-DD",
           "day datetime timestamp quote_date trade_date", needed=True),
    Column("expiry", "options", "date", "last day of the contract, on or after date",
           "expiration expiration_date expiry_date exdate", needed=True),
    Column("strike", "options", "price", "above zero, in the price unit of the spot", needed=True,
           pricing=True, today=True, unadjusted=True),
    Column("right", "options", "number", "call or put (C, P, +1, -1); in the panel call +1, put -1",
           "option_type type call_put put_call cp_flag cp", needed=True, pricing=True, today=True),
    Column("style", "options", "number", "european or american; in the panel 0, 1", "exercise_style",
           today=True),
    Column("bid", "options", "price", "best bid; 0: nobody pays anything", "best_bid bid_price", quote=True,
           unadjusted=True),
    Column("ask", "options", "price", "best ask", "best_ask ask_price offer best_offer", quote=True,
           unadjusted=True),
    Column("last", "options", "price", "last trade, if of that day", "last_price lastprice", quote=True,
           unadjusted=True),
    Column("mid", "options", "price", "middle of the quotes", "mid_price midprice mark", quote=True,
           pricing=True, unadjusted=True),
    Column("iv", "options", "volatility", "implied volatility, a fraction per square root of a year",
           "implied_volatility impliedvolatility impl_volatility implied_vol", quote=True, pricing=True),
    Column("volume", "options", "contracts", "traded that day", "vol", quote=True, unadjusted=True),
    Column("open_interest", "options", "contracts", "open that day", "openinterest oi", quote=True),
    Column("spot", "options", "price", "price of the underlying, unadjusted, above zero",
           "underlying_price underlyingprice underlying_last stock_price", needed=True, pricing=True,
           asset=True, today=True, unadjusted=True),
    Column("rate", "options", "rate", "interest until expiry", "risk_free_rate interest_rate", pricing=True,
           today=True),
    Column("forward", "options", "price", "forward price of the underlying at expiry", "forward_price",
           pricing=True, asset=True, unadjusted=True),
    Column("quote_time", "options", "time", "when the quotes were taken", "quotetime quoted_at"),
    Column("last_trade", "options", "time", "when last was traded", "lasttradedate last_trade_date"),
    Column("multiplier", "options", "text", "shares of one contract, or REGULAR or MINI; 100 where left out",
           "contract_size contractsize contract_multiplier shares_per_contract"),
    Column("days_to_expiry", "options", "text", "days from date to expiry, read to be compared with them",
           "dte days_to_expiration daystoexpiration calendar_days"),
    Column("kind", "options", "text", "traded, surface (interpolated points) or model (computed)"),
    Column("split", "options", "ratio", "split of the underlying's shares on that day; 0, 1 or empty: none",
           _SPLITS, event=True),
    # Computed.
    Column("log_return", "stocks", "return", "ln(adj_close / the row before's)", computed_from=("adj_close",),
           logs=True),
    Column("garman_klass", "stocks", "volatility", "of the session, from its four prices",
           computed_from=_OHLC, logs=True),
    Column("log_garman_klass", "stocks", "log", "its logarithm", computed_from=_OHLC, logs=True),
    Column("parkinson", "stocks", "volatility", "of the session, from its range", computed_from=("high",
           "low"), logs=True),
    Column("log_parkinson", "stocks", "log", "its logarithm", computed_from=("high", "low"), logs=True),
    Column("weekday", "stocks options", "number", "Monday 0 to Sunday 6", computed_from=(), today=True),
    Column("days_since", "stocks options", "days", "since the row before", computed_from=(), today=True),
    Column("years", "options", "years", "from date to expiry", computed_from=("expiry",), pricing=True,
           today=True),
    Column("spot_return", "options", "return", "ln(spot / the row before's)", computed_from=("spot",),
           today=True),
    Column("spread", "options", "price", "ask - bid", computed_from=("bid", "ask"), quote=True,
           unadjusted=True),
    Column("log_moneyness", "options", "log", "ln(strike / forward)", computed_from=_MARKET, today=True),
    Column("moneyness", "options", "ratio", "log-moneyness in standard deviations", computed_from=_MARKET,
           today=True),
    Column("delta", "options", "ratio", "change of price for one of spot", computed_from=_MARKET, today=True),
    # Greeks are the price's derivatives: by spot twice, by volatility, by time.
    Column("gamma", "options", "number", "change of delta for one of spot", computed_from=_MARKET, today=True,
           price_power=-1.0),
    Column("vega", "options", "number", "change of price for one of volatility", computed_from=_MARKET,
           today=True, price_power=1.0),
    Column("theta", "options", "number", "change of price for a year that passes", computed_from=_MARKET,
           today=True, price_power=1.0),
)  # fmt: skip
"""Every column. A name that both panels have is one line for each, where they say different things of it."""


def _names(*flags: str) -> frozenset[str]:
    """Names of the columns of which all of some flags hold, in whichever panel."""
    return frozenset(each.name for each in COLUMNS if all(getattr(each, flag) for flag in flags))


def _file_table(kind: PanelKind) -> dict[str, Column]:
    return {each.name: each for each in COLUMNS if each.panels == kind and each.computed_from is None}


STOCKS = _file_table("stocks")
OPTIONS = _file_table("options")
TABLES: dict[PanelKind, dict[str, Column]] = {"stocks": STOCKS, "options": OPTIONS}
"""What a file of each panel may have, by the names of the panel."""

COMPUTED: dict[PanelKind, dict[str, tuple[str, ...]]] = {
    kind: {
        each.name: each.computed_from
        for each in COLUMNS
        # The years are added to every option panel, before anything is computed from them.
        if each.computed_from is not None and kind in each.panels.split() and not each.pricing
    }
    for kind in TABLES
}
"""What a config may name of each panel and qhq computes, and the columns that it takes."""

KEYS = ("symbol", "date")
STOCK_VALUES = tuple(name for name in STOCKS if name not in KEYS)
"""Value columns of a stock panel."""
OPTION_VALUES = (
    "expiry",
    *(each.name for each in OPTIONS.values() if each.unit not in ("text", "time", "date")),
)
"""Value columns of an option panel; expiry as days since 1970-01-01."""
QUOTE_SETS = (("bid", "ask"), ("mid",), ("iv",))
"""Sets of columns of which an option file must have one."""

PRICES = tuple(each.name for each in STOCKS.values() if each.asset)
"""Prices of a stock, above zero."""
OPTION_PRICES = ("mid", "bid", "ask", "last")
"""Prices of the option itself, out of which an implied volatility can be found."""
PRICING_COLUMNS = tuple(each.name for each in COLUMNS if each.pricing)
"""What every option panel holds beside the columns that a config names: pricing and judging need it."""
COMPLETED = _names("pricing") - _names("needed") | {name for table in COMPUTED.values() for name in table}
"""What a config may name and no file need have; ``data.rate`` stands in for a rate."""

ACTIONS = _names("event")
"""Columns in which an empty cell means that nothing happened."""
UNADJUSTED = _names("unadjusted")
"""Columns that jump at a split of the shares."""
FROM_QUOTES = _names("quote")
"""Columns made of the same day's quotes of the option: no input when today's option is priced."""
KNOWN_TODAY = _names("today")
"""Columns of which pricing may see the day's own row."""
FROM_LOGS = _names("logs")
"""Columns that take logarithms of prices, which then must be above zero."""

_ASSET_PRICES = _names("asset")
_COUNTS = ("shares", "contracts")
_BY_NAME = {each.name: each for each in reversed(COLUMNS)}


def unit_of(name: str) -> str:
    """Unit of a column, ``number`` for a user's own; ``volume`` of a contract counts as shares do.

    >>> unit_of("spot"), unit_of("moneyness"), unit_of("sentiment")
    ('price', 'ratio', 'number')
    """
    return _BY_NAME[name].unit if name in _BY_NAME else "number"


def is_count(name: str) -> bool:
    """Whether a column counts something: such numbers span decades, and may be zero.

    >>> is_count("volume"), is_count("close")
    (True, False)
    """
    return unit_of(name) in _COUNTS


def price_power(name: str) -> float:
    """Power of the unit of prices in the unit of a column.

    >>> price_power("mid"), price_power("iv"), price_power("gamma")
    (1.0, 0.0, -1.0)
    """
    power = _BY_NAME[name].price_power if name in _BY_NAME else None
    return float(unit_of(name) == "price") if power is None else power


def change_scale(name: str, *, options: bool) -> Scale:
    """Scale on which the changes of a column are alike, whatever its level.

    A price of the asset moves by its logarithm, a quote of an option over the strike, a count by ln(1 + x),
    and all else as it is.

    Args:
        name: Of the column.
        options: Whether it is one of an option panel, with a strike.

    >>> [change_scale(name, options=True) for name in ("spot", "mid", "iv")]
    ['log', 'strike', 'plain']
    """
    if options and unit_of(name) == "price" and name in FROM_QUOTES:
        return "strike"
    if name in _ASSET_PRICES:
        return "log"
    return "count" if is_count(name) else "plain"


def canonical_name(name: str, table: Mapping[str, Column] = STOCKS) -> str:
    """Write a column name as the schema does: that of stocks, or another table of it.

    >>> canonical_name("Adj Close"), canonical_name("Ticker")
    ('adj_close', 'symbol')
    """
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return alias_names(table).get(plain, plain)


def alias_names(table: Mapping[str, Column]) -> dict[str, str]:
    """Other names of a panel's columns, ``{alias: name}``."""
    return {alias: column.name for column in table.values() for alias in column.other_names}


def columns_to_read(names: Iterable[str]) -> tuple[str, ...]:
    """Columns that a stock file must have for ``names``, computed or not, each once.

    >>> columns_to_read(["log_return", "close"])
    ('adj_close', 'close')
    """
    computed = COMPUTED["stocks"]
    return tuple(dict.fromkeys(each for name in names for each in computed.get(name, (name,))))
