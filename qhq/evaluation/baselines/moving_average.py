"""The mean of the window's last rows, at every horizon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qhq.data.panel import FloatArray
from qhq.data.windows import Windows
from qhq.evaluation.baselines.track import Track, tracks

LENGTHS = (2, 3, 5, 10, 22, 44, 66)
"""Rows that are tried, and the whole window; 1 is the last value, a baseline of its own."""


@dataclass(frozen=True)
class MovingAverage:
    """Means of last rows, for prices of their logarithms.

    Attributes:
        tracks: Scales of the K targets.
        rows: How many of the last rows, of each.
    """

    tracks: tuple[Track, ...]
    rows: tuple[int, ...]

    def __call__(self, windows: Windows) -> FloatArray:
        """Forecast, shape (N, H, K), in the unit of the targets."""
        pairs = zip(self.tracks, self.rows, strict=True)
        means = [track.back(_mean(track.past(windows), rows), windows) for track, rows in pairs]
        return np.repeat(np.stack(means, axis=2), windows.cut.horizon, axis=1)


def fit_moving_average(train: Windows) -> MovingAverage:
    """Choose for each target the number of rows with the least mean absolute error in training."""
    every = tracks(train)
    return MovingAverage(every, tuple(_best(track, train) for track in every))


def _best(track: Track, train: Windows) -> int:
    past, future = track.past(train), track.future(train)
    length = train.cut.window
    tried = sorted({length, *(rows for rows in LENGTHS if rows < length)})
    return min(tried, key=lambda rows: float(np.abs(future - _mean(past, rows)).mean()))


def _mean(past: FloatArray, rows: int) -> FloatArray:
    """Mean of the last rows: (N, T) -> (N, 1)."""
    mean: FloatArray = past[:, -rows:].mean(axis=1, keepdims=True)
    return mean
