"""The last value, and its error in training: the scale of MASE."""

from __future__ import annotations

import numpy as np

from qhq.data.panel import FloatArray
from qhq.data.schema import unit_of
from qhq.data.windows import Windows
from qhq.errors import DataError


def last_value(windows: Windows) -> FloatArray:
    """Forecast that nothing moves: the last known value at every horizon, shape (N, H, K).

    For a return that is a price that stays, so 0, not the return of the day before.
    """
    is_return = np.array([unit_of(name) == "return" for name in windows.cut.targets])
    stays = np.where(is_return, 0.0, windows.last)
    return np.repeat(stays[:, None], windows.cut.horizon, axis=1)


def in_sample_naive_mae(train: Windows) -> dict[str, float]:
    """Mean absolute error of the last value in training, one step ahead, of each group (underlying).

    In the unit of the targets, over all of them. The scale of MASE (Hyndman and Koehler, "Another look at
    measures of forecast accuracy", 2006).

    Raises:
        DataError: If the targets of a group never move.
    """
    change = np.abs(train.targets[:, 0] - last_value(train)[:, 0]).mean(axis=1)
    names = list(dict.fromkeys(train.panel.group_names))
    group = np.array([names.index(name) for name in train.panel.group_names], dtype=np.intp)[train.code]
    count, total = (np.bincount(group, weights, len(names)) for weights in (None, change))
    scale = {name: float(total[row] / count[row]) for row, name in enumerate(names) if count[row]}
    for name, mean in scale.items():
        if mean == 0:
            raise DataError(
                "A target must move in the training part",
                got=f"one value in all windows of {name}",
                fix=f"Drop {name} or lengthen the training part",
            )
    return scale


def symbol_scale(windows: Windows, scale: dict[str, float]) -> FloatArray:
    """Look up each window's MASE scale by its group, NaN for one that was never trained on, shape (N,)."""
    known = [scale.get(name, np.nan) for name in windows.panel.group_names]
    return np.array(known, dtype=np.float64)[windows.code]
