"""Simple exponential smoothing: the newest rows count most, and the level stays.

The smoothing parameter is fitted by statsmodels on the training rows of a series; a window is smoothed from
its own first row on.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass

import numpy as np

from qhq.data.panel import FloatArray, Mask
from qhq.data.windows import Windows
from qhq.evaluation.baselines.track import ByGroup, Track, tracks

LEAST_ROWS = 30
"""A shorter series tells no weight; it is taken as 1, the last value."""

MOST_SERIES = 20
"""Series of a group (its longest) that are fitted; the group has their median. A stock is one series."""


@dataclass(frozen=True, eq=False)
class ExponentialSmoothing:
    """Smoothing parameters by group.

    Attributes:
        tracks: Scales of the K targets.
        smoothing: Weight of the newest row, of each; 1 is the last value, 0 the window's first.
    """

    tracks: tuple[Track, ...]
    smoothing: tuple[ByGroup, ...]

    def __call__(self, windows: Windows) -> FloatArray:
        """Forecast, shape (N, H, K), in the unit of the targets."""
        pairs = zip(self.tracks, self.smoothing, strict=True)
        levels = [track.back(_level(track.past(windows), each.of(windows)), windows) for track, each in pairs]
        return np.repeat(np.stack(levels, axis=2), windows.cut.horizon, axis=1)


def fit_exponential_smoothing(train: Windows) -> ExponentialSmoothing:
    """Fit the weight of each target by the squared errors one row ahead."""
    every = tracks(train)
    return ExponentialSmoothing(every, tuple(_fit(track, train) for track in every))


def _fit(track: Track, train: Windows) -> ByGroup:
    segment = train.panel.segment[train.starts]
    weights = functools.cache(lambda number: _weight(track.series(train, _rows(train, segment == number))))

    def median_weight(mask: Mask) -> FloatArray:
        numbers, counts = np.unique(segment[mask], return_counts=True)
        longest = numbers[np.argsort(-counts, kind="stable")[:MOST_SERIES]]
        return np.array(np.median([weights(int(number)) for number in longest]))

    return ByGroup.fit(train, median_weight)


def _rows(train: Windows, mask: Mask) -> slice:
    """Panel rows from the first window's first to the last one's last, of windows in one run of rows."""
    starts = train.starts[mask]
    return slice(int(starts.min()), int(starts.max()) + train.cut.rows)


def _weight(series: FloatArray) -> float:
    """Fit the weight of the newest row, from the first row on: (R,)."""
    from statsmodels.tsa.holtwinters import SimpleExpSmoothing

    if len(series) < LEAST_ROWS or np.ptp(series) == 0:
        return 1.0
    with warnings.catch_warnings():
        # At a border, as for a random walk, the optimiser says that it did not converge.
        warnings.simplefilter("ignore")
        model = SimpleExpSmoothing(series, initialization_method="known", initial_level=series[0])
        return float(model.fit().params["smoothing_level"])


def _level(past: FloatArray, smoothing: FloatArray) -> FloatArray:
    """Level at the last row: (N, T), weights (N,) -> (N, 1)."""
    level = past[:, 0]
    for row in past.T[1:]:
        level = level + smoothing * (row - level)
    return level[:, None]
