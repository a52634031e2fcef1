"""Prediction intervals: split conformal and its adaptive form, and how often the test split keeps them.

With n windows of validation, the radius at level 1 - a is the ceil((n + 1)(1 - a))-th smallest of their
absolute errors (Lei et al., "Distribution-free predictive inference for regression", 2018). If the test
windows were exchangeable with them, an interval would hold what comes with a probability of 1 - a or more.
Market data are not: volatility changes, and the validation split stopped the training. So the coverage that
is measured always stands beside the one that was asked for, with an interval over dates, by date and by
regime.

Split conformal has one radius for good. Where errors grow after the validation split it holds too little, and
where they shrink too much. Adaptive conformal inference moves the level that the radius is taken at with what
was held (Gibbs and Candes, "Adaptive conformal inference under distribution shift", NeurIPS 2021): after each
date t,

    alpha_(t+1) = alpha_t + rate * (alpha - err_t),        err_t the share of the date's values outside

and the next radius is the 1 - alpha_t quantile of the latest errors, as many as the validation split has.
Over T dates the mean of err_t then differs from alpha by no more than about 1 / (rate * T), unless errors
grow so fast that even the largest of those known is too small. Each symbol (of options, underlying), horizon
and target is followed on its own, and an interval is made with what was known at its last input row: values
whose date is not after that row's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal, Self, TypedDict

import numpy as np

from qhq.data.panel import DateArray, FloatArray, IntArray, Mask
from qhq.data.windows import Windows
from qhq.errors import ConfigError, DataError
from qhq.evaluation.baselines.univariate import ByGroup, Track, tracks
from qhq.evaluation.bootstrap import Share, hits_by_date, share_over_dates

REGIMES = ("calm", "usual", "turbulent")


def _movement(track: Track, windows: Windows) -> FloatArray:
    """Root mean square of the changes along the input rows, on the track, shape (N,).

    A price at or below zero, as of oil in April 2020, has no logarithm: such a move is beyond any border.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        past = track.past(windows)
    past = np.where(np.isfinite(past).all(axis=1, keepdims=True), past, np.nan)
    # A return is a change already.
    changes = past if track.is_return or past.shape[1] == 1 else np.diff(past, axis=1)
    moved: FloatArray = np.sqrt(np.mean(changes**2, axis=1))
    return np.where(np.isnan(moved), np.inf, moved)


def _realised_volatility(windows: Windows) -> FloatArray:
    """How much each window's input rows moved, per row, shape (N,)."""
    spot = Track("spot", "log", differenced=True)
    return _movement(spot if "spot" in windows.panel.columns else tracks(windows)[0], windows)


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
        volatility = _realised_volatility(train)

        def terciles(rows: Mask) -> FloatArray:
            known = volatility[rows][np.isfinite(volatility[rows])]
            # Nothing is above infinity: a group of which no volatility is known is in the lowest regime
            # throughout.
            return np.quantile(known, [1 / 3, 2 / 3]) if len(known) else np.full(2, np.inf)

        return cls(ByGroup.fit(train, terciles))

    def of(self, windows: Windows) -> IntArray:
        """Place in ``REGIMES`` of each window, shape (N,)."""
        borders = self.borders.of(windows)
        places: IntArray = (_realised_volatility(windows)[:, None] > borders).sum(axis=1)
        return places


_Unit = Literal["none", "series", "window"]

COVERAGE = 0.9

# A window's unit is taken as at least this fraction of the median one in validation.
_FLOOR_FRACTION = 0.1


class ConformalRecord(TypedDict):
    """`Conformal` as plain JSON: ``radius`` is (H, K), ``floor`` (K,)."""

    level: float
    unit: _Unit
    count: int
    radius: list[list[float]]
    floor: list[float]


