import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Gate, Parameter, ParameterVector
from qiskit.circuit.library import RVGate, UnitaryGate, efficient_su2, zz_feature_map
from qiskit.quantum_info import SparsePauliOp, random_unitary

from qhq.engine import StatevectorEngine
from qhq.engine.runtime import jobs
from qhq.errors import ConfigError
from tests.engine.circuits import (
    Problem,
    assert_gradients,
    engine_of,
    random_observables,
    ring_problem,
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch", [1, 7, 8, 9, 15, 16, 17, 64])
def test_samples_do_not_see_each_other(batch, dtype):
    rng = np.random.default_rng(batch)
    problem = ring_problem(4, 2)
    engine = engine_of(problem)
    inputs, weights = problem.numbers(rng, batch, dtype)
    cotangent = rng.normal(size=(batch, 4)).astype(dtype)
    values, (dinputs, dweights) = (
        engine.expectations(inputs, weights),
        engine.vjp(inputs, weights, cotangent),
    )
    alone = [engine.vjp(x[None], weights, c[None]) for x, c in zip(inputs, cotangent, strict=True)]
    single = np.concatenate([engine.expectations(x[None], weights) for x in inputs])
    np.testing.assert_array_equal(values, single)
    np.testing.assert_array_equal(dinputs, np.concatenate([dx for dx, _ in alone]))
    tolerance = 1e-4 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(dweights, sum(dw for _, dw in alone), atol=tolerance)


def test_a_sample_that_is_not_finite_spoils_no_other():
    rng = np.random.default_rng(5)
    problem = ring_problem(3, 1)
    engine = engine_of(problem)
    inputs, weights = problem.numbers(rng, 4)
    good = engine.expectations(inputs, weights)
    inputs[1] = np.nan
    found = engine.expectations(inputs, weights)
    assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(found[[0, 2, 3]], good[[0, 2, 3]])


def test_empty_batch():
    problem = ring_problem(3, 1)
    engine = engine_of(problem)
    dinputs, dweights = engine.vjp(np.zeros((0, 3)), np.ones(6), np.zeros((0, 3)))
    assert engine.expectations(np.zeros((0, 3)), np.ones(6)).shape == (0, 3)
    assert dinputs.shape == (0, 3)
    np.testing.assert_array_equal(dweights, np.zeros(6))


def test_zero_inputs_and_zero_weights():
    problem = ring_problem(4, 2)
    engine = engine_of(problem)
    np.testing.assert_array_equal(engine.expectations(np.zeros((2, 4)), np.zeros(16)), np.ones((2, 4)))
    dinputs, dweights = engine.vjp(np.zeros((2, 4)), np.zeros(16), np.ones((2, 4)))
    np.testing.assert_array_equal(dinputs, 0)
    np.testing.assert_array_equal(dweights, 0)


def on_one_qubit():
    x, w = Parameter("x"), Parameter("w")
    circuit = QuantumCircuit(1)
    circuit.rx(x, 0)
    circuit.rz(w, 0)
    circuit.rx(x, 0)
    return Problem(circuit, [SparsePauliOp(p) for p in "XYZI"], [x], [w])


def without_entanglers():
    x, w = ParameterVector("x", 3), ParameterVector("w", 3)
    circuit = QuantumCircuit(3)
    for q in range(3):
        circuit.h(q)
        circuit.rz(x[q], q)
        circuit.rx(w[q], q)
    return Problem(circuit, random_observables(np.random.default_rng(1), 3), list(x), list(w))


def feature_map_and_ansatz():
    feature, ansatz = zz_feature_map(4, reps=2), efficient_su2(4, reps=2)
    circuit = feature.compose(ansatz)
    observables = random_observables(np.random.default_rng(2), 4)
    return Problem(circuit, observables, list(feature.parameters), list(ansatz.parameters))


def with_unitaries():
    x, w = Parameter("x"), Parameter("w")
    circuit = QuantumCircuit(4)
    for k, qubits in enumerate([(2, 0), (3, 1, 0), (1, 2)]):
        circuit.append(UnitaryGate(random_unitary(2 ** len(qubits), seed=k)), qubits)
        circuit.ry(x + k, k)
        circuit.x(0)
        circuit.cx(k, k + 1)
        circuit.rzz(w, k, 3)
    return Problem(circuit, random_observables(np.random.default_rng(3), 4), [x], [w])


def without_inputs():
    w = Parameter("w")
    circuit = QuantumCircuit(2)
    circuit.rxx(w, 0, 1)
    return Problem(circuit, [SparsePauliOp("IZ")], [], [w])


def without_weights_but_an_unused_input():
    x = ParameterVector("x", 2)
    circuit = QuantumCircuit(2)
    circuit.ry(x[0] * x[0], 0)
    circuit.cx(0, 1)
    return Problem(circuit, [SparsePauliOp("ZI"), SparsePauliOp("XX", 0.5)], list(x), [])


def without_parameters():
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    return Problem(circuit, [SparsePauliOp("ZZ"), SparsePauliOp(["XX", "YY"], [1, 2])], [], [])


MAKERS = [
    on_one_qubit,
    without_entanglers,
    feature_map_and_ansatz,
    with_unitaries,
    without_inputs,
    without_weights_but_an_unused_input,
    without_parameters,
]


@pytest.mark.parametrize("make", MAKERS)
def test_special_circuits(make):
    rng = np.random.default_rng(11)
    problem = make()
    inputs, weights = problem.numbers(rng, 3)
    expected = problem.expectations(inputs, weights)
    np.testing.assert_allclose(engine_of(problem).expectations(inputs, weights), expected, atol=1e-12)
    assert_gradients(problem, rng, batch=3)


def test_without_observables():
    problem = Problem(QuantumCircuit(2), [], [], [])
    assert engine_of(problem).expectations(np.zeros((3, 0)), np.zeros(0)).shape == (3, 0)


def test_a_residual_can_be_used_twice():
    rng = np.random.default_rng(13)
    problem = ring_problem(3, 2)
    engine = engine_of(problem)
    inputs, weights = problem.numbers(rng, 5)
    values, residual = engine.forward(inputs, weights)
    np.testing.assert_array_equal(values, engine.expectations(inputs, weights))
    first, second = (engine.backward(residual, values) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_residuals_do_not_share_memory():
    rng = np.random.default_rng(14)
    problem = ring_problem(3, 2)
    engine = engine_of(problem)
    numbers = [problem.numbers(rng, 5) for _ in range(3)]
    passes = [engine.forward(*pair) for pair in numbers]
    for (values, residual), pair in zip(passes, numbers, strict=True):
        for a, b in zip(engine.backward(residual, values), engine.vjp(*pair, values), strict=True):
            np.testing.assert_array_equal(a, b)


def test_states_that_are_too_large_are_made_again(monkeypatch):
    rng = np.random.default_rng(15)
    problem = ring_problem(3, 2)
    inputs, weights = problem.numbers(rng, 40)
    kept = engine_of(problem).vjp(inputs, weights, np.ones((40, 3)))
    monkeypatch.setattr(jobs, "KEPT_BYTES", 0)
    for a, b in zip(kept, engine_of(problem).vjp(inputs, weights, np.ones((40, 3))), strict=True):
        np.testing.assert_array_equal(a, b)


def test_threads_change_nothing(monkeypatch):
    monkeypatch.setattr("qhq.engine.runtime.statevector._ROWS_PER_THREAD", 1)
    monkeypatch.setattr("qhq.engine.runtime.jobs._available_cores", lambda: 3)
    rng = np.random.default_rng(16)
    problem = feature_map_and_ansatz()
    inputs, weights = problem.numbers(rng, 70)
    cotangent = rng.normal(size=(70, 5))
    one, three = engine_of(problem), engine_of(problem, threads=3)
    assert three.threads == 3
    np.testing.assert_array_equal(one.expectations(inputs, weights), three.expectations(inputs, weights))
    alone, together = one.vjp(inputs, weights, cotangent), three.vjp(inputs, weights, cotangent)
    np.testing.assert_array_equal(alone[0], together[0])
    np.testing.assert_allclose(alone[1], together[1], atol=1e-12)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda engine: pickle.loads(pickle.dumps(engine))])
