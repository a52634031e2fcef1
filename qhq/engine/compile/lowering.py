"""Any Qiskit circuit -> one of a closed set of gates, every parametric one under the two-term shift rule.

A gate in ``ROTATIONS`` has a generator of two eigenvalues one apart, so an expectation ``f`` of its angle
``a`` obeys ``df/da = (f(a + pi/2) - f(a - pi/2)) / 2`` (Schuld et al., arXiv:1811.11184).

A circuit that resets qubits keeps its resets, which every backend has. One that measures on its way, or does
what a measurement says, is made one of gates and resets: see `qhq.engine.compile.deferred`.

A gate is the standard one where its class is exactly Qiskit's; a name says nothing, since anybody may call
a gate "rx" or "barrier". Every other operation is what its definition says, and where it has none, what its
matrix says.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import (
    AnnotatedOperation,
    Barrier,
    BoxOp,
    BreakLoopOp,
    Clbit,
    ContinueLoopOp,
    ControlFlowOp,
    ControlledGate,
    ControlModifier,
    Delay,
    ForLoopOp,
    Gate,
    InverseModifier,
    Measure,
    PowerModifier,
    QuantumRegister,
    Reset,
    Store,
)
from qiskit.circuit.library import (
    CXGate,
    GlobalPhaseGate,
    HamiltonianGate,
    IGate,
    PhaseGate,
    RVGate,
    RXGate,
    RXXGate,
    RYGate,
    RYYGate,
    RZGate,
    RZXGate,
    RZZGate,
    SwapGate,
    U3Gate,
    UGate,
    UnitaryGate,
    XGate,
    get_standard_gate_name_mapping,
)
from qiskit.exceptions import QiskitError

from qhq.engine.compile.deferred import (
    Branch,
    Conditions,
    bits_measured,
    bits_read,
    branches_of,
    cannot_branch,
    unrolled,
)
from qhq.engine.compile.definitions import (
    class_of,
    definition_of,
    evolution_of,
    is_free,
    is_parametric,
    matrix_of,
    no_gate,
    not_unitary,
    plain_value,
    power_of,
    rotation_of_vector,
    unitary_of,
)
from qhq.errors import ConfigError

ROTATIONS: dict[str, type[Gate]] = {
    "rx": RXGate,
    "ry": RYGate,
    "rz": RZGate,
    "p": PhaseGate,
    "rxx": RXXGate,
    "ryy": RYYGate,
    "rzz": RZZGate,
    "rzx": RZXGate,
}
"""Name -> class of the parametric gates that a lowered circuit may hold."""

_ROTATION_CLASSES = frozenset(ROTATIONS.values())

STANDARD: frozenset[type[Gate]] = frozenset(
    gate.base_class for gate in get_standard_gate_name_mapping().values() if isinstance(gate, Gate)
) - {GlobalPhaseGate, IGate}
"""Classes of the fixed gates that a lowered circuit may hold, beside ``UnitaryGate``."""

# Definitions within definitions; a gate that is defined by itself never ends.
_DEEPEST = 100


def lower(circuit: QuantumCircuit) -> QuantumCircuit:
    """Rewrite a circuit into ``ROTATIONS``, the fixed ``STANDARD`` gates and ``UnitaryGate``.

    Barriers, delays, identities and global phases are dropped, since no expectation depends on them, and
    with them the parameters that stand nowhere else. So are final measurements (the observables say what is
    measured), and resets of qubits on which nothing has acted. All other resets stay.

    Args:
        circuit: Any circuit, its parameters free.

    Returns:
        A circuit whose qubit ``q`` is qubit ``q`` of ``circuit``; it has no classical bits. Behind these
        qubits it has one for each result of a measurement that a branch needs, and one for all results that
        nobody reads. The two agree up to a global phase.

    Raises:
        ConfigError: If the circuit loops until something is measured, or holds an operation that has neither
            a definition nor a matrix until its parameters are bound.
    """
    return lowering_of(circuit).lowered


def lowering_of(circuit: QuantumCircuit) -> Lowering:
    """``lower``, with what was left out.

    Raises:
        ConfigError: As ``lower`` does; a gate of a user's own that Qiskit stumbles over is named.
    """
    lowering = Lowering(circuit.num_qubits)
    try:
        bits = {bit: bit for bit in circuit.clbits}
        lowering.read = bits_read(circuit, bits)
        lowering.add_circuit(circuit, tuple(range(circuit.num_qubits)), bits)
    except (TypeError, ValueError, AttributeError, QiskitError) as error:  # of a user's own gate, mostly
        raise ConfigError(
            "Every gate must come apart into rotations by differentiable angles, or into fixed gates",
            got=f"{type(error).__name__}: {error}",
            fix="Write that gate in standard gates, its parameters in their angles",
        ) from error
    return lowering


def widened(circuit: QuantumCircuit) -> QuantumCircuit:
    """The lowered circuit where it needs more qubits than the circuit has, else the circuit itself.

    A parameter that is lost with a branch which is never taken stands in the global phase.

    Raises:
        ConfigError: As ``lower`` does.
    """
    if not any(step.clbits or isinstance(step.operation, ControlFlowOp) for step in circuit.data):
        return circuit
    lowered = lower(circuit)
    flows = any(isinstance(step.operation, ControlFlowOp | Measure) for step in circuit.data)
    if lowered.num_qubits == circuit.num_qubits and not flows:
        return circuit
    lowered.name, lowered.metadata = circuit.name, circuit.metadata
    held = set(lowered.parameters)
    # In the phase, which no expectation sees, a parameter stays one of the circuit's though its gates are
    # gone.
    lowered.global_phase = sum((each for each in circuit.parameters if each not in held), 0)
    return lowered


def without_final_measurements(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit less the measurements after which nothing acts on their qubits, and its classical bits.

    By class, not by name as Qiskit's ``remove_final_measurements``. The circuit itself if it has none.
    """
    # A result that a later branch reads keeps its measurement, though nothing acts on the qubit any more.
    final, free = set(), {*circuit.qubits, *circuit.clbits}
    for place in reversed(range(len(circuit.data))):
        instruction = circuit.data[place]
        measures = isinstance(instruction.operation, Measure)
        if measures and free.issuperset((*instruction.qubits, *instruction.clbits)):
            final.add(place)
        elif not isinstance(instruction.operation, Barrier | Delay):
            free.difference_update(instruction.qubits)
            # A measurement writes its bit and does not read it: one before it, into the same, may be a final
            # one.
            free.difference_update([] if measures else instruction.clbits)
    if not final:
        return circuit
    kept = [step for place, step in enumerate(circuit.data) if place not in final]
    bare = QuantumCircuit(circuit.qubits, *circuit.qregs, name=circuit.name, metadata=circuit.metadata)
    bare.global_phase = circuit.global_phase
    if any(step.clbits for step in kept):
        bare.add_bits(circuit.clbits)
    for step in kept:
        bare.append(step.operation, step.qubits, step.clbits)
    return bare


