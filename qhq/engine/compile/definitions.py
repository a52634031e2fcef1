"""What an operation is made of: its definition, its matrix, its evolution in time, its power."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from qiskit import QuantumCircuit
from qiskit.circuit import (
    ParameterExpression,
)
from qiskit.circuit.library import (
    CXGate,
    RVGate,
    RXGate,
    RYGate,
    RZGate,
    UnitaryGate,
)
from qiskit.quantum_info import Clifford, Operator

from qhq.errors import ConfigError

STOPS = (KeyboardInterrupt, SystemExit)
"""What a user means, and no fault of a gate."""

# Widest operator whose evolution by a free time is written in its eigenbasis: two matrices and 63 phases.
_EIGENBASIS_QUBITS = 6

_Matrix = npt.NDArray[np.complex128]


def is_parametric(operation: Any) -> bool:
    """Whether an angle of the operation still waits for a value."""
    return any(map(is_free, getattr(operation, "params", ())))


def is_free(value: Any) -> bool:
    """Whether it is an expression with a parameter in it."""
    return isinstance(value, ParameterExpression) and bool(value.parameters)


def class_of(operation: Any) -> type:
    """The class that a user calls: Qiskit's shared instances are of hidden classes of their own."""
    return getattr(operation, "base_class", None) or type(operation)


def plain_value(value: Any) -> Any:
    """Numbers as float, expressions of parameters as they are."""
    try:
        # Also of an expression whose parameters cancel, such as (w - w) / 2, which Qiskit's transpiler can
        # take neither for a number nor for an expression.
        return float(value)
    except TypeError:
        return value


def definition_of(operation: Any) -> QuantumCircuit | None:
    """The circuit that an operation stands for; None where its matrix is all there is.

    Raises:
        ConfigError: If it cannot say.
    """
    if isinstance(operation, Clifford):
        return operation.to_circuit()
    if getattr(type(operation), "_define", None) is UnitaryGate._define:
        return None  # its matrix is nearer than the gates that Qiskit makes of it
    try:
        definition = getattr(operation, "definition", None)
    except STOPS:
        raise
    except BaseException as error:  # whatever a user's class raises; a panic of Qiskit's Rust is no Exception
        raise no_gate(operation, f"{type(error).__name__}: {error}") from error
    return definition if isinstance(definition, QuantumCircuit) else None


def matrix_of(operation: Any) -> _Matrix:
    """The matrix of an operation without a definition, shape (2^n, 2^n), qubit 0 the lowest bit.

    Raises:
        ConfigError: If it has none, or none while a parameter is free.
    """
    try:
        # A user's own code: it may raise anything, even what is no Exception.
        return np.asarray(operation.to_matrix(), np.complex128)
    except STOPS:
        raise
    except BaseException as error:
        free = " while a parameter is free" if is_parametric(operation) else ""
        raise no_gate(operation, f"neither a definition nor a matrix{free}") from error


def unitary_of(operation: Any, matrix: Any) -> UnitaryGate:
    """A matrix as the gate that an operation is.

    Raises:
        ConfigError: If it is not unitary, or of another width.
    """
    try:
        gate = UnitaryGate(np.array(matrix, np.complex128))
    except Exception as error:  # no square of a power of two, or not unitary
        raise no_gate(operation, f"a matrix that is not unitary: {error}") from error
    if gate.num_qubits != operation.num_qubits:
        raise no_gate(operation, f"a matrix on {gate.num_qubits}")
    return gate


def evolution_of(operation: Any, hamiltonian: _Matrix, time: Any) -> QuantumCircuit:
    """``exp(-i t H) = V diag(exp(-i t e)) V^dagger``, the phases as rotations about strings of Z.

    ``e_k = sum_S c_S (-1)^parity(S & k)`` is the Walsh transform of the eigenvalues, and each string is one
    rotation by ``2 c_S t`` about Z on one qubit, the parity of the others brought there by CX.
    """
    qubits = int(operation.num_qubits)
    if qubits > _EIGENBASIS_QUBITS:
        raise no_gate(operation, f"a free time, on more than {_EIGENBASIS_QUBITS}")
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


def rotation_of_vector(operation: RVGate) -> QuantumCircuit:
    """A rotation about an axis of the frame. About a free axis it has no smooth Euler angles at zero."""
    values = operation.params
    axes = [axis for axis, value in enumerate(values) if isinstance(value, ParameterExpression) or value]
    if len(axes) != 1:
        raise no_gate(operation, "a free vector, whose Euler angles are not differentiable at zero")
    circuit = QuantumCircuit(1)
    circuit.append((RXGate, RYGate, RZGate)[axes[0]](values[axes[0]]), [0])
    return circuit


def power_of(operation: Any, body: QuantumCircuit, exponent: float) -> QuantumCircuit:
    """A unitary circuit raised to a power.

    Raises:
        ConfigError: If the power is no whole number and a parameter is free.
    """
    if float(exponent).is_integer():  # repeated, so that a free parameter stays free
        circuit = QuantumCircuit(body.num_qubits)
        for _ in range(abs(int(exponent))):
            circuit.compose(body if exponent > 0 else body.inverse(), inplace=True)
        return circuit
    if body.parameters:
        raise no_gate(operation, f"the power {exponent:g} of a gate with a free parameter")
    circuit = QuantumCircuit(body.num_qubits)
    circuit.append(UnitaryGate(Operator(body).power(exponent).data), range(body.num_qubits))
    return circuit


def not_unitary(operation: Any) -> ConfigError:
    """What is wrong with a measurement or a reset where only unitaries may stand."""
    return ConfigError(
        "What is controlled, inverted or raised to a power must be unitary",
        got=f"the operation '{operation.name}' in it",
        fix="Put the measurement or the reset outside, or in a branch (if_test)",
    )


def no_gate(operation: Any, why: str) -> ConfigError:
    """What is wrong with an operation that cannot be taken apart; ``why`` follows "which has"."""
    kind = class_of(operation).__name__
    return ConfigError(
        "Every gate must come apart into rotations by its parameters and fixed gates",
        got=f"{kind} '{operation.name}' on {operation.num_qubits} qubits, which has {why}",
        fix="Give the gate a definition in standard gates, or bind its parameters",
    )
