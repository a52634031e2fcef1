"""The table of an ablation: medians over seeds with their intervals, and tests against what counts.

A row's losses are those of each date over the unit of its group (see `qhq.evaluation.significance`), averaged
over the seeds: it is tested how a model of the recipe errs, not how the average of several forecasts does.
Each row is compared with the last value, with the twin, and with the baseline of the task if that is another;
Holm's correction is over all of these pairs.

Diebold-Mariano knows the luck of the dates, not that of the seeds. So two rows are called different only if
the bootstrap interval of their difference over the seeds leaves out zero as well, and two trained models of
one seed each are not tested at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qhq.data.panel import FloatArray
from qhq.evaluation.baselines.catalogue import BASELINES
from qhq.evaluation.bootstrap import Median, median_interval, paired_interval
from qhq.evaluation.significance import Comparison, Verdict, compare
from qhq.studies.ablation.cell import Values
from qhq.studies.ablation.variants import FROZEN, MEANINGS, TWIN

LAST_VALUE = "last_value"

Measured = Mapping[str, Sequence[Values]]
"""Cells of each variant, one a seed, and of each baseline, one in all."""


def compare_all(measured: Measured, horizon: int, rivals: Sequence[str]) -> tuple[Comparison, ...]:
    """Test every variant and baseline against each rival that it is not itself, each pair once.

    Args:
        measured: Values with ``losses``.
        horizon: Rows ahead of the furthest forecast, H.
        rivals: Names of some of them, the most basic one first: it is the second of all its pairs.
    """
    losses = {name: mean_losses(cells) for name, cells in measured.items()}
    pairs = [
        (name, rival)
        for place, rival in enumerate(rivals)
        for name in losses
        if name != rival and name not in rivals[:place]
    ]
    return compare(losses, horizon, pairs)


def mean_losses(cells: Sequence[Values]) -> FloatArray:
    """Losses of each date, averaged over seeds, shape (D,)."""
    means: FloatArray = np.mean([cell["losses"] for cell in cells], axis=0)
    return means


def rivals(task_baseline: str) -> tuple[str, ...]:
    """What every row is compared with."""
    return tuple(dict.fromkeys((LAST_VALUE, task_baseline, TWIN)))


def table_rows(measured: Measured, comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """One flat object a variant and baseline, in their order."""
    found = {(each.first, each.second): each for each in comparisons}
    against = dict.fromkeys(each.second for each in comparisons)
    rows = []
    for name, cells in measured.items():
        row = _facts(name, cells)
        for rival in against:
            row |= _tested(measured, found.get((name, rival)), rival)
        rows.append(row)
    return rows


def call(measured: Measured, comparison: Comparison) -> Verdict:
    """Whether the first is better or worse than the second, by the dates and by the seeds."""
    found, seeds = comparison.verdict(), seed_difference(measured, comparison.first, comparison.second)
    if found in ("no different", "not tested"):
        return found
    if seeds.low is None or seeds.high is None:
        models = comparison.first in MEANINGS and comparison.second in MEANINGS
        return "not tested" if models else found
    agreed = seeds.high < 0 if found == "better" else seeds.low > 0
    return found if agreed else "no different"


def seed_difference(measured: Measured, first: str, second: str) -> Median:
    """Mean loss of the first minus that of the second, the same seed of both; a baseline is one for all."""
    one, other = (np.array([np.mean(cell["losses"]) for cell in measured[name]]) for name in (first, second))
    count = max(len(one), len(other))
    return paired_interval(np.broadcast_to(one, count), np.broadcast_to(other, count))


def _facts(name: str, cells: Sequence[Values]) -> dict[str, Any]:
    model = name in MEANINGS
    row: dict[str, Any] = {
        "variant": name,
        "kind": "model" if model else "baseline",
        "meaning": MEANINGS[name] if model else BASELINES[name].meaning,
        "seeds": len(cells) if model else None,
    }
    sizes = ("parameters_middle", "parameters_trained", "parameters_total")
    row |= {key: cells[0].get(key) for key in sizes}
    for key in ("mae", "skill"):
        row |= _median(key, [cell[key] for cell in cells])
    # Frozen weights do not learn: whether they are alive is no question.
    alive = [cell["alive"] for cell in cells if "alive" in cell and name != FROZEN]
    row["alive"] = int(sum(alive)) if alive else None
    row["seconds"] = round(sum(cell["seconds"] for cell in cells), 2)
    return row


def _median(key: str, values: list[float | None]) -> dict[str, float | None]:
    """Median and interval over seeds; None where the figure is not defined."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return {key: None, f"{key}_low": None, f"{key}_high": None}
    median = median_interval(known)
    return {key: median.value, f"{key}_low": median.low, f"{key}_high": median.high}


def _tested(measured: Measured, comparison: Comparison | None, rival: str) -> dict[str, Any]:
    """``vs_...`` of a row: what it is called, gain, p-values, interval over seeds; None against itself.

    The interval is of the difference of mean losses; below zero the row is better.
    """
    key = "vs_naive" if rival == LAST_VALUE else f"vs_{rival}"
    if comparison is None:
        return dict.fromkeys([key, *(f"{key}_{each}" for each in ("gain", "p", "p_holm", "low", "high"))])
    seeds = seed_difference(measured, comparison.first, comparison.second)
    return {
        key: call(measured, comparison),
        f"{key}_gain": comparison.gain,
        f"{key}_p": comparison.p_value,
        f"{key}_p_holm": comparison.adjusted,
        f"{key}_low": seeds.low,
        f"{key}_high": seeds.high,
    }
