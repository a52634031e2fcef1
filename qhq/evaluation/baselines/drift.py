"""The last value, and from there on the mean change of the training part.

A random walk with drift. The drift is that of the training windows of the group, not of the window: over the
20 rows of a window, the mean of daily returns is nearly all noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qhq.data.panel import FloatArray
from qhq.data.windows import Windows
from qhq.evaluation.baselines.track import ByGroup, Track, tracks


@dataclass(frozen=True, eq=False)
class Drift:
    """Mean changes by group.

    Attributes:
        tracks: Scales of the K targets.
        steps: Mean change per row of each, on its track.
    """

    tracks: tuple[Track, ...]
    steps: tuple[ByGroup, ...]

    def __call__(self, windows: Windows) -> FloatArray:
        """Forecast, shape (N, H, K), in the unit of the targets."""
        pairs = zip(self.tracks, self.steps, strict=True)
        return np.stack([_forecast(track, step, windows) for track, step in pairs], axis=2)


def fit_drift(train: Windows) -> Drift:
    """Take the mean change from the last input row to the first target, of each group and target."""
    every = tracks(train)
    return Drift(every, tuple(_fit(track, train) for track in every))


def _fit(track: Track, train: Windows) -> ByGroup:
    change = track.future(train)[:, 0] - _start(track, train)
    return ByGroup.fit(train, lambda mask: np.asarray(change[mask].mean()))


def _start(track: Track, windows: Windows) -> FloatArray:
    """Where nothing moves, shape (N,)."""
    return np.zeros(len(windows)) if track.is_return else track.past(windows)[:, -1]


def _forecast(track: Track, step: ByGroup, windows: Windows) -> FloatArray:
    ahead = np.arange(1, windows.cut.horizon + 1)
    # A return is a change already: that of two days ahead is one step, not two.
    steps = np.ones_like(ahead) if track.is_return else ahead
    return track.back(_start(track, windows)[:, None] + step.of(windows)[:, None] * steps, windows)
