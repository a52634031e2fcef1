"""The step of every contender that is a function of torch tensors."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.contenders import Step
from benchmarks.problem import Problem


def open_torch_step(problem: Problem, function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Step:
    """Values and gradients of ``function(inputs (B, Q), weights (W,)) -> values (B, Q)`` by autograd."""
    inputs = torch.tensor(problem.inputs, requires_grad=True)
    weights = torch.tensor(problem.weights, requires_grad=True)
    cotangent = torch.tensor(problem.cotangent)

    def step():
        values = function(inputs, weights)
        gradients = torch.autograd.grad(values, (inputs, weights), cotangent.to(values.dtype))
        return values.detach(), *gradients

    return step
