"""The verdict of an ablation, in one plain sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qhq.evaluation.significance import LEVEL
from qhq.studies.ablation.variants import HYBRID

_TWIN = {
    "better": "better than its classical twin",
    "not shown": "not shown to be better or worse than its classical twin",
    "worse": "worse than its classical twin",
    "not tested": "could not be tested against its classical twin",
}
_BASELINES = {
    "naive": "the last value",
    "black_scholes": "Black-Scholes with the volatility of the day before",
}


def say_verdict(rows: Sequence[Mapping[str, Any]], pairs: int) -> str:
    """Say whether the layer is alive, what it is worth beside its twin, and whether the model is of any use.

    Args:
        rows: As `table_rows` makes them.
        pairs: How many were tested together.
    """
    hybrid = next(row for row in rows if row["variant"] == HYBRID)
    baselines = [name for name in _BASELINES if f"vs_{name}" in hybrid]
    useful = " and ".join(_say_useful(hybrid[f"vs_{name}"], _BASELINES[name]) for name in baselines)
    return (
        f"The quantum layer is {_say_life(hybrid)} and {_TWIN[hybrid['vs_twin']]};"
        f" the model is {useful} (Diebold-Mariano, Holm over {pairs} pairs, {100 * LEVEL:g} %)."
    )


def is_alive(hybrid: Mapping[str, Any]) -> bool:
    """Whether the circuit is alive with more than half of the seeds."""
    return bool(2 * (hybrid["alive"] or 0) > hybrid["seeds"])


def _say_life(hybrid: Mapping[str, Any]) -> str:
    seeds, alive = hybrid["seeds"], hybrid["alive"] or 0
    word, count = ("alive", alive) if is_alive(hybrid) else ("idle", seeds - alive)
    return word if count == seeds else f"{word} in {count} of {seeds} seeds"


def _say_useful(found: str, baseline: str) -> str:
    if found in ("better", "worse"):
        return f"{found} than {baseline}"
    return (
        f"not shown to differ from {baseline}" if found == "not shown" else f"not tested against {baseline}"
    )