def test_copies_compute_the_same(again):
    problem = feature_map_and_ansatz()
    engine = engine_of(problem)
    numbers = problem.numbers(np.random.default_rng(20), 3)
    expected = engine.expectations(*numbers)
    np.testing.assert_array_equal(again(engine).expectations(*numbers), expected)


def test_any_array_layout_is_taken():
    rng = np.random.default_rng(17)
    problem = ring_problem(3, 1)
    engine = engine_of(problem)
    inputs, weights = problem.numbers(rng, 6)
    expected = engine.expectations(inputs, weights)
    frozen = inputs.copy()
    frozen.flags.writeable = False
    for other in (np.asfortranarray(inputs), frozen, inputs.tolist(), np.repeat(inputs, 2, axis=0)[::2]):
        np.testing.assert_array_equal(engine.expectations(other, weights.tolist()), expected)


@pytest.mark.parametrize(
    ("inputs", "weights", "message"),
    [
        (np.zeros((2, 4)), np.zeros(6), r"Inputs must have the shape \(B, 3\)"),
        (np.zeros(3), np.zeros(6), r"Inputs must have the shape \(B, 3\)"),
        (np.zeros((2, 3)), np.zeros(5), r"Weights must have the shape \(6,\)"),
    ],
)
def test_wrong_shapes_are_refused(inputs, weights, message):
    with pytest.raises(ConfigError, match=message):
        engine_of(ring_problem(3, 1)).expectations(inputs, weights)


