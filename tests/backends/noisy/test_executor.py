import copy

import numpy as np
import pytest
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel

from qhq.ansatz.assemble import build
from qhq.ansatz.spec import AnsatzSpec
from qhq.backends.backend import TranspileSpec
from qhq.backends.devices.calibration import load_fake, save_snapshot
from qhq.backends.noisy import AerSpec, FakeSpec, programs
from qhq.backends.registry import find_backend, open_backend
from qhq.engine.compile import AngleMap, lower, separate_angles
from qhq.errors import BackendError, ConfigError
from tests.ansatz.circuits import SPECS, built, random_values, statevector_expectations

DEVICES = ["fake_nairobi", "fake_fez", "fake_kingston"]
UNIFORM = {
    "depolarizing_1q": 0.01,
    "depolarizing_2q": 0.05,
    "readout_1_given_0": 0.02,
    "readout_0_given_1": 0.06,
}


def fake(device="fake_manila", **changes):
    return FakeSpec(kind="fake", device=device, threads=1, **changes)


def uniform(**changes):
    settings = {"method": "density_matrix", "threads": 1, "noise": {"parameters": UNIFORM}, **changes}
    return AerSpec(kind="aer", **settings)


def runtime_noise(calibration):
    """Noise of a device as Aer reads it from the runtime's own properties, not by our Target."""
    from qiskit_ibm_runtime.models import BackendProperties

    properties = {**copy.deepcopy(calibration.properties), "general": []}
    # Newer calibrations list the readout error once more as an error of a gate 'measure'.
    properties["gates"] = [gate for gate in properties["gates"] if not gate["gate"].startswith("measure")]
    # Aer asks for a frequency, which Herons do not tell, and multiplies it by a temperature of zero.
    for qubit in properties["qubits"]:
        qubit.append({"name": "frequency", "unit": "GHz", "value": 5.0, "date": "2026-01-01"})
    return NoiseModel.from_backend_properties(BackendProperties.from_dict(properties))


def sampled_by_counts(executor, calibration, ansatz, inputs, weights, *, shots):
    """Slow and obvious: bind, rotate, measure every qubit in use, count."""
    program = executor.isa.cut()
    _, expressions = separate_angles(lower(ansatz.circuit))
    angles = AngleMap(expressions, ansatz.inputs, ansatz.weights).angles(inputs, weights)
    simulator = AerSimulator(
        method="density_matrix",
        noise_model=runtime_noise(calibration.cut(executor.isa.qubits)),
        seed_simulator=1,
    )
    values = np.zeros((len(inputs), len(program.observables)))
    for (row, angle), (column, observable) in (
        (one, other) for one in enumerate(angles) for other in enumerate(program.observables)
    ):
        (pauli,) = observable.paulis
        circuit = program.circuit.assign_parameters(dict(zip(program.parameters, angle, strict=True)))
        for qubit, letter in enumerate(reversed(pauli.to_label())):
            if letter == "X":
                circuit.rz(np.pi / 2, qubit)
            if letter in "XY":
                circuit.sx(qubit)
        circuit.measure_all()
        for bits, count in simulator.run(circuit, shots=shots).result().get_counts().items():
            odd = (
                sum(bit == "1" and letter != "I" for bit, letter in zip(bits, pauli.to_label(), strict=True))
                % 2
            )
            values[row, column] += (1 - 2 * odd) * count / shots
    return values


@pytest.mark.parametrize("device", DEVICES)
def test_exact_values_are_the_limit_of_a_million_shots(device):
    ansatz = build(AnsatzSpec.model_validate({"qubits": 3, "observables": ["Z0 Z1 Z2", "X0 Y1"]}))
    inputs, weights = random_values(ansatz, 1)
    executor = open_backend(fake(device), ansatz, seed=0)
    values = executor.expectations(inputs, weights)
    sampled = sampled_by_counts(executor, load_fake(device), ansatz, inputs, weights, shots=1_000_000)
    spread = np.sqrt((1 - values**2) / 1_000_000)
    assert (np.abs(sampled - values) < 5 * spread).all()
    assert np.abs(values - statevector_expectations(ansatz, inputs, weights)).max() > 20 * spread.max()


