"""Forecasts of each target from its own past alone, on a scale on which changes can be added up.

On its track a target can be put side by side over all series:

| target                             | on its track     | modelled as |
|------------------------------------|------------------|-------------|
| price of a stock, spot, forward    | ln x             | changes     |
| quote of an option                 | x / strike       | changes     |
| shares, contracts                  | ln(1 + x)        | levels      |
| return                             | x                | levels      |
| all else (volatility, logarithms)  | x                | levels      |

So doubling all prices, or a split of shares, doubles every forecast and moves nothing else. A kind of
baseline says what it fits of one target in training and what it forecasts with that; `PerTarget` does the
rest.
"""

from __future__ import annotations

import functools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import numpy as np

from qhq.data.columns import Scale, change_scale, unit_of
from qhq.data.panel import FloatArray, Mask
from qhq.data.windows import Windows

# A group with fewer training windows than this is forecast with what was fitted on all groups together.
_LEAST_WINDOWS = 100


@dataclass(frozen=True)
class Track:
    """One target and its scale.

    Attributes:
        name: Of the target.
        kind: What is done to its values.
        differenced: Whether it is the changes that come back to a mean, not the values.
    """

    name: str
    kind: Scale
    differenced: bool

    @property
    def is_return(self) -> bool:
        """Whether a value is itself a change, so that nothing moves where it is 0."""
        return unit_of(self.name) == "return"

    def past(self, windows: Windows) -> FloatArray:
        """Values along the input rows, shape (N, T)."""
        return self._forth(windows.along(self.name), _strike(windows))

    def future(self, windows: Windows) -> FloatArray:
        """Values that followed, shape (N, H)."""
        return self._forth(windows.targets[:, :, windows.cut.targets.index(self.name)], _strike(windows))

    def series(self, windows: Windows, rows: slice) -> FloatArray:
        """Values along some rows R of the panel, gaps filled as in the inputs, shape (R,)."""
        panel = windows.panel
        values = (panel.filled if windows.cut.masked else panel.values)[rows]
        strike = values[:, panel.columns.index("strike")] if self.kind == "strike" else np.ones(len(values))
        return self._forth(values[:, panel.columns.index(self.name)], strike)

    def back(self, values: FloatArray, windows: Windows) -> FloatArray:
        """Bring values (N, H) back to the unit of the file; a quote is not below zero."""
        if self.kind == "log":
            return np.exp(values)
        if self.kind == "count":
            return np.expm1(np.maximum(values, 0.0))
        if self.kind == "strike":
            return np.maximum(values, 0.0) * _strike(windows)
        return values

    def slope(self, windows: Windows) -> FloatArray:
        """Units of the file for one of the track, at the last value, shape (N,)."""
        last = windows.at_last(self.name)
        if self.kind == "strike":
            return _strike(windows)[:, 0]
        return {"log": last, "count": 1.0 + last}.get(self.kind, np.ones(len(windows)))

    def _forth(self, values: FloatArray, strike: FloatArray) -> FloatArray:
        if self.kind == "log":
            return np.log(values)
        if self.kind == "count":
            return np.log1p(values)
        return values / strike if self.kind == "strike" else values


def _strike(windows: Windows) -> FloatArray:
    """Strike of each window at its last input row, 1 without one, shape (N, 1)."""
    known = "strike" in windows.panel.columns
    return (windows.at_last("strike") if known else np.ones(len(windows)))[:, None]


def tracks(windows: Windows) -> tuple[Track, ...]:
    """Choose the scale of each of the K targets, by its unit alone."""
    options = "strike" in windows.panel.columns
    scales = {name: change_scale(name, options=options) for name in windows.cut.targets}
    # Prices and quotes wander, and their changes come back to a mean; all else comes back itself.
    return tuple(Track(name, scale, scale in ("log", "strike")) for name, scale in scales.items())


