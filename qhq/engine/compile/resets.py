"""Resets of a lowered circuit, deferred: each goes on with a fresh qubit in place of the one that it resets.

Nothing acts on the old qubit any more, so that what is measured of the others is what it is after the reset
(Nielsen and Chuang, section 4.4). The price is a qubit for each reset; gradients and kernels stay the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from qiskit import QuantumCircuit
from qiskit.circuit import QuantumRegister, Reset
from qiskit.quantum_info import SparsePauliOp

from qhq.errors import ConfigError


def count_resets(lowered: QuantumCircuit) -> int:
    """How many qubits ``without_resets`` adds."""
    return sum(isinstance(step.operation, Reset) for step in lowered.data)


def without_resets(lowered: QuantumCircuit) -> tuple[QuantumCircuit, tuple[int, ...]]:
    """The same on more qubits, as gates alone.

    Args:
        lowered: What ``lower`` returns, n qubits.

    Returns:
        The circuit, and which of its qubits stands for each of the n at the end.
    """
    unitary = QuantumCircuit(lowered.num_qubits, name=lowered.name)
    wires = list(range(lowered.num_qubits))
    for step in lowered.data:
        places = [lowered.find_bit(bit).index for bit in step.qubits]
        if isinstance(step.operation, Reset):
            unitary.add_register(QuantumRegister(1, f"after_reset{unitary.num_qubits}"))
            wires[places[0]] = unitary.num_qubits - 1
        else:
            unitary.append(step.operation, [wires[place] for place in places])
    return unitary, tuple(wires)


def defer_resets(
    lowered: QuantumCircuit, observables: Sequence[SparsePauliOp]
) -> tuple[QuantumCircuit, tuple[SparsePauliOp, ...]]:
    """A lowered circuit without resets, and observables where their qubits have gone.

    Args:
        lowered: What ``lower`` returns.
        observables: On its qubits, or on the first of them where the others hold records.
    """
    # Records of measurements widen a circuit that resets nothing, too, and its observables must follow.
    if not count_resets(lowered) and all(each.num_qubits == lowered.num_qubits for each in observables):
        return lowered, tuple(observables)
    unitary, wires = without_resets(lowered)
    return unitary, tuple(_moved(each, wires, unitary.num_qubits) for each in observables)


def _moved(observable: SparsePauliOp, wires: Sequence[int], qubits: int) -> SparsePauliOp:
    if observable.num_qubits > len(wires):
        raise ConfigError(
            "Every observable must act on the qubits of the circuit",
            got=f"{observable.num_qubits} qubits beside {len(wires)}",
            fix="Leave out the letters of qubits that it does not have",
        )
    return observable.apply_layout(list(wires[: observable.num_qubits]), qubits)
