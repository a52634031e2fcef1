"""Encodings and trainable blocks: each adds gates to a circuit and says how many parameters it takes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.circuit.library import efficient_su2, real_amplitudes, zz_feature_map

from qhq.ansatz.spec import (
    ROTATIONS,
    AngleEncoding,
    Block,
    EfficientSU2Block,
    Encoding,
    Entangler,
    RealAmplitudesBlock,
    RotationBlock,
)

LIBRARY: dict[type, Callable[..., QuantumCircuit]] = {
    RealAmplitudesBlock: real_amplitudes,
    EfficientSU2Block: efficient_su2,
}


def encoding_circuit(encoding: Encoding, qubits: int, *, first: bool) -> QuantumCircuit:
    """Circuit of an encoding, its parameters in the order of the inputs.

    Args:
        encoding: Which one.
        qubits: Q.
        first: Whether nothing stands before it; only then may it begin with a layer of H.
    """
    if isinstance(encoding, AngleEncoding):
        circuit = QuantumCircuit(qubits)
        if encoding.hadamard and first:
            circuit.h(range(qubits))
        return circuit.compose(rotation_columns(encoding.gates, qubits))
    return zz_feature_map(qubits, reps=encoding.reps, entanglement=encoding.entanglement)


def block_circuit(block: Block, qubits: int, *, last: bool) -> QuantumCircuit:
    """Circuit of one trainable block in one layer, its parameters in the order of the weights.

    A library block has its closing column of rotations only in the ``last`` layer, so that all layers
    together are the library's circuit with as many repetitions.
    """
    if isinstance(block, RotationBlock):
        return rotation_columns(block.gates, qubits)
    make = LIBRARY[type(block)]
    return make(qubits, reps=1, entanglement=block.entanglement, skip_final_rotation_layer=not last)


def rotation_columns(gates: str, qubits: int) -> QuantumCircuit:
    """One column a gate, one parameter a qubit; parameters run down the columns."""
    circuit = QuantumCircuit(qubits)
    methods = [method for word in gates.split() for method in ROTATIONS[word]]
    angles = ParameterVector("r", len(methods) * qubits)
    for angle, (method, qubit) in zip(angles, itertools.product(methods, range(qubits)), strict=True):
        getattr(circuit, method)(angle, qubit)
    return circuit


def entangler_circuit(entangler: Entangler, qubits: int) -> QuantumCircuit:
    """Two-qubit gates of an entangler.

    The ring of two qubits is one gate, not two: its way there and its way back would partly undo each
    other (wholly for cz). One qubit has none.
    """
    circuit = QuantumCircuit(qubits)
    for control, target in _pairs(entangler.pattern, qubits):
        getattr(circuit, entangler.gate)(control, target)
    return circuit


def _pairs(pattern: str, qubits: int) -> Sequence[tuple[int, int]]:
    line = [(qubit, qubit + 1) for qubit in range(qubits - 1)]
    if pattern == "none":
        return []
    if pattern == "full":
        return list(itertools.combinations(range(qubits), 2))
    if pattern == "ring" and qubits > 2:
        return [*line, (qubits - 1, 0)]
    return line
