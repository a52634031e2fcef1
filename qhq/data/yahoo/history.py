"""Daily prices as they were traded, out of Yahoo's, which are adjusted for every split up to today.

Yahoo divides open, high, low, close and dividends by all splits between their day and today, and multiplies
volume by them; yfinance's ``auto_adjust=False`` leaves out the adjustment for dividends only. A split
tomorrow therefore changes every price that Yahoo ever served. So prices are always asked for up to today,
whatever the last day wanted, and the splits in the answer are undone: what comes out never changes again.
Nor does the adjusted close that is made here, from the first row onwards (``forward_adjusted``).

Capital gains that funds pay out are in ``dividend`` as far as Yahoo counts them as dividends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from qhq.data.panel import FloatArray
from qhq.errors import DataError

if TYPE_CHECKING:
    from qhq.data.yahoo.client import Yahoo


# It becomes part of an address and of a file name: no slash, and no leading dot.
_SYMBOL = re.compile(r"[A-Z0-9^][A-Z0-9.^=_&-]{0,31}")
# yfinance would look an ISIN up by a search, and answer for whatever symbol comes first.
_ISIN = re.compile(r"[A-Z]{2}[A-Z0-9]{9}[0-9]")


def check_symbol(symbol: str) -> None:
    """Check that a symbol is one of Yahoo's.

    Raises:
        DataError: If it has other characters, or is an ISIN, which yfinance would look up elsewhere.
    """
    if not _SYMBOL.fullmatch(symbol) or _ISIN.fullmatch(symbol):
        raise DataError(
            "A symbol must be Yahoo's, in capitals",
            got=f"the ISIN {symbol}" if _ISIN.fullmatch(symbol) else f"'{symbol}'",
            fix="Look it up at https://finance.yahoo.com; examples are AAPL, BRK-B, ^GSPC and EURUSD=X",
        )


def forward_adjusted(close: FloatArray, dividend: FloatArray, split: FloatArray) -> FloatArray:
    """Adjust closes for splits and dividends, from the first row onwards.

    With the ratio s of a row's split (1 without one) and its dividend d per share,

        adjusted_t = close_t * prod over rows u, 0 < u <= t, of s_u / (1 - d_u s_u / close_{u-1}).

    It is the value of what the owner of one share at the first row owns when dividends are reinvested at the
    close before. The usual adjustment divides all of it by the product over all rows, so that the *last* row
    is unadjusted and each new dividend changes the whole past. Log returns are the same for both.

    What a dividend of the whole price or more is worth to an owner (a liquidation reported as a dividend, a
    payment in another unit) cannot be said, nor the return over a row without a price above zero. Such a row
    has no adjusted close, and the next ones go on from its close as if the value had not changed on its day.

    Args:
        close: Prices as traded, shape (T,), oldest first.
        dividend: Per share as of its ex-date, 0 without one, shape (T,).
        split: New shares for an old one as of its ex-date, 0 or 1 without one, shape (T,).

    Returns:
        Shape (T,); the first is ``close[0]``. NaN where there is none.

    >>> forward_adjusted(np.array([100.0, 99.0, 50.0]), np.array([0, 1.0, 0]), np.array([0, 0, 2.0])).tolist()
    [100.0, 100.0, 101.01010101010101]
    """
    ratio = _split_ratio(split)
    priced = np.isfinite(close) & (close != 0)
    # A dividend is paid on the last close before it, over rows without one.
    last = np.maximum.accumulate(np.where(priced, np.arange(len(close)), -1))
    before = np.where(last[:-1] >= 0, close[last[:-1]], np.nan) / ratio[1:]
    paid = np.nan_to_num(dividend[1:])
    with np.errstate(all="ignore"):
        # What `before` lacks is reported in the next line, not by a warning of NumPy's.
        kept = np.where(paid == 0, 1.0, 1 - paid / before)
        unknown = (paid != 0) & ~((before > 0) & (kept > 0))
        # Without a price above zero before, only a first price can follow: nothing was earned until it.
        growth = np.where(
            unknown, np.where(last[:-1] >= 0, ratio[1:] * before / close[1:], 1.0), ratio[1:] / kept
        )
    # Before the first price there is nothing to grow.
    growth = np.where(np.isfinite(growth), growth, 1.0)
    adjusted = close * np.cumprod(np.concatenate([np.ones(min(1, len(close))), growth]))
    adjusted[1:][unknown] = np.nan
    return np.asarray(np.where(np.isfinite(close), adjusted, np.nan), dtype=np.float64)


def _split_ratio(split: FloatArray) -> FloatArray:
    """New shares for an old one, 1 where there is no split."""
    return np.where((split > 0) & np.isfinite(split), split, 1.0)


def later_splits(split: FloatArray) -> FloatArray:
    """Product of the splits after each row, shape (T,): what today's share was worth in shares then.

    >>> later_splits(np.array([0.0, 2.0, 0.0, 3.0])).tolist()
    [6.0, 3.0, 3.0, 1.0]
    """
    ratio = _split_ratio(split)
    # From the newest row back: a split on a row is in that row's price already, hence the shift by one.
    return np.concatenate([np.cumprod(ratio[::-1])[::-1][1:], np.ones(min(1, len(ratio)))])


EARLIEST = date(1962, 1, 2)
"""First session of Yahoo's oldest stocks, asked for when no start is given."""

