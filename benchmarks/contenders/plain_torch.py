"""Plain torch: batched gates on a complex64 state and autograd."""

from __future__ import annotations

import torch

from benchmarks.contenders import Step
from benchmarks.contenders.torch_step import open_torch_step
from benchmarks.problem import Problem

KEEPS_STATES = True


def ry(state: torch.Tensor, angle: torch.Tensor, qubit: int) -> torch.Tensor:
    """RY by an angle (B, 1) or () on a state (B, 2^Q)."""
    pairs = state.reshape(len(state), -1, 2, 1 << qubit)
    c, s = (angle / 2).cos()[..., None], (angle / 2).sin()[..., None]
    low, high = pairs[:, :, 0], pairs[:, :, 1]
    return torch.stack([c * low - s * high, s * low + c * high], dim=2).reshape(state.shape)


def rz(state: torch.Tensor, angle: torch.Tensor, qubit: int) -> torch.Tensor:
    """RZ by an angle () on a state (B, 2^Q)."""
    pairs = state.reshape(len(state), -1, 2, 1 << qubit)
    phases = torch.exp(torch.complex(torch.zeros_like(angle), torch.stack([-angle, angle]) / 2))
    return (pairs * phases[:, None]).reshape(state.shape)


def ring_order(problem: Problem) -> torch.Tensor:
    """The ring of CX as one permutation: amplitude ``z`` comes from ``order[z]``."""
    order = torch.arange(1 << problem.qubits)
    for control, target in reversed(problem.ring):
        order = order ^ ((order >> control & 1) << target)
    return order


def sign_table(qubits: int) -> torch.Tensor:
    """Eigenvalues (2^Q, Q) of each Z."""
    index = torch.arange(1 << qubits)[:, None]
    return 1.0 - 2.0 * (index >> torch.arange(qubits) & 1).float()


def open_step(problem: Problem) -> Step:
    """One step of a hand-written simulation."""
    qubits, order, signs = problem.qubits, ring_order(problem), sign_table(problem.qubits)
    start = torch.zeros(problem.batch, 1 << qubits, dtype=torch.complex64)
    start[:, 0] = 1

    def values(inputs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        state = start
        for q in range(qubits):
            state = ry(state, inputs[:, q, None], q)
        for layer in weights.reshape(problem.layers, 2, qubits):
            for q in range(qubits):
                state = rz(ry(state, layer[0, q], q), layer[1, q], q)
            state = state[:, order]
        return (state.real.square() + state.imag.square()) @ signs

    return open_torch_step(problem, values)
