"""What the JSON files of runs, evaluations and studies hold, as types that write and read them.

A record is checked once, where its file is read (`read_record`): somebody else may have made the folder, and
a key of another type would be met far from there, as a fault of qhq. What other versions of qhq write stays
readable: keys that are unknown here are kept and written back, keys that came later are optional. What is
never computed with (the resolved config, tables of further measures) is left as plain JSON.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from qhq.documents import validate
from qhq.errors import ConfigError
from qhq.files import MOST_DOCUMENT_BYTES, Json, read_json

SCHEMA_VERSION = 1
"""Written into every record; 0 are those of versions before records were typed.

A new key needs no new number. A key that changes its meaning does, and a reader of the old one here.
"""

MOST = 1e300
"""No result is a number as large; NaN is not smaller either."""

LAST_VALUE = "last_value"
"""The baseline that every task has; a record has its metrics under ``naive``."""


def _printable(text: str) -> str:
    # A terminal would obey what no name has: escape sequences, and halves of characters that it cannot print.
    if not text.isprintable() or text.encode("utf-8", "ignore").decode("utf-8") != text:
        raise ValueError("must be printable text")
    return text


def _date(text: str) -> str:
    datetime.datetime.fromisoformat(text)
    return text


Text = Annotated[str, AfterValidator(_printable)]
Day = Annotated[str, AfterValidator(_date)]
Number = Annotated[float, Field(gt=-MOST, lt=MOST)]
Count = Annotated[int, Field(ge=0, lt=2**64)]


class Record(BaseModel):
    """Part of a record. Strict, as JSON is: a whole number is a number, a text or a truth value is none."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        strict=True,
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
    )

    def to_dict(self) -> Json:
        """As JSON has it: what was given, keys of other versions among it, and no defaults."""
        return self.model_dump(mode="json", exclude_unset=True, by_alias=True)

    def updated(self, **changes: object) -> Self:
        """The same with some keys given or replaced, checked again."""
        return type(self).model_validate({**self.to_dict(), **changes})

    def without(self, key: str) -> Self:
        """The same without a key that may be missing."""
        return type(self).model_validate(
            {name: value for name, value in self.to_dict().items() if name != key}
        )


class Git(Record):
    """The user's repository when the record was made."""

    commit: Text
    changed: bool = False


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


class Conformal(Record):
    """What intervals were fitted to: the share that they are to hold, and more."""

    level: Number


class Intervals(Record):
    """Prediction intervals: what they were fitted to, and how often they held what came."""

    conformal: Conformal | None = None
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


class OptionMetrics(Record):
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


class Metrics(Record):
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
    options: OptionMetrics | None = None
    intervals: Intervals | None = None
    distribution: Distribution | None = None

    @model_validator(mode="after")
    def _knows_its_baseline(self) -> Self:
        if self.test is not None:
            _check_baseline(self.baseline, self.baselines)
        return self

    @property
    def split(self) -> Literal["test", "validation"]:
        """The split that the errors are of."""
        return "validation" if self.test is None and self.validation is not None else "test"


class TestMetrics(Metrics):
    """Metrics of a run that looked at its test split."""

    test: Errors
    naive: Errors

    @property
    def forecasts(self) -> dict[str, Errors]:
        """Errors of the model as ``test``, of the last value as ``naive``, and of the other baselines."""
        return {"test": self.test, "naive": self.naive, **self.baselines}


def _check_baseline(name: str, baselines: Mapping[str, object]) -> None:
    if name != LAST_VALUE and name not in baselines:
        raise ValueError(f"baselines must hold '{name}', which the task is judged against")


