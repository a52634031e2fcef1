"""Runs that were trained at once with several seeds: which they are, and their results as one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from statistics import mean, stdev
from typing import Any

from qhq.runs.comparison import run_skill
from qhq.runs.record import RunRecord, WalkRecord
from qhq.runs.run_folder import FINISHED, WALK, RunFolder, is_run_name, read_walk
from qhq.runs.schema import LAST_VALUE

_MEASURES = ("mae", "rmse", "mape", "mase", "skill")


def trained_together(folder: RunFolder) -> list[RunFolder]:
    """The runs that a run was trained with, by seed, itself among them; itself alone of any other run.

    One that is there no longer, or was renamed, is among them by the name that it had.

    Raises:
        ConfigError: If the record is missing or damaged.
    """
    names = _record_of(folder).together or []
    # A record of somebody else's may name anything: only what lies beside it is looked at.
    if folder.name not in names or not all(is_run_name(name) for name in names):
        return [folder]
    return [RunFolder(folder.path.with_name(name)) for name in names]


def _record_of(folder: RunFolder) -> RunRecord | WalkRecord:
    return read_walk(folder) if folder.file(WALK).is_file() else folder.read_record()


@dataclass(frozen=True)
class SeedTable:
    """Results on the test split of runs that differ in the seed.

    Attributes:
        rows: One a finished run: ``seed``, ``run``, ``epochs``, ``best_epoch`` and the measures.
        mean: Of each measure, None where it is not defined.
        sd: The standard deviation over the seeds, with n - 1; None of a single one.
        last_value: Measures of the last-value forecast.
        strongest: Name of the baseline that errs least, the last value among them, by ``skill``.
        strongest_measures: Its measures.
    """

    rows: list[dict[str, Any]]
    mean: dict[str, float | None]
    sd: dict[str, float | None]
    last_value: dict[str, float | None]
    strongest: str
    strongest_measures: dict[str, float | None]

    def to_dict(self) -> dict[str, Any]:
        """As ``qhq train --json`` has it under ``seeds``."""
        return {
            "rows": self.rows,
            "mean": self.mean,
            "sd": self.sd,
            "last_value": self.last_value,
            "strongest": {"baseline": self.strongest, **self.strongest_measures},
        }


def tabulate_seeds(folders: Sequence[RunFolder]) -> SeedTable | None:
    """Put runs of several seeds into one table; None where there are not two that are finished.

    Raises:
        ConfigError: If a record is damaged.
    """
    there = [each for each in folders if each.file("run.json").is_file() or each.file(WALK).is_file()]
    records = [_record_of(each) for each in there]
    records = [each for each in records if each.status == FINISHED]
    if len(records) < 2:
        return None
    found = [_measures(each, "test") for each in records]
    rows = [
        {
            "seed": each.seed,
            "run": each.run,
            "epochs": each.epochs,
            # A walk-forward has one a fold.
            "best_epoch": each.best_epoch if isinstance(each, RunRecord) else None,
            **own,
        }
        for each, own in zip(records, found, strict=True)
    ]
    columns = {name: [own[name] for own in found] for name in _MEASURES}
    known = {name: [value for value in values if value is not None] for name, values in columns.items()}
    # Over all seeds, or not at all: a mean of some would be that of the lucky ones.
    whole = {name: values for name, values in known.items() if len(values) == len(records)}
    # The baselines are those of the data, and so the same for every seed.
    first = records[0]
    others = {name: _measures(first, name) for name in first.tested().forecasts if name != "test"}
    skills = {name: each["skill"] for name, each in others.items()}
    # A baseline without a skill is not the best one; where none has any, the first is.
    best = max(others, key=lambda name: -inf if (skill := skills[name]) is None else skill)
    return SeedTable(
        rows,
        {name: mean(whole[name]) if name in whole else None for name in _MEASURES},
        {name: stdev(whole[name]) if name in whole else None for name in _MEASURES},
        others["naive"],
        LAST_VALUE if best == "naive" else best,
        others[best],
    )


def _measures(record: RunRecord | WalkRecord, forecast: str) -> dict[str, float | None]:
    metrics = record.tested()
    return {**metrics.forecasts[forecast].row(), "skill": run_skill(metrics, forecast)}
