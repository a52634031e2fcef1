"""Adjusted closes that no later action changes, and Yahoo's split adjustment undone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qhq.errors import DataError

FloatArray = npt.NDArray[np.float64]


def forward_adjusted(close: FloatArray, dividend: FloatArray, split: FloatArray) -> FloatArray:
    """Adjust closes for splits and dividends, from the first row onwards.

    With the ratio s of a row's split (1 without one) and its dividend d per share,

        adjusted_t = close_t * prod over rows u, 0 < u <= t, of s_u / (1 - d_u s_u / close_{u-1}).

    It is the value of what the owner of one share at the first row owns when dividends are reinvested at the
    close before. The usual adjustment divides all of it by the product over all rows, so that the *last* row
    is unadjusted and each new dividend changes the whole past. Log returns are the same for both.

    Args:
        close: Prices as traded, shape (T,), oldest first.
        dividend: Per share as of its ex-date, 0 without one, shape (T,).
        split: New shares for an old one as of its ex-date, 0 or 1 without one, shape (T,).

    Returns:
        Shape (T,); the first is ``close[0]``.

    Raises:
        DataError: If a dividend is as large as the price before it.

    >>> forward_adjusted(np.array([100.0, 99.0, 50.0]), np.array([0, 1.0, 0]), np.array([0, 0, 2.0])).tolist()
    [100.0, 100.0, 101.01010101010101]
    """
    ratio = split_ratio(split)
    before = np.concatenate([[np.inf], close[:-1]]) / ratio
    kept = 1 - dividend / before
    if (kept <= 0).any():
        row = int(np.argmax(kept <= 0))
        raise DataError(
            "A dividend must be smaller than the close before it",
            got=f"a dividend of {dividend[row]:g} after a close of {before[row]:g} in row {row + 1}",
            fix="Correct or drop that dividend",
        )
    growth = ratio / kept
    growth[:1] = 1.0
    return np.asarray(close * np.cumprod(growth), dtype=np.float64)


def split_ratio(split: FloatArray) -> FloatArray:
    """New shares for an old one, 1 where there is no split."""
    return np.where(split > 0, split, 1.0)


def later_splits(split: FloatArray) -> FloatArray:
    """Product of the splits after each row, shape (T,): what today's share was worth in shares then.

    >>> later_splits(np.array([0.0, 2.0, 0.0, 3.0])).tolist()
    [6.0, 3.0, 3.0, 1.0]
    """
    ratio = split_ratio(split)
    return np.concatenate([np.cumprod(ratio[::-1])[::-1][1:], np.ones(min(1, len(ratio)))])
