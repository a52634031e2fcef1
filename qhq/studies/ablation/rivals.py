"""Which rivals the hybrid must beat, which of them are tested first, and whether it earns its place.

A quantum layer earns its place only if the hybrid beats **every** rival: the same recipe without a middle,
with an MLP in the circuit's place (matched, and of the best width), with the circuit frozen at random, and
every baseline that suits the data. "Better than all of them" is an intersection-union test (Berger,
"Multiparameter hypothesis testing and acceptance sampling", 1982): it is wrong only if some rival is not
beaten, and then the test of that one rival alone must have erred, so each is tested at 5 % and none is
adjusted for the others.

How far it is from each of its main rivals is another question, and asked of four pairs at most, named before
the test split is looked at: against the last value; against the model without a trained circuit, the baseline
of the task (HAR, Black-Scholes) and the other baseline that err least on the validation split. These are
tested together under Holm. All other pairs are exploratory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qhq.evaluation.baselines.catalogue import BASELINES
from qhq.evaluation.significance import Comparison
from qhq.runs.record import LAST_VALUE
from qhq.studies.ablation.variants import FROZEN, HYBRID, MEANINGS, MLP, NO_MIDDLE, TUNED_MLP, WIDTHS
from qhq.studies.comparisons import Call, Measured, call

CLASSICAL = (NO_MIDDLE, MLP, TUNED_MLP, FROZEN)
"""Models whose middle, if they have one, is not a trained circuit."""


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
    names = tuple(name for name in measured if name in CLASSICAL or name in BASELINES)
    roles = {LAST_VALUE: "the most basic baseline"}
    models = [name for name in names if name in CLASSICAL]
    of_task = [name for name in names if name in BASELINES and BASELINES[name].of_task]
    others = [name for name in names if name in BASELINES and name not in (*of_task, LAST_VALUE)]
    for group, role in (
        (models, "the strongest model without a trained circuit"),
        (of_task, "the strongest baseline of the task"),
        (others, "the strongest other baseline"),
    ):
        if group:
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
class Place:
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
) -> Place:
    """Test the hybrid against every rival, each alone.

    Args:
        measured: Cells by name.
        comparisons: Of the hybrid with every rival, among others.
        rivals: As `choose_rivals` found them.
        alive: Whether the circuit is.
    """
    found = {each.second: each for each in comparisons if each.first == HYBRID}
    calls = {
        name: call(measured, replace(found[name], adjusted=found[name].p_value, exploratory=False), MEANINGS)
        for name in rivals.all
    }
    beaten = tuple(name for name, each in calls.items() if each.verdict == "better")
    return Place(beaten, {name: each for name, each in calls.items() if name not in beaten}, alive)


def title_of(name: str) -> str:
    """A variant or baseline in a sentence."""
    return MEANINGS[name].title if name in MEANINGS else BASELINES[name].title
