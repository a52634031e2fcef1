"""A lowered circuit beside the circuit that it was made from: the same operator, checked while it is cheap.

The reference is slow, obvious and goes by Qiskit alone: each operation's own matrix, as in
``qiskit.quantum_info.Operator``, and its definition where it has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from qiskit import QuantumCircuit
from qiskit.circuit import (
    AnnotatedOperation,
    Barrier,
    BoxOp,
    ControlFlowOp,
    ControlModifier,
    Delay,
    ForLoopOp,
    InverseModifier,
    Measure,
    PowerModifier,
    Reset,
)
from qiskit.circuit.library import GlobalPhaseGate, IGate, PauliEvolutionGate
from qiskit.quantum_info import Operator

from qhq.engine.compile.angles import AngleMap, separate_angles
from qhq.engine.compile.deferred import branches_of, unrolled
from qhq.engine.compile.definitions import STOPS, class_of
from qhq.engine.compile.lowering import STANDARD, lowering_of
from qhq.errors import ConfigError

_MOST_QUBITS = 12
# On few qubits a gate costs 0.1 ms whatever its size: so many take the same 50 ms as the work below.
_MOST_GATES = 400
# Gates times amplitudes. Larger circuits are not compared: that many take some 50 ms.
_MOST_WORK = 1 << 20

# Of an amplitude. Qiskit's syntheses are good to 1e-9, and a wrong gate differs by far more.
_TOLERANCE = 1e-7

_Tensor = npt.NDArray[np.complex128]
"""Shape (2, ..., 2, columns); axis ``n - 1 - q`` belongs to qubit ``q``."""


def lower_checked(circuit: QuantumCircuit) -> QuantumCircuit:
    """``lower``, and compare the result with the circuit if both are small.

    Raises:
        ConfigError: As ``lower`` does, or if the two are different operators: then a gate's matrix is not
            what its definition says, or qhq is wrong.
    """
    lowering = lowering_of(circuit)
    lowered = lowering.lowered
    gates, qubits = lowered.size(), circuit.num_qubits
    # With records of measurements it is another operator, on more qubits.
    same_width = qubits == lowered.num_qubits
    if same_width and 0 < qubits <= _MOST_QUBITS and gates <= min(_MOST_GATES, _MOST_WORK >> qubits):
        difference = _difference(circuit, lowered, from_zero=lowering.was_reset)
        if not difference < _TOLERANCE:  # not >=, which NaN would pass
            known = STANDARD | {IGate, GlobalPhaseGate}
            operations = [each.operation for each in circuit.data if class_of(each.operation) not in known]
            own = sorted({class_of(each).__name__ for each in operations})
            # Those that Qiskit takes for the standard gate that their class is derived from.
            lost = sorted(
                {
                    class_of(each).__name__
                    for each in operations
                    if getattr(each, "_standard_gate", None) is not None
                }
            )
            agree = "Make your gate's definition agree with its matrix (to_matrix); otherwise report this"
            derive = (
                f"Derive {', '.join(lost)} from Gate: Qiskit puts the standard gate in a subclass's place"
                " wherever it copies a circuit"
            )
            raise ConfigError(
                "A circuit must be the operator that Qiskit says it is, in whichever way it is written",
                got=f"amplitudes that differ by {difference:.2g}; beside standard gates it has "
                f"{', '.join(own) or 'none'}",
                fix=derive if lost else agree,
            )
    return lowered


def _difference(circuit: QuantumCircuit, lowered: QuantumCircuit, *, from_zero: bool) -> float:
    """Largest difference of an amplitude, up to a global phase, of one random state; 0 if it cannot be said.

    Two operators that agree on a random state agree: it lies in no eigenspace of their quotient.
    """
    generator = np.random.default_rng(0)  # the same each time: a circuit is refused always or never
    separated, expressions = separate_angles(lowered)
    parameters = list(circuit.parameters)
    angle_map = AngleMap(expressions, parameters, ())
    numbers = generator.uniform(0.1, 0.9, len(parameters))  # where roots and logarithms are real
    angles = angle_map.angles(numbers[None], np.zeros(0))[0]
    if not np.isfinite(angles).all():
        return 0.0
    given = dict(zip(parameters, numbers.tolist(), strict=True))
    start = np.zeros((2**circuit.num_qubits, 1), np.complex128)
    start[0] = 1
    if not from_zero:  # a reset that was left out is the identity on |0> alone
        start = generator.normal(size=(*start.shape, 2)).view(np.complex128)[..., 0]
        start /= np.linalg.norm(start)
    named = {each.name: each for each in separated.parameters}
    plain = {named[f"theta_{k}"]: float(angle) for k, angle in enumerate(angles)}
    try:
        # Not strict: some parameters stand in gates that were lowered away, and Qiskit would refuse their
        # names.
        one = _evolved(_undelayed(circuit).assign_parameters(given, strict=False), start)
    except STOPS:
        raise
    except BaseException:  # Qiskit's own binding fails on expressions that it takes for complex
        return 0.0
    other = _evolved(separated.assign_parameters(plain), start)
    difference = _distance(one, other)
    if difference >= _TOLERANCE:
        found = [complex(each.bind({p: given[p] for p in each.parameters})) for each in expressions]
        # Qiskit may have bound wrongly on its side, so that its reference is of other angles: then both sides
        # are bound by Qiskit, and must agree as well.
        if not np.allclose(found, angles, rtol=1e-9, atol=1e-9):
            kept = {parameter: given[parameter] for parameter in lowered.parameters}
            other = _evolved(lowered.assign_parameters(kept), start)
            return min(difference, _distance(one, other))
    return difference


def _undelayed(circuit: QuantumCircuit) -> QuantumCircuit:
    """Without delays, whose lengths Qiskit wants whole."""
    if not any(isinstance(each.operation, Delay) for each in circuit.data):
        return circuit
    bare = circuit.copy_empty_like()
    for instruction in circuit.data:
        if not isinstance(instruction.operation, Delay):
            bare.append(instruction)
    return bare


def _distance(one: _Tensor, other: _Tensor) -> float:
    overlap = complex(np.vdot(other, one))  # its phase is the global one between two equal states
    phase = overlap / abs(overlap) if overlap else 1.0
    return float(np.abs(one - np.asarray(phase) * other).max())


def _evolved(circuit: QuantumCircuit, columns: _Tensor) -> _Tensor:
    """A circuit without free parameters, applied to columns of shape (2^n, C)."""
    tensor = columns.reshape([2] * circuit.num_qubits + [columns.shape[1]])
    tensor = _apply_circuit(circuit, tensor, range(circuit.num_qubits))
    return tensor.reshape(columns.shape)


def _apply_circuit(circuit: QuantumCircuit, tensor: _Tensor, qubits: Sequence[int]) -> _Tensor:
    for instruction in circuit.data:
        wires = [qubits[circuit.find_bit(bit).index] for bit in instruction.qubits]
        if isinstance(instruction.operation, ControlFlowOp):
            for body in _bodies(instruction.operation, circuit):
                tensor = _apply_circuit(body, tensor, wires)
        else:
            tensor = _apply(instruction.operation, tensor, wires)
    phased: _Tensor = tensor * np.exp(1j * float(circuit.global_phase))
    return phased


def _bodies(operation: ControlFlowOp, circuit: QuantumCircuit) -> list[QuantumCircuit]:
    """What is run of a loop, a box or branches, in order."""
    if isinstance(operation, BoxOp):
        return [operation.blocks[0]]
    if isinstance(operation, ForLoopOp):
        return list(unrolled(operation))
    # A result that a branch reads would have widened the circuit, which is then not compared. So nothing
    # has been measured into these bits, and all of them are 0.
    bits = {bit: bit for bit in circuit.clbits}
    return [each.body for each in branches_of(operation, bits) if each.holds({})]


def _apply(operation: Any, tensor: _Tensor, qubits: Sequence[int]) -> _Tensor:
    if isinstance(operation, Reset):
        return _apply(_RESET, tensor, qubits)
    # Directives are what Aer saves (``save_statevector``) as well as barriers, and act on no state.
    if isinstance(operation, Barrier | Delay | Measure) or getattr(operation, "_directive", False):
        return tensor
    matrix = _matrix(operation)
    if matrix is None:
        return _apply_circuit(operation.definition, tensor, qubits)
    size, last = len(qubits), tensor.ndim - 2
    axes = [last - qubit for qubit in reversed(qubits)]
    result = np.tensordot(matrix.reshape([2] * (2 * size)), tensor, axes=(range(size, 2 * size), axes))
    return np.moveaxis(result, range(size), axes)


class _Collapse:
    """Stands for a reset: ``|0> (<0| + 0.6 <1|)``, one linear map of those that make it up, on both sides."""

    def to_matrix(self) -> _Tensor:
        """On |0> it is the identity, as a reset is."""
        return np.array([[1, 0.6], [0, 0]], np.complex128)


_RESET = _Collapse()


def _matrix(operation: Any) -> _Tensor | None:
    """What Qiskit's Operator takes an operation for; None where it goes by the definition."""
    if isinstance(operation, AnnotatedOperation):
        return _annotated_matrix(operation)
    # Its matrix is the exact exponential, and what any backend runs the product formula of its definition.
    if class_of(operation) is PauliEvolutionGate or not hasattr(operation, "to_matrix"):
        return None
    try:
        return np.asarray(operation.to_matrix(), np.complex128)
    except STOPS:
        raise
    except BaseException:
        return None


def _annotated_matrix(operation: AnnotatedOperation) -> _Tensor:
    body = QuantumCircuit(operation.base_op.num_qubits)
    body.append(operation.base_op, range(body.num_qubits))
    matrix = _evolved(body, np.eye(2**body.num_qubits, dtype=np.complex128))
    for modifier in operation.modifiers:
        if isinstance(modifier, InverseModifier):
            matrix = matrix.conj().T
        elif isinstance(modifier, PowerModifier):
            matrix = Operator(matrix).power(modifier.power).data
        elif isinstance(modifier, ControlModifier):
            # Qiskit puts the controls on the first, that is the lowest, qubits of the operation.
            count, state = 2**modifier.num_ctrl_qubits, modifier.ctrl_state
            controlled = np.eye(count * len(matrix), dtype=np.complex128)
            where = np.arange(len(matrix)) * count + state
            controlled[np.ix_(where, where)] = matrix
            matrix = controlled
    return matrix
