"""The noise study: a checkpoint's forecast and expectation error against noise strength and shots.

Every cell of scale x shots x seed is one evaluation of the same windows. Cells are kept as they are done,
so a study that was cut off goes on where it stopped, and several processes that ask for one share its cells.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from scipy import stats

from qhq import __version__
from qhq.backends.backend import BackendSpec
from qhq.backends.registry import find_backend, open_backend
from qhq.errors import ConfigError, DataError
from qhq.experiment.evaluate import Evaluation, evaluate
from qhq.experiment.opening import Experiment, open_run, read_finished
from qhq.files import MOST_TABLE_BYTES, read_regular, write_atomically
from qhq.models.program import trust_sent
from qhq.runs.looks import add_look
from qhq.runs.run_folder import RunFolder, provenance
from qhq.runs.studies import NoiseRecord, NoiseRow
from qhq.seeding import child_seed
from qhq.studies.checkpoint import EXACT, choose_windows, expectation_error, sampling_error
from qhq.studies.runner import Outcome, Runner, Store, Study, Values
from qhq.studies.runner.reproducible import judged_by_symbol

_CONFIDENCE = 0.95


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
class Checkpoint:
    """A run as it is sent to workers: with its files, as they need not share a disk with the driver.

    Attributes:
        name: Of the run.
        files: Contents of what opens it, by name.
        entry: The backend whose noise is scaled.
        samples: How many windows are drawn; None is all.
        seed: Of the draw.
        seen: Fingerprint of the prices, and version of qhq, that the driver has.
    """

    name: str
    files: tuple[tuple[str, bytes], ...]
    entry: BackendSpec
    samples: int | None
    seed: int
    seen: tuple[str, str]


@dataclass(frozen=True)
class Cell:
    """One evaluation: noise of some strength, shots, and a stream that draws them."""

    scale: float
    shots: int | None
    seed: int
    checkpoint: Checkpoint = field(repr=False)

    @property
    def key(self) -> str:
        """Name of the cell in the store."""
        return key_of(self.scale, self.shots, self.seed)


def key_of(scale: float, shots: int | None, seed: int) -> str:
    """Name of a cell in the store."""
    return f"{scale:g}/{'exact' if shots is None else shots}/{seed}"


class NoiseStudy(Study[Cell, NoiseRecord]):
    """The study of one run; a digest of all that its cells depend on names its files.

    Raises:
        QHQError: If the backend has no noise to scale, or the run has no circuit or cannot be opened.
    """

    title = "noise"

    def __init__(self, folder: RunFolder, request: NoiseRequest) -> None:
        self.folder, self.request = folder, request
        self.entry = _noisy_entry(find_backend(request.backend))
        self.checkpoint = _pack(folder, self.entry, request)
        self.experiment, self.exact = _open_at(folder, self.checkpoint)
        self.name = f"studies/noise-{self._digest()}"
        # Several processes may ask for one study of a run at once; they share its cells.
        self.store = Store(folder.file(f"{self.name}.jsonl"), shared=True)

    def plan(self) -> list[Cell]:
        """Every cell of scale x shots x seed; written down as a look if one is missing."""
        request = self.request
        cells = [
            Cell(scale, shots, seed, self.checkpoint)
            for scale, shots in itertools.product(request.scales, request.shots)
            for seed in range(_streams(shots, request))
        ]
        missing = {cell.key for cell in cells} - self.store.read().keys()
        test = self.experiment.data.test
        self.looks = add_look(test, run=self.folder.name, command="noise", times=int(bool(missing)))
        return cells

    def say(self, key: str) -> str:
        """A cell in words: its noise, its shots, and which stream of them."""
        scale, shots, seed = key.split("/")
        return f"noise x {scale}, {'exact' if shots == 'exact' else f'{shots} shots, stream {int(seed) + 1}'}"

    @staticmethod
    def measure(cell: Cell) -> Outcome:
        """Evaluate one cell: errors of forecast and expectation values."""
        experiment, exact = _open(cell.checkpoint)
        spec = cell.checkpoint.entry.model_copy(update={"noise_scale": cell.scale, "shots": cell.shots})
        assert experiment.ansatz is not None
        # By the name of the cell: its shots are the same whoever draws them, and whatever else is asked for.
        seed = child_seed(cell.checkpoint.seed, f"noise/{cell.key}")
        evaluation = evaluate(experiment, open_backend(spec, experiment.ansatz, seed=seed), exact.windows)
        metrics = evaluation.metrics()
        return Outcome({
            "mae": metrics.mae,
            "skill": _defined(metrics.skill),
            "delta_mae": metrics.mae - exact.metrics().mae,
            "expectation_error": expectation_error(evaluation, exact) or 0.0,
        })  # fmt: skip

    def summarise(self, done: Mapping[str, Values]) -> NoiseRecord:
        """Rows, limits and the verdict; kept beside the cells."""
        record = _summary(self, done)
        path = self.folder.write_json(f"{self.name}.json", {**record, **provenance()})
        return {**record, "file": str(path)}

    def _digest(self) -> str:
        """Name of all that a cell's value depends on besides the cell: other settings, other files."""
        content = [
            # A text for people moves no number, and must not make a study anew.
            self.entry.model_dump_json(exclude={"description"}),
            self.experiment.identity(),
            self.request.samples,
            self.request.seed,
            *judged_by_symbol(self.exact.windows),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def _pack(folder: RunFolder, entry: BackendSpec, request: NoiseRequest) -> Checkpoint:
    record = read_finished(folder)
    paths = (folder.config, folder.file("run.json"), folder.weights, folder.circuit, folder.module)
    files = tuple((each.name, read_regular(each, most=MOST_TABLE_BYTES)) for each in paths if each.is_file())
    seen = (record.prices(), __version__)
    return Checkpoint(folder.name, files, entry, request.samples, request.seed, seen)


_OPENED: list[tuple[Checkpoint, Experiment, Evaluation]] = []
"""The checkpoint that this process has opened, and its exact evaluation: a worker's, and the driver's own."""


def _open(checkpoint: Checkpoint) -> tuple[Experiment, Evaluation]:
    """Open a checkpoint on a worker, once for all its cells."""
    for known, experiment, exact in _OPENED:
        if known == checkpoint:
            return experiment, exact
    if checkpoint.seen[1] != __version__:
        raise ConfigError(
            "A worker must have the driver's qhq",
            got=f"{__version__} on {platform.node()}, wanted {checkpoint.seen[1]}",
            fix="Install the same qhq where the workers run",
        )
    with tempfile.TemporaryDirectory(prefix="qhq-") as place:
        folder = RunFolder(Path(place) / checkpoint.name)
        for name, content in checkpoint.files:
            write_atomically(folder.path / name, content)
        trust_sent(dict(checkpoint.files))
        return _open_at(folder, checkpoint)


def _open_at(folder: RunFolder, checkpoint: Checkpoint) -> tuple[Experiment, Evaluation]:
    experiment = open_run(folder)  # it refuses other prices than the run's own
    # Without a circuit every cell would be the same: noise has nothing to act on.
    if experiment.ansatz is None:
        raise ConfigError(
            "A noise study needs a run with a quantum layer", got=f"{folder.name}, which has none",
            fix="Name another run; 'qhq compare' lists them",
        )  # fmt: skip
    windows = choose_windows(experiment.data.test, checkpoint.samples, checkpoint.seed)
    exact = evaluate(experiment, open_backend(EXACT, experiment.ansatz, seed=0), windows)
    # One at a time: the cells of a worker are of one study, and an experiment holds its whole panel.
    _OPENED[:] = [(checkpoint, experiment, exact)]
    return experiment, exact


def _streams(shots: int | None, request: NoiseRequest) -> int:
    """How often a cell is repeated: exact values have nothing to draw."""
    return 1 if shots is None else request.seeds


def _defined(skill: float | None) -> float:
    if skill is None:
        raise DataError(
            "A noise study needs windows whose targets move",
            got="a last value that never errs",
            fix="Ask for more --samples",
        )
    return skill


def run_noise_study(folder: RunFolder, request: NoiseRequest, runner: Runner | None = None) -> NoiseRecord:
    """Measure every cell that is not there yet and sum them up.

    Args:
        folder: The run whose checkpoint is looked at.
        request: Backend, scales, shots, seeds, windows.
        runner: Who measures, and where progress goes; by default this process, and nowhere.

    Returns:
        ``rows``, one flat object a scale and shots; ``verdict``, one sentence; ``limits``, the scale at which
        each number of shots falls behind the last-value forecast; ``file``, where all that is kept.

    Raises:
        QHQError: If the backend has no noise to scale, the run has no circuit, or a cell cannot be measured.
    """
    return (runner or Runner()).run(NoiseStudy(folder, request))


def _noisy_entry(entry: BackendSpec) -> BackendSpec:
    if entry.is_noisy:
        return entry
    raise ConfigError(
        "A noise study needs a simulated backend with noise",
        got=f"'{entry.name}'",
        fix="Use aer_noisy, a fake device, or an aer entry with a calibration snapshot",
    )


def _summary(study: NoiseStudy, done: Mapping[str, Values]) -> NoiseRecord:
    request = study.request
    rows = [
        _row(study, done, scale, shots) for scale, shots in itertools.product(request.scales, request.shots)
    ]
    limits = {_shots_word(shots): _limit(rows, shots) for shots in request.shots}
    exact, population = study.exact, len(study.experiment.data.test)
    return {
        "run": study.folder.name,
        "leaks": list(study.experiment.data.caveat.leaks),
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
        "looks": study.looks.to_dict(),
    }


def _row(study: NoiseStudy, done: Mapping[str, Values], scale: float, shots: int | None) -> NoiseRow:
    count = _streams(shots, study.request)
    cells = [done[key_of(scale, shots, seed)] for seed in range(count)]
    mae, skill, delta, error = (
        interval([cell[key] for cell in cells]) for key in ("mae", "skill", "delta_mae", "expectation_error")
    )
    return {
        "backend": study.request.backend,
        "scale": scale,
        "shots": shots,
        "seeds": count,
        "mae": mae[0],
        "mae_low": mae[1],
        "mae_high": mae[2],
        "skill": skill[0],
        "skill_low": skill[1],
        "skill_high": skill[2],
        "delta_mae": delta[0],
        "delta_mae_low": delta[1],
        "delta_mae_high": delta[2],
        "expectation_error": error[0],
        "expectation_error_low": error[1],
        "expectation_error_high": error[2],
        "naive_mae": study.exact.naive_metrics().mae,
        # Only where the whole interval lies on one side of the last value is it said which.
        "against_naive": "behind" if skill[2] < 0 else "ahead" if skill[1] > 0 else "undecided",
    }


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and its 95 % Student interval over seeds; one value is its own interval.

    >>> [round(value, 3) for value in interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    mean = float(np.mean(values))
    if len(values) == 1:
        return mean, mean, mean
    # Student's interval, not a bootstrap: three values, the default, have ten different resamples.
    half = float(stats.t.ppf((1 + _CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))
    return mean, mean - half, mean + half


def _limit(rows: list[NoiseRow], shots: int | None) -> float | None:
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
