"""The noisy engine beside Qiskit's own density matrix, bound and evolved gate by gate."""

from functools import cache

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import PTM, DensityMatrix, Pauli, SparsePauliOp, SuperOp, random_quantum_channel

from qhq.engine import DensityEngine, StatevectorEngine
from qhq.engine.compile import AngleMap
from qhq.engine.density import engine as engine_module
from qhq.errors import BackendError, ConfigError
from tests.engine.circuits import WIDTH, Problem, random_problem, ring_problem, slopes

NARROW = tuple(name for name in WIDTH if WIDTH[name] <= 2)


def pauli_vectors(problem):
    """Coefficients (O, 4^n) of observables, by their labels."""
    vectors = np.zeros((len(problem.observables), 4**problem.circuit.num_qubits))
    for row, observable in zip(vectors, problem.observables, strict=True):
        for label, coefficient in observable.to_list():
            row[sum("IXYZ".index(letter) << 2 * q for q, letter in enumerate(reversed(label)))] += (
                coefficient.real
            )
    return vectors


def places(circuit):
    return {(step.name, tuple(circuit.find_bit(bit).index for bit in step.qubits)) for step in circuit.data}


def random_channels(problem, seed, strength=0.2):
    """Place -> superoperator, on most gates: neither unital nor diagonal in any basis."""
    channels = {}
    for k, (name, qubits) in enumerate(sorted(places(problem.circuit))):
        if k % 4:
            size = 2 ** len(qubits)
            other = SuperOp(random_quantum_channel(size, size, seed=seed + k))
            identity = SuperOp(np.eye(size**2))
            channels[name, qubits] = SuperOp((1 - strength) * identity.data + strength * other.data)
    return channels


def engine_of(problem, channels):
    parameters = [*problem.inputs, *problem.weights]
    return DensityEngine(
        problem.circuit,
        {place: PTM(channel).data.real for place, channel in channels.items()},
        pauli_vectors(problem),
        parameters,
        AngleMap(parameters, problem.inputs, problem.weights),
    )


def evolved(problem, channels, inputs, weights):
    """Slow and obvious."""
    values = np.zeros((len(inputs), len(problem.observables)))
    for row, sample in zip(values, inputs, strict=True):
        bound = dict(zip([*problem.inputs, *problem.weights], [*sample, *weights], strict=True))
        circuit = problem.circuit.assign_parameters(
            {p: v for p, v in bound.items() if p in problem.circuit.parameters}
        )
        state = DensityMatrix.from_int(0, 2**circuit.num_qubits)
        for step in circuit.data:
            qubits = [circuit.find_bit(bit).index for bit in step.qubits]
            state = state.evolve(step.operation, qubits)
            if (step.name, tuple(qubits)) in channels:
                state = state.evolve(channels[step.name, tuple(qubits)], qubits)
        row[:] = [state.expectation_value(each).real for each in problem.observables]
    return values


@cache
def problem_of(seed):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, int(rng.integers(1, 4)), NARROW)
    return problem, random_channels(problem, seed)


