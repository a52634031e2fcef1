"""A whole ablation: every variant with every seed, the baselines, table and verdict; and its controls.

The study has a folder of its own below ``studies/`` of the runs folder. Cells are kept as they are done, so a
study that was cut off goes on where it stopped, and one asked again for more seeds measures only those. A
variant's config is kept beside them; `qhq train` runs it as any other.

The two controls of a recipe are data on which nothing may win, and data on which a working layer must. The
recipe is the config's model, circuit and training, on other data: closes one session ahead, in windows of the
config's length. On the planted signal the skip connection is taken out, so that all that the head learns of
the window has gone through the middle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qhq import __version__
from qhq.ansatz.program import Ansatz
from qhq.ansatz.stored import ansatz_fingerprint
from qhq.data.load import describe_source
from qhq.data.prepare import PreparedData, check_one_scale
from qhq.data.quarantine import tell_rows
from qhq.data.sources.synthetic import Control, best_skill
from qhq.data.spec import DataSpec
from qhq.documents import dump_document
from qhq.evaluation.baselines.catalogue import task_baseline
from qhq.evaluation.baselines.har import MONTH
from qhq.evaluation.losses import is_volatility, loss_names
from qhq.experiment.config import ExperimentConfig, naming_json
from qhq.experiment.fit import why_alone
from qhq.experiment.opening import program_of
from qhq.files import Json
from qhq.models.hybrid import mlp_parameters
from qhq.models.spec import ModelSpec
from qhq.paths import runs_dir
from qhq.runs.looks import add_look
from qhq.runs.run_folder import RunFolder, writable
from qhq.runs.studies import AblationRecord, AblationRow, ControlsRecord, Life, PairRecord, Rival, Width
from qhq.studies.ablation.cells import (
    HYBRID,
    MEANINGS,
    MLP,
    TUNED_MLP,
    AblationCell,
    Variants,
    build_variants,
    count_folds,
    measure_ablation_cell,
    measure_cells,
    plan_cells,
    quantum_of,
)
from qhq.studies.ablation.verdict import (
    always_compared,
    choose_rivals,
    choose_width,
    compare_by_other_losses,
    compare_variants,
    judge_place,
    mostly_alive,
    say_ablation_verdict,
    table_rows,
    validation_loss,
    with_tuned_mlp,
)
from qhq.studies.comparisons import Measured, call
from qhq.studies.runner import Outcome, Runner, Store, Study, Values
from qhq.studies.runner.reproducible import judged_by_symbol, prepared, tested_windows

# What a cell holds; those of earlier versions hold less, and are measured again in a folder of their own.
_JUDGED = "losses of the task on test and validation"


@dataclass(frozen=True)
class AblationRequest:
    """What ``qhq ablate`` was asked for: seeds from the config's own on."""

    seeds: int = 5


def run_ablation(
    config: ExperimentConfig, request: AblationRequest, runner: Runner | None = None
) -> AblationRecord:
    """Measure every cell that is not there yet, test and sum up.

    Args:
        config: The hybrid's.
        request: How many seeds.
        runner: Who measures, and where progress goes; by default this process, and nowhere.

    Returns:
        ``rows``, one flat object a variant and baseline; ``verdict``, one sentence; ``pairs``, every test;
        ``seed_mae`` and ``seed_skill``, those of each seed; ``folder``, where the study lies.

    Raises:
        QHQError: If the config has no quantum layer, anything cannot be opened, or a cell fails.
    """
    study, runner = _open(config.of_seed(config.seed), request), runner or Runner()
    if request.seeds > 1 and (why := why_alone(config)):
        runner.progress.note(f"The seeds of a variant are trained one after another: {why}.")
    with study.folder.locked():
        return runner.run(study)


