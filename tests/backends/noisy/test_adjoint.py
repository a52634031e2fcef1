"""The noisy engine behind an entry, beside Aer's density matrix.

``QHQ_FUZZ=200`` draws two hundred circuits instead of a few (``make fuzz``).
"""

import os

import numpy as np
import pytest
import torch

from qhq.ansatz.program import Ansatz
from qhq.backends.backend import TranspileSpec
from qhq.backends.executor import check_parity, measure_parity, parity_tolerance
from qhq.backends.noisy import AerSpec, FakeSpec
from qhq.backends.noisy import executor as noisy_executor
from qhq.backends.noisy.executor import (
    AdjointNoisyExecutor,
    NoisyEngineExecutor,
    TrajectoryExecutor,
)
from qhq.backends.registry import find_backend, open_backend, open_parity_reference, open_training_backend
from qhq.errors import BackendError
from qhq.quantum.layer import QuantumLayer
from tests.ansatz.circuits import SPECS, built, random_values, statevector_expectations
from tests.engine.circuits import WIDTH, random_problem, slopes

MANY = int(os.environ.get("QHQ_FUZZ", "0"))
UNIFORM = {"depolarizing_1q": 0.01, "depolarizing_2q": 0.05, "t1_us": 40, "t2_us": 30,
           "readout_1_given_0": 0.02, "readout_0_given_1": 0.06}  # fmt: skip
SOURCES = ("fake_manila", "fake_fez", "fake_sherbrooke", "fake_torino", "parameters")
NARROW = tuple(name for name in WIDTH if WIDTH[name] <= 2)

pytestmark = pytest.mark.timeout(36000 if MANY else 300)


def entry(source, **changes):
    settings = {"threads": 1, "transpile": TranspileSpec(optimization_level=1), **changes}
    if source == "parameters":
        return AerSpec(kind="aer", method="density_matrix", noise={"parameters": UNIFORM}, **settings)
    return FakeSpec(kind="fake", device=source, **settings)


def random_ansatz(seed):
    """Any gates on two or three qubits; what the angles are, curved ones too, is drawn as well."""
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, 2 + seed % 2, NARROW, gates=6)
    used = problem.circuit.parameters
    inputs = [each for each in problem.inputs if each in used]
    if not inputs:
        problem.circuit.ry(problem.inputs[0], 0)
        inputs = problem.inputs[:1]
    weights = tuple(each for each in problem.weights if each in used)
    return Ansatz(problem.circuit, tuple(inputs), weights, tuple(problem.observables))


