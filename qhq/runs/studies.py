"""What studies give, as typed records: the objects that commands print with ``--json`` and folders keep.

A portability study is an `EvaluationRecord` and a walk-forward a `WalkRecord` (`qhq.runs.record`); the others
are here. All are read and checked alike (`read_record`). What a study keeps on disk has a schema version and
`qhq.runs.run_folder.provenance` besides, see `StudyRecord.kept`. Keys that later versions added, or that only
a caller adds, are not required: records of version 0.1.0 lack them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from qhq.files import MOST_TABLE_BYTES, Json
from qhq.runs.answers import RefusedMethod
from qhq.runs.record import Looks, Sourced
from qhq.runs.run_folder import RunFolder, provenance
from qhq.runs.schema import SCHEMA_VERSION, Count, Number, Record, RecordT, Text, read_record

# A cell of a table; also several of them.
_Plain = str | bool | int | Number | None


class TableRow(Record):
    """One line of a table: the columns that every study has are typed here, those beside them are plain.

    Which there are beside them depends on what was asked: the keys of a search, or each rival that a variant
    is compared with (``vs_naive``, ``vs_naive_p_holm``, ...).
    """

    __pydantic_extra__: dict[str, _Plain | list[_Plain]] = Field(init=False)
    _order: tuple[str, ...] = PrivateAttr(())

    # pydantic writes what is typed before what is beside it. A table shows its columns as they were given: of
    # a stage, the keys that were searched come first.
    @model_validator(mode="wrap")
    @classmethod
    def _keep_order(cls, given: Any, build: ModelWrapValidatorHandler[Self]) -> Self:
        row = build(given)
        if isinstance(given, Mapping):
            row._order = tuple(given)
        return row

    @model_serializer(mode="wrap")
    def _in_order(self, write: SerializerFunctionWrapHandler) -> Json:
        plain: Json = write(self)
        return {key: plain[key] for key in self._order or plain if key in plain}


class StudyRecord(Sourced):
    """What every study's record has.

    Attributes:
        verdict: In a sentence or two.
        page: Where its page is, of one that was just made.
    """

    verdict: str
    page: str | None = None

    def kept(self) -> Self:
        """The same as its file has it: with the schema version, and when, by what and from where it is."""
        return self.updated(schema_version=SCHEMA_VERSION, **provenance())


def read_study(model: type[RecordT], folder: RunFolder, name: str) -> RecordT:
    """Read the record of a study.

    Args:
        model: What the file holds.
        folder: The study's; a noise study's is that of its run.
        name: Of the file, below the folder.

    Raises:
        ConfigError: If it is missing or damaged.
    """
    again = f"Run the study again: what is measured in {folder.name} is not measured again"
    return read_record(model, folder.file(name), again, most=MOST_TABLE_BYTES)


class NoiseRow(Record):
    """Errors at one noise scale and number of shots: means over the seeds, and their 95 % intervals."""

    backend: Text
    scale: Number
    shots: Count | None
    seeds: Count
    mae: Number
    mae_low: Number
    mae_high: Number
    skill: Number
    skill_low: Number
    skill_high: Number
    delta_mae: Number
    delta_mae_low: Number
    delta_mae_high: Number
    expectation_error: Number
    expectation_error_low: Number
    expectation_error_high: Number
    naive_mae: Number
    against_naive: str


class MitigationRow(Record):
    """A method against noise at a number of shots: what it costs, and what it saves beside ``none``.

    ``gain`` is the share of the forecast error that it saves, with the ends of its 95 % interval; ``p_holm``
    that of the family of all methods at these shots, and ``against_none`` what it shows.
    """

    backend: Text
    mitigation: Text
    shots: Count | None
    seeds: Count
    mae: Number
    skill: Number
    expectation_error: Number
    expectation_bias: Number | None
    expectation_variance: Number | None
    executions: Count | None
    device_seconds: Number | None
    gain: Number | None
    gain_low: Number | None
    gain_high: Number | None
    gain_loss: str
    gain_reason: str
    p_holm: Number | None
    against_none: str


class SizeRow(Record):
    """The circuit of a run at another size, at angles drawn at random, beside its exact values.

    ``kept`` is the slope of noisy values against exact ones, and ``spread`` the standard deviation of these;
    ``left_out`` says why nothing was measured.
    """

    backend: Text
    qubits: Count
    depth: Count
    physical_qubits: Count | None = None
    two_qubit_gates: Count | None = None
    expectation_error: Number | None = None
    expectation_error_low: Number | None = None
    expectation_error_high: Number | None = None
    kept: Number | None = None
    spread: Number | None = None
    left_out: str = ""


class BudgetPart(Record):
    """What a cause adds to the loss, with its 95 % interval over dates, and its share of the whole."""

    component: Text
    value: Number
    low: Number | None
    high: Number | None
    share: Number | None


class BudgetRecord(Record):
    """The error budget of a forecast: parts that add up to ``total``; ``left_out`` says why some are missing.

    ``naive`` is the same loss of the last value.
    """

    loss: Text
    components: list[BudgetPart]
    total: BudgetPart
    naive: Number
    left_out: dict[Text, str]
    verdict: str


BUDGET_TITLES = {
    "model": "the model without noise",
    "gate_noise": "gate noise",
    "readout": "readout errors",
    "layout": "the layout",
    "calibration_day": "the calibration day",
    "shots": "shots",
}
"""Parts of an error budget as people read them."""


class NoiseRecord(StudyRecord):
    """A noise study; ``limits`` are the scales at which each number of shots falls behind the last value.

    ``mitigation`` has the methods that were asked for, at each number of shots those that save most first,
    and ``refused`` those that the backend cannot carry out. ``sizes`` has the circuit at other sizes, if
    any were asked for. ``request`` is what was asked for; ``file`` says
    where all that is kept, and ``figure`` and ``budget_figure`` where it is drawn.
    """

    backend: Text
    samples: Count
    seeds: Count
    exact_mae: Number
    exact_skill: Number | None
    naive_mae: Number
    mae_sampling_error: Number | None = None
    rows: list[NoiseRow]
    limits: dict[Text, Number | None]
    mitigation: list[MitigationRow] = []
    mitigation_verdict: str | None = None
    refused: list[RefusedMethod] = []
    budget: BudgetRecord | None = None
    budget_reason: str = ""
    sizes: list[SizeRow] = []
    request: Json = {}
    file: str | None = None
    figure: str | None = None
    budget_figure: str | None = None


class AblationRow(TableRow):
    """A variant or a baseline on the test split, all seeds together.

    Columns that begin with ``vs_`` are of the row against another, those with ``hybrid_vs`` of the hybrid
    against the row (`qhq.studies.comparisons.tested`).

    Attributes:
        kind: ``model`` or ``baseline``.
        meaning: What it is, in words.
        seeds: How many; a baseline has none.
        loss: Mean of the loss that decides; None in a record of an earlier version.
        bounded: Forecasts that were taken at a bound.
        alive: With how many seeds the circuit learned and is listened to.
        role: What it was chosen as, of a pair named in advance.
    """

    variant: Text
    kind: Text
    meaning: str
    seeds: Count | None = None
    parameters_middle: Count | None = None
    parameters_trained: Count | None = None
    parameters_total: Count | None = None
    mae: Number | None
    mae_low: Number | None = None
    mae_high: Number | None = None
    skill: Number | None
    skill_low: Number | None = None
    skill_high: Number | None = None
    loss: Number | None = None
    validation_loss: Number | None = None
    bounded: Count = 0
    alive: Count | None = None
    seconds: Number = 0.0
    vs_naive: Text | None = None
    role: str | None = None
    hybrid_vs: Text | None = None
    hybrid_vs_says: str | None = None


class Width(Record):
    """A width of the MLP that was tried; ``chosen`` is the best on the validation split."""

    hidden: Count
    parameters: Count | None = None
    validation_loss: Number | None = None
    chosen: bool


class PairRecord(Record):
    """A test, as `qhq.evaluation.significance.Comparison` has it, and what it shows."""

    first: Text
    second: Text
    gain: Number | None = None
    dates: Count
    statistic: Number | None = None
    p_value: Number | None = None
    adjusted: Number | None = None
    reason: str = ""
    exploratory: bool = False
    detectable: Number | None = None
    dates_needed: int | None = None
    verdict: Text


class Rival(Record):
    """A pair named in advance: whom the hybrid is tested against, and what that was chosen as."""

    rival: Text
    role: str


class Life(Record):
    """What the circuit of the hybrid did with one seed."""

    gradient: Number | None
    moved: Number | None
    share: Number | None
    findings: list[Text]
    alive: bool | Number


class AblationRecord(StudyRecord):
    """An ablation.

    Attributes:
        study: Name of its ``folder``.
        folds: Of a walk-forward.
        twin_hidden: Hidden units of the matched MLP, and ``twin_parameters`` its size.
        left_out: Variants and baselines that are missing, and why.
        loss: The one that decides; None in a record of an earlier version.
        best: Variant or baseline of the lowest loss.
        earns_place: None where it could not be tested.
        seed_mae: Of each seed by variant; so are ``seed_skill`` and ``seed_loss``.
        life: What the circuit did, seed by seed.
        passed: Of a control: whether it came out as it must, and ``best_skill`` the best that there is.
    """

    study: Text
    folder: str
    config: Text
    data: str
    data_notes: list[str] = []
    seeds: list[Count]
    folds: Count = 1
    windows: Count
    dates: Count
    target: Text
    circuit_weights: Count
    twin_hidden: Count | None = None
    twin_parameters: Count | None = None
    mlp_widths: list[Width] = []
    left_out: dict[Text, str] = {}
    loss: Text | None = None
    other_losses: list[Text] = []
    rows: list[AblationRow]
    best: Text
    family: list[Rival] = []
    earns_place: bool | None = None
    not_beaten: list[Text] = []
    pairs: list[PairRecord] = []
    seed_mae: dict[Text, list[Number]] = {}
    seed_skill: dict[Text, list[Number | None]] = {}
    seed_loss: dict[Text, list[Number]] = {}
    life: list[Life] = []
    figure: str | None = None
    passed: bool | None = None
    best_skill: Number | None = None


class ControlsRecord(StudyRecord):
    """The controls of an ablation; ``passed`` says whether both gave what they must.

    ``rows`` are those of both, each with its ``control`` and that data's ``best_skill``.
    """

    rows: list[AblationRow]
    passed: bool
    controls: dict[Text, AblationRecord]


class StageNoise(Record):
    """Spread over seeds against spread over points, as `qhq.studies.sweep.ranking.Noise` explains it."""

    points: Count
    seeds: Count
    seed_sd: Number | None
    point_sd: Number | None
    p_value: Number | None
    margin: Number
    is_ranking: bool | None
    sentence: str = ""


class StageTrend(Record):
    """Rank correlation of a stage's values with one number of its points."""

    key: Text
    rho: Number
    low: Number
    high: Number
    p_value: Number
    points: Count


