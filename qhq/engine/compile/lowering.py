"""Any Qiskit circuit -> one of a closed set of gates, every parametric one under the two-term shift rule.

A gate in ``ROTATIONS`` has a generator of two eigenvalues one apart, so an expectation ``f`` of its angle
``a`` obeys ``df/da = (f(a + pi/2) - f(a - pi/2)) / 2`` (Schuld et al., arXiv:1811.11184).

A gate is the standard one where its class is exactly Qiskit's; a name says nothing, since anybody may call
a gate "rx" or "barrier". Every other operation is what its definition says, and where it has none, what its
matrix says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from qiskit import QuantumCircuit
from qiskit.circuit import (
    AnnotatedOperation,
    Barrier,
    BoxOp,
    ControlFlowOp,
    ControlledGate,
    ControlModifier,
    Delay,
    Gate,
    InverseModifier,
    Measure,
    ParameterExpression,
    PowerModifier,
    Reset,
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
    U3Gate,
    UGate,
    UnitaryGate,
    get_standard_gate_name_mapping,
)
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Clifford, Operator

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

STOPS = (KeyboardInterrupt, SystemExit)
"""What a user means, and no fault of a gate."""

_DEEPEST = 100
"""Definitions within definitions; a gate that is defined by itself never ends."""

_EIGENBASIS_QUBITS = 6
"""Widest operator whose evolution by a free time is written in its eigenbasis: two matrices and 63 phases."""

Matrix = npt.NDArray[np.complex128]


def lower(circuit: QuantumCircuit) -> QuantumCircuit:
    """Rewrite a circuit into ``ROTATIONS``, the fixed ``STANDARD`` gates and ``UnitaryGate``.

    Barriers, delays, identities and global phases are dropped, since no expectation depends on them, and
    with them the parameters that stand nowhere else. So are final measurements (the observables say what is
    measured), and resets of qubits on which nothing has acted.

    Args:
        circuit: Unitary circuit, its parameters free.

    Returns:
        A circuit whose qubit ``q`` is qubit ``q`` of ``circuit``; it has no classical bits. The two agree
        up to a global phase.

    Raises:
        ConfigError: If the circuit measures or resets before its end, branches, or holds an operation that
            has neither a definition nor a matrix until its parameters are bound.
    """
    return lowering_of(circuit).lowered


def lowering_of(circuit: QuantumCircuit) -> Lowering:
    """``lower``, with what was left out.

    Raises:
        ConfigError: As ``lower`` does; a gate of a user's own that Qiskit stumbles over is named.
    """
    lowering = Lowering(circuit.num_qubits)
    try:
        lowering.add_circuit(circuit, tuple(range(circuit.num_qubits)))
    except (TypeError, ValueError, AttributeError, QiskitError) as error:  # of a user's own gate, mostly
        raise ConfigError(
            "Every gate must come apart into rotations by differentiable angles, or into fixed gates",
            got=f"{type(error).__name__}: {error}",
            fix="Write that gate in standard gates, its parameters in their angles",
        ) from error
    return lowering


def is_parametric(operation: Any) -> bool:
    """Whether an angle of the operation still waits for a value."""
    return any(map(_is_free, getattr(operation, "params", ())))


def _is_free(value: Any) -> bool:
    return isinstance(value, ParameterExpression) and bool(value.parameters)


def without_final_measurements(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit less the measurements after which nothing acts on their qubits, and its classical bits.

    By class, not by name as Qiskit's ``remove_final_measurements``. The circuit itself if it has none.
    """
    final, free = set(), set(circuit.qubits)
    for place in reversed(range(len(circuit.data))):
        instruction = circuit.data[place]
        if isinstance(instruction.operation, Measure) and free.issuperset(instruction.qubits):
            final.add(place)
        elif not isinstance(instruction.operation, Barrier | Delay):
            free.difference_update(instruction.qubits)
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
        measured: Qubits that are measured.
        was_reset: Whether a reset was left out.
    """

    def __init__(self, num_qubits: int, depth: int = 0) -> None:
        self.lowered = QuantumCircuit(num_qubits)
        self.phases: list[Any] = []
        self.touched: set[int] = set()
        self.measured: set[int] = set()
        self.was_reset = False
        self._depth = depth

    def add_circuit(self, circuit: QuantumCircuit, qubits: tuple[int, ...]) -> None:
        """Append a circuit, its qubit ``q`` on ``qubits[q]``."""
        self._depth += 1
        self.phases.append(circuit.global_phase)
        for instruction in circuit.data:
            wires = tuple(qubits[circuit.find_bit(bit).index] for bit in instruction.qubits)
            self._add(instruction.operation, wires)
        self._depth -= 1

    def _add(self, operation: Any, qubits: tuple[int, ...]) -> None:
        kind = class_of(operation)
        if isinstance(operation, Barrier | Delay) or kind is IGate or getattr(operation, "_directive", False):
            return
        if kind is GlobalPhaseGate:
            self.phases.append(operation.params[0])
        elif isinstance(operation, Measure):
            self.measured.update(qubits)
        elif isinstance(operation, Reset) and self.touched.isdisjoint(qubits):
            self.was_reset = True
        elif isinstance(operation, BoxOp):  # before ControlFlowOp, of which Qiskit makes it a subclass
            self.add_circuit(operation.blocks[0], qubits)
        elif isinstance(operation, Reset | ControlFlowOp) or not hasattr(operation, "num_qubits"):
            raise _not_unitary(operation)
        else:
            self._add_unitary(operation, kind, qubits)

    def _add_unitary(self, operation: Any, kind: type, qubits: tuple[int, ...]) -> None:
        if kind in STANDARD and not _is_open_controlled(operation):
            if not is_parametric(operation) or kind in _ROTATION_CLASSES:
                # A new gate of the class: what a user's instance carries besides does not come along.
                self._emit(kind(*map(_plain, operation.params)), qubits)
                return
            if kind in (UGate, U3Gate):  # Qiskit gives U no definition
                theta, phi, lam = operation.params
                for gate in (PhaseGate(lam), RYGate(theta), PhaseGate(phi)):
                    self._add(gate, qubits)
                return
        if kind is UnitaryGate:
            self._emit(_unitary(operation, operation.params[0]), qubits)
        elif isinstance(operation, AnnotatedOperation):
            self.add_circuit(self._annotated(operation), qubits)
        elif kind is HamiltonianGate and is_parametric(operation):
            matrix, time = operation.params
            self.add_circuit(_evolution(operation, np.asarray(matrix, complex), time), qubits)
        elif kind is RVGate and is_parametric(operation):
            self.add_circuit(_rotation_vector(operation), qubits)
        else:
            self._open(operation, qubits)

    def _open(self, operation: Any, qubits: tuple[int, ...]) -> None:
        """What an operation is by its definition, else by its matrix."""
        definition = _definition(operation)
        if definition is None:
            self._emit(_unitary(operation, _matrix(operation)), qubits)
            return
        if self._depth > _DEEPEST:
            raise _no_gate(operation, "a definition that holds itself")
        if definition.num_qubits > len(qubits):  # some of Qiskit's leave an ancilla out
            raise _no_gate(operation, f"a definition on {definition.num_qubits}")
        self.add_circuit(definition, qubits)

    def _emit(self, gate: Gate, qubits: tuple[int, ...]) -> None:
        # Qiskit takes NaN and infinity for an angle; here, where every gate passes, they still have a name.
        if not all(np.isfinite(value).all() for value in gate.params if not _is_free(value)):
            raise ConfigError(
                "Every angle must be a finite number, or an expression of the circuit's parameters",
                got=f"{', '.join(map(str, gate.params))} in '{gate.name}' on qubits {qubits}",
                fix="Look where the circuit is built for a division by zero or a missing value",
            )
        if gate.num_qubits != len(qubits) or len(set(qubits)) != len(qubits):
            raise _no_gate(gate, f"qubits {qubits}")
        # Seen at the next gate, not at the measurement, since most circuits may measure at their end.
        if not self.measured.isdisjoint(qubits):
            raise ConfigError(
                "A circuit must be unitary: only the last operation on a qubit may measure it",
                got=f"'{gate.name}' after a measurement of qubit {min(self.measured.intersection(qubits))}",
                fix="Take the measurement within the circuit out; the observables say what is measured",
            )
        self.touched.update(qubits)
        try:
            self.lowered.append(gate, qubits)
        except QiskitError as error:  # two parameters of one name
            raise _no_gate(gate, str(error).strip("'\"")) from error

    def _annotated(self, operation: AnnotatedOperation) -> QuantumCircuit:
        """The modifiers of an annotated operation, in order, applied to what it lowers to.

        Not by Qiskit's synthesis, which looks its methods up by the names of the gates.
        """
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
                body = _power(operation, body, modifier.power)
            else:
                raise _no_gate(operation, f"the modifier {type(modifier).__name__}")
        return body

    def _closed(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """A unitary circuit lowered with its global phase."""
        inner = Lowering(circuit.num_qubits, self._depth)
        inner.add_circuit(circuit, tuple(range(circuit.num_qubits)))
        if inner.measured or inner.was_reset:
            raise _not_unitary(Measure() if inner.measured else Reset())
        # Behind a control a global phase is one no longer, so that it counts here though ``lower`` drops it.
        inner.lowered.global_phase = sum(phase for phase in inner.phases if phase is not None)
        return inner.lowered


def class_of(operation: Any) -> type:
    """The class that a user calls: Qiskit's shared instances are of hidden classes of their own."""
    return getattr(operation, "base_class", None) or type(operation)


