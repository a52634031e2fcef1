"""Names that columns go by outside the schema: how they are compared, other languages, and mere hints."""

from __future__ import annotations

import re

from qhq.data.columns import PanelKind


def plain_name(name: object) -> str:
    """Write a column's name without case, marks and accents that vary from export to export.

    >>> [plain_name(name) for name in (" [QUOTE_DATE]", "<TICKER>", "5. adjusted close", "Vol.")]
    ['quote_date', 'ticker', 'adjusted_close', 'vol']
    """
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
                  "value", "nav"),
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