@dataclass(frozen=True, eq=False)
class Conformal:
    """Radius of the intervals of each horizon and target.

    Attributes:
        level: Probability that was asked for.
        radius: Half the width, over the unit, shape (H, K).
        unit: What errors are taken over.
        floor: Least movement of a window, on the track of each target, shape (K,).
        count: Windows that it was measured on.
    """

    level: float
    radius: FloatArray
    unit: _Unit
    floor: FloatArray
    count: int

    def interval(self, windows: Windows, forecast: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Lower and upper ends about a forecast, each (N, H, K), in the unit of the targets."""
        half = self.radius * _error_unit(self.unit, windows, self.floor)[:, None]
        return forecast - half, forecast + half

    def to_dict(self) -> ConformalRecord:
        """All of it as plain JSON."""
        return {
            "level": self.level,
            "unit": self.unit,
            "count": self.count,
            "radius": self.radius.tolist(),
            "floor": self.floor.tolist(),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote.

        Raises:
            DataError: If it is not that.
        """
        try:
            radius, floor = (np.array(content[key], dtype=np.float64) for key in ("radius", "floor"))
            level, count, unit = float(content["level"]), int(content["count"]), content["unit"]
            if unit not in ("none", "series", "window") or radius.ndim != 2 or floor.ndim != 1:
                raise ValueError(f"unit {unit!r}, radius {radius.shape}, floor {floor.shape}")
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                "The intervals of a run must be written down whole",
                got=f"{type(error).__name__}: {error}",
                fix="Give all rows of the run's data, from which they are measured anew",
            ) from error
        return cls(level, radius, unit, floor, count)


@dataclass(frozen=True)
class ByDate:
    """Coverage of single dates, each the share of its own windows and targets.

    Attributes:
        lowest: Of the worst date.
        quantiles: At 5, 25, 50, 75 and 95 % of the dates.
        highest: Of the best date.
    """

    lowest: float
    quantiles: tuple[float, ...]
    highest: float


@dataclass(frozen=True)
class Coverage:
    """How often intervals held what came, at one horizon.

    Attributes:
        horizon: Rows ahead, from 1.
        level: Probability that was asked for.
        held: Share of values inside, with its interval over dates.
        width: Mean width, in the unit of the targets.
        by_date: The same date by date.
        by_regime: The same by regime (see `regimes`), without intervals; one without windows is left out,
            and all where the regimes are not known.
    """

    horizon: int
    level: float
    held: Share
    width: float
    by_date: ByDate
    by_regime: dict[str, Share]


_DATE_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def fit_conformal(
    validation: Windows, forecast: FloatArray, level: float = COVERAGE, unit: _Unit | None = None
) -> Conformal:
    """Measure the radius on forecasts (N, H, K) of the validation windows.

    Args:
        validation: Windows on which the forecast was not fitted.
        forecast: Shape (N, H, K), in the unit of the targets.
        level: Probability that an interval holds what comes.
        unit: What errors are taken over: nothing (``none``: all windows have one width), the ``series``'s own
            size (a stock's last price, an option's strike, else nothing), or that and how much the ``window``
            moved, so that quiet times have narrow intervals. None is ``window``, and ``series`` for task
            ``price``, where today's spot is known and the window's movement says little.

    Raises:
        ConfigError: If the level is not between 0 and 1.
        DataError: If there are too few windows for the level.
    """
    chosen = unit or ("series" if validation.cut.task == "price" else "window")
    usual = np.array([np.median(_movement(track, validation)) for track in tracks(validation)])
    # A target whose usual movement is none has no floor of its own, and nothing may be divided by 0.
    floor = np.where(usual > 0, _FLOOR_FRACTION * usual, 1.0)
    error = np.abs(validation.targets - forecast) / _error_unit(chosen, validation, floor)[:, None]
    return Conformal(level, conformal_radius(error, level), chosen, floor, len(validation))


