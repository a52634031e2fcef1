"""Trials of a sweep: what a worker does, and where it is kept.

A worker shares nothing with the driver, not even a disk: it gets a config, trains in a folder of its own that
it throws away, and sends back the files. A worker that dies has therefore lost its time and nothing else.

The sweep's folder::

    sweep.yaml          the sweep as it was asked for
    start.yaml          the config that it starts from
    sweep.json          rankings, winner, final results; there from the first stage on
    winner.yaml         the config of the best so far
    final.json          names of the final runs, which lie beside all other runs
    cells.jsonl         records of all trials and legs, one a line
    trials/NAME/        one run folder a trial that ended, finished or failed
    legs/NAME-eN/       a trial's first N epochs, where a stage prunes; run.json alone once it has ended
    working/NAME        a trial that was handed out and has not come back
    figures/            one a stage
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from qhq.documents import dump_document
from qhq.errors import QHQError
from qhq.experiment.config import ExperimentConfig, naming_json
from qhq.experiment.fit import why_alone
from qhq.experiment.run import train_in
from qhq.experiment.trial import run_trial, run_trials
from qhq.files import MOST_TABLE_BYTES, make_folder, read_regular, write_atomically
from qhq.paths import runs_dir
from qhq.runs.record import RunRecord, WalkRecord
from qhq.runs.run_folder import FAILED, WALK, RunFolder, read_walk, writable
from qhq.studies.runner import Outcome, Store, Values
from qhq.studies.runner.reproducible import Fingerprints, one_training
from qhq.studies.walk_forward.study import train_walk_in
from qhq.training.loop import Watcher

PRUNED = "pruned"
"""Status of a trial that was given up; one that could not be trained is FAILED."""


@dataclass(frozen=True)
class SweepCell:
    """One cell of a sweep: a trial, its first epochs, or a whole final run.

    Attributes:
        name: Of the folder that it makes.
        kind: A trial, judged on the validation split, or a run, judged on the test split.
        config: What to train.
        seen: What the driver has, and a worker must have; or why it cannot even be opened.
        until: Epochs in all after which a trial's leg ends; None trains to the end.
        resume: ``resume.pt`` of the leg before.
    """

    name: str
    kind: Literal["trial", "run"]
    config: ExperimentConfig
    seen: Fingerprints | QHQError
    until: int | None = None
    resume: bytes | None = None

    @property
    def key(self) -> str:
        """Name of the cell in the store."""
        return self.name if self.until is None else f"{self.name}-e{self.until}"


def open_trial(name: str, config: ExperimentConfig, until: int | None = None) -> SweepCell:
    """Describe a trial; one whose prices or circuit cannot be had fails by itself when it is measured."""
    try:
        return SweepCell(name, "trial", config, Fingerprints.of(config), until)
    except QHQError as error:
        return SweepCell(name, "trial", config, error, until)


def train_trial(training: SweepCell) -> Outcome:
    """Train on a worker. What cannot be trained (it diverges, sizes do not fit) fails by itself.

    Returns:
        The record of the run, and the files of its folder.

    Raises:
        QHQError: If data, circuit or qhq are not the driver's: then nothing here can be relied on.
    """
    if isinstance(training.seen, QHQError):
        return _failure(training.config, training.seen)
    data = training.seen.require(training.config)
    if training.kind == "run" and training.config.data.split.walks:
        return _train_walk(training)
    with one_training(), tempfile.TemporaryDirectory(prefix="qhq-") as place:
        folder = RunFolder(Path(place) / training.name)
        folder.path.mkdir()
        try:
            if training.kind == "run":
                train_in(folder, training.config, data, Watcher())
            else:
                if training.resume is not None:
                    write_atomically(folder.resume, training.resume)
                run_trial(folder, training.config, data, training.until)
        except QHQError as error:
            return _failure(training.config, error)
        return _outcome(folder.path)


def train_together(trainings: Sequence[SweepCell]) -> list[Outcome]:
    """The same of trials of one point, which differ in the seed.

    Raises:
        QHQError: As `train_trial`.
    """
    first = trainings[0]
    if len(trainings) == 1 or any(isinstance(each.seen, QHQError) for each in trainings):
        return [train_trial(each) for each in trainings]
    assert not isinstance(first.seen, QHQError)
    data = first.seen.require(first.config)
    with one_training(), tempfile.TemporaryDirectory(prefix="qhq-") as place:
        folders = [RunFolder(Path(place) / each.name) for each in trainings]
        for folder, training in zip(folders, trainings, strict=True):
            folder.path.mkdir()
            if training.resume is not None:
                write_atomically(folder.resume, training.resume)
        try:
            run_trials(folders, [each.config for each in trainings], data, first.until)
            return [_outcome(folder.path) for folder in folders]
        except QHQError:
            pass  # one of them diverges, say: which one, and why, they tell when they are alone
    return [train_trial(each) for each in trainings]


def group_of(training: SweepCell) -> str:
    """What trials that are trained at once have in common: all but the seed; empty for one trained alone."""
    if training.kind == "run" or isinstance(training.seen, QHQError):
        return ""
    try:
        alone = why_alone(training.config)
    except QHQError:  # it fails by itself when it is trained
        return ""
    return "" if alone else f"{naming_json(training.config)} until {training.until}"


def _train_walk(training: SweepCell) -> Outcome:
    """A final run of a config that walks forward: every fold, one after another, and one table."""
    with tempfile.TemporaryDirectory(prefix="qhq-") as place:
        folder = RunFolder(Path(place) / training.name)
        folder.path.mkdir()
        try:
            train_walk_in(folder, training.config)
        except QHQError as error:
            return _failure(training.config, error)
        return _outcome(folder.path)


def _failure(config: ExperimentConfig, error: QHQError) -> Outcome:
    """A trial that could not be trained: its design, and why."""
    with tempfile.TemporaryDirectory(prefix="qhq-") as place:
        folder = RunFolder(Path(place))
        folder.write_text("config.yaml", dump_document(config))
        design: Values = {"backend": config.backend, "backend_entry": {}, "seed": config.seed}
        # All that a run.json must have, empty: what could not be opened has no data, scaler or circuit to
        # tell of.
        design |= {"data": {}, "scaler": {}, "quantum": None, "design": config.model_dump(mode="json")}
        folder.write_json("run.json", {"status": FAILED, **design, "error": str(error)})
        return _outcome(folder.path)


def _outcome(root: Path) -> Outcome:
    # A lock is of the processes of one machine, and means nothing on another.
    paths = (path for path in sorted(root.rglob("*")) if path.is_file() and path.name != ".lock")
    files = {str(path.relative_to(root)): read_regular(path, most=MOST_TABLE_BYTES) for path in paths}
    return Outcome(json.loads(files[WALK if WALK in files else "run.json"]), files)


class TrialStore(Store[SweepCell]):
    """The folder of one sweep; only its driver writes there.

    A trial is there if it has a line and a folder: who takes a folder away has it trained again. The line is
    what the sweep reads. A folder without one is of version 0.1.0, or of a driver that was killed between the
    two; it appeared when it was whole, and gets its line now.

    Args:
        folder: Of the sweep.
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder.file("cells.jsonl"))
        self.folder = folder

    def find(self, cells: Mapping[str, SweepCell]) -> dict[str, Values]:
        """See `Store.find`; a trial that failed in one leg has failed in all."""
        there = self.read()
        found = {}
        for key, training in cells.items():
            values = self._record(training.name, self._trial(training.name), there)
            if values is not None and training.until is not None and values["status"] != FAILED:
                values = None  # it has ended since, and is judged by its first epochs here
            if values is None and training.kind == "run":
                # A run as any other: what its folder says now is what counts.
                own = self._own_place(training)
                values = read_final(RunFolder(own)).to_dict() if _is_there(own) else None
            elif values is None and training.until is not None:
                values = self._record(key, self._own_place(training), there)
            if values is not None:
                found[key] = values
        return found

    def _record(self, key: str, place: Path, there: dict[str, Values]) -> Values | None:
        """The record of a trial's folder, which gets its line if it has none; None if it is not there."""
        if not _is_there(place):
            return None
        if key not in there:
            there[key] = RunFolder(place).read_record().without("run").to_dict()
            self.append(key, there[key])
        return there[key]

    def hand_out(self, cell: SweepCell) -> SweepCell:
        """Remember that a trial is being worked on, and give it with what its last leg left."""
        with writable(self._working(cell.name)):
            self._working(cell.name).parent.mkdir(parents=True, exist_ok=True)
            self._working(cell.name).touch()
        # A trial of a pruned stage is trained leg by leg; the longest has the state to go on from.
        legs = [self._own(path) for path in self.folder.file("legs").glob(f"{cell.name}-e*/resume.pt")]
        last = max(legs, key=lambda path: int(path.parent.name.rpartition("-e")[2]), default=None)
        # The bytes go with the cell: a worker need not share a disk with the driver.
        return cell if last is None else replace(cell, resume=read_regular(last, most=MOST_TABLE_BYTES))

    def keep(self, cell: SweepCell, outcome: Outcome) -> Values:
        """Lay the files of a trial down, whole or not at all, then add its line."""
        failed = outcome.values["status"] == FAILED
        ended = cell.until is None or failed
        place = self._trial(cell.name) if failed else self._own_place(cell)
        with writable(place):
            _lay_down(outcome.files, place)
            if ended:
                self._strip(cell.name)
            self._working(cell.name).unlink(missing_ok=True)
        if cell.kind == "trial" or failed:
            self.append(cell.name if ended else cell.key, outcome.values)
        return outcome.values

    def stale(self) -> list[str]:
        """Forget what was handed out by a driver that is no more, and say what it was."""
        # Only one driver holds the folder, so whatever is still marked was handed out by one that is dead.
        found = sorted(self.folder.file("working").glob("*"))
        for path in found:
            path.unlink(missing_ok=True)
        return [path.name for path in found if not _is_there(self._trial(path.name))]

    def _own_place(self, cell: SweepCell) -> Path:
        """Where the files of a training that went well go."""
        if cell.kind == "run":
            return runs_dir() / cell.name
        return self._trial(cell.name) if cell.until is None else self.folder.file(f"legs/{cell.key}")

    def _trial(self, name: str) -> Path:
        return self.folder.file(f"trials/{name}")

    def _working(self, name: str) -> Path:
        return self.folder.file(f"working/{name}")

    def _own(self, path: Path) -> Path:
        """A path found in the folder, unless a link leads out of it: what is found may be removed."""
        return self.folder.file(str(path.relative_to(self.folder.path)))

    def _strip(self, name: str) -> None:
        """Of the legs of a trial that ended keep what was measured: a sweep that goes on gets the same."""
        for leg in self.folder.file("legs").glob(f"{name}-e*"):
            for path in self._own(leg).iterdir():
                if path.name != "run.json":
                    path.unlink()
        (self._trial(name) / "resume.pt").unlink(missing_ok=True)


def _is_there(place: Path) -> bool:
    return (place / "run.json").is_file() or (place / WALK).is_file()


def read_final(folder: RunFolder) -> RunRecord | WalkRecord:
    """The record of a final run, or of the walk-forward that it is.

    Raises:
        ConfigError: If it is missing or damaged.
    """
    return read_walk(folder) if folder.file(WALK).is_file() else folder.read_record()


def _lay_down(files: Mapping[str, bytes], path: Path) -> None:
    """Make a folder of files; it appears when it is whole. One that is there stays."""
    if _is_there(path):
        return

    def fill(folder: Path) -> None:
        for name, content in files.items():
            write_atomically(folder / name, content)

    make_folder(path, fill)
