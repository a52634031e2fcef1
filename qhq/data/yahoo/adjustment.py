"""Adjusted closes that no later action changes, and Yahoo's split adjustment undone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def forward_adjusted(close: FloatArray, dividend: FloatArray, split: FloatArray) -> FloatArray:
    """Adjust closes for splits and dividends, from the first row onwards.

    With the ratio s of a row's split (1 without one) and its dividend d per share,

        adjusted_t = close_t * prod over rows u, 0 < u <= t, of s_u / (1 - d_u s_u / close_{u-1}).

    It is the value of what the owner of one share at the first row owns when dividends are reinvested at the
    close before. The usual adjustment divides all of it by the product over all rows, so that the *last* row
    is unadjusted and each new dividend changes the whole past. Log returns are the same for both.

    What a dividend of the whole price or more is worth to an owner (a liquidation told as a dividend, a
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
    ratio = split_ratio(split)
    priced = np.isfinite(close) & (close != 0)
    # A dividend is paid on the last close before it, over rows without one.
    last = np.maximum.accumulate(np.where(priced, np.arange(len(close)), -1))
    before = np.where(last[:-1] >= 0, close[last[:-1]], np.nan) / ratio[1:]
    paid = np.nan_to_num(dividend[1:])
    with np.errstate(all="ignore"):
        kept = np.where(paid == 0, 1.0, 1 - paid / before)
        unknown = (paid != 0) & ~((before > 0) & (kept > 0))
        # Without a price above zero before, only a first price can follow: nothing was earned until it.
        growth = np.where(
            unknown, np.where(last[:-1] >= 0, ratio[1:] * before / close[1:], 1.0), ratio[1:] / kept
        )
    growth = np.where(np.isfinite(growth), growth, 1.0)
    adjusted = close * np.cumprod(np.concatenate([np.ones(min(1, len(close))), growth]))
    adjusted[1:][unknown] = np.nan
    return np.asarray(np.where(np.isfinite(close), adjusted, np.nan), dtype=np.float64)


def split_ratio(split: FloatArray) -> FloatArray:
    """New shares for an old one, 1 where there is no split."""
    return np.where((split > 0) & np.isfinite(split), split, 1.0)


def later_splits(split: FloatArray) -> FloatArray:
    """Product of the splits after each row, shape (T,): what today's share was worth in shares then.

    >>> later_splits(np.array([0.0, 2.0, 0.0, 3.0])).tolist()
    [6.0, 3.0, 3.0, 1.0]
    """
    ratio = split_ratio(split)
    return np.concatenate([np.cumprod(ratio[::-1])[::-1][1:], np.ones(min(1, len(ratio)))])
