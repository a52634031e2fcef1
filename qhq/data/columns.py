"""The one table of columns, read or computed: what each is, in which unit, and what may be done with it.

A CSV (UTF-8, comma, a header; as .gz too) or Parquet file has one row for each symbol, or each contract, and
session, with the columns below. Names are compared without case, and a space, a dot or a dash counts as an
underscore, so ``Adj Close`` is ``adj_close``. Rows may come in any order. Other numeric columns may be used
as well, under their own names; their unit is ``number``.

To add a column, add a line. A computed one is the function of its name in ``qhq.data.formulas`` besides.
Files also name columns in other languages and at other vendors: such names come last, with how they are
compared. Imports neither numpy nor pandas nor torch.
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
    Column("realised_volatility", "stocks", "volatility",
           "of the week or month (data.every): root of the summed squares of its sessions' log returns",
           computed_from=("adj_close",), logs=True),
    Column("log_realised_volatility", "stocks", "log", "its logarithm", computed_from=("adj_close",),
           logs=True),
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

REALISED = ("realised_volatility", "log_realised_volatility")
"""What is made of the sessions of a period."""

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
# Reversed, so that of two columns of one name the first wins.
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


def plain_name(name: object) -> str:
    """Write a column's name without case, marks and accents that vary from export to export.

    >>> [plain_name(name) for name in (" [QUOTE_DATE]", "<TICKER>", "5. adjusted close", "Vol.")]
    ['quote_date', 'ticker', 'adjusted_close', 'vol']
    """
    # Alpha Vantage numbers its names: "5. adjusted close", "4a. close (USD)".
    text = re.sub(r"^\s*\d{1,2}[a-z]?\. ", "", str(name).lower())
    return re.sub(r"[^\w]+", "_", text).strip("_")


def words(text: str) -> frozenset[str]:
    """Words of a text, as a set of names."""
    return frozenset(text.split())


WORDS: dict[str, frozenset[str]] = {
    "date": words("datum tarih fecha data дата 日付 日付け 日期 交易日期 날짜 일자 dato päivämäärä tanggal"
                   " tradedate exchange_date local_time trade_date date_time day"),
    "open": words("eröffnung eröffn erster apertura abertura ouverture ouv açılış открытие откр otwarcie"
                   " opening öppning åpning 始値 开盘 开盘价 開盤價 시가 open_price opening_price"),
    "high": words("hoch tageshoch höchst máximo máxima massimo plus_haut haut yüksek максимум макс max"
                   " najwyższy najwyzszy hoog hoogste hög høy 高値 最高 最高价 最高價 고가 high_price"),
    "low": words("tief tagestief tiefst mínimo mínima minimo minima plus_bas bas düşük минимум мин min"
                  " najniższy najnizszy laag laagste låg lav 安値 最低 最低价 最低價 저가 low_price"),
    "close": words("schluss schlusskurs zuletzt kurs letzter último ultimo cierre chiusura fechamento"
                    " dernier clôture cloture şimdi kapanış цена закрытие ostatnio zamknięcie zamkniecie"
                    " laatste slotkoers sluiting 終値 收盘 收盘价 收盤價 종가 closeprice close_c"
                    " close_close_price_adjusted_for_splits"),
    "adj_close": words("調整後終値 修正終値 adj_close_adjusted_close_price_adjusted_for_splits_and_dividend"
                        "_and_or_capital_gain_distributions"),
    "volume": words("volumen stücke stuecke umsatz_stück hac hacim объём объем wol wolumen 出来高 売買高"
                     " 成交量 거래량 no_of_shares number_of_shares total_volume share_volume"
                     " total_traded_quantity"),
    "symbol": words("símbolo sembol инструмент sc_code 股票代码 证券代码 종목코드 コード"),
}  # fmt: skip
"""Words for a column in other languages and at other vendors, read where nothing better is there."""

DAY_FIRST = words("datum tarih fecha data дата dato päivämäärä tanggal")
"""Names of dates in languages that write the day first."""

BINANCE_HEADER = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count",
    "taker_buy_volume", "taker_buy_quote_volume", "ignore",
)  # fmt: skip
"""Columns of a Binance file, which often has no header."""

WEAK: dict[PanelKind, dict[str, tuple[str, ...]]] = {
    "stocks": {
        "close": ("price", "last", "close_price", "closing_price", "settle", "settlement_price", "last_price",
                  "close_last", "value", "nav"),
        "date": ("time", "trade_date", "datadate", "observation_date", "index", "index_level_0", ""),
        "symbol": ("name", "code", "instrument", "security", "isin", "secid", "tic"),
    },
    "options": {
        "date": ("quote_datetime", "quotedate", "tradedate", "data_date", "datadate", "index",
                 "index_level_0", ""),
        "underlying": ("symbol", "root", "product"),
        "expiry": ("expirationdate", "exp_date", "expdate", "expirdate", "maturity", "maturity_date"),
        "strike": ("strikeprice", "strike_price", "exercise_price"),
        "right": ("putcall", "callput", "option_right", "optiontype"),
        "spot": ("underlying_close", "underlying_last_price", "s", "spot_price", "stock_close"),
    },
}  # fmt: skip
"""Names that say what a column is only where no better one is there."""

OF_OPTIONS = ("strike", "strike_price", "strikeprice", "strike_pr", "strkpric", "exercise_price",
               "contract_id", "contractid", "contractsymbol", "contract_symbol", "option_symbol",
               "optionsymbol", "occ_symbol")  # fmt: skip
"""Columns that no file of stocks has."""
MAY_HOLD_CONTRACTS = ("ticker", "symbol", "contract", "instrument", "name", "code", "id")
"""Columns in which a contract's symbol may stand in the place of a stock's."""
