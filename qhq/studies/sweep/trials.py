"""Trials of a sweep: what a worker does, where it is kept, and how what is not there gets done.

A worker shares nothing with the driver, not even a disk: it gets a config, trains in a folder of its own that
it throws away, and sends back the files. A worker that dies has therefore lost its time and nothing else.

The sweep's folder::

    sweep.yaml          the sweep as it was asked for
    start.yaml          the config that it starts from
    sweep.json          rankings, winner, final results; there from the first stage on
    winner.yaml         the config of the best so far
    final.json          names of the final runs, which lie beside all other runs
    trials/NAME/        one run folder a trial that ended, finished or failed
    legs/NAME-eN/       a trial's first N epochs, where a stage prunes; run.json alone once it has ended
    working/NAME        a trial that was handed out and has not come back
    figures/            one a stage
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
from qhq.files import MOST_TABLE_BYTES, make_folder, read_json, read_regular, write_atomically
from qhq.paths import runs_dir
from qhq.runs.run_folder import FAILED, RunFolder, writable
from qhq.studies.runner.local import Workers
from qhq.studies.runner.store import judged_by_symbol
from qhq.studies.sweep.watcher import SweepWatcher
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


@dataclass(frozen=True)
class Shelf:
    """The folder of one sweep; only its driver writes there."""

    folder: RunFolder

    def find(self, task: Task) -> RunFolder | None:
        """What a task has made, if it is done; a trial that failed in one leg has failed in all."""
        trial, whole = RunFolder(self._trial(task.name)), RunFolder(self._whole(task))
        if _is_there(trial) and (task.until is None or _has_failed(trial)):
            return trial
        return whole if _is_there(whole) else None

    def keep(self, task: Task, outcome: Outcome) -> RunFolder:
        """Put the files of a task where `find` finds them, whole or not at all."""
        ended = task.until is None or outcome.failed
        path = self._trial(task.name) if outcome.failed else self._whole(task)
        with writable(path):
            lay_down(outcome.files, path)
            if ended:
                self._strip(task.name)
            self._working(task.name).unlink(missing_ok=True)
        return RunFolder(path)

    def hand_out(self, task: Task) -> Task:
        """Remember that a task is being worked on, and give it with what its last leg left."""
        with writable(self._working(task.name)):
            self._working(task.name).parent.mkdir(parents=True, exist_ok=True)
            self._working(task.name).touch()
        legs = [self._own(path) for path in self.folder.file("legs").glob(f"{task.name}-e*/resume.pt")]
        last = max(legs, key=lambda path: int(path.parent.name.rpartition("-e")[2]), default=None)
        return task if last is None else replace(task, resume=read_regular(last, most=MOST_TABLE_BYTES))

    def stale(self) -> list[str]:
        """Forget what was handed out by a driver that is no more, and say what it was."""
        found = sorted(self.folder.file("working").glob("*"))
        for path in found:
            path.unlink(missing_ok=True)
        return [path.name for path in found if not _is_there(RunFolder(self._trial(path.name)))]

    def read(self, name: str) -> dict[str, Any] | None:
        """One of its JSON files; None if there is none yet.

        Raises:
            ConfigError: If it is damaged.
        """
        path = self.folder.file(name)
        content: dict[str, Any] | None = None
        if path.is_file():
            try:
                content = read_json(path, most=MOST_TABLE_BYTES, what="record of a sweep")
            except ValueError as error:
                raise _damaged(path, str(error)) from error
            if not isinstance(content, dict):
                raise _damaged(path, f"a {type(content).__name__}")
        return content

    def _trial(self, name: str) -> Path:
        return self.folder.file(f"trials/{name}")

    def _whole(self, task: Task) -> Path:
        """Where the files of a task that went well go."""
        if task.kind == "run":
            return runs_dir() / task.name
        return self._trial(task.name) if task.until is None else self._leg(task)

    def _leg(self, task: Task) -> Path:
        return self.folder.file(f"legs/{task.name}-e{task.until}")

    def _working(self, name: str) -> Path:
        return self.folder.file(f"working/{name}")

    def _own(self, path: Path) -> Path:
        """A path found in the folder, unless a link leads out of it: what is found may be removed."""
        return self.folder.file(str(path.relative_to(self.folder.path)))

    def _strip(self, name: str) -> None:
        """Of the legs of a trial that ended keep what was measured: a sweep that goes on is told the same."""
        for leg in self.folder.file("legs").glob(f"{name}-e*"):
            for path in self._own(leg).iterdir():
                if path.name != "run.json":
                    path.unlink()
        (self._trial(name) / "resume.pt").unlink(missing_ok=True)


def _damaged(path: Path, got: str) -> ConfigError:
    return ConfigError(
        "A record of a sweep must be a JSON object", got=f"{path}: {got}", fix="Remove it; it is made again"
    )


def _is_there(folder: RunFolder) -> bool:
    return folder.file("run.json").is_file()


def _has_failed(trial: RunFolder) -> bool:
    return bool(trial.read_record()["status"] == FAILED)


def lay_down(files: dict[str, bytes], path: Path) -> None:
    """Make a folder of files; it appears when it is whole. One that is there stays."""
    if (path / "run.json").is_file():
        return

    def fill(folder: Path) -> None:
        for name, content in files.items():
            write_atomically(folder / name, content)

    make_folder(path, fill)


Folders = dict[str, RunFolder]
"""Folders of done tasks by the task's name."""
Follow = Callable[[str, Folders], None]
"""Told the name of each task that is done, and all that are."""


def follow_nothing(name: str, done: Folders) -> None:
    """Let tasks come."""


@dataclass(frozen=True)
class Dispatch:
    """The shelf, who works, and who is told."""

    shelf: Shelf
    workers: Workers
    watcher: SweepWatcher

    def open(self, name: str, config: ExperimentConfig) -> Task:
        """Describe a trial; one that cannot even be opened is kept as failed, for `execute` to find."""
        try:
            return open_task(name, config)
        except QHQError as error:
            task = Task(name, "trial", config, data="", circuit=None)
            self.shelf.keep(task, Outcome(failure_files(config, error), failed=True))
            return task

    def execute(self, tasks: Sequence[Task], follow: Follow = follow_nothing) -> Folders:
        """Do what is not done; two tasks of one name are one.

        Args:
            tasks: What is wanted.
            follow: Told of each.

        Raises:
            QHQError: If workers die, are not of the driver's version, or cannot write.
        """
        wanted = {task.name: task for task in tasks}
        found = {name: self.shelf.find(task) for name, task in wanted.items()}
        done: Folders = {}
        for name, folder in found.items():
            if folder is not None:
                done[name] = folder
                self._tell(wanted[name], folder, fresh=False)
                follow(name, done)
        missing = [self.shelf.hand_out(task) for name, task in wanted.items() if name not in done]
        for index, outcome in self.workers.run(run_task, missing):
            task = missing[index]
            done[task.name] = self.shelf.keep(task, outcome)
            self._tell(task, done[task.name], fresh=True)
            follow(task.name, done)
        return done

    def _tell(self, task: Task, folder: RunFolder, *, fresh: bool) -> None:
        if task.until is None:
            self.watcher.trial_done(folder, fresh=fresh)
