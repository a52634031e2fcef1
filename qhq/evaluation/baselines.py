"""Forecasts that need no model."""

from __future__ import annotations

import numpy as np

from qhq.data.panel import FloatArray
from qhq.data.windows import Windows
from qhq.errors import DataError


def last_value(windows: Windows) -> FloatArray:
    """Forecast that nothing moves: the last known value at every horizon, shape (N, H, K)."""
    return np.repeat(windows.last[:, None], windows.cut.horizon, axis=1)


def in_sample_naive_mae(train: Windows) -> dict[str, float]:
    """Mean absolute one-step change of each symbol's targets in training, in the unit of the targets.

    The scale of MASE (Hyndman and Koehler, "Another look at measures of forecast accuracy", 2006).

    Raises:
        DataError: If the targets of a symbol never move.
    """
    change = np.abs(train.targets[:, 0] - train.last).mean(axis=1)
    codes, group = np.unique(train.code, return_inverse=True)
    means = np.bincount(group, weights=change) / np.bincount(group)
    scale = {train.panel.symbols[code]: float(mean) for code, mean in zip(codes, means, strict=True)}
    for symbol, mean in scale.items():
        if mean == 0:
            raise DataError(
                "A target must move in the training part",
                got=f"one value in all windows of {symbol}",
                fix=f"Drop {symbol} or lengthen the training part",
            )
    return scale


def symbol_scale(windows: Windows, scale: dict[str, float]) -> FloatArray:
    """Look up each window's MASE scale, shape (N,)."""
    return np.array([scale[symbol] for symbol in windows.panel.symbols])[windows.code]