def conformal_radius(error: FloatArray, level: float) -> FloatArray:
    """Finite-sample quantile of absolute errors: (N, ...) -> (...).

    Raises:
        ConfigError: If the level is not between 0 and 1.
        DataError: If there are too few errors for the level.

    >>> float(conformal_radius(np.arange(1.0, 10.0), 0.8))
    8.0
    """
    if not 0 < level < 1:
        raise ConfigError(
            "The level of an interval must lie between 0 and 1", got=f"{level:g}", fix="Take 0.9"
        )
    # Ten times 0.9 is 9.000000000000002 in floating point for some counts, and must not become 10.
    rank = ceil((len(error) + 1) * level - 1e-9)
    if rank > len(error):
        raise DataError(
            f"Intervals at {100 * level:g} % need {ceil(level / (1 - level) - 1e-9)} validation windows",
            got=f"{len(error)}",
            fix="Lengthen the validation split (data.split), or lower the level",
        )
    return np.asarray(np.partition(error, rank - 1, axis=0)[rank - 1])


def coverage_of(
    ends: tuple[FloatArray, FloatArray],
    windows: Windows,
    level: float,
    actual: FloatArray,
    regimes: Regimes | IntArray | None = None,
) -> tuple[Coverage, ...]:
    """Measure how often intervals with some lower and upper ends, each (N, H, K), held what came.

    Args:
        ends: Of the intervals.
        windows: That were forecast.
        level: Probability that was asked for.
        actual: What came, (N, H, K).
        regimes: To tell the coverage by regime; or the place in ``REGIMES`` of each window, shape (N,), where
            not all have the same borders.
    """
    low, high = ends
    inside = (low <= actual) & (actual <= high)
    regime = regimes.of(windows) if isinstance(regimes, Regimes) else regimes
    return tuple(
        _coverage(windows, step, level, inside[:, step], (high - low)[:, step], regime)
        for step in range(inside.shape[1])
    )


def _coverage(
    windows: Windows, step: int, level: float, inside: Mask, width: FloatArray, regime: IntArray | None
) -> Coverage:
    dates, every = windows.dates[:, step], np.ones_like(inside)
    counts = hits_by_date(inside, every, dates)
    rate = counts[:, 0] / counts[:, 1]
    parts = {} if regime is None else {name: regime == place for place, name in enumerate(REGIMES)}
    return Coverage(
        horizon=step + 1,
        level=level,
        held=share_over_dates(counts, horizon=windows.cut.horizon),
        width=float(width.mean()),
        by_date=ByDate(
            float(rate.min()),
            tuple(np.quantile(rate, _DATE_QUANTILES).tolist()),
            float(rate.max()),
        ),
        by_regime={
            name: share_over_dates(hits_by_date(inside[rows], every[rows], dates[rows]), interval=False)
            for name, rows in parts.items()
            if rows.any()
        },
    )


def _error_unit(unit: _Unit, windows: Windows, floor: FloatArray) -> FloatArray:
    """What the errors of each window and target are taken over, in the unit of the file, shape (N, K)."""
    every = tracks(windows)
    size = np.ones((len(windows), len(every)))
    if unit != "none":
        size *= np.column_stack([track.slope(windows) for track in every])
    if unit == "window":
        # With a floor: a window of a halted stock did not move at all, and would have an interval of no
        # width.
        size *= np.maximum(np.column_stack([_movement(track, windows) for track in every]), floor)
    return size


# Step of the level after one date; its memory is about 1 / _RATE dates.
_RATE = 0.02


class AdaptiveRecord(TypedDict):
    """What `Adaptive` came to, as plain JSON: ``alpha`` of each symbol is (H, K)."""

    rate: float
    alpha: dict[str, list[list[float]]]


@dataclass(frozen=True, eq=False)
class Adaptive:
    """Intervals that were made one date after the other.

    Attributes:
        ends: Lower and upper ends, each (N, H, K), in the unit of the targets.
        rate: Step of the level after one date.
        alpha: Probability of a miss that the last radius was taken at, of each symbol, (H, K). Below what
            was asked for, errors grew; above it, they shrank.
    """

    ends: tuple[FloatArray, FloatArray]
    rate: float
    alpha: dict[str, FloatArray]

    def to_dict(self) -> AdaptiveRecord:
        """Rate and last levels as plain JSON."""
        return {"rate": self.rate, "alpha": {name: each.tolist() for name, each in self.alpha.items()}}


