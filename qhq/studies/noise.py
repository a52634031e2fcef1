"""The noise study: a checkpoint's forecast and expectation error against noise strength and shots.

Every cell of scale x shots x seed is one evaluation of the same windows. Cells are kept as they are done,
so a study that was cut off goes on where it stopped, and several processes that ask for one share its cells.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from qhq.backends.backend import BackendSpec
from qhq.backends.registry import find_backend, open_backend
from qhq.errors import ConfigError, DataError
from qhq.experiment.evaluate import Evaluation, evaluate
from qhq.experiment.opening import Experiment, open_run
from qhq.experiment.record import git_commit, now, versions
from qhq.runs.looks import add_look
from qhq.runs.run_folder import RunFolder
from qhq.seeding import child_seed
from qhq.studies.portability import EXACT, expectation_error
from qhq.studies.runner.store import CellStore, judged_by_symbol
from qhq.studies.subset import choose_windows, sampling_error

CONFIDENCE = 0.95


@dataclass(frozen=True)
class NoiseRequest:
    """What ``qhq noise`` was asked for.

    ``scales`` multiply the noise of ``backend`` (0 none, 1 the device itself); ``shots`` of None is exact;
    sampled cells are repeated for each of ``seeds`` streams of shots; ``samples`` limits the test windows.
    """

    backend: str = "aer_noisy"
    scales: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
    shots: tuple[int | None, ...] = (None, 256, 1024, 4096)
    seeds: int = 3
    samples: int | None = 128
    seed: int = 0


@dataclass(frozen=True)
class _Cell:
    scale: float
    shots: int | None
    seed: int

    @property
    def key(self) -> str:
        return f"{self.scale:g}/{'exact' if self.shots is None else self.shots}/{self.seed}"


@dataclass
class _Bench:
    """What every cell needs."""

    experiment: Experiment
    entry: BackendSpec
    exact: Evaluation
    request: NoiseRequest
    cells: list[_Cell] = field(default_factory=list)

    def measure(self, cell: _Cell) -> dict[str, float]:
        """Evaluate one cell: errors of forecast and expectation values."""
        spec = self.entry.model_copy(update={"noise_scale": cell.scale, "shots": cell.shots})
        assert self.experiment.ansatz is not None
        seed = child_seed(self.request.seed, f"noise/{cell.key}")
        executor = open_backend(spec, self.experiment.ansatz, seed=seed)
        evaluation = evaluate(self.experiment, executor, self.exact.windows)
        metrics = evaluation.metrics()
        return {
            "mae": metrics.mae,
            "skill": _defined(metrics.skill),
            "delta_mae": metrics.mae - self.exact.metrics().mae,
            "expectation_error": expectation_error(evaluation, self.exact) or 0.0,
        }


def _defined(skill: float | None) -> float:
    if skill is None:
        raise DataError(
            "A noise study needs windows whose targets move",
            got="a last value that never errs",
            fix="Ask for more --samples",
        )
    return skill


def run_noise_study(
    folder: RunFolder, request: NoiseRequest, progress: Callable[[int, int, str], None]
) -> dict[str, Any]:
    """Measure every cell that is not there yet and sum them up.

    Args:
        folder: The run whose checkpoint is looked at.
        request: Backend, scales, shots, seeds, windows.
        progress: Told how many cells are done, of how many, and which is next.

    Returns:
        ``rows``, one flat object a scale and shots; ``verdict``, one sentence; ``limits``, the scale at which
        each number of shots falls behind the naive forecast; ``file``, where all that is kept.

    Raises:
        QHQError: If the backend has no noise to scale, the run has no circuit, or a cell cannot be measured.
    """
    bench = _open_bench(folder, request)
    store = CellStore(folder.file(f"studies/noise-{_digest(bench)}.jsonl"))
    there = store.read()
    test, missing = bench.experiment.data.test, any(each.key not in there for each in bench.cells)
    looks = add_look(test, run=folder.name, command="noise", times=int(missing))
    cells = {cell.key: cell for cell in bench.cells}

    def measure(key: str, there: int) -> dict[str, float]:
        progress(there, len(cells), key)
        return bench.measure(cells[key])

    done = store.complete(list(cells), measure)
    progress(len(bench.cells), len(bench.cells), "")
    record = {**_summary(folder, bench, done), "looks": looks.to_dict()}
    provenance = {"created": now(), "versions": versions(), "git": git_commit()}
    name = f"studies/noise-{_digest(bench)}.json"
    folder.write_json(name, {**record, **provenance})
    return {**record, "file": str(folder.path / name)}


def _open_bench(folder: RunFolder, request: NoiseRequest) -> _Bench:
    entry = _noisy_entry(find_backend(request.backend))
    experiment = open_run(folder)
    if experiment.ansatz is None:
        raise ConfigError(
            "A noise study needs a run with a quantum layer", got=f"{folder.name}, which has none",
            fix="Name another run; 'qhq compare' lists them",
        )  # fmt: skip
    windows = choose_windows(experiment.data.test, request.samples, request.seed)
    executor = open_backend(EXACT, experiment.ansatz, seed=0)
    return _Bench(experiment, entry, evaluate(experiment, executor, windows), request, list(_cells(request)))


def _noisy_entry(entry: BackendSpec) -> BackendSpec:
    if entry.is_noisy:
        return entry
    raise ConfigError(
        "A noise study needs a simulated backend with noise",
        got=f"'{entry.name}'",
        fix="Use aer_noisy, a fake device, or an aer entry with a calibration snapshot",
    )


def _cells(request: NoiseRequest) -> Iterator[_Cell]:
    for scale, shots in itertools.product(request.scales, request.shots):
        # Exact values have nothing to draw.
        for seed in range(1 if shots is None else request.seeds):
            yield _Cell(scale, shots, seed)


def _digest(bench: _Bench) -> str:
    """Name of all that a cell's value depends on besides the cell: other settings, other files."""
    request = bench.request
    content = [
        bench.entry.model_dump_json(exclude={"description"}),
        bench.experiment.identity(),
        request.samples,
        request.seed,
        *judged_by_symbol(bench.exact.windows),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def _summary(folder: RunFolder, bench: _Bench, done: dict[str, dict[str, float]]) -> dict[str, Any]:
    request = bench.request
    rows = [
        _row(bench, done, scale, shots) for scale, shots in itertools.product(request.scales, request.shots)
    ]
    limits = {_shots_word(shots): _limit(rows, shots) for shots in request.shots}
    exact, population = bench.exact, len(bench.experiment.data.test)
    return {
        "run": folder.name,
        **bench.experiment.data.caveat.to_dict(),
        "backend": request.backend,
        "samples": len(exact.windows),
        "seeds": request.seeds,
        "exact_mae": exact.metrics().mae,
        "exact_skill": exact.metrics().skill,
        "naive_mae": exact.naive_metrics().mae,
        "mae_sampling_error": sampling_error(exact, population),
        "rows": rows,
        "limits": limits,
        "verdict": _verdict(exact, limits),
        "request": asdict(request),
    }


def _row(bench: _Bench, done: dict[str, dict[str, float]], scale: float, shots: int | None) -> dict[str, Any]:
    count = 1 if shots is None else bench.request.seeds
    cells = [done[_Cell(scale, shots, seed).key] for seed in range(count)]
    row: dict[str, Any] = {"backend": bench.request.backend, "scale": scale, "shots": shots, "seeds": count}
    for key in ("mae", "skill", "delta_mae", "expectation_error"):
        mean, low, high = interval([cell[key] for cell in cells])
        row |= {key: mean, f"{key}_low": low, f"{key}_high": high}
    naive = bench.exact.naive_metrics().mae
    return {**row, "naive_mae": naive, "against_naive": _against(row)}


def _against(row: dict[str, Any]) -> str:
    """On which side of the last value the whole interval of the skill lies."""
    if row["skill_high"] < 0:
        return "behind"
    return "ahead" if row["skill_low"] > 0 else "undecided"


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and its 95 % Student interval over seeds; one value is its own interval.

    >>> [round(value, 3) for value in interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    mean = float(np.mean(values))
    if len(values) == 1:
        return mean, mean, mean
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))
    return mean, mean - half, mean + half


def _limit(rows: list[dict[str, Any]], shots: int | None) -> float | None:
    """Smallest scale, between the measured ones linearly, at which the whole interval is behind the naive."""
    line = sorted((row["scale"], -row["skill_high"]) for row in rows if row["shots"] == shots)
    if line and line[0][1] > 0:
        return float(line[0][0])
    for (before, below), (after, above) in itertools.pairwise(line):
        if below <= 0 < above:
            return float(before + (after - before) * -below / (above - below))
    return None


def _verdict(exact: Evaluation, limits: dict[str, float | None]) -> str:
    if _defined(exact.metrics().skill) < 0:
        return (
            "The model is behind the last value already without noise, so no noise can make it fall behind:"
            " read what noise and shots add to its error in the column 'change of MAE'."
        )
    parts = [
        f"{word}: {'never in this range' if scale is None else f'from noise scale {scale:.2g}'}"
        for word, scale in limits.items()
    ]
    return f"Where the model clearly falls behind the last value: {'; '.join(parts)}."


def _shots_word(shots: int | None) -> str:
    return "exact" if shots is None else f"{shots} shots"
