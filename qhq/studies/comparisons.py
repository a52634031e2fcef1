"""Tests of forecasts that were trained with several seeds each.

The losses of a forecast are those of each date over the unit of its group, averaged over the seeds: it is
tested how a model of the recipe errs, not how the average of several forecasts does. Holm's correction is
over all pairs of a table (see `qhq.evaluation.significance`).

Diebold-Mariano knows the luck of the dates, not that of the seeds. So two are called different only if the
bootstrap interval of their difference over the seeds leaves out zero as well, and two trained models of one
seed each are not tested at all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from qhq.data.panel import FloatArray
from qhq.evaluation.bootstrap import Median, paired_interval
from qhq.evaluation.significance import Comparison, Verdict, compare

Measured = Mapping[str, Sequence[Mapping[str, Any]]]
"""What was measured of each model, one a seed, and of each baseline, one in all; each with ``losses``."""


def compare_all(measured: Measured, horizon: int, rivals: Sequence[str]) -> tuple[Comparison, ...]:
    """Test every model and baseline against each rival that it is not itself, each pair once.

    Args:
        measured: Values with ``losses``, one a date.
        horizon: Rows ahead of the furthest forecast, H.
        rivals: Names of some of them, the most basic one first: it is the second of all its pairs.
    """
    losses = {name: mean_losses(each) for name, each in measured.items()}
    pairs = [
        (name, rival)
        for place, rival in enumerate(rivals)
        for name in losses
        if name != rival and name not in rivals[:place]
    ]
    return compare(losses, horizon, pairs)


def mean_losses(measured: Sequence[Mapping[str, Any]]) -> FloatArray:
    """Losses of each date, averaged over seeds, shape (D,)."""
    means: FloatArray = np.mean([each["losses"] for each in measured], axis=0)
    return means


def call(measured: Measured, comparison: Comparison, models: Collection[str]) -> Verdict:
    """Whether the first is better or worse than the second, by the dates and by the seeds.

    Args:
        measured: Where both are.
        comparison: By the dates.
        models: Names of what was trained with a seed.
    """
    found, seeds = comparison.verdict(), seed_difference(measured, comparison.first, comparison.second)
    if found in ("no different", "not tested"):
        return found
    if seeds.low is None or seeds.high is None:
        return "not tested" if comparison.first in models and comparison.second in models else found
    agreed = seeds.high < 0 if found == "better" else seeds.low > 0
    return found if agreed else "no different"


def seed_difference(measured: Measured, first: str, second: str) -> Median:
    """Mean loss of the first minus that of the second, the same seed of both; a baseline is one for all."""
    one, other = (np.array([np.mean(each["losses"]) for each in measured[name]]) for name in (first, second))
    count = max(len(one), len(other))
    return paired_interval(np.broadcast_to(one, count), np.broadcast_to(other, count))


def tested(
    measured: Measured, comparison: Comparison | None, key: str, models: Collection[str]
) -> dict[str, Any]:
    """What the first of a pair is called, its gain, p-values and interval over seeds, as columns of a table.

    The interval is of the difference of mean losses; below zero the first is better.

    Args:
        measured: Where both are.
        comparison: By the dates; None, as of one against itself, has columns of None.
        key: What the columns' names begin with.
        models: Names of what was trained with a seed.
    """
    if comparison is None:
        return dict.fromkeys([key, *(f"{key}_{each}" for each in ("gain", "p", "p_holm", "low", "high"))])
    seeds = seed_difference(measured, comparison.first, comparison.second)
    return {
        key: call(measured, comparison, models),
        f"{key}_gain": comparison.gain,
        f"{key}_p": comparison.p_value,
        f"{key}_p_holm": comparison.adjusted,
        f"{key}_low": seeds.low,
        f"{key}_high": seeds.high,
    }
