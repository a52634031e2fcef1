"""Sampled training: outcomes drawn on qhq's engines have the distribution that Aer's shots have."""

import numpy as np
import pytest
import torch
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from qhq.ansatz.assemble import build_ansatz as built
from qhq.ansatz.program import Ansatz
from qhq.backends.backend import SpsaSpec
from qhq.backends.executor import Parity
from qhq.backends.local import shots
from qhq.backends.noisy import AerSpec
from qhq.backends.registry import open_backend, open_training_backend
from qhq.errors import BackendError
from qhq.quantum.layer import QuantumLayer
from tests.ansatz.circuits import random_values

SHOTS = 400
NOISE = {
    "depolarizing_1q": 0.01,
    "depolarizing_2q": 0.05,
    "readout_1_given_0": 0.03,
    "readout_0_given_1": 0.09,
}
SAMPLED = AerSpec(kind="aer", shots=SHOTS, threads=1)
NOISY = AerSpec(
    kind="aer", shots=SHOTS, method="density_matrix", gradient="parameter_shift", threads=1,
    noise={"parameters": NOISE},
)  # fmt: skip
AVERAGED = NOISY.model_copy(update={"readout": "exact"})
ENTRIES = {"aer": SAMPLED, "noisy": NOISY, "readout averaged": AVERAGED}


def two_bases():
    """An ansatz that is read in several bases, one observable a sum of strings."""
    x, w = Parameter("x"), Parameter("w")
    circuit = QuantumCircuit(2)
    circuit.ry(x, 0)
    circuit.rx(2 * w, 1)
    circuit.cx(0, 1)
    circuit.rzz(x * w, 0, 1)
    observables = (SparsePauliOp(["ZZ", "IX"], [1.0, 0.5]), SparsePauliOp("YI"), SparsePauliOp("IZ"))
    return Ansatz(circuit, (x,), (w,), observables)


def exactly(spec, ansatz):
    """The same without shots, gradients by parameter shift."""
    exact = {"shots": None, "gradient": "parameter_shift"}
    return open_backend(spec.model_copy(update=exact), ansatz, seed=0)


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize(
    "ansatz", [two_bases(), built("reference", qubits=3, depth=1)], ids=["bases", "reference"]
)
def test_estimates_scatter_about_the_exact_values_as_shots_do(name, ansatz):
    spec = ENTRIES[name]
    executor = open_training_backend(spec, ansatz, seed=3)
    inputs, weights = random_values(ansatz, 1, 5)
    draws = executor.expectations(np.repeat(inputs, 2000, axis=0), weights)
    exact = exactly(spec, ansatz).expectations(inputs, weights)[0]
    aer = open_backend(spec, ansatz, seed=3).expectations(np.repeat(inputs, 2000, axis=0), weights)
    spread = draws.std(axis=0, ddof=1)
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - exact), 5 * spread / np.sqrt(2000) + 1e-12)
    # The covariance of the outputs too: they are read from the same shots.
    scale = np.sqrt(2 / 2000) * np.outer(spread, spread) + 1e-12
    np.testing.assert_array_less(np.abs(np.cov(draws.T) - np.cov(aer.T)) / scale, 6)


@pytest.mark.parametrize("name", ENTRIES)
def test_the_gradient_is_right_on_average(name):
    ansatz, spec = two_bases(), ENTRIES[name]
    inputs, weights = random_values(ansatz, 2, 7)
    cotangent = np.array([[1.0, -0.5, 0.3], [0.2, 0.7, -1.0]])
    executor = open_training_backend(spec, ansatz, seed=1)
    found = [
        np.concatenate([each.ravel() for each in executor.vjp(inputs, weights, cotangent)])
        for _ in range(400)
    ]
    exact = np.concatenate([each.ravel() for each in exactly(spec, ansatz).vjp(inputs, weights, cotangent)])
    error = np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    np.testing.assert_array_less(np.abs(np.mean(found, axis=0) - exact), 5 * error + 1e-12)


def test_a_layer_trains_on_the_engine_and_is_evaluated_by_aer():
    executor = open_backend(SAMPLED, built("reference", qubits=2, depth=1), seed=0)
    layer = QuantumLayer(executor.ansatz, executor, seed=0)
    calls = []
    executor.aer.expectations = lambda inputs, weights: (
        calls.append(len(inputs)) or np.zeros((len(inputs), 2))
    )
    layer(torch.zeros(3, 2)).sum().backward()
    assert calls == []
    assert layer.weight.grad is not None
    with torch.no_grad():
        layer(torch.zeros(3, 2))
    assert calls == [3]


@pytest.mark.parametrize("spec", ENTRIES.values(), ids=ENTRIES)
def test_the_same_seed_draws_the_same_and_each_call_anew(spec):
    ansatz = two_bases()
    inputs, weights = random_values(ansatz, 4, 0)
    one, same = (open_training_backend(spec, ansatz, seed=9) for _ in range(2))
    first, second = one.expectations(inputs, weights), one.expectations(inputs, weights)
    np.testing.assert_array_equal(first, same.expectations(inputs, weights))
    assert (first != second).any()


def test_perturbations_draw_on_the_engine_as_well():
    ansatz = two_bases()
    spec = SAMPLED.model_copy(update={"gradient": "spsa", "spsa": SpsaSpec(perturbations=1)})
    inputs, weights = random_values(ansatz, 1, 2)
    executor = open_training_backend(spec, ansatz, seed=0)
    found = [executor.vjp(inputs, weights, np.array([[1.0, 0.0, 0.0]]))[1][0] for _ in range(800)]
    exact = exactly(SAMPLED, ansatz).vjp(inputs, weights, np.array([[1.0, 0.0, 0.0]]))[1][0]
    assert abs(np.mean(found) - exact) < 5 * np.std(found) / np.sqrt(800) + 0.02


@pytest.mark.parametrize("spec", [SAMPLED, NOISY], ids=["aer", "noisy"])
def test_an_engine_that_differs_from_aer_is_refused_before_anything_is_drawn(spec, monkeypatch):
    ansatz = two_bases()
    executor = open_training_backend(spec, ansatz, seed=0)
    monkeypatch.setattr(shots.SampledProgram, "exact", lambda program, values: np.full((len(values), 3), 0.5))
    with pytest.raises(BackendError, match="must agree with Aer"):
        executor.expectations(*random_values(ansatz, 2, 0))


def test_what_the_engine_gives_exactly_is_what_aer_gives(monkeypatch):
    distances = []

    def keep(parity: Parity, *_, **__) -> None:
        distances.append(parity.values)

    monkeypatch.setattr(shots, "check_parity", keep)
    for spec in ENTRIES.values():
        for ansatz in (two_bases(), built("reuploading", qubits=2, depth=2)):
            open_training_backend(spec, ansatz, seed=0).expectations(*random_values(ansatz, 4, 1))
    assert len(distances) == 2 * len(ENTRIES)
    assert max(distances) < 1e-10


def test_a_wide_circuit_stays_with_aer():
    ansatz = built("reference", qubits=shots.MOST_DRAWN_QUBITS + 1, depth=1)
    assert not hasattr(open_backend(SAMPLED, ansatz, seed=0), "engine")
