"""The metric of a circuit: closed forms on one qubit, and the fall of a fidelity on random circuits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import Statevector

from qhq.engine import MetricEngine
from tests.engine.circuits import random_problem

W, X = ParameterVector("w", 3), ParameterVector("x", 1)


def one_qubit(*gates):
    """Gates on one qubit, each a name and an angle."""
    circuit = QuantumCircuit(1)
    for name, angle in gates:
        getattr(circuit, name)(angle, 0)
    return circuit


CLOSED = {
    # A rotation about an axis that the state is perpendicular to; a quarter, wherever it is.
    "ry": (one_qubit(("ry", W[0])), lambda a, b, c, x: [[0.25, 0, 0], [0, 0, 0], [0, 0, 0]]),
    # RZ on |0> is a phase; behind RY(a) it moves along a circle of radius sin a.
    "rz": (one_qubit(("rz", W[0])), lambda a, b, c, x: np.zeros((3, 3))),
    "ry rz": (
        one_qubit(("ry", W[0]), ("rz", W[1])),
        lambda a, b, c, x: np.diag([1, np.sin(a) ** 2, 0]) / 4,
    ),
    # The third turns about Y, to which the state has the angle of sin a sin b; rz and ry are not orthogonal.
    "ry rz ry": (
        one_qubit(("ry", W[0]), ("rz", W[1]), ("ry", W[2])),
        lambda a, b, c, x: np.array([
            [1, 0, np.cos(b)],
            [0, np.sin(a) ** 2, -np.sin(a) * np.cos(a) * np.sin(b)],
            [np.cos(b), -np.sin(a) * np.cos(a) * np.sin(b), 1 - (np.sin(a) * np.sin(b)) ** 2],
        ]) / 4,
    ),
    # An angle that is twice a weight has four times the metric; one that is a function, its slope squared.
    "2 w": (one_qubit(("ry", 2 * W[0])), lambda a, b, c, x: np.diag([1.0, 0, 0])),
    "sin w": (one_qubit(("rx", W[0].sin())), lambda a, b, c, x: np.diag([np.cos(a) ** 2 / 4, 0, 0])),
    # Behind an input RY(x): RZ by its angle's sine.
    "x": (one_qubit(("ry", X[0]), ("rz", W[0])), lambda a, b, c, x: np.diag([np.sin(x) ** 2 / 4, 0, 0])),
}  # fmt: skip


@pytest.mark.parametrize("name", CLOSED)
def test_one_qubit_has_the_metric_of_its_closed_form(name):
    circuit, closed = CLOSED[name]
    rng = np.random.default_rng(5)
    engine = MetricEngine(circuit, list(X), list(W))
    inputs, weights = rng.uniform(-3, 3, (4, 1)), rng.uniform(-3, 3, 3)
    wanted = np.mean([closed(*weights, x) for x in inputs[:, 0]], axis=0)
    np.testing.assert_allclose(engine.metric(inputs, weights), wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("seed", range(20))
def test_the_metric_is_the_fall_of_the_fidelity(seed):
    """``1 - |<psi(w - d)|psi(w + d)>|^2 = 4 d g d`` to fourth order, by Qiskit's statevectors."""
    rng = np.random.default_rng([23, seed])
    problem = random_problem(rng, int(rng.integers(1, 4)))
    (row,), weights = problem.numbers(rng, 1)
    found = MetricEngine(problem.circuit, problem.inputs, problem.weights).metric(row[None], weights)
    circuit = problem.circuit.assign_parameters({
        each: value for each, value in zip(problem.inputs, row, strict=True)
        if each in problem.circuit.parameters
    })  # fmt: skip
    present = [each in circuit.parameters for each in problem.weights]

    def state(values):
        bound = {each: float(value) for each, value in zip(problem.weights, values, strict=True)
                 if each in circuit.parameters}  # fmt: skip
        return Statevector(circuit.assign_parameters(bound)).data

    def fall(direction):
        def once(step):
            overlap = np.vdot(state(weights - step * direction), state(weights + step * direction))
            return (1 - abs(overlap) ** 2) / (4 * step**2)

        return (4 * once(1e-3) - once(2e-3)) / 3

    size = len(weights)
    wanted, units = np.zeros((size, size)), np.eye(size)
    alone = [fall(unit) if used else 0.0 for unit, used in zip(units, present, strict=True)]
    np.fill_diagonal(wanted, alone)
    for i, j in itertools.combinations(np.flatnonzero(present), 2):
        wanted[i, j] = wanted[j, i] = (fall(units[i] + units[j]) - alone[i] - alone[j]) / 2
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


def test_samples_in_chunks_are_the_samples_at_once(monkeypatch):
    rng = np.random.default_rng(2)
    problem = random_problem(rng, 2)
    inputs, weights = problem.numbers(rng, 5)
    engine = MetricEngine(problem.circuit, problem.inputs, problem.weights)
    whole = engine.metric(inputs, weights)
    monkeypatch.setattr("qhq.engine.metric._BYTES", 1)
    np.testing.assert_allclose(engine.metric(inputs, weights), whole, atol=1e-14)
    assert engine.metric(inputs[:0], weights).shape == (4, 4)