@pytest.mark.parametrize("device", ["fake_sherbrooke", "fake_london"])
def test_other_gate_sets_run_too(device):
    ansatz = built("rot")
    inputs, weights = random_values(ansatz, 3)
    exact = statevector_expectations(ansatz, inputs, weights)
    quiet, noisy = (
        open_backend(fake(device, noise_scale=k), ansatz, seed=0).expectations(inputs, weights)
        for k in (0, 1)
    )
    np.testing.assert_allclose(quiet, exact, atol=1e-10)
    assert 1e-3 < np.abs(noisy - exact).max() < 0.3


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("device", ["fake_manila", "fake_fez"])
def test_noise_of_no_strength_is_exact(device, name):
    ansatz = built(name)
    inputs, weights = random_values(ansatz, 3)
    values = open_backend(fake(device, noise_scale=0), ansatz, seed=0).expectations(inputs, weights)
    np.testing.assert_allclose(values, statevector_expectations(ansatz, inputs, weights), rtol=0, atol=1e-10)


def test_errors_grow_with_the_strength():
    ansatz = built("reuploading")
    inputs, weights = random_values(ansatz, 8)
    exact = statevector_expectations(ansatz, inputs, weights)
    errors = [
        np.abs(open_backend(fake(noise_scale=k), ansatz, seed=0).expectations(inputs, weights) - exact).mean()
        for k in (0.25, 0.5, 1, 2, 4)
    ]
    assert errors == sorted(errors)
    assert errors[0] < errors[2] / 2


def test_noise_of_almost_its_own_strength_is_almost_the_device():
    ansatz = built("ry")
    values = random_values(ansatz, 4)
    whole, almost = (
        open_backend(fake(noise_scale=k), ansatz, seed=0).expectations(*values) for k in (1, 1 - 1e-12)
    )
    np.testing.assert_allclose(whole, almost, atol=1e-7)


@pytest.mark.parametrize("readout", ["sampled", "exact"])
@pytest.mark.parametrize("spec", [fake(), uniform()])
def test_drawn_shots_lie_within_five_standard_errors(spec, readout):
    ansatz = built("rot")
    inputs, weights = random_values(ansatz, 8)
    exact = open_backend(spec, ansatz, seed=0).expectations(inputs, weights)
    drawing = spec.model_copy(update={"shots": 4000, "readout": readout})
    values = open_backend(drawing, ansatz, seed=0).expectations(inputs, weights)
    assert not np.allclose(values, exact, atol=1e-6)
    np.testing.assert_allclose(values, exact, atol=5 / np.sqrt(4000))


@pytest.mark.parametrize("readout", ["sampled", "exact"])
@pytest.mark.parametrize("method", ["statevector", "matrix_product_state"])
def test_trajectories_lie_within_five_standard_errors(method, readout):
    ansatz = built("rot")
    inputs, weights = random_values(ansatz, 2)
    exact = open_backend(uniform(), ansatz, seed=0).expectations(inputs, weights)
    spec = uniform(method=method, shots=800, readout=readout)
    one, again, other = (open_backend(spec, ansatz, seed=seed) for seed in (0, 0, 1))
    values = one.expectations(inputs, weights)
    np.testing.assert_allclose(values, exact, atol=5 / np.sqrt(800))
    np.testing.assert_array_equal(values, again.expectations(inputs, weights))
    assert (values != other.expectations(inputs, weights)).any()


def test_exact_readout_spares_shots():
    ansatz = built("ry")
    inputs, weights = np.zeros((2000, 3)), np.zeros(6)
    spec = uniform(noise={"parameters": {"readout_1_given_0": 0.2}}, shots=100)
    sampled, exact = (
        open_backend(spec.model_copy(update={"readout": each}), ansatz, seed=0).expectations(inputs, weights)
        for each in ("sampled", "exact")
    )
    np.testing.assert_allclose(sampled.std(axis=0), 2 * np.sqrt(0.2 * 0.8 / 100), rtol=0.1)
    np.testing.assert_allclose(exact, 0.6, atol=1e-12)


def test_a_seed_repeats_the_shots_call_by_call():
    ansatz = built("ry")
    values = random_values(ansatz, 3)

    def two_calls(seed):
        executor = open_backend(fake(shots=100), ansatz, seed=seed)
        return [executor.expectations(*values) for _ in range(2)]

    first, again, other = two_calls(5), two_calls(5), two_calls(6)
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()
    assert (first[0] != other[0]).any()


