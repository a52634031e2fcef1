"""One stage: rounds of points, each trained with every seed, pruned on the way, ranked at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from qhq.data.panel import FloatArray
from qhq.errors import ConfigError
from qhq.experiment.config import ExperimentConfig
from qhq.studies.sweep.design import change, digest, look_up
from qhq.studies.sweep.dispatch import Dispatch, Folders
from qhq.studies.sweep.noise import measure_noise, measure_trends, say_noise
from qhq.studies.sweep.proposals import Proposal, Proposals
from qhq.studies.sweep.ranking import Entry, best_of, relative_error, table_rows
from qhq.studies.sweep.space import Point, Space, number_of
from qhq.studies.sweep.spec import StageSpec, SweepSpec
from qhq.studies.sweep.work import FAILED, PRUNED
from qhq.tracking.run_folder import FINISHED


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

    def with_seeds(self, config: ExperimentConfig) -> list[tuple[str, ExperimentConfig]]:
        """Names and configs of a point's trials."""
        seeds = range(config.seed, config.seed + self.sweep.seeds_of(self.stage))
        name = digest(config)
        return [(f"{name}-s{seed}", config.model_copy(update={"seed": seed})) for seed in seeds]


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
    entries: dict[str, Entry] = {}
    for proposed in proposals.rounds():
        for proposal, entry in zip(proposed, _run_round(ground, proposals, proposed, dispatch), strict=True):
            value = entry.value if np.isfinite(entry.value) else None
            proposals.tell(proposal, value, pruned=entry.status == PRUNED)
            entries.setdefault(entry.trials[0], entry)
        _tell_best(list(entries.values()), dispatch)
    return _conclude(ground, list(entries.values()))


def _incumbent(ground: Ground) -> Point | None:
    """The point where the stage starts; None if the space does not hold it."""
    options = ground.stage.points.options
    labels = {key: each.label_of(look_up(ground.base, key)) for key, each in options.items()}
    point = {key: label for key, label in labels.items() if label is not None}
    return point if len(point) == len(options) else None


def _run_round(
    ground: Ground, proposals: Proposals, proposed: Sequence[Proposal], dispatch: Dispatch
) -> list[Entry]:
    """Entries of proposals, in their order."""
    trials = {each.number: ground.with_seeds(ground.config(each.point)) for each in proposed}
    left = list(proposed)
    pruned: dict[int, Entry] = {}
    for until in _rungs(ground):
        folders = _train(trials, left, dispatch, until)
        for proposal in left:
            entry = _entry(ground, proposal, trials[proposal.number], folders, PRUNED)
            # A failed trial has no value to be pruned by: it fails in the full training.
            if np.isfinite(entry.values).all() and proposals.give_up(
                proposal, float(np.median(entry.values)), until
            ):
                pruned[proposal.number] = entry
                dispatch.watcher.trials_pruned(entry.trials)
        left = [each for each in left if each.number not in pruned]
    folders = _train(trials, left, dispatch, None)
    whole = {each.number: _entry(ground, each, trials[each.number], folders, FINISHED) for each in left}
    return [(pruned | whole)[each.number] for each in proposed]


def _rungs(ground: Ground) -> tuple[int, ...]:
    prune = ground.stage.prune
    return () if prune is None else tuple(each for each in prune.at if each < ground.base.training.epochs)


def _train(
    trials: dict[int, list[tuple[str, ExperimentConfig]]],
    left: Sequence[Proposal],
    dispatch: Dispatch,
    until: int | None,
) -> Folders:
    tasks = [dispatch.open(*trial) for proposal in left for trial in trials[proposal.number]]
    return dispatch.execute([replace(task, until=until) for task in tasks])


def _entry(
    ground: Ground,
    proposal: Proposal,
    trials: list[tuple[str, ExperimentConfig]],
    folders: Folders,
    status: str,
) -> Entry:
    names = tuple(name for name, _ in trials)
    records = tuple(folders[name].read_record() for name in names)
    failed = any(record["status"] == FAILED for record in records)
    values = np.array([relative_error(record, ground.sweep.metric) for record in records])
    return Entry(proposal.point, names, records, values, FAILED if failed else status)


def _tell_best(entries: Sequence[Entry], dispatch: Dispatch) -> None:
    best = min(entries, key=lambda entry: entry.value)
    if np.isfinite(best.value):
        dispatch.watcher.best_so_far(say_point(best.point), best.value)


def say_point(point: Point) -> str:
    """A point in one line, each key by its last word."""
    return ", ".join(f"{key.rpartition('.')[2]} {_short(value)}" for key, value in point.items())


def _short(value: str | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _conclude(ground: Ground, entries: list[Entry]) -> StageResult:
    noise = measure_noise(_finished_values(entries))
    chosen = best_of(entries, noise.margin)
    if chosen is None:
        raise _nothing_trained(ground, entries)
    good = [entry for entry in entries if np.isfinite(entry.value)]
    trends = measure_trends(_sizes(ground.stage.points, good), np.array([entry.value for entry in good]))
    rows = table_rows(entries, chosen, noise.margin)
    record = {
        "stage": ground.stage.name,
        "search": ground.stage.search,
        "points": len(entries),
        "pruned": sum(entry.status == PRUNED for entry in entries),
        "failed": sum(entry.status == FAILED for entry in entries),
        "best": say_point(chosen.point),
        "value": chosen.value,
        "tied": sum(row["tied"] for row in rows),
        "noise": {**noise.to_dict(), "sentence": say_noise(noise)},
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
        numbers = [
            number_of(entry.point[key], each[key]) for entry, each in zip(entries, changes, strict=True)
        ]
        known = [number for number in numbers if number is not None]
        if len(known) == len(numbers):
            sizes[key] = known
    return sizes


def _nothing_trained(ground: Ground, entries: Sequence[Entry]) -> ConfigError:
    errors = [record["error"] for entry in entries for record in entry.records if "error" in record]
    return ConfigError(
        f"Stage {ground.stage.name} must have a point that can be trained to its end",
        got=f"none of {len(entries)}" + (f"; the first said: {errors[0]}" if errors else ""),
        fix="Mend the stage's space or the experiment",
    )
