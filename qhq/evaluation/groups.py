"""Metrics of windows: of all, by underlying, and of the underlyings never trained on."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from qhq.data.panel import FloatArray
from qhq.data.schema import unit_of
from qhq.data.windows import Windows
from qhq.evaluation.metrics import Metrics, score, score_by_symbol


def has_percent(targets: Collection[str]) -> bool:
    """Whether an error in percent of these columns means anything: not of returns, nor of logarithms."""
    return not {"return", "log"} & {unit_of(name) for name in targets}


def score_windows(windows: Windows, forecast: FloatArray, naive: FloatArray, scale: FloatArray) -> Metrics:
    """Measure a forecast (N, H, K) of windows beside the last value; arguments as in ``score``.

    The skill is the mean over groups (symbols, or underlyings of options) and targets.
    """
    percent = has_percent(windows.cut.targets)
    return score(windows.targets, forecast, naive, scale, group=windows.group, percent=percent)


def score_by_group(
    windows: Windows, forecast: FloatArray, naive: FloatArray, scale: FloatArray
) -> dict[str, Metrics]:
    """Measure each group (underlying) alone; a stock is its own."""
    percent = has_percent(windows.cut.targets)
    return score_by_symbol(windows.group, windows.targets, forecast, naive, scale, percent=percent)


def score_held_out(
    windows: Windows,
    forecast: FloatArray,
    naive: FloatArray,
    scale: FloatArray,
    held_out: Collection[str],
) -> dict[str, Metrics | None]:
    """Measure the groups trained on (``seen``) and the others (``held_out``) apart; None without windows."""
    unseen = np.isin(windows.group, list(held_out))
    return {
        name: score_windows(windows.select(rows), forecast[rows], naive[rows], scale[rows])
        if rows.any()
        else None
        for name, rows in (("seen", ~unseen), ("held_out", unseen))
    }
