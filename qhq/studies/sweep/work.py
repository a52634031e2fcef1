"""What a worker does: one leg of a trial, or a whole final run.

A worker shares nothing with the driver, not even a disk: it gets a config, trains in a folder of its own that
it throws away, and sends back the files. A worker that dies has therefore lost its time and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from qhq import __version__
from qhq.ansatz.stored import fingerprint
from qhq.data.prepare import Prepared, prepare
from qhq.data.spec import DataSpec
from qhq.documents import dump_document
from qhq.errors import ConfigError, QHQError
from qhq.experiment.config import ExperimentConfig, QuantumSpec
from qhq.experiment.opening import build_circuit
from qhq.experiment.run import train_in
from qhq.experiment.trial import run_trial
from qhq.files import MOST_TABLE_BYTES, read_regular, write_atomically
from qhq.studies.cells import judged_by_symbol
from qhq.tracking.run_folder import FAILED, RunFolder
from qhq.training.loop import Watcher

PRUNED = "pruned"
"""Status of a trial that was given up; one that could not be trained is FAILED."""

_ALONE = threading.Lock()
"""Torch's seed and number of threads are the process's own: one training at a time, even if a worker of a
cluster has several threads."""


@dataclass(frozen=True)
class Task:
    """One piece of work.

    Attributes:
        name: Of the folder that it makes.
        kind: A trial, judged on the validation part, or a run, judged on the test part.
        config: What to train.
        data: Fingerprint of the prices that the driver sees.
        circuit: Fingerprint of the circuit that the driver sees; None without one.
        until: Epochs in all after which a trial's leg ends; None trains to the end.
        resume: ``resume.pt`` of the leg before.
        version: Of the driver's qhq.
    """

    name: str
    kind: Literal["trial", "run"]
    config: ExperimentConfig
    data: str
    circuit: str | None
    until: int | None = None
    resume: bytes | None = None
    version: str = __version__


@dataclass(frozen=True)
class Outcome:
    """The files of a folder by their relative path, and whether it could be filled."""

    files: dict[str, bytes]
    failed: bool = False


def open_task(name: str, config: ExperimentConfig, *, kind: Literal["trial", "run"] = "trial") -> Task:
    """Describe a piece of work, with what it must find where it is done.

    Raises:
        QHQError: If data or circuit cannot be had.
    """
    data, circuit = fingerprints(config)
    return Task(name, kind, config, data, circuit)


def fingerprints(config: ExperimentConfig) -> tuple[str, str | None]:
    """Fingerprints of a config's prices and of its circuit.

    Raises:
        QHQError: If data or circuit cannot be had.
    """
    quantum = config.quantum
    if quantum is None:
        circuit = None
    elif quantum.origin is not None:  # a run's, of which another run may say the same
        circuit = fingerprint(build_circuit(quantum))
    else:
        circuit = _circuit(quantum.model_dump_json())
    return prepared(config.data).fingerprint, circuit


@lru_cache(maxsize=1024)
def _circuit(spec: str) -> str:
    return fingerprint(build_circuit(QuantumSpec.model_validate_json(spec)))


def digest(config: ExperimentConfig) -> str:
    """Name of all that a training depends on besides its seed: config, prices, circuit, version; 10 letters.

    Of a config whose prices or circuit cannot be had, the config alone: its training will fail by itself.
    """
    try:
        seen: tuple[str | None, ...] = fingerprints(config)
    except QHQError:
        seen = ()
    content: list[object] = [config.model_dump_json(exclude={"name", "seed"}), seen, __version__]
    if seen:
        content += judged_by_symbol(prepared(config.data).test)
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:10]


def run_task(task: Task) -> Outcome:
    """Do it. A training that cannot be done (it diverges, sizes do not fit) fails by itself.

    Raises:
        QHQError: If data, circuit or qhq are not the driver's: then nothing here can be relied on.
    """
    data = _same_data(task)
    with _ALONE, _one_thread(), tempfile.TemporaryDirectory(prefix="qhq-") as place:
        folder = RunFolder(Path(place) / task.name)
        folder.path.mkdir()
        try:
            _train(task, folder, data)
        except QHQError as error:
            return Outcome(failure_files(task.config, error), failed=True)
        return Outcome(_read_files(folder.path))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums over threads depend on how many there are, and a result must not depend on the worker."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _train(task: Task, folder: RunFolder, data: Prepared) -> None:
    if task.kind == "run":
        train_in(folder, task.config, data, Watcher())
        return
    if task.resume is not None:
        write_atomically(folder.resume, task.resume)
    run_trial(folder, task.config, data, task.until)


def failure_files(config: ExperimentConfig, error: QHQError) -> dict[str, bytes]:
    """Files of a trial that could not be trained: its design, and why."""
    with tempfile.TemporaryDirectory(prefix="qhq-") as place:
        folder = RunFolder(Path(place))
        folder.write_text("config.yaml", dump_document(config))
        design: dict[str, Any] = {"backend": config.backend, "backend_entry": {}, "seed": config.seed}
        design |= {"data": {}, "scaler": {}, "quantum": None, "design": config.model_dump(mode="json")}
        folder.write_json("run.json", {"status": FAILED, **design, "error": str(error)})
        return _read_files(folder.path)


def prepared(spec: DataSpec) -> Prepared:
    """Prepare data, once for all tasks of a process that ask for the same.

    Raises:
        DataError: As of `prepare`.
    """
    return _prepared(spec.model_dump_json())


@lru_cache(maxsize=8)
def _prepared(spec: str) -> Prepared:
    return prepare(DataSpec.model_validate_json(spec))


def _read_files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): read_regular(path, most=MOST_TABLE_BYTES) for path in _files(root)}


def _files(root: Path) -> Iterator[Path]:
    return (path for path in sorted(root.rglob("*")) if path.is_file() and path.name != ".lock")


def _same_data(task: Task) -> Prepared:
    """Prepare the task's data, if they and all else are as the driver has them."""
    prices, circuit = fingerprints(task.config)
    seen = {"qhq": __version__, "prices": prices, "circuit": circuit}
    for what, wanted in {"qhq": task.version, "prices": task.data, "circuit": task.circuit}.items():
        if seen[what] != wanted:
            raise ConfigError(
                f"A worker must have the driver's {what}",
                got=f"{seen[what]} on {platform.node()}, wanted {wanted}",
                fix="Install the same qhq and lay out the same files where the workers run",
            )
    return prepared(task.config.data)