class Ablation(Study[AblationCell, AblationRecord]):
    """The study of one config.

    Attributes:
        config: The hybrid's.
        seeds: Of each variant.
        folder: Its own.
        test: Windows that are forecast, of all folds.
    """

    def __init__(
        self, config: ExperimentConfig, seeds: range, ansatz: Ansatz, data: PreparedData, variants: Variants
    ) -> None:
        self.config, self.seeds = config, seeds
        self.ansatz, self.data, self.variants = ansatz, data, variants
        self.test = tested_windows(config.data)
        name = f"ablation-{config.name}-{_digest(variants, ansatz, data)}"
        self.folder = RunFolder(runs_dir() / "studies" / name)
        self.store = Store(self.folder.file("cells.jsonl"))
        self.title = "ablation"

    def plan(self) -> list[AblationCell]:
        """The baselines, then one seed of every variant after the other; written down as looks."""
        cells = plan_cells(self.variants.configs, self.data, self.seeds)
        missing = {cell.key: cell for cell in cells}
        missing = {key: cell for key, cell in missing.items() if key not in self.store.find(missing)}
        # Baselines have nothing that was chosen; each trained model is a look of its own.
        models = sum(cell.seed is not None for cell in missing.values())
        self.looks = add_look(self.test, run=self.folder.name, command="ablate", times=models)
        return cells

    @staticmethod
    def measure(cell: AblationCell) -> Outcome:
        """Train or fit, and forecast the test split."""
        return Outcome(measure_ablation_cell(cell, cell.seen.require(cell.config)))

    @staticmethod
    def measure_together(cells: Sequence[AblationCell]) -> list[Outcome]:
        """The same of several seeds of a variant."""
        data = cells[0].seen.require(cells[0].config)
        return [Outcome(values) for values in measure_cells(cells, data)]

    def group(self, cell: AblationCell) -> str:
        """Seeds of a variant whose models can be stacked."""
        return "" if cell.seed is None or why_alone(cell.config) else cell.name

    def summarise(self, done: Mapping[str, Values]) -> AblationRecord:
        """The table, the tests and the verdict; kept as ``study.json``."""
        found: dict[str, list[Values]] = {}
        for cell in plan_cells(self.variants.configs, self.data, self.seeds):
            found.setdefault(cell.name, []).append(done[cell.key])
        record = _summary(self, found)
        self.folder.write_json("study.json", record.kept())
        return record


def _open(config: ExperimentConfig, request: AblationRequest) -> Ablation:
    quantum_of(config)  # refuses a config without a circuit
    ansatz = program_of(config)
    assert ansatz is not None
    # In a notebook a file may have changed since the last study of the same process.
    data, variants = prepared(config.data, anew=True), build_variants(config, ansatz)
    if config.data.split.walks:
        check_one_scale(config.data)
    seeds = range(config.seed, config.seed + request.seeds)
    study = Ablation(config, seeds, ansatz, data, variants)
    with writable(study.folder.path):
        study.folder.path.mkdir(parents=True, exist_ok=True)
    for variant, each in variants.configs.items():
        study.folder.write_text(f"variants/{variant}.yaml", dump_document(each))
    return study


def _digest(variants: Variants, ansatz: Ansatz, data: PreparedData) -> str:
    """Name of all that a cell's value depends on besides its variant and seed."""
    # Neither moves a number of a study: a name is for people, and the seed stands in each cell's own key.
    configs = [naming_json(each) for each in variants.configs.values()]
    content = [*configs, ansatz_fingerprint(ansatz), data.fingerprint, __version__]
    content += [*judged_by_symbol(data.test), _JUDGED]
    # Earlier versions trained the first fold of a walk-forward alone.
    content += ["every fold"] if variants.configs[HYBRID].data.split.walks else []
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def _summary(study: Ablation, found: dict[str, list[Values]]) -> AblationRecord:
    measured = with_tuned_mlp(found)
    left_out = dict(study.variants.left_out)
    if TUNED_MLP not in measured:
        left_out[TUNED_MLP] = "the width that matches the circuit is the best on the validation split"
    cut, ansatz = study.test.cut, study.ansatz
    if is_volatility(cut) and cut.window < MONTH:
        left_out["har"] = f"it reads {MONTH} rows, and data.window is {cut.window}: lengthen it"
    rivals, loss = choose_rivals(measured), loss_names(study.test)[0]
    always = always_compared(task_baseline(cut))
    comparisons = compare_variants(measured, cut.horizon, rivals, always)
    others = compare_by_other_losses(measured, cut.horizon)
    rows = table_rows(measured, comparisons, always, rivals.roles, others)
    place = judge_place(measured, comparisons, rivals, alive=mostly_alive(rows[0]))
    matched = study.variants.widths[MLP]
    record = AblationRecord(
        study=study.folder.name,
        folder=str(study.folder.path),
        config=study.config.name,
        data=_say_data(study.config),
        leaks=list(study.data.caveat.leaks),
        data_notes=tell_rows(study.data.quarantine, study.data.doubts, study.data.notes),
        seeds=list(study.seeds),
        windows=len(study.test),
        dates=comparisons[0].dates,
        target=", ".join(cut.targets),
        circuit_weights=ansatz.num_weights,
        twin_hidden=matched,
        twin_parameters=mlp_parameters(ansatz.num_inputs, matched, ansatz.num_outputs),
        mlp_widths=_say_widths(study, found),
        left_out=left_out,
        loss=loss,
        other_losses=list(others),
        rows=[AblationRow.model_validate(row) for row in rows],
        best=_best(rows),
        family=[Rival(rival=name, role=role) for name, role in rivals.roles.items()],
        earns_place=place.earned if place.tested else None,
        not_beaten=list(place.others),
        pairs=[
            PairRecord(**vars(each), verdict=call(measured, each, MEANINGS).verdict) for each in comparisons
        ],
        verdict=say_ablation_verdict(rows, place, rivals, loss),
        seed_mae={name: [each["mae"] for each in values] for name, values in measured.items()},
        seed_skill={name: [each["skill"] for each in values] for name, values in measured.items()},
        seed_loss={
            name: [float(np.mean(each["losses"])) for each in values] for name, values in measured.items()
        },
        life=[Life(**{key: each[key] for key in Life.model_fields}) for each in measured[HYBRID]],
        looks=study.looks,
    )
    if study.config.data.split.walks:
        return record.updated(folds=count_folds(study.config.data))
    return record


