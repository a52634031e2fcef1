"""Statistics pooled over all series of a training part, so that they carry over to a new one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qhq.data.panel import FloatArray
from qhq.data.windows import Windows

STILL = 1e-9
"""A column whose standard deviation is below this part of its size does not move; the rest is rounding."""

FLOOR_OF_SPREAD = 0.25
"""A robust spread is at least this part of the standard deviation, or a mostly quiet column would blow up."""

_NORMAL = 1.4826
"""Standard deviation over median absolute deviation, of a normal distribution."""


def input_rows(windows: Windows) -> npt.NDArray[np.bool_]:
    """Which rows of the panel are an input of any window, shape (R,)."""
    return _rows(windows, windows.cut.window)


def window_rows(windows: Windows) -> npt.NDArray[np.bool_]:
    """Which rows of the panel are an input or a target of any window, shape (R,)."""
    return _rows(windows, windows.cut.rows)


def _rows(windows: Windows, count: int) -> npt.NDArray[np.bool_]:
    """Which rows are among the first ``count`` of any window, shape (R,)."""
    change = np.zeros(len(windows.panel.code) + 1, dtype=np.intp)
    np.add.at(change, windows.starts, 1)
    np.add.at(change, windows.starts + count, -1)
    return np.cumsum(change)[:-1] > 0


def input_values(windows: Windows, names: tuple[str, ...]) -> FloatArray:
    """Columns of the rows that are an input of any window, each row once, shape (M, len(names))."""
    panel = windows.panel
    values = panel.filled if windows.cut.masked else panel.values
    return values[np.ix_(np.flatnonzero(input_rows(windows)), panel.positions(names))]


def standard_deviation(values: FloatArray) -> FloatArray:
    """Spread of each column of (M, C), NaN left out, 1 for one that does not move, shape (C,)."""
    spread = np.nanstd(values, axis=0)
    return np.where(_moves(values, spread), spread, 1.0)


def robust_spread(values: FloatArray) -> FloatArray:
    """Spread of each column of (M, C) that few far values do not widen, shape (C,).

    1.4826 times the median absolute deviation, at least a quarter of the standard deviation, and 1 for a
    column that does not move. NaN is left out.
    """
    deviation = np.abs(values - np.nanmedian(values, axis=0))
    robust = _NORMAL * np.nanmedian(deviation, axis=0)
    plain = np.nanstd(values, axis=0)
    spread = np.maximum(robust, FLOOR_OF_SPREAD * plain)
    return np.where(_moves(values, plain), spread, 1.0)


def _moves(values: FloatArray, spread: FloatArray) -> npt.NDArray[np.bool_]:
    return np.asarray(spread > STILL * np.nanmax(np.abs(values), axis=0))
