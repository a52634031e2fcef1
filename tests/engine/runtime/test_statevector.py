import numpy as np
import pytest
from qiskit.circuit import Parameter
from qiskit.quantum_info import Statevector

from qhq.engine import StateEngine
from qhq.engine.compile import AngleMap, lower, separate_angles
from qhq.engine.runtime import statevector
from tests.engine.circuits import STANDARD, assert_gradients, engine_of, random_problem

SEEDS = range(200)


def problem_of(seed):
    rng = np.random.default_rng([7, seed])
    return rng, random_problem(rng, 1 + seed % 6, gates=int(rng.integers(4, 16)))


def test_the_random_circuits_hold_every_standard_gate():
    held = {step.operation.name for seed in SEEDS for step in problem_of(seed)[1].circuit.data}
    assert set(STANDARD) <= held


@pytest.mark.parametrize("seed", SEEDS)
def test_values_are_those_of_statevector(seed):
    rng, problem = problem_of(seed)
    inputs, weights = problem.numbers(rng, 2)
    expected = problem.expectations(inputs, weights)
    np.testing.assert_allclose(engine_of(problem).expectations(inputs, weights), expected, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_gradients_are_finite_differences(seed):
    rng, problem = problem_of(seed)
    assert_gradients(problem, rng)


@pytest.mark.parametrize("seed", SEEDS)
def test_single_precision_follows_double(seed):
    rng, problem = problem_of(seed)
    engine = engine_of(problem)
    inputs, weights = problem.numbers(rng, 2, np.float32)
    cotangent = rng.normal(size=(2, len(problem.observables))).astype(np.float32)
    values, (dinputs, dweights) = (
        engine.expectations(inputs, weights),
        engine.vjp(inputs, weights, cotangent),
    )
    assert values.dtype == dinputs.dtype == dweights.dtype == np.float32
    wide = [array.astype(np.float64) for array in (inputs, weights, cotangent)]
    np.testing.assert_allclose(values, engine.expectations(*wide[:2]), atol=1e-5)
    for narrow, exact in zip((dinputs, dweights), engine.vjp(*wide), strict=True):
        np.testing.assert_allclose(narrow, exact, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("seed", range(0, 200, 10))
def test_gradients_are_parameter_shifts(seed):
    rng, problem = problem_of(seed)
    inputs, weights = problem.numbers(rng, 1)
    cotangent = rng.normal(size=(1, len(problem.observables)))
    separated, expressions = separate_angles(lower(problem.circuit))
    angle_map = AngleMap(expressions, problem.inputs, problem.weights)
    places = [Parameter(f"theta_{k}") for k in range(len(expressions))]
    by_name = {p.name: p for p in separated.parameters}

    def loss(angles):
        state = Statevector(
            separated.assign_parameters({by_name[p.name]: a for p, a in zip(places, angles, strict=True)})
        )
        return cotangent[0] @ [state.expectation_value(o).real for o in problem.observables]

    angles = angle_map.angles(inputs, weights)[0]
    shifts = np.pi / 2 * np.eye(len(angles))
    dangles = np.array([[(loss(angles + s) - loss(angles - s)) / 2 for s in shifts]]).reshape(1, len(angles))
    expected = angle_map.pullback(inputs, weights, dangles)
    for found, exact in zip(engine_of(problem).vjp(inputs, weights, cotangent), expected, strict=True):
        np.testing.assert_allclose(found, exact, atol=1e-8, rtol=1e-8)


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
