"""States of the exact engine beside Qiskit's, up to a phase."""

import numpy as np
import pytest
from qiskit.quantum_info import Statevector

from qhq.engine import StateEngine
from qhq.engine.runtime import statevector
from tests.engine.circuits import random_problem


def reference(problem, inputs, weights):
    parameters = [*problem.inputs, *problem.weights]
    rows = [dict(zip(parameters, [*row, *weights], strict=True)) for row in inputs]
    return np.array([Statevector(bind(problem.circuit, row)).data for row in rows])


def bind(circuit, row):
    return circuit.assign_parameters({p: v for p, v in row.items() if p in circuit.parameters})


def case(seed, dtype=np.float64, batch=3):
    rng = np.random.default_rng([11, seed])
    problem = random_problem(rng, 1 + seed % 6, gates=int(rng.integers(4, 16)))
    return (
        problem,
        StateEngine(problem.circuit, problem.inputs, problem.weights),
        *problem.numbers(rng, batch, dtype),
    )


@pytest.mark.parametrize("seed", range(60))
def test_states_are_qiskits_up_to_a_phase(seed):
    problem, engine, inputs, weights = case(seed)
    found, expected = engine.states(inputs, weights), reference(problem, inputs, weights)
    overlaps = np.einsum("bz,bz->b", expected.conj(), found)
    np.testing.assert_allclose(found, overlaps[:, None] * expected, atol=1e-12)
    np.testing.assert_allclose(np.abs(overlaps), 1, atol=1e-12)


def test_single_precision_gives_complex64():
    problem, engine, inputs, weights = case(5, np.float32)
    found, expected = engine.states(inputs, weights), reference(problem, inputs, weights)
    assert found.dtype == np.complex64
    np.testing.assert_allclose(np.abs(np.einsum("bz,bz->b", expected.conj(), found)), 1, atol=1e-5)


def test_batches_beyond_the_memory_are_cut(monkeypatch):
    _, engine, inputs, weights = case(3, batch=37)
    whole = engine.states(inputs, weights)
    monkeypatch.setattr(statevector, "KEPT_BYTES", 1)
    np.testing.assert_array_equal(engine.states(inputs, weights), whole)


def test_no_samples_give_no_states():
    _, engine, inputs, weights = case(3)
    assert engine.states(inputs[:0], weights).shape == (0, 16)
