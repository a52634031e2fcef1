# ruff: noqa: E501 - the lines of a file are as long as its vendor writes them
"""What columns mean in files that nobody here wrote: other languages, wide tables, contracts in a ticker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qhq.data.file_format import FileFormat
from qhq.data.sources.files import Asked, symbol_of, understand_file
from qhq.errors import DataError

SPOTS = "symbol,date,close\nSPY,2025-04-16,525.66\nAAPL,2024-01-02,185.64\nODAX,2024-01-02,16769.4\nBTCUSDT,2024-01-02,45200\n"


def read(folder, text, name="AAPL.csv", **given):
    path = folder / name
    path.write_text(text)
    if given.pop("spots", False):
        (folder / "spots.csv").write_text(SPOTS)
        given["spot"] = str(folder / "spots.csv")
    return understand_file(path, path.name, asked=Asked(FileFormat(**given)))


def first(reading, *names):
    row = reading.frame.iloc[0]
    return tuple(
        str(row[name])[:10] if name in ("date", "expiry", "symbol", "underlying") else float(row[name])
        for name in names
    )


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("Tarih;Şimdi;Açılış;Yüksek;Düşük;Hac.;Fark %", "03.01.2024;10,5;10,1;11;9,5;58,41M;-0,75%"),
        ("日付け;終値;始値;高値;安値;出来高;変化率 %", "2024年01月03日;10.5;10.1;11;9.5;58.41M;1.80%"),
        ("Дата;Цена;Откр.;Макс.;Мин.;Объём;Изм. %", "03.01.2024;10,5;10,1;11;9,5;58,41M;-0,75%"),
        ("Datum;Laatste;Open;Hoog;Laag;Vol.;Verschil %", "03/01/2024;10,5;10,1;11;9,5;58,41M;-0,75%"),
        ("Data;Ostatnio;Otwarcie;Max.;Min.;Wol.;Zmiana%", "03.01.2024;10,5;10,1;11;9,5;58,41M;-0,75%"),
        ("日付;終値;始値;高値;安値;出来高;調整後終値*", "2024年1月3日;10.5;10.1;11;9.5;58.41M;10.4"),
        ("Datum;Schluss;Eröffnung;Tageshoch;Tagestief;Umsatz (Stück);Umsatz (€)", "03.01.24;10,5;10,1;11;9,5;58,41M;1,1"),
        ("Exchange Date;Close;Open;High;Low;Volume;Net", "03-Jan-2024;10.5;10.1;11;9.5;58.41M;-0.73"),
        ("Local time;Close;Open;High;Low;Volume", "03.01.2024 00:00:00.000 GMT+0100;10.5;10.1;11;9.5;58.41M"),
        ("<TICKER>;<PER>;<DATE>;<TIME>;<OPEN>;<HIGH>;<LOW>;<CLOSE>;<VOL>", "A;D;20240103;000000;10.1;11;9.5;10.5;58410000"),
        ("BOARDID;TRADEDATE;SECID;CLOSE;OPEN;HIGH;LOW;VOLUME", "TQBR;2024-01-03;A;10.5;10.1;11;9.5;58410000"),
        ("Date;Open;High;Low;Last;Close;Number of Shares;vwap", "03/01/2024;10.1;11;9.5;10.4;10.5;58410000;1"),
        ("Date;Open Price;High Price;Low Price;Close Price;WAP;No.of Shares", "3-January-2024;10.1;11;9.5;10.5;1;58410000"),
    ],
)  # fmt: skip
def test_prices_in_other_words(tmp_path, header, row):
    reading = read(tmp_path, f"{header}\n{row}\n")
    assert first(reading, "date", "close", "open", "high", "low") == ("2024-01-03", 10.5, 10.1, 11.0, 9.5)
    np.testing.assert_allclose(float(reading.frame["volume"].iloc[0]), 58.41e6)


@pytest.mark.parametrize(
    ("header", "row", "symbols"),
    [
        ('"","AAPL.Open","AAPL.Close","AAPL.Adjusted"', '"2024-01-03",9,10,8', ["AAPL"]),
        ("Index,BRK.B.Open,BRK.B.Close,BRK.B.Adjusted", "2024-01-03,9,10,8", ["BRK.B"]),
        ("date,AAPL_close,MSFT_close,AAPL_open,AAPL_adj_close", "2024-01-03,10,20,9,8", ["AAPL", "MSFT"]),
        ("Date,Close AAPL,Open AAPL,Adj Close AAPL", "2024-01-03,10,9,8", ["AAPL"]),
        ("Date,\"('Close', 'AAPL')\",\"('Open', 'AAPL')\",\"('Adj Close', 'AAPL')\"", "2024-01-03,10,9,8", ["AAPL"]),
    ],
)  # fmt: skip
def test_a_column_for_each_price_of_each_ticker_is_no_ticker(tmp_path, header, row, symbols):
    reading = read(tmp_path, f"{header}\n{row}\n")
    assert list(reading.frame["symbol"]) == symbols
    assert first(reading, "close", "open", "adj_close") == (10, 9, 8)


@pytest.mark.parametrize("asked", [("rv",), ("mkt", "rv")])
def test_a_column_that_is_asked_for_is_no_ticker(tmp_path, asked):
    path = tmp_path / "monthly.csv"
    path.write_text("date,RV,mkt\n2024-01-31,0.012,1.5\n2024-02-29,0.015,-0.3\n")
    frame = understand_file(path, path.name, columns=asked).frame
    assert {*asked, "symbol", "date"} == set(frame.columns)
    np.testing.assert_allclose(frame["rv"].astype(float), [0.012, 0.015])


def test_a_wide_table_keeps_tickers_that_are_words(tmp_path):
    reading = read(tmp_path, "Periodo,MAX,BAS,Total Volume\n2024-01-03,1,2,3\n", columns={"date": "Periodo"})
    assert list(reading.frame["symbol"]) == ["MAX", "BAS"]
    assert "Total Volume" in " ".join(reading.notes)


CHAIN = "2024-01-19", 185.0, 3.1


@pytest.mark.parametrize(
    ("form", "header", "row", "wanted"),
    [
        ("polygon_options", "ticker,volume,open,close,high,low,window_start,transactions",
         "O:SPY251219C00550000,4930,20,29,30,19,1744776000000000000,129", ("SPY", "2025-12-19", 550.0, 29.0)),
        (None, "symbol,date,mid,spot", "SPY   251219C00550000,2025-04-16,29,525", ("SPY", "2025-12-19", 550.0, 29.0)),
        (None, "underlying,date,dte,strike,right,mid,spot", "AAPL,2024-01-02,17,185,C,3.1,185.64",
         ("AAPL", *CHAIN)),
        ("thetadata_v3", "symbol,expiration,strike,right,created,last_trade,close,mid,bid,ask",
         "AAPL,2024-01-19,185.000,CALL,2024-01-02T17:15:00.000,2024-01-02T15:59:59.000,3,3.1,3,3.2", ("AAPL", *CHAIN)),
        ("eodhd_options", "contract,underlying_symbol,exp_date,type,strike,mid,bid,ask,volatility,tradetime",
         "AAPL240119C00185000,AAPL,2024-01-19,call,185,3.1,3,3.2,0.21,2024-01-02", ("AAPL", *CHAIN)),
        ("schwab", "symbol,putCall,bid,ask,mark,volatility,strikePrice,expirationDate,underlyingPrice,quoteTimeInLong",
         "AAPL  240119C00185000,CALL,3,3.2,3.1,21.5,185,2024-01-19T21:00:00.000+00:00,185.64,1704229200000", ("AAPL", *CHAIN)),
        ("ivolatility", "symbol,date,stock price close,option symbol,expiration date,strike,call/put,ask,bid,mean price",
         "AAPL,01/02/2024,185.64,AAPL  240119C00185000,01/19/2024,185,C,3.2,3,3.1", ("AAPL", *CHAIN)),
        ("binance_options", "date,hour,symbol,underlying,type,strike,best_bid_price,best_ask_price,mark_price,mark_iv",
         "2024-01-02,23,BTC-240126-45000-C,BTCUSDT,C,45000,2190,2210,2200,0.6", ("BTCUSDT", "2024-01-26", 45000.0, 2200.0)),
        ("tardis", "exchange,symbol,timestamp,type,strike_price,expiration,bid_price,ask_price,mark_price,mark_iv,underlying_price",
         "deribit,BTC-26JAN24-45000-C,1704240000000000,call,45000,1706256000000000,0.04,0.06,0.05,60.6,45200",
         ("BTC", "2024-01-26", 45000.0, 2260.0)),
        ("eurex", "Trade date;Product;Expiration;Exercise Price;Call/Put;Settlement Price",
         "02.01.2024;ODAX;19.01.2024;16.800,00;C;212,3", ("ODAX", "2024-01-19", 16800.0, 212.3)),
    ],
)  # fmt: skip
def test_contracts_of_more_vendors(tmp_path, form, header, row, wanted):
    reading = read(tmp_path, f"{header}\n{row}\n", "options.csv", spots=True)
    assert (reading.form, reading.kind) == (form, "options")
    assert first(reading, "underlying", "expiry", "strike", "mid") == wanted
    assert np.isfinite(reading.frame["spot"].astype(float)).all()


@pytest.mark.parametrize("chosen", ["Close", "Close.1"])
def test_two_columns_of_one_name_are_refused_and_the_cure_works(tmp_path, chosen):
    text = "Date,Close,Close\n2024-01-02,1,2\n"
    with pytest.raises(DataError, match=r"Close' \(1\) and 'Close.1' \(2\)"):
        read(tmp_path, text)
    assert first(read(tmp_path, text, columns={"close": chosen}), "close") == (
        {"Close": 1, "Close.1": 2}[chosen],
    )


def test_files_glued_together_with_their_columns_in_another_order_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"'Open' above and 'Close' in the header of line 3"):
        read(tmp_path, "Date,Open,Close\n2024-01-02,1,2\nDate,Close,Open\n2024-01-03,1,2\n")


@pytest.mark.parametrize(
    "text",
    [
        "Date,Open,Close\n2024-01-02,1,2\n# a remark\n2024-01-03,1,2\n",
        "Date\tOpen\tClose*\n2024-01-02\t1\t2\n2024-01-03\t0.24 Dividend\n2024-01-03\t1\t2\n",
        "Price,Close,Open\nTicker,A,A\nDate,,\n2024-01-02,2,1\nPrice,Close,Open\nTicker,A,A\nDate,,\n2024-01-03,2,1\n",
    ],
)
def test_lines_between_the_rows_are_left_out_and_reported(tmp_path, text):
    reading = read(tmp_path, text)
    assert list(reading.frame["close"].astype(float)) == [2, 2]
    assert "left out" in " ".join(reading.notes)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("AAPL - Sheet1.csv", "AAPL"),
        ("NASDAQ_AAPL, 1D.csv", "NASDAQ_AAPL"),
        ("EURUSD_D1.csv", "EURUSD"),
        ("EURUSD_Candlestick_1_D_BID_02.01.2024-05.01.2024.csv", "EURUSD"),
        ("THYAO Geçmiş Verileri.csv", "THYAO"),
        ("AAPL.jsonl", "AAPL"),
    ],
)
def test_symbols_in_names_of_files(name, symbol):
    assert symbol_of(Path(name)) == symbol
