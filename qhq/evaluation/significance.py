"""Whether one forecast is better than another, or only luckier.

The test is that of Diebold and Mariano ("Comparing predictive accuracy", 1995): whether the mean of the
differences of two losses is zero. How far it may be from zero by luck depends on how long the differences
remember their past, which `qhq.evaluation.mean_test` reckons with. The factor of Harvey, Leybourne and
Newbold (1997) belongs to the variance truncated at the horizon, which knows of no memory beyond it; the
distribution used here is right in small samples without it.

Several symbols on one date move together, so their losses are averaged by date first: n counts dates, not
windows. `compare_groups` tests each symbol alone beside it.

Who looks at many pairs finds some unequal by chance. So a family of at most five pairs, named before
anything is measured, is tested together under Holm (1979), which keeps the probability of any wrong claim at
the level; every other pair is exploratory: it has a p-value of its own, and no verdict. Nothing is ever
called equal: a difference that was not shown may be there, and how large it would have to be is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np

from qhq.data.panel import FloatArray
from qhq.errors import DataError, nearest
from qhq.evaluation.mean_test import mean_test

Verdict = Literal["better", "worse", "not shown", "not tested"]

SIGNIFICANCE = 0.05
WEIGHING = "Skill and tests give every symbol the same weight; in the MAE those of high prices weigh more."
"""Why a forecast can have the lower MAE and yet be the worse one."""

LEAST_DATES = 10
"""Fewer dates, or fewer than twice the horizon, are not tested."""

# Pairs of a family: each further one costs the others power. Error mitigation has five methods.
_MOST_FAMILY = 5

SAME = 1e-9
"""Losses that differ by less than this fraction of their mean are of one forecast, but for rounding."""


@dataclass(frozen=True)
class Comparison:
    """Two forecasts of the same windows.

    Attributes:
        first: Name of the one.
        second: Name of the other.
        gain: 1 - mean loss of the first / that of the second; above zero the first is better. None where
            the second never errs.
        dates: How many there are.
        statistic: Diebold and Mariano's; below zero the first is better. None where it was not tested.
        p_value: Two-sided, of this pair alone; None where it was not tested.
        adjusted: The same after Holm over its family; None where it was not tested, or is exploratory.
        reason: Why it was not tested; empty where it was.
        exploratory: Whether the pair is outside the family that was named in advance.
        detectable: Size of the gain that would be shown with a probability of 80 % on as many dates, at the
            family's level; None where it was not tested, or the second never errs.
        dates_needed: On how many dates a gain such as this one would be shown with that probability; None
            where it was not tested, or the mean losses are equal.
    """

    first: str
    second: str
    gain: float | None
    dates: int
    statistic: float | None
    p_value: float | None
    adjusted: float | None
    reason: str = ""
    exploratory: bool = False
    detectable: float | None = None
    dates_needed: int | None = None

    def verdict(self, level: float = SIGNIFICANCE) -> Verdict:
        """Whether the first is shown to be better or worse, at a level over the family; else "not shown".

        An exploratory pair shows nothing by itself: see `suggests`.
        """
        if self.p_value is None or self.statistic is None:
            return "not tested"
        # The adjusted one alone: of five pairs tested at 5 % each, one would come out by luck in more than
        # one case in five.
        if self.adjusted is None or self.adjusted > level:
            return "not shown"
        return "better" if self.statistic < 0 else "worse"

    def suggests(self, level: float = SIGNIFICANCE) -> Literal["better", "worse"] | None:
        """What the pair's own p-value would say if no other pair had been looked at; a hint, no finding."""
        if self.p_value is None or self.statistic is None or self.p_value > level:
            return None
        return "better" if self.statistic < 0 else "worse"


def read_verdict(word: str) -> Verdict:
    """Verdict of a record, which up to version 0.1 said "no different" of a difference that was not shown.

    >>> read_verdict("no different"), read_verdict("worse")
    ('not shown', 'worse')
    """
    found: dict[str, Verdict] = {"better": "better", "worse": "worse", "not tested": "not tested"}
    return found.get(word, "not shown")


def diebold_mariano(first: FloatArray, second: FloatArray, horizon: int = 1) -> tuple[float, float]:
    """Test that two losses are alike in the mean: the statistic, and its two-sided p-value.

    Args:
        first: Loss of the one on each date, in their order, shape (D,).
        second: Loss of the other.
        horizon: Rows ahead of the furthest forecast, H.

    Raises:
        DataError: If there are too few dates, or nothing to test: the losses are the same, or differ by the
            same on all dates.
    """
    reason = _reason(first, second, horizon)
    if reason:
        raise DataError("A Diebold-Mariano test needs losses that differ", got=reason, fix="Lengthen test")
    test = mean_test(first - second, horizon)
    return test.statistic, test.p_value


def _reason(first: FloatArray, second: FloatArray, horizon: int) -> str:
    """Why two losses cannot be tested; empty if they can."""
    if first.shape != second.shape or first.ndim != 1:
        return f"losses of shapes {first.shape} and {second.shape}"
    least = max(LEAST_DATES, 2 * horizon)
    if len(first) < least:
        return f"{len(first)} dates, fewer than {least}"
    difference = first - second
    # Beside the size of the losses, since two ways of adding up the same numbers differ in the last digit.
    size = SAME * (np.abs(first).mean() + np.abs(second).mean()) / 2
    if not np.isfinite(difference).all():
        return "losses that are not finite"
    if np.abs(difference).max() <= size:
        return "the same losses on all dates"
    # A constant difference has no variance, and the statistic would be infinite.
    return "losses that differ by the same on all dates" if np.ptp(difference) <= size else ""


