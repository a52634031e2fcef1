"""What studies give, as types: the objects that commands print with ``--json`` and folders keep.

They are plain JSON from the start, since a notebook, a figure, a page and the MLflow mirror read the same
object that the file holds. What a study keeps on disk has `qhq.runs.run_folder.provenance` besides. Keys that
later versions added, or that only a caller adds, are not required: records of version 0.1.0 lack them.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from qhq.runs.record import Json

Row = dict[str, Any]
"""One line of a table, its columns by name.

Not a type of its own where the columns depend on what was asked: the keys of a search, or each rival that a
variant is compared with (``vs_naive``, ``vs_naive_p_holm``, ...).
"""


class NoiseRow(TypedDict):
    """Errors at one noise scale and number of shots: means over the seeds, and their 95 % intervals."""

    backend: str
    scale: float
    shots: int | None
    seeds: int
    mae: float
    mae_low: float
    mae_high: float
    skill: float
    skill_low: float
    skill_high: float
    delta_mae: float
    delta_mae_low: float
    delta_mae_high: float
    expectation_error: float
    expectation_error_low: float
    expectation_error_high: float
    naive_mae: float
    against_naive: str


class MitigationRow(TypedDict):
    """A method against noise at a number of shots: what it costs, and what it saves beside ``none``.

    ``gain`` is the share of the forecast error that it saves, with the ends of its 95 % interval; ``p_holm``
    that of the family of all methods at these shots, and ``against_none`` what it shows.
    """

    backend: str
    mitigation: str
    shots: int | None
    seeds: int
    mae: float
    skill: float
    expectation_error: float
    expectation_bias: float | None
    expectation_variance: float | None
    executions: int | None
    device_seconds: float | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    gain_loss: str
    gain_reason: str
    p_holm: float | None
    against_none: str


class BudgetPart(TypedDict):
    """What a cause adds to the loss, with its 95 % interval over dates, and its share of the whole."""

    component: str
    value: float
    low: float | None
    high: float | None
    share: float | None


class BudgetRecord(TypedDict):
    """The error budget of a forecast: parts that add up to ``total``; ``left_out`` says why some are missing.

    ``naive`` is the same loss of the last value.
    """

    loss: str
    components: list[BudgetPart]
    total: BudgetPart
    naive: float
    left_out: dict[str, str]
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


class NoiseRecord(TypedDict):
    """A noise study; ``limits`` are the scales at which each number of shots falls behind the last value.

    ``mitigation`` has the methods that were asked for, at each number of shots those that save most first,
    and ``refused`` those that the backend cannot carry out.
    """

    run: str
    leaks: list[str]
    backend: str
    samples: int
    seeds: int
    exact_mae: float
    exact_skill: float | None
    naive_mae: float
    mae_sampling_error: float | None
    rows: list[NoiseRow]
    limits: dict[str, float | None]
    verdict: str
    mitigation: NotRequired[list[MitigationRow]]
    mitigation_verdict: NotRequired[str | None]
    refused: NotRequired[list[Json]]
    budget: NotRequired[BudgetRecord | None]
    budget_reason: NotRequired[str]
    request: Json
    looks: Json
    file: NotRequired[str]


class AblationRecord(TypedDict):
    """An ablation; ``seed_*`` hold a figure of each seed by variant, ``life`` what the circuit did."""

    study: str
    folder: str
    config: str
    data: str
    leaks: list[str]
    data_notes: list[str]
    seeds: list[int]
    folds: NotRequired[int]
    windows: int
    dates: int
    target: str
    circuit_weights: int
    twin_hidden: int
    twin_parameters: int
    mlp_widths: list[Row]
    left_out: dict[str, str]
    loss: NotRequired[str]
    other_losses: list[str]
    rows: list[Row]
    best: str
    family: list[dict[str, str]]
    earns_place: bool | None
    not_beaten: list[str]
    pairs: list[Row]
    verdict: str
    seed_mae: dict[str, list[float]]
    seed_skill: dict[str, list[float]]
    seed_loss: NotRequired[dict[str, list[float]]]
    life: list[Row]
    looks: Json
    figure: NotRequired[str | None]
    passed: NotRequired[bool]
    best_skill: NotRequired[float]


class ControlsRecord(TypedDict):
    """The controls of an ablation; ``passed`` says whether both gave what they must."""

    rows: list[Row]
    verdict: str
    passed: bool
    controls: dict[str, AblationRecord]


class StageNoise(TypedDict):
    """Spread over seeds against spread over points, as `qhq.studies.sweep.ranking.Noise` explains it."""

    points: int
    seeds: int
    seed_sd: float | None
    point_sd: float | None
    p_value: float | None
    margin: float
    is_ranking: bool | None
    sentence: NotRequired[str]


class StageTrend(TypedDict):
    """Rank correlation of a stage's values with one number of its points."""

    key: str
    rho: float
    low: float
    high: float
    p_value: float
    points: int


class StageRecord(TypedDict):
    """A stage of a sweep; ``best`` is the point that the next starts from, ``lowest`` that of least error."""

    stage: str
    search: str
    keys: list[str]
    points: int
    pruned: int
    failed: int
    best: str
    value: float
    lowest: str
    lowest_value: float
    tied: int
    noise: StageNoise
    confidence_set: NotRequired[Json]
    trends: list[StageTrend]
    rows: list[Row]


class FinalRecord(TypedDict):
    """The winner of a sweep, and what it started from, on the test split with fresh seeds."""

    seeds: list[int]
    windows: int
    dates: int
    loss: NotRequired[str]
    baseline: str
    rows: list[Row]
    confidence_set: Json
    looks: Json


class SweepRecord(TypedDict):
    """A sweep; ``rows`` are those of the last table that there is."""

    sweep: str
    folder: str
    status: str
    metric: str
    leaks: list[str]
    stages: list[StageRecord]
    final: FinalRecord | None
    rows: list[Row]
    verdict: str
    figures: NotRequired[list[str]]