@pytest.mark.parametrize("name", ["rot", "zz_feature_map", "mixed"])
def test_gradients_are_those_of_the_noisy_values(name):
    ansatz = built(name)
    executor = open_backend(fake(), ansatz, seed=0)
    inputs, weights = random_values(ansatz, 2)
    cotangent = np.random.default_rng(1).normal(size=(2, ansatz.num_outputs))
    by_inputs, by_weights = executor.vjp(inputs, weights, cotangent)

    def loss(flat):
        rows, tail = flat[: inputs.size].reshape(inputs.shape), flat[inputs.size :]
        return float((executor.expectations(rows, tail) * cotangent).sum())

    point, step = np.concatenate([inputs.ravel(), weights]), 1e-5
    steps = step * np.eye(len(point))
    expected = [(loss(point + each) - loss(point - each)) / (2 * step) for each in steps]
    np.testing.assert_allclose(np.concatenate([by_inputs.ravel(), by_weights]), expected, atol=1e-6)


def test_where_gates_may_be_the_device_says_and_the_report_tells():
    layout = (82, 83, 96)
    executor = open_backend(fake("fake_fez", transpile=TranspileSpec(layout=layout)), built("rx_rz"), seed=0)
    report = executor.report()
    assert set(report.layout) == set(layout)
    assert report.calibration == "2025-02-26T20:16:25+00:00"
    assert (report.depth, report.two_qubit_gates) == (executor.isa.circuit.depth(), 2)
    assert (report.backend, report.qubits, report.shots) == ("fake", 3, None)


def test_uniform_noise_has_neither_layout_nor_calibration():
    report = open_backend("aer_noisy", built("ry"), seed=0).report()
    assert (report.backend, report.layout, report.calibration) == ("aer_noisy", None, None)


def test_a_large_batch_is_cut_without_changing_the_values(monkeypatch):
    ansatz = built("ry")
    inputs, weights = random_values(ansatz, 7)
    executor = open_backend(fake(), ansatz, seed=0)
    whole = executor.expectations(inputs, weights)
    monkeypatch.setattr(programs, "_NUMBERS_PER_RUN", 3 * 2**3)
    np.testing.assert_allclose(executor.expectations(inputs, weights), whole, atol=1e-14)


@pytest.mark.parametrize("spec", [fake(), fake(shots=10), uniform(method="statevector", shots=10)])
def test_an_empty_batch_has_no_values(spec):
    executor = open_backend(spec, built("ry"), seed=0)
    assert executor.expectations(np.zeros((0, 3)), np.zeros(6)).shape == (0, 3)


def test_more_qubits_than_the_device_has_are_refused():
    with pytest.raises(
        BackendError, match="a qubit for each of the circuit.*6 qubits for the 5 of fake_manila"
    ):
        open_backend(fake(), build(AnsatzSpec(qubits=6, depth=1)), seed=0)


def test_a_density_matrix_too_wide_is_refused(monkeypatch):
    monkeypatch.setattr(programs, "MOST_DENSITY_QUBITS", 2)
    with pytest.raises(BackendError, match="at most 2 qubits.*3 physical"):
        open_backend(fake(), built("ry"), seed=0)


def test_a_device_whose_noise_meets_no_gate_is_refused(tmp_path):
    calibration = load_fake("fake_manila")
    quiet = {**calibration.properties, "gates": copy.deepcopy(calibration.properties["gates"])}
    for gate in quiet["gates"]:
        gate["parameters"] = []
    save_snapshot(type(calibration)(calibration.configuration, quiet), tmp_path / "quiet.json.gz")
    spec = uniform(noise={"snapshot": str(tmp_path / "quiet.json.gz")})
    with pytest.raises(BackendError, match="noise of a backend must attach to some gate"):
        open_backend(spec, built("ry"), seed=0)


def test_an_unknown_device_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'fake_fez'"):
        open_backend(fake("fake_fetz"), built("ry"), seed=0)


@pytest.mark.parametrize("name", ["fake_kingston", "fake_fez", "fake_torino", "fake_nairobi"])
def test_the_fake_entries_are_called_a_best_case(name):
    assert "best case" in find_backend(name).description
    assert "best case" in FakeSpec(kind="fake", device=name).description
