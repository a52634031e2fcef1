"""A round of points: each trained with every seed, and given up on the way where Optuna's pruner says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qhq.studies.sweep.dispatch import Dispatch, Folders
from qhq.studies.sweep.ground import Ground, Trials
from qhq.studies.sweep.proposals import Proposal, Proposals
from qhq.studies.sweep.ranking import Entry, relative_error
from qhq.studies.sweep.space import Point
from qhq.studies.sweep.watcher import SweepWatcher
from qhq.studies.sweep.work import PRUNED
from qhq.tracking.run_folder import FAILED, FINISHED


@dataclass
class Leader:
    """Tells whenever a point is the best of its stage so far."""

    watcher: SweepWatcher
    value: float = math.inf

    def meet(self, entry: Entry) -> None:
        """Take a point that has been trained with every seed."""
        if entry.value < self.value:
            self.value = entry.value
            self.watcher.best_so_far(say_point(entry.point), entry.value)


def say_point(point: Point) -> str:
    """A point in one line, each key by its last word."""
    return ", ".join(f"{key.rpartition('.')[2]} {_short(value)}" for key, value in point.items())


def _short(value: str | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Round:
    """Trains points that were proposed together."""

    ground: Ground
    proposals: Proposals
    dispatch: Dispatch
    leader: Leader

    def run(self, proposed: Sequence[Proposal]) -> list[Entry]:
        """Entries of the proposals, in their order.

        Raises:
            QHQError: If workers die, are not of the driver's version, or cannot write.
        """
        trials = {each.number: self.ground.with_seeds(self.ground.config(each.point)) for each in proposed}
        left = list(proposed)
        pruned: dict[int, Entry] = {}
        for until in self._rungs():
            pruned |= self._prune(trials, left, until)
            left = [each for each in left if each.number not in pruned]
        whole = self._finish(trials, left)
        return [(pruned | whole)[each.number] for each in proposed]

    def _rungs(self) -> tuple[int, ...]:
        prune, epochs = self.ground.stage.prune, self.ground.base.training.epochs
        return () if prune is None else tuple(each for each in prune.at if each < epochs)

    def _prune(self, trials: dict[int, Trials], left: Sequence[Proposal], until: int) -> dict[int, Entry]:
        """Train to a rung, and give entries of what is given up there."""
        tasks = [self.dispatch.open(*trial) for proposal in left for trial in trials[proposal.number]]
        folders = self.dispatch.execute([replace(task, until=until) for task in tasks])
        pruned = {}
        for proposal in left:
            entry = self._entry(proposal, trials[proposal.number], folders, PRUNED)
            # A failed trial has no value to be pruned by: it fails in the full training.
            good = np.isfinite(entry.values).all()
            if good and self.proposals.give_up(proposal, float(np.median(entry.values)), until):
                pruned[proposal.number] = entry
                self.dispatch.watcher.trials_pruned(entry.trials)
        return pruned

    def _finish(self, trials: dict[int, Trials], left: Sequence[Proposal]) -> dict[int, Entry]:
        """Train to the end, and tell of the best as they come."""
        owners = {name: each for each in left for name, _ in trials[each.number]}

        def follow(name: str, done: Folders) -> None:
            own = trials[owners[name].number]
            if all(each in done for each, _ in own):
                self.leader.meet(self._entry(owners[name], own, done, FINISHED))

        tasks = [self.dispatch.open(*trial) for each in left for trial in trials[each.number]]
        folders = self.dispatch.execute(tasks, follow)
        return {each.number: self._entry(each, trials[each.number], folders, FINISHED) for each in left}

    def _entry(self, proposal: Proposal, trials: Trials, folders: Folders, status: str) -> Entry:
        names = tuple(name for name, _ in trials)
        records = tuple(folders[name].read_record() for name in names)
        failed = any(record["status"] == FAILED for record in records)
        values = np.array([relative_error(record, self.ground.sweep.metric) for record in records])
        return Entry(proposal.point, names, records, values, FAILED if failed else status)
