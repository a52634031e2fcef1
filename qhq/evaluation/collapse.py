"""Finding the collapse: a model that gives one value, whatever it is shown.

Spread is a standard deviation over windows. A target has collapsed where the spread of its forecasts is
below 5 % of the spread of the target, in one of three measures:

- over all windows, in the unit of the file: how far the forecasts lie from the one value that is their mean;
- over all windows, scaled, where the scaling is one of levels: one scaled value for everything, which the
  way back spreads over the symbols again;
- within a series of 20 windows or more, the median of all such series: one value for each contract.

The first two are taken symbol by symbol (of options, underlying by underlying), against the spread of that
symbol's own targets, and the median counts: pooled, a symbol at 500,000 would decide for all. Only where no
symbol has 20 windows are all put together.

A forecast that equals the last value is never called one, though of a return it is a constant, 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from qhq.data.columns import unit_of
from qhq.data.panel import FloatArray, IntArray
from qhq.data.windows import Windows
from qhq.evaluation.baselines.persistence import last_value

_Measure = Literal["windows", "scaled", "series"]

_LEAST_RATIO = 0.05
# Fewer windows than this do not tell a constant from a quiet month.
_LEAST_WINDOWS = 20

# A forecast this near to the last value, as a share of the last value's mean error, is the last value.
_NAIVE_SHARE = 0.01

_PLACES: dict[_Measure, str] = {
    "windows": "over {count} windows",
    "scaled": "over {count} windows, before scaling back",
    "series": "within a series (median of {count})",
}
_CURES: dict[_Measure, str] = {
    "windows": "Look at the loss in the history, train longer or with another learning rate, or choose a"
    " data.scaling that is relative to the window (window, residual)",
    "scaled": "One scaled value answers for all: choose a data.scaling that keeps the differences within a"
    " series (window, over_strike, residual), or another learning rate",
    "series": "Each series gets one value of its own, as when each is scaled by its own range: choose a"
    " data.scaling that is relative to the window or the strike (window, over_strike, residual)",
}


@dataclass(frozen=True)
class Collapse:
    """A forecast that hardly moves.

    Attributes:
        target: Name of the target.
        measure: Where it was seen: over all ``windows``, over all ``scaled``, or within each ``series``.
        ratio: Spread of the forecasts over that of the target.
        count: Windows, or series, that were looked at.
    """

    target: str
    measure: _Measure
    ratio: float
    count: int

    @property
    def message(self) -> str:
        """What was seen and what to do, for people."""
        place = _PLACES[self.measure].format(count=self.count)
        seen = (
            f"Constant forecast of {self.target}: the forecasts' standard deviation is "
            f"{100 * self.ratio:.2g} % of the targets' {place}."
        )
        if unit_of(self.target) == "return":
            return f"{seen} Of returns little more may be known: judge by the skill."
        return f"{seen} {_CURES[self.measure]}."

    def to_dict(self) -> dict[str, object]:
        """All of it and the message, as plain JSON."""
        return {**asdict(self), "message": self.message}


def find_collapse(
    windows: Windows,
    forecast: FloatArray,
    scaled_forecast: FloatArray | None = None,
    scaled_targets: FloatArray | None = None,
    *,
    level: bool = False,
) -> Collapse | None:
    """Look for a collapse; the first one found, or None.

    Args:
        windows: At least 20, or nothing can be said.
        forecast: Shape (N, H, K), in the unit of the file.
        scaled_forecast: The model's own outputs, shape (N, H, K).
        scaled_targets: What they should have been, shape (N, H, K).
        level: Whether the scaling is one of levels; one of changes since the last value makes a constant
            output a forecast that moves.
    """
    if len(windows) < _LEAST_WINDOWS:
        return None
    pairs: dict[_Measure, tuple[FloatArray, FloatArray]] = {"windows": (forecast, windows.targets)}
    if level and scaled_forecast is not None and scaled_targets is not None:
        pairs["scaled"] = (scaled_forecast, scaled_targets)
    group = np.unique(windows.group, return_inverse=True)[1]
    # Hundreds of symbols with a handful of windows each: only together do they say anything.
    if np.bincount(group).max() < _LEAST_WINDOWS:
        group = np.zeros(len(windows), dtype=np.intp)
    # The last value of a return is 0 everywhere: a constant, and the best that most models find.
    moving = _moving_targets(windows, forecast)
    found = [
        *(each for measure, pair in pairs.items() for each in _find(windows, measure, pair, group)),
        *_find(windows, "series", pairs["windows"], windows.code),
    ]
    return next((each for each in found if each.target in moving), None)


def _find(
    windows: Windows, measure: _Measure, pair: tuple[FloatArray, FloatArray], series: IntArray
) -> Iterator[Collapse]:
    """Collapses of each target in one measure, the windows taken series by series."""
    for place, target in enumerate(windows.cut.targets):
        forecast, actual = pair[0][:, :, place], pair[1][:, :, place]
        # One value for everything has its centre in common; one for each series has one of its own.
        # Taken from the first window on, so that the mean of one value is that value to the last digit.
        centre = None if measure == "series" else forecast[0] + (forecast - forecast[0]).mean(axis=0)
        ratios = _ratios(forecast, actual, series, centre)
        ratio = float(np.median(ratios)) if len(ratios) else np.inf
        if ratio < _LEAST_RATIO:
            yield Collapse(target, measure, ratio, len(windows) if measure != "series" else len(ratios))


def _moving_targets(windows: Windows, forecast: FloatArray) -> set[str]:
    """Targets whose forecast is not the last value, for half of the symbols at least."""
    naive = last_value(windows)
    group = np.unique(windows.group, return_inverse=True)[1]
    apart, error = (
        np.stack([np.bincount(group, each) for each in np.abs(values - naive).mean(axis=1).T])
        for values in (forecast, windows.targets)
    )
    moving = (apart > _NAIVE_SHARE * error).mean(axis=1)
    return {name for place, name in enumerate(windows.cut.targets) if moving[place] >= 0.5}


def _ratios(
    forecast: FloatArray, actual: FloatArray, series: IntArray, centre: FloatArray | None
) -> FloatArray:
    """Spread of forecasts (N, H) over that of what came, of each series long enough that moves.

    The forecasts' spread is about ``centre`` (H,), or about each series' own mean.
    """
    _, index, counts = np.unique(series, return_inverse=True, return_counts=True)
    spread = _spread(actual, index, counts)
    # A series of one value has a spread of rounding errors only.
    largest = np.zeros(len(counts))
    np.maximum.at(largest, index, np.abs(actual).max(axis=1))
    usable = (counts >= _LEAST_WINDOWS) & (spread > 1e-12 * largest)
    ratios: FloatArray = _spread(forecast, index, counts, centre)[usable] / spread[usable]
    return ratios


def _spread(
    values: FloatArray, index: IntArray, counts: IntArray, centre: FloatArray | None = None
) -> FloatArray:
    """Root of the variance over windows, mean of all horizons: (N, H), S series -> (S,).

    About a centre (H,) that all have in common, or each series about its own mean.
    """
    horizon = values.shape[1]
    cells = (index[:, None] * horizon + np.arange(horizon)).ravel()
    size = len(counts) * horizon
    count = np.repeat(counts, horizon)
    own = np.bincount(cells, values.ravel(), size) / count
    mean = own if centre is None else np.tile(centre, len(counts))
    # In two passes: the mean of squares less the square of the mean would lose all digits of a price that
    # hardly moves.
    variance = np.bincount(cells, (values.ravel() - mean[cells]) ** 2, size) / count
    spread: FloatArray = np.sqrt(variance.reshape(-1, horizon).mean(axis=1))
    return spread
