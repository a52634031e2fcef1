"""The table of an ablation: medians over seeds, losses of the task, and tests.

Two kinds of pairs are tested by the loss that decides. The **hybrid against each other row** is what the
study is about; four of these pairs at most are its family, named before the test split was looked at
(`qhq.studies.ablation.rivals`). And each row against a few that always stand there: the last value, the MLP,
and for option prices Black-Scholes; these are exploratory. By the other losses of the task the hybrid is
compared with each row as well, and all of that is exploratory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qhq.evaluation.baselines.catalogue import BASELINES
from qhq.evaluation.bootstrap import median_interval
from qhq.evaluation.significance import Comparison, compare
from qhq.studies.ablation.rivals import LAST_VALUE, Rivals, validation_loss
from qhq.studies.ablation.variants import FROZEN, HYBRID, MEANINGS, MLP
from qhq.studies.comparisons import Measured, mean_losses, say_found, tested

HYBRID_VS = "hybrid_vs"
"""What the columns of the hybrid against a row begin with."""


def always_compared(task_baseline: str) -> tuple[str, ...]:
    """What every row is compared with."""
    return tuple(dict.fromkeys((LAST_VALUE, task_baseline, MLP)))


def compare_rows(
    measured: Measured, horizon: int, rivals: Rivals, always: Sequence[str]
) -> tuple[Comparison, ...]:
    """Test the hybrid against every row, and every row against those that always stand there, each pair once.

    Args:
        measured: Cells by name.
        horizon: Rows ahead of the furthest forecast, H.
        rivals: Whose family is tested together.
        always: Names of rows, the most basic one first: it is the second of all its pairs.
    """
    known = [rival for rival in always if rival in measured]
    pairs = [(HYBRID, name) for name in measured if name != HYBRID]
    pairs += [
        (name, rival)
        for place, rival in enumerate(known)
        for name in measured
        if name not in (rival, HYBRID, *known[:place])
    ]
    losses = {name: mean_losses(cells) for name, cells in measured.items()}
    return compare(losses, horizon, pairs, rivals.family)


def compare_by_other_losses(measured: Measured, horizon: int) -> dict[str, tuple[Comparison, ...]]:
    """Test the hybrid against every row by the task's other losses, ``{loss: comparisons}``; exploratory."""
    return {
        loss: compare(
            {name: mean_losses(cells) for name, cells in of_loss(measured, loss).items()},
            horizon,
            [(HYBRID, name) for name in measured if name != HYBRID],
        )
        for loss in measured[HYBRID][0]["other_losses"]
    }


def of_loss(measured: Measured, loss: str) -> Measured:
    """The same cells, judged by another loss of the task."""
    return {
        name: [{"losses": cell["other_losses"][loss]} for cell in cells] for name, cells in measured.items()
    }


def table_rows(
    measured: Measured,
    comparisons: Sequence[Comparison],
    always: Sequence[str] = (LAST_VALUE,),
    roles: Mapping[str, str] | None = None,
    other_losses: Mapping[str, Sequence[Comparison]] | None = None,
) -> list[dict[str, Any]]:
    """One flat object a variant and baseline, in their order.

    Columns that begin with ``vs_`` are of the row against another, those with ``hybrid_vs`` of the hybrid
    against the row.
    """
    found = {(each.first, each.second): each for each in comparisons}
    rows = []
    for name, cells in measured.items():
        row = _facts(name, cells)
        for rival in always:
            if any(each.second == rival for each in comparisons):
                row |= tested(measured, found.get((name, rival)), _key(rival), MEANINGS)
        # Under the name of earlier versions, too, for whoever reads that.
        row |= {f"vs_twin{key[6:]}": each for key, each in row.items() if key.startswith("vs_mlp")}
        if HYBRID in measured:
            row["role"] = (roles or {}).get(name)
            row |= tested(measured, found.get((HYBRID, name)), HYBRID_VS, MEANINGS)
            row[f"{HYBRID_VS}_says"] = say_found(row, HYBRID_VS)
        for loss, pairs in (other_losses or {}).items():
            row |= _by_other_loss(of_loss(measured, loss), name, loss, pairs)
        rows.append(row)
    return rows


def _facts(name: str, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    model = name in MEANINGS
    row: dict[str, Any] = {
        "variant": name,
        "kind": "model" if model else "baseline",
        "meaning": MEANINGS[name].text if model else BASELINES[name].meaning,
        "seeds": len(cells) if model else None,
    }
    sizes = ("parameters_middle", "parameters_trained", "parameters_total")
    row |= {key: cells[0].get(key) for key in sizes}
    for key in ("mae", "skill"):
        row |= _median(key, [cell[key] for cell in cells])
    row |= {"loss": float(mean_losses(cells).mean()), "validation_loss": validation_loss(cells)}
    row["bounded"] = sum(cell["bounded"] for cell in cells)
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


def _by_other_loss(
    measured: Measured, name: str, loss: str, comparisons: Sequence[Comparison]
) -> dict[str, Any]:
    pair = next((each for each in comparisons if each.second == name), None)
    columns = tested(measured, pair, f"{HYBRID_VS}_{loss}", MEANINGS)
    kept = ("gain", "p", "suggests")
    return {
        loss: float(np.mean(mean_losses(measured[name]))),
        **{f"{HYBRID_VS}_{loss}_{key}": columns[f"{HYBRID_VS}_{loss}_{key}"] for key in kept},
    }


def _key(rival: str) -> str:
    return "vs_naive" if rival == LAST_VALUE else f"vs_{rival}"
