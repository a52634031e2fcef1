"""The cells of the noise study: evaluations of some noise, shots and seed, and their way to a worker."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import torch

from qhq import __version__
from qhq.backends.backend import BackendSpec, Method
from qhq.backends.registry import open_backend, open_mitigated
from qhq.errors import ConfigError, DataError
from qhq.experiment.evaluate import (
    EXACT,
    WindowForecasts,
    ask_circuit,
    beside_baselines,
    choose_windows,
    encode,
    expectation_error,
    forecast_windows,
)
from qhq.experiment.opening import Experiment
from qhq.experiment.refit import Lesson, why_no_head
from qhq.experiment.reopening import open_trained, read_finished
from qhq.files import MOST_TABLE_BYTES, read_regular, write_atomically
from qhq.models.source import trust_sent
from qhq.runs.run_folder import RunFolder
from qhq.seeding import child_seed
from qhq.studies.mitigation import FITTED, correct, date_losses_of, device_cost, made_of, prepare_lesson
from qhq.studies.runner import Outcome, Values


@dataclass(frozen=True)
class NoiseRequest:
    """What ``qhq noise`` was asked for.

    ``scales`` multiply the noise of ``backend`` (0 none, 1 the device itself); ``shots`` of None is exact;
    sampled cells are repeated for each of ``seeds`` streams of shots; ``samples`` limits the test windows.
    ``mitigation`` are methods against noise, or ``all``, measured at scale 1; ``against`` are other entries,
    measured as they are: other devices, or the same device on another day. ``widths`` and ``depths`` are
    other sizes of the circuit alone (`qhq.studies.circuit_sizes`).
    """

    backend: str = "aer_noisy"
    scales: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
    shots: tuple[int | None, ...] = (None, 256, 1024, 4096)
    seeds: int = 3
    samples: int | None = 128
    seed: int = 0
    mitigation: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    widths: tuple[int, ...] = ()
    depths: tuple[int, ...] = ()


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
class NoiseCell:
    """One evaluation: noise of some strength, shots, and a stream that draws them.

    Attributes:
        scale: Strength of the noise.
        shots: Measurements a value; None is exact.
        seed: Number of the stream.
        checkpoint: What is evaluated.
        method: What the backend does against noise: its answers serve every method that is made of them. None
            asks for errors alone.
        place: Which other entry, day or layout it is; empty for the entry of the study.
        entry: That other entry.
    """

    scale: float
    shots: int | None
    seed: int
    checkpoint: Checkpoint = field(repr=False)
    method: Method | None = None
    place: str = ""
    entry: BackendSpec | None = field(default=None, repr=False)

    @property
    def key(self) -> str:
        """Name of the cell in the store."""
        return key_of(self.scale, self.shots, self.seed, self.method, self.place)


def key_of(scale: float, shots: int | None, seed: int, method: Method | None = None, place: str = "") -> str:
    """Name of a cell in the store."""
    words = [f"{scale:g}", "exact" if shots is None else str(shots), str(seed)]
    return "/".join([*words, *([method or ""] if method or place else []), *([place] if place else [])])


def streams_of(shots: int | None, request: NoiseRequest) -> int:
    """How often a cell is repeated: exact values have nothing to draw."""
    return 1 if shots is None else request.seeds


def measure_noise_cell(cell: NoiseCell) -> Outcome:
    """Evaluate one cell: errors of forecast and expectation values."""
    experiment, exact, lesson = _open(cell.checkpoint)
    entry = cell.entry or cell.checkpoint.entry
    spec = entry.model_copy(update={"noise_scale": cell.scale, "shots": cell.shots})
    assert experiment.ansatz is not None
    # By the name of the cell: its shots are the same whoever draws them, and whatever else is asked for.
    seed = child_seed(cell.checkpoint.seed, f"noise/{cell.key}")
    # Without a method of its own it is opened for values alone, which takes half the time.
    executor = open_mitigated(spec, experiment.ansatz, cell.method or "none", seed=seed)
    if cell.method is None:
        evaluation = forecast_windows(experiment, executor, exact.windows)
        return Outcome(_errors(evaluation, exact))
    headless = why_no_head(experiment) is not None
    served = [each for each in made_of(cell.method) if not (headless and each == "head")]
    latent = encode(experiment, exact.windows)
    fitted = lesson() if FITTED[0] in served else None
    asked = latent if fitted is None else torch.cat([latent, fitted.latent])
    answers, report = ask_circuit(experiment, executor, asked), executor.report()
    methods = {}
    for mitigation in served:
        found = correct(experiment, mitigation, latent, answers, fitted)
        evaluation = beside_baselines(experiment, exact.windows, found.scaled, found.expectations, report)
        rows = len(latent) + (len(fitted) if fitted is not None and mitigation in FITTED else 0)
        cost = device_cost(executor, rows, report)
        methods[mitigation] = {
            **_errors(evaluation, exact),
            "expectations": found.expectations.tolist(),
            "executions": cost and cost.executions,
            "device_seconds": cost and cost.seconds,
        }
    return Outcome({"methods": methods})


def _errors(evaluation: WindowForecasts, exact: WindowForecasts) -> Values:
    metrics = evaluation.metrics()
    losses, name = date_losses_of([evaluation])
    return {
        "mae": metrics.mae,
        "skill": defined_skill(metrics.skill),
        "delta_mae": metrics.mae - exact.metrics().mae,
        "expectation_error": expectation_error(evaluation, exact) or 0.0,
        "loss": name,
        "losses": losses.tolist(),
    }


def defined_skill(skill: float | None) -> float:
    """A skill over the last value, which there must be.

    Raises:
        DataError: If the last value never errs, so that nothing can be put beside it.
    """
    if skill is None:
        raise DataError(
            "A noise study needs windows whose targets move",
            got="a last value that never errs",
            fix="Ask for more --samples",
        )
    return skill


def pack_checkpoint(folder: RunFolder, entry: BackendSpec, samples: int | None, seed: int) -> Checkpoint:
    """A finished run as it is sent to workers; see `Checkpoint`.

    Raises:
        QHQError: If it is not finished, or a file of it cannot be read.
    """
    record = read_finished(folder)
    paths = (folder.config, folder.file("run.json"), folder.weights, folder.circuit, folder.module)
    files = tuple((each.name, read_regular(each, most=MOST_TABLE_BYTES)) for each in paths if each.is_file())
    seen = (record.prices(), __version__)
    return Checkpoint(folder.name, files, entry, samples, seed, seen)


# An experiment, its exact evaluation, and what methods are fitted on, made once it is asked for.
_Opened = tuple[Experiment, WindowForecasts, Callable[[], Lesson]]

# The checkpoint that this process has opened: a worker's, and the driver's own.
_OPENED: list[tuple[Checkpoint, _Opened]] = []


def _open(checkpoint: Checkpoint) -> _Opened:
    """Open a checkpoint on a worker, once for all its cells."""
    for known, opened in _OPENED:
        if known == checkpoint:
            return opened
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
        return open_packed(folder, checkpoint)


def open_packed(folder: RunFolder, checkpoint: Checkpoint) -> _Opened:
    """Open a checkpoint from a folder that holds its files.

    Raises:
        QHQError: If the run has no circuit, or its prices are not those that it was made for.
    """
    experiment = open_trained(folder)  # it refuses other prices than the run's own
    # Without a circuit every cell would be the same: noise has nothing to act on.
    if experiment.ansatz is None:
        raise ConfigError(
            "A noise study needs a run with a quantum layer", got=f"{folder.name}, which has none",
            fix="Name another run; 'qhq compare' lists them",
        )  # fmt: skip
    windows = choose_windows(experiment.data.test, checkpoint.samples, checkpoint.seed)
    exact = forecast_windows(experiment, open_backend(EXACT, experiment.ansatz, seed=0), windows)
    # One at a time: the cells of a worker are of one study, and an experiment holds its whole panel.
    opened = experiment, exact, cache(partial(prepare_lesson, experiment, checkpoint.seed))
    _OPENED[:] = [(checkpoint, opened)]
    return opened
