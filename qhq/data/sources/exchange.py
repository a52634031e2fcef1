"""How options are listed on a stock, session by session, as an exchange would: knowing only the past.

Expiries are the third Fridays (also where that is a holiday), listed 91 days ahead; the last quote is that of
the session before. Strikes lie on a grid of 2 to 5 % of the spot at listing, a number of them each way; more
are listed when the spot moves, none is taken away. At a split of the stock all its contracts end, and the
same expiries are listed anew around the new spot under other contract_ids ('-2' behind the strike): a
contract never crosses a split.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Dates = npt.NDArray[np.datetime64]

LIFE = np.timedelta64(91, "D")
"""Longest life of a contract."""
BURN_IN = 22
"""Sessions of a stock before its first options: the volatility needs a past."""
SPLIT = 1.25
"""A close that jumps by more against the adjusted close tells a split; the largest dividend is 1.11."""

_GRID = ((25.0, 0.5), (50.0, 1.0), (100.0, 2.5), (250.0, 5.0), (500.0, 10.0), (np.inf, 20.0))
"""Step of the strikes by the spot at listing: (spots below, step)."""


@dataclass(frozen=True, eq=False)
class Stock:
    """The history of one underlying, T sessions, oldest first: unadjusted close, adjusted close, shares."""

    symbol: str
    dates: Dates
    close: Floats
    adj_close: Floats
    volume: Floats


@dataclass(frozen=True, eq=False)
class Listing:
    """One expiry between two splits of the stock.

    Attributes:
        name: Underlying and expiry.
        suffix: '-2' behind the strikes that are listed anew after the first split.
        expiry: Third Friday, datetime64[D].
        first: Number of the stock's session of the first of D quotes.
        strikes: Shape (J,), ascending.
        listed: Which strike is quoted on which session, shape (J, D); once listed, always.
    """

    name: str
    suffix: str
    expiry: np.datetime64
    first: int
    strikes: Floats
    listed: npt.NDArray[np.bool_]

    @property
    def contracts(self) -> list[str]:
        """A contract_id for each strike and right, calls first, such as 'AAPL-2005-03-18-C42.5'."""
        strikes = self.strikes.tolist()
        return [f"{self.name}-{side}{strike:g}{self.suffix}" for strike in strikes for side in "CP"]


def list_expiries(stock: Stock, strikes: int) -> Iterator[Listing]:
    """Every expiry, cut at splits, as it would have been listed knowing only the sessions before."""
    moves = np.abs(np.diff(np.log(stock.close) - np.log(stock.adj_close)))
    splits = np.flatnonzero(moves > np.log(SPLIT)) + 1
    for expiry in third_fridays(stock.dates[0], stock.dates[-1] + LIFE):
        opening = max(int(np.searchsorted(stock.dates, expiry - LIFE)), BURN_IN)
        closing = int(np.searchsorted(stock.dates, expiry))
        within = splits[(splits > opening) & (splits < closing)]
        borders = [opening, *within.tolist(), closing]
        for count, (first, last) in enumerate(pairwise(borders), start=1):
            if first < last:
                suffix = f"-{count}" if count > 1 else ""
                grid, listed = _list_strikes(stock.close[first:last], strikes)
                yield Listing(f"{stock.symbol}-{expiry}", suffix, expiry, first, grid, listed)


def third_fridays(first: np.datetime64, last: np.datetime64) -> Dates:
    """Third Fridays of the months from that of ``first`` to that of ``last``, datetime64[D].

    >>> third_fridays(np.datetime64("2008-03-21"), np.datetime64("2008-04-01")).astype(str).tolist()
    ['2008-03-21', '2008-04-18']
    """
    months = np.arange(first.astype("M8[M]"), last.astype("M8[M]") + 1)
    days: Dates = np.busday_offset(months.astype("M8[D]"), 2, roll="forward", weekmask="Fri")
    return days


def _list_strikes(spot: Floats, strikes: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Strikes (J,) around the spots (D,), and which are listed by when (J, D)."""
    step = next(step for below, step in _GRID if spot[0] < below)
    middle = np.rint(spot / step).astype(np.intp)
    low = np.minimum.accumulate(np.maximum(middle - strikes, 1))
    high = np.maximum.accumulate(middle + strikes)
    numbers = np.arange(low[-1], high[-1] + 1)
    listed = (numbers[:, None] >= low) & (numbers[:, None] <= high)
    return np.asarray(numbers * step, dtype=np.float64), listed
