"""Any Qiskit circuit -> one whose parametric gates all obey the two-term parameter-shift rule.

A gate in ``ROTATIONS`` has a generator of two eigenvalues one apart, so an expectation ``f`` of its angle
``a`` obeys ``df/da = (f(a + pi/2) - f(a - pi/2)) / 2`` (Schuld et al., arXiv:1811.11184).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit import ControlFlowOp, Gate, Instruction, ParameterExpression
from qiskit.circuit.library import (
    PhaseGate,
    RXGate,
    RXXGate,
    RYGate,
    RYYGate,
    RZGate,
    RZXGate,
    RZZGate,
    U3Gate,
    UGate,
)
from qiskit.transpiler import PassManager
from qiskit.transpiler.passes import HighLevelSynthesis

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

DROPPED = frozenset({"barrier", "delay", "id", "global_phase"})
"""What changes no expectation."""

Step = tuple[Any, tuple[int, ...]]
"""An operation and the indices of its qubits."""


def lower(circuit: QuantumCircuit) -> QuantumCircuit:
    """Rewrite every parametric gate into ``ROTATIONS``; fixed gates stay as they are.

    Qubit ``q`` of the result is qubit ``q`` of ``circuit``; the two agree up to a global phase.

    Args:
        circuit: Unitary circuit, its parameters free.

    Returns:
        A circuit on as many qubits, without barriers, delays, identities and classical bits.

    Raises:
        ConfigError: If the circuit measures, resets, branches, or holds an operation without a definition.
    """
    lowered = QuantumCircuit(circuit.num_qubits)
    for operation, qubits in _steps(circuit, tuple(range(circuit.num_qubits))):
        lowered.append(operation, qubits)
    return lowered


def is_parametric(operation: Any) -> bool:
    """Whether an angle of the operation still waits for a value."""
    return any(isinstance(value, ParameterExpression) and value.parameters for value in operation.params)


def expand(operation: Any, qubits: tuple[int, ...]) -> Iterator[Step]:
    """The definition of an operation as steps on the same qubits, one level deep.

    Raises:
        ConfigError: If the operation has no definition.
    """
    yield from _raw_steps(_definition(operation), qubits)


def _steps(circuit: QuantumCircuit, qubits: tuple[int, ...]) -> Iterator[Step]:
    for operation, wires in _raw_steps(circuit, qubits):
        yield from _lower_step(operation, wires)


def _raw_steps(circuit: QuantumCircuit, qubits: tuple[int, ...]) -> Iterator[Step]:
    for instruction in circuit.data:
        wires = tuple(qubits[circuit.find_bit(bit).index] for bit in instruction.qubits)
        yield instruction.operation, wires


def _lower_step(operation: Any, qubits: tuple[int, ...]) -> Iterator[Step]:
    if operation.name in DROPPED:
        return
    _refuse(operation)
    if not _must_open(operation):
        yield operation, qubits
    elif isinstance(operation, UGate | U3Gate):
        yield from _lower_u(operation, qubits)
    else:
        yield from _steps(_definition(operation), qubits)


def _must_open(operation: Any) -> bool:
    if not isinstance(operation, Gate):
        return True
    if is_parametric(operation):
        return type(operation) is not ROTATIONS.get(operation.name)
    return not operation.params and _hides_parameters(operation)


def _hides_parameters(gate: Gate) -> bool:
    """A user's gate may hold parameters in its definition alone."""
    known = gate.base_class is not Gate and gate.base_class.__module__.startswith("qiskit.")
    definition = None if known else gate.definition
    return definition is not None and definition.num_parameters > 0


def _lower_u(operation: Gate, qubits: tuple[int, ...]) -> Iterator[Step]:
    """U(theta, phi, lam) = P(phi) RY(theta) P(lam); Qiskit gives it no definition."""
    theta, phi, lam = operation.params
    for gate in (PhaseGate(lam), RYGate(theta), PhaseGate(phi)):
        yield gate, qubits


def _refuse(operation: Any) -> None:
    if isinstance(operation, ControlFlowOp) or operation.name in {"measure", "reset", "store"}:
        raise ConfigError(
            "A circuit of the exact engine must be unitary: no measurement, reset or control flow",
            got=f"the operation '{operation.name}'",
            fix="Remove it (circuit.remove_final_measurements()); the observables say what is measured",
        )


def _definition(operation: Any) -> QuantumCircuit:
    definition = getattr(operation, "definition", None)
    if definition is None and not isinstance(operation, Instruction):
        definition = _synthesise(operation)
    if definition is None:
        raise ConfigError(
            "Every operation must be a gate with a definition or a matrix",
            got=f"'{operation.name}' on {operation.num_qubits} qubits, which has neither",
            fix="Give the gate a definition, or decompose the circuit first",
        )
    return definition


def _synthesise(operation: Any) -> QuantumCircuit | None:
    """Annotated operations and Cliffords have no definition; Qiskit's synthesis writes one."""
    circuit = QuantumCircuit(operation.num_qubits)
    circuit.append(operation, range(operation.num_qubits))
    opened = PassManager([HighLevelSynthesis()]).run(circuit)
    return None if any(step.operation.name == operation.name for step in opened.data) else opened
