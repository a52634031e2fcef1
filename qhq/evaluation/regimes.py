"""Calm, usual and turbulent times, defined once: by how much a window's input rows moved.

The realised volatility of a window is the root mean square of the changes along its input rows: of the spot
for options, of the first target for all else, on its track (`baselines.track`), so in logarithms of a price.
The borders are the terciles of the training split, symbol by symbol, so that a test split that lies in one
regime alone is seen to do so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from qhq.data.panel import FloatArray, IntArray, Mask
from qhq.data.windows import Windows
from qhq.evaluation.baselines.track import ByGroup, Track, tracks

REGIMES = ("calm", "usual", "turbulent")


def movement(track: Track, windows: Windows) -> FloatArray:
    """Root mean square of the changes along the input rows, on the track, shape (N,).

    A price at or below zero, as of oil in April 2020, has no logarithm: such a move is beyond any border.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        past = track.past(windows)
    past = np.where(np.isfinite(past).all(axis=1, keepdims=True), past, np.nan)
    changes = past if track.is_return or past.shape[1] == 1 else np.diff(past, axis=1)
    moved: FloatArray = np.sqrt(np.mean(changes**2, axis=1))
    return np.where(np.isnan(moved), np.inf, moved)


def realised_volatility(windows: Windows) -> FloatArray:
    """How much each window's input rows moved, per row, shape (N,)."""
    spot = Track("spot", "log", differenced=True)
    return movement(spot if "spot" in windows.panel.columns else tracks(windows)[0], windows)


@dataclass(frozen=True, eq=False)
class Regimes:
    """Borders between the regimes, of each symbol (of options, underlying).

    Attributes:
        borders: Lower and upper tercile of the realised volatility, shape (G + 1, 2).
    """

    borders: ByGroup

    @classmethod
    def fit(cls, train: Windows) -> Self:
        """Take the terciles of the training windows."""
        volatility = realised_volatility(train)

        def terciles(rows: Mask) -> FloatArray:
            known = volatility[rows][np.isfinite(volatility[rows])]
            return np.quantile(known, [1 / 3, 2 / 3]) if len(known) else np.full(2, np.inf)

        return cls(ByGroup.fit(train, terciles))

    def of(self, windows: Windows) -> IntArray:
        """Place in ``REGIMES`` of each window, shape (N,)."""
        borders = self.borders.of(windows)
        places: IntArray = (realised_volatility(windows)[:, None] > borders).sum(axis=1)
        return places
