"""The table of an ablation: medians over seeds with their intervals, and tests against what counts.

Each row is compared with the last value, with the twin, and with the baseline of the task if that is another;
Holm's correction is over all of these pairs (see `qhq.studies.comparisons`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qhq.evaluation.baselines.catalogue import BASELINES
from qhq.evaluation.bootstrap import median_interval
from qhq.evaluation.significance import Comparison
from qhq.studies.ablation.variants import FROZEN, MEANINGS, TWIN
from qhq.studies.comparisons import Measured, tested

LAST_VALUE = "last_value"


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
            row |= tested(measured, found.get((name, rival)), _key(rival), MEANINGS)
        rows.append(row)
    return rows


def _facts(name: str, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
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


def _key(rival: str) -> str:
    return "vs_naive" if rival == LAST_VALUE else f"vs_{rival}"