# Time after the close until the day's bar has its closing auction; quotes may be delayed by as much.
_SETTLING = timedelta(minutes=30)

RAW = ("symbol", "date", "open", "high", "low", "close", "volume", "dividend", "split")
HISTORY_COLUMNS = (
    "symbol",
    "date",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "adj_close",
    "dividend",
    "split",
)
_NAMES = {
    "Open": "open",
    "High": "high",
    "Low": "low",
    "Close": "close",
    "Volume": "volume",
    "Dividends": "dividend",
    "Stock Splits": "split",
}


@dataclass(frozen=True, eq=False)
class Bars:
    """Finished sessions of one symbol.

    Attributes:
        frame: Columns ``RAW``, one row a session, oldest first; prices as traded.
        through: Last day that can have no further row.
    """

    frame: pd.DataFrame
    through: date


def fetch_history(
    symbol: str, start: date | None = None, end: date | None = None, *, yahoo: Yahoo | None = None
) -> pd.DataFrame:
    """Ask for daily prices; nothing is kept. ``load_history`` does the same through the cache.

    Args:
        symbol: Yahoo's.
        start: First day, None is the oldest there is.
        end: Last day, itself included; None is the last finished session.
        yahoo: An open session.

    Returns:
        Columns ``HISTORY_COLUMNS``, see ``cut_history``.

    Raises:
        DataError: If there are none, or the answer is empty, broken or refused.
    """
    return cut_history(fetch_bars(symbol, start, yahoo=yahoo).frame, start, end)


def fetch_bars(symbol: str, start: date | None = None, *, yahoo: Yahoo | None = None) -> Bars:
    """Ask for all finished sessions from ``start`` until now.

    Raises:
        DataError: If there are none, or the answer is empty, broken or refused.
    """
    from qhq.data.yahoo.client import open_yahoo

    yahoo = yahoo or open_yahoo()
    now = yahoo.now()

    def question(ticker: Any) -> Bars:
        frame = ticker.history(
            start=start or EARLIEST,
            end=now.date() + timedelta(days=2),  # exclusive, and the exchange may be a day ahead
            interval="1d",
            auto_adjust=False,
            actions=True,
        )
        return _bars(symbol, frame, last_finished_day(ticker.get_history_metadata(), now))

    return yahoo.ask(symbol, "daily prices", question)


