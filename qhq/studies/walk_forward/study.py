"""The folds of a walk-forward as the cells of one study: trained side by side, resumed after any kill.

Every date is forecast once, by the model that was trained on what came before it (`qhq.data.split`). A fold
knows nothing of the others, so who trains it, and when, moves no number.

The store is the walk's own folder: a fold is done when its run is finished. A worker of this machine trains
in the fold's folder, whose run goes on at its last epoch after a kill. A worker of a cluster shares no disk
with the driver: it gets the files that a fold is opened from, and sends back those of its run.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from qhq.ansatz.stored import ansatz_fingerprint as name_circuit
from qhq.ansatz.stored import as_stored, save_ansatz
from qhq.backends.registry import find_backend, kind_of
from qhq.data.load import load_panel
from qhq.data.panel import Panel
from qhq.data.plausibility import find_leaks
from qhq.data.prepare import check_one_scale, panel_fingerprint, prepare
from qhq.data.quarantine import tell_rows
from qhq.data.split import folds_of, split_panel
from qhq.data.windows import arrange_rows, join_blocks
from qhq.documents import dump_document
from qhq.errors import ConfigError, DataError
from qhq.experiment.config import ExperimentConfig, load_config
from qhq.experiment.evaluate import predictions_csv
from qhq.experiment.fit import check_one_run, why_alone
from qhq.experiment.opening import build_circuit
from qhq.experiment.plausibility import add_doubts, plausibility_record, read_doubts, tell_doubts
from qhq.experiment.run import carry_module, resume_run, tell_finished, train_in
from qhq.experiment.seeds import train_seeds_in
from qhq.files import MOST_TABLE_BYTES, make_folder, read_regular, write_atomically
from qhq.models.source import read_source, trust_sent
from qhq.models.spec import COPY, MODULE_IN_MEMORY
from qhq.runs.looks import add_look
from qhq.runs.record import Plausibility, WalkRecord
from qhq.runs.run_folder import (
    FINISHED,
    RUNNING,
    WALK,
    RunFolder,
    create_run,
    now,
    provenance,
    read_walk,
    writable,
)
from qhq.runs.schema import SCHEMA_VERSION
from qhq.runs.seeds import trained_together
from qhq.studies.runner import Outcome, Runner, Store, Study, StudyEvents, Values
from qhq.studies.runner.reproducible import Fingerprints, loaded, one_training
from qhq.studies.walk_forward.pooled import Walk, fold_name, pool, pool_seeds, pooled_record
from qhq.training.loop import Watcher

# Files of a walk that a fold is opened from; its record tells `load_config` that they are of a run.
_OPENED_FROM = ("config.yaml", "circuit.qpy", COPY, WALK)


@dataclass(frozen=True)
class FoldCell:
    """One fold, to be trained and tested.

    Attributes:
        number: Of the fold.
        walk: Folder of the walk on the driver's disk; of several seeds that of the first.
        seen: What the driver has, and a worker must have.
        files: Contents of what opens the fold, and of what an earlier worker left of its run, by their path
            below the walk; None where the worker has the folder itself.
        watcher: Informed of each epoch, in the driver's own process alone.
        others: Folders of the walks of further seeds, which are trained at once with it.
    """

    number: int
    walk: Path
    seen: Fingerprints
    files: Mapping[str, bytes] | None = field(default=None, repr=False)
    watcher: Watcher = field(default_factory=Watcher, repr=False, compare=False)
    others: tuple[Path, ...] = ()

    @property
    def key(self) -> str:
        """Name of the fold's folder."""
        return fold_name(self.number)

    def __getstate__(self) -> dict[str, object]:
        """A bar on the driver's terminal cannot be sent to another process."""
        return {**self.__dict__, "watcher": Watcher()}