def _is_open_controlled(operation: Any) -> bool:
    """Whether a control of a standard gate acts on 0, so that the class alone does not say what it does."""
    return isinstance(operation, ControlledGate) and operation.ctrl_state != 2**operation.num_ctrl_qubits - 1


def _plain(value: Any) -> Any:
    """Numbers as float, expressions with free parameters as they are."""
    if isinstance(value, ParameterExpression):
        return value if value.parameters else float(value)
    return float(value)


def _definition(operation: Any) -> QuantumCircuit | None:
    if isinstance(operation, Clifford):
        return operation.to_circuit()
    if getattr(type(operation), "_define", None) is UnitaryGate._define:
        return None  # its matrix is nearer than the gates that Qiskit makes of it
    try:
        definition = getattr(operation, "definition", None)
    except STOPS:
        raise
    except BaseException as error:  # whatever a user's class raises; a panic of Qiskit's Rust is no Exception
        raise _no_gate(operation, f"{type(error).__name__}: {error}") from error
    return definition if isinstance(definition, QuantumCircuit) else None


def _matrix(operation: Any) -> Matrix:
    try:
        return np.asarray(operation.to_matrix(), np.complex128)
    except STOPS:
        raise
    except BaseException as error:
        free = " while a parameter is free" if is_parametric(operation) else ""
        raise _no_gate(operation, f"neither a definition nor a matrix{free}") from error


