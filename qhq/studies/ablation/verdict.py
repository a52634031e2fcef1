"""The verdict of an ablation in plain sentences: alive or idle, worth its place or not, and against whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qhq.evaluation.losses import TITLES
from qhq.evaluation.significance import LEVEL
from qhq.studies.ablation.rivals import Place, Rivals, title_of
from qhq.studies.ablation.table import HYBRID_VS
from qhq.studies.ablation.variants import HYBRID
from qhq.studies.comparisons import say_power

MOST_NAMES = 4
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
    count = sum(by_name[name][f"{HYBRID_VS}_p_holm"] is not None for name in rivals.roles)
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
    titles = [title_of(name) for name in names[:MOST_NAMES]]
    if len(names) > MOST_NAMES:
        return f"{', '.join(titles)} and {len(names) - MOST_NAMES} more"
    return titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"


def _say_pair(row: Mapping[str, Any]) -> str:
    return {"better": "better than", "worse": "worse than"}.get(row[HYBRID_VS], f"{row[HYBRID_VS]} against")


def _say_rival(name: str, rivals: Rivals) -> str:
    # The last value was not chosen among others.
    return title_of(name) if name == next(iter(rivals.roles)) else f"{title_of(name)}, {rivals.roles[name]}"


def _say_size(row: Mapping[str, Any]) -> str:
    """By how much, or what could have been shown."""
    gain = row[f"{HYBRID_VS}_gain"]
    said = [] if gain is None else [f"loss {abs(100 * gain):.1f} % {'lower' if gain > 0 else 'higher'}"]
    if row[HYBRID_VS] == "not shown":
        power = say_power(row[f"{HYBRID_VS}_detectable"], row[f"{HYBRID_VS}_dates_needed"])
        said += [power] if power else []
    return f" ({', '.join(said)})" if said else ""