@dataclass(frozen=True, eq=False)
class ByGroup:
    """Numbers of each group (underlying), and of all together for those never trained on.

    Attributes:
        names: The G groups with enough training windows.
        values: A row for each, and one of all together at the end, shape (G + 1, ...).
    """

    names: tuple[str, ...]
    values: FloatArray

    @classmethod
    def fit(cls, train: Windows, measure: Callable[[Mask], FloatArray]) -> Self:
        """Take ``measure`` of the windows of each group, and of all; a mask of shape (N,) says which."""
        group = train.group
        names, counts = np.unique(group, return_counts=True)
        kept = tuple(str(name) for name in names[counts >= _LEAST_WINDOWS])
        masks = [*(group == name for name in kept), np.ones(len(train), dtype=bool)]
        return cls(kept, np.stack([measure(mask) for mask in masks]))

    def of(self, windows: Windows) -> FloatArray:
        """Look up each window's row, shape (N, ...)."""
        place = {name: row for row, name in enumerate(self.names)}
        rows = np.array([place.get(name, len(self.names)) for name in windows.panel.group_names])
        values: FloatArray = self.values[rows[windows.code]]
        return values


_FitT = TypeVar("_FitT")


@dataclass(frozen=True, eq=False)
class PerTarget(ABC, Generic[_FitT]):
    """A forecaster that has fitted each target by itself.

    Attributes:
        tracks: Scales of the K targets.
        fitted: What was fitted of each.
    """

    tracks: tuple[Track, ...]
    fitted: tuple[_FitT, ...]

    @classmethod
    def fit(cls, train: Windows) -> Self:
        """Fit each target on the training windows."""
        every = tracks(train)
        return cls(every, tuple(cls.fit_one(track, train) for track in every))

    def __call__(self, windows: Windows) -> FloatArray:
        """Forecast, shape (N, H, K), in the unit of the targets."""
        pairs = zip(self.tracks, self.fitted, strict=True)
        forecasts = [track.back(self.forecast_one(track, each, windows), windows) for track, each in pairs]
        together = np.stack(forecasts, axis=2)
        return together if together.shape[1] > 1 else np.repeat(together, windows.cut.horizon, axis=1)

    @staticmethod
    @abstractmethod
    def fit_one(track: Track, train: Windows) -> _FitT:
        """Fit one target."""

    @staticmethod
    @abstractmethod
    def forecast_one(track: Track, fitted: _FitT, windows: Windows) -> FloatArray:
        """Forecast one target on its track, shape (N, H), or (N, 1) where all horizons have the same."""


class Drift(PerTarget[ByGroup]):
    """The last value, and from there on the mean change per row in training: a random walk with drift.

    The drift is that of the training windows of the group, not of the window: over the 20 rows of a window,
    the mean of daily returns is nearly all noise.
    """

    @staticmethod
    def fit_one(track: Track, train: Windows) -> ByGroup:
        """Take the mean change from the last input row to the first target, of each group."""
        change = track.future(train)[:, 0] - _start(track, train)
        return ByGroup.fit(train, lambda mask: np.asarray(change[mask].mean()))

    @staticmethod
    def forecast_one(track: Track, fitted: ByGroup, windows: Windows) -> FloatArray:
        """See ``PerTarget.forecast_one``."""
        ahead = np.arange(1, windows.cut.horizon + 1)
        # A return is a change already: that of two days ahead is one step, not two.
        steps = np.ones_like(ahead) if track.is_return else ahead
        return _start(track, windows)[:, None] + fitted.of(windows)[:, None] * steps


def _start(track: Track, windows: Windows) -> FloatArray:
    """Where nothing moves, shape (N,)."""
    return np.zeros(len(windows)) if track.is_return else track.past(windows)[:, -1]


# Of sessions: a week, two, a month, two and three.
# Rows that a moving average tries, and the whole window; 1 is the last value, a baseline of its own.
_LENGTHS = (2, 3, 5, 10, 22, 44, 66)


class MovingAverage(PerTarget[int]):
    """The mean of the window's last rows, for prices of their logarithms; fitted is how many rows."""

    @staticmethod
    def fit_one(track: Track, train: Windows) -> int:
        """Choose the number of rows with the least mean absolute error in training."""
        past, future = track.past(train), track.future(train)
        length = train.cut.window
        # Sorted, so that of two alike the shorter one is taken.
        tried = sorted({length, *(rows for rows in _LENGTHS if rows < length)})
        return min(tried, key=lambda rows: float(np.abs(future - _mean(past, rows)).mean()))

    @staticmethod
    def forecast_one(track: Track, fitted: int, windows: Windows) -> FloatArray:
        """See ``PerTarget.forecast_one``."""
        return _mean(track.past(windows), fitted)


def _mean(past: FloatArray, rows: int) -> FloatArray:
    """Mean of the last rows: (N, T) -> (N, 1)."""
    mean: FloatArray = past[:, -rows:].mean(axis=1, keepdims=True)
    return mean