class SetRecord(Record):
    """A model confidence set, as `qhq.evaluation.confidence_set.ConfidenceSet` has it, and a sentence."""

    members: list[Text] = []
    p_values: dict[Text, Number] = {}
    benchmark: str = ""
    superior_p: Number | None = None
    dates: Count = 0
    block: Count | None = None
    reason: str = ""
    is_superior: bool | None = None
    sentence: str


class PointRow(TableRow):
    """A point of a stage; its columns besides are the keys of the search.

    Attributes:
        value: Median over seeds of the error over that of the last value; None unless every seed was trained
            to its end. ``low`` and ``high`` are the lowest and highest of them.
        healthy: With how many seeds the doctor found nothing.
        tied: Whether it ties with the best.
        trials: Names of its trials, one a seed.
        set_p: The largest level at which it would still be in the model confidence set, and ``in_set``
            whether it is; None without a set.
    """

    status: Text
    value: Number | None
    low: Number | None
    high: Number | None
    parameters: Count
    healthy: Count
    seeds: Count
    epochs: Count
    seconds: Number = 0.0
    tied: bool
    chosen: bool
    trials: list[Text] = []
    set_p: Number | None = None
    in_set: bool | None = None


class StageRecord(Record):
    """A stage of a sweep; ``best`` is the point that the next starts from, ``lowest`` that of least error."""

    stage: Text
    search: Text
    keys: list[Text]
    points: Count
    pruned: Count
    failed: Count
    best: str
    value: Number
    lowest: str
    lowest_value: Number
    tied: Count
    noise: StageNoise
    confidence_set: SetRecord | None = None
    trends: list[StageTrend] = []
    rows: list[PointRow]


