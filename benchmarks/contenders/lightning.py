"""PennyLane's lightning.qubit (C++): adjoint differentiation, complex64."""

from __future__ import annotations

import numpy as np
import pennylane as qml
import torch

from benchmarks.contenders import Step
from benchmarks.contenders.pennylane_circuit import circuit
from benchmarks.contenders.torch_step import open_torch_step
from benchmarks.problem import Problem

KEEPS_STATES = False


def open_step(problem: Problem) -> Step:
    """One step of a QNode; the device takes a broadcast batch apart into one circuit a sample."""
    device = qml.device("lightning.qubit", wires=problem.qubits, c_dtype=np.complex64)
    node = qml.QNode(circuit(problem), device, interface="torch", diff_method="adjoint")
    return open_torch_step(problem, lambda inputs, weights: torch.stack(node(inputs, weights), dim=1))
