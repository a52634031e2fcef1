"""Qubits that meet no other, in closed form: the client measures all of a device, used or not."""

from __future__ import annotations

import numpy as np
from qiskit import QuantumCircuit

_SX = np.array([[1 + 1j, 1 - 1j], [1 - 1j, 1 + 1j]]) / 2


def chances_of_one(circuit: QuantumCircuit, qubits: list[int], values: np.ndarray) -> np.ndarray:
    """Chance to find each lone qubit in state 1, without readout error; gate errors (some 1e-4) are left out.

    Args:
        circuit: Template whose gates on these qubits are all in `cut.LONE_GATES`.
        qubits: N qubits.
        values: Values of ``circuit.parameters``, shape (B, W).

    Returns:
        Chances, shape (B, N).
    """
    place = {circuit.qubits[old]: new for new, old in enumerate(qubits)}
    column = {parameter: index for index, parameter in enumerate(circuit.parameters)}
    states = np.zeros((len(qubits), len(values), 2), dtype=complex)
    states[..., 0] = 1.0
    for instruction in circuit.data:
        qubit = place.get(instruction.qubits[0]) if len(instruction.qubits) == 1 else None
        if qubit is not None:
            angles = [_angle(angle, column, values) for angle in instruction.operation.params]
            states[qubit] = _turn(instruction.operation.name, states[qubit], angles)
    return (np.abs(states[..., 1]) ** 2).T


def _angle(angle, column: dict, values: np.ndarray) -> np.ndarray:
    return values[:, column[angle]] if angle in column else np.full(len(values), float(angle))


def _turn(name: str, state: np.ndarray, angles: list[np.ndarray]) -> np.ndarray:
    if name == "rz":
        half = np.exp(0.5j * angles[0])
        return state * np.stack([half.conj(), half], axis=-1)
    return {"sx": state @ _SX.T, "x": state[:, ::-1]}.get(name, state)
