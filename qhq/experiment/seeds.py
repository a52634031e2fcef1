"""Runs of one config with seeds from its own on, trained at once: ``training.seeds``.

Each seed has a run folder like any other, which keeps its state after each epoch and says with whom it was
trained. A training that was cut off is continued for all of them, bit for bit, by the name of any.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from qhq.backends.registry import find_backend
from qhq.data.prepare import PreparedData, prepare
from qhq.errors import ConfigError, QHQError
from qhq.experiment.checkup import Doctor
from qhq.experiment.config import ExperimentConfig
from qhq.experiment.fit import (
    Saver,
    check_one_run,
    open_trainers,
    pass_gate,
    pass_parity_gate,
    simulated,
    train_together,
    why_alone,
)
from qhq.experiment.opening import Experiment, open_on_data
from qhq.experiment.plausibility import add_doubts, doubt_data, plausibility_record, read_doubts, tell_doubts
from qhq.experiment.record import Stopwatch
from qhq.experiment.reopening import open_run_experiment
from qhq.experiment.run import (
    Trained,
    Training,
    complete,
    tell_finished,
    tell_of_rows,
    warn_of_weights,
    write_design,
)
from qhq.runs.run_folder import FINISHED, RUNNING, RunFolder, create_run
from qhq.training.checkpoint import load_state, save_weights
from qhq.training.loop import Trainer, TrainingState, Watcher, Watchers


def train_seeds(config: ExperimentConfig, watcher: Watcher, accept: Sequence[str] = ()) -> list[RunFolder]:
    """Train and evaluate a config with ``training.seeds`` seeds, each in a run folder of its own.

    Args:
        config: Of the runs, with the first seed.
        watcher: Informed of each step.
        accept: Names of doubts that a person looked at (`qhq.data.plausibility`).

    Returns:
        The folders, by seed.

    Raises:
        QHQError: If the config, the data or the backend is not good, no folder is made then; or if a seed
            cannot be trained, after all others are.
    """
    watch = Stopwatch()
    with watch.phase("data"):
        check_one_run(config, find_backend(config.backend))
        data = prepare(config.data)
        configs = [config.of_seed(config.seed + number) for number in range(config.training.seeds)]
        experiments = [open_on_data(each, data) for each in configs]
        tell_of_rows(data, watcher)
        doubts = plausibility_record(doubt_data(data, config.data), accept)
        tell_doubts(read_doubts(doubts), watcher)
        first, *others = experiments
        parities = [pass_gate(first, watcher), *(pass_parity_gate(each) for each in others)]
    folders = []
    for experiment, parity in zip(experiments, parities, strict=True):
        # Once is enough to be told what is left out of a folder.
        once = watcher if experiment is first else None
        fill = partial(write_design, experiment=experiment, parity=parity, watcher=once, plausibility=doubts)
        folders.append(create_run(config.name, experiment.config.seed, fill))
    # In a second pass: a folder gets its name as it is made, and each is to know those of all.
    names = [folder.name for folder in folders]
    for folder in folders:
        folder.write_record(folder.read_record().updated(together=names))
    _complete(folders, experiments, watcher, watch)
    return folders


def resume_seeds(
    folders: Sequence[RunFolder], watcher: Watcher, accept: Sequence[str] = ()
) -> list[RunFolder]:
    """Continue runs that were trained together and cut off; see `qhq.experiment.run.resume_run`.

    Args:
        folders: All of them, by seed; one that is gone keeps its place in the stack, and is not trained.
        watcher: Informed of each epoch.
        accept: Names of doubts that a person looked at.

    Returns:
        Those that are there.

    Raises:
        QHQError: If a folder is damaged, or another process trains it.
    """
    there = [each for each in folders if each.file("run.json").is_file()]
    for folder in there if accept else ():
        with folder.locked():
            record = folder.read_record()
            folder.write_record(record.updated(plausibility=add_doubts(record.plausibility, names=accept)))
    if all(folder.read_record().status == FINISHED for folder in there):
        tell_finished(there[0], watcher)
        return there
    watch = Stopwatch()
    with watch.phase("data"):
        opened = {folder.name: open_run_experiment(folder) for folder in there}
        some = opened[there[0].name]
        # Its place says which seed it is.
        first = some.config.seed - folders.index(there[0])
        experiments = [
            opened.get(folder.name) or open_on_data(some.config.of_seed(first + place), some.data)
            for place, folder in enumerate(folders)
        ]
        pass_gate(some, watcher)
    for folder in there:
        record = folder.read_record()
        if record.status != FINISHED:
            folder.write_record(record.without("error").updated(status=RUNNING))
    _complete(folders, experiments, watcher, watch)
    return there


def train_seeds_in(
    folders: Sequence[RunFolder], configs: Sequence[ExperimentConfig], data: PreparedData, watcher: Watcher
) -> None:
    """Train and evaluate as `train_seeds` does, on data already prepared, in folders of the caller's.

    Args:
        folders: One a seed; each is empty, or holds a run that was cut off.
        configs: Theirs.
        data: Prepared from ``config.data``, which they have in common.
        watcher: Informed of each step.

    Raises:
        QHQError: As `train_seeds`; what could be trained is there then.
    """
    watch = Stopwatch()
    begun = [folder.file("run.json").is_file() for folder in folders]
    with watch.phase("data"):
        experiments = [
            open_run_experiment(folder) if there else open_on_data(config, data)
            for folder, config, there in zip(folders, configs, begun, strict=True)
        ]
        parities = [pass_parity_gate(each) for each in experiments]
    for folder, experiment, parity, there in zip(folders, experiments, parities, begun, strict=True):
        if not there:
            write_design(folder, experiment, parity, watcher if experiment is experiments[0] else None)
        elif (record := folder.read_record()).status != FINISHED:
            folder.write_record(record.without("error").updated(status=RUNNING))
    _complete(folders, experiments, watcher, watch, command=None)


def _complete(
    folders: Sequence[RunFolder],
    experiments: Sequence[Experiment],
    watcher: Watcher,
    watch: Stopwatch,
    *,
    command: str | None = "train",
) -> None:
    """Train and test whatever is not finished; ``command`` is as of `Training`."""
    with ExitStack() as locks:
        there = [each for each in folders if each.path.is_dir()]
        if command is not None and there:  # any of them goes on with all
            locks.enter_context(there[0].resumable())
        for folder in there:
            locks.enter_context(folder.locked())
        left = [
            at
            for at, each in enumerate(folders)
            if each.path.is_dir() and each.read_record().status != FINISHED
        ]
        # Shared out: the seconds of all runs together are to be those that passed.
        data = watch.phases["data"] / len(left) if left else 0.0
        trained = _train_at_once(folders, experiments, left, watcher)
        failed: QHQError | None = None
        for at in left:
            folder, experiment = folders[at], experiments[at]
            watcher.seed_begins(experiment.config.seed)
            done = trained.get(at)
            spent = {"data": data} if done is None else {"data": data, "train": done.state.seconds}
            try:
                questions = simulated(experiment)
                training = Training(
                    experiment, Stopwatch(spent), questions=questions, command=command, trained=done
                )
                complete(folder, training, watcher)
            except QHQError as error:
                # The others are as good without it.
                failed = failed or error
        if failed is not None:
            raise failed


def _train_at_once(
    folders: Sequence[RunFolder],
    experiments: Sequence[Experiment],
    left: Sequence[int],
    watcher: Watcher,
) -> dict[int, Trained]:
    """Train those that are left, by their places; none where they are to be trained one after another."""
    if why := why_alone(experiments[0].config):
        watcher.note(f"The seeds are trained one after another: {why}.")
        return {}
    warn_of_weights(experiments[0], watcher)
    bar = _Bar(watcher)
    trainers = open_trainers(experiments)
    states, watchers, doctors = [], list[Watcher](), dict[int, Doctor]()
    for at, (folder, experiment, trainer) in enumerate(zip(folders, experiments, trainers, strict=True)):
        states.append(_state_of(folder, experiment, trainer, ended=at not in left))
        if at not in left:
            watchers.append(Watcher())
            continue
        member = _Member(bar, experiment.config.seed)
        doctors[at] = Doctor(experiment, trainer.train, member)
        watchers.append(Watchers([Saver(folder, experiment.identity()), member, doctors[at]]))
        watchers[-1].training_begins(folder.path, states[-1], trainer.spec.epochs)
    try:
        found = train_together(experiments, trainers, states, watchers)
    except ConfigError as error:
        # The loss of one seed was no finite number, most likely; alone, the others go on.
        watcher.note(f"{error.must}; got {error.got}. From here on the seeds are trained one after another.")
        return {}
    for at in left:
        save_weights(experiments[at].model, folders[at].weights, experiments[at].identity())
    return {at: Trained(found[at], doctors[at].record(found[at])) for at in left}


def _state_of(folder: RunFolder, experiment: Experiment, trainer: Trainer, *, ended: bool) -> TrainingState:
    """Where a run goes on; one that is not trained any more holds its place in the stack."""
    there = folder.path.is_dir() and folder.resume.exists()
    state = load_state(folder.resume, experiment.identity()) if there else trainer.initial_state()
    state.stopped = state.stopped or ended
    return state


class _Bar:
    """The one bar of trainings that go on at once: it follows the first of them in each epoch."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self.epoch, self.leader = -1, -1


class _Member(Watcher):
    """Tells of one seed."""

    def __init__(self, bar: _Bar, seed: int) -> None:
        self.bar, self.seed = bar, seed

    def note(self, text: str) -> None:
        """With its seed."""
        self.bar.watcher.note(f"Seed {self.seed}: {text}")

    def training_begins(self, folder: Path, state: TrainingState, epochs: int) -> None:
        """Say whose training it is."""
        self.bar.watcher.seed_begins(self.seed)
        self.bar.watcher.training_begins(folder, state, epochs)

    def epoch_started(self, epoch: int, batches: int) -> None:
        """Start the bar, once an epoch."""
        if self.bar.epoch != epoch:
            self.bar.epoch, self.bar.leader = epoch, self.seed
            self.bar.watcher.epoch_started(epoch, batches)

    def batch_done(self, loss: float, gradient_norms: dict[str, float]) -> None:
        """Move the bar."""
        if self.bar.leader == self.seed:
            self.bar.watcher.batch_done(loss, gradient_norms)

    def epoch_done(self, state: TrainingState) -> None:
        """Say whose epoch it was."""
        self.bar.watcher.seed_begins(self.seed)
        self.bar.watcher.epoch_done(state)
