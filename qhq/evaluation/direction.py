"""Directional accuracy: how often a forecast says rightly whether a value goes up or down.

A value that did not move had no direction, and a forecast of no move gives none: both are left out and
counted, so the last value has no directional accuracy at all, rather than one of 0 or of a half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qhq.data.panel import FloatArray

LEVEL = 0.95
"""Probability that the intervals of shares are made for."""


@dataclass(frozen=True)
class Share:
    """How often something happened.

    The interval is Wilson's (1927) and takes all cases as independent. Several symbols on one date, and
    horizons that overlap, are not: there it is too narrow, and ``significance`` averages by date.

    Attributes:
        value: Share of the cases, 0 to 1.
        low: Lower end of its 95 % interval.
        high: Upper end.
        count: Cases.
    """

    value: float
    low: float
    high: float
    count: int


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


def share(hits: int, count: int, level: float = LEVEL) -> Share:
    """Tell a share with its Wilson interval; ``count`` is at least 1.

    >>> even = share(5, 10)
    >>> even.value, round(even.low, 4), round(even.high, 4)
    (0.5, 0.2366, 0.7634)
    """
    # scipy.stats takes half a second to import, which whoever only sends to hardware need not wait for.
    from scipy.stats import binomtest

    interval = binomtest(hits, count).proportion_ci(level, method="wilson")
    return Share(hits / count, float(interval.low), float(interval.high), count)


def directional_accuracy(actual: FloatArray, forecast: FloatArray, start: FloatArray) -> Direction:
    """Compare the direction that was forecast with the one that came.

    Args:
        actual: What came, any shape.
        forecast: What was forecast, of the same shape.
        start: Where nothing moves, of the same shape: the last value, and of a return 0.
    """
    came, said = np.sign(actual - start), np.sign(forecast - start)
    moved = came != 0
    both = moved & (said != 0)
    count = int(np.count_nonzero(both))
    return Direction(
        right=share(int(np.count_nonzero((came == said) & both)), count) if count else None,
        still=int(np.count_nonzero(~moved)),
        undecided=int(np.count_nonzero(moved & (said == 0))),
    )