def cut_history(frame: pd.DataFrame, start: date | None, end: date | None) -> pd.DataFrame:
    """Cut out the rows of a span and adjust their closes.

    Args:
        frame: Columns ``RAW``, one symbol.
        start: First day.
        end: Last day, itself included.

    Returns:
        Columns ``HISTORY_COLUMNS``: the exchange's date, without a time; prices and dividends in its currency
        share as traded; volume in shares as traded; ``adj_close`` from the first row of the cut onwards
        (``forward_adjusted``), NaN where it cannot be said; split 0 where there is none.

    Raises:
        DataError: If no row is left.
    """
    first = pd.Timestamp(start or frame["date"].iloc[0])
    last = pd.Timestamp(end or frame["date"].iloc[-1])
    cut = frame[frame["date"].between(first, last)].reset_index(drop=True)
    if cut.empty:
        raise DataError(
            f"Yahoo must have sessions of {frame['symbol'].iloc[0]} between start and end",
            got=f"none from {first.date()} to {last.date()}, "
            f"where its sessions run from {frame['date'].iloc[0].date()} to {frame['date'].iloc[-1].date()}",
            fix="Widen the span",
        )
    close, dividend, split = (cut[name].to_numpy(np.float64) for name in ("close", "dividend", "split"))
    again = cut["date"].duplicated().to_numpy()  # its actions were paid once
    dividend, split = np.where(again, 0.0, dividend), np.where(again, 0.0, split)
    return cut.assign(adj_close=forward_adjusted(close, dividend, split))[list(HISTORY_COLUMNS)]


def last_finished_day(meta: Mapping[str, Any], now: datetime) -> date:
    """Last day whose bar is complete: today from half an hour after the close on, before that yesterday.

    Args:
        meta: Of the chart; its ``currentTradingPeriod`` is the session of today, or the last one.
        now: The time, aware.
    """
    today = now.astimezone(ZoneInfo(meta["exchangeTimezoneName"])).date()
    close = _close(meta)
    closed = close is not None and close.date() == today and now >= close + _SETTLING
    return today if closed else today - timedelta(days=1)


def _close(meta: Mapping[str, Any]) -> pd.Timestamp | None:
    """When the session of the metadata closes, in the exchange's time."""
    end = ((meta.get("currentTradingPeriod") or {}).get("regular") or {}).get("end")
    if end is None:
        return None
    stamp = pd.Timestamp(end, unit="s", tz="UTC") if isinstance(end, int) else pd.Timestamp(end)
    return stamp.tz_convert(meta["exchangeTimezoneName"])


def _bars(symbol: str, answer: pd.DataFrame, through: date) -> Bars:
    """Make yfinance's table ours: as traded, without an unfinished bar."""
    from qhq.data.yahoo.client import EmptyReply

    if answer.empty:
        raise EmptyReply("an empty table")
    frame = answer[list(_NAMES)].rename(columns=_NAMES).astype(np.float64)
    # Yahoo adjusts for the splits after each row, those of a row still unfinished too: undone before it goes.
    later = later_splits(frame["split"].to_numpy(np.float64))
    priced = {name: frame[name] * later for name in ("open", "high", "low", "close", "dividend")}
    frame = frame.assign(**priced, volume=np.rint(frame["volume"] / later))
    frame.insert(0, "symbol", symbol)
    # The exchange's own day: in UTC a midnight of Tokyo lies on the day before.
    frame.insert(1, "date", pd.DatetimeIndex(answer.index).tz_localize(None).normalize().as_unit("ms"))
    frame = _move_actions(frame.reset_index(drop=True))
    frame = frame[frame["date"] <= pd.Timestamp(through)].reset_index(drop=True)
    if frame.empty:
        raise EmptyReply("no finished session")
    # A session that Yahoo tells twice alike is one; of two that differ the checks trust none.
    frame = frame.sort_values("date", kind="stable").drop_duplicates(ignore_index=True)
    return Bars(frame, through)


def _move_actions(frame: pd.DataFrame) -> pd.DataFrame:
    """Drop rows without a close, which are no sessions; their actions go to the next session."""
    priced = frame["close"].notna().to_numpy()
    # Number of the next session with a close, at that row or later.
    session: npt.NDArray[np.intp] = np.cumsum(priced) - priced
    dividend = np.zeros(len(frame) + 1)
    split = np.ones(len(frame) + 1)
    np.add.at(dividend, session, frame["dividend"])
    # Two of them may fall on one session, where an indexed assignment would keep the last alone.
    np.multiply.at(split, session, _split_ratio(frame["split"].to_numpy(np.float64)))
    count = int(priced.sum())
    split = np.where(split == 1.0, 0.0, split)
    return frame[priced].assign(dividend=dividend[:count], split=split[:count])
