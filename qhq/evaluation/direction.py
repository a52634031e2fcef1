"""Shares over dates: how often something was so, and how often a forecast says rightly whether a value rises.

Several windows on one date move together, and so do the dates of a turbulent month: 36,000 windows of twelve
dates are twelve observations at best. So a share's interval is drawn from its dates, in blocks
(`bootstrap.date_interval`), and it counts dates, not windows.

A value that did not move had no direction, and a forecast of no move gives none: both are left out and
counted, so the last value has no directional accuracy at all, rather than one of 0 or of a half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qhq.data.panel import DateArray, FloatArray, IntArray, Mask
from qhq.evaluation.bootstrap import date_interval

LEVEL = 0.95
"""Probability that the intervals of shares are made for."""


@dataclass(frozen=True)
class Share:
    """How often something was so.

    Attributes:
        value: Share of the cases, 0 to 1.
        low: Lower end of its 95 % interval over dates; None where there is none.
        high: Upper end.
        count: Cases.
        dates: Dates that they lie on, which are what the interval counts.
        reason: Why there is no interval; empty where there is one.
    """

    value: float
    low: float | None
    high: float | None
    count: int
    dates: int
    reason: str = ""


@dataclass(frozen=True)
class Direction:
    """Directional accuracy.

    Attributes:
        right: Share of right directions where there is one; None where there never is.
        still: Values that did not move, left out.
        undecided: Forecasts of no move, of values that did move, left out.
    """

    right: Share | None
    still: int
    undecided: int


def hits_by_date(hits: Mask, cases: Mask, dates: DateArray) -> IntArray:
    """Count hits and cases of each date that has a case, shape (D, 2), dates ascending.

    Args:
        hits: Whether it was so, shape (N, ...); only where it is a case, too, does it count.
        cases: Whether it is a case at all, of the same shape.
        dates: Of each window, that of its first target, shape (N,).
    """
    place = np.unique(dates, return_inverse=True)[1]
    axes = tuple(range(1, hits.ndim))
    pair = [np.bincount(place, each.sum(axis=axes)).astype(np.int64) for each in (hits & cases, cases)]
    counts: IntArray = np.column_stack(pair)
    return counts[counts[:, 1] > 0]


def share(counts: npt.ArrayLike, *, horizon: int = 1, interval: bool = True) -> Share:
    """Tell a share with its interval over dates.

    Where it is 0 on every date, or 1, a bootstrap has nothing to draw: the interval is then Wilson's (1927)
    of as many cases as there are dates, which is the widest that dates which hold or fail as a whole have.

    Args:
        counts: Hits and cases of each date, shape (D, 2), D at least 1 (see `hits_by_date`).
        horizon: Rows ahead of the furthest forecast: no block of dates is shorter.
        interval: False leaves the interval out, where hundreds of shares are reported.

    >>> even = share([[4, 4], [0, 4]] * 10)
    >>> even.value, even.count, even.dates, even.low < 0.5 < even.high
    (0.5, 80, 20, True)
    >>> share([[4, 4]] * 3).reason
    '3 dates, fewer than 10'
    """
    each = np.asarray(counts, dtype=np.float64)
    hits, cases = each.sum(axis=0)
    value, count, dates = float(hits / cases), int(cases), len(each)
    if not interval:
        return Share(value, None, None, count, dates, "left out")
    found = date_interval(each, level=LEVEL, horizon=horizon)
    if found.low is not None and 0 < hits < cases:
        return Share(value, found.low, found.high, count, dates)
    if found.low is None:
        return Share(value, None, None, count, dates, found.reason)
    # scipy.stats takes half a second to import, which whoever only sends to hardware need not wait for.
    from scipy.stats import binomtest

    ends = binomtest(round(value * dates), dates).proportion_ci(LEVEL, method="wilson")
    return Share(value, float(ends.low), float(ends.high), count, dates)


def directional_accuracy(
    actual: FloatArray,
    forecast: FloatArray,
    start: FloatArray,
    dates: DateArray,
    *,
    horizon: int = 1,
    interval: bool = True,
) -> Direction:
    """Compare the direction that was forecast with the one that came.

    Args:
        actual: What came, shape (N, ...).
        forecast: What was forecast, of the same shape.
        start: Where nothing moves, of the same shape: the last value, and of a return 0.
        dates: Of each window, that of its first target, shape (N,).
        horizon: As in `share`.
        interval: As in `share`.
    """
    came, said = np.sign(actual - start), np.sign(forecast - start)
    moved = came != 0
    both = moved & (said != 0)
    counts = hits_by_date(came == said, both, dates)
    return Direction(
        right=share(counts, horizon=horizon, interval=interval) if len(counts) else None,
        still=int(np.count_nonzero(~moved)),
        undecided=int(np.count_nonzero(moved & (said == 0))),
    )
