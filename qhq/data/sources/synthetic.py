"""Made-up panels whose truth is known: seeded options on the bundled stocks, and price panels of known skill.

Options: model prices, not traded ones.

The stocks are real, unadjusted closes; every option quote is computed, so ``kind`` is 'model' and no result
on this panel says anything about a market. It serves where the truth must be known: tests, benchmarks, and
the question whether a normalisation carries over to an underlying never seen.

The world, with F the forward, K the strike, T the years to expiry and u an AR(1) noise of each underlying:

    variance(T) = slow + (fast - slow) (1 - exp(-4 T)) / (4 T),  EWMAs of squared returns, times exp(2u)
    z           = 2 tanh(x / 2),  x = ln(K / F) / sqrt(variance(T) T)
    volatility  = sqrt(variance(T)) (1 - 0.08 z + 0.09 z^2)

A return beyond 10 % counts as 10 %. The skew and the smile are those of the 30-day points of the surface
data. The rate is 2 % and the model's world pays no dividends, F = spot exp(rate T). A quote is the Black
(1976) price of that volatility, moved by an idiosyncratic noise of at most half the half-spread, less and
plus the half-spread, rounded outwards to the cent: the true price always lies between bid and ask. The
half-spread is 1 % of the time value, more away from the money, plus 0.2 % of the intrinsic value, and at
least a cent; the bid is at least the intrinsic value, rounded down. Volume is drawn around a share
of the stock's volume of that day; open interest counts a third of the contracts traded up to the session
before.

Options are listed session by session, as an exchange would that knows only the past. Expiries are the third
Fridays (also where that is a holiday), listed 91 days ahead; the last quote is that of the session before.
Strikes lie on a grid of 2 to 5 % of the spot at listing, a number of them each way; more are listed when the
spot moves, none is taken away. At a split of the stock all its contracts end, and the same expiries are
listed anew around the new spot under other contract_ids ('-2' behind the strike): a contract never crosses a
split.

Rows up to a date depend on nothing after it, and a contract's rows on nothing but its own underlying, the
seed and ``strikes``: asking for fewer symbols or a shorter span gives the same rows.

Controls: price panels whose best forecast is known, so that what a method claims on them is right or wrong.
With e standard normal and s = 1 % a session, the log returns r of each symbol are

    random_walk   r(t) = s e(t)                  the last value is the best forecast there is
    planted       r(t) = 0.5 r(t-1) + s e(t)     the best forecast takes half of the last return again

Of small returns, the mean absolute error of the best forecast is that of s e, and the last value's that of r,
which is wider by 1 / sqrt(1 - 0.5^2): the best skill on ``planted`` is 1 - sqrt(0.75) = 13.4 %.

Sessions are the weekdays from 2000 to 2009. A session opens at the close before it, and its high and low are
the larger and the smaller of the two. Each symbol has a random stream of its own name, so fewer symbols
give the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from qhq.data.checks.stocks import check_panel
from qhq.data.panel import DateArray, FloatArray, IntArray
from qhq.data.sessions import third_fridays
from qhq.data.sources.files import BUNDLED, read_file
from qhq.errors import ConfigError, DataError
from qhq.pricing.black_scholes import price
from qhq.seeding import child_generator

# Longest life of a contract.
_LIFE = np.timedelta64(91, "D")
# Sessions of a stock before its first options: the volatility needs a past.
_BURN_IN = 22
# A close that jumps by more against the adjusted close tells a split; the largest dividend is 1.11.
_SPLIT = 1.25

# Step of the strikes by the spot at listing: (spots below, step).
_GRID = ((25.0, 0.5), (50.0, 1.0), (100.0, 2.5), (250.0, 5.0), (500.0, 10.0), (np.inf, 20.0))


@dataclass(frozen=True, eq=False)
class Stock:
    """The history of one underlying, T sessions, oldest first: unadjusted close, adjusted close, shares."""

    symbol: str
    dates: DateArray
    close: FloatArray
    adj_close: FloatArray
    volume: FloatArray


@dataclass(frozen=True, eq=False)
class _Listing:
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
    strikes: FloatArray
    listed: npt.NDArray[np.bool_]

    @property
    def contracts(self) -> list[str]:
        """A contract_id for each strike and right, calls first, such as 'AAPL-2005-03-18-C42.5'."""
        strikes = self.strikes.tolist()
        return [f"{self.name}-{side}{strike:g}{self.suffix}" for strike in strikes for side in "CP"]


def _list_expiries(stock: Stock, strikes: int) -> Iterator[_Listing]:
    """Every expiry, cut at splits, as it would have been listed knowing only the sessions before."""
    moves = np.abs(np.diff(np.log(stock.close) - np.log(stock.adj_close)))
    splits = np.flatnonzero(moves > np.log(_SPLIT)) + 1
    for expiry in third_fridays(stock.dates[0], stock.dates[-1] + _LIFE):
        opening = max(int(np.searchsorted(stock.dates, expiry - _LIFE)), _BURN_IN)
        closing = int(np.searchsorted(stock.dates, expiry))
        within = splits[(splits > opening) & (splits < closing)]
        borders = [opening, *within.tolist(), closing]
        for count, (first, last) in enumerate(pairwise(borders), start=1):
            if first < last:
                suffix = f"-{count}" if count > 1 else ""
                grid, listed = _list_strikes(stock.close[first:last], strikes)
                yield _Listing(f"{stock.symbol}-{expiry}", suffix, expiry, first, grid, listed)


def _list_strikes(spot: FloatArray, strikes: int) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Strikes (J,) around the spots (D,), and which are listed by when (J, D)."""
    step = next(step for below, step in _GRID if spot[0] < below)
    middle = np.rint(spot / step).astype(np.intp)
    low = np.minimum.accumulate(np.maximum(middle - strikes, 1))
    high = np.maximum.accumulate(middle + strikes)
    numbers = np.arange(low[-1], high[-1] + 1)
    listed = (numbers[:, None] >= low) & (numbers[:, None] <= high)
    return np.asarray(numbers * step, dtype=np.float64), listed


