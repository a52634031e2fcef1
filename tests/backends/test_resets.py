"""Circuits that reset and measure on their way, on every backend: what Aer makes of them, and gradients."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import PTM, Kraus, SuperOp
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, depolarizing_error

from qhq.ansatz.assemble import build
from qhq.ansatz.export import to_qasm3
from qhq.ansatz.program import Ansatz, unitary
from qhq.ansatz.script import to_python
from qhq.ansatz.spec import AnsatzSpec
from qhq.ansatz.stored import ansatz_fingerprint, as_stored
from qhq.backends.local.aer import open_aer
from qhq.backends.local.statevector import StatevectorExecutor, exact_form, pauli_coefficients
from qhq.backends.noisy import AerSpec, FakeSpec
from qhq.backends.noisy.executor import TrajectoryExecutor, open_noisy
from qhq.engine import DensityEngine, MixtureEngine
from qhq.engine.compile import AngleMap, lower
from tests.engine.branching import OBSERVABLES, random_circuit, slow_values

SEEDS = range(50)
SHOTS = 4096


def subject(
    seed: int, *, branches: bool = True, steps: int = 10
) -> tuple[Ansatz, QuantumCircuit, np.ndarray]:
    """An ansatz with four inputs, its circuit as written, and a row of values."""
    circuit, parameters = random_circuit(seed, branches=branches, steps=steps)
    ansatz = Ansatz(circuit, tuple(parameters[:4]), tuple(parameters[4:]), tuple(OBSERVABLES))
    return ansatz, circuit, np.random.default_rng(seed).uniform(-3, 3, len(parameters))


def expected(executor, row: np.ndarray) -> np.ndarray:
    return executor.expectations(row[None, :4], row[4:])[0]


def bound(circuit: QuantumCircuit, row: np.ndarray) -> QuantumCircuit:
    return circuit.assign_parameters(dict(zip(sorted(circuit.parameters, key=_number), row, strict=True)))


def _number(parameter) -> int:
    return int(parameter.name[1:])


def on_aer(circuit: QuantumCircuit, observables, noise: NoiseModel | None = None) -> np.ndarray:
    """Aer's density matrix with real resets; a measurement that nobody reads is the channel that it is."""
    native = QuantumCircuit(circuit.num_qubits)
    collapse = Kraus([np.diag([1.0, 0.0]), np.diag([0.0, 1.0])])
    for step in circuit.data:
        places = [circuit.find_bit(bit).index for bit in step.qubits]
        native.append(collapse if step.operation.name == "measure" else step.operation, places)
    native.save_density_matrix()
    state = AerSimulator(method="density_matrix", noise_model=noise).run(native).result().data()
    return np.array([np.trace(each.to_matrix() @ state["density_matrix"].data).real for each in observables])


@pytest.mark.parametrize("seed", SEEDS)
def test_exact_engine_and_aer_agree_with_real_resets(seed):
    ansatz, circuit, row = subject(seed, branches=False)
    wanted = on_aer(bound(circuit, row), OBSERVABLES)
    np.testing.assert_allclose(expected(StatevectorExecutor(ansatz), row), wanted, atol=1e-8)
    np.testing.assert_allclose(
        expected(open_aer(AerSpec(kind="aer"), ansatz, seed=0), row), wanted, atol=1e-8
    )


@pytest.mark.parametrize("seed", range(0, 50, 5))
def test_gradients_are_slopes_through_states_and_density_matrices(seed):
    ansatz, circuit, row = subject(seed)
    states = StatevectorExecutor(unitary(ansatz))
    chosen = StatevectorExecutor(ansatz)
    cotangent = np.random.default_rng(seed).normal(size=(1, len(OBSERVABLES)))
    for executor in (states, chosen):
        found = np.concatenate([each.ravel() for each in executor.vjp(row[None, :4], row[4:], cotangent)])
        slopes = []
        for place in range(len(row)):
            step = 1e-5 * (np.arange(len(row)) == place)
            change = expected(executor, row + step) - expected(executor, row - step)
            slopes.append(float(change @ cotangent[0]) / 2e-5)
        np.testing.assert_allclose(found, slopes, atol=1e-6)
    np.testing.assert_allclose(expected(chosen, row), slow_values(bound(circuit, row)), atol=1e-10)


def test_density_matrices_take_over_where_resets_are_many():
    few, many = subject(1, branches=False, steps=4)[0], subject(3, branches=False, steps=60)[0]
    assert (exact_form(few), exact_form(many)) == ("states", "density matrices")
    row = np.random.default_rng(0).uniform(-3, 3, len(many.parameters))
    cotangent = np.ones((1, len(OBSERVABLES)))
    aer = open_aer(AerSpec(kind="aer"), many, seed=0)
    pairs = zip(
        StatevectorExecutor(many).vjp(row[None, :4], row[4:], cotangent),
        aer.vjp(row[None, :4], row[4:], cotangent),
        strict=True,
    )
    for found, wanted in pairs:
        np.testing.assert_allclose(found, wanted, atol=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_noisy_engine_agrees_with_aer(seed):
    ansatz, _, row = subject(seed, branches=seed % 2 == 0, steps=6)
    if ansatz.num_qubits > 5:
        ansatz, _, row = subject(seed, branches=False, steps=6)
    noise = {"depolarizing_1q": 0.01, "depolarizing_2q": 0.02, "t1_us": 50.0, "readout_1_given_0": 0.02}
    spec = AerSpec.model_validate({"kind": "aer", "method": "density_matrix", "noise": {"parameters": noise}})
    noisy = open_noisy(spec, ansatz, seed=0)
    np.testing.assert_allclose(expected(noisy.engine, row), expected(noisy.aer, row), atol=1e-8)


@pytest.mark.parametrize("seed", range(10))
def test_a_mixture_of_few_states_is_the_same(seed):
    ansatz, _, row = subject(seed)
    engine = MixtureEngine(ansatz.lowered, ansatz.observables, ansatz.inputs, ansatz.weights)
    exact, cotangent = StatevectorExecutor(ansatz), np.arange(1.0, 6.0)[None]
    values, residual = engine.forward(row[None, :4], row[4:])
    np.testing.assert_allclose(values[0], expected(exact, row), atol=1e-10)
    found, wanted = engine.backward(residual, cotangent), exact.vjp(row[None, :4], row[4:], cotangent)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-10)


