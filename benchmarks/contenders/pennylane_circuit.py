"""The problem as a PennyLane quantum function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pennylane as qml

from benchmarks.problem import Problem


def circuit(problem: Problem) -> Callable[[Any, Any], list[Any]]:
    """A function of inputs (B, Q), broadcast over B, and weights (W,)."""

    def function(inputs: Any, weights: Any) -> list[Any]:
        for q in range(problem.qubits):
            qml.RY(inputs[:, q], wires=q)
        for layer in weights.reshape(problem.layers, 2, problem.qubits):
            for q in range(problem.qubits):
                qml.RY(layer[0, q], wires=q)
                qml.RZ(layer[1, q], wires=q)
            for control, target in problem.ring:
                qml.CNOT(wires=[control, target])
        return [qml.expval(qml.PauliZ(q)) for q in range(problem.qubits)]

    return function
