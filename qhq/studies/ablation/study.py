"""A whole ablation: every variant with every seed, the baselines, the table and the verdict.

The study has a folder of its own below ``studies/`` of the runs folder. Cells are kept as they are done, so a
study that was cut off goes on where it stopped, and one asked again for more seeds measures only those. A
variant's config is kept beside them; `qhq train` runs it as any other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qhq import __version__
from qhq.ansatz.program import Ansatz
from qhq.ansatz.stored import fingerprint
from qhq.data.prepare import Prepared, prepare
from qhq.data.quarantine import tell_rows
from qhq.documents import dump_document
from qhq.evaluation.baselines.catalogue import task_baseline
from qhq.experiment.config import ExperimentConfig
from qhq.experiment.opening import build_circuit
from qhq.experiment.record import git_commit, now, versions
from qhq.models.mlp import mlp_parameters
from qhq.paths import runs_dir
from qhq.studies.ablation.cell import Bench, Values
from qhq.studies.ablation.pool import measure_cells
from qhq.studies.ablation.table import rivals, table_rows
from qhq.studies.ablation.variants import HYBRID, MEANINGS, Variants, build_variants, quantum_of, twin_spec
from qhq.studies.ablation.verdict import say_verdict
from qhq.studies.cells import CellStore, judged_by_symbol
from qhq.studies.comparisons import call, compare_all
from qhq.tracking.looks import Looks, add_look
from qhq.tracking.run_folder import RunFolder, writable

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class AblationRequest:
    """What ``qhq ablate`` was asked for: seeds from the config's own on, and how many processes."""

    seeds: int = 5
    workers: int = 1


@dataclass(frozen=True)
class _Study:
    config: ExperimentConfig
    ansatz: Ansatz
    data: Prepared
    variants: Variants
    folder: RunFolder

    @property
    def bench(self) -> Bench:
        return Bench(self.variants.configs, self.data)


def run_ablation(config: ExperimentConfig, request: AblationRequest, progress: Progress) -> dict[str, Any]:
    """Measure every cell that is not there yet, test and sum up.

    Args:
        config: The hybrid's.
        request: How many seeds and processes.
        progress: Told how many cells are done, of how many, and which was the last.

    Returns:
        ``rows``, one flat object a variant and baseline; ``verdict``, one sentence; ``pairs``, every test;
        ``seed_mae`` and ``seed_skill``, those of each seed; ``folder``, where the study lies.

    Raises:
        QHQError: If the config has no quantum layer, anything cannot be opened, or a cell fails.
    """
    study = _open(config)
    with study.folder.locked():
        done, looks = _measure(study, request, progress)
    seeds = range(config.seed, config.seed + request.seeds)
    record = {**_summary(study, seeds, done), "looks": looks.to_dict()}
    provenance = {"created": now(), "versions": versions(), "git": git_commit()}
    study.folder.write_json("study.json", {**record, **provenance})
    return record


def _open(config: ExperimentConfig) -> _Study:
    ansatz = build_circuit(quantum_of(config))
    data, variants = prepare(config.data), build_variants(config, ansatz)
    name = f"ablation-{config.name}-{_digest(variants, ansatz, data)}"
    folder = RunFolder(runs_dir() / "studies" / name)
    with writable(folder.path):
        folder.path.mkdir(parents=True, exist_ok=True)
    for variant, each in variants.configs.items():
        folder.write_text(f"variants/{variant}.yaml", dump_document(each))
    return _Study(config, ansatz, data, variants, folder)


def _digest(variants: Variants, ansatz: Ansatz, data: Prepared) -> str:
    """Name of all that a cell's value depends on besides its variant and seed."""
    configs = [each.model_dump_json(exclude={"name", "seed"}) for each in variants.configs.values()]
    content = [*configs, fingerprint(ansatz), data.fingerprint, __version__]
    content += judged_by_symbol(data.test)
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def _best(rows: list[dict[str, Any]]) -> str:
    """The variant or baseline of the highest median skill, in which every symbol has the same weight."""
    known = [row for row in rows if row["skill"] is not None]
    # Without a skill the last value never errs: then there is one price only, and nothing beats it.
    best = max(known, key=lambda row: row["skill"]) if known else min(rows, key=lambda row: row["mae"])
    return str(best["variant"])


def _measure(study: _Study, request: AblationRequest, progress: Progress) -> tuple[dict[str, Values], Looks]:
    first = study.config.seed
    cells = study.bench.cells(range(first, first + request.seeds))
    store = CellStore(study.folder.file("cells.jsonl"))
    done = store.read()
    missing = [cell for cell in cells if cell.key not in done]
    # Baselines have nothing that was chosen; each trained model is a look of its own.
    models = sum(cell.seed is not None for cell in missing)
    looks = add_look(study.data.test, run=study.folder.name, command="ablate", times=models)
    count = len(cells) - len(missing)
    progress(count, len(cells), "")

    def note(text: str) -> None:
        progress(count, len(cells), text)

    for cell, values in measure_cells(study.bench, missing, request.workers, note):
        store.append(cell.key, values)
        done[cell.key] = values
        count += 1
        progress(count, len(cells), cell.key)
    return done, looks


def _summary(study: _Study, seeds: range, done: dict[str, Values]) -> dict[str, Any]:
    cells = study.bench.cells(seeds)
    measured: dict[str, list[Values]] = {}
    for cell in sorted(cells, key=lambda each: each.seed is None):  # the models first
        measured.setdefault(cell.name, []).append(done[cell.key])
    cut, ansatz = study.data.test.cut, study.ansatz
    against = rivals(task_baseline(cut))
    family = [(HYBRID, rival) for rival in against]
    comparisons = compare_all(measured, cut.horizon, against, family)
    rows = table_rows(measured, comparisons)
    twin = twin_spec(ansatz)
    return {
        "study": study.folder.name,
        "folder": str(study.folder.path),
        "config": study.config.name,
        "leaks": list(study.data.leaks),
        "data_notes": tell_rows(study.data.quarantine, study.data.doubts, study.data.notes),
        "seeds": list(seeds),
        "windows": len(study.data.test),
        "dates": comparisons[0].dates,
        "target": ", ".join(cut.targets),
        "circuit_weights": ansatz.num_weights,
        "twin_hidden": twin.hidden,
        "twin_parameters": mlp_parameters(ansatz.num_inputs, twin.hidden, ansatz.num_outputs),
        "left_out": study.variants.left_out,
        "rows": rows,
        "best": _best(rows),
        "pairs": [{**vars(each), "verdict": call(measured, each, MEANINGS).verdict} for each in comparisons],
        "verdict": say_verdict(rows, sum(each.adjusted is not None for each in comparisons)),
        **{
            f"seed_{key}": {name: [each[key] for each in values] for name, values in measured.items()}
            for key in ("mae", "skill")
        },
        "life": [
            {key: each[key] for key in ("gradient", "moved", "share", "findings", "alive")}
            for each in measured["hybrid"]
        ],
    }
