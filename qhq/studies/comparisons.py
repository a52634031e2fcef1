"""Tests of forecasts that were trained with several seeds each.

The losses of a forecast are those of each date over the unit of its group, averaged over the seeds: it is
tested how a model of the recipe errs, not how the average of several forecasts does. Holm's correction is
over the family named in advance (see `qhq.evaluation.significance`); every other pair is exploratory.

Diebold-Mariano knows the luck of the dates, not that of the seeds. So one is called better only if the seeds
agree: from five seeds on the bootstrap interval of their difference leaves out zero, of two to four every
one's difference is on the same side. A model trained with one seed is not tested at all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from qhq.data.panel import FloatArray
from qhq.evaluation.bootstrap import Median, paired_interval
from qhq.evaluation.significance import (
    SIGNIFICANCE,
    Comparison,
    Verdict,
    compare_pairs,
    read_verdict,
    say_p_value,
)
from qhq.files import Json

Measured = Mapping[str, Sequence[Mapping[str, Any]]]
"""What was measured of each model, one a seed, and of each baseline, one in all; each with ``losses``."""

# Reason of a model that is not tested, since its next training may come out otherwise.
_ONE_SEED = "one seed"


class Call(NamedTuple):
    """A verdict, and why there is none where it is "not tested"."""

    verdict: Verdict
    reason: str = ""


def compare_all(
    measured: Measured, horizon: int, rivals: Sequence[str], family: Sequence[tuple[str, str]] = ()
) -> tuple[Comparison, ...]:
    """Test every model and baseline against each rival that it is not itself, each pair once.

    Args:
        measured: Values with ``losses``, one a date.
        horizon: Rows ahead of the furthest forecast, H.
        rivals: Names of some of them, the most basic one first: it is the second of all its pairs.
        family: The pairs among these that the question is about, four at most; the others are exploratory.
    """
    losses = {name: mean_losses(each) for name, each in measured.items()}
    pairs = [
        (name, rival)
        for place, rival in enumerate(rivals)
        for name in losses
        if name != rival and name not in rivals[:place]
    ]
    return compare_pairs(losses, horizon, pairs, family)


def mean_losses(measured: Sequence[Mapping[str, Any]]) -> FloatArray:
    """Losses of each date, averaged over seeds, shape (D,)."""
    means: FloatArray = np.mean([each["losses"] for each in measured], axis=0)
    return means


def call(measured: Measured, comparison: Comparison, models: Collection[str]) -> Call:
    """Whether the first is shown to be better or worse than the second, by the dates and by the seeds.

    Args:
        measured: Where both are.
        comparison: By the dates.
        models: Names of what was trained with a seed.
    """
    found = comparison.verdict()
    if found == "not tested":
        return Call(found, comparison.reason)
    if any(len(measured[name]) == 1 for name in (comparison.first, comparison.second) if name in models):
        return Call("not tested", _ONE_SEED)
    if found == "not shown" or _agree(measured, comparison, models):
        return Call(found)
    return Call("not shown")


def _agree(measured: Measured, comparison: Comparison, models: Collection[str]) -> bool:
    """Whether the seeds say what the dates say; two baselines have none."""
    if comparison.first not in models and comparison.second not in models:
        return True
    seeds = _seed_difference(measured, comparison.first, comparison.second)
    low = min(seeds.values) if seeds.low is None else seeds.low
    high = max(seeds.values) if seeds.high is None else seeds.high
    # The seeds must leave out zero on the side that the dates are on: both signs are of first minus second.
    return high < 0 if (comparison.statistic or 0.0) < 0 else low > 0


def _seed_difference(measured: Measured, first: str, second: str) -> Median:
    """Mean loss of the first minus that of the second, the same seed of both; a baseline is one for all."""
    one, other = (np.array([np.mean(each["losses"]) for each in measured[name]]) for name in (first, second))
    count = max(len(one), len(other))
    # A baseline has no seeds: its one loss stands against each seed of the other.
    return paired_interval(np.broadcast_to(one, count), np.broadcast_to(other, count))


# What stands beside a verdict in a table, each after the verdict's own key.
_TEST_COLUMNS = (
    "gain", "p", "p_holm", "low", "high", "exploratory", "suggests", "detectable", "dates_needed", "reason",
)  # fmt: skip


def tested(measured: Measured, comparison: Comparison | None, key: str, models: Collection[str]) -> Json:
    """What the first of a pair is called, and all that belongs to it, as columns of a table.

    ``_low`` and ``_high`` are the interval of the difference of mean losses over seeds, from five on; below
    zero the first is better. ``_suggests`` is what an exploratory pair's own p-value says, a hint at most.

    Args:
        measured: Where both are.
        comparison: By the dates; None, as of one against itself, has columns of None.
        key: What the columns' names begin with.
        models: Names of what was trained with a seed.
    """
    if comparison is None:
        return dict.fromkeys([key, *(f"{key}_{each}" for each in _TEST_COLUMNS)])
    seeds = _seed_difference(measured, comparison.first, comparison.second)
    called = call(measured, comparison, models)
    hint = comparison.suggests() if comparison.exploratory and called.verdict != "not tested" else None
    if hint is not None and not _agree(measured, comparison, models):
        hint = None
    values = (
        comparison.gain, comparison.p_value, comparison.adjusted, seeds.low, seeds.high,
        comparison.exploratory, hint, comparison.detectable, comparison.dates_needed, called.reason,
    )  # fmt: skip
    return {
        key: called.verdict,
        **{f"{key}_{name}": each for name, each in zip(_TEST_COLUMNS, values, strict=True)},
    }


def say_found(row: Mapping[str, Any], key: str, level: float = SIGNIFICANCE) -> str:
    """A pair's columns in words, for a table.

    Args:
        row: With the columns of `tested`; those that a record of an earlier version lacks are not said.
        key: What their names begin with.
        level: At which the verdict was made.

    >>> say_found({"vs_naive": "better", "vs_naive_p_holm": 0.012}, "vs_naive")
    'better (Holm p 0.012)'
    >>> columns = {"vs_start_p": 0.2, "vs_start_p_holm": 0.4, "vs_start_detectable": 0.051}
    >>> say_found({"vs_start": "not shown", "vs_start_dates_needed": 1432, **columns}, "vs_start")
    'not shown (Holm p 0.400; detectable 5.1 %, about 1,400 dates needed)'
    >>> say_found({"vs_naive": "not tested", "vs_naive_reason": "one seed"}, "vs_naive")
    'one seed, not tested'
    >>> pair = {"vs_mlp": "not shown", "vs_mlp_exploratory": True, "vs_mlp_suggests": None, "vs_mlp_p": 0.003}
    >>> say_found(pair, "vs_mlp")
    'exploratory: suggests nothing (p 0.003; the seeds do not agree)'
    """
    if row.get(key) is None:
        return ""
    verdict = read_verdict(row[key])
    reason = row.get(f"{key}_reason") or ""
    if verdict == "not tested":
        return f"{reason}, not tested" if reason else "not tested"
    if row.get(f"{key}_exploratory"):
        hint = row[f"{key}_suggests"]
        word = f"suggests {hint}" if hint else "suggests nothing"
        p_value = row[f"{key}_p"]
        # A small p-value that suggests nothing is a riddle without its reason (see `tested`).
        why = "; the seeds do not agree" if not hint and p_value is not None and p_value <= level else ""
        return f"exploratory: {word} (p {say_p_value(p_value)}{why})"
    p_value = row.get(f"{key}_p_holm")
    known = [] if p_value is None else [f"Holm p {say_p_value(p_value)}"]
    if verdict in ("better", "worse"):
        return f"{verdict} ({known[0]})" if known else verdict
    if p_value is not None and p_value <= level:
        known.append("the seeds do not agree")
    known += [say_power(row.get(f"{key}_detectable"), row.get(f"{key}_dates_needed"))]
    said = "; ".join(each for each in known if each)
    return f"not shown ({said})" if said else "not shown"


def say_against(row: Mapping[str, Any], key: str, rival: str) -> str:
    """A pair's columns as the end of a sentence on the first of the pair.

    Args:
        row: With the columns of `tested`.
        key: What their names begin with.
        rival: The second, in words.

    >>> say_against({"vs_naive": "worse"}, "vs_naive", "the last value")
    'worse than the last value'
    >>> say_against({"vs_naive": "not shown", "vs_naive_detectable": 0.05}, "vs_naive", "the last value")
    'not shown to differ from the last value (detectable 5.0 %)'
    """
    verdict = read_verdict(row.get(key) or "not tested")
    if verdict in ("better", "worse"):
        return f"{verdict} than {rival}"
    if verdict == "not tested":
        reason = row.get(f"{key}_reason")
        return f"not tested against {rival}" + (f" ({reason})" if reason else "")
    said = say_power(row.get(f"{key}_detectable"), row.get(f"{key}_dates_needed"))
    return f"not shown to differ from {rival}" + (f" ({said})" if said else "")


def say_power(detectable: float | None, dates_needed: int | None) -> str:
    """What could have been shown, and what this would have taken; empty where neither is known.

    >>> say_power(0.04, 1_234_567), say_power(0.04, None)
    ('detectable 4.0 %, about 1,200,000 dates needed', 'detectable 4.0 %')
    """
    said = [] if detectable is None else [f"detectable {100 * detectable:.1f} %"]
    if dates_needed is not None:
        # To two digits: it is a ratio of two noisy figures squared, and more would feign precision.
        digits = max(0, len(str(dates_needed)) - 2)
        said.append(f"about {round(dates_needed, -digits):,} dates needed")
    return ", ".join(said)
