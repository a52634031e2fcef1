"""One stage: rounds of points, each trained with every seed, pruned on the way, ranked at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from qhq.data.panel import FloatArray
from qhq.errors import ConfigError
from qhq.evaluation.confidence_set import confidence_set, say_set
from qhq.experiment.config import ExperimentConfig
from qhq.runs.run_folder import FAILED, FINISHED
from qhq.studies.sweep.final import LAST_VALUE, trial_losses
from qhq.studies.sweep.proposals import Proposal, Proposals
from qhq.studies.sweep.ranking import (
    Entry,
    best_of,
    measure_noise,
    measure_trends,
    relative_error,
    say_noise,
    table_rows,
)
from qhq.studies.sweep.space import Listed, Point, Range, Space, number_of
from qhq.studies.sweep.spec import StageSpec, SweepSpec, change, look_up
from qhq.studies.sweep.trials import PRUNED, Dispatch, Folders, digest
from qhq.studies.sweep.watcher import SweepWatcher

Trials = list[tuple[str, ExperimentConfig]]
"""Names and configs of one point's trainings, one a seed."""


@dataclass(frozen=True)
class Ground:
    """What a stage stands on.

    Attributes:
        sweep: The whole search.
        stage: This part of it.
        start: The config that the stage before left.
    """

    sweep: SweepSpec
    stage: StageSpec
    start: ExperimentConfig

    @property
    def base(self) -> ExperimentConfig:
        """The config that this stage's points change."""
        return change(self.start, self.stage.set, f"stage {self.stage.name}, set")

    def config(self, point: Point) -> ExperimentConfig:
        """The config of a point.

        Raises:
            ConfigError: If the point makes no valid config.
        """
        return change(self.base, self.stage.points.changes(point), f"stage {self.stage.name}")

    def with_seeds(self, config: ExperimentConfig) -> Trials:
        """Names and configs of a point's trials."""
        seeds = range(config.seed, config.seed + self.sweep.seeds_of(self.stage))
        name = digest(config)
        return [(f"{name}-s{seed}", config.model_copy(update={"seed": seed})) for seed in seeds]


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


@dataclass(frozen=True)
class StageResult:
    """What a stage found: its record as plain JSON, and the config that the next starts from."""

    record: dict[str, Any]
    winner: ExperimentConfig


def run_stage(ground: Ground, dispatch: Dispatch) -> StageResult:
    """Try the stage's points and choose the best, ties to the simplest.

    Raises:
        ConfigError: If no point can be trained.
        QHQError: If workers die, are not of the driver's version, or cannot write.
    """
    proposals = Proposals(ground.stage, ground.start.seed, _incumbent(ground))
    leader = Leader(dispatch.watcher)
    entries: dict[str, Entry] = {}
    for proposed in proposals.rounds():
        found = Round(ground, proposals, dispatch, leader).run(proposed)
        for proposal, entry in zip(proposed, found, strict=True):
            value = entry.value if np.isfinite(entry.value) else None
            proposals.tell(proposal, value, pruned=entry.status == PRUNED)
            first = entries.setdefault(entry.trials[0], entry)
            if first.point != entry.point:
                # Such as 1 and 1.0 of a key that is a whole number: what is trained is one thing.
                dispatch.watcher.note(
                    f"{say_point(entry.point)} makes the same config as {say_point(first.point)}: one point."
                )
    return _conclude(ground, list(entries.values()))


def _incumbent(ground: Ground) -> Point | None:
    """The point where the stage starts; None if the space does not hold it."""
    options = ground.stage.points.options
    labels = {key: _label_at_start(ground, key, each) for key, each in options.items()}
    point = {key: label for key, label in labels.items() if label is not None}
    return point if len(point) == len(options) else None


def _label_at_start(ground: Ground, key: str, options: Listed | Range) -> str | float | None:
    """The option of a key that the stage starts with.

    A choice may say in another way what the config says (a stack whose defaults are left out, "4" for 4):
    then it is the one that changes nothing.
    """
    found = options.label_of(look_up(ground.base, key))
    if found is not None or isinstance(options, Range):
        return found
    start = ground.base.model_dump_json()
    for label, value in options.choices.items():
        try:
            same = change(ground.base, {key: value}, "stage").model_dump_json() == start
        except ConfigError:  # it makes a config only together with the stage's other keys
            continue
        if same:
            return label
    return None


def _conclude(ground: Ground, entries: list[Entry]) -> StageResult:
    noise = measure_noise(_finished_values(entries))
    chosen = best_of(entries, noise.margin)
    if chosen is None:
        raise _nothing_trained(ground, entries)
    good = [entry for entry in entries if np.isfinite(entry.value)]
    trends = measure_trends(_sizes(ground.stage.points, good), np.array([entry.value for entry in good]))
    rows = table_rows(entries, chosen, noise.margin)
    kept = trial_losses({entry.trials[0]: entry.records for entry in good})
    may_be_best = confidence_set(kept, LAST_VALUE if kept else "", horizon=ground.base.data.horizon)
    for row in rows:
        row["set_p"] = may_be_best.p_values.get(row["trials"][0])
        row["in_set"] = row["trials"][0] in may_be_best.members if may_be_best.members else None
    lowest = min(good, key=lambda entry: (entry.value, entry.parameters))
    record = {
        "stage": ground.stage.name,
        "search": ground.stage.search,
        "keys": list(ground.stage.space),
        "points": len(entries),
        "pruned": sum(entry.status == PRUNED for entry in entries),
        "failed": sum(entry.status == FAILED for entry in entries),
        "best": say_point(chosen.point),
        "value": chosen.value,
        "lowest": say_point(lowest.point),
        "lowest_value": lowest.value,
        "tied": sum(row["tied"] for row in rows),
        "noise": {**noise.to_dict(), "sentence": say_noise(noise)},
        "confidence_set": {
            **may_be_best.to_dict(),
            "sentence": say_set(may_be_best, "points", "the last value"),
        },
        "trends": [asdict(trend) for trend in trends],
        "rows": rows,
    }
    winner = change(ground.start, ground.stage.points.changes(chosen.point), f"stage {ground.stage.name}")
    return StageResult(record, winner)


def _finished_values(entries: Sequence[Entry]) -> FloatArray:
    """Values of what was trained to its end with every seed, shape (points, seeds)."""
    rows = [entry.values for entry in entries if np.isfinite(entry.value)]
    return np.array(rows) if rows else np.empty((0, 1))


def _sizes(space: Space, entries: Sequence[Entry]) -> dict[str, list[float]]:
    """Numbers of each point: parameters, keys that are numbers, and the length of those that are lists."""
    sizes: dict[str, list[float]] = {"parameters": [float(entry.parameters) for entry in entries]}
    changes = [space.changes(entry.point) for entry in entries]
    for key in space.options:
        numbers = [number_of(entry.point[key]) for entry in entries]
        values = [each[key] for each in changes]
        if all(number is not None for number in numbers):
            sizes[key] = [number for number in numbers if number is not None]
        elif all(isinstance(value, list) for value in values):
            sizes[f"length of {key}"] = [float(len(value)) for value in values]
    return sizes


def _nothing_trained(ground: Ground, entries: Sequence[Entry]) -> ConfigError:
    errors = [record["error"] for entry in entries for record in entry.records if "error" in record]
    return ConfigError(
        f"Stage {ground.stage.name} must have a point that can be trained to its end",
        got=f"none of {len(entries)}" + (f"; the first said: {errors[0]}" if errors else ""),
        fix="Mend the stage's space or the experiment",
    )
