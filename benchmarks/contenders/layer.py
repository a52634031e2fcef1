"""qhq's QuantumLayer in float32, as a model uses it."""

from __future__ import annotations

import torch

from benchmarks.contenders import Step
from benchmarks.problem import Problem
from qhq.backends.registry import open_training_backend
from qhq.quantum.layer import QuantumLayer

KEEPS_STATES = False


def open_layer(problem: Problem) -> QuantumLayer:
    """The layer of a problem, with its weights."""
    layer = QuantumLayer(problem.ansatz, open_training_backend("aer", problem.ansatz, seed=0), seed=0).float()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(problem.weights))
    return layer


def open_step(problem: Problem) -> Step:
    """One step through the layer."""
    layer = open_layer(problem)
    inputs = torch.tensor(problem.inputs, requires_grad=True)
    cotangent = torch.tensor(problem.cotangent)
    leaves = (inputs, layer.weight)

    def step():
        values = layer(inputs)
        return values.detach(), *torch.autograd.grad(values, leaves, cotangent)

    return step