class Validation(Record):
    """The validation split after training: the weights that were kept, beside the baselines.

    Attributes:
        epoch: That the weights are of; 0 is the untrained model.
        loss: Scaled, and ``untrained_loss`` of the untrained model; None in a run of an earlier version.
        model: Errors; ``naive`` and ``baselines`` have those of the baselines.
        baseline: Name of the one that the task is judged against.
        symbols: How many.
        relative: By forecast, the model's as ``model``: MAE over that of the last value, symbol by symbol and
            then averaged.
        is_baseline: Whether the model forecasts the same as the baseline.
        better: Whether its error is below the baseline's.
        fitted: Whether the weights are those of a head that was fitted, and of no epoch.
    """

    epoch: Count
    loss: Number | None = None
    untrained_loss: Number | None = None
    model: Errors
    naive: Errors
    baselines: dict[Text, Errors] = {}
    baseline: Text = LAST_VALUE
    symbols: Count
    relative: dict[Text, Number | None]
    is_baseline: bool
    better: bool
    fitted: bool = False
    verdict: str | None = None

    @model_validator(mode="after")
    def _knows_its_baseline(self) -> Self:
        _check_baseline(self.baseline, self.baselines)
        missing = {"model", "naive" if self.baseline == LAST_VALUE else self.baseline} - self.relative.keys()
        if missing:
            raise ValueError(f"relative must hold {', '.join(sorted(missing))}")
        return self


class Quantum(Record):
    """The circuit as it was trained, and what on."""

    qubits: Count
    inputs: Count | None = None
    outputs: Count | None = None
    weights: Count | None = None
    angle_scaling: Text | None = None
    depth: Count | None = None
    two_qubit_gates: Count | None = None
    engine: Text | None = None
    parity_max_abs: Number | None = None


class Stage(Record):
    """A module of a model of one's own as it was seen at work: name, class, output's shape without B."""

    name: Text
    kind: Text
    shape: list[Count]


class Span(Record):
    """Windows of a split, and the first and last date of their targets."""

    windows: Count | None = None
    first: Day = Field(alias="from")
    last: Day = Field(alias="to")


class Quarantine(Record):
    """How many of a file's rows were set aside."""

    rows: Count = 0


class Data(Record):
    """The prices that a run was made for; ``first`` and ``last`` are the dates of their first and last row.

    A trial that could not be trained has nothing of it.
    """

    fingerprint: Text | None = None
    first: Day | None = None
    last: Day | None = None
    train: Span | None = None
    validation: Span | None = None
    test: Span | None = None
    quarantine: Quarantine | None = None


class Acceptance(Record):
    """Who accepted a doubt, and when."""

    by: Text
    at: Text


class LeakDoubtRecord(Record):
    """A doubt, as `qhq.data.plausibility.LeakDoubt`."""

    code: Text
    must: str
    got: str
    fix: str
    count: Count = 0
    rows: list[str] = []
    statistic: Number = 0.0
    threshold: Number = 0.0
    accepted: Acceptance | None = None


class Plausibility(Record):
    """What looks like a leak: codes of the doubts that are open, names that were accepted, and all doubts."""

    open: list[Text] = []
    accept: list[Text] = []
    doubts: list[LeakDoubtRecord]


class Looks(Record):
    """How often a test split was looked at, this time included.

    Attributes:
        times: Models that were measured on it.
        runs: Runs and studies that these belong to.
        at_least: Whether the ledger is longer than what is read of it.
        fault: Why this look could not be written down; empty if it was.
    """

    times: Count
    runs: Count
    at_least: bool = False
    fault: str = ""


class Doctor(Record):
    """What the doctor found after the last epoch; ``healthy`` is None where it did not look."""

    epoch: Count | None = None
    healthy: bool | None = None
    findings: list[Json] = []


class Collapse(Record):
    """Forecasts that hardly move."""

    message: str


class DateLosses(Record):
    """Losses of a trial and of the last value on each date of the validation split."""

    dates: list[Day]
    losses: list[Number]
    naive: list[Number]

    @model_validator(mode="after")
    def _has_one_of_each(self) -> Self:
        if not len(self.dates) == len(self.losses) == len(self.naive):
            raise ValueError("dates, losses and naive must be equally many")
        return self


