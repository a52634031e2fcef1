"""How far a figure could be from the truth: a median over seeds, a statistic over dates.

Seeds are drawn as they are, each independent of the others. Dates are not independent, neither the windows of
one date nor the dates of one month, so they are drawn in blocks: the stationary bootstrap of Politis and
Romano ("The stationary bootstrap", 1994), whose mean block length is that of Politis and White (2004), as the
package `arch` has both.

A share is such a statistic, too: how often something was so. Several windows on one date move together, and
so do the dates of a turbulent month: 36,000 windows of twelve dates are twelve observations at best. So a
share's interval is drawn from its dates, in blocks, and it counts dates, not windows.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qhq.data.panel import DateArray, FloatArray, IntArray, Mask
from qhq.errors import DataError
from qhq.seeding import child_generator

_CONFIDENCE = 0.95
# A draw of dates draws a whole series, block by block, and every run makes at least two intervals of them.
_DRAWS, _DATE_DRAWS = 10_000, 2_000

# An interval of fewer would be their range at most: that of three holds the median in 75 of 100 cases.
LEAST_SEEDS = 5
"""Fewest seeds that have an interval."""

# Of fewer dates no interval is made, as no test is.
_LEAST_DATES = 10


@dataclass(frozen=True)
class Median:
    """Median over seeds.

    With n seeds the interval is never wider than their range, which holds the true median with probability
    1 - 2^(1 - n): 94 % of five seeds, the fewest that have one.

    Attributes:
        value: Median.
        low: Lower end of its 95 % bootstrap interval; None of fewer than five seeds.
        high: Upper end.
        count: Seeds.
        values: The figure of each, as they were given.
    """

    value: float
    low: float | None
    high: float | None
    count: int
    values: tuple[float, ...]

    @property
    def reason(self) -> str:
        """Why there is no interval; empty if there is."""
        return "" if self.low is not None else f"{count_seeds(self.count)}, an interval needs {LEAST_SEEDS}"


def count_seeds(count: int, kind: str = "") -> str:
    """Number of seeds in words.

    >>> count_seeds(1), count_seeds(3, "fresh")
    ('one seed', '3 fresh seeds')
    """
    what = f"{kind} seed".lstrip()
    return f"one {what}" if count == 1 else f"{count} {what}s"


def median_interval(values: npt.ArrayLike, level: float = _CONFIDENCE, seed: int = 0) -> Median:
    """Tell the median of a figure over seeds, from five on with a percentile bootstrap interval.

    Args:
        values: One of each seed, shape (n,).
        level: Probability that the interval is made for.
        seed: Of the draws; the same seed gives the same interval.

    Raises:
        DataError: If there is no value, or one is not finite.

    >>> found = median_interval([3.0, 1.0, 2.0, 5.0, 4.0])
    >>> found.value, found.low, found.high
    (3.0, 1.0, 5.0)
    >>> median_interval([3.0, 1.0]).reason
    '2 seeds, an interval needs 5'
    """
    each = np.asarray(values, dtype=np.float64)
    if each.ndim != 1 or not len(each) or not np.isfinite(each).all():
        raise DataError(
            "A median over seeds needs one finite figure of each seed",
            got=f"shape {each.shape}, {np.count_nonzero(~np.isfinite(each))} not finite",
            fix="Leave out the runs that failed, and say so",
        )
    # The median, not the mean: one seed that diverged must not decide what the others show.
    median, given = float(np.median(each)), tuple(each.tolist())
    if len(each) < LEAST_SEEDS:
        return Median(median, None, None, len(each), given)
    # scipy.stats takes half a second to import, which whoever only sends to hardware need not wait for.
    from scipy.stats import bootstrap

    found = bootstrap(
        # Percentiles, not scipy's default BCa: its acceleration comes from a jackknife of five medians, and
        # is NaN where values are equal.
        (each,), np.median, n_resamples=_DRAWS, confidence_level=level, method="percentile",
        rng=child_generator(seed, "bootstrap"),
    ).confidence_interval  # fmt: skip
    return Median(median, float(found.low), float(found.high), len(each), given)


def paired_interval(
    first: npt.ArrayLike, second: npt.ArrayLike, level: float = _CONFIDENCE, seed: int = 0
) -> Median:
    """Tell the median of first minus second, the same seed taken from both; arguments as above.

    Raises:
        DataError: If they are not of the same seeds.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != other.shape:
        raise DataError(
            "Paired figures must be of the same seeds",
            got=f"shapes {one.shape} and {other.shape}",
            fix="Give both the same seeds, in the same order",
        )
    # The median of the differences, which is not the difference of the medians: a seed that is hard for one
    # is mostly hard for the other.
    return median_interval(one - other, level, seed)


