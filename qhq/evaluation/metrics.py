"""Errors of a forecast: absolute, in percent, and against the last value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qhq.data.panel import FloatArray
from qhq.errors import DataError


@dataclass(frozen=True)
class Metrics:
    """Errors over all windows, horizons and targets; None where a measure is not defined.

    Attributes:
        mae: Mean absolute error, in the unit of the targets.
        rmse: Root mean square error, in the unit of the targets.
        mape: Mean absolute error over the actual value, in percent; None where one is zero, and for returns
            and logarithms, whose zero means nothing.
        mase: Mean of the absolute error over the symbol's in-sample naive MAE; below 1 beats it; None where
            a symbol was never trained on.
        skill: 1 - MAE / MAE of the last value; 0 is no better than the last value; None where that never
            errs.
    """

    mae: float
    rmse: float
    mape: float | None
    mase: float | None
    skill: float | None


def score(
    actual: FloatArray,
    forecast: FloatArray,
    naive: FloatArray,
    symbol_scale: npt.ArrayLike,
    *,
    percent: bool = True,
) -> Metrics:
    """Measure a forecast beside the last value.

    Args:
        actual: What came, shape (N, H, K), in the unit of the targets.
        forecast: What was forecast, shape (N, H, K).
        naive: The last value, shape (N, H, K).
        symbol_scale: In-sample naive MAE of each window's symbol, NaN where there is none, shape (N,).
        percent: Whether an error in percent means anything.

    Raises:
        DataError: If shapes differ, a forecast is not finite, or a scale is zero.

    >>> actual, naive = np.array([[[10.0]], [[20.0]]]), np.array([[[9.0]], [[22.0]]])
    >>> score(actual, naive, naive, np.array([1.0, 2.0]))
    Metrics(mae=1.5, rmse=1.5811388300841898, mape=10.0, mase=1.0, skill=0.0)
    """
    scale = np.asarray(symbol_scale, dtype=np.float64)
    _check(actual, forecast, naive, scale)
    error = np.abs(forecast - actual)
    mae, naive_mae = float(error.mean()), float(np.abs(naive - actual).mean())
    return Metrics(
        mae=mae,
        rmse=float(np.sqrt(np.mean(error**2))),
        mape=_mean_ratio(100 * error, np.abs(actual)) if percent else None,
        mase=_mean_ratio(error, scale[:, None, None]),
        skill=1 - mae / naive_mae if naive_mae > 0 else None,
    )


def score_by_symbol(
    symbol: npt.NDArray[np.str_],
    actual: FloatArray,
    forecast: FloatArray,
    naive: FloatArray,
    symbol_scale: npt.ArrayLike,
    *,
    percent: bool = True,
) -> dict[str, Metrics]:
    """Measure each symbol alone; ``symbol`` names each window's, shape (N,), the rest as in ``score``."""
    scale = np.asarray(symbol_scale, dtype=np.float64)
    names, first = np.unique(symbol, return_index=True)
    masks = {str(name): symbol == name for name in names[np.argsort(first)]}
    return {
        name: score(actual[mask], forecast[mask], naive[mask], scale[mask], percent=percent)
        for name, mask in masks.items()
    }


def _mean_ratio(error: FloatArray, unit: FloatArray) -> float | None:
    """Mean of error over unit; None where a unit is zero, unknown, or too small to divide by."""
    if not np.all(unit > 0):
        return None
    with np.errstate(over="ignore"):
        mean = float(np.mean(error / unit))
    return mean if np.isfinite(mean) else None


def _check(actual: FloatArray, forecast: FloatArray, naive: FloatArray, scale: FloatArray) -> None:
    shapes = (actual.shape, forecast.shape, naive.shape, scale.shape)
    if actual.ndim != 3 or not len(actual) or set(shapes[:3]) != {shapes[0]} or shapes[3] != shapes[0][:1]:
        raise DataError(
            "actual, forecast and naive must have one shape (N, H, K), N > 0, and the scale (N,)",
            got=", ".join(map(str, shapes)),
            fix="Select the same windows for all of them",
        )
    if not np.isfinite(forecast).all():
        raise DataError(
            "A forecast must be finite",
            got=f"{np.count_nonzero(~np.isfinite(forecast))} of {forecast.size} values that are not",
            fix="Look at the loss in the history; a smaller learning rate may help",
        )
    if np.any(scale <= 0):
        raise DataError(
            "MASE needs targets that move in training",
            got="targets that never move",
            fix="Choose another target, or drop the symbols that do not move",
        )
