"""Prediction intervals of a run: split conformal on the validation split, measured on the test split."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from qhq.errors import DataError
from qhq.evaluation.conformal import fit_conformal, measure_coverage
from qhq.experiment.evaluate import Array, Evaluation


@dataclass(frozen=True)
class Intervals:
    """Ends of the intervals about a run's forecasts, each (N, H, K), and what its record says of them."""

    ends: tuple[Array, Array] | None
    record: dict[str, Any]


def prediction_intervals(validation: Evaluation, evaluation: Evaluation) -> Intervals:
    """Fit intervals on the forecasts of the validation split, and measure them on those of the test split.

    A validation split too short for them is told in the record; it is no fault of the run.
    """
    try:
        conformal = fit_conformal(validation.windows, validation.forecast)
    except DataError as error:
        return Intervals(None, {"reason": str(error)})
    windows, forecast = evaluation.windows, evaluation.forecast
    coverage = [asdict(each) for each in measure_coverage(conformal, windows, forecast)]
    return Intervals(
        conformal.interval(windows, forecast), {"conformal": conformal.to_dict(), "coverage": coverage}
    )