def _best(rows: list[Json]) -> str:
    """The variant or baseline of the lowest loss, in which every symbol has the same weight."""
    return str(min(rows, key=lambda row: row["loss"])["variant"])


def _say_widths(study: Ablation, found: Measured) -> list[Width]:
    """What became of each width of the MLP."""
    best = choose_width(found)
    return [
        Width(
            hidden=hidden,
            parameters=found[name][0]["parameters_middle"],
            validation_loss=validation_loss(found[name]),
            chosen=name == best,
        )
        for name, hidden in study.variants.widths.items()
    ]


def _say_data(config: ExperimentConfig) -> str:
    """What the data is, in a line: synthetic or real, and the file if it is a user's own."""
    kind, path = describe_source(config.data.source), config.data.path
    return kind if path is None else f"{kind}, {Path(path).name}"


_CONTROLS: tuple[Control, ...] = ("random_walk", "planted")

_FOUND = {
    "better": "better than",
    "not shown": "not shown to be better than",
    "worse": "worse than",
    "not tested": "not tested against",
}
_TITLES = {"random_walk": "Random walk", "planted": "Planted signal"}


def control_config(config: ExperimentConfig, control: Control) -> ExperimentConfig:
    """Put a recipe on a control; ``data.panel_seed`` stays that of the config."""
    data = DataSpec(
        source=control,
        symbols=None,
        window=config.data.window,
        panel_seed=config.data.panel_seed,
    )
    # A name has 60 letters at most, and that of the control is still to come.
    changes: dict[str, object] = {"data": data, "name": f"{config.name[:40]}-{control}"}
    if control == "planted" and isinstance(config.model, ModelSpec):
        changes["model"] = config.model.model_copy(update={"skip": "none"})
    return config.model_copy(update=changes)


def run_controls(
    config: ExperimentConfig, request: AblationRequest, runner: Runner | None = None
) -> ControlsRecord:
    """Run the study on both controls.

    Args:
        config: The hybrid's.
        request: How many seeds.
        runner: Who measures, and where progress goes.

    Returns:
        ``rows`` of both, each with its ``control`` and that data's ``best_skill``; ``verdict``; ``passed``;
        ``controls``, the record of each study.

    Raises:
        QHQError: As of `run_ablation`.
    """
    records = {
        control: run_ablation(control_config(config, control), request, runner) for control in _CONTROLS
    }
    judged: dict[str, tuple[bool, str]] = {
        control: judge_control(control, record.rows) for control, record in records.items()
    }
    controls = {
        control: record.updated(passed=judged[control][0], best_skill=best_skill(control))
        for control, record in records.items()
    }
    return ControlsRecord(
        rows=[
            AblationRow.model_validate({"control": name, "best_skill": each.best_skill, **row.to_dict()})
            for name, each in controls.items()
            for row in each.rows
        ],
        verdict=" ".join(text for _, text in judged.values()),
        passed=all(passed for passed, _ in judged.values()),
        controls=dict(controls.items()),
    )


def judge_control(control: Control, rows: Sequence[AblationRow]) -> tuple[bool, str]:
    """Whether a control came out as it must, and a sentence that says so."""
    better = [row.variant for row in rows if row.vs_naive == "better"]
    if control == "random_walk":
        found = f"{', '.join(better)} called better" if better else "nothing is called better"
        return not better, f"{_TITLES[control]}: {found} than the last value, {_as(not better)}."
    hybrid = next(row for row in rows if row.variant == HYBRID)
    passed, found = HYBRID in better, _FOUND[hybrid.vs_naive or "not tested"]
    return passed, (
        f"{_TITLES[control]}: the hybrid is called {found} the last value, {_as(passed)}"
        f" (skill {hybrid.skill:.1%}; the best there is has {best_skill(control):.1%} over long spans)."
    )


def _as(passed: bool) -> str:
    return "as it should be" if passed else "which it should not be"
