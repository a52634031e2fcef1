"""What a trained run is asked for, as typed records: forecasts of the future, evaluations, a landscape.

Each is what a command prints with ``--json`` and what the folder of the run keeps.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from qhq.files import Json
from qhq.runs.measures import Errors
from qhq.runs.record import Looks, Sourced
from qhq.runs.schema import Count, Day, Number, Record, Text


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

    @property
    def said_shots(self) -> str:
        """Shots for people; without any it is not "exact", since what a noisy device gives has its noise."""
        return "infinite" if self.shots is None else str(self.shots)


class OtherDataRecord(Record):
    """Which other data than the run's own were evaluated, as `qhq.data.prepare_other.OtherData`."""

    path: Text | None = None
    source: Text | None = None
    same_rows: bool
    first: Day = Field(alias="from")
    last: Day = Field(alias="to")
    notes: list[str] = []


class SkippedBackend(Record):
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
    skipped: list[SkippedBackend] = []
    refused: list[RefusedMethod] = []
    file: str | None = None
    figure: str | None = None


class ForecastRow(Record):
    """One forecast with one interval; ``actual`` is None as long as nothing has come.

    Quantiles of a model of a distribution stand beside them, each under the name of its column.

    Attributes:
        symbol: Stock or contract.
        made_after: Session after which it is made: that of the last row it knows.
        date: Session that is forecast.
        horizon: Sessions ahead, from 1.
        target: Column that is forecast.
        forecast: In the unit of the data, as are ``low``, ``high``, ``last_value`` and ``actual``.
        low: Lower end of the interval, and ``high`` the upper.
        level: Probability that it is to hold.
        last_value: The last-value forecast.
        actual: What came.
    """

    __pydantic_extra__: dict[str, Number] = Field(init=False)

    symbol: str
    made_after: Day
    date: Day
    horizon: Count
    target: Text
    forecast: Number
    low: Number
    high: Number
    level: Number
    last_value: Number
    actual: Number | None = None


class SkillRecord(Record):
    """What the run was measured to be worth, as `qhq.experiment.predict.Skill`."""

    value: Number | None
    shown: bool
    verdict: str


class LeftOutSeries(Record):
    """A series that gets no forecast, as `qhq.data.ahead.LeftOut`."""

    symbol: str
    last: Day
    reason: str


class ScoredRecord(Record):
    """Errors and coverage of the forecasts that have come true.

    Attributes:
        first: First and ``last`` session that is forecast.
        metrics: Errors of the model, and ``naive`` of the last value.
        coverage: As `qhq.evaluation.conformal.Coverage`, one a level and horizon.
        looks: How often these sessions were looked at.
    """

    windows: Count
    first: Day = Field(alias="from")
    last: Day = Field(alias="to")
    metrics: Errors
    naive: Errors
    coverage: list[Json]
    looks: Looks | None


class PredictionRecord(Sourced):
    """A prediction, or after a dry run what it would cost; a file of ``predictions/`` is one.

    Attributes:
        trained_to: Date of the last row that the model was trained on.
        last_row: Date of the newest row, ``age_days`` ago; ``sessions_missed`` have passed since.
        session: The first that is forecast; ``half_day`` where it is one, by ``calendar``. Of rows of weeks
            or months, which ``period`` says, it is the last session of the first, and sessions missed are
            those periods.
        intervals: How they are made, in words; ``errors_of`` is the backend whose errors on the validation
            split made them, ``exact`` the exact engine.
        data: Which other data than the run's own were read.
        fingerprint: Of the rows that were read, as a run's ``data.fingerprint``.
        called: What columns are to be called before people: the close, where it stands for an adjusted one.
        left_out: Series that get no forecast; ``expired`` contracts are not among them.
        costs: Forecasts of what hardware costs, of a dry run of ``samples`` windows.
        layout: Physical qubit of each logical one, and ``calibration`` the date of that of the device.
        rows_dropped: How many rows of sessions behind a file leaves out, where they are too many to keep.
        figure: Where it is drawn, ``csv`` where the table was written, and ``file`` where this is kept.
    """

    backend: Text
    samples: Count | None = None
    costs: list[Json] = []
    dry_run: bool = False
    trained_to: Day | None = None
    last_row: Day | None = None
    age_days: int = 0
    sessions_missed: Count = 0
    session: Day | None = None
    half_day: bool = False
    calendar: str = ""
    period: Literal["session", "week", "month"] = "session"
    intervals: str = ""
    errors_of: Text = "exact"
    skill: SkillRecord | None = None
    data: OtherDataRecord | None = None
    fingerprint: Text | None = None
    called: dict[str, str] = {}
    left_out: list[LeftOutSeries] = []
    expired: Count = 0
    notes: list[str] = []
    rows: list[ForecastRow] = []
    rows_dropped: Count = 0
    scored: ScoredRecord | None = None
    shots: Count | None = None
    qpu_seconds: Number = 0.0
    job_ids: list[Text] = []
    layout: list[Count] | None = None
    calibration: Text | None = None
    figure: str | None = None
    csv: str | None = None
    file: str | None = None

    def kept(self) -> Json:
        """What a file of it holds: all rows to come, and those of sessions behind if they are few enough."""
        content = self.to_dict()
        if len(self.rows) > MOST_KEPT_ROWS:
            content["rows"] = [row.to_dict() for row in self.rows if row.actual is None]
            content["rows_dropped"] = len(self.rows) - len(content["rows"])
        return content


# Some 6 MB of them. What has come true can be forecast again, and its scores are kept.
MOST_KEPT_ROWS = 20_000
"""Of a file."""


LANDSCAPE = "studies/landscape.json"
"""Where a run keeps it."""

LandscapePart = Literal["all", "circuit"]


class Landscape(Sourced):
    """Training loss around a run's weights, in two random directions.

    Attributes:
        part: Which weights were moved.
        weights: ``kept``, or those of the ``last epoch`` where the untrained ones were kept.
        parameters: How many they are.
        samples: Training windows that the loss is of.
        seed: Of the directions.
        span: How far each direction goes to both sides, where 1 is the length of the weights.
        loss: At the weights themselves, scaled.
        losses: On a square grid, rows along the second direction; None where it is no finite number.
    """

    part: LandscapePart
    weights: str
    parameters: Count
    samples: Count
    seed: Count
    span: Number
    loss: Number
    losses: list[list[Number | None]] = Field(min_length=3, max_length=201)

    @model_validator(mode="after")
    def _is_square(self) -> Self:
        if any(len(row) != len(self.losses) for row in self.losses):
            raise ValueError("losses must be as many in each row as there are rows")
        return self

    @property
    def lowest(self) -> float:
        """The lowest loss on the grid."""
        return min((each for row in self.losses for each in row if each is not None), default=self.loss)

    @property
    def says(self) -> str:
        """What it shows, in a sentence."""
        known = [each for row in self.losses for each in row if each is not None]
        highest = max(known, default=self.loss)
        # The loss at the middle of the grid is the same, but for rounding.
        lower = sum(each < self.loss * (1 - 1e-6) for each in known)
        where = "the lowest on the grid" if not lower else f"{lower} of {len(known)} points are lower"
        return (
            f"The training loss at the weights is {self.loss:.4g}, {where}; around them it goes from"
            f" {self.lowest:.4g} to {highest:.4g} within {self.span:g} times their length"
            f" ({self.parameters:,} weights, {self.samples} windows)."
        )
