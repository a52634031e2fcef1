"""Prediction intervals that follow a drift: adaptive conformal inference.

Split conformal has one radius for good. Where errors grow after the validation split it holds too little, and
where they shrink too much. Here the level that the radius is taken at moves with what was held (Gibbs and
Candes, "Adaptive conformal inference under distribution shift", NeurIPS 2021): after each date t,

    alpha_(t+1) = alpha_t + rate * (alpha - err_t),        err_t the share of the date's values outside

and the next radius is the 1 - alpha_t quantile of the latest errors, as many as the validation split has.
Over T dates the mean of err_t then differs from alpha by no more than about 1 / (rate * T), unless errors
grow so fast that even the largest of those known is too small.

Each symbol (of options, underlying), horizon and target is followed on its own. An interval is made with what
was known at its last input row: values whose date is not after that row's.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from qhq.data.panel import DateArray, FloatArray
from qhq.data.windows import Windows
from qhq.evaluation.conformal import Conformal, error_unit

RATE = 0.02
"""Step of the level after one date; its memory is about 1 / RATE dates."""


@dataclass(frozen=True, eq=False)
class Adaptive:
    """Intervals that were made one date after the other.

    Attributes:
        ends: Lower and upper ends, each (N, H, K), in the unit of the targets.
        rate: Step of the level after one date.
        alpha: Probability of a miss that the last radius was taken at, of each symbol, (H, K). Below what
            was asked for, errors grew; above it, they shrank.
    """

    ends: tuple[FloatArray, FloatArray]
    rate: float
    alpha: dict[str, FloatArray]

    def to_dict(self) -> dict[str, Any]:
        """Rate and last levels as plain JSON."""
        return {"rate": self.rate, "alpha": {name: each.tolist() for name, each in self.alpha.items()}}


def follow_conformal(
    conformal: Conformal,
    validation: tuple[Windows, FloatArray],
    test: tuple[Windows, FloatArray],
    rate: float = RATE,
) -> Adaptive:
    """Make intervals of the test split, each with what was known before it.

    Args:
        conformal: Fitted on the validation split: level, and the unit of errors.
        validation: Its windows and their forecasts, (N, H, K); where it starts from.
        test: Windows and forecasts that intervals are made for.
        rate: Step of the level after one date.
    """
    windows, forecast = test
    errors, known = (_errors(conformal, *each) for each in (test, validation))
    radius, last = np.empty_like(errors), {}
    origins = windows.input_dates[:, -1]
    for name in dict.fromkeys(windows.group.tolist()):
        own, before = np.flatnonzero(windows.group == name), validation[0].group == name
        # A symbol that the validation split lacks, such as one held out, starts from the errors of all.
        start = known[before] if before.sum() >= _least(conformal.level) else known
        alpha = np.empty(errors.shape[1:])
        for step, target in np.ndindex(*alpha.shape):
            radius[own, step, target], alpha[step, target] = _follow(
                start[:, step, target],
                errors[own, step, target],
                origins[own],
                windows.dates[own, step],
                (1 - conformal.level, rate),
            )
        last[name] = alpha
    half = radius * error_unit(conformal.unit, windows, conformal.floor)[:, None]
    return Adaptive((forecast - half, forecast + half), rate, last)


def _errors(conformal: Conformal, windows: Windows, forecast: FloatArray) -> FloatArray:
    """Absolute errors over their unit, shape (N, H, K)."""
    unit = error_unit(conformal.unit, windows, conformal.floor)
    return np.asarray(np.abs(windows.targets - forecast) / unit[:, None])


def _least(level: float) -> int:
    """Errors from which a radius at a level can be taken."""
    return ceil(level / (1 - level) - 1e-9)


def _follow(
    start: FloatArray, errors: FloatArray, origins: DateArray, dates: DateArray, aim: tuple[float, float]
) -> tuple[FloatArray, float]:
    """Follow one series: the radius of each window, shape (n,), and the last alpha.

    Args:
        start: Errors of the validation split, oldest first, shape (m,).
        errors: Of each window, shape (n,); read only once the window's date has come.
        origins: Date of each window's last input row, shape (n,).
        dates: Date of what is forecast, shape (n,).
        aim: Probability of a miss that was asked for, and the step of the level.
    """
    (aimed, rate), alpha, memory = aim, aim[0], len(start)
    came = np.argsort(dates, kind="stable")
    history = np.concatenate([start, errors[came]])
    days, first = np.unique(dates[came], return_index=True)
    ends = np.append(first[1:], len(came))
    radius, done = np.empty(len(errors)), 0
    for origin in np.unique(origins):
        while done < len(days) and days[done] <= origin:
            rows = came[first[done] : ends[done]]
            alpha += rate * (aimed - float(np.mean(errors[rows] > radius[rows])))
            done += 1
        until = memory + (ends[done - 1] if done else 0)
        radius[origins == origin] = _radius(history[until - memory : until], alpha)
    return radius, alpha


def _radius(errors: FloatArray, alpha: float) -> float:
    """The error of the rank that 1 - alpha asks for; beyond the largest there is none, and it stands in."""
    rank = min(max(ceil((len(errors) + 1) * (1 - alpha) - 1e-9), 1), len(errors))
    return float(np.partition(errors, rank - 1)[rank - 1])
