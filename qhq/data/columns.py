"""Columns of the two panels, stocks and options: names, units, meaning. Imports neither pandas nor torch.

A CSV (UTF-8, comma, a header; as .gz too) or Parquet file has one row for each symbol, or each contract, and
session, with the columns below. Names are compared without case, and a space, a dot or a dash counts as an
underscore, so ``Adj Close`` is ``adj_close``. Rows may come in any order. Other numeric columns may be used
as well, under their own names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

PanelKind = Literal["stocks", "options"]


@dataclass(frozen=True)
class Column:
    """One column of a panel.

    Attributes:
        name: As the panel names it.
        unit: price, shares, contracts, volatility, return, log, years, days, ratio, number, rate (a fraction
            per year, continuously compounded), date, time or text.
        meaning: What it holds, for people.
        needed: Whether every file must have it.
        aliases: Other names that are read as this one.
        quote: Whether it is made of the same day's quotes of the option.
    """

    name: str
    unit: str
    meaning: str
    needed: bool = False
    aliases: tuple[str, ...] = ()
    quote: bool = False


def _table(*columns: Column) -> dict[str, Column]:
    return {column.name: column for column in columns}


_DAY = ("day", "datetime", "timestamp")

STOCKS: dict[str, Column] = _table(
    Column("symbol", "text", "ticker, exact", True, ("ticker",)),
    Column("date", "date", "session, YYYY-MM-DD; a time after it is dropped", True, _DAY),
    Column("open", "price", "above zero, unadjusted"),
    Column("high", "price", "above zero, at least open, close and low"),
    Column("low", "price", "above zero, at most open, close and high"),
    Column("close", "price", "above zero, unadjusted"),
    Column("volume", "shares", "zero or more", aliases=("vol",)),
    Column("adj_close", "price", "adjusted for splits and dividends", aliases=("adjusted_close", "adjclose")),
    Column("dividend", "price", "per share, on its ex-date; 0 or empty: none", aliases=("dividends",)),
    Column("split", "ratio", "new shares for an old one, on its ex-date; 0, 1 or empty: none",
           aliases=("stock_splits", "splits", "split_ratio")),
)  # fmt: skip
"""A stock file. What is not needed must be there when a config names it."""

OPTIONS: dict[str, Column] = _table(
    Column("contract_id", "text", "one contract, such as its OCC symbol", True,
           ("contract", "contract_symbol", "contractsymbol", "option_symbol", "occ_symbol", "occ")),
    Column("underlying", "text", "ticker of the stock", True, ("underlying_symbol", "ticker")),
    Column("date", "date", "session of the quotes, YYYY-MM-DD", True, (*_DAY, "quote_date", "trade_date")),
    Column("expiry", "date", "last day of the contract, on or after date", True,
           ("expiration", "expiration_date", "expiry_date", "exdate")),
    Column("strike", "price", "above zero, in the price unit of the spot", True),
    Column("right", "number", "call or put (C, P, +1, -1); in the panel call +1, put -1", True,
           ("option_type", "type", "call_put", "put_call", "cp_flag", "cp")),
    Column("style", "number", "european or american; in the panel 0, 1", aliases=("exercise_style",)),
    Column("bid", "price", "best bid; 0: nobody pays anything", False, ("best_bid", "bid_price"), True),
    Column("ask", "price", "best ask", False, ("best_ask", "ask_price", "offer", "best_offer"), True),
    Column("last", "price", "last trade, if of that day", False, ("last_price", "lastprice"), True),
    Column("mid", "price", "middle of the quotes", False, ("mid_price", "midprice", "mark"), True),
    Column("iv", "volatility", "implied volatility, a fraction per square root of a year", False,
           ("implied_volatility", "impliedvolatility", "impl_volatility", "implied_vol"), True),
    Column("volume", "contracts", "traded that day", False, ("vol",), True),
    Column("open_interest", "contracts", "open that day", False, ("openinterest", "oi"), True),
    Column("spot", "price", "price of the underlying, unadjusted, above zero", True,
           ("underlying_price", "underlyingprice", "underlying_last", "stock_price")),
    Column("rate", "rate", "interest until expiry", aliases=("risk_free_rate", "interest_rate")),
    Column("forward", "price", "forward price of the underlying at expiry", aliases=("forward_price",)),
    Column("quote_time", "time", "when the quotes were taken", aliases=("quotetime", "quoted_at")),
    Column("last_trade", "time", "when last was traded", aliases=("lasttradedate", "last_trade_date")),
    Column("multiplier", "text", "shares of one contract, or REGULAR or MINI; 100 where left out",
           aliases=("contract_size", "contractsize", "contract_multiplier", "shares_per_contract")),
    Column("days_to_expiry", "text", "days from date to expiry, read to be compared with them",
           aliases=("dte", "days_to_expiration", "daystoexpiration", "calendar_days")),
    Column("kind", "text", "traded, surface (interpolated points) or model (computed)"),
    Column("split", "ratio", "split of the underlying's shares on that day; 0, 1 or empty: none",
           aliases=("stock_splits", "splits", "split_ratio")),
)  # fmt: skip
"""An option file: the needed columns, and of bid and ask together, mid, and iv at least one."""

TABLES: dict[PanelKind, dict[str, Column]] = {"stocks": STOCKS, "options": OPTIONS}

KEYS = ("symbol", "date")
PRICES = ("open", "high", "low", "close", "adj_close")
COLUMNS = tuple(name for name in STOCKS if name not in KEYS)
"""Value columns of a stock panel."""

ACTIONS = ("dividend", "split")
"""Columns in which an empty cell means that nothing happened."""

UNADJUSTED = frozenset(
    (
        "open",
        "high",
        "low",
        "close",
        "volume",
        "spot",
        "strike",
        "forward",
        "bid",
        "ask",
        "last",
        "mid",
        "spread",
    )
)
"""Columns that jump at a split of the shares, as nothing in them is adjusted."""

QUOTES = (("bid", "ask"), ("mid",), ("iv",))
"""Sets of columns of which an option file must have one."""

OPTION_VALUES = tuple(
    column.name for column in OPTIONS.values() if column.unit not in ("text", "time", "date")
)
OPTION_COLUMNS = ("expiry", *OPTION_VALUES)
"""Value columns of an option panel; expiry as days since 1970-01-01."""

DERIVED_UNITS: dict[str, str] = {
    "log_return": "return",
    "garman_klass": "volatility",
    "parkinson": "volatility",
    "log_garman_klass": "log",
    "log_parkinson": "log",
    "weekday": "number",
    "days_since": "days",
    "years": "years",
    "mid": "price",
    "iv": "volatility",
    "forward": "price",
    "log_moneyness": "log",
    "moneyness": "ratio",
    "spot_return": "return",
    "spread": "price",
    "delta": "ratio",
    "gamma": "number",
    "vega": "number",
    "theta": "number",
}
"""Units of the columns that qhq computes (``qhq.data.columns``)."""

QUOTE_DERIVED = frozenset({"spread", *(column.name for column in OPTIONS.values() if column.quote)})
"""Columns made of the same day's quotes of the option: no input when today's option is priced."""


KNOWN_TODAY = frozenset(
    ("spot", "spot_return", "strike", "years", "right", "style", "rate", "weekday", "days_since")
) | {"log_moneyness", "moneyness", "delta", "gamma", "vega", "theta"}
"""Columns of which pricing may see the day's own row: nothing in them is made of its option quotes."""


def unit_of(name: str) -> str:
    """Unit of a column, ``number`` for a user's own; ``volume`` of a contract counts as shares do.

    >>> unit_of("spot"), unit_of("moneyness"), unit_of("sentiment")
    ('price', 'ratio', 'number')
    """
    column = STOCKS.get(name) or OPTIONS.get(name)
    return column.unit if column else DERIVED_UNITS.get(name, "number")


def canonical_name(name: str, table: Mapping[str, Column] = STOCKS) -> str:
    """Write a column name as the schema does: that of stocks, or another table of it.

    >>> canonical_name("Adj Close"), canonical_name("Ticker")
    ('adj_close', 'symbol')
    """
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return alias_names(table).get(plain, plain)


def alias_names(table: Mapping[str, Column]) -> dict[str, str]:
    """Other names of a panel's columns, ``{alias: name}``."""
    return {alias: column.name for column in table.values() for alias in column.aliases}
