"""Prediction intervals of a run: split conformal on the validation part, measured on the test part."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from qhq.backends.simulators.statevector import StatevectorExecutor
from qhq.errors import DataError
from qhq.evaluation.conformal import Conformal, fit_conformal, measure_coverage
from qhq.experiment.evaluate import Array, Evaluation, forecast_scaled
from qhq.experiment.opening import Experiment


@dataclass(frozen=True)
class Intervals:
    """Ends of the intervals about a run's forecasts, each (N, H, K), and what its record says of them."""

    ends: tuple[Array, Array] | None
    record: dict[str, Any]


def prediction_intervals(experiment: Experiment, evaluation: Evaluation) -> Intervals:
    """Fit intervals on the validation part, forecast on the exact engine whatever the backend is.

    A validation part too short for them is told in the record; it is no fault of the run.
    """
    try:
        conformal = _fit(experiment)
    except DataError as error:
        return Intervals(None, {"reason": str(error)})
    windows, forecast = evaluation.windows, evaluation.forecast
    coverage = [asdict(each) for each in measure_coverage(conformal, windows, forecast)]
    return Intervals(
        conformal.interval(windows, forecast), {"conformal": conformal.to_dict(), "coverage": coverage}
    )


def _fit(experiment: Experiment) -> Conformal:
    executor = None if experiment.ansatz is None else StatevectorExecutor(experiment.ansatz)
    validation = experiment.data.validation
    scaled, _ = forecast_scaled(experiment, executor, validation)
    return fit_conformal(validation, experiment.data.scaler.to_price(scaled, validation))