# A shorter series tells no weight; it is taken as 1, the last value.
_LEAST_ROWS = 30

# Series of a group (its longest) that are smoothed; the group has their median. A stock is one series.
_MOST_SERIES = 20


class ExponentialSmoothing(PerTarget[ByGroup]):
    """Simple exponential smoothing: the newest rows count most, and the level stays.

    Fitted is the weight of the newest row, by group: 1 is the last value, 0 the window's first. It is fitted
    by statsmodels on the training rows of a series, by the squared errors one row ahead; a window is smoothed
    from its own first row on.
    """

    @staticmethod
    def fit_one(track: Track, train: Windows) -> ByGroup:
        """Take the median weight of the longest series of each group."""
        segment = train.panel.segment[train.starts]
        weights = functools.cache(
            lambda number: _weight(track.series(train, _rows(train, segment == number)))
        )

        def median_weight(mask: Mask) -> FloatArray:
            numbers, counts = np.unique(segment[mask], return_counts=True)
            # Of thousands of contracts a few long ones: each fit takes a while, and their median changes
            # little.
            longest = numbers[np.argsort(-counts, kind="stable")[:_MOST_SERIES]]
            return np.array(np.median([weights(int(number)) for number in longest]))

        return ByGroup.fit(train, median_weight)

    @staticmethod
    def forecast_one(track: Track, fitted: ByGroup, windows: Windows) -> FloatArray:
        """See ``PerTarget.forecast_one``."""
        past, smoothing = track.past(windows), fitted.of(windows)
        level = past[:, 0]
        for row in past.T[1:]:
            level = level + smoothing * (row - level)
        return level[:, None]


def _rows(train: Windows, mask: Mask) -> slice:
    """Panel rows from the first window's first to the last one's last, of windows in one run of rows."""
    starts = train.starts[mask]
    return slice(int(starts.min()), int(starts.max()) + train.cut.rows)


def _weight(series: FloatArray) -> float:
    """Fit the weight of the newest row, from the first row on: (R,)."""
    from statsmodels.tsa.holtwinters import SimpleExpSmoothing

    if len(series) < _LEAST_ROWS or np.ptp(series) == 0:
        return 1.0
    with warnings.catch_warnings():
        # At a border, as for a random walk, the optimiser says that it did not converge.
        warnings.simplefilter("ignore")
        # The first row is the level to begin with, as it is of a window: else statsmodels would fit one that
        # no window has.
        model = SimpleExpSmoothing(series, initialization_method="known", initial_level=series[0])
        return float(model.fit().params["smoothing_level"])


_MOST_LAGS = 10


class Autoregression(PerTarget[ByGroup]):
    """AR(p) of what comes back to a mean: ARIMA(p, 1, 0) of prices and quotes, AR(p) of all else.

    Fitted once, by least squares (statsmodels) on the first row that follows each training window; a window
    is forecast from its own rows with these coefficients, step by step. The order is that of the least BIC.
    Fitted are, by group, the constant, then the coefficients of the values 1, 2, ... rows before, 0 beyond
    the order.
    """

    @staticmethod
    def fit_one(track: Track, train: Windows) -> ByGroup:
        """Fit the coefficients of each group."""
        past, last = _values(track, train)
        actual = track.future(train)[:, 0] - last
        lags = past[:, : -_MOST_LAGS - 1 : -1]
        return ByGroup.fit(train, lambda mask: _least_squares(lags[mask], actual[mask]))

    @staticmethod
    def forecast_one(track: Track, fitted: ByGroup, windows: Windows) -> FloatArray:
        """See ``PerTarget.forecast_one``; goes on from each window's own rows."""
        (past, last), coefficients = _values(track, windows), fitted.of(windows)
        constant, weights = coefficients[:, 0], coefficients[:, 1:]
        newest = past[:, ::-1][:, : weights.shape[1]]
        steps = []
        for _ in range(windows.cut.horizon):
            value = constant + np.einsum("np,np->n", weights, newest)
            steps.append(value)
            newest = np.column_stack([value, newest])[:, : weights.shape[1]]
        ahead = np.stack(steps, axis=1)
        return last[:, None] + np.cumsum(ahead, axis=1) if track.differenced else ahead


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
    # Zeros beyond the order make one shape of all groups.
    coefficients[: len(best.params)] = best.params
    return coefficients
