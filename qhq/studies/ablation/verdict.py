"""Whether the quantum layer earns its place: rivals, the table of an ablation, tests, plain sentences.

A quantum layer earns its place only if the hybrid beats **every** rival: the same recipe without a middle,
with an MLP in the circuit's place (matched, and of the best width), with the circuit frozen at random, and
every baseline that suits the data. "Better than all of them" is an intersection-union test (Berger,
"Multiparameter hypothesis testing and acceptance sampling", 1982): it is wrong only if some rival is not
beaten, and then the test of that one rival alone must have erred, so each is tested at 5 % and none is
adjusted for the others.

How far it is from each of its main rivals is another question, and asked of four pairs at most, named before
the test split is looked at: against the last value; against the model without a trained circuit, the baseline
of the task (HAR, Black-Scholes) and the other baseline that err least on the validation split. These are
tested together under Holm. Besides, each row is compared with a few that always stand there: the last value,
the MLP, and for option prices Black-Scholes. These pairs, and all by the other losses of the task, are
exploratory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qhq.evaluation.baselines.catalogue import BASELINES, title_of
from qhq.evaluation.bootstrap import median_interval
from qhq.evaluation.losses import TITLES
from qhq.evaluation.significance import SIGNIFICANCE, Comparison, compare_pairs
from qhq.files import Json
from qhq.runs.schema import LAST_VALUE
from qhq.studies.ablation.cells import FROZEN, HYBRID, MEANINGS, MLP, NO_MIDDLE, TUNED_MLP, WIDTHS
from qhq.studies.comparisons import Call, Measured, call, mean_losses, say_found, say_power, tested

# Models whose middle, if they have one, is not a trained circuit.
_CLASSICAL = (NO_MIDDLE, MLP, TUNED_MLP, FROZEN)


@dataclass(frozen=True)
class Rivals:
    """The hybrid's rivals in a study.

    Attributes:
        all: Their names, in the order of the table.
        roles: What the family's rivals were chosen as, ``{rival: role}``.
    """

    all: tuple[str, ...]
    roles: dict[str, str]

    @property
    def family(self) -> list[tuple[str, str]]:
        """Pairs that are tested together."""
        return [(HYBRID, name) for name in self.roles]


def choose_rivals(measured: Measured) -> Rivals:
    """Choose the family by the validation split; nothing of the test split is looked at.

    Args:
        measured: Cells by name, each with its ``validation_loss``.
    """
    names = tuple(name for name in measured if name in _CLASSICAL or name in BASELINES)
    roles = {LAST_VALUE: "the most basic baseline"}
    models = [name for name in names if name in _CLASSICAL]
    of_task = [name for name in names if name in BASELINES and BASELINES[name].of_task]
    others = [name for name in names if name in BASELINES and name not in (*of_task, LAST_VALUE)]
    for group, role in (
        (models, "the strongest model without a trained circuit"),
        (of_task, "the strongest baseline of the task"),
        (others, "the strongest other baseline"),
    ):
        if group:
            # By validation: a family chosen by the losses that it is tested on would be no family named in
            # advance.
            roles[min(group, key=lambda name: validation_loss(measured[name]))] = role
    return Rivals(names, roles)


def choose_width(measured: Measured) -> str:
    """Name of the MLP that errs least on the validation split; of two alike, the narrower."""
    return min(WIDTHS, key=lambda name: validation_loss(measured[name]))


def with_tuned_mlp(cells: Measured) -> Measured:
    """Put the MLP of the best width in the place of all other widths than the matched one.

    Where that one is the best it stands alone: there is nothing else to be judged.
    """
    best = choose_width(cells)
    kept = {name: each for name, each in cells.items() if name not in WIDTHS or name == MLP}
    found = kept if best == MLP else {**kept, TUNED_MLP: cells[best]}
    order = [*MEANINGS, *(name for name in found if name not in MEANINGS)]
    return {name: found[name] for name in order if name in found}


def validation_loss(cells: Sequence[Mapping[str, float]]) -> float:
    """Mean loss on the validation split over the seeds."""
    return float(np.mean([cell["validation_loss"] for cell in cells]))


@dataclass(frozen=True)
class Standing:
    """Whether the quantum layer earns its place.

    Attributes:
        beaten: Rivals that the hybrid is better than, each tested at the level by itself.
        others: What it is called against each of the others, ``{rival: call}``.
        alive: Whether the circuit learned and is listened to, with most seeds.
    """

    beaten: tuple[str, ...]
    others: dict[str, Call]
    alive: bool

    @property
    def earned(self) -> bool:
        """Whether the hybrid beats every rival, and by a circuit that works."""
        return self.alive and bool(self.beaten) and not self.others

    @property
    def tested(self) -> bool:
        """Whether any rival could be tested."""
        return bool(self.beaten) or any(each.verdict != "not tested" for each in self.others.values())


def judge_place(
    measured: Measured, comparisons: Sequence[Comparison], rivals: Rivals, *, alive: bool
) -> Standing:
    """Test the hybrid against every rival, each alone.

    Args:
        measured: Cells by name.
        comparisons: Of the hybrid with every rival, among others.
        rivals: As `choose_rivals` found them.
        alive: Whether the circuit is.
    """
    found = {each.second: each for each in comparisons if each.first == HYBRID}
    calls = {
        # Each alone and at the full level: an intersection-union test adjusts nothing (see above).
        name: call(measured, replace(found[name], adjusted=found[name].p_value, exploratory=False), MEANINGS)
        for name in rivals.all
    }
    beaten = tuple(name for name, each in calls.items() if each.verdict == "better")
    return Standing(beaten, {name: each for name, each in calls.items() if name not in beaten}, alive)


def _title_of(name: str) -> str:
    """A variant or baseline in a sentence."""
    return MEANINGS[name].title if name in MEANINGS else title_of(name)


# What the columns of the hybrid against a row begin with.
_HYBRID_VS = "hybrid_vs"


def always_compared(task_baseline: str) -> tuple[str, ...]:
    """What every row is compared with."""
    # Of prices the last value is the baseline of the task, and stands once.
    return tuple(dict.fromkeys((LAST_VALUE, task_baseline, MLP)))


def compare_variants(
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
    return compare_pairs(losses, horizon, pairs, rivals.family)


def compare_by_other_losses(measured: Measured, horizon: int) -> dict[str, tuple[Comparison, ...]]:
    """Test the hybrid against every row by the task's other losses, ``{loss: comparisons}``; exploratory."""
    return {
        loss: compare_pairs(
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
) -> list[Json]:
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


def _facts(name: str, cells: Sequence[Mapping[str, Any]]) -> Json:
    model = name in MEANINGS
    row: Json = {
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
    # All or none: a median over the seeds that happen to have a figure would be one of other seeds.
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return {key: None, f"{key}_low": None, f"{key}_high": None}
    median = median_interval(known)
    return {key: median.value, f"{key}_low": median.low, f"{key}_high": median.high}


def _by_other_loss(measured: Measured, name: str, loss: str, comparisons: Sequence[Comparison]) -> Json:
    pair = next((each for each in comparisons if each.second == name), None)
    columns = tested(measured, pair, f"{_HYBRID_VS}_{loss}", MEANINGS)
    kept = ("gain", "p", "suggests")
    return {
        loss: float(np.mean(mean_losses(measured[name]))),
        **{f"{_HYBRID_VS}_{loss}_{key}": columns[f"{_HYBRID_VS}_{loss}_{key}"] for key in kept},
    }


# Rivals of one kind that a sentence names; the rest are in the table.
_MOST_NAMES = 4


def say_ablation_verdict(
    rows: Sequence[Mapping[str, Any]], place: Standing, rivals: Rivals, loss: str
) -> str:
    """Say whether the layer is alive and earns its place, and how it compares with its main rivals.

    Args:
        rows: As `table_rows` makes them.
        place: As `judge_place` finds it.
        rivals: Those of the study.
        loss: Name of the loss that decides.
    """
    by_name = {row["variant"]: row for row in rows}
    hybrid = by_name[HYBRID]
    seeds, alive = hybrid["seeds"], hybrid["alive"] or 0
    word, count = ("alive", alive) if mostly_alive(hybrid) else ("idle", seeds - alive)
    many = word if count == seeds else f"{word} in {count} of {seeds} seeds"
    first = f"The quantum layer is {many} {_say_place(place, by_name)}"
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
        f" {100 * SIGNIFICANCE:g} %): {'; '.join(named)}. All other pairs are exploratory. The lowest loss is"
        f" that of {_title_of(lowest)}."
    )


def mostly_alive(hybrid: Mapping[str, Any]) -> bool:
    """Whether the circuit is alive with more than half of the seeds."""
    return bool(2 * (hybrid["alive"] or 0) > hybrid["seeds"])


def _say_place(place: Standing, rows: Mapping[str, Mapping[str, Any]]) -> str:
    count = len(place.beaten) + len(place.others)
    if place.earned:
        return (
            f"and earns its place: the hybrid is better than each of its {count} rivals (each tested at"
            f" {100 * SIGNIFICANCE:g} %)"
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
        f" ({len(names)} of {count} rivals, each tested at {100 * SIGNIFICANCE:g} %)"
    )


def _join(names: Sequence[str]) -> str:
    titles = [_title_of(name) for name in names[:_MOST_NAMES]]
    if len(names) > _MOST_NAMES:
        return f"{', '.join(titles)} and {len(names) - _MOST_NAMES} more"
    return titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"


def _say_pair(row: Mapping[str, Any]) -> str:
    return {"better": "better than", "worse": "worse than"}.get(row[_HYBRID_VS], f"{row[_HYBRID_VS]} against")


def _say_rival(name: str, rivals: Rivals) -> str:
    # The last value was not chosen among others.
    return _title_of(name) if name == next(iter(rivals.roles)) else f"{_title_of(name)}, {rivals.roles[name]}"


def _say_size(row: Mapping[str, Any]) -> str:
    """By how much, or what could have been shown."""
    gain = row[f"{_HYBRID_VS}_gain"]
    said = [] if gain is None else [f"loss {abs(100 * gain):.1f} % {'lower' if gain > 0 else 'higher'}"]
    if row[_HYBRID_VS] == "not shown":
        power = say_power(row[f"{_HYBRID_VS}_detectable"], row[f"{_HYBRID_VS}_dates_needed"])
        said += [power] if power else []
    return f" ({', '.join(said)})" if said else ""
