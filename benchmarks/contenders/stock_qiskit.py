"""qiskit-machine-learning as it comes: EstimatorQNN under TorchConnector, over Aer's exact EstimatorV2."""

from __future__ import annotations

import logging

import torch
from qiskit_aer.primitives import EstimatorV2
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.neural_networks import EstimatorQNN

from benchmarks.contenders import Step
from benchmarks.contenders.torch_step import open_torch_step
from benchmarks.problem import Problem

KEEPS_STATES = False
ONLY_CELL = (4, 16)
"""Qubits and batch of the one cell that it can end in reasonable time."""


def open_step(problem: Problem) -> Step:
    """One step by parameter-shift, its default gradient."""
    logging.getLogger("qiskit_machine_learning").setLevel(logging.ERROR)
    ansatz = problem.ansatz
    options = {"default_precision": 0.0, "backend_options": {"max_parallel_threads": 1}}
    network = EstimatorQNN(
        circuit=ansatz.circuit,
        observables=list(ansatz.observables),
        input_params=list(ansatz.inputs),
        weight_params=list(ansatz.weights),
        input_gradients=True,
        estimator=EstimatorV2(options=options),
        default_precision=0.0,
    )
    connector = TorchConnector(network, initial_weights=problem.weights.astype(float))

    def values(inputs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        # The connector trains its own weight; the problem's must lead the way for autograd to find it.
        return torch.func.functional_call(connector, {"weight": weights}, (inputs,))

    return open_torch_step(problem, values)
