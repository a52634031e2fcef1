"""PennyLane's default.qubit: backpropagation through torch, with parameter broadcasting."""

from __future__ import annotations

import pennylane as qml
import torch

from benchmarks.contenders import Step
from benchmarks.contenders.pennylane_circuit import circuit
from benchmarks.contenders.torch_step import open_torch_step
from benchmarks.problem import Problem

KEEPS_STATES = True


def open_step(problem: Problem) -> Step:
    """One step of a QNode."""
    device = qml.device("default.qubit", wires=problem.qubits)
    node = qml.QNode(circuit(problem), device, interface="torch", diff_method="backprop")
    return open_torch_step(problem, lambda inputs, weights: torch.stack(node(inputs, weights), dim=1))