class Lowering:
    """A lowered circuit in the making.

    Attributes:
        lowered: What was added so far.
        phases: Global phases left out, to be added up; in a controlled circuit they are no longer global.
        touched: Qubits that some gate acts on.
        measured: Qubits whose last operation is a measurement that nobody reads.
        was_reset: Whether a reset was left out.
        read: Classical bits, of the outermost circuit, that some branch depends on.
    """

    def __init__(self, num_qubits: int, depth: int = 0) -> None:
        self.lowered = QuantumCircuit(num_qubits)
        self.phases: list[Any] = []
        self.touched: set[int] = set()
        self.measured: set[int] = set()
        self.was_reset = False
        self.read: frozenset[Clbit] = frozenset()
        self._records: dict[Clbit, int] = {}
        self._spare: list[int] = []
        self._conditions: Conditions = ()
        self._depth = depth

    def add_circuit(
        self, circuit: QuantumCircuit, qubits: tuple[int, ...], bits: Mapping[Clbit, Clbit] | None = None
    ) -> None:
        """Append a circuit, its qubit ``q`` on ``qubits[q]``; ``bits`` says what its classical ones are."""
        self._depth += 1
        self.phases.append(circuit.global_phase)
        for instruction in circuit.data:
            wires = tuple(qubits[circuit.find_bit(bit).index] for bit in instruction.qubits)
            clbits = tuple((bits or {})[bit] for bit in instruction.clbits)
            if isinstance(instruction.operation, ControlFlowOp):
                self._add_flow(instruction.operation, wires, clbits, bits or {})
            else:
                self._add(instruction.operation, wires, clbits)
        self._depth -= 1

    def _add(self, operation: Any, qubits: tuple[int, ...], clbits: tuple[Clbit, ...] = ()) -> None:
        kind = class_of(operation)
        if isinstance(operation, Barrier | Delay) or kind is IGate or getattr(operation, "_directive", False):
            return
        if kind is GlobalPhaseGate:
            self.phases.append(operation.params[0])
        elif isinstance(operation, Measure):
            self._measure(qubits[0], clbits[0] if clbits else None)
        elif isinstance(operation, Reset):
            self._reset(qubits[0])
        elif isinstance(operation, Store | BreakLoopOp | ContinueLoopOp) or not hasattr(
            operation, "num_qubits"
        ):
            raise cannot_branch(f"the operation '{operation.name}'")
        else:
            self._add_gate(operation, kind, qubits, clbits)

    def _measure(self, qubit: int, bit: Clbit | None) -> None:
        """Keep the result on a qubit of its own while a branch may read it (deferred measurement)."""
        if bit not in self.read:
            if self._conditions:
                self._forget(qubit)
            elif qubit in self.touched:
                self.measured.add(qubit)  # what it does is seen at the next gate; a reset makes it void
            return
        assert bit is not None
        if bit not in self._records:
            self._records[bit] = self._fresh()
        record = self._records[bit]
        self._reset(record)
        self._emit(CXGate(), (qubit, record))

    def _forget(self, qubit: int) -> None:
        """A measurement that nobody reads: another qubit learns the result, and is reset."""
        witness = self._fresh()
        self._emit(CXGate(), (qubit, witness))
        self._free(witness)

    def _reset(self, qubit: int) -> None:
        if qubit not in self.touched:
            self.was_reset = True
        elif self._conditions:
            # Where the conditions hold, the qubit changes places with one in |0>, which is reset in any case.
            other = self._fresh()
            self._emit(SwapGate(), (qubit, other))
            self._free(other)
        else:
            self.measured.discard(qubit)
            self.touched.discard(qubit)
            self.lowered.append(Reset(), [qubit])

    def _fresh(self) -> int:
        """A qubit in |0>, behind those of the circuit."""
        if self._spare:
            return self._spare.pop()
        self.lowered.add_register(QuantumRegister(1, f"record{self.lowered.num_qubits}"))
        return int(self.lowered.num_qubits) - 1

    def _free(self, qubit: int) -> None:
        conditions, self._conditions = self._conditions, ()
        self._reset(qubit)
        self._conditions = conditions
        self._spare.append(qubit)

    def _add_flow(
        self,
        operation: ControlFlowOp,
        qubits: tuple[int, ...],
        clbits: tuple[Clbit, ...],
        bits: Mapping[Clbit, Clbit],
    ) -> None:
        """A box, a loop that is unrolled, or branches, each where its conditions hold.

        Args:
            operation: What Qiskit calls control flow.
            qubits: What it acts on.
            clbits: Classical bits of the outermost circuit that it has.
            bits: Those of the circuit it stands in -> of the outermost.
        """
        if isinstance(operation, BoxOp):
            self._add_body(operation.blocks[0], qubits, clbits)
            return
        if isinstance(operation, ForLoopOp):
            for body in unrolled(operation):
                self._add_body(body, qubits, clbits)
            return
        branches = branches_of(operation, bits)
        written = {bit for each in branches for bit in bits_measured(each.body, clbits)}
        # All are looked at before any is entered: what a branch measures must not decide whether it is taken.
        chosen, flags = self._looked_up(branches, written)
        for each, conditions in zip(branches, chosen, strict=True):
            if conditions is not None:
                outer, self._conditions = self._conditions, (*self._conditions, *conditions)
                self._add_body(each.body, qubits, clbits)
                self._conditions = outer
        for flag in flags:
            self._free(flag)

    def _looked_up(
        self, branches: Sequence[Branch], written: set[Clbit]
    ) -> tuple[list[Conditions | None], list[int]]:
        """Under which conditions each branch is taken, None for never, and the qubits that had to hold that.

        Args:
            branches: What may be taken.
            written: Bits that change within one of them.
        """
        chosen, flags = list[Conditions | None](), list[int]()
        for each in branches:
            # A bit that nothing has measured is 0.
            known = [bit for bit in each.bits if bit in self._records]
            values = itertools.product((0, 1), repeat=len(known))
            rows = [row for row in values if each.holds(dict(zip(known, row, strict=True)))]
            held = [tuple(zip((self._records[bit] for bit in known), row, strict=True)) for row in rows]
            if len(rows) in (0, 2 ** len(known)):
                chosen.append(() if rows else None)
            elif len(rows) == 1 and written.isdisjoint(known):
                chosen.append(held[0])
            else:
                flags.append(self._fresh())
                for conditions in held:
                    self._under(conditions, XGate(), (flags[-1],))
                chosen.append(((flags[-1], 1),))
        return chosen, flags

    def _add_body(self, body: QuantumCircuit, qubits: tuple[int, ...], clbits: tuple[Clbit, ...]) -> None:
        self.add_circuit(body, qubits, dict(zip(body.clbits, clbits, strict=True)))

    def _under(self, conditions: Conditions, gate: Gate, qubits: tuple[int, ...]) -> None:
        """A gate where the conditions hold, and no others."""
        outer, self._conditions = self._conditions, conditions
        self._emit(gate, qubits)
        self._conditions = outer

    def _add_gate(
        self, operation: Any, kind: type, qubits: tuple[int, ...], clbits: tuple[Clbit, ...]
    ) -> None:
        # A gate that is on where a control is 0 has the class of the standard one and other behaviour.
        if kind in STANDARD and not (
            isinstance(operation, ControlledGate) and operation.ctrl_state != 2**operation.num_ctrl_qubits - 1
        ):
            if not is_parametric(operation) or kind in _ROTATION_CLASSES:
                # A new gate of the class: what a user's instance carries besides does not come along.
                self._emit(kind(*map(plain_value, operation.params)), qubits)
                return
            if kind in (UGate, U3Gate):  # Qiskit gives U no definition
                theta, phi, lam = operation.params
                for gate in (PhaseGate(lam), RYGate(theta), PhaseGate(phi)):
                    self._add(gate, qubits)
                return
        if kind is UnitaryGate:
            self._emit(unitary_of(operation, operation.params[0]), qubits)
        elif isinstance(operation, AnnotatedOperation):
            self.add_circuit(self._annotated(operation), qubits)
        elif kind is HamiltonianGate and is_parametric(operation):
            matrix, time = operation.params
            self.add_circuit(evolution_of(operation, np.asarray(matrix, complex), time), qubits)
        elif kind is RVGate and is_parametric(operation):
            self.add_circuit(rotation_of_vector(operation), qubits)
        else:
            self._open(operation, qubits, clbits)

    def _open(self, operation: Any, qubits: tuple[int, ...], clbits: tuple[Clbit, ...]) -> None:
        """What an operation is by its definition, else by its matrix."""
        definition = definition_of(operation)
        if definition is None:
            self._emit(unitary_of(operation, matrix_of(operation)), qubits)
            return
        if self._depth > _DEEPEST:
            raise no_gate(operation, "a definition that holds itself")
        if definition.num_qubits > len(qubits):  # some of Qiskit's leave an ancilla out
            raise no_gate(operation, f"a definition on {definition.num_qubits}")
        self.add_circuit(definition, qubits, dict(zip(definition.clbits, clbits, strict=False)))

    def _emit(self, gate: Gate, qubits: tuple[int, ...]) -> None:
        # Qiskit takes NaN and infinity for an angle; here, where every gate passes, they still have a name.
        if not all(np.isfinite(value).all() for value in gate.params if not is_free(value)):
            raise ConfigError(
                "Every angle must be a finite number, or an expression of the circuit's parameters",
                got=f"{', '.join(map(str, gate.params))} in '{gate.name}' on qubits {qubits}",
                fix="Look where the circuit is built for a division by zero or a missing value",
            )
        if gate.num_qubits != len(qubits) or len(set(qubits)) != len(qubits):
            raise no_gate(gate, f"qubits {qubits}")
        # Seen at the next gate, not at the measurement, since most circuits may measure at their end.
        for qubit in sorted(self.measured.intersection(qubits)):
            self.measured.discard(qubit)
            self._under((), CXGate(), (qubit, witness := self._fresh()))
            self._free(witness)
        if self._conditions:
            conditions, self._conditions = self._conditions, ()
            state = sum(value << place for place, (_, value) in enumerate(conditions))
            # A global phase of the gate becomes one of the records, which nothing but conditions reads.
            controlled = gate.control(len(conditions), ctrl_state=state, annotated=False)
            self._add(controlled, (*(record for record, _ in conditions), *qubits))
            self._conditions = conditions
            return
        self.touched.update(qubits)
        try:
            self.lowered.append(gate, qubits)
        except QiskitError as error:  # two parameters of one name
            raise no_gate(gate, str(error).strip("'\"")) from error

    def _annotated(self, operation: AnnotatedOperation) -> QuantumCircuit:
        """The modifiers of an annotated operation, in order, applied to what it lowers to."""
        # Not by Qiskit's synthesis, which looks its methods up by the names of the gates.
        body = QuantumCircuit(operation.base_op.num_qubits)
        body.append(operation.base_op, range(body.num_qubits))
        for modifier in operation.modifiers:
            body = self._closed(body)
            if isinstance(modifier, InverseModifier):
                body = body.inverse()
            elif isinstance(modifier, ControlModifier):
                count = modifier.num_ctrl_qubits
                # Not as an annotated operation, which would come back here.
                gate = body.to_gate().control(count, ctrl_state=modifier.ctrl_state, annotated=False)
                body = QuantumCircuit(gate.num_qubits)
                body.append(gate, range(gate.num_qubits))
            elif isinstance(modifier, PowerModifier):
                body = power_of(operation, body, modifier.power)
            else:
                raise no_gate(operation, f"the modifier {type(modifier).__name__}")
        return body

    def _closed(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """A unitary circuit lowered with its global phase."""
        inner = Lowering(circuit.num_qubits, self._depth)
        inner.add_circuit(circuit, tuple(range(circuit.num_qubits)))
        resets = any(isinstance(step.operation, Reset) for step in inner.lowered.data)
        if inner.measured or inner.was_reset or resets:
            raise not_unitary(Measure() if inner.measured else Reset())
        # Behind a control a global phase is one no longer, so that it counts here though ``lower`` drops it.
        inner.lowered.global_phase = sum(phase for phase in inner.phases if phase is not None)
        return inner.lowered
