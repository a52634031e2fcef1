"""The table of an ablation and its verdict: medians over seeds, losses of the task, tests, plain sentences.

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
from qhq.evaluation.losses import TITLES
from qhq.evaluation.significance import LEVEL, Comparison, compare
from qhq.runs.record import LAST_VALUE
from qhq.studies.ablation.rivals import Place, Rivals, title_of, validation_loss
from qhq.studies.ablation.variants import FROZEN, HYBRID, MEANINGS, MLP
from qhq.studies.comparisons import Measured, mean_losses, say_found, say_power, tested

_HYBRID_VS = "hybrid_vs"
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
            {name: mean_losses(cells) for name, cells in _of_loss(measured, loss).items()},
            horizon,
            [(HYBRID, name) for name in measured if name != HYBRID],
        )
        for loss in measured[HYBRID][0]["other_losses"]
    }


def _of_loss(measured: Measured, loss: str) -> Measured:
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
                key = "vs_naive" if rival == LAST_VALUE else f"vs_{rival}"
                row |= tested(measured, found.get((name, rival)), key, MEANINGS)
        # Under the name of earlier versions, too, for whoever reads that.
        row |= {f"vs_twin{key[6:]}": each for key, each in row.items() if key.startswith("vs_mlp")}
        if HYBRID in measured:
            row["role"] = (roles or {}).get(name)
            row |= tested(measured, found.get((HYBRID, name)), _HYBRID_VS, MEANINGS)
            row[f"{_HYBRID_VS}_says"] = say_found(row, _HYBRID_VS)
        for loss, pairs in (other_losses or {}).items():
            row |= _by_other_loss(_of_loss(measured, loss), name, loss, pairs)
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
    columns = tested(measured, pair, f"{_HYBRID_VS}_{loss}", MEANINGS)
    kept = ("gain", "p", "suggests")
    return {
        loss: float(np.mean(mean_losses(measured[name]))),
        **{f"{_HYBRID_VS}_{loss}_{key}": columns[f"{_HYBRID_VS}_{loss}_{key}"] for key in kept},
    }


_MOST_NAMES = 4
"""Rivals of one kind that a sentence names; the rest are in the table."""


def say_verdict(rows: Sequence[Mapping[str, Any]], place: Place, rivals: Rivals, loss: str) -> str:
    """Say whether the layer is alive and earns its place, and how it compares with its main rivals.

    Args:
        rows: As `table_rows` makes them.
        place: As `judge_place` finds it.
        rivals: Those of the study.
        loss: Name of the loss that decides.
    """
    by_name = {row["variant"]: row for row in rows}
    first = f"The quantum layer is {_say_life(by_name[HYBRID])} {_say_place(place, by_name)}"
    if not place.tested:
        return f"{first}."
    named = [
        f"{_say_pair(by_name[name])} {_say_rival(name, rivals)}{_say_size(by_name[name])}"
        for name in rivals.roles
    ]
    count = sum(by_name[name][f"{_HYBRID_VS}_p_holm"] is not None for name in rivals.roles)
    lowest = min(rows, key=lambda row: row["loss"])["variant"]
    return (
        f"{first}. Pairs named in advance ({TITLES[loss]}, Diebold-Mariano, Holm over {count},"
        f" {100 * LEVEL:g} %): {'; '.join(named)}. All other pairs are exploratory. The lowest loss is"
        f" that of {title_of(lowest)}."
    )


def is_alive(hybrid: Mapping[str, Any]) -> bool:
    """Whether the circuit is alive with more than half of the seeds."""
    return bool(2 * (hybrid["alive"] or 0) > hybrid["seeds"])


def _say_life(hybrid: Mapping[str, Any]) -> str:
    seeds, alive = hybrid["seeds"], hybrid["alive"] or 0
    word, count = ("alive", alive) if is_alive(hybrid) else ("idle", seeds - alive)
    return word if count == seeds else f"{word} in {count} of {seeds} seeds"


def _say_place(place: Place, rows: Mapping[str, Mapping[str, Any]]) -> str:
    count = len(place.beaten) + len(place.others)
    if place.earned:
        return (
            f"and earns its place: the hybrid is better than each of its {count} rivals (each tested at"
            f" {100 * LEVEL:g} %)"
        )
    if not place.tested:
        reasons = {each.reason for each in place.others.values()} - {""}
        why = f": {', '.join(sorted(reasons))}, not tested" if reasons else ": it could not be tested"
        return f"and not shown to earn its place{why}"
    if not place.others:
        return f"and does not earn its place, although the hybrid is better than each of its {count} rivals"
    # Those that err least first: they are what a reader would take instead. Which of them is better than the
    # hybrid is said of the pairs named in advance alone.
    names = sorted(place.others, key=lambda name: rows[name]["loss"])
    joint = "but" if place.alive else "and"
    return (
        f"{joint} does not earn its place: the hybrid is not shown to be better than {_join(names)}"
        f" ({len(names)} of {count} rivals, each tested at {100 * LEVEL:g} %)"
    )


def _join(names: Sequence[str]) -> str:
    titles = [title_of(name) for name in names[:_MOST_NAMES]]
    if len(names) > _MOST_NAMES:
        return f"{', '.join(titles)} and {len(names) - _MOST_NAMES} more"
    return titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"


def _say_pair(row: Mapping[str, Any]) -> str:
    return {"better": "better than", "worse": "worse than"}.get(row[_HYBRID_VS], f"{row[_HYBRID_VS]} against")


def _say_rival(name: str, rivals: Rivals) -> str:
    # The last value was not chosen among others.
    return title_of(name) if name == next(iter(rivals.roles)) else f"{title_of(name)}, {rivals.roles[name]}"


def _say_size(row: Mapping[str, Any]) -> str:
    """By how much, or what could have been shown."""
    gain = row[f"{_HYBRID_VS}_gain"]
    said = [] if gain is None else [f"loss {abs(100 * gain):.1f} % {'lower' if gain > 0 else 'higher'}"]
    if row[_HYBRID_VS] == "not shown":
        power = say_power(row[f"{_HYBRID_VS}_detectable"], row[f"{_HYBRID_VS}_dates_needed"])
        said += [power] if power else []
    return f" ({', '.join(said)})" if said else ""
