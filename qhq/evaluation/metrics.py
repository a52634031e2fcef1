"""Errors of a forecast: absolute, in percent, and against the last value; of all windows and by group.

Two kinds of numbers stand side by side. ``mae`` and ``rmse`` are pooled over all windows, in the unit of the
targets: they tell how large an error is, and one symbol at 500,000 makes up all of them. ``mase`` and
``skill`` have no unit: each symbol and target is measured against its own last value, and then they are
averaged. Whatever is called better, best, or below is judged by these alone; multiplying the prices of one
symbol by a million moves none of them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from qhq.data.columns import unit_of
from qhq.data.panel import FloatArray
from qhq.data.windows import Windows
from qhq.errors import DataError


@dataclass(frozen=True)
class Metrics:
    """Errors over all windows, horizons and targets; None where a measure is not defined.

    Attributes:
        mae: Mean absolute error, in the unit of the targets.
        rmse: Root mean square error, in the unit of the targets.
        mape: Mean absolute error over the actual value, in percent; None where an actual value is not above
            zero, or is close to it beside others of its symbol and target (see ``_LEAST_PERCENT``), and for
            returns and logarithms, whose zero means nothing.
        mase: Mean of the absolute error over the in-sample naive MAE of the symbol and target; below 1 beats
            it; None where a symbol was never trained on.
        skill: 1 - MAE / MAE of the last value, of each symbol and target alone, then their mean; 0 is no
            better than the last value; None where that never errs.
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
    group: npt.NDArray[np.str_] | None = None,
    percent: bool = True,
) -> Metrics:
    """Measure a forecast beside the last value.

    Args:
        actual: What came, shape (N, H, K), in the unit of the targets.
        forecast: What was forecast, shape (N, H, K).
        naive: The last value, shape (N, H, K).
        symbol_scale: In-sample naive MAE of each window's symbol, NaN where there is none, shape (N,) or, of
            each of its targets, (N, K).
        group: Symbol (of options, underlying) of each window, shape (N,); None is one symbol for all.
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
    relative = relative_errors(actual, forecast, naive, group)
    return Metrics(
        mae=float(error.mean()),
        rmse=float(np.sqrt(np.mean(error**2))),
        # None for all where it is undefined for one: a MAPE of the other windows would be of other windows
        # than the MAE.
        mape=None if not percent or near_zero(actual, group) else _mean_ratio(100 * error, actual),
        mase=_mase(error, scale.reshape(len(error), -1)),
        # Of the mean of ratios, not the ratio of means: in the latter the dearest symbol decides alone.
        skill=None if relative.mae is None else 1 - relative.mae,
    )


# A value below this fraction of the median of its symbol and target makes errors in percent its own: one
# cent beside a median of five dollars, missed by a cent, weighs as much as five dollars missed altogether.
_LEAST_PERCENT = 0.05


@dataclass(frozen=True)
class NearZero:
    """The value that forbids errors in percent.

    Attributes:
        symbol: Number of its symbol, in the order in which symbols appear.
        target: Number of its target.
        smallest: It.
        median: Of the absolute values of its symbol and target.
    """

    symbol: int
    target: int
    smallest: float
    median: float


def near_zero(actual: FloatArray, group: npt.NDArray[np.str_] | None = None) -> NearZero | None:
    """Find where errors in percent mean nothing: values not above zero, or close to it; None if nowhere.

    Args:
        actual: What came, shape (N, H, K).
        group: Symbol of each window, shape (N,); None is one symbol for all.

    >>> near_zero(np.array([[[1.0]], [[2.0]]])) is None
    True
    >>> near_zero(np.array([[[1.0]], [[-2.0]]]))
    NearZero(symbol=0, target=0, smallest=-2.0, median=1.5)
    """
    code = np.zeros(len(actual), dtype=np.intp) if group is None else pd.factorize(group)[0]
    # Sorted once and split, not masked symbol by symbol, of which a panel may have thousands.
    order = np.argsort(code, kind="stable")
    parts = np.split(actual[order], np.flatnonzero(np.diff(code[order])) + 1)
    for number, values in enumerate(parts):
        smallest, median = values.min(axis=(0, 1)), np.median(np.abs(values), axis=(0, 1))
        # The first one is enough: it is named in the message as the example.
        for target in np.flatnonzero((smallest <= 0) | (smallest < _LEAST_PERCENT * median))[:1]:
            return NearZero(number, int(target), float(smallest[target]), float(median[target]))
    return None


@dataclass(frozen=True)
class RelativeErrors:
    """Error over that of the last value, of each symbol and target alone, then their mean.

    Attributes:
        mae: Of the mean absolute errors; below 1 is better than the last value. None where that never errs.
        rmse: Of the root mean square errors.
    """

    mae: float | None
    rmse: float | None


# A last value whose error is below this fraction of the symbol's largest value errs by rounding alone.
_STILL = 1e-12


def relative_errors(
    actual: FloatArray, forecast: FloatArray, naive: FloatArray, group: npt.NDArray[np.str_] | None = None
) -> RelativeErrors:
    """Measure a forecast against the last value, symbol by symbol and target by target.

    A symbol and target whose last value never errs is left out: nothing can be said of it in these terms,
    and MASE, whose scale is of the training split, still counts it.

    Args:
        actual: What came, shape (N, H, K).
        forecast: What was forecast, shape (N, H, K).
        naive: The last value, shape (N, H, K).
        group: Symbol of each window, shape (N,); None is one symbol for all.

    >>> actual, naive = np.array([[[1.0]], [[4e5]]]), np.array([[[2.0]], [[5e5]]])
    >>> relative_errors(actual, np.array([[[3.0]], [[4.5e5]]]), naive, np.array(["penny", "dear"]))
    RelativeErrors(mae=1.25, rmse=1.25)
    """
    code = np.zeros(len(actual), dtype=np.intp) if group is None else pd.factorize(group)[0]
    count = np.bincount(code)

    def means(values: FloatArray) -> FloatArray:
        """Mean over the windows and horizons of each of G groups: (N, H, K) -> (G, K)."""
        summed = [np.bincount(code, each, len(count)) for each in values.mean(axis=1).T]
        return np.stack(summed, axis=1) / count[:, None]

    largest = np.zeros((len(count), actual.shape[2]))
    # `largest[code] = ...` would keep the last window of a symbol, not the largest.
    np.maximum.at(largest, code, np.abs(actual).max(axis=1))
    own, rival = np.abs(forecast - actual), np.abs(naive - actual)
    # Beside the values, not beside zero: prices of 1e5 leave rounding errors that are no moves, prices of
    # 1e-8 moves that look like rounding.
    moves = means(rival) > _STILL * largest
    if not moves.any():
        return RelativeErrors(None, None)
    with np.errstate(over="ignore"):
        # Ratios of values near the largest float overflow; what is infinite is no result, and becomes None
        # below.
        mae = float((means(own)[moves] / means(rival)[moves]).mean())
        rmse = float(np.sqrt(means(own**2)[moves] / means(rival**2)[moves]).mean())
    return RelativeErrors(mae if np.isfinite(mae) else None, rmse if np.isfinite(rmse) else None)


def score_by_symbol(
    symbol: npt.NDArray[np.str_],
    actual: FloatArray,
    forecast: FloatArray,
    naive: FloatArray,
    symbol_scale: npt.ArrayLike,
    *,
    percent: bool = True,
) -> dict[str, Metrics]:
    """Measure each symbol alone; ``symbol`` names each window's, shape (N,), the rest as in ``score``.

    The skill of a symbol with several targets is the mean over these.
    """
    scale = np.asarray(symbol_scale, dtype=np.float64)
    # In the order of appearance, which is that of all tables; unique alone would sort them.
    names, first = np.unique(symbol, return_index=True)
    masks = {str(name): symbol == name for name in names[np.argsort(first)]}
    return {
        name: score(actual[mask], forecast[mask], naive[mask], scale[mask], percent=percent)
        for name, mask in masks.items()
    }


def _mase(error: FloatArray, scale: FloatArray) -> float | None:
    """Mean of errors (N, H, K) over scales (N, 1) or (N, K); None where a window has none.

    A target that did not move in training has no scale, and does not count beside those that did.
    """
    known = ~np.isnan(scale)
    # One window without a scale and there is no MASE: the rest would be other windows than those of the MAE.
    if not known.any(axis=1).all():
        return None
    each = error.mean(axis=1)
    with np.errstate(over="ignore"):
        # nanmean: a target without a scale is left out of its window, the other targets of which still
        # count.
        mean = float(np.nanmean(each / scale))
    return mean if np.isfinite(mean) else None


def _mean_ratio(error: FloatArray, unit: FloatArray) -> float | None:
    """Mean of error over unit; None where a unit is zero, unknown, or too small to divide by."""
    if not np.all(unit > 0):
        return None
    with np.errstate(over="ignore"):
        mean = float(np.mean(error / unit))
    return mean if np.isfinite(mean) else None


def _check(actual: FloatArray, forecast: FloatArray, naive: FloatArray, scale: FloatArray) -> None:
    shapes = (actual.shape, forecast.shape, naive.shape, scale.shape)
    same = actual.ndim == 3 and len(actual) and set(shapes[:3]) == {shapes[0]}
    if not same or shapes[3] not in (shapes[0][:1], shapes[0][::2]):
        raise DataError(
            "actual, forecast and naive must have one shape (N, H, K), N > 0, and the scale (N,) or (N, K)",
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
    # By group, not by series: the contracts of one underlying stand and fall together.
    values = [scaled[windows.group == name] for name in names]
    # About the mean of each symbol: a level that never changes is learned by a bias, and says nothing of who
    # decides.
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
