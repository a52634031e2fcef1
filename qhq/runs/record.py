"""The record of a run, ``run.json``, and that of a walk-forward, section by section."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from qhq.errors import ConfigError
from qhq.files import Json
from qhq.runs.measures import Errors, MetricsRecord, Ratios, TestMetrics, check_baseline
from qhq.runs.schema import LAST_VALUE, OTHER_RUN, Count, Day, Number, Record, Text


class Git(Record):
    """The user's repository when the record was made."""

    commit: Text
    changed: bool = False


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
        lowest_epoch: Where the untrained model was kept, the epoch of the lowest loss, and ``lowest_loss``
            which that was.
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
    lowest_epoch: Count | None = None
    lowest_loss: Number | None = None
    verdict: str | None = None

    @model_validator(mode="after")
    def _knows_its_baseline(self) -> Self:
        check_baseline(self.baseline, self.baselines)
        # Here the last value is called what its errors are called above.
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


class SeenModule(Record):
    """A module of a model of one's own as it was seen at work: name, class, output's shape without B.

    ``parameters`` are its own; None in a run of an earlier version.
    """

    name: Text
    kind: Text
    shape: list[Count]
    parameters: Count | None = None


class SplitSpan(Record):
    """Windows of a split, and the first and last date of their targets."""

    windows: Count | None = None
    first: Day = Field(alias="from")
    last: Day = Field(alias="to")


class QuarantineCount(Record):
    """How many of a file's rows were set aside."""

    rows: Count = 0


class Data(Record):
    """The prices that a run was made for; ``first`` and ``last`` are the dates of their first and last row.

    ``called`` says by what name people know a column for which another of the file stands. A trial that could
    not be trained has nothing of it.
    """

    fingerprint: Text | None = None
    first: Day | None = None
    last: Day | None = None
    train: SplitSpan | None = None
    validation: SplitSpan | None = None
    test: SplitSpan | None = None
    quarantine: QuarantineCount | None = None
    called: dict[Text, Text] = {}


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
        part: Whether only some sessions of that split were looked at, alone or among others.
    """

    times: Count
    runs: Count
    at_least: bool = False
    fault: str = ""
    part: bool = False


class DoctorRecord(Record):
    """What the doctor found after the last epoch; ``healthy`` is None where it did not look."""

    epoch: Count | None = None
    healthy: bool | None = None
    findings: list[Json] = []


class CollapseRecord(Record):
    """Forecasts that hardly move."""

    message: str


class AngleCounts(Record):
    """Angles at which the circuit is run with the kept weights, of some windows of the validation split.

    Attributes:
        windows: How many windows.
        counts: Of each input, the angles in as many equal bins, the first of which begins at -pi.
    """

    windows: Count
    counts: list[list[Count]]


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
    metrics: MetricsRecord | None = None
    collapse: CollapseRecord | None = None
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
        scaler: As `qhq.data.scaling.fit.scaler_from_dict` reads it; ``static_scaler`` for static features.
        parameters: Trained parameters by module of the model.
        best_epoch: That the kept weights are of.
        validation_loss: Of the kept weights, scaled.
        relative: Of a trial: errors on the validation split over those of the last value.
        validation_losses: Of a trial.
        module: SHA-256 of the file that builds a module of one's own, or the name of one in memory.
        stages: Of such a module, in the order in which they are at work.
        angles: At which its circuit is run.
        begun: Weights of its circuits before training, one circuit after the other; None without any, where
            there are very many, and in a run of an earlier version.
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
    stages: list[SeenModule] | None = None
    best_epoch: Count | None = None
    validation_loss: Number | None = None
    validation: Validation | None = None
    relative: Ratios | None = None
    validation_losses: DateLosses | None = None
    doctor: DoctorRecord | None = None
    angles: AngleCounts | None = None
    begun: list[Number] | None = None
    head: HeadFit | None = None
    device: DeviceUse | None = None
    finetuned: Refit | None = None
    together: list[Text] | None = None

    @property
    def samples(self) -> int | None:
        """Windows of each split at most that its figures are of; None where they are of all."""
        if self.finetuned is not None:
            return self.finetuned.samples
        # The design is plain JSON, which nothing has checked: another version may say anything there.
        model = self.design.get("model")
        samples = model.get("samples") if isinstance(model, dict) and self.head is not None else None
        return samples if isinstance(samples, int) else None


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


class WalkSeeds(Record):
    """Walk-forwards that differ in the seed, tested together: the dates by losses averaged over the seeds.

    Attributes:
        numbers: Their seeds.
        tests: A row a rival, with the columns of `qhq.studies.comparisons.tested` under ``vs``.
    """

    numbers: list[Count]
    tests: list[Json]
    verdict: Text


class WalkRecord(_Trained):
    """``walk.json``: all folds of a walk-forward together.

    Attributes:
        fold_numbers: Of the folds in which something is to be forecast.
        folds: A row a fold; None until all are trained.
        regimes: A row a regime in which there are windows; none in a walk of an earlier version.
        tests: As `qhq.evaluation.significance.Comparison` has them, each with its verdict.
        together: Names of the walks that were trained at once, by seed; its own among them.
        seeds: What they show together; None until all are finished, and of a walk of one seed.
    """

    quantum: Quantum | None = None
    fold_numbers: list[Count] = []
    folds: list[Fold] | None = None
    regimes: list[Regime] = []
    tests: list[Json] = []
    together: list[Text] | None = None
    seeds: WalkSeeds | None = None

    @property
    def beats_last_value(self) -> bool:
        """Whether the test against the last-value forecast found the models better."""
        return any(
            each.get("second") == WALK_RIVAL and each.get("verdict") == "better" for each in self.tests
        )
