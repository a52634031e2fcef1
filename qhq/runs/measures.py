"""Errors of forecasts as records hold them: of the model, of the last value, of each baseline and symbol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from qhq.files import Json
from qhq.runs.schema import LAST_VALUE, Count, Number, Record, Text


class Errors(Record):
    """Errors of one forecast, as `qhq.evaluation.metrics.Metrics`; None where a measure is not defined."""

    mae: Number | None = None
    rmse: Number | None = None
    mape: Number | None = None
    mase: Number | None = None
    skill: Number | None = None

    def row(self) -> dict[str, float | None]:
        """The measures by name: of a table, which has no column for what another version may have added."""
        return {name: getattr(self, name) for name in Errors.model_fields}


class OptionErrors(Record):
    """Errors of one forecast over the strike, as `qhq.evaluation.losses.OptionMetrics`."""

    mae_over_strike: Number
    rmse_over_strike: Number
    iv_mae: Number | None
    iv_rows: Count
    iv_bounded: Count = 0


class FittedIntervals(Record):
    """What intervals were fitted to: the share that they are to hold, and more."""

    level: Number


class KeptIntervals(Record):
    """Prediction intervals: what they were fitted to, and how often they held what came.

    ``levels`` are others, of a run whose head was fitted to what a backend gave.
    """

    conformal: FittedIntervals | None = None
    levels: list[FittedIntervals] = []
    verdict: str | None = None


class Distribution(Record):
    """Quantiles that a model of a distribution gave, measured as `qhq.evaluation.probabilistic` has it.

    Attributes:
        levels: Their probabilities.
        test: Measures of the model; ``naive`` those of the last value with the quantiles of its own errors.
        naive_point_crps: CRPS of the last value itself, which is its MAE.
        crps_skill: 1 - CRPS over that of the last value's quantiles, symbol by symbol and then averaged.
        verdict: A sentence.
    """

    levels: list[Number] = []
    test: Json = {}
    naive: Json | None = None
    naive_point_crps: Number | None = None
    crps_skill: Number | None = None
    verdict: str | None = None


class OptionMetricsRecord(Record):
    """Errors over the strike by forecast, each forecast a key of its own, and the same by underlying."""

    __pydantic_extra__: dict[str, OptionErrors] = Field(init=False)
    symbols: dict[Text, dict[Text, OptionErrors]] = {}

    @property
    def forecasts(self) -> dict[str, OptionErrors]:
        """Of all underlyings together, by forecast."""
        return self.__pydantic_extra__


class Ratios(Record):
    """Errors over those of the last value, of each symbol and target alone, then their mean."""

    mae: Number | None = None
    rmse: Number | None = None


class MetricsRecord(Record):
    """Errors on the test split; of a trial of a sweep, which does not look at it, on the validation split.

    Attributes:
        test: Of the model; ``naive`` is the last value.
        baselines: Of the other baselines by name; ``baseline`` is the one that the task is judged against.
        symbols: By symbol, then by forecast.
        seen: By forecast, of the symbols that were trained on, and ``held_out`` of the others.
        relative: By forecast; None in a run of a version that pooled the errors of all symbols.
        detail: Further measures by forecast (`qhq.evaluation.detail`), and ``histogram`` of errors.
    """

    test: Errors | None = None
    naive: Errors | None = None
    baselines: dict[Text, Errors] = {}
    baseline: Text = LAST_VALUE
    validation: Errors | None = None
    validation_naive: Errors | None = None
    symbols: dict[Text, dict[Text, Errors]] = {}
    seen: dict[Text, Errors] | None = None
    held_out: dict[Text, Errors] | None = None
    relative: dict[Text, Ratios] | None = None
    mape_reason: Text | None = None
    detail: Json | None = None
    histogram: Json | None = None
    options: OptionMetricsRecord | None = None
    intervals: KeptIntervals | None = None
    distribution: Distribution | None = None

    @model_validator(mode="after")
    def _knows_its_baseline(self) -> Self:
        if self.test is not None:
            check_baseline(self.baseline, self.baselines)
        return self

    @property
    def split(self) -> Literal["test", "validation"]:
        """The split that the errors are of."""
        return "validation" if self.test is None and self.validation is not None else "test"


class TestMetrics(MetricsRecord):
    """Metrics of a run that looked at its test split."""

    test: Errors
    naive: Errors

    @property
    def forecasts(self) -> dict[str, Errors]:
        """Errors of the model as ``test``, of the last value as ``naive``, and of the other baselines."""
        return {"test": self.test, "naive": self.naive, **self.baselines}


def check_baseline(name: str, baselines: Mapping[str, object]) -> None:
    """Refuse a record whose verdict would rest on a baseline that it does not hold."""
    if name != LAST_VALUE and name not in baselines:
        raise ValueError(f"baselines must hold '{name}', which the task is judged against")