@pytest.mark.parametrize("seed", range(12))
def test_values_are_those_of_an_evolved_density_matrix(seed):
    problem, channels = problem_of(seed)
    inputs, weights = problem.numbers(np.random.default_rng(seed), 3)
    found = engine_of(problem, channels).expectations(inputs, weights)
    np.testing.assert_allclose(found, evolved(problem, channels, inputs, weights), rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_gradients_are_finite_differences(seed):
    problem, channels = problem_of(seed)
    rng = np.random.default_rng(seed)
    engine = engine_of(problem, channels)
    inputs, weights = problem.numbers(rng, 2)
    cotangent = rng.normal(size=(2, len(problem.observables)))
    dinputs, dweights = engine.vjp(inputs, weights, cotangent)
    by_input = slopes(lambda x: (engine.expectations(x, weights) * cotangent).sum(axis=1), inputs)
    by_weight = slopes(lambda w: (engine.expectations(inputs, w) * cotangent).sum(), weights)
    np.testing.assert_allclose(dinputs, by_input.T.reshape(dinputs.shape), rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(dweights, by_weight, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_no_channels_are_the_exact_engine(seed):
    problem = random_problem(np.random.default_rng(100 + seed), 3, NARROW)
    inputs, weights = problem.numbers(np.random.default_rng(seed), 3)
    exact = StatevectorEngine(problem.circuit, problem.observables, problem.inputs, problem.weights)
    found = engine_of(problem, {}).expectations(inputs, weights)
    np.testing.assert_allclose(found, exact.expectations(inputs, weights), rtol=0, atol=1e-12)


def long_ring():
    """More samples, and more observables, than one tile has lanes."""
    problem = ring_problem(3, 2)
    labels = ["XXI", "IYZ", "ZZZ", "YYY", "IZX", "ZIZ", "XYZ"]
    observables = [*problem.observables, *map(SparsePauliOp, labels)]
    ring = Problem(problem.circuit, observables, problem.inputs, problem.weights)
    inputs, weights = ring.numbers(np.random.default_rng(0), 37)
    return ring, inputs, weights, np.random.default_rng(1).normal(size=(37, len(observables)))


def test_single_precision_rounds_and_no_more():
    problem, inputs, weights, cotangent = long_ring()
    engine = engine_of(problem, random_channels(problem, 0))
    double = engine.expectations(inputs, weights), *engine.vjp(inputs, weights, cotangent)
    small = [each.astype(np.float32) for each in (inputs, weights, cotangent)]
    single = engine.expectations(*small[:2]), *engine.vjp(*small)
    for one, other in zip(single, double, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5)


def test_tiles_do_not_mix():
    problem, inputs, weights, cotangent = long_ring()
    engine = engine_of(problem, random_channels(problem, 0))
    values, residual = engine.forward(inputs, weights)
    dinputs, dweights = engine.backward(residual, cotangent)
    singly = [engine.vjp(inputs[k : k + 1], weights, cotangent[k : k + 1]) for k in range(len(inputs))]
    np.testing.assert_allclose(dinputs, np.vstack([each for each, _ in singly]), rtol=0, atol=1e-12)
    np.testing.assert_allclose(dweights, sum(each for _, each in singly), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(engine.expectations(inputs, weights), values)


@pytest.mark.parametrize("kept", [0, 1 << 29])
def test_a_forward_pass_can_be_gone_back_from_twice_and_without_its_vectors(monkeypatch, kept):
    problem, channels = problem_of(1)
    inputs, weights = problem.numbers(np.random.default_rng(2), 2)
    cotangent = np.ones((2, len(problem.observables)))
    wanted = engine_of(problem, channels).vjp(inputs, weights, cotangent)
    monkeypatch.setattr(engine_module, "_KEPT_BYTES", kept)
    engine = engine_of(problem, channels)
    _, residual = engine.forward(inputs, weights)
    for _ in range(2):
        for one, other in zip(engine.backward(residual, cotangent), wanted, strict=True):
            np.testing.assert_array_equal(one, other)


def test_no_samples_have_no_values_and_no_gradient():
    problem, channels = problem_of(0)
    engine = engine_of(problem, channels)
    inputs, weights = np.zeros((0, 3)), np.ones(4)
    outputs = len(problem.observables)
    assert engine.expectations(inputs, weights).shape == (0, outputs)
    dinputs, dweights = engine.vjp(inputs, weights, np.zeros((0, outputs)))
    assert dinputs.shape == (0, 3)
    np.testing.assert_array_equal(dweights, np.zeros(4))


def test_samples_cost_no_block_where_all_inputs_enter_first():
    problem = ring_problem(4, 2)
    engine = engine_of(problem, random_channels(problem, 0))
    front, back = engine._sides[np.dtype(np.float32)]
    # A ring of CX a layer, each with whatever one-qubit gates and channels stand around it.
    assert (len(front.sweep.blocks), len(back.sweep.blocks)) == (0, 8)


def test_what_it_cannot_hold_is_refused():
    x = Parameter("x")
    wide = QuantumCircuit(10)
    wide.rx(x, 0)
    with pytest.raises(BackendError, match="at most 9 qubits"):
        DensityEngine(wide, {}, np.zeros((1, 4**10)), [x], AngleMap([x], [x], []))
    three = QuantumCircuit(3)
    three.ccx(0, 1, 2)
    three.rx(x, 0)
    with pytest.raises(ConfigError, match="one or two qubits"):
        DensityEngine(three, {}, np.zeros((1, 4**3)), [x], AngleMap([x], [x], []))


def test_a_pauli_channel_shrinks_what_it_does_not_commute_with():
    x = Parameter("x")
    circuit = QuantumCircuit(1)
    circuit.rx(x, 0)
    flip = PTM(SuperOp(0.9 * SuperOp(np.eye(4)).data + 0.1 * SuperOp(Pauli("X")).data)).data.real
    engine = DensityEngine(circuit, {("rx", (0,)): flip}, np.eye(4)[1:], [x], AngleMap([x], [x], []))
    angles = np.linspace(-3, 3, 5)
    expected = np.stack([0 * angles, -0.8 * np.sin(angles), 0.8 * np.cos(angles)], axis=1)
    np.testing.assert_allclose(engine.expectations(angles[:, None], []), expected, rtol=0, atol=1e-14)