class WalkForward(Study[FoldCell, WalkRecord]):
    """All folds of one walk, or of one a seed.

    Args:
        walk: With its data.
        watcher: Informed of each epoch where the folds are trained in this process.
        remote: Whether workers share no disk with the driver.
        keeps_looks: Whether it writes its look at the test blocks down itself.
        others: The same walk with further seeds, each in its own folder. A fold is one cell for all of them.
    """

    title = "walk-forward"

    def __init__(
        self,
        walk: Walk,
        watcher: Watcher,
        *,
        remote: bool,
        keeps_looks: bool = True,
        others: Sequence[Walk] = (),
    ) -> None:
        self.walk, self.watcher, self.keeps_looks = walk, watcher, keeps_looks
        self.every = [walk, *others]
        self.store = FoldStore(walk.folder, remote=remote, others=[each.folder for each in others])

    def plan(self) -> list[FoldCell]:
        """A cell a fold; the look at all test blocks is written down before the first is looked at, once."""
        config = self.walk.config
        circuit = None if config.quantum is None else name_circuit(build_circuit(config.quantum, config.seed))
        seen = Fingerprints(panel_fingerprint(self.walk.panel), circuit)
        for walk in self.every if self.keeps_looks else ():
            record = read_walk(walk.folder)
            if record.looks is None:
                every = [walk.splits(number).test.windows for number in walk.folds]
                whole = join_blocks(walk.laid_out, every)[0]
                looks = add_look(whole, run=walk.folder.name, command="train")
                walk.folder.write_json(WALK, record.updated(looks=looks))
        first, *others = (each.folder.path for each in self.every)
        return [
            FoldCell(number, first, seen, watcher=self.watcher, others=tuple(others))
            for number in self.walk.folds
        ]

    @staticmethod
    def measure(cell: FoldCell) -> Outcome:
        """Train one fold, or go on with it, and forecast its block; with every seed."""
        if cell.files is None:
            _train([RunFolder(each) for each in (cell.walk, *cell.others)], cell)
            return Outcome({})
        with tempfile.TemporaryDirectory(prefix="qhq-") as place:
            every = [RunFolder(Path(place) / each.name) for each in (cell.walk, *cell.others)]
            for walk, files in zip(every, _parted(cell.files, every), strict=True):
                _lay_down(files, walk.path)
            trust_sent(cell.files)
            _train(every, cell)
            return Outcome({}, _joined([_files_of(walk.path / cell.key) for walk in every], every))

    def summarise(self, done: Mapping[str, Values]) -> WalkRecord:  # noqa: ARG002
        """Put the forecasts of all folds together, test them once, and call the walk finished."""
        # All walks before any is written: one that cannot be pooled leaves none called finished.
        wholes = [pool(walk) for walk in self.every]
        together = pool_seeds(self.every, wholes) if len(wholes) > 1 else None
        records = []
        for walk, whole in zip(self.every, wholes, strict=True):
            table = predictions_csv(whole.evaluation, whole.ends, walk.config.data.caveat)
            walk.folder.write_text("predictions.csv", table)
            found = {**pooled_record(walk, whole), **({} if together is None else {"seeds": together})}
            records.append(read_walk(walk.folder).updated(status=FINISHED, finished=now(), **found))
            walk.folder.write_json(WALK, records[-1])
        return records[0]

    def say(self, key: str) -> str:
        """Which fold of how many."""
        return f"Fold {self._place(key) + 1} of {len(self.walk.folds)}"

    def describe(self, key: str) -> str:
        """The same, and what it forecasts."""
        test = self.walk.splits(self.walk.folds[self._place(key)]).test.windows
        return (
            f"{self.say(key)}: forecasts {test.dates[:, 0].min()} to {test.dates[:, 0].max()},"
            f" {len(test)} windows"
        )

    def _place(self, key: str) -> int:
        return [fold_name(number) for number in self.walk.folds].index(key)


