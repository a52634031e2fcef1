"""The forms in which vendors write files of prices: one row of a table for each.

A form is recognised by its header, never by the name of the file, and says what its columns mean there: the
same name means different things at different vendors (``vol`` is a volume, but DoltHub's implied volatility;
``date`` is a session, or an expiry; OptionMetrics' strikes are thousandths). What a form does not mention is
read by the names of the schema (``qhq.data.columns``). Names are compared as ``plain_name`` writes them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from qhq.data.columns import PanelKind
from qhq.data.columns import words as _names


@dataclass(frozen=True)
class Form:
    """How one vendor writes a file.

    Attributes:
        title: What it is, for people.
        kind: Stocks or options.
        header: Columns by which it is recognised: all of them are there. The form with most of them wins.
        columns: Names of the schema and the column that each is read from.
        ignore: Columns that mean something else than their name says in the schema.
        calls: Columns of the call's values, where calls and puts stand side by side in a row.
        puts: Those of the put.
        dates: Order of the dates where the cells allow several.
        scale: Factor of a column, such as 0.001 for strikes in thousandths.
        missing: Numbers that stand for an empty cell.
        absolute: Columns whose sign is a mark and no part of the value.
        in_spot: Columns in units of the underlying: an option's price in bitcoin.
        percent: Columns in percent.
        keep: Rows to keep, ``{column: values}``, where a file mixes kinds of rows.
        notes: What to know of its numbers.
        lacks: What such a file has not, and how to add it.
    """

    title: str
    kind: PanelKind
    header: frozenset[str]
    columns: Mapping[str, str] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()
    calls: Mapping[str, str] = field(default_factory=dict)
    puts: Mapping[str, str] = field(default_factory=dict)
    dates: str | None = None
    scale: Mapping[str, float] = field(default_factory=dict)
    missing: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    absolute: tuple[str, ...] = ()
    in_spot: tuple[str, ...] = ()
    percent: tuple[str, ...] = ()
    keep: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    lacks: str = ""


def _pairs(text: str) -> dict[str, str]:
    """``close=price volume=vol`` as a dict."""
    return dict(pair.split("=") for pair in text.split())


_ADJUSTED = "its prices are adjusted for splits"
_NO_SPOT = (
    "the price of the underlying: name a file of its daily prices in data.format.spot, or add a column spot"
)
_OHLCV = "open high low close volume"

VENDOR_FORMS: dict[str, Form] = {
    # Stocks and other prices
    "yfinance_download": Form(  # known by its two or three rows of names, before there is a header
        "yfinance, download", "stocks", _names("(price,ticker)"),
        notes=("its prices are adjusted for splits, and without a column 'Adj Close' for dividends too",),
    ),
    # Adjusted by its splits once more, its prices would be wrong: they are adjusted already.
    "yfinance_history": Form(
        "yfinance, Ticker.history", "stocks", _names("date open high low close volume dividends"
        " stock_splits"),
        ignore=_names("stock_splits"),
        notes=("its prices are adjusted for splits, and without a column 'Adj Close' for dividends too",),
    ),
    # Of its prices only adjusted_close is adjusted; open, high, low and close are as traded.
    "alpha_vantage_adjusted": Form(
        "Alpha Vantage, TIME_SERIES_DAILY_ADJUSTED", "stocks",
        _names("open high low close volume adjusted_close dividend_amount split_coefficient"),
        _pairs("adj_close=adjusted_close dividend=dividend_amount split=split_coefficient"),
    ),
    "alpaca": Form(
        "Alpaca, bars", "stocks", _names(f"symbol timestamp {_OHLCV} trade_count vwap"), notes=(_ADJUSTED,),
    ),
    "alpha_vantage": Form("Alpha Vantage, TIME_SERIES_DAILY", "stocks", _names(f"timestamp {_OHLCV}")),
    # Its bulk archives have files of 5 and 60 minutes, whose rows are of the same columns.
    "stooq": Form(
        "stooq, bulk text", "stocks", _names("ticker per date time open high low close vol openint"),
        keep={"per": ("D",)}, notes=(_ADJUSTED,),
    ),
    "stooq_polish": Form(
        "stooq, in Polish", "stocks", _names("data otwarcie najwyzszy najnizszy zamkniecie"),
        _pairs("date=data open=otwarcie high=najwyzszy low=najnizszy close=zamkniecie volume=wolumen"),
    ),
    "all_stocks_5yr": Form(
        "Kaggle, all_stocks_5yr (S&P 500)", "stocks", _names("date open high low close volume name"),
        _pairs("symbol=name"),
    ),
    "investing": Form(
        "investing.com, historical data", "stocks", _names("date price open high low"),
        _pairs("close=price volume=vol"), ignore=_names("change"), notes=(_ADJUSTED,),
    ),
    "investing_german": Form(
        "investing.com, in German", "stocks", _names("datum zuletzt eröffn hoch tief"),
        _pairs("date=datum close=zuletzt open=eröffn high=hoch low=tief volume=vol"), dates="dayfirst",
    ),
    "investing_french": Form(
        "investing.com, in French", "stocks", _names("date dernier ouv plus_haut plus_bas"),
        _pairs("close=dernier open=ouv high=plus_haut low=plus_bas volume=vol"), dates="dayfirst",
    ),
    "investing_spanish": Form(
        "investing.com, in Spanish", "stocks", _names("fecha último apertura máximo mínimo"),
        _pairs("date=fecha close=último open=apertura high=máximo low=mínimo volume=vol"), dates="dayfirst",
    ),
    "investing_italian": Form(
        "investing.com, in Italian", "stocks", _names("data ultimo apertura massimo minimo"),
        _pairs("date=data close=ultimo open=apertura high=massimo low=minimo volume=vol"), dates="dayfirst",
    ),
    "investing_portuguese": Form(
        "investing.com, in Portuguese", "stocks", _names("data último abertura máxima mínima"),
        _pairs("date=data close=último open=abertura high=máxima low=mínima volume=vol"), dates="dayfirst",
    ),
    "german_bank": Form(
        "a German bank or exchange (ariva and others)", "stocks",
        _names("datum erster hoch tief schlusskurs"),
        _pairs("date=datum open=erster high=hoch low=tief close=schlusskurs volume=stuecke"),
        dates="dayfirst",
        # Its 'Volumen' is the turnover in euros; 'Stuecke' is the number of shares.
        ignore=_names("volumen"),
    ),
    "akshare": Form(
        "akshare (Chinese)", "stocks", _names("日期 开盘 收盘 最高 最低"),
        _pairs("date=日期 symbol=股票代码 open=开盘 close=收盘 high=最高 low=最低 volume=成交量"),
        scale={"volume": 100.0}, notes=("its volume is in lots of 100 shares, and read so",),
    ),
    "tushare": Form(
        "tushare, daily", "stocks", _names("ts_code trade_date open high low close vol"),
        _pairs("symbol=ts_code date=trade_date volume=vol"), scale={"volume": 100.0},
        notes=("its volume is in lots of 100 shares, and read so",),
    ),
    "nse_history": Form(
        "NSE India, historical data", "stocks", _names("date series open high low prev_close ltp close vwap"),
        # Of a symbol's series EQ and BE are its shares, traded freely or for delivery; others are bonds and
        # rights. Here and in the forms of NSE India below.
        ignore=_names("ltp prev_close"), keep={"series": ("EQ", "BE", "")}, dates="dayfirst",
    ),
    "nse_archive": Form(
        "NSE India, security-wise archive", "stocks",
        _names("symbol series date prev_close open_price high_price low_price last_price close_price"),
        _pairs("open=open_price high=high_price low=low_price close=close_price"
        " volume=total_traded_quantity"),
        ignore=_names("last_price prev_close"), keep={"series": ("EQ", "BE", "")}, dates="dayfirst",
    ),
    "nse_kaggle": Form(
        "NSE India, Kaggle's Nifty 50", "stocks", _names("date symbol series prev_close open high low last"
        " close"),
        ignore=_names("last prev_close"), keep={"series": ("EQ", "BE", "")},
    ),
    "nse_bhavcopy": Form(
        "NSE India, bhavcopy of equities", "stocks",
        _names("symbol series open high low close last prevclose tottrdqty timestamp"),
        _pairs("volume=tottrdqty date=timestamp"), ignore=_names("last prevclose"),
        keep={"series": ("EQ", "BE", "")}, dates="dayfirst",
    ),
    "nse_bhavdata_full": Form(
        "NSE India, sec_bhavdata_full", "stocks",
        _names("symbol series date1 prev_close open_price high_price low_price close_price ttl_trd_qnty"),
        _pairs("date=date1 open=open_price high=high_price low=low_price close=close_price"
        " volume=ttl_trd_qnty"),
        ignore=_names("last_price prev_close"), keep={"series": ("EQ", "BE", "")}, dates="dayfirst",
    ),
    "nasdaq": Form(
        "Nasdaq.com, historical quotes", "stocks", _names("date close_last volume open high low"),
        _pairs("close=close_last"), dates="monthfirst", notes=(_ADJUSTED,),
    ),
    "tiingo": Form(
        "Tiingo, end of day", "stocks", _names("date close high low open volume adjclose divcash"
        " splitfactor"),
        _pairs("adj_close=adjclose dividend=divcash split=splitfactor"),
    ),
    # The same header as Finnhub's candles but for the status (s): the longer one wins, see `recognise`.
    "polygon": Form(
        "Polygon.io, aggregates", "stocks", _names("v o c h l t"),
        _pairs("date=t open=o high=h low=l close=c volume=v symbol=ticker"), notes=(_ADJUSTED,),
    ),
    "polygon_flat": Form(
        "Polygon.io, flat file", "stocks", _names("ticker volume open close high low window_start"
        " transactions"),
        _pairs("date=window_start symbol=ticker"),
    ),
    "wiki": Form(
        "Quandl WIKI prices", "stocks", _names("date open high low close volume ex_dividend split_ratio"),
        _pairs("dividend=ex_dividend split=split_ratio"),
    ),
    # Its period of a day is D, or 1440 minutes, as the export was asked for.
    "finam": Form(
        "Finam, Moscow Exchange", "stocks", _names("ticker per date time open high low close vol"),
        keep={"per": ("D", "1440")},
    ),
    "moex": Form(
        "Moscow Exchange, ISS history", "stocks",
        _names("boardid tradedate secid open low high close volume"),
        _pairs("symbol=secid date=tradedate"),
    ),
    # Its last is the last trade, its close the price of the closing auction.
    "euronext": Form(
        "Euronext", "stocks", _names("date open high low last close number_of_shares"),
        _pairs("volume=number_of_shares"), ignore=_names("last"), dates="dayfirst",
    ),
    "eikon_history": Form(
        "Refinitiv, price history", "stocks", _names("exchange_date close open low high"),
        _pairs("date=exchange_date"), ignore=_names("net"),
    ),
    "bse": Form(
        "BSE India", "stocks",
        _names("date open_price high_price low_price close_price wap no_of_shares"),
        _pairs("open=open_price high=high_price low=low_price close=close_price volume=no_of_shares"),
        dates="dayfirst",
    ),
    "finnhub": Form(
        "Finnhub, candles", "stocks", _names("c h l o s t v"),
        _pairs("date=t open=o high=h low=l close=c volume=v"), notes=(_ADJUSTED,),
    ),
    "sharadar": Form(
        "Sharadar SEP", "stocks", _names("ticker date open high low close volume closeadj closeunadj"),
        _pairs("symbol=ticker adj_close=closeadj"), notes=(_ADJUSTED,),
    ),
    # Its close_time is the last millisecond of the same day.
    "binance": Form(
        "Binance klines", "stocks", _names("open_time open high low close volume close_time"),
        _pairs("date=open_time"), ignore=_names("close_time"),
    ),
    # Its unix is the date once more, in older rows of seconds and in newer ones of milliseconds.
    "cryptodatadownload": Form(
        "CryptoDataDownload", "stocks", _names("unix date symbol open high low close"), ignore=_names("unix"),
    ),
    "coinmarketcap": Form(
        "CoinMarketCap", "stocks", _names("timeopen timeclose timehigh timelow open high low close volume"),
        _pairs("date=timeopen symbol=name"), ignore=_names("timestamp"),
        notes=("its volume is in dollars, not in coins",),
    ),
    "coingecko": Form(
        "CoinGecko", "stocks", _names("snapped_at price market_cap total_volume"),
        _pairs("date=snapped_at close=price volume=total_volume"),
        notes=("its volume is in dollars, not in coins", "its price is that of the time stamp, not a close"),
    ),
    # PRC is 0 where neither a trade nor quotes are known, and VOL is -99 where it was not reported.
    "crsp": Form(
        "CRSP daily (WRDS)", "stocks", _names("permno date prc"),
        _pairs("symbol=ticker close=prc high=askhi low=bidlo open=openprc volume=vol"),
        absolute=("close", "open", "high", "low"), missing={"close": (0.0,), "volume": (-99.0,), "open":
        (0.0,)}, notes=("a negative PRC is the middle of bid and ask of a day without a trade, and read as"
        " its price",
               "without a trade that day BIDLO and ASKHI are a bid and an ask"),
    ),
    "compustat": Form(
        "Compustat daily (WRDS)", "stocks", _names("gvkey datadate prccd"),
        _pairs("symbol=tic date=datadate close=prccd open=prcod high=prchd low=prcld volume=cshtrd"),
    ),
    # Its fields can be in any order and number, so the last price alone has to be there.
    "bloomberg": Form(
        "Bloomberg", "stocks", _names("px_last"),
        _pairs("close=px_last open=px_open high=px_high low=px_low volume=px_volume"),
    ),
    "eikon": Form(
        "Refinitiv Eikon", "stocks", _names("instrument date price_close"),
        _pairs("symbol=instrument close=price_close open=price_open high=price_high low=price_low"),
    ),
    "barchart": Form(
        "Barchart", "stocks", _names("time open high low last change volume"), _pairs("date=time close=last"),
        ignore=_names("change"),
    ),
    "metatrader": Form(
        "MetaTrader", "stocks", _names("date open high low close tickvol vol spread"),
        # VOL, the volume that was traded, is zero for currencies; TICKVOL counts the changes of price.
        _pairs("volume=tickvol"), ignore=_names("vol spread"),
    ),
    "dukascopy": Form(
        "Dukascopy", "stocks", _names("gmt_time open high low close volume"), _pairs("date=gmt_time"),
        dates="dayfirst",
    ),
    "tradingview": Form("TradingView", "stocks", _names("time open high low close"), _pairs("date=time")),
    "yahoo": Form(
        "Yahoo Finance (its download, Kaggle and others)", "stocks", _names("date open high low close"
        " adj_close volume"),
    ),
    # Options
    # It has quotes of 15:45 and of the close. The implied volatility is of 15:45, when markets are still
    # deep: so those quotes are the ones it belongs to. 0 is none, of a volatility and of a price.
    "cboe_1545": Form(
        "Cboe DataShop, end of day, its quotes of 15:45", "options",
        _names("underlying_symbol quote_date root expiration strike option_type bid_1545 ask_1545"),
        _pairs("underlying=underlying_symbol date=quote_date bid=bid_1545 ask=ask_1545"
        " iv=implied_volatility_1545"
               " volume=trade_volume last=close spot=active_underlying_price_1545"
               " spot_bid=underlying_bid_1545"
               " spot_ask=underlying_ask_1545"),
        ignore=_names("open high low vwap"), missing={"iv": (0.0,), "spot": (0.0,)},
        notes=("bid, ask and spot are those of 15:45; data.format.form=cboe_eod takes the end of the day",),
    ),
    "cboe_eod": Form(
        "Cboe DataShop, end of day, its closing quotes", "options",
        _names("underlying_symbol quote_date root expiration strike option_type bid_eod ask_eod"),
        _pairs("underlying=underlying_symbol date=quote_date bid=bid_eod ask=ask_eod volume=trade_volume"
               " last=close spot_bid=underlying_bid_eod spot_ask=underlying_ask_eod"),
        ignore=_names("open high low vwap implied_volatility_1545"),
    ),
    "cboe": Form(
        "Cboe DataShop", "options", _names("underlying_symbol quote_date root expiration strike option_type"),
        _pairs("underlying=underlying_symbol date=quote_date volume=trade_volume last=close"
               " spot_bid=underlying_bid spot_ask=underlying_ask"),
        ignore=_names("open high low vwap"), missing={"iv": (0.0,)},
    ),
    # -99.99 is no volatility. Of ss_flag, 0 is a standard contract; others deliver something else than 100
    # shares.
    "optionmetrics": Form(
        "OptionMetrics IvyDB (WRDS)", "options", _names("secid date exdate cp_flag strike_price"),
        _pairs("underlying=ticker expiry=exdate right=cp_flag strike=strike_price bid=best_bid ask=best_offer"
               " iv=impl_volatility contract_id=optionid style=exercise_style"),
        ignore=_names("symbol root last_date"), scale={"strike": 0.001}, missing={"iv": (-99.99,)},
        keep={"ss_flag": ("0", "")}, notes=("strikes are thousandths there, and read so",
                                            "rows of non-standard settlement (ss_flag) are left out"),
        lacks=_NO_SPOT,
    ),
    "yfinance_chain": Form(
        "yfinance, Ticker.option_chain", "options", _names("contractsymbol lasttradedate strike lastprice"
        " bid ask"),
        lacks="the day of its quotes and the price of the underlying: add columns date and spot, or record"
              " chains with 'qhq data record'",
    ),
    "polygon_options": Form(
        "Polygon.io, flat file of options", "options",
        _names("ticker volume open close high low window_start transactions"),
        _pairs("contract_id=ticker date=window_start mid=close last=close"), ignore=_names("open high low"),
        missing={"mid": (0.0,)}, lacks=_NO_SPOT,
        notes=("there are no quotes: the last trade of the day stands for the middle",),
    ),
    "ivolatility": Form(
        "iVolatility", "options",
        _names("symbol date option_symbol expiration_date strike call_put ask bid"),
        _pairs("underlying=symbol contract_id=option_symbol expiry=expiration_date right=call_put"
               " spot=stock_price_close mid=mean_price forward=forward_price"),
        ignore=_names("stock_price_for_iv settlement"), dates="monthfirst", missing={"iv": (-1.0,)},
    ),
    "eodhd_options": Form(
        "EODHD, options", "options",
        _names("contract underlying_symbol exp_date type strike bid ask tradetime"),
        _pairs("contract_id=contract underlying=underlying_symbol expiry=exp_date right=type date=tradetime"
               " iv=volatility"),
        ignore=_names("open high low previous change"), lacks=_NO_SPOT,
        notes=("its day is that of the last trade; quotes of another day are in bid_date and ask_date",),
    ),
    # -999 is no volatility, and -9.99 the same where somebody has divided by 100 already.
    "schwab": Form(
        "Schwab (TD Ameritrade), option chain", "options",
        _names("putcall symbol bid ask strikeprice expirationdate volatility"),
        _pairs("contract_id=symbol right=putcall mid=mark volume=totalvolume iv=volatility strike=strikeprice"
               " expiry=expirationdate spot=underlyingprice date=quotetimeinlong"),
        percent=("iv",), missing={"iv": (-999.0, -9.99)}, lacks=_NO_SPOT,
        notes=("its volatilities are in percent, and read so",),
    ),
    "tardis": Form(
        "Tardis, Deribit's option chain", "options",
        _names("exchange symbol timestamp strike_price type expiration bid_price ask_price mark_iv"
               " underlying_price"),
        _pairs("contract_id=symbol date=timestamp strike=strike_price right=type expiry=expiration"
               " bid=bid_price ask=ask_price mid=mark_price last=last_price iv=mark_iv"
               " spot=underlying_price"),
        ignore=_names("local_timestamp underlying_index"), in_spot=("bid", "ask", "mid", "last"),
        percent=("iv",),
        notes=("prices are in units of the underlying there, and read in its currency; volatilities in"
        " percent",),
    ),
    "binance_options": Form(
        "Binance, end of hour summary of options", "options",
        _names("date hour symbol underlying type strike best_bid_price best_ask_price mark_iv"),
        _pairs("contract_id=symbol right=type bid=best_bid_price ask=best_ask_price mid=mark_price iv=mark_iv"
               " volume=volume_contracts open_interest=openinterest_contracts last=close"),
        ignore=_names("open high low"), lacks=_NO_SPOT,
    ),
    "eurex": Form(
        "Eurex", "options",
        _names("trade_date product expiration exercise_price call_put settlement_price"),
        _pairs("date=trade_date underlying=product expiry=expiration strike=exercise_price right=call_put"
               " mid=settlement_price volume=traded_contracts"),
        dates="dayfirst", lacks=_NO_SPOT,
        notes=("there are no quotes: the settlement price stands for the middle",),
    ),
    # Its strikes are in dollars; those of version 2 (below) are in thousandths.
    "thetadata_v3": Form(
        "ThetaData, version 3", "options",
        _names("symbol expiration strike right created last_trade bid ask"),
        _pairs("underlying=symbol date=created last=close"), ignore=_names("open high low"), lacks=_NO_SPOT,
    ),
    "cboe_intraday": Form(
        "Cboe DataShop, quotes within the day", "options",
        _names("underlying_symbol quote_datetime root expiration strike option_type bid ask"),
        _pairs("underlying=underlying_symbol date=quote_datetime volume=trade_volume last=close"
               " spot_bid=underlying_bid spot_ask=underlying_ask"),
        ignore=_names("open high low vwap"), missing={"iv": (0.0,)},
    ),
    "deltaneutral": Form(
        "DeltaNeutral (historicaloptiondata.com)", "options",
        _names("underlyingsymbol underlyingprice type expiration datadate strike bid ask"),
        _pairs("underlying=underlyingsymbol spot=underlyingprice right=type date=datadate expiry=expiration"
               " contract_id=optionsymbol iv=ivmean"),
        ignore=_names("optionroot"), dates="monthfirst",
    ),
    # A row has a call and a put, but the greeks of the call alone.
    "orats": Form(
        "ORATS", "options", _names("ticker tradedate expirdate strike stockprice callbidprice putbidprice"),
        _pairs("underlying=ticker date=tradedate expiry=expirdate spot=stockprice"),
        ignore=_names("delta gamma theta vega rho"),
        calls=_pairs("bid=callbidprice ask=callaskprice iv=callmidiv volume=callvolume"
                     " open_interest=callopeninterest"),
        puts=_pairs("bid=putbidprice ask=putaskprice iv=putmidiv volume=putvolume"
                    " open_interest=putopeninterest"),
    ),
    "orats_legacy": Form(
        "ORATS, near end of day", "options", _names("ticker stkpx expirdate strike cbidpx pbidpx trade_date"),
        _pairs("underlying=ticker date=trade_date expiry=expirdate spot=stkpx"),
        ignore=_names("delta gamma theta vega rho"),
        calls=_pairs("bid=cbidpx ask=caskpx iv=cmidiv volume=cvolu open_interest=coi"),
        puts=_pairs("bid=pbidpx ask=paskpx iv=pmidiv volume=pvolu open_interest=poi"),
        dates="monthfirst",
    ),
    "optionsdx": Form(
        "OptionsDX", "options", _names("quote_date underlying_last expire_date strike c_bid c_ask p_bid"
        " p_ask"),
        _pairs("date=quote_date expiry=expire_date spot=underlying_last"),
        calls=_pairs("bid=c_bid ask=c_ask iv=c_iv volume=c_volume last=c_last"),
        puts=_pairs("bid=p_bid ask=p_ask iv=p_iv volume=p_volume last=p_last"),
    ),
    "deribit": Form(
        "Deribit", "options", _names("instrument_name underlying_price mark_iv"),
        _pairs("contract_id=instrument_name date=timestamp bid=best_bid_price ask=best_ask_price"
        " last=last_price"
               " mid=mark_price iv=mark_iv spot=underlying_price"),
        ignore=_names("bid_price ask_price"), in_spot=("bid", "ask", "mid", "last"), percent=("iv",),
        notes=("prices are in units of the underlying there, and read in its currency; volatilities in"
        " percent",),
    ),
    # IDO and STO are options, on an index and on a stock; the same file has futures.
    "nse_udiff": Form(
        "NSE India, UDiFF bhavcopy of derivatives", "options",
        _names("traddt tckrsymb xprydt strkpric optntp clspric undrlygpric"),
        _pairs("date=traddt underlying=tckrsymb expiry=xprydt strike=strkpric right=optntp spot=undrlygpric"
               " mid=sttlmpric last=clspric volume=ttltradgvol open_interest=opnintrst"),
        keep={"fininstrmtp": ("IDO", "STO")}, missing={"mid": (0.0,)},
        notes=("there are no quotes: the settlement price stands for the middle",),
    ),
    # CE and PE are European, CA and PA the American ones of before 2011; XX are futures.
    "nse_options": Form(
        "NSE India, bhavcopy of derivatives", "options",
        _names("instrument symbol expiry_dt strike_pr option_typ open high low close settle_pr contracts"),
        _pairs("underlying=symbol expiry=expiry_dt strike=strike_pr right=option_typ date=timestamp"
               " mid=settle_pr last=close volume=contracts open_interest=open_int"),
        ignore=_names("open high low"), keep={"option_typ": ("CE", "PE", "CA", "PA")}, dates="dayfirst",
        missing={"mid": (0.0,)}, lacks=_NO_SPOT,
        notes=("there are no quotes: the settlement price stands for the middle",),
    ),
    "dolthub": Form(
        "DoltHub option chains", "options", _names("date act_symbol expiration strike call_put bid ask vol"),
        _pairs("underlying=act_symbol expiry=expiration right=call_put iv=vol"),
        notes=("vol is the implied volatility there, no volume",), lacks=_NO_SPOT,
    ),
    "alpha_vantage_options": Form(
        "Alpha Vantage, HISTORICAL_OPTIONS", "options",
        _names("contractid symbol expiration strike type last mark bid ask date implied_volatility"),
        _pairs("contract_id=contractid underlying=symbol right=type mid=mark"), lacks=_NO_SPOT,
    ),
    "thetadata": Form(
        "ThetaData", "options", _names("root expiration strike right date bid ask bid_size ask_size"
        " ms_of_day"),
        _pairs("underlying=root"), scale={"strike": 0.001}, lacks=_NO_SPOT,
        notes=("strikes are thousandths there, and read so",),
    ),
}  # fmt: skip
"""Every form, by its name in ``data.format.form``."""


def recognise(header: Collection[str], kind: PanelKind | None = None) -> str | None:
    """Name the form of a header of plain names: of those that are all there, the one with most columns.

    A form that takes its dates from elsewhere (``time``) is none where a column ``date`` stands beside it.
    """
    there = set(header)
    fitting = [
        name
        for name, form in VENDOR_FORMS.items()
        if form.header <= there
        and kind in (None, form.kind)
        and not ("date" in there - form.header - form.ignore and form.columns.get("date", "date") != "date")
    ]
    # The header of one vendor may hold all that another's needs.
    return max(fitting, key=lambda name: len(VENDOR_FORMS[name].header), default=None)
