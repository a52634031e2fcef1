"""Scalers: fitted on a training part, and the one way back to prices.

| kind       | a value x of one column becomes                                                          |
|------------|------------------------------------------------------------------------------------------|
| window     | (x - l) / (v l); l the window's last value, v its volatility, not below a fitted floor   |
| minmax     | (x - a) / (b - a); a, b the symbol's lowest and highest value in training                |
| standard   | (x - m) / s; m, s the symbol's mean and standard deviation in training                   |
| log_return | inputs ln(x_t / x_{t-1}) / v, targets ln(x / l) / v; v the symbol's volatility in training |

Volatility is the root mean square of the log returns, per session. A column that does not move in training is
divided by 1. Window scaling after Kim et al., "Reversible instance normalization" (ICLR 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from qhq.data.panel import FloatArray, IntArray, Panel
from qhq.data.scaling.scalers import (
    LogReturnScaler,
    Scaler,
    SymbolScaler,
    WindowScaler,
    window_volatility,
)
from qhq.data.spec import Scaling
from qhq.data.split import Part, TrainingPart
from qhq.errors import DataError

FLOOR_FRACTION = 0.1
"""A window's volatility is taken as at least this part of the median one in training."""


def fit_scaler(kind: Scaling, train: TrainingPart) -> Scaler:
    """Fit a scaler; there is no way to fit one on anything but a training part.

    Raises:
        DataError: If ``train`` is not a training part, or has values that the kind cannot scale.
    """
    if not isinstance(train, TrainingPart):
        raise DataError(
            "A scaler must be fitted on the training part",
            got=f"a {getattr(train, 'kind', type(train).__name__)}",
            fix="Pass split_panel(...).train",
        )
    check_scalable(kind, train)
    return _FITS[kind](train)


def check_scalable(kind: Scaling, part: Part) -> None:
    """Check that a kind can scale the values of a part; nothing is learned from them.

    Raises:
        DataError: If the kind takes logarithms, and a value is not above zero.
    """
    if kind in ("window", "log_return"):
        _check_positive(kind, _features(part))


def _fit_window(train: TrainingPart) -> Scaler:
    panel = _features(train)
    floor = FLOOR_FRACTION * np.median(window_volatility(train.windows.inputs), axis=0)
    return WindowScaler(panel.columns, np.where(floor > 0, floor, 1.0))


def _fit_minmax(train: TrainingPart) -> Scaler:
    panel = _features(train)
    first = _first_rows(panel)
    low = np.minimum.reduceat(panel.values, first, axis=0)
    high = np.maximum.reduceat(panel.values, first, axis=0)
    return SymbolScaler("minmax", panel.columns, panel.symbols, low, _unit(high - low))


def _fit_standard(train: TrainingPart) -> Scaler:
    panel = _features(train)
    mean = _symbol_mean(panel.values, panel.code, len(panel.symbols))
    variance = _symbol_mean((panel.values - mean[panel.code]) ** 2, panel.code, len(panel.symbols))
    # A constant column has a variance of rounding errors only, which must not become its unit.
    unit = _unit(np.where(_is_constant(panel), 0.0, np.sqrt(variance)))
    return SymbolScaler("standard", panel.columns, panel.symbols, mean, unit)


def _fit_log_return(train: TrainingPart) -> Scaler:
    panel = _features(train)
    returns = np.diff(np.log(panel.values), axis=0)
    own = np.diff(panel.code) == 0
    mean_square = _symbol_mean(returns[own] ** 2, panel.code[1:][own], len(panel.symbols))
    return LogReturnScaler(panel.columns, panel.symbols, _unit(np.sqrt(mean_square)))


def _features(part: Part) -> Panel:
    """The rows of a part, of the features only."""
    names = part.windows.cut.features
    panel = part.panel
    return replace(panel, columns=names, values=panel.values[:, panel.positions(names)])


def _first_rows(panel: Panel) -> IntArray:
    return np.searchsorted(panel.code, np.arange(len(panel.symbols)))


def _symbol_mean(values: FloatArray, code: IntArray, count: int) -> FloatArray:
    """Mean of the rows of each symbol: (R, F) -> (S, F)."""
    total = np.zeros((count, values.shape[1]))
    np.add.at(total, code, values)
    return total / np.bincount(code, minlength=count)[:, None]


def _is_constant(panel: Panel) -> npt.NDArray[np.bool_]:
    first = _first_rows(panel)
    low, high = np.minimum.reduceat(panel.values, first), np.maximum.reduceat(panel.values, first)
    return np.asarray(low == high)


def _unit(spread: FloatArray) -> FloatArray:
    return np.where(spread > 0, spread, 1.0)


def _check_positive(kind: Scaling, panel: Panel) -> None:
    broken = panel.values <= 0
    if broken.any():
        row, column = np.argwhere(broken)[0]
        raise DataError(
            f"Scaling '{kind}' needs values above zero",
            got=f"{panel.values[row, column]:g} in '{panel.columns[column]}' "
            f"of {panel.symbols[panel.code[row]]} on {panel.dates[row]}",
            fix="Choose scaling minmax or standard, or drop that feature",
        )


_FITS: dict[Scaling, Callable[[TrainingPart], Scaler]] = {
    "window": _fit_window,
    "minmax": _fit_minmax,
    "standard": _fit_standard,
    "log_return": _fit_log_return,
}
