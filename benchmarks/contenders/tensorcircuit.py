"""TensorCircuit-NG on JAX: jit of vmap of values and their vector-Jacobian product, complex64.

All Z values are read from one final state: one ``expectation_ps`` each was 1.3 to 1.5 times slower at 4 to 8
qubits, and we compare with the best.
"""

from __future__ import annotations

from typing import Any

import jax
import tensorcircuit as tc

from benchmarks.contenders import Step
from benchmarks.problem import Problem

KEEPS_STATES = True


def z_values(state: Any, qubits: int) -> Any:
    """Expectation of each Z, shape (Q,)."""
    probabilities = (state.real**2 + state.imag**2).reshape((2,) * qubits)
    axes = set(range(qubits))
    halves = [probabilities.sum(axis=tuple(axes - {q})) for q in range(qubits)]
    return tc.backend.stack([half[0] - half[1] for half in halves])


def values_of_one(problem: Problem, inputs: Any, weights: Any) -> Any:
    """Values (Q,) of one sample (Q,)."""
    circuit = tc.Circuit(problem.qubits)
    for q in range(problem.qubits):
        circuit.ry(q, theta=inputs[q])
    for layer in weights.reshape(problem.layers, 2, problem.qubits):
        for q in range(problem.qubits):
            circuit.ry(q, theta=layer[0, q])
            circuit.rz(q, theta=layer[1, q])
        for control, target in problem.ring:
            circuit.cx(control, target)
    return z_values(circuit.state(), problem.qubits)


def open_step(problem: Problem) -> Step:
    """One compiled step; its first call compiles."""
    tc.set_backend("jax")
    tc.set_dtype("complex64")

    def one(inputs: Any, weights: Any, cotangent: Any) -> Any:
        values, pull = jax.vjp(lambda x, w: values_of_one(problem, x, w), inputs, weights)
        return values, *pull(cotangent)

    def batch(inputs: Any, weights: Any, cotangent: Any) -> Any:
        values, dinputs, dweights = jax.vmap(one, in_axes=(0, None, 0))(inputs, weights, cotangent)
        return values, dinputs, dweights.sum(axis=0)

    compiled = jax.jit(batch)
    numbers = tuple(jax.device_put(each) for each in (problem.inputs, problem.weights, problem.cotangent))
    return lambda: jax.block_until_ready(compiled(*numbers))
