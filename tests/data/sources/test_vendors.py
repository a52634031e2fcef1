# ruff: noqa: E501 - the lines of a file are as long as its vendor writes them
"""Small files in the forms of many vendors: each read right, or refused with the cell and the cure.

``python -m tests.data.sources.test_vendors`` prints the table of them.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qhq.data.checks import find_breaches
from qhq.data.file_format import FileFormat
from qhq.data.sources.files import Asked, understand_file
from qhq.errors import DataError


@dataclass(frozen=True)
class Case:
    """A file, and what must come of it.

    Attributes:
        name: Who writes it.
        file: Its name.
        content: Its text or bytes.
        form: The form that is recognised; None is nobody's.
        first: Values of the first row, by the names of the schema.
        rows: Rows that are read.
        refused: What the error must say, in this order; empty where it is read.
        given: What a config says of it.
    """

    name: str
    file: str
    content: str | bytes | Callable[[], bytes]
    form: str | None = None
    first: dict[str, Any] = field(default_factory=dict)
    rows: int = 2
    refused: tuple[str, ...] = ()
    given: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        path = folder / self.file
        content = self.content() if callable(self.content) else self.content
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


def read(**values: Any) -> dict[str, Any]:
    return values


def excel(rows: list[list[Any]], **options: Any) -> Callable[[], bytes]:
    def make() -> bytes:
        stream = io.BytesIO()
        pd.DataFrame(rows).to_excel(stream, header=False, index=False, **options)
        return stream.getvalue()

    return make


def parquet(frame: pd.DataFrame) -> Callable[[], bytes]:
    def make() -> bytes:
        stream = io.BytesIO()
        frame.to_parquet(stream)
        return stream.getvalue()

    return make


def zipped(text: str, name: str = "AAPL.csv") -> Callable[[], bytes]:
    def make() -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(name, text)
        return stream.getvalue()

    return make


JAN_2, JAN_3 = "2024-01-02", "2024-01-03"
OHLC = {"open": 187.15, "high": 188.44, "low": 183.89, "close": 185.64}
AAPL = read(symbol="AAPL", date=JAN_2, **OHLC)
BARS = "2024-01-02,187.15,188.44,183.89,185.64,82488700\n2024-01-03,184.22,185.88,183.43,184.25,58414500\n"
PLAIN = "Date,Open,High,Low,Close,Volume\n" + BARS

STOCKS = (
    Case("yfinance download, one ticker", "aapl.csv",
         "Price,Adj Close,Close,High,Low,Open,Volume\nTicker,AAPL,AAPL,AAPL,AAPL,AAPL,AAPL\nDate,,,,,,\n"
         "2024-01-02,184.7,185.64,188.44,183.89,187.15,82488700\n2024-01-03,183.3,184.25,185.88,183.43,184.22,58414500\n",
         "yfinance_download", AAPL | read(adj_close=184.7)),
    Case("yfinance download, several tickers", "prices.csv",
         "Price,Close,Close,Volume,Volume\nTicker,AAPL,NVDA,AAPL,NVDA\nDate,,,,\n"
         "2024-01-02,185.64,,82488700,\n2024-01-03,184.25,47.57,58414500,320896000\n",
         "yfinance_download", read(symbol="AAPL", close=185.64, volume=82488700), rows=3),
    Case("yfinance download, group_by ticker", "prices.csv",
         "Ticker,AAPL,AAPL,MSFT,MSFT\nPrice,Open,Close,Open,Close\nDate,,,,\n"
         "2024-01-02,187.15,185.64,373.86,370.87\n2024-01-03,184.22,184.25,369.01,370.60\n",
         "yfinance_download", read(symbol="AAPL", open=187.15, close=185.64), rows=4),
    Case("yfinance download of 2023, two header rows", "prices.csv",
         ",Adj Close,Adj Close,Close,Close\n,AAPL,MSFT,AAPL,MSFT\nDate,,,,\n"
         "2024-01-02,184.7,368.1,185.64,370.87\n2024-01-03,183.3,367.9,184.25,370.60\n",
         "yfinance_download", read(symbol="AAPL", adj_close=184.7, close=185.64), rows=4),
    Case("yfinance download, Excel with merged cells", "prices.xlsx",
         excel([["Price", "Close", None, "Volume", None], ["Ticker", "AAPL", "MSFT", "AAPL", "MSFT"],
                ["Date", None, None, None, None], [pd.Timestamp(JAN_2), 185.64, 370.87, 82488700, 25258600],
                [pd.Timestamp(JAN_3), 184.25, 370.6, 58414500, 23083500]]),
         "yfinance_download", read(symbol="AAPL", date=JAN_2, close=185.64, volume=82488700), rows=4),
    Case("yfinance download, Parquet", "prices.parquet",
         parquet(pd.DataFrame({("Close", "AAPL"): [185.64, 184.25], ("Volume", "AAPL"): [82488700, 58414500]},
                              index=pd.DatetimeIndex([JAN_2, JAN_3], name="Date"))),
         "yfinance_download", read(symbol="AAPL", date=JAN_2, close=185.64)),
    Case("yfinance Ticker.history", "AAPL.csv",
         "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits\n"
         "2024-01-02 00:00:00-05:00,187.15,188.44,183.89,185.64,82488700,0.0,0.0\n"
         "2024-01-03 00:00:00-05:00,184.22,185.88,183.43,184.25,58414500,0.0,0.0\n", "yfinance_history", AAPL),
    Case("Yahoo's download, Kaggle sets (symbol in the file name)", "AAPL.csv",
         "Date,Open,High,Low,Close,Adj Close,Volume\n2024-01-02,187.15,188.44,183.89,185.64,184.7,82488700\n"
         "2024-01-03,184.22,185.88,183.43,184.25,183.3,58414500\n", "yahoo", AAPL | read(adj_close=184.7)),
    Case("Yahoo's page, copied: stars in the header, dates in words", "AAPL.csv",
         "Date\tOpen\tHigh\tLow\tClose*\tAdj Close**\tVolume\n\"Jan 3, 2024\"\t184.22\t185.88\t183.43\t184.25\t183.30\t58,414,500\n"
         "\"Jan 2, 2024\"\t187.15\t188.44\t183.89\t185.64\t184.70\t82,488,700\n", "yahoo",
         read(date=JAN_3, close=184.25, adj_close=183.3, volume=58414500)),
    Case("stooq, bulk text", "aapl.us.txt",
         "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
         "AAPL.US,D,20240102,000000,187.15,188.44,183.89,185.64,82488700,0\n"
         "AAPL.US,D,20240103,000000,184.22,185.88,183.43,184.25,58414500,0\n", "stooq",
         AAPL | read(symbol="AAPL.US", volume=82488700)),
    Case("stooq, bars of five minutes", "aapl.us.txt",
         "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
         "AAPL.US,5,20240102,153000,187.1,188.4,183.8,185.6,82,0\n"
         "AAPL.US,5,20240102,153500,187.1,188.4,183.8,185.6,82,0\n",
         refused=("PER", "only 5", "bars within the day")),
    Case("stooq, CSV", "aapl_us_d.csv", PLAIN, None, AAPL | read(symbol="AAPL_US")),
    Case("stooq, CSV in Polish", "pkn_d.csv",
         "Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen\n" + BARS, "stooq_polish", AAPL | read(symbol="PKN")),
    Case("Alpha Vantage, daily", "daily_IBM.csv",
         "timestamp,open,high,low,close,volume\n" + BARS, "alpha_vantage", AAPL | read(symbol="IBM")),
    Case("Alpha Vantage, daily adjusted", "daily_adjusted_IBM.csv",
         "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient\n"
         "2024-01-02,187.15,188.44,183.89,185.64,184.7,82488700,0.0000,1.0\n"
         "2024-01-03,184.22,185.88,183.43,184.25,183.3,58414500,0.2400,1.0\n", "alpha_vantage_adjusted",
         read(adj_close=184.7, dividend=0.0, split=1.0, close=185.64)),
    Case("Alpha Vantage, its Python client's CSV", "IBM.csv",
         "date,1. open,2. high,3. low,4. close,5. volume\n" + BARS, None, AAPL | read(symbol="IBM")),
    Case("Alpha Vantage, JSON", "query.json",
         json.dumps({"Meta Data": {"2. Symbol": "IBM"}, "Time Series (Daily)": {
             JAN_3: {"1. open": "184.22", "2. high": "185.88", "3. low": "183.43", "4. close": "184.25", "5. volume": "5"},
             JAN_2: {"1. open": "187.15", "2. high": "188.44", "3. low": "183.89", "4. close": "185.64", "5. volume": "8"}}}),
         "alpha_vantage", read(symbol="IBM", date=JAN_3, close=184.25, volume=5)),
    Case("Alpha Vantage, its note instead of rows", "query.json",
         '{"Information": "Thank you for using Alpha Vantage! Our standard API rate limit is 25 requests per day."}',
         refused=("an answer of a service", "Thank you for using", "Ask it again")),
    Case("Kaggle, all_stocks_5yr", "all_stocks_5yr.csv",
         "date,open,high,low,close,volume,Name\n2013-02-08,15.07,15.12,14.63,14.75,8407500,AAL\n"
         "2013-02-11,14.89,15.01,14.26,14.46,8882000,AAL\n", "all_stocks_5yr", read(symbol="AAL", close=14.75)),
    Case("investing.com", "AAPL Historical Data.csv",
         '\ufeff"Date","Price","Open","High","Low","Vol.","Change %"\n'
         '"01/03/2024","1,184.25","184.22","1,185.88","183.43","58.41M","-0.75%"\n'
         '"01/13/2024","1,185.64","187.15","1,188.44","183.89","82.49M","-3.58%"\n', "investing",
         read(symbol="AAPL", date=JAN_3, close=1184.25, volume=58.41e6)),
    Case("investing.com, dates in words", "Apple Stock Price History.csv",
         '"Date","Price","Open","High","Low","Vol.","Change %"\n"Jan 03, 2024","184.25","184.22","185.88","183.43","1.2K","-0.75%"\n'
         '"Jan 02, 2024","185.64","187.15","188.44","183.89","-","-3.58%"\n', "investing",
         read(symbol="Apple", date=JAN_3, volume=1200.0)),
    Case("investing.com, in German", "SAP Historische Daten.csv",
         '"Datum","Zuletzt","Eröffn.","Hoch","Tief","Vol.","+/- %"\n'
         '"05.01.2021","1.184,25","184,22","1.185,88","183,43","58,41M","-0,75%"\n'
         '"04.01.2021","1.185,64","187,15","1.188,44","183,89","82,49M","-3,58%"\n', "investing_german",
         read(date="2021-01-05", close=1184.25, volume=58.41e6)),
    Case("investing.com, in French", "SAN.csv",
         '"Date","Dernier","Ouv."," Plus Haut","Plus Bas","Vol.","Variation %"\n'
         '"05/01/2021","84,25","84,22","85,88","83,43","1,41M","-0,75%"\n', "investing_french",
         read(date="2021-01-05", close=84.25), rows=1),
    Case("investing.com, all days below 13", "AAPL.csv",
         '"Date","Price","Open","High","Low","Vol.","Change %"\n"01/03/2024","184.25","184.22","185.88","183.43","58.41M","-0.75%"\n',
         refused=("'01/03/2024' in column 'Date' (line 2)", "2024-03-01 (dayfirst) or 2024-01-03 (monthfirst)",
                  "data.format.dates=dayfirst")),
    Case("investing.com, the same and the order said", "AAPL.csv",
         '"Date","Price","Open","High","Low","Vol.","Change %"\n"01/03/2024","184.25","184.22","185.88","183.43","58.41M","-0.75%"\n',
         "investing", read(date="2024-03-01"), rows=1, given={"dates": "dayfirst"}),
    Case("NSE, historical data with padded headers", "Quote-Equity-RELIANCE-EQ.csv",
         '"Date ","series ","OPEN ","HIGH ","LOW ","PREV. CLOSE ","ltp ","close ","vwap ","52W H ","52W L ","VOLUME ","VALUE ","No of trades "\n'
         '"05-Jan-2021","EQ","1,955.00","1,994.50","1,946.00","1,990.85","1,968.00","1,966.10","1,971.2","2,369.35","867.45","1,00,34,567","1,97,75","3,12,345"\n'
         '"04-Jan-2021","EQ","1,990.00","2,014.00","1,985.10","1,987.50","1,990.85","1,990.85","1,998.1","2,369.35","867.45","95,12,001","1,90,75","2,12,345"\n',
         "nse_history", read(symbol="RELIANCE-EQ", date="2021-01-05", close=1966.1, volume=10034567.0)),
    Case("NSE, security-wise archive", "archive.csv",
         '"Symbol","Series","Date","Prev Close","Open Price","High Price","Low Price","Last Price","Close Price","Average Price","Total Traded Quantity","Turnover"\n'
         '"M&M","EQ","05-Jan-2021","737.05","730.00","737.80","721.00","734.00","734.15","729.90","3,421,009","2.49"\n'
         '"M&M","N1","05-Jan-2021","1,012","1,012","1,012","1,012","1,012","1,012","1,012","10","0.1"\n', "nse_archive",
         read(symbol="M&M", date="2021-01-05", close=734.15, volume=3421009.0), rows=1),
    Case("NSE, bhavcopy of equities", "cm05JAN2021bhav.csv",
         "SYMBOL,SERIES,OPEN,HIGH,LOW,CLOSE,LAST,PREVCLOSE,TOTTRDQTY,TOTTRDVAL,TIMESTAMP,TOTALTRADES,ISIN,\n"
         "20MICRONS,EQ,36.25,36.55,35.6,35.85,35.85,36.1,64352,2315637.5,05-JAN-2021,755,INE144J01027,\n"
         "J&KBANK,EQ,25.6,25.75,24.8,25.15,25.2,25.65,2464310,62076219,05-JAN-2021,7514,INE168A01041,\n", "nse_bhavcopy",
         read(symbol="20MICRONS", date="2021-01-05", close=35.85, volume=64352)),
    Case("NSE, sec_bhavdata_full", "sec_bhavdata_full_05012021.csv",
         "SYMBOL, SERIES, DATE1, PREV_CLOSE, OPEN_PRICE, HIGH_PRICE, LOW_PRICE, LAST_PRICE, CLOSE_PRICE, AVG_PRICE, TTL_TRD_QNTY, TURNOVER_LACS, NO_OF_TRADES, DELIV_QTY, DELIV_PER\n"
         "20MICRONS, EQ, 05-Jan-2021, 36.10, 36.25, 36.55, 35.60, 35.85, 35.85, 35.98, 64352, 23.16, 755, 41020, 63.74\n"
         "68GS2060, GS, 05-Jan-2021, 101.5, 101.5, 101.5, 101.5, 101.5, 101.5, 101.5, 100, 0.1, 1, -, -\n",
         "nse_bhavdata_full", read(symbol="20MICRONS", close=35.85, volume=64352), rows=1),
    Case("Nasdaq.com", "HistoricalData_1704400000000.csv",
         "Date,Close/Last,Volume,Open,High,Low\n01/03/2024,$184.25,58414500,$184.22,$185.88,$183.43\n"
         "01/02/2024,$185.64,82488700,$187.15,$188.44,$183.89\n", "nasdaq",
         read(symbol="AAPL", date=JAN_3, close=184.25, open=184.22), given={"symbol": "AAPL"}),
    Case("MarketWatch", "Download Data - STOCK_US_XNAS_AAPL.csv",
         'Date,Open,High,Low,Close,Volume\n01/31/2024,"$1,184.22","$1,185.88","$1,183.43","$1,184.25","58,414,500"\n'
         '01/30/2024,187.15,188.44,183.89,185.64,"82,488,700"\n', None,
         read(symbol="AAPL", date="2024-01-31", close=1184.25, volume=58414500.0)),
    Case("Tiingo", "AAPL.csv",
         "date,close,high,low,open,volume,adjClose,adjHigh,adjLow,adjOpen,adjVolume,divCash,splitFactor\n"
         "2024-01-02T00:00:00.000Z,185.64,188.44,183.89,187.15,82488700,184.7,187.5,183.0,186.2,82488700,0.0,1.0\n"
         "2024-01-03T00:00:00.000Z,184.25,185.88,183.43,184.22,58414500,183.3,184.9,182.5,183.3,58414500,0.24,1.0\n",
         "tiingo", AAPL | read(adj_close=184.7, dividend=0.0, split=1.0)),
    Case("Polygon, aggregates as CSV", "AAPL.csv",
         "v,vw,o,c,h,l,t,n\n82488700,185.9,187.15,185.64,188.44,183.89,1704171600000,1008871\n"
         "58414500,184.3,184.22,184.25,185.88,183.43,1704258000000,656853\n", "polygon", AAPL),
    Case("Polygon, JSON", "aggs.json",
         json.dumps({"ticker": "AAPL", "queryCount": 2, "results": [
             {"v": 82488700, "vw": 185.9, "o": 187.15, "c": 185.64, "h": 188.44, "l": 183.89, "t": 1704171600000, "n": 1},
             {"v": 58414500, "vw": 184.3, "o": 184.22, "c": 184.25, "h": 185.88, "l": 183.43, "t": 1704258000000, "n": 1}]}),
         "polygon", AAPL),
    Case("Polygon, flat file of days", "2024-01-02.csv.gz",
         lambda: gzip.compress(b"ticker,volume,open,close,high,low,window_start,transactions\n"
                               b"AAPL,82488700,187.15,185.64,188.44,183.89,1704171600000000000,1008871\n"
                               b"TRUE,1000,3.4,3.5,3.6,3.3,1704171600000000000,12\n"), "polygon_flat", AAPL),
    Case("Quandl WIKI", "WIKI_PRICES.csv",
         "ticker,date,open,high,low,close,volume,ex-dividend,split_ratio,adj_open,adj_high,adj_low,adj_close,adj_volume\n"
         "A,1999-11-18,45.5,50.0,40.0,44.0,44739900.0,0.0,1.0,31.0,34.1,27.3,29.99,44739900.0\n"
         "A,1999-11-19,42.9,43.0,39.8,40.4,10897100.0,0.0,1.0,29.3,29.3,27.1,27.5,10897100.0\n", "wiki",
         read(symbol="A", close=44.0, adj_close=29.99, dividend=0.0, split=1.0)),
    Case("Google Finance", "GOOG.csv",
         "Date,Open,High,Low,Close,Volume\n1/31/2024 16:00:00,187.15,188.44,183.89,185.64,82488700\n"
         "2/1/2024 16:00:00,184.22,185.88,183.43,184.25,58414500\n", None, read(date="2024-01-31", close=185.64)),
    Case("Binance, klines without a header", "BTCUSDT-1d-2024-01.csv",
         "1704067200000,42283.58,44184.10,42180.77,44179.55,27174.29903,1704153599999,1169995682.6,1045000,13770,593000000,0\n"
         "1704153600000,44179.55,45879.63,44148.34,44946.91,65146.40661,1704239999999,2944331950.0,2044000,32000,1463000000,0\n",
         "binance", read(date="2024-01-01", close=44179.55, volume=27174.29903)),
    Case("Binance, klines of 2025 in microseconds", "BTCUSDT-1d-2025-01.csv",
         "1735689600000000,93576.0,95151.15,92888.0,94591.79,10373.32,1735775999999999,975444950.7,1564540,5176,486000000,0\n",
         "binance", read(date="2025-01-01", close=94591.79), rows=1),
    Case("CryptoDataDownload, a line above the header", "Binance_BTCUSDT_d.csv",
         "https://www.CryptoDataDownload.com\nUnix,Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USDT,tradecount\n"
         "1704153600000,2024-01-02,BTCUSDT,44179.55,45879.63,44148.34,44946.91,65146.4,2944331950.0,2044000\n",
         "cryptodatadownload", read(symbol="BTCUSDT", date=JAN_2, close=44946.91), rows=1),
    Case("CoinGecko", "btc-usd-max.csv",
         "snapped_at,price,market_cap,total_volume\n2024-01-01 00:00:00 UTC,42208.2,826731985427.9,12400000000.0\n"
         "2024-01-02 00:00:00 UTC,44166.3,865200000000.0,25000000000.0\n", "coingecko",
         read(symbol="BTC-USD", date="2024-01-01", close=42208.2)),
    Case("CoinMarketCap", "Bitcoin.csv",
         "timeOpen;timeClose;timeHigh;timeLow;name;open;high;low;close;volume;marketCap;timestamp\n"
         '"2024-01-02T00:00:00.000Z";"2024-01-02T23:59:59.999Z";"2024-01-02T16:00:00.000Z";"2024-01-02T00:03:00.000Z";"2781";44187.14;45899.71;44176.95;44957.97;39335274536.2;880514000000;"2024-01-02T23:59:59.999Z"\n',
         "coinmarketcap", read(date=JAN_2, close=44957.97), rows=1),
    Case("CRSP daily", "crsp.csv",
         "PERMNO,date,TICKER,COMNAM,BIDLO,ASKHI,PRC,VOL,RET,BID,ASK,SHROUT,CFACPR,OPENPRC\n"
         "14593,20240102,AAPL,APPLE INC,183.89,188.44,185.64,82488700,-0.035787,185.6,185.7,15552752,1,187.15\n"
         "14593,20240103,AAPL,APPLE INC,183.43,185.88,-184.25,-99,B,184.2,184.3,15552752,1,\n", "crsp",
         AAPL | read(volume=82488700)),
    Case("Compustat daily", "funda.csv",
         "gvkey,iid,datadate,tic,cusip,conm,ajexdi,cshtrd,prccd,prchd,prcld,prcod\n"
         "001690,01,2024/01/02,AAPL,037833100,APPLE INC,1,82488700,185.64,188.44,183.89,187.15\n", "compustat", AAPL, rows=1),
    Case("FRED", "SP500.csv", "observation_date,SP500\n2024-01-01,.\n2024-01-02,4742.83\n2024-01-03,4704.81\n", None,
         read(symbol="SP500", date=JAN_2, close=4742.83)),
    Case("Bloomberg, with a preamble", "aapl.csv",
         "Security,AAPL US Equity,\nStart Date,1/2/2024,\nPeriod,D,\n\nDate,PX_LAST,PX_VOLUME\n"
         "2024-01-02,185.64,82488700\n2024-01-03,#N/A N/A,58414500\n", "bloomberg", read(date=JAN_2, close=185.64)),
    Case("Barchart, with a footer", "AAPL.csv",
         "Symbol,Time,Open,High,Low,Last,Change,%Chg,Volume\n"
         "AAPL,2024-01-03,184.22,185.88,183.43,184.25,-1.39,-0.75%,58414500\n"
         "AAPL,2024-01-02,187.15,188.44,183.89,185.64,-6.89,-3.58%,82488700\n"
         '"Downloaded from Barchart.com as of 01-04-2024 05:00am CST"\n', "barchart",
         read(symbol="AAPL", date=JAN_3, close=184.25)),
    Case("MetaTrader", "EURUSD_Daily.csv",
         "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
         "2024.01.02\t1.10386\t1.10459\t1.09381\t1.09414\t76518\t0\t0\n", "metatrader",
         read(symbol="EURUSD", date=JAN_2, close=1.09414, volume=76518), rows=1),
    Case("TradingView, seconds since 1970", "BATS_AAPL, 1D.csv",
         "time,open,high,low,close,Volume\n1704205800,187.15,188.44,183.89,185.64,82488700\n", "tradingview",
         read(date=JAN_2, close=185.64), rows=1),
    Case("ariva and German banks", "SAP.csv",
         "Datum;Erster;Hoch;Tief;Schlusskurs;Stuecke;Volumen\n2024-01-02;1.139,50;1.141,20;1.137,10;1.138,30;1.234.567;171.000.000\n"
         "2024-01-03;138,30;139,20;136,10;137,30;987.654;136.000.000\n", "german_bank",
         read(date=JAN_2, open=1139.5, close=1138.3, volume=1234567.0)),
    Case("tushare (volume in lots of 100)", "600000.csv",
         "ts_code,trade_date,open,high,low,close,pre_close,change,pct_chg,vol,amount\n"
         "600000.SH,20240102,6.62,6.67,6.60,6.61,6.62,-0.01,-0.1511,198654.5,131500.2\n", "tushare",
         read(symbol="600000.SH", date=JAN_2, volume=19865450.0), rows=1),
    Case("a wide table, one column a ticker", "closes.csv",
         "Date,AAPL,BRK-B,0700.HK\n2024-01-02,185.64,362.5,\n2024-01-03,184.25,363.1,293.2\n", None,
         read(symbol="AAPL", close=185.64), rows=5),
    Case("pandas, index without a name", "closes.csv", ",AAPL,MSFT\n2024-01-02,185.64,370.87\n2024-01-03,184.25,370.6\n", None,
         read(symbol="AAPL", close=185.64), rows=4),
    Case("Excel", "prices.xlsx",
         excel([["Symbol", "Date", "Close"], ["AAPL", pd.Timestamp(JAN_2), 185.64], [700, pd.Timestamp(JAN_3), 184]]),
         None, read(symbol="AAPL", date=JAN_2, close=185.64)),
    Case("Excel named .csv", "prices.csv", excel([["Symbol", "Date", "Close"], ["AAPL", JAN_2, 185.64]]), None,
         read(symbol="AAPL", date=JAN_2, close=185.64), rows=1),
    Case("Excel's CSV: sep=; and a BOM", "AAPL.csv", "\ufeffsep=;\nDate;Close\n02.01.2024;185,64\n13.01.2024;184,25\n", None,
         read(date=JAN_2, close=185.64)),
    Case("Excel's serial days", "AAPL.csv", "Date,Close\n45293,185.64\n45294,184.25\n", None, read(date=JAN_2, close=185.64)),
    Case("UTF-16 with tabs", "AAPL.txt", "Date\tClose\n2024-01-02\t185.64\n2024-01-03\t184.25\n".encode("utf-16"), None, read(close=185.64)),
    Case("cp1252", "NESN.csv", "Date;Close;Währung\n2024-01-02;97.5;CHF\n2024-01-03;97.1;CHF\n".encode("cp1252"), None, read(close=97.5)),
    Case("zip of one CSV", "prices.zip", zipped(PLAIN), None, read(close=185.64)),
    Case("several CSVs glued together", "AAPL.csv", PLAIN + PLAIN.replace("2024", "2023"), None, AAPL, rows=4),
    Case("blanks around tickers", "prices.csv", "symbol,date,close\nAAPL ,2024-01-02,185.64\n AAPL,2024-01-03,184.25\n", None,
         read(symbol="AAPL")),
    Case("a star behind a number", "AAPL.csv", "Date,Close\n2024-01-02,\"1,185.5*\"\n2024-01-03,184.25\n",
         refused=("'1,185.5*' in column 'Close' for AAPL on 2024-01-02", "line 2", "footnote", "data.format.ignore")),
    Case("the same and the star dropped", "AAPL.csv", "Date,Close\n2024-01-02,\"1,185.5*\"\n2024-01-03,184.25\n", None,
         read(close=1185.5), given={"ignore": "*"}),
    Case("two decimal points", "AAPL.csv", "Date,Close\n2024-01-02,1.34.1\n2024-01-03,184.25\n",
         refused=("'1.34.1' in column 'Close'", "line 2", "two decimal points")),
    Case("a lone 1,234 as price", "AAPL.csv", 'Date,Close\n2024-01-02,"1,234"\n2024-01-03,"1,235"\n',
         refused=("'1,234' in column 'Close' (line 2)", "1234 (thousands) or 1.234", "data.format.decimal=.")),
    Case("a point in one line and a comma in another", "AAPL.csv", 'Date,Close\n2024-01-02,"1,5"\n2024-01-03,1.25\n',
         refused=("'1.25' in column 'Close' (line 3)", "'1,5' in column 'Close' (line 2)")),
    Case("days and months first in one column", "AAPL.csv", "Date,Close\n13/01/2024,1.5\n01/14/2024,1.6\n",
         refused=("'13/01/2024' in column 'Date' (line 2)", "'01/14/2024'", "Look at both lines")),
    Case("a price and a settlement", "CL.csv", "Date,Last,Settle\n2024-01-02,70.5,70.38\n2024-01-03,72.8,72.7\n",
         refused=("both 'Last' (70.5) and 'Settle' (70.38)", "data.format.columns.close='Last'")),
    Case("the same and the column named", "CL.csv", "Date,Last,Settle\n2024-01-02,70.5,70.38\n2024-01-03,72.8,72.7\n", None,
         read(close=70.38), given={"columns": {"close": "Settle"}}),
    Case("unquoted thousands", "AAPL.csv", "Date,Close\n2024-01-02,185.64\n2024-01-03,1,184.25\n",
         refused=("line 3", "2024-01-03,1,184.25", "thousands separator")),
    Case("minute bars", "AAPL.csv", "Datetime,Close\n2024-01-02 09:30:00-05:00,1\n2024-01-02 09:31:00-05:00,2\n2024-01-03 09:30:00-05:00,3\n",
         refused=("2 times on 2024-01-02 for AAPL", "2024-01-02 09:30:00-05:00", "data.format.intraday=last")),
    Case("the same, made into sessions", "AAPL.csv", "Datetime,Open,High,Low,Close,Volume\n2024-01-02 09:30:00,1,4,1,2,10\n2024-01-02 09:31:00,2,5,1.5,3,20\n2024-01-03 09:30:00,3,3,3,3,1\n",
         None, read(open=1.0, high=5.0, low=1.0, close=3.0, volume=30.0), given={"intraday": "last"}),
    Case("a web page saved as CSV", "AAPL.csv", "<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>",
         refused=("a web page", "Sign in", "Download the file itself")),
    Case("no header", "AAPL.csv", BARS, refused=("must have a header", "2024-01-02,187.15", "date,open,high,low,close")),
    Case("old Excel", "prices.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), refused=(".xls", "save it as .xlsx or CSV")),
    Case("one column", "notes.csv", "just a note\nand another\n", refused=("one column, 'just a note'",)),
    Case("a header alone", "AAPL.csv", "Date,Close\n", refused=("a header alone (Date, Close)",)),
    Case("a pickle", "prices.pkl", b"\x80\x05\x95" + bytes(50), refused=("a pickle", "CSV or Parquet")),
)  # fmt: skip

OPTION = read(underlying="AAPL", date=JAN_2, expiry="2024-01-19", strike=185.0, bid=3.1, ask=3.2)
CBOE_HEAD = (
    "underlying_symbol,quote_date,root,expiration,strike,option_type,open,high,low,close,trade_volume,bid_size_1545,bid_1545,"
    "ask_size_1545,ask_1545,underlying_bid_1545,underlying_ask_1545,implied_underlying_price_1545,"
    "active_underlying_price_1545,implied_volatility_1545,delta_1545,bid_size_eod,bid_eod,ask_size_eod,ask_eod,"
    "underlying_bid_eod,underlying_ask_eod,vwap,open_interest,delivery_code\n"
)
CBOE_ROW = (
    "^SPX,2024-01-02,SPXW,2024-01-19,4700.000,C,60,62,55,58,100,10,57.1,12,57.5,4742.1,4742.9,4743.0,4742.5,0.1312,"
    "0.6,9,57.6,8,58.2,4742.6,4743.0,58.5,1200,\n"
)
CHAIN = "contractSymbol,lastTradeDate,strike,lastPrice,bid,ask,change,percentChange,volume,openInterest,impliedVolatility,inTheMoney,contractSize,currency"
SPOTS = "Date,Close\n2024-01-02,185.64\n2024-01-03,184.25\n"

OPTIONS = (
    Case("Cboe DataShop, end of day", "UnderlyingOptionsEODCalcs_2024-01-02.csv", CBOE_HEAD + CBOE_ROW, "cboe_1545",
         read(underlying="^SPX", date=JAN_2, expiry="2024-01-19", strike=4700.0, bid=57.1, ask=57.5, spot=4742.5, iv=0.1312,
              contract_id="SPXW 2024-01-19 C4700"), rows=1),
    Case("the same, its closing quotes", "UnderlyingOptionsEODCalcs.csv", CBOE_HEAD + CBOE_ROW, "cboe_eod",
         read(bid=57.6, ask=58.2, spot=4742.8), rows=1, given={"form": "cboe_eod"}),
    Case("Cboe's names with a contract and a spot", "options.csv",
         "contract_id,underlying_symbol,quote_date,root,expiration,strike,option_type,bid,ask,trade_volume,open_interest,spot\n"
         "SPXW200103C03250000,^SPX,2020-01-02,SPXW,2020-01-03,3250.000,C,9.1,9.4,10,100,3257.85\n", "cboe",
         read(underlying="^SPX", contract_id="SPXW200103C03250000", spot=3257.85), rows=1),
    Case("OptionMetrics with a file of spots", "optionm.csv",
         "secid,date,symbol,exdate,cp_flag,strike_price,best_bid,best_offer,volume,open_interest,impl_volatility,delta,optionid,ss_flag,ticker\n"
         "101594,20240102,AAPL 240119C185000,20240119,C,185000,3.1,3.2,120,1500,0.21,0.5,155820001,0,AAPL\n"
         "101594,20240102,AAPL1 240119C9250,20240119,C,9250,3.1,3.2,1,1,-99.99,-99.99,155820002,1,AAPL\n", "optionmetrics",
         OPTION | read(spot=185.64, iv=0.21, contract_id="155820001"), rows=1, given={"spot": "AAPL.csv"}),
    Case("OptionMetrics without the underlying", "optionm.csv",
         "secid,date,exdate,cp_flag,strike_price,best_bid,best_offer,ticker\n101594,20240102,20240119,C,185000,3.1,3.2,AAPL\n",
         refused=("OptionMetrics", "lacks spot", "data.format.spot")),
    Case("yfinance option_chain", "calls.csv", CHAIN + "\nAAPL240119C00185000,2024-01-02 20:59:59+00:00,185.0,3.15,3.1,3.2,0.1,1.0,120,1500,0.21,True,REGULAR,USD\n",
         refused=("yfinance", "lacks date and spot", "qhq data record")),
    Case("yfinance option_chain with date and spot added", "calls.csv",
         CHAIN + ",date,spot\nAAPL240119C00185000,2024-01-02 20:59:59+00:00,185.0,3.15,3.1,3.2,0.1,1.0,120,1500,0.21,True,REGULAR,USD,2024-01-02,185.64\n",
         "yfinance_chain", OPTION | read(spot=185.64, iv=0.21, right="C"), rows=1),
    Case("DeltaNeutral", "options_20240102.csv",
         "UnderlyingSymbol,UnderlyingPrice,Exchange,OptionSymbol,OptionExt,Type,Expiration,DataDate,Strike,Last,Bid,Ask,Volume,OpenInterest,IV,Delta\n"
         "AAPL,185.64,*,AAPL240119C00185000,,call,01/19/2024,01/02/2024,185.00,3.15,3.10,3.20,120,1500,0.21,0.5\n", "deltaneutral",
         OPTION | read(spot=185.64, right="call", iv=0.21), rows=1),
    Case("ORATS, calls and puts in one row", "ORATS_SMV_Strikes_20240102.csv",
         "ticker,tradeDate,expirDate,dte,strike,stockPrice,callVolume,callOpenInterest,callBidSize,callAskSize,putVolume,putOpenInterest,"
         "callBidPrice,callValue,callAskPrice,putBidPrice,putValue,putAskPrice,callBidIv,callMidIv,callAskIv,smvVol,putBidIv,putMidIv,putAskIv,delta\n"
         "AAPL,2024-01-02,2024-01-19,18,185,185.64,120,1500,1,1,80,900,3.1,3.15,3.2,2.4,2.45,2.5,0.2,0.21,0.22,0.21,0.2,0.215,0.23,0.5\n",
         "orats", OPTION | read(spot=185.64, right="call", iv=0.21, volume=120)),
    Case("OptionsDX, calls and puts in one row", "aapl_eod_202401.txt",
         "[QUOTE_UNIXTIME], [QUOTE_READTIME], [QUOTE_DATE], [QUOTE_TIME_HOURS], [UNDERLYING_LAST], [EXPIRE_DATE], [EXPIRE_UNIX], [DTE], [C_DELTA], "
         "[C_IV], [C_VOLUME], [C_LAST], [C_SIZE], [C_BID], [C_ASK], [STRIKE], [P_BID], [P_ASK], [P_SIZE], [P_LAST], [P_IV], [P_VOLUME]\n"
         "1704229200, 2024-01-02 16:00, 2024-01-02, 16.0, 185.64, 2024-01-19, 1705698000, 17.0, 0.5, 0.21, 120, 3.15, 1 x 1, 3.1, 3.2, 185.0, 2.4, 2.5, 1 x 1, 2.45, 0.215, \n",
         "optionsdx", OPTION | read(spot=185.64, right="call", iv=0.21)),
    Case("Deribit, prices in bitcoin", "deribit.csv",
         "timestamp,instrument_name,underlying_price,best_bid_price,best_ask_price,mark_price,mark_iv,open_interest\n"
         "1704211200000,BTC-26JAN24-45000-C,45000,0.05,0.055,0.052,62.5,1200\n", "deribit",
         read(underlying="BTC", date=JAN_2, expiry="2024-01-26", strike=45000.0, bid=2250.0, ask=2475.0, iv=0.625, right="C"), rows=1),
    Case("NSE, bhavcopy of derivatives with a file of spots", "fo02JAN2024bhav.csv",
         "INSTRUMENT,SYMBOL,EXPIRY_DT,STRIKE_PR,OPTION_TYP,OPEN,HIGH,LOW,CLOSE,SETTLE_PR,CONTRACTS,VAL_INLAKH,OPEN_INT,CHG_IN_OI,TIMESTAMP,\n"
         "OPTSTK,RELIANCE,25-Jan-2024,2600,CE,50,55,48,52.1,52.3,1200,3000,500000,100,02-JAN-2024,\n"
         "FUTSTK,RELIANCE,25-Jan-2024,0,XX,2610,2620,2600,2611,2611,1200,3000,500000,100,02-JAN-2024,\n", "nse_options",
         read(underlying="RELIANCE", strike=2600.0, right="C", mid=52.3, spot=185.64, expiry="2024-01-25"), rows=1, given={"spot": "AAPL.csv"}),
    Case("NSE, UDiFF bhavcopy of derivatives", "BhavCopy_NSE_FO_0_0_0_20240702_F_0000.csv",
         "TradDt,BizDt,Sgmt,Src,FinInstrmTp,FinInstrmId,ISIN,TckrSymb,SctySrs,XpryDt,FininstrmActlXpryDt,StrkPric,OptnTp,FinInstrmNm,OpnPric,HghPric,LwPric,ClsPric,LastPric,PrvsClsgPric,UndrlygPric,SttlmPric,OpnIntrst,ChngInOpnIntrst,TtlTradgVol\n"
         "2024-01-02,2024-01-02,FO,NSE,STO,1,,RELIANCE,,2024-01-25,2024-01-25,2600,CE,X,50,55,48,52.1,52.1,51,2605.5,52.3,500000,100,1200\n"
         "2024-01-02,2024-01-02,FO,NSE,STF,2,,RELIANCE,,2024-01-25,2024-01-25,,,X,2610,2620,2600,2611,2611,2600,2605.5,2611,500000,100,1200\n",
         "nse_udiff", read(underlying="RELIANCE", spot=2605.5, mid=52.3, right="C"), rows=1),
    Case("DoltHub, vol is the implied volatility", "option_chain.csv",
         "date,act_symbol,expiration,strike,call_put,bid,ask,vol,delta\n2024-01-02,AAPL,2024-01-19,185.00,Call,3.10,3.20,0.2100,0.5\n", "dolthub",
         OPTION | read(iv=0.21, spot=185.64), rows=1, given={"spot": "AAPL.csv"}),
    Case("Alpha Vantage, HISTORICAL_OPTIONS", "AAPL.csv.txt",
         "contractID,symbol,expiration,strike,type,last,mark,bid,bid_size,ask,ask_size,volume,open_interest,date,implied_volatility,delta\n"
         "AAPL240119C00185000,AAPL,2024-01-19,185.00,call,3.15,3.15,3.10,10,3.20,12,120,1500,2024-01-02,0.21000,0.5\n", "alpha_vantage_options",
         OPTION | read(iv=0.21, spot=185.64, mid=3.15), rows=1, given={"spot": "AAPL.csv"}),
    Case("volatilities with a percent sign", "options.csv",
         "underlying,date,expiry,strike,right,bid,ask,iv,spot\nAAPL,2024-01-02,2024-01-19,185,C,3.1,3.2,21.00%,185.64\n", None,
         OPTION | read(iv=0.21), rows=1),
    Case("two quotes of a contract on one day", "options.csv",
         "underlying,date,expiry,strike,right,bid,ask,spot\nAAPL,2024-01-02 10:00,2024-01-19,185,C,3.1,3.2,185.64\nAAPL,2024-01-02 15:45,2024-01-19,185,C,3.3,3.4,185.9\n",
         refused=("2 times on 2024-01-02", "contract and session", "data.format.intraday=last")),
    Case("the same, the last taken", "options.csv",
         "underlying,date,expiry,strike,right,bid,ask,spot\nAAPL,2024-01-02 10:00,2024-01-19,185,C,3.1,3.2,185.64\nAAPL,2024-01-02 15:45,2024-01-19,185,C,3.3,3.4,185.9\n", None,
         read(bid=3.3, spot=185.9), rows=1, given={"intraday": "last"}),
)  # fmt: skip


def understood(case: Case, folder: Path) -> Any:
    """The reading of a file, its rows checked as `qhq data check` does."""
    path = case.write(folder)
    given = dict(case.given)
    if "spot" in given:
        (folder / given["spot"]).write_text(SPOTS)
        given["spot"] = str(folder / given["spot"])
    reading = understand_file(path, path.name, asked=Asked(FileFormat(**given)))
    for breach in find_breaches(reading.frame, path.name, reading.kind):
        if (
            breach.rule in ("date", "cell", "readable", "number")
            and breach.severity == "error"
            and case.refused
        ):
            raise DataError(breach.must, got=breach.example, fix=breach.fix)
    return reading


def same(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, float | int):
        return bool(np.isclose(float(value), wanted, rtol=1e-12))
    return str(value)[: len(str(wanted))] == str(wanted)


@pytest.mark.parametrize("case", [*STOCKS, *OPTIONS], ids=lambda case: case.name)
def test_a_vendors_file(case, tmp_path):
    if case.refused:
        with pytest.raises(DataError) as caught:
            understood(case, tmp_path)
        text = str(caught.value)
        for part in case.refused:
            assert part in text
        return
    reading = understood(case, tmp_path)
    assert reading.form == case.form
    assert len(reading.frame) == case.rows
    first = reading.frame.iloc[0]
    assert {name: first[name] for name, wanted in case.first.items() if not same(first[name], wanted)} == {}


DAMAGE = (
    b",",
    b"\n",
    b'"',
    b";;",
    b"\n\n",
    b"nan",
    b"-",
    b",,,\n",
    b"1.2.3",
    b"2024",
    b"\xe9",
    b"Total",
    b"\x00",
)


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """A file in which a few bytes are added, cut out or cut off, or lines change places."""
    for _ in range(rng.integers(1, 6)):
        place, kind = int(rng.integers(len(content) + 1)), rng.integers(4)
        if kind == 0:
            content = content[:place] + DAMAGE[rng.integers(len(DAMAGE))] + content[place:]
        elif kind == 1:
            content = content[:place] + content[place + int(rng.integers(1, 8)) :]
        elif kind == 2:
            content = content[:place]
        else:
            lines = content.split(b"\n")
            content = b"\n".join(lines[each] for each in rng.permutation(len(lines)))
    return content


@pytest.mark.parametrize("seed", range(2))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path, seed):
    rng = np.random.default_rng(seed)
    for case in (*STOCKS, *OPTIONS):
        path = case.write(tmp_path)
        path.write_bytes(damaged(path.read_bytes(), rng))
        with suppress(DataError):
            reading = understand_file(path, path.name)
            find_breaches(reading.frame, path.name, reading.kind)


def verdict(case: Case) -> tuple[str, str, str]:
    """Form, rows and what came of a file."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            reading = understood(case, Path(folder))
        except DataError as error:
            return "-", "-", f"refused: {error.got}. {error.fix}"
    return reading.form or "by names", str(len(reading.frame)), "read"


if __name__ == "__main__":
    for each in (*STOCKS, *OPTIONS):
        sys.stdout.write(" | ".join((each.name, *verdict(each))) + "\n")
