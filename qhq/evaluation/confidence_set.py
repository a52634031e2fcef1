"""Which of many forecasts may be the best, and whether any of them beats a benchmark.

Whoever picks the lowest of many losses picks luck as well. Two bootstrap procedures of the package `arch`
reckon with all that was tried, whatever their losses have in common:

- the **Model Confidence Set** (Hansen, Lunde and Nason, 2011) holds the forecast of lowest expected loss with
  a probability of 90 %: what is in it is not shown to be worse than the best, what is not is worse;
- the test of **Superior Predictive Ability** (Hansen, 2005) asks whether the best of them is better than a
  benchmark by more than the best of so many would be by luck.

Dates are drawn in blocks (see `qhq.evaluation.bootstrap`). Losses on which the forecasts were chosen, such as
those of the validation split, flatter them: then both say what these dates can tell, no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from qhq.data.panel import FloatArray
from qhq.errors import DataError, nearest
from qhq.evaluation.bootstrap import block_length
from qhq.evaluation.significance import LEAST_DATES, SAME, SIGNIFICANCE, say_p_value
from qhq.seeding import child_seed

# One minus the probability that the set holds the best, as in the paper.
_SET_LEVEL = 0.10

# At the level of the set, a p-value of so many draws has a standard error of 0.01.
_DRAWS = 1_000


@dataclass(frozen=True)
class ConfidenceSet:
    """Forecasts that may be the best, and whether any beats the benchmark.

    Attributes:
        members: Names of those in the set, in their order.
        p_values: Of each forecast, the largest level at which it would still be in the set.
        benchmark: Name of the forecast that the others are to beat; empty without one.
        superior_p: P-value of Hansen's test that none of the others is better than the benchmark; None
            without one, or where all are the same as it.
        dates: How many.
        block: Mean length of a block, in dates.
        reason: Why there is no set; empty where there is one.
    """

    members: tuple[str, ...] = ()
    p_values: dict[str, float] = field(default_factory=dict)
    benchmark: str = ""
    superior_p: float | None = None
    dates: int = 0
    block: int | None = None
    reason: str = ""

    @property
    def is_superior(self) -> bool | None:
        """Whether any of the others is shown to beat the benchmark; None where that was not tested."""
        return None if self.superior_p is None else self.superior_p <= SIGNIFICANCE

    def to_dict(self) -> dict[str, object]:
        """All of it, as plain JSON."""
        return {**asdict(self), "members": list(self.members), "is_superior": self.is_superior}


def confidence_set(
    losses: Mapping[str, FloatArray], benchmark: str = "", *, horizon: int = 1, seed: int = 0
) -> ConfidenceSet:
    """Find which forecasts may be the best, and whether any of them beats one of them.

    Args:
        losses: Of each forecast on each date, the same dates for all, each (D,); the benchmark among them.
        benchmark: What the others are to beat.
        horizon: Rows ahead of the furthest forecast, H: no block is shorter.
        seed: Of the draws; the same seed gives the same set.

    Raises:
        DataError: If the benchmark is not among the forecasts, or losses are of different dates.

    >>> rng = np.random.default_rng(0)
    >>> day = rng.exponential(size=80)
    >>> more = {"a": 0, "b": 0, "c": 1}
    >>> losses = {name: day + each + 0.1 * rng.normal(size=80) for name, each in more.items()}
    >>> found = confidence_set(losses, "c")
    >>> found.members, found.is_superior
    (('a', 'b'), True)
    """
    if benchmark and benchmark not in losses:
        raise DataError(
            "The benchmark must be one of the forecasts", got=f"'{benchmark}'", fix=nearest(benchmark, losses)
        )
    if len({each.shape for each in losses.values()}) > 1:
        raise DataError(
            "Losses must be of the same dates",
            got=", ".join(f"{name} {each.shape}" for name, each in losses.items()),
            fix="Take the dates that all forecasts share",
        )
    owners = _distinct(losses)
    names = list(dict.fromkeys(owners.values()))
    table = np.column_stack([losses[name] for name in names]) if names else np.empty((0, 0))
    dates, reason = len(table), _reason(table, horizon)
    if reason:
        return ConfidenceSet(benchmark=benchmark, dates=dates, reason=reason)
    # The differences are what is drawn; their memory, not that of the losses, sets the blocks.
    block = block_length(table - table.mean(axis=1, keepdims=True), horizon)
    found = _set_p_values(table, block, seed)
    p_values = {name: found[names.index(owner)] for name, owner in owners.items()}
    superior = _superior_p(table, names.index(owners[benchmark]), block, seed) if benchmark else None
    members = tuple(name for name, value in p_values.items() if value > _SET_LEVEL)
    return ConfidenceSet(members, p_values, benchmark, superior, dates, block)


def _distinct(losses: Mapping[str, FloatArray]) -> dict[str, str]:
    """The first forecast with a forecast's losses, itself as a rule: two that are one cannot be compared."""
    owners: dict[str, str] = {}
    for name, each in losses.items():
        same = (
            other
            for other in owners.values()
            if np.abs(each - losses[other]).max(initial=0.0) <= SAME * np.abs(each).mean()
        )
        owners[name] = next(same, name)
    return owners


def _reason(table: FloatArray, horizon: int) -> str:
    dates, distinct = table.shape
    least = max(LEAST_DATES, 2 * horizon)
    if dates < least:
        return f"{dates} dates, fewer than {least}"
    if not np.isfinite(table).all():
        return "losses that are not finite"
    return "all losses are the same" if distinct < 2 else ""


def _set_p_values(table: FloatArray, block: int, seed: int) -> list[float]:
    """P-value of each column, in their order, by the statistic that asks for no memory of all pairs."""
    from arch.bootstrap import MCS

    found = MCS(table, _SET_LEVEL, reps=_DRAWS, block_size=block, method="max", seed=child_seed(seed, "set"))
    found.compute()
    # `arch` gives them in the order in which it removed the models.
    return [float(each) for each in found.pvalues["Pvalue"].sort_index()]


def _superior_p(table: FloatArray, benchmark: int, block: int, seed: int) -> float:
    from arch.bootstrap import SPA

    others = np.delete(table, benchmark, axis=1)
    found = SPA(table[:, benchmark], others, reps=_DRAWS, block_size=block, seed=child_seed(seed, "superior"))
    found.compute()
    # Of its three p-values the one that Hansen recommends: the upper one counts hopeless rivals as rivals.
    return float(found.pvalues["consistent"])


def say_set(found: ConfidenceSet, what: str, benchmark: str) -> str:
    """One sentence on a set.

    Args:
        found: From `confidence_set`.
        what: Plural of what was compared, such as "points".
        benchmark: The benchmark in words.

    >>> found = ConfidenceSet(("a", "b"), {"a": 1.0, "b": 0.4, "c": 0.01}, "c", 0.2)
    >>> say_set(found, "points", "the last value")
    'Model Confidence Set (90 %): 2 of 3; no points shown to be better than the last value (SPA, p 0.200)'
    """
    if found.reason:
        return f"No Model Confidence Set: {found.reason}"
    text = (
        f"Model Confidence Set ({100 * (1 - _SET_LEVEL):g} %): {len(found.members)} of {len(found.p_values)}"
    )
    if found.superior_p is None:
        return text
    word = "some" if found.is_superior else "no"
    return (
        f"{text}; {word} {what} shown to be better than {benchmark} (SPA, p {say_p_value(found.superior_p)})"
    )