class FoldStore(Store[FoldCell]):
    """The folder of a walk: a fold is there if its run is finished, so walks of earlier versions go on.

    Args:
        walk: The folder, which its driver holds alone.
        remote: Whether workers share no disk with it.
        others: Those of further seeds: a fold is there if it is in all of them.
    """

    def __init__(self, walk: RunFolder, *, remote: bool, others: Sequence[RunFolder] = ()) -> None:
        super().__init__(walk.file(WALK))
        self.walk, self.remote, self.others = walk, remote, list(others)

    def find(self, cells: Mapping[str, FoldCell]) -> dict[str, Values]:
        """Folds whose runs are finished; what they forecast lies in their folders."""
        return {
            key: {}
            for key in cells
            if all(self._is_finished(RunFolder(each.file(key))) for each in (self.walk, *self.others))
        }

    def hand_out(self, cell: FoldCell) -> FoldCell:
        """Give a worker of a cluster the files that the fold is opened from, and what is there of its run."""
        if not self.remote:
            return cell
        every = [self.walk, *self.others]
        return replace(cell, files=_joined([self._sent(each, cell.key) for each in every], every))

    @staticmethod
    def _sent(walk: RunFolder, key: str) -> dict[str, bytes]:
        files = {
            name: read_regular(walk.file(name), most=MOST_TABLE_BYTES)
            for name in _OPENED_FROM
            if walk.file(name).is_file()
        }
        own = walk.file(key)
        if (own / "run.json").is_file():
            files |= {f"{key}/{name}": content for name, content in _files_of(own).items()}
        return files

    def keep(self, cell: FoldCell, outcome: Outcome) -> Values:
        """Lay the files of a cluster's worker down, whole or not at all; others are there already."""
        every = [self.walk, *self.others]
        for walk, files in zip(every, _parted(outcome.files, every), strict=True):
            if not files:  # of a worker that has the folder itself
                continue
            place = walk.file(cell.key)
            with writable(place):
                # It was begun by an earlier worker, and what that one left has gone into these files.
                shutil.rmtree(place, ignore_errors=True)
                make_folder(place, partial(_lay_down, files))
        return outcome.values

    @staticmethod
    def _is_finished(fold: RunFolder) -> bool:
        return fold.file("run.json").is_file() and fold.read_record().status == FINISHED


def train_walk(
    config: ExperimentConfig,
    watcher: Watcher | None,
    accept: Sequence[str] = (),
    *,
    runner: Runner | None = None,
    remote: bool = False,
) -> RunFolder:
    """Train every fold of a walk-forward, and test all forecasts together.

    Args:
        config: With ``data.split.scheme`` expanding or rolling, and no ``fold``. With ``training.seeds`` of N
            it is N walks, each in its own folder as if it were alone, whose folds are trained at once.
        watcher: Informed of what a person should know, and of each epoch as in `train_run` where the folds
            are trained one after another in this process; None is the progress of the runner.
        accept: Names of doubts that a person looked at (`qhq.data.plausibility`).
        runner: Who trains the folds, and where their progress goes; by default this process.
        remote: Whether its workers share no disk with this process.

    Returns:
        The walk's folder, of several seeds the first's; `read_walk` reads what it found.

    Raises:
        QHQError: If the config, the data or the backend is not good, or a fold cannot be trained; the folder
            is there then as soon as the data could be split, and `resume_walk` goes on with it.
    """
    _check(config, runner)
    watcher = watcher or _Told(runner)
    planned = _plan(config, watcher, accept)
    configs = [config.of_seed(config.seed + number) for number in range(config.training.seeds)]
    folders = [
        create_run(f"{config.name}-walk", each.seed, partial(_fill, config=each, planned=planned))
        for each in configs
    ]
    if len(folders) > 1:
        if why := why_alone(config):
            watcher.note(f"The seeds of a fold are trained one after another: {why}.")
        names = [folder.name for folder in folders]
        for folder in folders:
            folder.write_json(WALK, read_walk(folder).updated(together=names))
    # Every fold is trained from what the folder holds, so that one that is trained after a kill is no other.
    return _go_on([planned.of(folder) for folder in folders], watcher, runner, remote=remote)


def train_walk_in(folder: RunFolder, config: ExperimentConfig) -> None:
    """Train and test as `train_walk` does, in this process and in an empty folder of the caller's.

    The caller keeps the ledger of looks.

    Raises:
        QHQError: As `train_walk`; the folder is half written then.
    """
    _check(config, None)
    watcher = Watcher()
    planned = _plan(config, watcher, ())
    _fill(folder, config, planned)
    walk = planned.of(folder)
    Runner().run(WalkForward(walk, watcher, remote=False, keeps_looks=False))


@dataclass(frozen=True, eq=False)
class _Planned:
    """A walk that could be split, and has no folder yet."""

    panel: Panel
    laid_out: Panel
    folds: list[int]
    plausibility: Plausibility

    def of(self, folder: RunFolder) -> Walk:
        """The same with the folder that it was written to."""
        return Walk(folder, load_config(str(folder.config)), self.panel, self.laid_out, self.folds)


