"""Trainable blocks and entanglers: each adds gates to a circuit and says how many parameters it takes."""

from __future__ import annotations

from collections.abc import Callable

from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.circuit.library import efficient_su2, real_amplitudes

from qhq.ansatz.encodings import rotation_columns
from qhq.ansatz.patterns import PATTERNS
from qhq.ansatz.spec import (
    Block,
    CouplingBlock,
    EfficientSU2Block,
    Entangler,
    RealAmplitudesBlock,
    RotationBlock,
)

LIBRARY: dict[type, Callable[..., QuantumCircuit]] = {
    RealAmplitudesBlock: real_amplitudes,
    EfficientSU2Block: efficient_su2,
}


def block_circuit(block: Block, qubits: int, *, last: bool) -> QuantumCircuit:
    """Circuit of one trainable block in one layer, its parameters in the order of the weights.

    A library block has its closing column of rotations only in the ``last`` layer, so that all layers
    together are the library's circuit with as many repetitions.
    """
    if isinstance(block, RotationBlock):
        on = range(qubits) if block.on == "all" else range(1, qubits - 1)
        return rotation_columns(block.gates, qubits, on)
    if isinstance(block, CouplingBlock):
        return coupling_circuit(block.gate, block.pattern, qubits)
    make = LIBRARY[type(block)]
    return make(qubits, reps=1, entanglement=block.entanglement, skip_final_rotation_layer=not last)


def coupling_circuit(gate: str, pattern: str, qubits: int) -> QuantumCircuit:
    """Two-qubit gates, and for rotations one parameter each, in order of time."""
    circuit, pairs = QuantumCircuit(qubits), PATTERNS[pattern](qubits)
    if gate in ("cx", "cz"):
        for control, target in pairs:
            getattr(circuit, gate)(control, target)
    else:
        for angle, (control, target) in zip(ParameterVector("r", len(pairs)), pairs, strict=True):
            getattr(circuit, gate)(angle, control, target)
    return circuit


def entangler_circuit(entangler: Entangler, qubits: int) -> QuantumCircuit:
    """Two-qubit gates of an entangler."""
    return coupling_circuit(entangler.gate, entangler.pattern, qubits)
