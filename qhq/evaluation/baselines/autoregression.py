"""AR(p) of what comes back to a mean: ARIMA(p, 1, 0) of prices and quotes, AR(p) of all else.

Fitted once, by least squares (statsmodels) on the training windows; a window is forecast from its own rows
with these coefficients, step by step. The order is that of the least BIC.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from qhq.data.panel import FloatArray, Mask
from qhq.data.windows import Windows
from qhq.evaluation.baselines.track import ByGroup, Track, tracks

MOST_LAGS = 10


@dataclass(frozen=True, eq=False)
class Autoregression:
    """Coefficients by group.

    Attributes:
        tracks: Scales of the K targets.
        coefficients: Of each: the constant, then those of the values 1, 2, ... rows before, 0 beyond the
            order.
    """

    tracks: tuple[Track, ...]
    coefficients: tuple[ByGroup, ...]

    def __call__(self, windows: Windows) -> FloatArray:
        """Forecast, shape (N, H, K), in the unit of the targets."""
        pairs = zip(self.tracks, self.coefficients, strict=True)
        return np.stack([_forecast(track, rows.of(windows), windows) for track, rows in pairs], axis=2)


def fit_autoregression(train: Windows) -> Autoregression:
    """Fit each target of each group on the first row that follows each window."""
    every = tracks(train)
    return Autoregression(every, tuple(_fit(track, train) for track in every))


def _fit(track: Track, train: Windows) -> ByGroup:
    past, last = _values(track, train)
    actual = track.future(train)[:, 0] - last
    lags = past[:, : -MOST_LAGS - 1 : -1]

    def of(mask: Mask) -> FloatArray:
        return _least_squares(lags[mask], actual[mask])

    return ByGroup.fit(train, of)


def _values(track: Track, windows: Windows) -> tuple[FloatArray, FloatArray]:
    """What is regressed, oldest first (N, T or T - 1), and what a forecast of it is added to (N,)."""
    past = track.past(windows)
    return (np.diff(past, axis=1), past[:, -1]) if track.differenced else (past, np.zeros(len(past)))


def _least_squares(lags: FloatArray, actual: FloatArray) -> FloatArray:
    """Constant and coefficients of the order with the least BIC: lags (N, P) -> (P + 1,)."""
    from statsmodels.regression.linear_model import OLS

    design = np.column_stack([np.ones(len(lags)), lags])
    # With as many coefficients as windows nothing is left to tell one order from another.
    most = max(1, min(design.shape[1], len(actual) // 2))
    if np.ptp(actual) == 0:
        most = 1  # what never moves has a likelihood without bound
    with warnings.catch_warnings():
        # Rows that follow a formula make lags that follow from each other; any of the solutions will do.
        warnings.simplefilter("ignore")
        fits = [OLS(actual, design[:, :count]).fit() for count in range(1, most + 1)]
        best = min(fits, key=lambda fit: float(fit.bic)) if most > 1 else fits[0]
    coefficients = np.zeros(design.shape[1])
    coefficients[: len(best.params)] = best.params
    return coefficients


def _forecast(track: Track, coefficients: FloatArray, windows: Windows) -> FloatArray:
    """Go on from each window's own rows, coefficients (N, P + 1), forecast (N, H)."""
    past, last = _values(track, windows)
    constant, weights = coefficients[:, 0], coefficients[:, 1:]
    newest = past[:, ::-1][:, : weights.shape[1]]
    steps = []
    for _ in range(windows.cut.horizon):
        value = constant + np.einsum("np,np->n", weights, newest)
        steps.append(value)
        newest = np.column_stack([value, newest])[:, : weights.shape[1]]
    ahead = np.stack(steps, axis=1)
    return track.back(last[:, None] + np.cumsum(ahead, axis=1) if track.differenced else ahead, windows)