def _unitary(operation: Any, matrix: Any) -> UnitaryGate:
    try:
        gate = UnitaryGate(np.array(matrix, np.complex128))
    except Exception as error:  # no square of a power of two, or not unitary
        raise _no_gate(operation, f"a matrix that is not unitary: {error}") from error
    if gate.num_qubits != operation.num_qubits:
        raise _no_gate(operation, f"a matrix on {gate.num_qubits}")
    return gate


def _evolution(operation: Any, hamiltonian: Matrix, time: Any) -> QuantumCircuit:
    """``exp(-i t H) = V diag(exp(-i t e)) V^dagger``, the phases as rotations about strings of Z.

    ``e_k = sum_S c_S (-1)^parity(S & k)`` is the Walsh transform of the eigenvalues, and each string is one
    rotation by ``2 c_S t`` about Z on one qubit, the parity of the others brought there by CX.
    """
    qubits = int(operation.num_qubits)
    if qubits > _EIGENBASIS_QUBITS:
        raise _no_gate(operation, f"a free time, on more than {_EIGENBASIS_QUBITS}")
    # Not Qiskit's ``PauliEvolutionGate``, a product formula: where terms do not commute that is another
    # operator.
    energies, vectors = np.linalg.eigh(hamiltonian)
    circuit = QuantumCircuit(qubits)
    circuit.append(UnitaryGate(vectors.conj().T), range(qubits))
    signs = np.array([[(-1.0) ** (s & k).bit_count() for k in range(2**qubits)] for s in range(2**qubits)])
    strengths = signs @ energies / 2**qubits
    circuit.global_phase = -float(strengths[0]) * time
    for string in range(1, 2**qubits):
        # What is zero but for rounding would become a rotation that no backend needs to run.
        if abs(strengths[string]) < 1e-14 * max(1.0, float(np.abs(energies).max())):
            continue
        *others, last = [q for q in range(qubits) if string >> q & 1]
        for other in others:
            circuit.append(CXGate(), [other, last])
        circuit.rz(2 * float(strengths[string]) * time, last)
        for other in reversed(others):
            circuit.append(CXGate(), [other, last])
    circuit.append(UnitaryGate(vectors), range(qubits))
    return circuit


def _rotation_vector(operation: RVGate) -> QuantumCircuit:
    """A rotation about an axis of the frame. About a free axis it has no smooth Euler angles at zero."""
    values = operation.params
    axes = [axis for axis, value in enumerate(values) if isinstance(value, ParameterExpression) or value]
    if len(axes) != 1:
        raise _no_gate(operation, "a free vector, whose Euler angles are not differentiable at zero")
    circuit = QuantumCircuit(1)
    circuit.append((RXGate, RYGate, RZGate)[axes[0]](values[axes[0]]), [0])
    return circuit


def _power(operation: Any, body: QuantumCircuit, exponent: float) -> QuantumCircuit:
    if float(exponent).is_integer():  # repeated, so that a free parameter stays free
        circuit = QuantumCircuit(body.num_qubits)
        for _ in range(abs(int(exponent))):
            circuit.compose(body if exponent > 0 else body.inverse(), inplace=True)
        return circuit
    if body.parameters:
        raise _no_gate(operation, f"the power {exponent:g} of a gate with a free parameter")
    circuit = QuantumCircuit(body.num_qubits)
    circuit.append(UnitaryGate(Operator(body).power(exponent).data), range(body.num_qubits))
    return circuit


def _not_unitary(operation: Any) -> ConfigError:
    return ConfigError(
        "A circuit must be unitary: no measurement or reset before its end, no control flow",
        got=f"the operation '{operation.name}'",
        fix="Remove it; the observables say what is measured",
    )


def _no_gate(operation: Any, why: str) -> ConfigError:
    kind = class_of(operation).__name__
    return ConfigError(
        "Every gate must come apart into rotations by its parameters and fixed gates",
        got=f"{kind} '{operation.name}' on {operation.num_qubits} qubits, which has {why}",
        fix="Give the gate a definition in standard gates, or bind its parameters",
    )