def test_wide_circuits_that_reset_many_qubits_take_few_columns():
    spec = AnsatzSpec.model_validate(
        {"qubits": 10, "depth": 0, "encoding": {"kind": "reservoir", "hidden": 2, "lags": 3, "reset": True}}
    )
    ansatz = build(spec)
    assert (ansatz.num_resets, exact_form(ansatz)) == (16, "mixtures")
    engine = MixtureEngine(ansatz.lowered, ansatz.observables, ansatz.inputs, ansatz.weights)
    assert engine.columns == 4


def test_noise_acts_between_resets_as_aer_has_it():
    _, circuit, row = subject(7, branches=False)
    bare = bound(circuit, row)
    names, error, model = ("rx", "ry", "rz", "h", "sx"), depolarizing_error(0.03, 1), NoiseModel()
    model.add_all_qubit_quantum_error(error, list(names))
    lowered, channel = lower(bare), PTM(SuperOp(error)).data.real
    channels = {(name, (qubit,)): channel for name in names for qubit in range(3)}
    padded = [each.expand("I" * (lowered.num_qubits - 3)) for each in OBSERVABLES]
    engine = DensityEngine(lowered, channels, pauli_coefficients(padded), [], AngleMap([], [], ()))
    found = engine.expectations(np.zeros((1, 0)), np.zeros(0))[0]
    np.testing.assert_allclose(found, on_aer(bare, OBSERVABLES, model), atol=1e-8)


@pytest.mark.parametrize("seed", [2, 5])
def test_shots_are_those_of_branches_that_aer_takes_itself(seed):
    ansatz, circuit, row = subject(seed)
    measured = bound(circuit, row)
    measured.measure_all()
    counts = AerSimulator(seed_simulator=1).run(measured, shots=SHOTS).result().get_counts()
    native = np.zeros(3)
    for outcome, count in counts.items():
        native += [count * (-1) ** int(bit) for bit in reversed(outcome.split()[0])]
    drawn = open_aer(AerSpec(kind="aer", shots=SHOTS), ansatz, seed=0)
    exact = expected(StatevectorExecutor(ansatz), row)[:3]
    np.testing.assert_allclose(native / SHOTS, exact, atol=5 / np.sqrt(SHOTS))
    np.testing.assert_allclose(expected(drawn, row)[:3], exact, atol=5 / np.sqrt(SHOTS))


def test_a_training_under_shots_draws_behind_the_comparison_with_aer():
    ansatz, _, row = subject(4, branches=False, steps=6)
    drawn = open_aer(AerSpec(kind="aer", shots=100_000), ansatz, seed=0)
    cotangent = np.ones((1, len(OBSERVABLES)))
    found = drawn.vjp(row[None, :4], row[4:], cotangent)
    wanted = StatevectorExecutor(ansatz).vjp(row[None, :4], row[4:], cotangent)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=5 * len(OBSERVABLES) / np.sqrt(100_000))


def test_trajectories_go_through_resets():
    ansatz, _, row = subject(4, branches=False, steps=6)
    spec = AerSpec.model_validate(
        {"kind": "aer", "method": "statevector", "shots": 512, "gradient": "adjoint", "trajectories": 512,
         "noise": {"parameters": {"depolarizing_2q": 0.02}}}
    )  # fmt: skip
    noisy = open_noisy(spec, ansatz, seed=0)
    assert isinstance(noisy.engine, TrajectoryExecutor)
    exact = spec.model_copy(update={"method": "density_matrix", "shots": None})
    wanted = expected(open_noisy(exact, ansatz, seed=0).aer, row)
    found, errors = noisy.engine.estimate(row[None, :4], row[4:])
    assert (np.abs(found[0] - wanted) <= 5 * errors[0] + 1e-9).all()


def test_a_device_resets_by_its_own_operation():
    ansatz, _, row = subject(6, branches=False, steps=6)
    fake = open_noisy(FakeSpec(kind="fake", device="fake_manila"), ansatz, seed=0)
    assert fake.isa.circuit.count_ops()["reset"] == ansatz.num_resets
    np.testing.assert_allclose(expected(fake.engine, row), expected(fake.aer, row), atol=1e-8)


@pytest.mark.parametrize("seed", [2, 6])
def test_what_a_run_stores_and_exports_is_the_same_circuit(seed):
    ansatz, _, row = subject(seed, steps=6)
    again = as_stored(ansatz)
    wanted = expected(StatevectorExecutor(ansatz), row)
    np.testing.assert_allclose(expected(StatevectorExecutor(again), row), wanted, atol=1e-12)
    assert ansatz_fingerprint(again) == ansatz_fingerprint(ansatz)
    assert "reset" in to_qasm3(ansatz)
    assert "circuit.reset(" in to_python(ansatz, row[4:], title="resets", version="0")
