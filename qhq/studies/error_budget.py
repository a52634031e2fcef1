"""The error budget of a forecast: which part of it comes from where, by nested evaluations of one checkpoint.

Each evaluation has one more cause of error than the one before, and what a cause adds is the difference:

    exact simulator                              -> the model
    + noise of the gates                         -> gate noise       } means over the days
    + errors of the readout                      -> readout          } and layouts below
    + the transpiler's layout, not any           -> layout
    + the calibration of the entry, not any day's -> calibration day
    + shots                                      -> shots

So the parts add up to the whole, whatever they are. They are not independent of their order: readout errors
are counted as they act on values that gate noise has already shrunk. A part may be below zero: noise can pull
a forecast towards where it should be, and a chosen layout is better than a drawn one.

All of it is the first loss of the task (`qhq.evaluation.losses`), averaged by date, and each interval is that
of the mean over dates of the paired differences. What no model could forecast is in the part of the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qhq.backends.backend import BackendSpec
from qhq.backends.devices.calibration import Calibration, build_target
from qhq.backends.registry import kind_of, read_calibration
from qhq.data.panel import FloatArray
from qhq.errors import ConfigError
from qhq.evaluation.bootstrap import Interval, date_interval
from qhq.runs.studies import BUDGET_TITLES, BudgetPart, BudgetRecord
from qhq.seeding import child_generator

# Other layouts than the transpiler's that are drawn for a device.
_LAYOUTS = 3

_SEED_LEFT_OUT = "one checkpoint says nothing of other seeds: train again with other seeds, and compare them"

NO_BUDGET = "no budget: the causes of error can be told apart only where noise is simulated with exact values"
"""Why an entry has none."""

# A qubit or pair with a larger error is one that the device reports as broken.
_BROKEN = 0.2


def split_error(
    steps: Sequence[tuple[str, FloatArray]],
    naive: FloatArray,
    *,
    loss: str,
    horizon: int,
    left_out: Mapping[str, str],
) -> BudgetRecord:
    """Split the error of the last of nested evaluations into what each of them adds.

    Args:
        steps: For each the cause that it adds to the one before, and its losses (D,) of each date, averaged
            over whatever was repeated.
        naive: Losses (D,) of the last value.
        loss: Their name.
        horizon: Rows ahead of the furthest forecast.
        left_out: Causes that are not among them, and why.
    """
    whole = float(steps[-1][1].mean())
    parts: list[BudgetPart] = []
    before = np.zeros_like(naive)
    for name, losses in steps:
        parts.append(_part(name, losses - before, whole, horizon))
        before = losses
    total = _part("total", before, whole, horizon)
    return BudgetRecord(
        loss=loss,
        components=parts,
        total=total,
        naive=float(naive.mean()),
        left_out=dict(left_out),
        verdict=_verdict(parts, total),
    )


def _part(name: str, differences: FloatArray, whole: float, horizon: int) -> BudgetPart:
    value = float(differences.mean())
    # A cause that changes nothing on any date: a bootstrap has nothing to draw.
    found = date_interval(differences, horizon=horizon) if differences.any() else Interval(0, 0, 0, 0, None)
    return BudgetPart(
        component=name,
        value=value,
        low=found.low,
        high=found.high,
        share=value / whole if whole else None,
    )


def _verdict(parts: Sequence[BudgetPart], total: BudgetPart) -> str:
    model, *noise = parts
    shown = [
        each
        for each in noise
        if each.low is not None and each.high is not None and (each.low > 0 or each.high < 0)
    ]
    share = f"{100 * (model.share or 0.0):.1f} % of the error is the model's own"
    together = _percent(total.value - model.value, total)
    if not shown:
        return f"{share}; no other part is shown to differ from zero (all of them together: {together})."
    said = [
        f"{BUDGET_TITLES[each.component]} ({_percent(each.value, total)})"
        for each in sorted(shown, key=lambda each: -abs(each.value))
    ]
    return f"{share}; the rest adds {together}, and shown to differ from zero are {', '.join(said)}."


def _percent(value: float, total: BudgetPart) -> str:
    return f"{100 * value / total.value:+.2g} %" if total.value else f"{value:+.2g}"


@dataclass(frozen=True)
class Nested:
    """Evaluations with exact values that tell causes apart: days x layouts, each with and without readout.

    Attributes:
        days: For each day, the entry's own first, the places that its layouts have in the store, the
            transpiler's own layout first.
        places: Name and entry of all of them; no entry where it is the study's.
        left_out: Causes that they cannot tell, and why.
    """

    days: tuple[tuple[str, ...], ...]
    places: tuple[tuple[str, BackendSpec | None], ...]
    left_out: dict[str, str]

    def steps(self, losses: Callable[..., FloatArray]) -> list[tuple[str, FloatArray]]:
        """Causes in their order, each with the losses (D,) of the evaluation that has it.

        Args:
            losses: Losses of a place, with ``readout=False`` without readout errors.
        """

        def mean(places: Iterable[str], *, readout: bool = True) -> FloatArray:
            found: FloatArray = np.mean([losses(place, readout=readout) for place in places], axis=0)
            return found

        everywhere = [place for day in self.days for place in day]
        chosen = [day[0] for day in self.days]
        steps = [("gate_noise", mean(everywhere, readout=False)), ("readout", mean(everywhere))]
        if "layout" not in self.left_out:
            steps.append(("layout", mean(chosen)))
        if "calibration_day" not in self.left_out:
            steps.append(("calibration_day", mean(chosen[:1])))
        return steps


def plan_nested(entry: BackendSpec, others: Sequence[BackendSpec], qubits: int, seed: int) -> Nested | None:
    """Which evaluations tell the causes of an entry's error apart; None where nothing does.

    Args:
        entry: A simulated backend with noise.
        others: Others, among them perhaps the same device on other days.
        qubits: Of the circuit.
        seed: Of the layouts that are drawn.
    """
    # TREX of exact values divides each string by what its readout keeps: nothing is left of readout errors.
    if kind_of(entry).why_not(entry, "trex") is not None or not entry.is_exact_without_shots:
        return None
    left_out = {"seed": _SEED_LEFT_OUT}
    calibration = _calibration(entry)
    days: list[tuple[BackendSpec | None, BackendSpec]] = [(None, entry)]
    if calibration is None:
        left_out["layout"] = left_out["calibration_day"] = "the noise is the same on all qubits and days"
    else:
        days += [
            (each, each)
            for each in others
            for other in [_calibration(each)]
            if other is not None
            and other.name == calibration.name
            and other.fingerprint != calibration.fingerprint
        ]
        if len(days) == 1:
            left_out["calibration_day"] = "name another calibration of the device with --against"
        if entry.at_layout(()) is None:
            left_out["layout"] = "the entry names its layout"
    drawn: list[list[BackendSpec]] = [[] for _ in days]
    if "layout" not in left_out:
        try:
            drawn = [_moved(day, qubits, seed) for _, day in days]
        except ConfigError as error:
            left_out["layout"] = error.got
    grid = [
        [("" if own is None else digest_of(day), own), *((digest_of(each), each) for each in moved)]
        for (own, day), moved in zip(days, drawn, strict=True)
    ]
    names = tuple(tuple(place for place, _ in row) for row in grid)
    return Nested(names, tuple(each for row in grid for each in row), left_out)


def _moved(day: BackendSpec, qubits: int, seed: int) -> list[BackendSpec]:
    """An entry at other layouts.

    Raises:
        ConfigError: If its device has none.
    """
    calibration = _calibration(day)
    assert calibration is not None
    found = [day.at_layout(layout) for layout in draw_layouts(calibration, qubits, seed)]
    return [each for each in found if each is not None]


def digest_of(entry: BackendSpec) -> str:
    """Name of another entry in a cell: what it says belongs to it, as it may say something else tomorrow."""
    content = entry.model_dump_json(exclude={"description"})
    return f"{entry.name} {hashlib.sha256(content.encode()).hexdigest()[:8]}"


def _calibration(entry: BackendSpec) -> Calibration | None:
    """What an entry is calibrated to; None where its noise is given by parameters."""
    try:
        return read_calibration(entry)
    except ConfigError:
        return None


def draw_layouts(
    calibration: Calibration, qubits: int, seed: int, count: int = _LAYOUTS
) -> list[tuple[int, ...]]:
    """Draw neighbouring qubits of a device that are not broken, each layout another.

    Args:
        calibration: Of the device.
        qubits: How many it takes.
        seed: Of the draw.
        count: How many layouts; fewer where the device has not as many.

    Raises:
        ConfigError: If the device has not as many neighbouring qubits.
    """
    neighbours = _working_neighbours(calibration)
    generator = child_generator(seed, "layouts")
    found: list[tuple[int, ...]] = []
    # Far more attempts than layouts: of a small device most draws are ones that were drawn before.
    for _ in range(100 * count):
        chosen = _grow(neighbours, qubits, generator)
        # As sets: the same qubits in another order are no other place on the device.
        if chosen is not None and set(chosen) not in [set(each) for each in found]:
            found.append(chosen)
        if len(found) == count:
            break
    if not found:
        raise ConfigError(
            f"A layout needs {qubits} neighbouring qubits that work",
            got=f"none on {calibration.name}",
            fix="Name another device",
        )
    return found


def _working_neighbours(calibration: Calibration) -> dict[int, list[int]]:
    """Neighbours of each qubit over gates whose error, and that of both readouts, is not that of a fault."""
    target = build_target(calibration)

    def works(qubit: int) -> bool:
        return (calibration.qubit(qubit, "readout_error") or 0.0) < _BROKEN

    neighbours: dict[int, set[int]] = {}
    for name in target.operation_names:
        for place in target.qargs_for_operation_name(name) or ():
            if len(place) != 2 or not all(map(works, place)):
                continue
            properties = target[name].get(place)
            if properties is not None and (properties.error or 0.0) < _BROKEN:
                neighbours.setdefault(place[0], set()).add(place[1])
                neighbours.setdefault(place[1], set()).add(place[0])
    return {qubit: sorted(each) for qubit, each in sorted(neighbours.items())}


def _grow(
    neighbours: Mapping[int, Sequence[int]], qubits: int, generator: np.random.Generator
) -> tuple[int, ...] | None:
    """So many qubits that hang together, from a drawn one on; None where it is in too small a part."""
    if not neighbours:
        return None
    chosen = [int(generator.choice(list(neighbours)))]
    while len(chosen) < qubits:
        # Sorted, as a set has no order that a seed could draw the same layout from everywhere.
        edge = sorted({each for one in chosen for each in neighbours[one]} - set(chosen))
        if not edge:
            return None
        chosen.append(int(generator.choice(edge)))
    return tuple(chosen)