def _plan(config: ExperimentConfig, watcher: Watcher, accept: Sequence[str]) -> _Planned:
    panel = load_panel(config.data)
    laid_out = arrange_rows(panel, config.data)
    folds = folds_of(laid_out, config.data)
    for number in (folds[0], folds[-1]):  # what cannot be split is refused before hours go into training
        split_panel(laid_out, config.data.with_fold(number))
    for sentence in tell_rows(panel.quarantine, panel.doubts, panel.notes):
        watcher.note(sentence)
    # The last fold is trained on nearly all there is.
    spec = config.data.with_fold(folds[-1])
    plausibility = plausibility_record(find_leaks(laid_out, split_panel(laid_out, spec), spec), accept)
    tell_doubts(read_doubts(plausibility), watcher)
    return _Planned(panel, laid_out, folds, plausibility)


def _fill(folder: RunFolder, config: ExperimentConfig, planned: _Planned) -> None:
    """Write all of a walk's folder that is known before its first fold is trained."""
    folder.write_text("config.yaml", dump_document(config))
    carry_module(folder, read_source(config.model))
    if config.quantum is not None:
        with writable(folder.circuit):
            save_ansatz(as_stored(build_circuit(config.quantum, config.seed)), folder.circuit)
    content = {
        "schema_version": SCHEMA_VERSION,
        "status": RUNNING,
        **provenance(),
        "task": config.data.task,
        **config.data.caveat.to_dict(),
        "backend": config.backend,
        "seed": config.seed,
        "design": config.model_dump(mode="json"),
        "data": {"fingerprint": panel_fingerprint(planned.panel)},
        "plausibility": planned.plausibility,
        "fold_numbers": planned.folds,
    }
    folder.write_json(WALK, WalkRecord.model_validate(content))


def resume_walk(
    folder: RunFolder,
    watcher: Watcher | None,
    accept: Sequence[str] = (),
    *,
    runner: Runner | None = None,
    remote: bool = False,
) -> RunFolder:
    """Go on with a walk-forward that was cut off; a finished one is left as it is, but for accepted doubts.

    Args:
        folder: The walk's; of several seeds that of any, and all of them go on.
        watcher: As of `train_walk`.
        accept: As there.
        runner: As there.
        remote: As there.

    Raises:
        QHQError: If the folder is damaged, or the prices are not those that it was begun with.
    """
    watcher = watcher or _Told(runner)
    folders = [each for each in trained_together(folder) if each.file(WALK).is_file()]
    for each in folders if accept else ():
        found = read_walk(each)
        each.write_json(WALK, found.updated(plausibility=add_doubts(found.plausibility, names=accept)))
    records = [read_walk(each) for each in folders]
    record = records[0]
    if all(each.status == FINISHED for each in records):
        tell_finished(folder, watcher)
        return folders[0]
    config = load_config(str(folders[0].config))
    _check(config, runner)
    panel = load_panel(config.data)
    if panel_fingerprint(panel) != record.prices():
        raise DataError(
            "A walk-forward must be continued on exactly the prices that it was begun with",
            got=f"other prices than those of {folder.name}: rows to {panel.dates.max()}",
            fix="Restore the old ones, or begin it anew",
        )
    laid_out = arrange_rows(panel, config.data)
    folds = folds_of(laid_out, config.data)
    walks = [Walk(each, load_config(str(each.config)), panel, laid_out, folds) for each in folders]
    return _go_on(walks, watcher, runner, remote=remote)


def stays_here(config: ExperimentConfig) -> bool:
    """Whether the folds must be trained in this process: on hardware, or of a module that lives in memory."""
    # A device's journal and the consent to its costs are this process's, and so is what `qhq.wrap` was given.
    on_device = config.quantum is not None and kind_of(find_backend(config.backend)).is_hardware
    return on_device or (config.model.file or "").startswith(MODULE_IN_MEMORY)


def _check(config: ExperimentConfig, runner: Runner | None) -> None:
    check_one_scale(config.data)
    check_one_run(config, find_backend(config.backend))
    if runner is not None and stays_here(config):
        raise ConfigError(
            "The folds of a walk-forward on a device, or of a module in memory, must be trained one after"
            " another in one process",
            got=f"several workers, or a cluster, for backend {config.backend}",
            fix="Take --workers 1; or train on 'aer', and write the module into a file",
        )


