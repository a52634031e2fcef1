"""Where a program lies on a device: qubits and gates used, their errors, and when each of them is at work.

Gates are laid out as late as they can be, as devices run them: a qubit that waits before its first gate is in
its ground state and loses nothing. So what is called idle is the time from the first gate of a qubit to the
readout in which nothing acts on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qiskit.transpiler import Target

from qhq.backends.devices.isa import IsaProgram, durations_of
from qhq.errors import BackendError

# Gates of which the order of the qubits means nothing.
_SYMMETRIC = frozenset({"cz", "rzz", "swap"})


@dataclass(frozen=True)
class GateUse:
    """One gate of the program: where, from when on and for how long (seconds), and its error."""

    name: str
    qubits: tuple[int, ...]
    start: float
    seconds: float
    error: float | None


@dataclass(frozen=True)
class QubitUse:
    """One physical qubit in use.

    Attributes:
        qubit: Its number on the device.
        logical: Number of the logical qubit that is read from it; None of one that is only passed through.
        gates: How many act on it.
        busy_seconds: Time of these.
        idle_seconds: Time without any, from its first gate to the readout.
        readout_error: Probability to read the other value.
        t1_seconds: Relaxation time, and ``t2_seconds`` coherence time.
    """

    qubit: int
    logical: int | None
    gates: int
    busy_seconds: float
    idle_seconds: float
    readout_error: float | None
    t1_seconds: float | None
    t2_seconds: float | None


@dataclass(frozen=True)
class GateKind:
    """All uses of one gate on the same qubits."""

    name: str
    qubits: tuple[int, ...]
    times: int
    error: float | None
    seconds: float


@dataclass(frozen=True)
class Placement:
    """A program on a device.

    Attributes:
        device: Name of the entry.
        num_qubits: Of the device.
        coupling: Pairs of neighbours of the device, each once.
        uses: Its gates in the order of time.
        qubits: Those in use, ascending.
        depth: Of the circuit, virtual gates counted too, and ``depth_2q`` of its two-qubit gates alone.
        seconds: From the first gate to the readout.
    """

    device: str
    num_qubits: int
    coupling: tuple[tuple[int, int], ...]
    uses: tuple[GateUse, ...]
    qubits: tuple[QubitUse, ...]
    depth: int
    depth_2q: int
    seconds: float

    @property
    def kinds(self) -> list[GateKind]:
        """Each gate used, by qubits and name; those of two qubits first."""
        found: dict[tuple[str, tuple[int, ...]], list[GateUse]] = {}
        for use in self.uses:
            places = tuple(sorted(use.qubits)) if use.name in _SYMMETRIC else use.qubits
            found.setdefault((use.name, places), []).append(use)
        kinds = [
            GateKind(name, places, len(own), own[0].error, own[0].seconds)
            for (name, places), own in found.items()
        ]
        return sorted(kinds, key=lambda each: (-len(each.qubits), each.qubits, each.name))

    @property
    def without_error(self) -> float | None:
        """Probability that no gate and no readout errs; None where an error is not known."""
        errors = [use.error for use in self.uses] + [each.readout_error for each in self.qubits
                                                     if each.logical is not None]  # fmt: skip
        known = [each for each in errors if each is not None]
        # A virtual gate has no error to be measured.
        if any(use.error is None and use.seconds > 0 for use in self.uses):
            return None
        # As a sum of logarithms, which a gate that always fails would end; so it counts as failing nearly
        # always.
        return math.exp(sum(math.log1p(-min(each, 0.999999)) for each in known))


def place(isa: IsaProgram, device: str, coupling: Sequence[Sequence[int]] | None = None) -> Placement:
    """Say where a program lies on its device, and when its gates are at work.

    Args:
        isa: The program.
        device: Name of the entry.
        coupling: All pairs of neighbours, those without a working gate too; by default those that have one.

    Raises:
        BackendError: If nothing is known of the device, as of a program that was cut to its qubits.
    """
    target = isa.target
    if target is None:
        raise BackendError(
            "A program must come with its device to be placed on it",
            got="a program without one",
            fix="Lay it out on the device again",
        )
    uses, seconds = _scheduled(isa, target)
    if coupling is None:
        working = target.build_coupling_map()
        coupling = [] if working is None else working.get_edges()
    errors = target["measure"] if "measure" in target.operation_names else {}
    read = {physical: logical for logical, physical in enumerate(isa.layout)}
    qubits = []
    for qubit in isa.qubits:
        own = [use for use in uses if qubit in use.qubits]
        busy = sum(use.seconds for use in own)
        first = min((use.start for use in own if use.seconds > 0), default=seconds)
        known: Any = errors.get((qubit,))
        properties: Any = None if target.qubit_properties is None else target.qubit_properties[qubit]
        qubits.append(
            QubitUse(
                qubit,
                read.get(qubit),
                len(own),
                busy,
                max(0.0, seconds - first - busy),
                None if known is None or known.error is None else float(known.error),
                getattr(properties, "t1", None),
                getattr(properties, "t2", None),
            )
        )
    return Placement(
        device,
        int(isa.circuit.num_qubits),
        tuple(sorted({(min(pair), max(pair)) for pair in coupling})),
        tuple(uses),
        tuple(qubits),
        isa.circuit.depth(),
        isa.circuit.depth(lambda step: len(step.qubits) > 1),
        seconds,
    )


def _scheduled(isa: IsaProgram, target: Target) -> tuple[list[GateUse], float]:
    """The gates, each as late as it can be, and the time that all of them take."""
    lasts = durations_of(target)
    steps = [
        (step.operation.name, tuple(isa.circuit.find_bit(bit).index for bit in step.qubits))
        for step in isa.circuit.data
    ]
    left = [0.0] * isa.circuit.num_qubits  # time from a qubit's next gate to the readout
    found: list[tuple[int, float]] = []
    for number in range(len(steps) - 1, -1, -1):
        name, places = steps[number]
        before = max(left[qubit] for qubit in places) + lasts(name, places)
        for qubit in places:
            left[qubit] = before
        found.append((number, before))
    whole = max((before for _, before in found), default=0.0)
    errors: Sequence[float | None] = isa.errors or [None] * len(steps)
    uses = [
        GateUse(*steps[number], whole - before, lasts(*steps[number]), errors[number])
        for number, before in reversed(found)
    ]
    return uses, whole
