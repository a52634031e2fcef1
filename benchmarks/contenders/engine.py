"""qhq's engine on NumPy arrays, without torch."""

from __future__ import annotations

from benchmarks.contenders import Step
from benchmarks.problem import Problem
from qhq.engine import StatevectorEngine

KEEPS_STATES = False


def open_step(problem: Problem, threads: int = 1) -> Step:
    """One step of the bare engine, in complex64."""
    ansatz = problem.ansatz
    engine = StatevectorEngine(
        ansatz.circuit, ansatz.observables, ansatz.inputs, ansatz.weights, threads=threads
    )
    inputs, weights, cotangent = problem.inputs, problem.weights, problem.cotangent

    def step():
        values, residual = engine.forward(inputs, weights)
        return values, *engine.backward(residual, cotangent)

    return step
