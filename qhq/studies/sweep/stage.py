"""One stage: rounds of points, each trained with every seed, pruned on the way, ranked at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from qhq.data.panel import FloatArray
from qhq.errors import ConfigError
from qhq.evaluation.confidence_set import confidence_set, say_set
from qhq.experiment.config import ExperimentConfig
from qhq.studies.sweep.design import change, look_up
from qhq.studies.sweep.dispatch import Dispatch
from qhq.studies.sweep.ground import Ground
from qhq.studies.sweep.losses import LAST_VALUE, trial_losses
from qhq.studies.sweep.noise import measure_noise, measure_trends, say_noise
from qhq.studies.sweep.proposals import Proposals
from qhq.studies.sweep.ranking import Entry, best_of, table_rows
from qhq.studies.sweep.round import Leader, Round, say_point
from qhq.studies.sweep.space import Listed, Point, Range, Space, number_of
from qhq.studies.sweep.work import PRUNED
from qhq.tracking.run_folder import FAILED


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