@pytest.mark.parametrize("seed", range(MANY or 20))
def test_values_are_those_of_aer(seed):
    ansatz = random_ansatz(seed)
    executor = open_backend(entry(SOURCES[seed % len(SOURCES)]), ansatz, seed=0)
    inputs, weights = random_values(ansatz, 2, seed)
    np.testing.assert_allclose(
        executor.engine.expectations(inputs, weights),
        executor.aer.expectations(inputs, weights),
        rtol=0,
        # In 2 of 200 circuits Aer's trace is 1 - 1.2e-8, the engine's 1 to rounding; else they agree to 1e-8.
        atol=2e-8,
    )
    cotangent = np.random.default_rng(seed).normal(size=(2, ansatz.num_outputs))
    _, dweights = executor.engine.vjp(inputs, weights, cotangent)
    if ansatz.num_weights:
        by_weight = slopes(lambda w: (executor.engine.expectations(inputs, w) * cotangent).sum(), weights)
        np.testing.assert_allclose(dweights, by_weight, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "source"), list(zip(SPECS, ["fake_manila", "parameters"] * len(SPECS), strict=False))
)
def test_gradients_are_those_of_parameter_shifts_on_aer(source, name):
    ansatz = built(name)
    executor = open_backend(entry(source), ansatz, seed=0)
    inputs, weights = random_values(ansatz, 2)
    cotangent = np.random.default_rng(0).normal(size=(2, ansatz.num_outputs))
    for one, other in zip(
        executor.vjp(inputs, weights, cotangent),
        executor.aer.vjp(inputs, weights, cotangent),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", SPECS)
def test_noise_of_no_strength_is_the_exact_value(name):
    ansatz = built(name)
    engine = open_training_backend(entry("fake_fez", noise_scale=0), ansatz, seed=0)
    inputs, weights = random_values(ansatz, 3)
    exact = statevector_expectations(ansatz, inputs, weights)
    np.testing.assert_allclose(engine.expectations(inputs, weights), exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [0.5, 3])
def test_scaled_channels_are_those_that_aer_has(scale):
    ansatz = built("rot")
    executor = open_backend(entry("fake_manila", noise_scale=scale), ansatz, seed=0)
    inputs, weights = random_values(ansatz, 3)
    np.testing.assert_allclose(
        executor.engine.expectations(inputs, weights), executor.expectations(inputs, weights), atol=1e-8
    )


def test_exact_entries_with_noise_train_on_the_noisy_engine():
    ansatz = built("ry")
    for spec in (
        find_backend("aer_noisy"),
        find_backend("fake_fez"),
        entry("fake_manila"),
        entry("parameters"),
    ):
        assert spec.gradient == "adjoint"
    engine = open_training_backend(entry("fake_manila"), ansatz, seed=0)
    assert isinstance(engine, NoisyEngineExecutor)
    assert engine.report().backend == "density"
    reference = open_parity_reference(entry("fake_manila"), ansatz, seed=0)
    assert reference.report().backend == "fake"
    inputs, weights = random_values(ansatz, 4)
    check_parity(
        measure_parity(engine, reference, inputs, weights, density=True),
        parity_tolerance(np.float64, ansatz.circuit.size()),
        engine="noisy",
    )


def test_what_is_written_in_an_entry_or_sampled_stays_on_aer():
    ansatz = built("ry")
    assert (
        entry("fake_manila", shots=9).gradient == entry("parameters", shots=9).gradient == "parameter_shift"
    )
    assert AerSpec(kind="aer").gradient == "parameter_shift"
    for spec in (entry("fake_manila", gradient="parameter_shift"), entry("fake_manila", gradient="spsa")):
        assert open_training_backend(spec, ansatz, seed=0).report().backend == "fake"
        assert open_parity_reference(spec, ansatz, seed=0) is None
    # As a study gives an entry shots, without asking for the gradient again.
    sampled = entry("fake_manila").model_copy(update={"shots": 9})
    assert open_training_backend(sampled, ansatz, seed=0).report().shots == 9
    assert open_parity_reference(sampled, ansatz, seed=0) is None


def test_a_circuit_too_wide_for_a_density_matrix_is_followed_by_trajectories(monkeypatch, capsys):
    monkeypatch.setattr(noisy_executor, "MOST_NOISY_QUBITS", 2)
    ansatz = built("ry")
    executor = open_training_backend(entry("parameters"), ansatz, seed=0)
    assert executor.report().backend == "trajectories"
    executor.forward(*random_values(ansatz, 2))
    assert "3 qubits in use: the noisy engine follows 8 trajectories a sample" in capsys.readouterr().err
    assert open_parity_reference(entry("parameters"), ansatz, seed=0) is None


def test_trajectories_that_differ_from_aer_are_refused(monkeypatch):
    monkeypatch.setattr(noisy_executor, "MOST_NOISY_QUBITS", 2)
    ansatz = built("ry")
    executor = open_training_backend(entry("parameters"), ansatz, seed=0)
    exact = executor.estimate
    monkeypatch.setattr(executor, "estimate", lambda *rows: [each + 0.3 for each in exact(*rows)])
    with pytest.raises(BackendError, match="trajectories must agree with Aer"):
        executor.forward(*random_values(ansatz, 2))


def test_an_entry_without_a_density_matrix_trains_by_trajectories_beside_its_shots():
    ansatz = built("ry")
    spec = entry("parameters").model_copy(
        update={"method": "statevector", "shots": 400, "gradient": "adjoint", "trajectories": 16}
    )
    executor = open_training_backend(spec, ansatz, seed=0)
    inputs, weights = random_values(ansatz, 2)
    values, residual = executor.forward(inputs, weights)
    by_inputs, by_weights = executor.backward(residual, np.ones_like(values))
    assert by_inputs.shape == inputs.shape
    assert by_weights.shape == weights.shape
    with pytest.raises(ValueError, match="needs exact values"):
        entry("parameters", shots=400, gradient="adjoint")


@pytest.mark.parametrize("seed", range(max(MANY, 8)))
def test_the_mean_of_trajectories_is_the_value_of_the_density_matrix(seed):
    ansatz = random_ansatz(seed)
    source = SOURCES[seed % len(SOURCES)]
    executor = open_backend(entry(source, noise_scale=3.0 if source != "parameters" else 1.0), ansatz, seed=0)
    inputs, weights = random_values(ansatz, 2, seed)
    followed = TrajectoryExecutor(executor.aer, trajectories=4000, seed=seed)
    values, errors = followed.estimate(inputs, weights)
    exact = executor.engine.expectations(inputs, weights)
    # What happens in one of a thousand trajectories may be missing among the four thousand, errors and all.
    np.testing.assert_array_less(np.abs(values - exact), 4 * errors + 2e-3)


@pytest.mark.parametrize("seed", range(4))
def test_the_gradient_of_trajectories_is_right_on_average(seed):
    ansatz = random_ansatz(seed)
    executor = open_backend(entry("parameters"), ansatz, seed=0)
    inputs, weights = random_values(ansatz, 1, seed)
    cotangent = np.random.default_rng(seed).normal(size=(1, ansatz.num_outputs))
    followed = TrajectoryExecutor(executor.aer, trajectories=50, seed=seed)
    found = [
        np.concatenate([each.ravel() for each in followed.vjp(inputs, weights, cotangent)]) for _ in range(60)
    ]
    exact = np.concatenate([each.ravel() for each in executor.engine.vjp(inputs, weights, cotangent)])
    error = np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    np.testing.assert_array_less(np.abs(np.mean(found, axis=0) - exact), 5 * error + 2e-3)


def test_a_layer_steps_on_the_engine_and_is_valued_by_aer():
    ansatz = built("ry")
    layer = QuantumLayer(ansatz, entry("parameters"), seed=0)
    executor = layer.neural_network.executor
    assert isinstance(executor, AdjointNoisyExecutor)
    angles = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3).requires_grad_()
    values = layer(angles)
    values.sum().backward()
    assert angles.grad.abs().max() > 0
    assert layer.weight.grad.abs().max() > 0
    with torch.no_grad():
        np.testing.assert_allclose(layer(angles), values.detach(), rtol=0, atol=1e-7)


def test_the_first_step_refuses_an_engine_that_differs():
    ansatz = built("ry")
    executor = open_backend(entry("parameters"), ansatz, seed=0)
    executor.engine._engine = open_training_backend(entry("parameters", noise_scale=2), ansatz, seed=0)
    with pytest.raises(BackendError, match="noisy engine must agree with Aer"):
        executor.forward(*random_values(ansatz, 2))