# Per year, continuously compounded.
_RATE = 0.02
# Ticks of one unit of price.
_CENTS = 100

# In sessions. Two speeds, of two weeks and of half a year, forget as slowly as real volatilities do.
_HALF_LIVES = {"fast": 11, "slow": 126}
_SESSIONS = 252
_LEAST_VOLATILITY = 0.05
# In logarithms: one crash must not leave its volatility in a made-up surface for months.
_LARGEST_MOVE = 0.1
_REVERSION = 4.0
# Of the log-moneyness over the standard deviation to expiry; the smile flattens at two of them, where the
# parabola would go on for ever.
_SKEW, _SMILE, _SATURATION = -0.08, 0.09, 2.0
# Noise of a log volatility with a standard deviation of 0.064 and a half-life of 13.5 sessions.
_AR, _AR_STEP = 0.95, 0.02


@dataclass(frozen=True, eq=False)
class _Rows:
    """R rows by contract, then date; ``noise`` is (R, 2), for the quote and for the volume."""

    contract: IntArray
    session: IntArray
    expiry: DateArray
    strike: FloatArray
    right: FloatArray
    noise: FloatArray


def synthesise(
    symbols: Sequence[str] | None = None,
    start: date | None = None,
    end: date | None = None,
    *,
    seed: int = 0,
    strikes: int = 6,
    truth: bool = False,
) -> pd.DataFrame:
    """Make the panel, about 25,000 rows for each symbol and year at 6 strikes each way.

    Args:
        symbols: Bundled underlyings (AAPL, FB, GOOG, IBM, MSFT); None is all.
        start: First date of the rows, inclusive; None is the first there is.
        end: Last date of the rows, inclusive.
        seed: Of every noise.
        strikes: Strikes listed above and below the spot: the size of the panel grows with it.
        truth: Whether to add ``true_iv``, the volatility that priced the row, before any noise.

    Returns:
        Columns contract_id, underlying, date, expiry, strike, right, style, bid, ask, volume, open_interest,
        spot, rate, forward, kind, by underlying, expiry and contract, then date.

    Raises:
        ConfigError: If ``strikes`` is below 1.
        DataError: If a symbol is not bundled, or the span holds no row.
    """
    if strikes < 1:
        raise ConfigError("strikes must be at least 1", got=f"{strikes}", fix="Ask for 6, say")
    first = None if start is None else np.datetime64(start, "D")
    stocks = read_stocks(symbols, end)
    tables = [quote_options(stock, seed=seed, strikes=strikes, start=first) for stock in stocks]
    rows = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    if rows.empty:
        raise DataError(
            "The span of a synthetic panel must hold rows",
            got=f"none of {', '.join(symbols or ['any'])} from {start or 'the first'} to {end or 'the last'}",
            fix="Widen it: the bundled prices run from 2000-03-01 to 2013-03-01, FB and GOOG from later",
        )
    return rows if truth else rows.drop(columns="true_iv")


