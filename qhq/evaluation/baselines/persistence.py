"""What forecasts that something stays: the last value, or of an option its implied volatility.

The error of the last value in training is the scale of MASE.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from qhq.data.columns import OPTION_PRICES, unit_of
from qhq.data.panel import FloatArray
from qhq.data.scaling.option import black_scholes_reference
from qhq.data.windows import Cut, Windows
from qhq.errors import DataError


def last_value(windows: Windows) -> FloatArray:
    """Forecast that nothing moves: the last known value at every horizon, shape (N, H, K).

    For a return that is a price that stays, so 0, not the return of the day before.
    """
    is_return = np.array([unit_of(name) == "return" for name in windows.cut.targets])
    stays = np.where(is_return, 0.0, windows.last)
    return np.repeat(stays[:, None], windows.cut.horizon, axis=1)


def in_sample_naive_mae(train: Windows) -> dict[str, FloatArray]:
    """Mean absolute error of the last value in training, one step ahead, of each group and target, (K,).

    In the unit of each target: a price and a volume have nothing in common. NaN of a target that never moves
    beside others that do. The scale of MASE (Hyndman and Koehler, "Another look at measures of forecast
    accuracy", 2006).

    Raises:
        DataError: If no target of a group ever moves.
    """
    change = np.abs(train.targets[:, 0] - last_value(train)[:, 0])
    names = list(dict.fromkeys(train.panel.group_names))
    group = np.array([names.index(name) for name in train.panel.group_names], dtype=np.intp)[train.code]
    count = np.bincount(group, minlength=len(names))
    total = np.stack([np.bincount(group, each, len(names)) for each in change.T], axis=1)
    scale = {name: total[row] / count[row] for row, name in enumerate(names) if count[row]}
    for name, mean in scale.items():
        if not mean.any():
            raise DataError(
                "A target must move in the training split",
                got=f"one value in all windows of {name}",
                fix=f"Drop {name} or lengthen the training split",
            )
    return {name: np.where(mean > 0, mean, np.nan) for name, mean in scale.items()}


def symbol_scale(windows: Windows, scale: Mapping[str, npt.ArrayLike]) -> FloatArray:
    """Look up each window's MASE scale by its group, NaN for one that was never trained on, shape (N, K)."""
    targets = len(windows.cut.targets)
    known = [np.broadcast_to(scale.get(name, np.nan), targets) for name in windows.panel.group_names]
    rows: FloatArray = np.array(known, dtype=np.float64)[windows.code]
    return rows


# Quotes that follow from a volatility.
_PRICED = frozenset({*OPTION_PRICES, "iv"})


def suits_black_scholes(windows: Windows) -> bool:
    """Whether the windows are of options, know implied volatilities, and it says more than the last value."""
    panel = windows.panel
    return bool(panel.groups) and "iv" in panel.columns and is_priced(windows.cut)


def is_priced(cut: Cut) -> bool:
    """Whether today's quotes are asked for, and follow from a volatility and today's spot.

    Without today's spot (task ``forecast``), or where the volatility itself is the target, a volatility that
    stays is a quote that stays: the last value once more, which is not counted twice.
    """
    targets = set(cut.targets)
    return cut.task == "price" and targets <= _PRICED and not targets.isdisjoint(OPTION_PRICES)


def black_scholes(windows: Windows) -> FloatArray:
    """Forecast that the contract's volatility stays, shape (N, H, K), in the unit of the targets.

    A window whose last input row has no implied volatility gets the last value instead.
    """
    reference = black_scholes_reference(windows)
    return np.where(np.isfinite(reference), reference, last_value(windows))