class Sourced(Record):
    """What every record says of itself (`qhq.runs.run_folder`)."""

    schema_version: Count = 0
    run: Text = ""
    created: Text | None = None
    leaks: list[Text] = []
    looks: Looks | None = None
    versions: dict[str, Text] = {}
    git: Git | None = None


class _Trained(Sourced):
    """What a run and a walk-forward have in common.

    Attributes:
        status: ``running``, ``finished`` or ``failed``; a failed one says why under ``error``.
        design: The resolved config.
        seconds: Wall seconds in ``total``, and of each phase.
    """

    status: Text
    task: Text | None = None
    backend: Text
    seed: Count
    design: Json = {}
    data: Data
    plausibility: Plausibility | None = None
    finished: Text | None = None
    epochs: Count | None = None
    seconds: dict[Text, Number] = {}
    metrics: Metrics | None = None
    collapse: Collapse | None = None
    verdict: str | None = None
    error: str | None = None

    def prices(self) -> str:
        """Fingerprint of the prices that it was made for.

        Raises:
            ConfigError: If there is none, as of a trial that could not be trained.
        """
        if self.data.fingerprint is None:
            raise ConfigError(
                "The record of a run must say which prices it was made for",
                got=f"no data.fingerprint in that of {self.run}",
                fix=OTHER_RUN,
            )
        return self.data.fingerprint

    def tested(self) -> TestMetrics:
        """Metrics of the test split.

        Raises:
            ConfigError: If there are none: the run is not finished, or a trial.
        """
        metrics = self.metrics
        if metrics is None or metrics.test is None or metrics.naive is None:
            raise no_results(self, "metrics.test or metrics.naive")
        return TestMetrics.model_validate(metrics.to_dict())


def no_results(record: _Trained, keys: str) -> ConfigError:
    """Error that a run called finished has no results."""
    return ConfigError(
        "The record of a finished run must hold its results",
        got=f"no {keys} in that of {record.run}",
        fix=OTHER_RUN,
    )


class HeadCandidate(Record):
    """A head of one strength, or of one number of trees, and its losses; scaled."""

    strength: Number
    train_loss: Number
    validation_loss: Number


class HeadFit(Record):
    """The head on a frozen circuit's features.

    Attributes:
        kind: ``ridge``, ``lasso`` or ``boosting``.
        chosen: What was chosen on validation, ``strength`` or ``trees``, and ``strength`` the choice.
        kept: Whether it is better than no head; if not, the model forecasts its baseline.
        features: Values that it sees of a window.
        windows: Windows of each split that the circuit was run for.
    """

    kind: Text
    chosen: Text
    strength: Number
    kept: bool
    features: Count
    windows: dict[Text, Count] = {}
    candidates: list[HeadCandidate] = []


class DeviceUse(Record):
    """What a device was asked as the head of a run was fitted, and what it took.

    Attributes:
        windows: Windows of each split that the circuit was run for.
        layout: Physical qubit of each logical one.
        calibration: Date (ISO 8601) of the calibration that it ran under.
        qpu_seconds: Time on the device.
    """

    windows: dict[Text, Count] = {}
    shots: Count | None = None
    layout: list[Count] | None = None
    calibration: Text | None = None
    job_ids: list[Text] = []
    qpu_seconds: Number = 0.0


class Refit(Record):
    """Fine-tuning: the run whose head was fitted anew, and what it was fitted on.

    Attributes:
        origin: Name of that run.
        freeze: What keeps its weights: ``circuit``, and all that stands before it.
        samples: Windows of each split at most that the backend was asked about.
        windows: How many it was.
        loss_before: Of the validation windows on the backend with the head as it was; scaled, as is the
            run's ``validation_loss`` with the new one.
        distance_before: Root mean square of the validation forecasts, scaled, from those of the exact model,
            with the head as it was, and ``distance_after`` with the new one.
    """

    origin: Text = Field(alias="from")
    freeze: Text
    samples: Count
    windows: dict[Text, Count] = {}
    loss_before: Number | None = None
    distance_before: Number | None = None
    distance_after: Number | None = None


