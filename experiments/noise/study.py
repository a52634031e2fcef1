"""Does training under a device's noise, or with its mean errors injected, help on that device?

    python experiments/noise/study.py [--seeds 5] [--windows 600] [--workers 1]

Three trainings (exact, under the noise of ``fake_fez``, on the exact engine with the errors of ``fake_fez``
injected) with the same seeds, each evaluated on the exact simulator, on three devices and on a second day of
the first, with exact values and with shots, and with every method of error mitigation. A cell is one training
with all its evaluations; cells are kept as they are done, so the same command goes on where it was stopped.
It writes ``noise-training.json`` and ``noise-training.png`` into the folder of the runs, and prints tables.

The comparisons that are tested were named before anything was measured: see `FAMILY`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console

from qhq import __version__
from qhq.backends.backend import BackendSpec
from qhq.backends.noisy import AerSpec
from qhq.backends.registry import find_backend, open_backend, open_mitigated
from qhq.cli.command import plain_table
from qhq.data.panel import FloatArray
from qhq.evaluation.bootstrap import Interval, Median, date_interval, median_interval, paired_interval
from qhq.evaluation.significance import Comparison, compare_pairs, say_p_value
from qhq.experiment.config import ExperimentConfig, load_config
from qhq.experiment.evaluate import (
    EXACT,
    WindowForecasts,
    ask_circuit,
    beside_baselines,
    choose_windows,
    encode,
)
from qhq.experiment.fit import fit, pass_parity_gate
from qhq.experiment.opening import Experiment, open_on_data
from qhq.experiment.refit import Lesson
from qhq.files import write_atomically
from qhq.paths import runs_dir
from qhq.progress import open_steps
from qhq.report.figures import save_figure
from qhq.runs.looks import add_look
from qhq.seeding import child_seed
from qhq.studies.mitigation import FITTED, correct, date_losses_of, made_of, prepare_lesson
from qhq.studies.runner import Outcome, Runner, Store, Study, Values, open_workers
from qhq.studies.runner.reproducible import Fingerprints, digest, one_training
from qhq.training.loop import Watcher

HERE = Path(__file__).parent
SHOTS = 1024
DEVICE = "fake_fez"

TRAININGS: dict[str, tuple[str, ...]] = {
    "exact": (),
    "under noise": (f"backend={DEVICE}",),
    "injection": (f"training.injection={{backend: {DEVICE}, shots: {SHOTS}}}",),
}
"""What is changed in the config of this folder."""

DAY_BEFORE = "fez, a month before"
SNAPSHOT = HERE / "fez-2025-01-23.json.gz"
PLACES = ("exact simulator", DEVICE, DAY_BEFORE, "fake_torino", "fake_nairobi")
METHODS = ("none", "trex", "zne")
"""What the backend itself does; `affine` and `head` are made of the answers of `none`."""

FAMILY = [
    ((training, DEVICE, shots, "none"), ("exact", DEVICE, shots, "none"))
    for training in ("under noise", "injection")
    for shots in (None, SHOTS)
]
"""The question, on the device trained for, with exact values and with shots; all else is exploration."""

Row = tuple[str, str, int | None, str]
"""Training, place, shots and method of mitigation."""


def open_place(name: str) -> BackendSpec:
    """The entry of a place; the other day is a real calibration too, frozen in a file of this folder."""
    if name == DAY_BEFORE:
        noise = {"snapshot": str(SNAPSHOT)}
        entry = {"kind": "aer", "name": "fez_january", "method": "density_matrix", "noise": noise}
        return AerSpec.model_validate(entry)
    return EXACT if name == PLACES[0] else find_backend(name)


@dataclass(frozen=True)
class Cell:
    """One training, evaluated everywhere."""

    training: str
    config: ExperimentConfig = field(repr=False)
    windows: int
    seen: Fingerprints = field(repr=False)

    @property
    def key(self) -> str:
        """Name of the cell in the store."""
        return f"{self.training}/{self.config.seed}"


class NoiseTraining(Study[Cell, dict[str, Any]]):
    """The study; a digest of all that its cells depend on names its store."""

    title = "training under noise"

    def __init__(self, config: str, seeds: Sequence[int], windows: int) -> None:
        self.seeds, self.windows = tuple(seeds), windows
        self.configs = {name: load_config(config, changes) for name, changes in TRAININGS.items()}
        seen = [digest(each) for each in self.configs.values()]
        frozen = [hashlib.sha256(SNAPSHOT.read_bytes()).hexdigest(), __version__, SHOTS, windows]
        name = hashlib.sha256(json.dumps([seen, frozen]).encode()).hexdigest()[:10]
        self.store = Store(runs_dir() / "studies" / f"noise-training-{name}.jsonl", shared=True)

    def plan(self) -> list[Cell]:
        """Seed after seed, so that whatever there is when it is stopped is paired."""
        found = {name: Fingerprints.of(config) for name, config in self.configs.items()}
        return [
            Cell(name, config.model_copy(update={"seed": seed}), self.windows, found[name])
            for seed in self.seeds
            for name, config in self.configs.items()
        ]

    @staticmethod
    def measure(cell: Cell) -> Outcome:
        """Train, then evaluate everywhere."""
        data = cell.seen.require(cell.config)
        with one_training():
            experiment = open_on_data(cell.config, data)
            pass_parity_gate(experiment)
            fit(experiment, Watcher())
            # Sampled once per training: in the ledger of looks it counts as one model.
            add_look(data.test, run="experiments/noise", command="noise")
            windows = choose_windows(data.test, min(cell.windows, len(data.test)), 0)
            latent, lesson = encode(experiment, windows), prepare_lesson(experiment, 0)
            rows = {
                json.dumps([place, shots, method]): _values(evaluation)
                for place in PLACES
                for shots in (None, SHOTS)
                for method, evaluation in _evaluate(experiment, place, shots, windows, latent, lesson)
            }
        return Outcome(rows)

    def summarise(self, done: Mapping[str, Values]) -> dict[str, Any]:
        """Rows by seed, and the tests."""
        found: dict[Row, list[Values]] = {}
        for name in self.configs:
            for seed in self.seeds:
                for key, values in done[f"{name}/{seed}"].items():
                    place, shots, method = json.loads(key)
                    found.setdefault((name, place, shots, method), []).append(values)
        losses = {row: np.mean([each["losses"] for each in values], axis=0) for row, values in found.items()}
        named = {_name(row): each for row, each in losses.items()}
        family = [(_name(first), _name(second)) for first, second in FAMILY]
        tests = compare_pairs(named, 1, family=family)
        return {
            "seeds": list(self.seeds),
            "windows": self.windows,
            "rows": [_row(row, values, losses[row]) for row, values in found.items()],
            "pairs": [_pair(found, losses, pair, test) for pair, test in zip(FAMILY, tests, strict=True)],
            "against_exact": [
                _pair(found, losses, (("exact", place, None, "none"), ("exact", PLACES[0], None, "none")))
                for place in PLACES[1:]
            ],
            "mitigation": [
                _pair(found, losses, ((training, DEVICE, SHOTS, method), (training, DEVICE, SHOTS, "none")))
                for training in TRAININGS
                for method in ("trex", "zne", *FITTED)
            ],
        }


def _evaluate(
    experiment: Experiment,
    place: str,
    shots: int | None,
    windows: Any,
    latent: torch.Tensor,
    lesson: Lesson,
) -> Iterator[tuple[str, WindowForecasts]]:
    """Every method on one backend, by Aer."""
    spec = open_place(place).model_copy(update={"shots": shots})
    assert experiment.ansatz is not None
    for method in METHODS if spec.is_noisy else METHODS[:1]:
        seed = child_seed(experiment.config.seed, f"{place}/{shots}/{method}")
        open_it = open_mitigated if spec.is_noisy else open_backend
        arguments = (method,) if spec.is_noisy else ()
        executor = open_it(spec, experiment.ansatz, *arguments, seed=seed)
        served = made_of(method) if spec.is_noisy else ("none",)
        asked = torch.cat([latent, lesson.latent]) if "affine" in served else latent
        answers = ask_circuit(experiment, executor, asked)
        for each in served:
            made = correct(experiment, each, latent, answers, lesson)
            yield (
                each,
                beside_baselines(experiment, windows, made.scaled, made.expectations, executor.report()),
            )


def _values(evaluation: WindowForecasts) -> Values:
    losses, name = date_losses_of([evaluation])
    metrics = evaluation.metrics()
    return {"mae": metrics.mae, "skill": metrics.skill, "loss": name, "losses": losses.tolist()}


def _row(row: Row, values: Sequence[Values], losses: FloatArray) -> dict[str, Any]:
    skill = median_interval([each["skill"] for each in values])
    interval = date_interval(losses)
    return {
        "training": row[0],
        "place": row[1],
        "shots": row[2],
        "mitigation": row[3],
        "skill": [each["skill"] for each in values],
        "skill_median": skill.value,
        "skill_low": skill.low,
        "skill_high": skill.high,
        "loss": values[0]["loss"],
        "loss_mean": interval.value,
        "loss_low": interval.low,
        "loss_high": interval.high,
    }


def _pair(
    found: Mapping[Row, Sequence[Values]],
    losses: Mapping[Row, FloatArray],
    pair: tuple[Row, Row],
    test: Comparison | None = None,
) -> dict[str, Any]:
    """The first row of a pair minus the second: skill seed by seed, the loss that decides date by date."""
    first, second = pair
    skill: Median = paired_interval(*([each["skill"] for each in found[row]] for row in pair))
    saved: Interval = date_interval(np.column_stack([losses[first], losses[second]]), _saved)
    if test is None:
        (test,) = compare_pairs(
            {_name(row): losses[row] for row in pair}, 1, pairs=[(_name(first), _name(second))]
        )
    return {
        "first": _name(first),
        "second": _name(second),
        "skill": skill.value,
        "skill_low": skill.low,
        "skill_high": skill.high,
        "seeds_below": sum(each < 0 for each in skill.values),
        "seeds": skill.count,
        "saved": saved.value,
        "saved_low": saved.low,
        "saved_high": saved.high,
        "p": test.p_value,
        "p_holm": test.adjusted,
        "verdict": f"exploratory: suggests {test.suggests() or 'nothing'}"
        if test.exploratory
        else test.verdict(),
        "dates": test.dates,
    }


def _saved(pairs: FloatArray) -> float:
    return 1 - float(pairs[:, 0].sum() / pairs[:, 1].sum())


def _name(row: Row) -> str:
    training, place, shots, method = row
    drawn = "exact values" if shots is None else f"{shots} shots"
    return ", ".join([f"trained {training}", place, drawn, *([] if method == "none" else [method])])


def show(record: Mapping[str, Any], console: Console) -> None:
    """Print the tables of the README."""
    rows = {(row["training"], row["place"], row["shots"], row["mitigation"]): row for row in record["rows"]}
    for title, shots, method in (("exact values", None, "none"), (f"{SHOTS} shots", SHOTS, "none")):
        cells = [
            [name, *(_skill(rows[name, place, shots, method]) for place in PLACES)] for name in TRAININGS
        ]
        console.print(plain_table(("trained", *PLACES), cells, title=f"Skill %, {title}: median and range"))
    cells = [
        [name, method, *(_skill(rows[name, place, SHOTS, method]) for place in PLACES[1:])]
        for name in TRAININGS
        for method in ("none", "trex", "zne", *FITTED)
    ]
    title = f"Skill %, {SHOTS} shots, with mitigation"
    console.print(plain_table(("trained", "mitigation", *PLACES[1:]), cells, title=title))
    for title in ("pairs", "against_exact", "mitigation"):
        cells = [
            [
                each["first"],
                each["second"],
                f"{100 * each['skill']:+.3f} ({_between(each['skill_low'], each['skill_high'])})",
                f"{each['seeds_below']} of {each['seeds']}",
                f"{100 * each['saved']:+.3f} ({_between(each['saved_low'], each['saved_high'])})",
                "-" if each["p"] is None else say_p_value(each["p"]),
                "-" if each["p_holm"] is None else say_p_value(each["p_holm"]),
                each["verdict"],
            ]
            for each in record[title]
        ]
        columns = ("first", "second", "skill, points", "seeds below", "loss saved %", "p", "Holm", "verdict")
        console.print(plain_table(columns, cells, title=title))


def _skill(row: Mapping[str, Any]) -> str:
    return f"{100 * row['skill_median']:.2f} ({_between(min(row['skill']), max(row['skill']))})"


def _between(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{100 * low:.2f} to {100 * high:.2f}"


def draw(record: Mapping[str, Any]) -> Figure:
    """Skill of each training on each backend, with exact values, shots, and the mitigation of shots."""
    rows = {(row["training"], row["place"], row["shots"], row["mitigation"]): row for row in record["rows"]}
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    methods = ("none", "trex", "zne", *FITTED)
    columns: tuple[list[tuple[str, str, int | None, str]], ...] = (
        [(place, place, shots, "none") for place in PLACES for shots in (None, SHOTS)],
        [(method, DEVICE, SHOTS, method) for method in methods],
    )
    colors = dict(zip(TRAININGS, ("tab:green", "tab:blue", "tab:orange"), strict=True))
    for axes, wanted in zip(panels, columns, strict=True):
        for shift, (training, color) in enumerate(colors.items()):
            for number, (_, place, shots, method) in enumerate(wanted):
                row = rows[training, place, shots, method]
                x = number + 0.22 * (shift - 1)
                skills = [100 * each for each in row["skill"]]
                axes.plot([x] * len(skills), skills, ".", color=color, alpha=0.4)
                label = f"trained {training}" if number == 0 else None
                axes.plot([x - 0.09, x + 0.09], [100 * row["skill_median"]] * 2, color=color, label=label)
        names = [f"{word}, {'exact' if shots is None else f'{shots} shots'}" for word, _, shots, _ in wanted]
        axes.set_xticks(range(len(wanted)), names, fontsize=7, rotation=25, ha="right")
        axes.grid(alpha=0.3, axis="y")
    panels[0].set(ylabel="skill over the last value, %", title="Evaluated on")
    panels[1].set(title=f"With mitigation on {DEVICE}")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    title = f"{len(record['seeds'])} seeds, {record['windows']} windows; dots are seeds, lines medians"
    figure.suptitle(title, fontsize=10)
    return figure


def main() -> None:
    """Measure what is missing, write the record and the figure, print the tables."""
    parser = argparse.ArgumentParser(description="Does training under a device's noise help on that device?")
    parser.add_argument("--config", default=str(HERE / "config.yaml"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--windows", type=int, default=600, help="of the test split, a seeded subset")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    study = NoiseTraining(options.config, range(options.seeds), options.windows)
    with open_steps(True) as shown, open_workers(options.workers, None, shown.note) as who:
        record = Runner(who, shown).run(study)
    write_atomically(study.store.path.with_suffix(".json"), json.dumps(record, indent=1).encode())
    figure = study.store.path.with_suffix(".png")
    save_figure(draw(record), figure, study.configs["exact"].data.caveat)
    show(record, Console(width=200))
    Console().print(f"Figure {figure}")


if __name__ == "__main__":
    main()
