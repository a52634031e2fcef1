"""Prediction intervals: split conformal on the validation split, and how often the test split keeps them.

With n windows of validation, the radius at level 1 - a is the ceil((n + 1)(1 - a))-th smallest of their
absolute errors (Lei et al., "Distribution-free predictive inference for regression", 2018). If the test
windows were exchangeable with them, an interval would hold what comes with a probability of 1 - a or more.
Market data are not: volatility changes, and the validation split stopped the training. So the coverage that
is measured always stands beside the one that was asked for, with an interval over dates, by date and by
regime. Intervals that follow a drift are in `adaptive`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import numpy as np

from qhq.data.panel import FloatArray, IntArray, Mask
from qhq.data.windows import Windows
from qhq.errors import ConfigError, DataError
from qhq.evaluation.baselines.track import tracks
from qhq.evaluation.direction import Share, hits_by_date, share
from qhq.evaluation.regimes import REGIMES, Regimes, movement

Unit = Literal["none", "series", "window"]

LEVEL = 0.9

FLOOR_FRACTION = 0.1
"""A window's unit is taken as at least this fraction of the median one in validation."""


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
    unit: Unit
    floor: FloatArray
    count: int

    def interval(self, windows: Windows, forecast: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Lower and upper ends about a forecast, each (N, H, K), in the unit of the targets."""
        half = self.radius * error_unit(self.unit, windows, self.floor)[:, None]
        return forecast - half, forecast + half

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        arrays = {"radius": self.radius.tolist(), "floor": self.floor.tolist()}
        return {"level": self.level, "unit": self.unit, "count": self.count, **arrays}


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


DATE_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def fit_conformal(
    validation: Windows, forecast: FloatArray, level: float = LEVEL, unit: Unit | None = None
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
    floor = _fit_floor(validation)
    error = np.abs(validation.targets - forecast) / error_unit(chosen, validation, floor)[:, None]
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


def measure_coverage(
    conformal: Conformal,
    test: Windows,
    forecast: FloatArray,
    actual: FloatArray | None = None,
    regimes: Regimes | None = None,
) -> tuple[Coverage, ...]:
    """Measure on other windows how often the intervals hold, of each horizon, over all targets.

    Args:
        conformal: Fitted on the validation split.
        test: Windows of the test split.
        forecast: Of those, shape (N, H, K).
        actual: What came, (N, H, K); None is the windows' targets.
        regimes: To tell the coverage by regime.
    """
    came = test.targets if actual is None else actual
    return coverage_of(conformal.interval(test, forecast), test, conformal.level, came, regimes)


def coverage_of(
    ends: tuple[FloatArray, FloatArray],
    windows: Windows,
    level: float,
    actual: FloatArray,
    regimes: Regimes | None = None,
) -> tuple[Coverage, ...]:
    """Measure how often intervals with some lower and upper ends, each (N, H, K), held what came."""
    low, high = ends
    inside = (low <= actual) & (actual <= high)
    regime = None if regimes is None else regimes.of(windows)
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
        held=share(counts, horizon=windows.cut.horizon),
        width=float(width.mean()),
        by_date=ByDate(
            float(rate.min()),
            tuple(np.quantile(rate, DATE_QUANTILES).tolist()),
            float(rate.max()),
        ),
        by_regime={
            name: share(hits_by_date(inside[rows], every[rows], dates[rows]), interval=False)
            for name, rows in parts.items()
            if rows.any()
        },
    )


def _fit_floor(windows: Windows) -> FloatArray:
    floors = np.array([np.median(movement(track, windows)) for track in tracks(windows)])
    return np.where(floors > 0, FLOOR_FRACTION * floors, 1.0)


def error_unit(unit: Unit, windows: Windows, floor: FloatArray) -> FloatArray:
    """What the errors of each window and target are taken over, in the unit of the file, shape (N, K)."""
    every = tracks(windows)
    size = np.ones((len(windows), len(every)))
    if unit != "none":
        size *= np.column_stack([track.slope(windows) for track in every])
    if unit == "window":
        size *= np.maximum(np.column_stack([movement(track, windows) for track in every]), floor)
    return size