class RunRecord(_Trained):
    """``run.json``: the design of a run from its first moment on, its results once it is finished.

    Attributes:
        backend_entry: The entry of ``backends.yaml`` as it was, its name inside it.
        scaler: As `qhq.data.scaling.scaler_from_dict` reads it, and ``static_scaler`` for static features.
        parameters: Trained parameters by module of the model.
        best_epoch: That the kept weights are of.
        validation_loss: Of the kept weights, scaled.
        relative: Of a trial: errors on the validation split over those of the last value.
        validation_losses: Of a trial.
        module: SHA-256 of the file that builds a module of one's own, or the name of one in memory.
        stages: Of such a module, in the order in which they are at work.
        head: Of a model of frozen features: the head that was fitted.
        device: What a device was asked for it.
        finetuned: Of a run whose head was fitted anew to a backend.
        together: Names of the runs that were trained at once, by seed; its own among them.
    """

    backend_entry: Json
    scaler: Json
    static_scaler: Json | None = None
    quantum: Quantum | None
    parameters: dict[Text, Count] = {}
    module: Text | None = None
    stages: list[Stage] | None = None
    best_epoch: Count | None = None
    validation_loss: Number | None = None
    validation: Validation | None = None
    relative: Ratios | None = None
    validation_losses: DateLosses | None = None
    doctor: Doctor | None = None
    head: HeadFit | None = None
    device: DeviceUse | None = None
    finetuned: Refit | None = None
    together: list[Text] | None = None


class Fold(Record):
    """A fold of a walk-forward: its run, the dates that it forecasts, and its errors."""

    fold: Count
    run: Text
    trained_to: Day
    first: Day = Field(alias="from")
    last: Day = Field(alias="to")
    windows: Count
    skill: Number | None = None
    mae: Number
    naive_mae: Number
    epochs: Count | None = None


class Regime(Record):
    """Errors of a walk-forward on the windows whose input rows moved little, as usual, or much."""

    regime: Text
    windows: Count
    dates: Count
    skill: Number | None = None
    mae: Number
    naive_mae: Number


WALK_RIVAL = "last value"
"""What the tests of a walk-forward call the last-value forecast."""


class WalkRecord(_Trained):
    """``walk.json``: all folds of a walk-forward together.

    Attributes:
        fold_numbers: Of the folds in which something is to be forecast.
        folds: A row a fold; None until all are trained.
        regimes: A row a regime in which there are windows; none in a walk of an earlier version.
        tests: As `qhq.evaluation.significance.Comparison` has them, each with its verdict.
    """

    quantum: Quantum | None = None
    fold_numbers: list[Count] = []
    folds: list[Fold] | None = None
    regimes: list[Regime] = []
    tests: list[Json] = []

    @property
    def beats_last_value(self) -> bool:
        """Whether the test against the last-value forecast found the models better."""
        return any(
            each.get("second") == WALK_RIVAL and each.get("verdict") == "better" for each in self.tests
        )