def read_stocks(symbols: Sequence[str] | None = None, end: date | None = None) -> list[Stock]:
    """Read the bundled underlyings up to ``end``; one without rows by then is left out."""
    origin, columns = "the bundled prices", ("close", "adj_close", "volume")
    panel = check_panel(read_file(BUNDLED, origin, columns), origin, symbols=symbols, columns=columns)
    known = panel.dates <= (panel.dates.max() if end is None else np.datetime64(end, "D"))
    stocks = []
    for code, symbol in enumerate(panel.symbols):
        rows = known & (panel.code == code)
        if rows.any():
            stocks.append(Stock(symbol, panel.dates[rows], *panel.values[rows].T))
    return stocks


def quote_options(
    stock: Stock, *, seed: int, strikes: int, start: np.datetime64 | None = None
) -> pd.DataFrame:
    """List and quote all options on one stock, with ``true_iv``; columns as of ``synthesise``."""
    listings = list(_list_expiries(stock, strikes))
    if start is not None:
        listings = [listing for listing in listings if listing.expiry > start]
    if not listings:
        return pd.DataFrame()
    names = [name for listing in listings for name in listing.contracts]
    table = _quote(stock, _lay_out(listings, seed), names, _levels(stock, seed))
    return table if start is None else table[table["date"] >= pd.Timestamp(start)]