def compare_pairs(
    losses: Mapping[str, FloatArray],
    horizon: int,
    pairs: Iterable[tuple[str, str]] | None = None,
    family: Sequence[tuple[str, str]] = (),
) -> tuple[Comparison, ...]:
    """Test pairs of forecasts; those of the family under Holm, the others as exploration.

    Args:
        losses: Of each forecast on each date, from the same windows, each of shape (D,).
        horizon: Rows ahead of the furthest forecast, H.
        pairs: Names of what is tested; None is the family or, without one, every pair in their order.
        family: The pairs among them that were named before anything was measured, four at most.

    Raises:
        DataError: If a pair names no forecast, or the family is too large or not among the pairs.
    """
    # Every pair only where nothing was named: then none of them is in a family, and all are exploratory.
    chosen = list(pairs if pairs is not None else family or combinations(losses, 2))
    _refuse_family(family, chosen)
    for name in (name for pair in chosen for name in pair):
        if name not in losses:
            raise DataError("A pair must name forecasts", got=f"'{name}'", fix=nearest(name, losses))
    # What cannot be tested asks nothing of the level; whether it can is known before its losses are weighed.
    tested = [pair for pair in family if not _reason(losses[pair[0]], losses[pair[1]], horizon)]
    level = SIGNIFICANCE / max(1, len(tested))
    found = {
        pair: _compare(pair, losses, horizon, level if pair in family else SIGNIFICANCE, pair not in family)
        for pair in chosen
    }
    # A p-value of exactly 0 is falsy; `or` gives 0 for it as well, and None does not occur among the tested.
    adjusted = _holm([found[pair].p_value or 0.0 for pair in tested])
    for pair, value in zip(tested, adjusted, strict=True):
        found[pair] = replace(found[pair], adjusted=value)
    return tuple(found.values())


def _refuse_family(family: Sequence[tuple[str, str]], chosen: Sequence[tuple[str, str]]) -> None:
    if len(set(family)) > _MOST_FAMILY:
        raise DataError(
            f"A family of tests must have at most {_MOST_FAMILY} pairs",
            got=f"{len(set(family))} pairs",
            fix="Name the comparisons that the question is about; the others are exploratory",
        )
    missing = [pair for pair in family if pair not in chosen]
    if missing:
        raise DataError("A family must be among the pairs", got=str(missing[0]), fix="Add it to the pairs")


def _compare(
    pair: tuple[str, str], losses: Mapping[str, FloatArray], horizon: int, level: float, exploratory: bool
) -> Comparison:
    first, second = (losses[name] for name in pair)
    mean = float(second.mean())
    # Losses may be 0 on all dates (a target that never moves): then no gain over them can be shown.
    gain = 1 - float(first.mean()) / mean if mean > 0 else None
    reason = _reason(first, second, horizon)
    if reason:
        return Comparison(*pair, gain, len(first), None, None, None, reason, exploratory)
    test = mean_test(first - second, horizon)
    size = test.detectable(level)
    ratio = size / abs(test.mean) if test.mean else math.inf
    return Comparison(
        *pair,
        gain,
        len(first),
        test.statistic,
        test.p_value,
        None,
        exploratory=exploratory,
        detectable=size / mean if mean > 0 else None,
        # The standard error falls with the root of the dates. Above a thousand millennia it is no number.
        dates_needed=math.ceil(len(first) * ratio**2) if ratio < 1e3 else None,
    )


def _holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given (Scand. J. Statist. 6, 1979).

    By hand, though statsmodels has it: `multipletests` collects garbage at each call, which in a process
    that holds torch and Qiskit takes longer than all the tests whose p-values it adjusts.
    """
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(values)
    # Step-down: each p-value times the number of hypotheses left, and never smaller than the one before it.
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(steps, 1)
    return [float(each) for each in adjusted]


@dataclass(frozen=True)
class GroupFindings:
    """A pair of forecasts tested in each group (symbol) alone; exploratory.

    The mean over groups can hide that a forecast is good for one and bad for another. The groups' p-values
    are adjusted by Holm, which holds however the groups depend on each other (Fisher's and Stouffer's
    combinations do not, and symbols move together), and which names the groups; a combination such as
    Cauchy's says that there is one, not which.

    Attributes:
        tested: Groups with dates enough.
        better: Groups in which the first is better, at the level over all groups.
        worse: Groups in which it is worse.
        p_value: The smallest adjusted one: that of the claim that the two differ in any group. None where
            no group was tested.
    """

    tested: int
    better: tuple[str, ...]
    worse: tuple[str, ...]
    p_value: float | None


def compare_groups(
    losses: Mapping[str, tuple[FloatArray, FloatArray]], horizon: int, level: float = SIGNIFICANCE
) -> GroupFindings:
    """Test a pair of forecasts in each group alone.

    Args:
        losses: Of the first and the second forecast on each date, by group, each (D,) of the group's dates.
        horizon: Rows ahead of the furthest forecast, H.
        level: Over all groups.
    """
    # Whether a group can be tested is known from its dates; a group that is left out does not make the
    # others dearer.
    able = {name: pair for name, pair in losses.items() if not _reason(*pair, horizon)}
    tests = {name: mean_test(first - second, horizon) for name, (first, second) in able.items()}
    adjusted = _holm([test.p_value for test in tests.values()])
    found = [
        (name, test.statistic)
        for (name, test), value in zip(tests.items(), adjusted, strict=True)
        if value <= level
    ]
    return GroupFindings(
        len(tests),
        tuple(name for name, statistic in found if statistic < 0),
        tuple(name for name, statistic in found if statistic > 0),
        min(adjusted, default=None),
    )


def say_p_value(value: float) -> str:
    """A p-value for people.

    >>> say_p_value(0.0421), say_p_value(0.0)
    ('0.042', '< 0.001')
    """
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