def _go_on(walks: Sequence[Walk], watcher: Watcher, runner: Runner | None, *, remote: bool) -> RunFolder:
    walk, *others = walks
    study = WalkForward(walk, watcher, remote=remote, others=others)
    # In a notebook a file may have changed since the last walk of the same process.
    loaded(walk.config.data, anew=True)
    with walk.folder.resumable(), ExitStack() as locks:
        for each in walks:
            locks.enter_context(each.folder.locked())
        (runner or Runner(progress=_OneAfterAnother(study, watcher))).run(study)
    return walk.folder


class _Told(Watcher):
    """Passes what a person should know on to the progress of a runner."""

    def __init__(self, runner: Runner | None) -> None:
        self.runner = runner

    def note(self, text: str) -> None:
        """Pass it on."""
        if self.runner is not None:
            self.runner.progress.note(text)


class _OneAfterAnother(StudyEvents):
    """Says which fold begins, to whoever watches the epochs."""

    def __init__(self, study: WalkForward, watcher: Watcher) -> None:
        # A runner passes on what `say` gave, and not the key.
        self.said = {study.say(fold_name(number)): fold_name(number) for number in study.walk.folds}
        self.study, self.watcher = study, watcher

    def note(self, text: str) -> None:
        """Pass it on."""
        self.watcher.note(text)

    def measuring(self, what: str) -> None:
        """Name the fold, and what it forecasts."""
        self.watcher.note(self.study.describe(self.said[what]))


def _train(walks: Sequence[RunFolder], cell: FoldCell) -> None:
    """Train a fold in its folder, from what the walk's folder holds; of several seeds in one of each."""
    walk = walks[0]
    config = load_config(str(walk.config))
    panel = loaded(config.data)
    circuit = None if config.quantum is None else name_circuit(build_circuit(config.quantum, config.seed))
    # A worker reads files of its own machine: they must be what the walk was planned on.
    cell.seen.match(Fingerprints(panel_fingerprint(panel), circuit))
    fold = RunFolder(walk.file(cell.key))
    with one_training():
        if len(walks) > 1:
            folds = [RunFolder(each.file(cell.key)) for each in walks]
            for each in folds:
                if not each.file("run.json").is_file():
                    shutil.rmtree(each.path, ignore_errors=True)
                    with writable(each.path):
                        each.path.mkdir()
            configs = [load_config(str(each.config)) for each in walks]
            own = [each.model_copy(update={"data": each.data.with_fold(cell.number)}) for each in configs]
            train_seeds_in(folds, own, prepare(own[0].data, panel), cell.watcher)
            return
        if fold.file("run.json").is_file():
            resume_run(fold, cell.watcher, command=None)
            return
        shutil.rmtree(fold.path, ignore_errors=True)  # a kill left it without a record
        with writable(fold.path):
            fold.path.mkdir()
        alone = config.model_copy(update={"data": config.data.with_fold(cell.number)})
        with fold.locked():
            train_in(fold, alone, prepare(alone.data, panel), cell.watcher)


def _joined(files: Sequence[Mapping[str, bytes]], walks: Sequence[RunFolder]) -> dict[str, bytes]:
    """Files of several walks in one mapping: those of the first by their own names, as of a walk alone."""
    joined = dict(files[0])
    for walk, own in zip(walks[1:], files[1:], strict=True):
        joined |= {f"{walk.name}/{name}": content for name, content in own.items()}
    return joined


def _parted(files: Mapping[str, bytes], walks: Sequence[RunFolder]) -> list[dict[str, bytes]]:
    """The same walk by walk."""
    marks = [f"{walk.name}/" for walk in walks[1:]]
    first = {name: content for name, content in files.items() if not name.startswith(tuple(marks))}
    others = [
        {name.removeprefix(mark): content for name, content in files.items() if name.startswith(mark)}
        for mark in marks
    ]
    return [first, *others]


def _files_of(folder: Path) -> dict[str, bytes]:
    # A lock is of the processes of one machine, and means nothing on another.
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): read_regular(path, most=MOST_TABLE_BYTES) for path in paths}


def _lay_down(files: Mapping[str, bytes], place: Path) -> None:
    for name, content in files.items():
        write_atomically(place / name, content)