class BackendResult(Record):
    """What a checkpoint is worth on one backend, and what ran.

    Attributes:
        metrics: Of the model; ``naive`` is the last value, ``baselines`` the others by name.
        delta_mae: MAE less that on the exact simulator, and ``delta_skill`` the same of the skill.
        mae_sampling_error: Standard error of the MAE for having evaluated a subset; None of a single window.
        expectation_error: Mean |<O> - exact|; None without a circuit.
        expectation_std: Standard error of one value, as a service has it.
        layout: Physical qubit of each logical one.
        calibration: Date, and ``calibration_file`` where it is kept below the run's folder.
        replayed: Whether all of it was taken from the journal.
        mitigation: Method against noise; None where none was asked for, and nothing below is given.
        training_windows: Windows beside those of the test split that it was fitted on.
        circuits: Circuits that it takes on the device, of which ``executions`` are all measurements and
            ``device_seconds`` an estimate of the time.
        expectation_bias: Root mean square of what is wrong with the expectation values on average, and
            ``expectation_variance`` the mean of their sampling variance.
        gain: Forecast error saved as a share of that without it (`qhq.studies.mitigation.Gain`).
    """

    backend: Text
    kind: Text = ""
    note: str = ""
    samples: Count | None = None
    shots: Count | None = None
    metrics: Errors
    naive: Errors
    baselines: dict[Text, Errors] = {}
    delta_mae: Number | None = None
    delta_skill: Number | None = None
    mae_sampling_error: Number | None = None
    expectation_error: Number | None = None
    depth: Count | None = None
    two_qubit_gates: Count | None = None
    layout: list[Count] | None = None
    calibration: Text | None = None
    qpu_seconds: Number = 0.0
    job_ids: list[Text] = []
    expectation_std: Number | None = None
    replayed: bool = False
    calibration_file: Text | None = None
    wall_seconds: Number = 0.0
    mitigation: Text | None = None
    training_windows: Count | None = None
    circuits: Count | None = None
    executions: Count | None = None
    device_seconds: Number | None = None
    expectation_bias: Number | None = None
    expectation_variance: Number | None = None
    gain: Number | None = None
    gain_low: Number | None = None
    gain_high: Number | None = None
    gain_loss: Text | None = None
    gain_reason: str | None = None

    @property
    def label(self) -> str:
        """The backend, and the method against its noise where one was asked for."""
        return f"{self.backend}, {self.mitigation}" if self.mitigation else self.backend


class OtherDataRecord(Record):
    """Which other data than the run's own were evaluated, as `qhq.data.prepare_other.OtherData`."""

    path: Text | None = None
    source: Text | None = None
    same_rows: bool
    first: Day = Field(alias="from")
    last: Day = Field(alias="to")
    notes: list[str] = []


class LeftOut(Record):
    """A backend that a glob stands for and that could not be used."""

    backend: Text
    reason: str


class RefusedMethod(Record):
    """A method against noise that ``all`` leaves out on a backend, which cannot carry it out."""

    backend: Text
    mitigation: Text
    reason: str


class EvaluationRecord(Sourced):
    """A file of ``evals/``, and what ``qhq eval --json`` prints: one checkpoint on one or more backends.

    Attributes:
        other_data: None where it is the run's own test split.
        results: One a backend; none after a dry run.
        costs: Forecasts of what hardware costs, as `qhq.backends.executor.CostForecast`, of a dry run.
        file: Where it is kept, of one that was just made, and ``figure`` its picture.
    """

    other_data: OtherDataRecord | None = None
    mape_reason: Text | None = None
    dry_run: bool = False
    backends: list[Text] = []
    samples: Count | None = None
    results: list[BackendResult] = []
    costs: list[Json] = []
    skipped: list[LeftOut] = []
    refused: list[RefusedMethod] = []
    file: str | None = None
    figure: str | None = None


OTHER_RUN = "Name another run; 'qhq compare' lists them"

RecordT = TypeVar("RecordT", bound=Record)


def read_record(
    model: type[RecordT],
    path: Path,
    fix: str = OTHER_RUN,
    *,
    most: int = MOST_DOCUMENT_BYTES,
    **known: object,
) -> RecordT:
    """Read one record.

    Args:
        model: What the file holds.
        path: The file.
        fix: What to do about a file that is damaged.
        most: Bytes that it may have.
        **known: Keys that are known better than the file has them, such as the name of a folder that may have
            been renamed.

    Raises:
        ConfigError: If the file is missing, is no JSON, or a key is missing or of another type.
    """
    try:
        content = read_json(path, most=most, what="record")
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The folder must hold a readable {path.name}", got=f"{path}: {error}", fix=fix
        ) from error
    return validate(model, {**content, **known}, str(path), fix=fix)