def _lay_out(listings: list[_Listing], seed: int) -> _Rows:
    """Write the listings as rows; each strike of an expiry draws its own noise, from its first session."""
    parts, contracts = [], 0
    for listing in listings:
        count, sessions = listing.listed.shape
        listed = np.broadcast_to(listing.listed[:, None], (count, 2, sessions))
        strike, side, day = np.nonzero(listed)
        noise = np.stack([_draw(listing, place, sessions, seed) for place in range(count)])
        parts.append(
            _Rows(
                contract=contracts + 2 * strike + side,
                session=listing.first + day,
                expiry=np.full(len(day), listing.expiry),
                strike=listing.strikes[strike],
                right=np.where(side == 0, 1.0, -1.0),
                noise=noise[strike, day, side],
            )
        )
        contracts += 2 * count
    names = _Rows.__dataclass_fields__
    return _Rows(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _draw(listing: _Listing, place: int, sessions: int, seed: int) -> FloatArray:
    """Normal noise of one strike, (D, right, 2), row by row, so that a longer life begins with the same."""
    name = f"synthetic {listing.name} {listing.strikes[place]:g}{listing.suffix}"
    return child_generator(seed, name).standard_normal((sessions, 2, 2))


def _levels(stock: Stock, seed: int) -> FloatArray:
    """Fast and slow variance a year, shape (2, T): causal EWMAs of squared returns times the AR(1) noise."""
    # NaN, over which ewm passes: the first session has no return, and a 0 would count as a calm day.
    moves = np.diff(np.log(stock.adj_close), prepend=np.nan).clip(-_LARGEST_MOVE, _LARGEST_MOVE)
    squares = pd.Series(moves**2 * _SESSIONS)
    means = np.stack([squares.ewm(halflife=life).mean().to_numpy() for life in _HALF_LIVES.values()])
    steps = child_generator(seed, f"synthetic {stock.symbol} volatility").standard_normal(len(moves))
    # scipy.signal takes a second to import, and few runs make data up.
    from scipy.signal import lfilter

    noise = lfilter([_AR_STEP], [1.0, -_AR], steps)
    return np.asarray(np.maximum(means, _LEAST_VOLATILITY**2) * np.exp(2 * noise))


def _quote(stock: Stock, rows: _Rows, names: list[str], levels: FloatArray) -> pd.DataFrame:
    """Price every row and write the table."""
    spot, dates = stock.close[rows.session], stock.dates[rows.session]
    years = (rows.expiry - dates).astype(np.float64) / 365
    discount = np.exp(-_RATE * years)
    forward = spot / discount
    distance, volatility = _smile(levels[:, rows.session], np.log(rows.strike / forward), years)
    value = price(forward, rows.strike, years, volatility, discount, rows.right)
    intrinsic = discount * np.maximum(rows.right * (forward - rows.strike), 0.0)
    bid, ask = _spread(value, intrinsic, distance, rows.noise[:, 0])
    # Contracts traded: most at the money, and more on days when the stock trades more.
    usual = 1e-4 * stock.volume[rows.session] * np.exp(-(distance**2) / 2)
    traded = np.floor(usual * np.exp(0.8 * rows.noise[:, 1])).astype(np.int64)
    columns = {
        "contract_id": pd.array(names, dtype="str").take(rows.contract),
        "underlying": stock.symbol,
        "date": dates,
        "expiry": rows.expiry,
        "strike": rows.strike,
        "right": pd.array(["put", "call"], dtype="str").take((rows.right > 0).astype(np.intp)),
        "style": "european",
        "bid": bid,
        "ask": ask,
        "volume": traded,
        "open_interest": _open_interest(traded, rows.contract),
        "spot": spot,
        "rate": _RATE,
        "forward": forward,
        "kind": "model",
        "true_iv": volatility,
    }
    return pd.DataFrame(columns)


def _smile(levels: FloatArray, log_moneyness: FloatArray, years: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Standardised log-moneyness x and the true volatility a year, as the top of this file says."""
    fast, slow = levels
    reach = _REVERSION * years
    # expm1, since 1 - exp(-x) loses digits where a few days are left.
    level = np.sqrt(slow + (fast - slow) * -np.expm1(-reach) / reach)
    distance = log_moneyness / (level * np.sqrt(years))
    z = _SATURATION * np.tanh(distance / _SATURATION)
    return distance, level * (1 + _SKEW * z + _SMILE * z**2)


def _spread(
    value: FloatArray, intrinsic: FloatArray, distance: FloatArray, noise: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Bid and ask around a noisy price, rounded outwards; a bid below intrinsic value would be outbid."""
    time_value = np.maximum(value - intrinsic, 0.0)
    wide = 0.01 * (1 + np.minimum(np.abs(distance), 3.0)) * time_value + 0.002 * intrinsic
    half = np.maximum(wide, 1 / _CENTS)
    middle = value + half * np.clip(0.2 * noise, -0.5, 0.5)
    # 1e-9 of a cent, since 1.13 * 100 is 112.99999999999999 and would lose a cent.
    bid = np.floor(np.maximum(middle - half, intrinsic) * _CENTS + 1e-9) / _CENTS
    ask = np.ceil((middle + half) * _CENTS - 1e-9) / _CENTS
    return bid, ask


def _open_interest(traded: npt.NDArray[np.int64], contract: IntArray) -> npt.NDArray[np.int64]:
    """A third of what a contract traded before today: what a clearing house tells in the morning."""
    before = np.cumsum(traded) - traded
    starts = np.flatnonzero(np.diff(contract, prepend=-1))
    lengths = np.diff(starts, append=len(contract))
    counts: npt.NDArray[np.int64] = (before - np.repeat(before[starts], lengths)) // 3
    return counts


Control = Literal["random_walk", "planted"]

# Part of a return that comes again in the next session.
_PERSISTENCE: dict[Control, float] = {"random_walk": 0.0, "planted": 0.5}

_SYMBOLS = ("A", "B", "C")
_SPAN = ("2000-01-03", "2010-01-01")
# Standard deviation of what is new in a session's log return.
_STEP = 0.01
_FIRST_PRICE = 100.0


def best_skill(control: Control) -> float:
    """Skill of the best forecast one session ahead against the last value, in the limit of small returns.

    >>> best_skill("random_walk"), round(best_skill("planted"), 3)
    (0.0, 0.134)
    """
    return 1 - math.sqrt(1 - _PERSISTENCE[control] ** 2)


def make_control(control: Control, symbols: Sequence[str] | None = None, *, seed: int = 0) -> pd.DataFrame:
    """Make the panel: columns symbol, date, open, high, low, close, adj_close.

    Args:
        control: Which of the two.
        symbols: Any names; None is A, B and C.
        seed: Of all returns.
    """
    dates = pd.bdate_range(*_SPAN, inclusive="left")
    tables = [_prices(control, name, dates, seed) for name in symbols or _SYMBOLS]
    return pd.concat(tables, ignore_index=True)


def log_returns(control: Control, symbol: str, sessions: int, *, seed: int = 0) -> FloatArray:
    """Log returns of one symbol, shape (sessions,); the first comes from their stationary distribution."""
    new = child_generator(seed, f"{control} {symbol}").standard_normal(sessions)
    persistence = _PERSISTENCE[control]
    new[0] /= math.sqrt(1 - persistence**2)
    # scipy.signal takes a second to import, and few runs make data up.
    from scipy.signal import lfilter

    returns: FloatArray = _STEP * lfilter([1.0], [1.0, -persistence], new)
    return returns


def _prices(control: Control, symbol: str, dates: pd.DatetimeIndex, seed: int) -> pd.DataFrame:
    close = _FIRST_PRICE * np.exp(np.cumsum(log_returns(control, symbol, len(dates), seed=seed)))
    before = np.concatenate([[_FIRST_PRICE], close[:-1]])
    columns = {
        "open": before,
        "high": np.maximum(before, close),
        "low": np.minimum(before, close),
        "close": close,
        "adj_close": close,
    }
    return pd.DataFrame({"symbol": symbol, "date": dates, **columns})