@dataclass(frozen=True)
class Interval:
    """A statistic over dates.

    Attributes:
        value: Of all dates.
        low: Lower end of its 95 % block bootstrap interval; None where there is none.
        high: Upper end.
        dates: How many.
        block: Mean length of a block, in dates; None where there is no interval.
        reason: Why there is none; empty where there is one.
    """

    value: float
    low: float | None
    high: float | None
    dates: int
    block: float | None
    reason: str = ""


def _date_mean(losses: FloatArray) -> float:
    """Mean over dates; of two columns (D, 2), hits and how many could have been, the rate of all.

    >>> _date_mean(np.array([1.0, 3.0])), _date_mean(np.array([[9.0, 10.0], [0.0, 2.0]]))
    (2.0, 0.75)
    """
    if losses.ndim == 2:
        return float(losses[:, 0].sum() / losses[:, 1].sum())
    return float(losses.mean())


def date_interval(
    losses: FloatArray,
    statistic: Callable[[FloatArray], float] = _date_mean,
    seed: int = 0,
    *,
    level: float = _CONFIDENCE,
    horizon: int = 1,
) -> Interval:
    """Tell a statistic of dates with a percentile interval of the stationary bootstrap.

    Args:
        losses: Losses, hits or whatever each date has, dates ascending, shape (D,) or (D, M); with M columns
            whole rows are drawn. For a rate of windows give the hits and the windows of each date.
        statistic: Of an array as the losses; the mean, or the rate, if left out.
        seed: Of the draws; the same seed gives the same interval.
        level: Probability that the interval is made for.
        horizon: Rows ahead of the furthest forecast, H: no block is shorter.

    Raises:
        DataError: If there are no dates, or one is not finite.

    >>> found = date_interval(np.arange(40.0) % 7)
    >>> found.low < found.value < found.high
    True
    """
    each = np.asarray(losses, dtype=np.float64)
    if each.ndim not in (1, 2) or not len(each) or not np.isfinite(each).all():
        raise DataError(
            "An interval over dates needs one finite figure, or row of figures, of each date",
            got=f"shape {each.shape}, {np.count_nonzero(~np.isfinite(each))} not finite",
            fix="Leave out the dates without a forecast",
        )
    value, count = float(statistic(each)), len(each)
    # Windows of neighbouring dates share what they forecast: H rows ahead, D dates are about D / H of them.
    least = max(_LEAST_DATES, 2 * horizon)
    if count < least:
        return Interval(value, None, None, count, None, f"{count} dates, fewer than {least}")
    block = block_length(each, horizon)
    tail = 100 * (1 - level) / 2
    if statistic is _date_mean and count <= _COUNTED_DATES:
        # Two thousand sums at once: every run makes dozens of these intervals.
        sums = _count_draws(count, block, seed) @ each
        with np.errstate(invalid="ignore"):
            values = sums / count if each.ndim == 1 else sums[:, 0] / sums[:, 1]
    else:
        values = np.array([statistic(each[places]) for places in _draw_dates(count, block, seed)])
    # A rate of no windows, drawn by chance, is no rate; all the others are.
    low, high = np.nanpercentile(values, [tail, 100 - tail])
    return Interval(value, float(low), float(high), count, block)


def _draw_dates(count: int, block: int, seed: int) -> Iterator[npt.NDArray[np.integer]]:
    """Give the places of each draw of dates in blocks, shape (D,)."""
    from arch.bootstrap import StationaryBootstrap

    drawn = StationaryBootstrap(block, np.zeros(count), seed=child_generator(seed, "dates"))
    # What `drawn.apply` does, without its copies.
    return (drawn.update_indices() for _ in range(_DATE_DRAWS))


