"""Prediction intervals of a run: conformal on the validation split, measured on the test split."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from qhq.data.windows import Windows
from qhq.errors import DataError
from qhq.evaluation.adaptive import follow_conformal
from qhq.evaluation.conformal import coverage_of, fit_conformal
from qhq.evaluation.regimes import Regimes
from qhq.experiment.config import IntervalKind
from qhq.experiment.evaluate import Array, Evaluation
from qhq.experiment.words import say_coverage


@dataclass(frozen=True)
class Intervals:
    """Ends of the intervals about a run's forecasts, each (N, H, K), and what its record says of them."""

    ends: tuple[Array, Array] | None
    record: dict[str, Any]


def prediction_intervals(
    kind: IntervalKind, train: Windows, validation: Evaluation, test: Evaluation
) -> Intervals:
    """Fit intervals on the forecasts of the validation split, and measure them on those of the test split.

    A validation split too short for them is noted in the record; it is no fault of the run.

    Args:
        kind: ``split`` keeps the radius of the validation split, ``adaptive`` lets it follow what was held.
        train: Training windows, whose volatility says what is calm and what turbulent.
        validation: Forecasts that the radius is measured on.
        test: Forecasts that get intervals.
    """
    try:
        conformal = fit_conformal(validation.windows, validation.forecast)
    except DataError as error:
        return Intervals(None, {"kind": kind, "reason": str(error)})
    record: dict[str, Any] = {"kind": kind, "conformal": conformal.to_dict()}
    if kind == "adaptive":
        before, after = ((each.windows, each.forecast) for each in (validation, test))
        followed = follow_conformal(conformal, before, after)
        ends, record["adaptive"] = followed.ends, followed.to_dict()
    else:
        ends = conformal.interval(test.windows, test.forecast)
    regimes = Regimes.fit(train) if len(train) else None
    coverage = [
        asdict(each)
        for each in coverage_of(ends, test.windows, conformal.level, test.windows.targets, regimes)
    ]
    return Intervals(ends, {**record, "coverage": coverage, "verdict": say_coverage(coverage)})
