"""Noise-aware training: several backends in turn, and a device's errors added to exact values."""

import numpy as np
import pytest
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from qhq.ansatz.assemble import build_ansatz
from qhq.ansatz.program import Ansatz
from qhq.backends.noise_aware import InjectedExecutor, InTurnExecutor, open_noise_aware
from qhq.backends.noisy import AerSpec
from qhq.backends.registry import find_backend, open_training_backend
from qhq.errors import ConfigError
from tests.ansatz.circuits import random_values

NAMES = ("fake_nairobi", "aer_noisy")


@pytest.fixture(scope="module")
def ansatz():
    return build_ansatz("reference", qubits=3, depth=1)


@pytest.fixture(scope="module")
def in_turn(ansatz):
    return InTurnExecutor([find_backend(name) for name in NAMES], ansatz, seed=0)


def test_a_step_runs_on_one_backend_and_each_comes_up(ansatz, in_turn):
    taken = set()
    for seed in range(12):
        inputs, weights = random_values(ansatz, 3, seed)
        cotangent = np.random.default_rng(seed).normal(size=(3, ansatz.num_outputs))
        turn = in_turn.turn(inputs, weights)
        alone = in_turn.executors[turn]
        values, residual = in_turn.forward(inputs, weights)
        np.testing.assert_array_equal(values, alone.expectations(inputs, weights))
        for found, wanted in zip(
            in_turn.backward(residual, cotangent), alone.vjp(inputs, weights, cotangent), strict=True
        ):
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
        taken.add(turn)
    assert taken == {0, 1}


def test_values_without_gradients_are_the_mean_over_all(ansatz, in_turn):
    inputs, weights = random_values(ansatz, 2, 0)
    each = [open_training_backend(name, ansatz, seed=0).expectations(inputs, weights) for name in NAMES]
    np.testing.assert_allclose(
        in_turn.expectations(inputs, weights), np.mean(each, axis=0), rtol=0, atol=1e-12
    )
    assert np.abs(each[0] - each[1]).max() > 1e-4


def test_each_engine_is_compared_with_its_own_backend(ansatz, in_turn, monkeypatch):
    inputs, weights = random_values(ansatz, 2, 0)
    assert in_turn.parity(inputs, weights, seed=0).max_abs < 1e-8
    swapped = InTurnExecutor(in_turn.specs, ansatz, seed=0)
    swapped.executors.reverse()
    assert swapped.parity(inputs, weights, seed=0).max_abs > 1e-4


def test_an_executor_that_cannot_go_back_takes_its_turn_as_well(ansatz):
    spec = find_backend("aer").model_copy(update={"gradient": "parameter_shift"})
    alone = InTurnExecutor([spec], ansatz, seed=0)
    inputs, weights = random_values(ansatz, 2, 0)
    cotangent = np.ones((2, ansatz.num_outputs))
    exact = open_training_backend("statevector", ansatz, seed=0)
    for found, wanted in zip(
        alone.vjp(inputs, weights, cotangent), exact.vjp(inputs, weights, cotangent), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10)


def injected(ansatz, name="fake_nairobi", shots=None):
    return InjectedExecutor(find_backend(name), ansatz, shots=shots, seed=0)


def test_injected_errors_are_affine_and_their_gradient_is_the_slope(ansatz):
    executor = injected(ansatz)
    inputs, weights = random_values(ansatz, 2, 1)
    exact = executor.exact.expectations(inputs, weights)
    np.testing.assert_allclose(
        executor.expectations(inputs, weights), executor.slopes * exact + executor.offsets, rtol=0, atol=1e-12
    )
    cotangent = np.random.default_rng(0).normal(size=exact.shape)
    _, by_weights = executor.vjp(inputs, weights, cotangent)
    step = 1e-6
    for k in range(len(weights)):
        moved = np.eye(len(weights))[k] * step
        ahead, behind = (executor.expectations(inputs, weights + sign * moved) for sign in (1, -1))
        np.testing.assert_allclose(
            by_weights[k], ((ahead - behind) * cotangent).sum() / (2 * step), atol=1e-7
        )


def test_injected_shot_noise_has_the_variance_of_shots_and_comes_again_with_the_same_step(ansatz):
    executor, without = injected(ansatz, shots=200), injected(ansatz)
    inputs, weights = random_values(ansatz, 1, 2)
    rows = np.repeat(inputs, 4000, axis=0)
    noisy, mean = executor.expectations(rows, weights), without.expectations(inputs, weights)[0]
    np.testing.assert_array_equal(noisy, executor.forward(rows, weights)[0])
    np.testing.assert_allclose(noisy.var(axis=0), (1 - mean**2) / 200, rtol=0.15)
    np.testing.assert_allclose(noisy.mean(axis=0), mean, rtol=0, atol=5 / np.sqrt(200 * 4000))


def test_for_depolarising_noise_and_one_qubit_the_slope_is_exact():
    x, w = Parameter("x"), Parameter("w")
    circuit = QuantumCircuit(1)
    circuit.ry(x, 0)
    circuit.rx(w, 0)
    ansatz = Ansatz(circuit, (x,), (w,), (SparsePauliOp("Z"),))
    noise = {"depolarizing_1q": 0.02, "readout_1_given_0": 0.01, "readout_0_given_1": 0.05}
    spec = AerSpec(kind="aer", method="density_matrix", name="mine", noise={"parameters": noise})
    executor = InjectedExecutor(spec, ansatz, shots=None, seed=0)
    inputs, weights = random_values(ansatz, 5, 0)
    noisy = open_training_backend(spec, ansatz, seed=0).expectations(inputs, weights)
    np.testing.assert_allclose(executor.expectations(inputs, weights), noisy, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["fake_nairobi", "fake_torino", "aer_noisy"])
def test_the_model_of_a_device_explains_most_of_its_error(name):
    ansatz = build_ansatz("reference", qubits=4, depth=2)
    executor = injected(ansatz, name)
    inputs, weights = random_values(ansatz, 40, 3)
    noisy = open_training_backend(name, ansatz, seed=0).expectations(inputs, weights)
    left = np.sqrt(np.mean((executor.expectations(inputs, weights) - noisy) ** 2))
    whole = np.sqrt(np.mean((executor.exact.expectations(inputs, weights) - noisy) ** 2))
    assert left < whole / 2


def test_a_circuit_of_twenty_qubits_needs_no_simulation_of_noise():
    executor = injected(build_ansatz("reference", qubits=20, depth=1), "fake_torino")
    assert executor.slopes.shape == executor.offsets.shape == (20,)
    assert ((executor.slopes > 0) & (executor.slopes < 1)).all()


@pytest.mark.parametrize(
    ("backends", "injection", "message"),
    [
        ((), ("aer", None), "an entry whose noise is known"),
        ((), ("statevector", None), "an entry whose noise is known"),
        (("ibm_fez", "aer"), None, "must name simulators"),
        (("fake_fes",), None, "Did you mean 'fake_fez'"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(ansatz, backends, injection, message):
    with pytest.raises(ConfigError, match=message):
        open_noise_aware(backends, injection, ansatz, seed=0)
