"""Metrics of windows: of all, by underlying, and of the underlyings never trained on."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from qhq.data.columns import unit_of
from qhq.data.panel import FloatArray
from qhq.data.windows import Windows
from qhq.evaluation.metrics import Metrics, near_zero, score, score_by_symbol


def has_percent(targets: Collection[str]) -> bool:
    """Whether an error in percent of these columns means anything: not of returns, nor of logarithms."""
    return not {"return", "log"} & {unit_of(name) for name in targets}


def why_no_percent(windows: Windows) -> str | None:
    """Say why the errors of these windows are not given in percent; None where they are."""
    for name in windows.cut.targets:
        unit = unit_of(name)
        if unit in ("return", "log"):
            kind = "a return" if unit == "return" else "a logarithm"
            return f"No MAPE: {name} is {kind}, whose zero means nothing"
    found = near_zero(windows.targets, windows.group)
    if found is None:
        return None
    symbol, name = (
        list(dict.fromkeys(windows.group.tolist()))[found.symbol],
        windows.cut.targets[found.target],
    )
    if found.smallest <= 0:
        return f"No MAPE: {name} of {symbol} is {found.smallest:.4g} in the test split, and not above zero"
    return (
        f"No MAPE: {name} of {symbol} is as small as {found.smallest:.4g} in the test split beside a median"
        f" of {found.median:.4g}, and errors over such values would be all of it"
    )


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


def largest_share(windows: Windows, scaled: FloatArray) -> tuple[str, float] | None:
    """The symbol or target that makes up most of a training's loss, and its share; None of a single one.

    A scaling that keeps the size of the prices (``raw``, ``panel_minmax``, ``window_mean`` of prices) leaves
    a loss that is that of the dearest symbol, and so are its early stopping and its best epoch.

    Args:
        windows: Of the validation split, N of them.
        scaled: Their targets as the model sees them, shape (N, H, K).
    """
    names = list(dict.fromkeys(windows.group.tolist()))
    values = [scaled[windows.group == name] for name in names]
    moves = np.array([((each - each.mean(axis=(0, 1))) ** 2).sum(axis=(0, 1)) for each in values])  # (G, K)
    sums = {
        **(dict(zip(names, moves.sum(axis=1), strict=True)) if len(names) > 1 else {}),
        **(dict(zip(windows.cut.targets, moves.sum(axis=0), strict=True)) if moves.shape[1] > 1 else {}),
    }
    total = float(moves.sum())
    if not sums or not np.isfinite(total) or total <= 0:
        return None
    name = max(sums, key=lambda each: sums[each])
    return name, float(sums[name]) / total


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