class FinalRow(TableRow):
    """The winner, the start or a baseline on the test split: medians over the fresh seeds.

    Columns that begin with ``vs_`` are of the row against another (`qhq.studies.comparisons.tested`).

    Attributes:
        seeds: How many were trained to their end; a baseline has none.
        mase_seeds: Of each.
        runs: Their names.
    """

    variant: Text
    seeds: Count | None = None
    failed: Count = 0
    mae: Number | None = None
    mape: Number | None = None
    mase: Number | None = None
    mase_low: Number | None = None
    mase_high: Number | None = None
    mase_seeds: list[Number] = []
    skill: Number | None = None
    parameters: Count | None = None
    healthy: Count | None = None
    runs: list[Text] = []


class FinalRecord(Record):
    """The winner of a sweep, and what it started from, on the test split with fresh seeds.

    ``baseline`` is that of the task; a record without a ``loss`` is of an earlier version.
    """

    seeds: list[Count]
    windows: Count
    dates: Count
    loss: Text | None = None
    baseline: Text
    rows: list[FinalRow]
    confidence_set: SetRecord | None = None
    looks: Looks | None = None


class SweepRecord(StudyRecord):
    """A sweep; ``rows`` are those of the last table that there is."""

    sweep: Text
    folder: str
    status: Text
    metric: Text
    stages: list[StageRecord]
    final: FinalRecord | None
    rows: list[Json] = []
    figures: list[str] = []
