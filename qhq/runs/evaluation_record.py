"""What ``qhq eval`` writes: the same checkpoint on one backend after another."""

from __future__ import annotations

from pydantic import Field

from qhq.files import Json
from qhq.runs.measures import Errors
from qhq.runs.record import Sourced
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
