"""The metric of a circuit: closed forms on one qubit, and the fall of a fidelity on random circuits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import Statevector

from qhq.engine import MetricEngine
from tests.engine.circuits import WIDTH, random_problem

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
    # No two gates on one qubit stand beside each other.
    np.testing.assert_allclose(engine.blocks(inputs, weights), np.diag(np.diag(wanted)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_blocks_are_those_of_the_metric(seed):
    """Of rotations of every kind, one for each weight, between fixed gates and those of inputs."""
    rng = np.random.default_rng([31, seed])
    names = [name for name in ("rx", "ry", "rz", "p", "rxx", "ryy", "rzz", "rzx") for _ in range(2)]
    weights, circuit = ParameterVector("w", len(names)), QuantumCircuit(3)
    circuit.ry(X[0], 0)
    circuit.h([1, 2])
    for weight, name in zip(weights, rng.permutation(names), strict=True):
        qubits = rng.permutation(3)
        getattr(circuit, name)(weight, *map(int, qubits[: WIDTH[name]]))
        if rng.random() < 0.4:
            circuit.cx(int(qubits[0]), int(qubits[1]))
            circuit.ry(0.3 * X[0], int(qubits[2]))
    engine = MetricEngine(circuit, list(X), list(weights))
    point = rng.uniform(-3, 3, (3, 1)), rng.uniform(-3, 3, len(names))
    whole, blocks = engine.metric(*point), engine.blocks(*point)
    inside = blocks != 0
    np.testing.assert_allclose(blocks[inside], whole[inside], rtol=0, atol=1e-11)
    np.testing.assert_allclose(np.diag(blocks), np.diag(whole), rtol=0, atol=1e-11)
    assert inside.sum() > len(names)


def test_a_column_of_rotations_is_a_block():
    weights, circuit = ParameterVector("w", 9), QuantumCircuit(3)
    for column, name in enumerate(("ry", "rz", "ry")):
        for qubit in range(3):
            getattr(circuit, name)(weights[3 * column + qubit], qubit)
        if column:
            circuit.cx(range(2), range(1, 3))
    found = MetricEngine(circuit, [], list(weights)).blocks(np.zeros((1, 0)), np.linspace(0.2, 1.4, 9))
    wanted = np.kron(np.eye(3), np.ones((3, 3))) > 0
    assert not found[~wanted].any()
    assert found[3:6, 3:6][0, 0] > 0


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


def test_blocks_in_chunks_are_the_blocks_at_once(monkeypatch):
    rng = np.random.default_rng(2)
    problem = random_problem(rng, 2)
    inputs, weights = problem.numbers(rng, 5)
    engine = MetricEngine(problem.circuit, problem.inputs, problem.weights)
    whole = engine.blocks(inputs, weights)
    monkeypatch.setattr("qhq.engine.metric._BYTES", 1)
    np.testing.assert_allclose(engine.blocks(inputs, weights), whole, atol=1e-14)
    assert not engine.blocks(inputs[:0], weights).any()
