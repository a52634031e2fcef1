"""Options at Yahoo: the chain that is quoted now, and the past trades of one contract.

Yahoo stamps no quote, and forgets every contract once it has expired.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from qhq.data.yahoo.history import cut_history, fetch_bars
from qhq.errors import DataError, nearest

if TYPE_CHECKING:
    from qhq.data.yahoo.client import Yahoo

_CHAIN_COLUMNS = (
    *("contract_id", "underlying", "date", "expiry", "strike", "right", "style", "bid", "ask", "last", "iv"),
    *("volume", "open_interest", "spot", "quote_time", "last_trade", "contract_size", "kind"),
)
_NAMES = {
    "contractSymbol": "contract_id",
    "lastTradeDate": "last_trade",
    "lastPrice": "last",
    "openInterest": "open_interest",
    "impliedVolatility": "iv",
    "contractSize": "contract_size",
}
_NUMBERS = ("strike", "bid", "ask", "last", "iv", "volume", "open_interest")
# Yahoo serves the options of US exchanges only.
_NEW_YORK = "America/New_York"

# Options on stocks and funds are American, on indices European but for these.
_AMERICAN_INDICES = frozenset({"^OEX"})


def fetch_expiries(symbol: str, *, yahoo: Yahoo | None = None) -> tuple[date, ...]:
    """Ask for the expiries that are listed now, ascending.

    Raises:
        DataError: If there are none, or the answer is empty, broken or refused.
    """
    from qhq.data.yahoo.client import open_yahoo

    names = (yahoo or open_yahoo()).ask(symbol, "option expiries", _expiries)
    return tuple(sorted(date.fromisoformat(name) for name in names))


def fetch_chain(
    symbol: str, expiry: date, now: datetime | None = None, *, yahoo: Yahoo | None = None
) -> pd.DataFrame:
    """Ask for all contracts of one expiry.

    Args:
        symbol: Of the underlying.
        expiry: One of ``fetch_expiries``.
        now: The stamp, aware; None is the time of the call.
        yahoo: An open session; one for all expiries of a symbol saves a request each.

    Returns:
        Columns ``_CHAIN_COLUMNS``, calls before puts, by strike. ``date`` is the exchange's day of the
        underlying's last trade, to which the quotes belong; ``quote_time`` (UTC) is when they were asked for,
        and they may be 15 minutes old by then. A bid or an ask of zero, which Yahoo shows outside hours, is
        NaN, and so is Yahoo's volatility where there is no ask. Prices per share.

    Raises:
        DataError: If the expiry is not listed, or the answer is empty, broken or refused.
    """
    from qhq.data.yahoo.client import EmptyReply, open_yahoo

    yahoo = yahoo or open_yahoo()

    def question(ticker: Any) -> pd.DataFrame:
        _check_listed(symbol, expiry, _expiries(ticker))
        chain = ticker.option_chain(expiry.isoformat())
        if chain.calls is None or len(chain.calls) + len(chain.puts) == 0:
            raise EmptyReply("an empty chain")
        # An expiry may have one side alone; concatenating an empty frame would change the types of the
        # other.
        both = [chain.calls.assign(right="call"), chain.puts.assign(right="put")]
        contracts = pd.concat([side for side in both if len(side)], ignore_index=True)
        # After the reply has arrived: quotes cannot be newer than that.
        stamp = now or yahoo.now()
        return _chain(contracts, chain.underlying, expiry, pd.Timestamp(stamp).tz_convert("UTC"))

    return yahoo.ask(symbol, f"option chain of {expiry}", question)


def _expiries(ticker: Any) -> tuple[str, ...]:
    from qhq.data.yahoo.client import EmptyReply

    names: tuple[str, ...] = ticker.options
    if not names:
        raise EmptyReply("no listed option")
    return names


def _check_listed(symbol: str, expiry: date, listed: tuple[str, ...]) -> None:
    if expiry.isoformat() not in listed:
        raise DataError(
            f"The expiry must be one of those listed for {symbol}",
            got=f"{expiry}",
            fix=nearest(expiry.isoformat(), listed),
        )


def _chain(
    contracts: pd.DataFrame, underlying: Mapping[str, Any], expiry: date, stamp: pd.Timestamp
) -> pd.DataFrame:
    """Make yfinance's table ours."""
    frame = contracts.rename(columns=_NAMES)
    # A ValueError, which the client takes for a broken reply and asks again.
    if not frame["contract_id"].is_unique or frame["strike"].isna().any():
        raise ValueError("a contract comes twice or without a strike")
    frame = frame.astype(dict.fromkeys(_NUMBERS, np.float64))
    # Zero is no offer: a mid between 0 and an ask would be half of a price that nobody paid.
    frame[["bid", "ask"]] = frame[["bid", "ask"]].where(frame[["bid", "ask"]] > 0)
    # Without an ask Yahoo's search for the volatility ends at its starting points, which look like values.
    frame["iv"] = frame["iv"].where(frame["ask"].notna())
    symbol = str(underlying["symbol"])
    is_index = underlying.get("quoteType") == "INDEX"
    frame = frame.assign(
        underlying=symbol,
        date=_session(underlying, stamp),
        expiry=pd.Timestamp(expiry).as_unit("ms"),
        style="european" if is_index and symbol not in _AMERICAN_INDICES else "american",
        spot=float(underlying["regularMarketPrice"]),
        quote_time=stamp.as_unit("ms"),
        kind="traded",
    )
    # In an order of its own: two recordings of the same quotes have the same bytes.
    return frame.sort_values(["right", "strike"], kind="stable", ignore_index=True)[list(_CHAIN_COLUMNS)]