# Of at most as many dates the counts take 32 MB.
_COUNTED_DATES = 2_048


@functools.lru_cache(maxsize=1)
def _count_draws(count: int, block: int, seed: int) -> FloatArray:
    """How often each draw has each date, shape (draws, D). Kept: most figures of a run are of one split."""
    counts = [np.bincount(places, minlength=count) for places in _draw_dates(count, block, seed)]
    return np.array(counts, dtype=np.float64)


def block_length(series: FloatArray, horizon: int = 1) -> int:
    """Mean length of the stationary bootstrap's blocks in dates, by Politis and White's rule.

    Args:
        series: Each (D,) or, of several, (D, M): the longest of theirs.
        horizon: No block is shorter, nor longer than a quarter of the dates.
    """
    from arch.bootstrap import optimal_block_length

    columns = series.reshape(len(series), -1)
    # A constant has no autocorrelation: the rule would divide by its variance, which is 0.
    moving = columns[:, np.ptp(columns, axis=0) > 0]
    # A column that does not move has no length of its own.
    # Of ten dates its longest lag leaves none, and of dates that differ at one end a lag leaves only zeros.
    with np.errstate(divide="ignore", invalid="ignore"):
        found = optimal_block_length(moving)["stationary"].to_numpy() if moving.shape[1] else np.ones(1)
    longest = float(np.max(np.where(np.isfinite(found), found, 1.0)))
    # Of blocks longer than a quarter there are hardly two that do not overlap.
    return max(1, min(math.ceil(max(longest, horizon)), len(series) // 4))


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


def hits_by_date(hits: Mask, cases: Mask, dates: DateArray) -> IntArray:
    """Count hits and cases of each date that has a case, shape (D, 2), dates ascending.

    Args:
        hits: Whether it was so, shape (N, ...); only where it is a case, too, does it count.
        cases: Whether it is a case at all, of the same shape.
        dates: Of each window, that of its first target, shape (N,).
    """
    # Dates are what is drawn later, whole: windows of one date share its market, and are not independent
    # cases.
    place = np.unique(dates, return_inverse=True)[1]
    axes = tuple(range(1, hits.ndim))
    pair = [np.bincount(place, each.sum(axis=axes)).astype(np.int64) for each in (hits & cases, cases)]
    counts: IntArray = np.column_stack(pair)
    return counts[counts[:, 1] > 0]


def share_over_dates(counts: npt.ArrayLike, *, horizon: int = 1, interval: bool = True) -> Share:
    """Tell a share with its interval over dates.

    Where it is 0 on every date, or 1, a bootstrap has nothing to draw: the interval is then Wilson's (1927)
    of as many cases as there are dates, which is the widest that dates which hold or fail as a whole have.

    Args:
        counts: Hits and cases of each date, shape (D, 2), D at least 1 (see `hits_by_date`).
        horizon: Rows ahead of the furthest forecast: no block of dates is shorter.
        interval: False leaves the interval out, where hundreds of shares are reported.

    >>> even = share_over_dates([[4, 4], [0, 4]] * 10)
    >>> even.value, even.count, even.dates, even.low < 0.5 < even.high
    (0.5, 80, 20, True)
    >>> share_over_dates([[4, 4]] * 3).reason
    '3 dates, fewer than 10'
    """
    each = np.asarray(counts, dtype=np.float64)
    hits, cases = each.sum(axis=0)
    value, count, dates = float(hits / cases), int(cases), len(each)
    if not interval:
        return Share(value, None, None, count, dates, "left out")
    found = date_interval(each, level=_CONFIDENCE, horizon=horizon)
    if found.low is not None and 0 < hits < cases:
        return Share(value, found.low, found.high, count, dates)
    if found.low is None:
        return Share(value, None, None, count, dates, found.reason)
    # scipy.stats takes half a second to import, which whoever only sends to hardware need not wait for.
    from scipy.stats import binomtest

    ends = binomtest(round(value * dates), dates).proportion_ci(_CONFIDENCE, method="wilson")
    return Share(value, float(ends.low), float(ends.high), count, dates)