def test_wrong_cotangent_is_refused():
    engine = engine_of(ring_problem(3, 1))
    with pytest.raises(ConfigError, match=r"cotangent must have the shape \(2, 3\)"):
        engine.vjp(np.zeros((2, 3)), np.zeros(6), np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("observable", "message"),
    [(SparsePauliOp("ZZ"), "on the qubits of the circuit"), (SparsePauliOp("Z", 1j), "Hermitian")],
)
def test_wrong_observables_are_refused(observable, message):
    with pytest.raises(ConfigError, match=message):
        StatevectorEngine(QuantumCircuit(1), [observable], [], [])


def test_a_workspace_comes_back_from_a_residual_that_is_dropped():
    problem = ring_problem(3, 1)
    engine = engine_of(problem)
    numbers = problem.numbers(np.random.default_rng(18), 5)
    workspaces = {id(engine.forward(*numbers)[1].workspace) for _ in range(3)}
    assert len(workspaces) == 1


def test_several_threads_may_call_at_once():
    problem = ring_problem(4, 2)
    engine = engine_of(problem)
    rng = np.random.default_rng(19)
    numbers = [(*problem.numbers(rng, 20), rng.normal(size=(20, 4))) for _ in range(8)]
    expected = [engine.vjp(*each) for each in numbers]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda each: engine.vjp(*each), numbers * 5))
    for (dx, dw), (ex, ew) in zip(found, expected * 5, strict=True):
        np.testing.assert_array_equal(dx, ex)
        np.testing.assert_array_equal(dw, ew)


def curved(inputs, angles):
    """Every angle of the inputs is curved, none of the weights."""
    x, w = ParameterVector("x", inputs), ParameterVector("w", 2)
    circuit = QuantumCircuit(2)
    for angle in range(angles):
        circuit.ry(x[angle % inputs] ** (angle + 2), angle % 2)
    circuit.cx(0, 1)
    circuit.ry(w[0], 0)
    circuit.rx(w[1], 1)
    return StatevectorEngine(
        circuit, [SparsePauliOp("IZ"), SparsePauliOp(["XX", "ZI"], [0.5, 1.0])], list(x), list(w)
    )


@pytest.mark.parametrize("inputs", [1, 2, 3])
@pytest.mark.parametrize("angles", [1, 2, 3, 5])
@pytest.mark.parametrize("batch", [1, 3, 17])
def test_a_batch_with_curved_angles_is_its_rows(inputs, angles, batch):
    engine = curved(inputs, max(inputs, angles))
    generator = np.random.default_rng(batch)
    x, w = generator.normal(size=(batch, inputs)), generator.normal(size=2)
    cotangent = generator.normal(size=(batch, 2))
    values, (by_inputs, by_weights) = engine.expectations(x, w), engine.vjp(x, w, cotangent)
    rows = [engine.vjp(x[i : i + 1], w, cotangent[i : i + 1]) for i in range(batch)]
    one_by_one = np.vstack([engine.expectations(x[i : i + 1], w) for i in range(batch)])
    np.testing.assert_allclose(values, one_by_one, atol=1e-12)
    np.testing.assert_allclose(by_inputs, np.vstack([row[0] for row in rows]), atol=1e-12)
    np.testing.assert_allclose(by_weights, np.sum([row[1] for row in rows], axis=0), atol=1e-12)


def opaque(x):
    """A plain gate whose definition hides a parameter."""
    inside = QuantumCircuit(1)
    inside.rx(x, 0)
    gate = Gate("mine", 1, [])
    gate.definition = inside
    return gate


def test_plain_gate_is_opened():
    x = ParameterVector("x", 1)
    circuit = QuantumCircuit(1)
    circuit.append(opaque(x[0]), [0])
    engine = StatevectorEngine(circuit, [SparsePauliOp("Z")], list(x), [])
    np.testing.assert_allclose(engine.expectations([[0.3]], [])[0, 0], np.cos(0.3), atol=1e-12)


def test_gate_that_cannot_be_opened_is_named():
    x = ParameterVector("x", 2)
    circuit = QuantumCircuit(1)
    circuit.append(RVGate(x[0], x[1], 0.0), [0])
    with pytest.raises(ConfigError, match="Every gate must come apart"):
        StatevectorEngine(circuit, [SparsePauliOp("Z")], list(x), [])