def _session(underlying: Mapping[str, Any], stamp: pd.Timestamp) -> pd.Timestamp:
    """The exchange's day of the underlying's last trade: on a Sunday that is Friday."""
    zone = ZoneInfo(underlying.get("exchangeTimezoneName") or _NEW_YORK)
    seconds = underlying.get("regularMarketTime")
    moment = stamp if seconds is None else pd.Timestamp(int(seconds), unit="s", tz="UTC")
    return pd.Timestamp(moment.tz_convert(zone).date()).as_unit("ms")


# The symbol of the Options Clearing Corporation: root, expiry as yymmdd, C or P, strike in thousandths.
_OCC = re.compile(r"([A-Z0-9]{1,6}) *(\d{6})([CP])(\d{8})")


@dataclass(frozen=True)
class OptionSymbol:
    """What an OCC symbol says.

    Attributes:
        root: Of the symbol; the underlying's ticker, but for weeklies of indices and adjusted contracts.
        expiry: Last day.
        right: ``call`` or ``put``.
        strike: Price per share.
    """

    root: str
    expiry: date
    right: str
    strike: float


def parse_occ(symbol: str) -> OptionSymbol:
    """Read an OCC symbol: root, expiry as YYMMDD, C or P, the strike in thousandths as eight digits.

    Raises:
        DataError: If it is none.

    >>> parse_occ("AAPL240119C00192500")
    OptionSymbol(root='AAPL', expiry=datetime.date(2024, 1, 19), right='call', strike=192.5)
    """
    match = _OCC.fullmatch(symbol)
    try:
        if match is None:
            raise ValueError("another form")
        root, day, right, strike = match.groups()
        expiry = datetime.strptime(day, "%y%m%d").date()
        return OptionSymbol(root, expiry, "call" if right == "C" else "put", int(strike) / 1000)
    except ValueError as error:
        raise DataError(
            "A contract must be named as the OCC does: root, YYMMDD, C or P, strike x 1000 in eight digits",
            got=f"'{symbol}'",
            fix="Write it like AAPL240119C00192500, Apple's call of 2024-01-19 at 192.50",
        ) from error


_CONTRACT_COLUMNS = (
    *("contract_id", "underlying", "date", "expiry", "strike", "right", "style"),
    *("open", "high", "low", "last", "volume", "kind"),
)


def fetch_contract(
    occ_symbol: str, start: date | None = None, end: date | None = None, *, yahoo: Yahoo | None = None
) -> pd.DataFrame:
    """Ask for the daily trades of one contract.

    Args:
        occ_symbol: See ``parse_occ``.
        start: First day, None is the oldest there is.
        end: Last day, itself included; None is the last finished session.
        yahoo: An open session.

    Returns:
        Columns ``_CONTRACT_COLUMNS``, one row for each session with a price, oldest first. Prices are of
        trades, per share; quotes, spot and volatility are only in a recorded chain. ``underlying`` is the
        root of the symbol.

    Raises:
        DataError: If the symbol is malformed, the contract is not known (or has expired), or the answer is
            empty, broken or refused.
    """
    option = parse_occ(occ_symbol)
    contract_id = occ_symbol.replace(" ", "")
    bars = cut_history(fetch_bars(contract_id, start, yahoo=yahoo).frame, start, end)
    frame = bars.rename(columns={"symbol": "contract_id", "close": "last"}).assign(
        underlying=option.root,
        expiry=pd.Timestamp(option.expiry).as_unit("ms"),
        strike=option.strike,
        right=option.right,
        style="american",
        kind="traded",
    )
    return frame[list(_CONTRACT_COLUMNS)]