def follow_conformal(
    conformal: Conformal,
    validation: tuple[Windows, FloatArray],
    test: tuple[Windows, FloatArray],
    rate: float = _RATE,
) -> Adaptive:
    """Make intervals of the test split, each with what was known before it.

    Args:
        conformal: Fitted on the validation split: level, and the unit of errors.
        validation: Its windows and their forecasts, (N, H, K); where it starts from.
        test: Windows and forecasts that intervals are made for.
        rate: Step of the level after one date.
    """
    windows, forecast = test
    errors, known = (_errors(conformal, *each) for each in (test, validation))
    radius, last = np.empty_like(errors), {}
    origins = windows.input_dates[:, -1]
    for name in dict.fromkeys(windows.group.tolist()):
        own, before = np.flatnonzero(windows.group == name), validation[0].group == name
        # A symbol that the validation split lacks, such as one held out, starts from the errors of all.
        # Less a hair, against rounding (see `conformal_radius`).
        start = (
            known[before] if before.sum() >= ceil(conformal.level / (1 - conformal.level) - 1e-9) else known
        )
        alpha = np.empty(errors.shape[1:])
        for step, target in np.ndindex(*alpha.shape):
            radius[own, step, target], alpha[step, target] = _follow(
                start[:, step, target],
                errors[own, step, target],
                origins[own],
                windows.dates[own, step],
                (1 - conformal.level, rate),
            )
        last[name] = alpha
    half = radius * _error_unit(conformal.unit, windows, conformal.floor)[:, None]
    return Adaptive((forecast - half, forecast + half), rate, last)


def _errors(conformal: Conformal, windows: Windows, forecast: FloatArray) -> FloatArray:
    """Absolute errors over their unit, shape (N, H, K)."""
    unit = _error_unit(conformal.unit, windows, conformal.floor)
    return np.asarray(np.abs(windows.targets - forecast) / unit[:, None])


def _follow(
    start: FloatArray, errors: FloatArray, origins: DateArray, dates: DateArray, aim: tuple[float, float]
) -> tuple[FloatArray, float]:
    """Follow one series: the radius of each window, shape (n,), and the last alpha.

    Args:
        start: Errors of the validation split, oldest first, shape (m,).
        errors: Of each window, shape (n,); read only once the window's date has come.
        origins: Date of each window's last input row, shape (n,).
        dates: Date of what is forecast, shape (n,).
        aim: Probability of a miss that was asked for, and the step of the level.
    """
    (aimed, rate), alpha, memory = aim, aim[0], len(start)
    # By the date on which a value comes, not by window: five rows ahead a window is judged five rows later.
    came = np.argsort(dates, kind="stable")
    history = np.concatenate([start, errors[came]])
    days, first = np.unique(dates[came], return_index=True)
    ends = np.append(first[1:], len(came))
    radius, done = np.empty(len(errors)), 0
    for origin in np.unique(origins):
        # What had come by the last input row and no more: that row's own close is known, since the inputs
        # hold it.
        while done < len(days) and days[done] <= origin:
            rows = came[first[done] : ends[done]]
            alpha += rate * (aimed - float(np.mean(errors[rows] > radius[rows])))
            done += 1
        until = memory + (ends[done - 1] if done else 0)
        radius[origins == origin] = _radius(history[until - memory : until], alpha)
    return radius, alpha


def _radius(errors: FloatArray, alpha: float) -> float:
    """The error of the rank that 1 - alpha asks for; beyond the largest there is none, and it stands in."""
    # Less a little: 20 * (1 - 0.95) is 1.0000000000000009, whose ceiling is a rank too high.
    rank = min(max(ceil((len(errors) + 1) * (1 - alpha) - 1e-9), 1), len(errors))
    return float(np.partition(errors, rank - 1)[rank - 1])
