"""Aer without noise: exact and sampled values, and what is measured together."""

import numpy as np
import pytest
from qiskit.circuit import Parameter, ParameterVector, QuantumCircuit
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.primitives import StatevectorSampler
from qiskit.quantum_info import SparsePauliOp, Statevector, random_pauli_list
from qiskit_aer.primitives import EstimatorV2, SamplerV2

from qhq.ansatz.assemble import Ansatz, build, pauli_observables
from qhq.ansatz.spec import AnsatzSpec, load_ansatz
from qhq.backends import gradients
from qhq.backends.local import aer
from qhq.backends.local.shots import measured_groups
from qhq.backends.noisy import AerSpec
from qhq.backends.registry import open_backend
from qhq.errors import BackendError, ConfigError
from tests.ansatz.circuits import SPECS, built, random_values, statevector_expectations

STANDARD = get_standard_gate_name_mapping()

PARAMETRIC = [
    name for name, gate in STANDARD.items() if gate.params and name not in ("global_phase", "delay")
]

EXACT = AerSpec(kind="aer", name="aer", threads=1)

SAMPLED = AerSpec(kind="aer", name="aer_shots", shots=2000, threads=1)


@pytest.fixture
def pubs(monkeypatch):
    """What primitives were sent, one list a call."""
    sent = []
    for primitive in (EstimatorV2, SamplerV2):
        run = primitive.run

        def spy(self, batch, *arguments, _run=run, **options):
            sent.append(list(batch))
            return _run(self, sent[-1], *arguments, **options)

        monkeypatch.setattr(primitive, "run", spy)
    return sent


@pytest.mark.parametrize("name", SPECS)
def test_exact_expectations_are_the_statevectors(name):
    ansatz = built(name)
    inputs, weights = random_values(ansatz, 4)
    values = open_backend(EXACT, ansatz, seed=0).expectations(inputs, weights)
    np.testing.assert_allclose(values, statevector_expectations(ansatz, inputs, weights), atol=1e-12)


@pytest.mark.parametrize("name", SPECS)
def test_the_exact_product_is_the_finite_difference(name):
    ansatz = built(name)
    executor = open_backend(EXACT, ansatz, seed=0)
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


@pytest.mark.parametrize("name", PARAMETRIC)
def test_every_standard_gate_takes_a_batch_of_parameters(name):
    gate = STANDARD[name]
    x, circuit = ParameterVector("x", len(gate.params)), QuantumCircuit(5)
    for qubit in range(5):
        circuit.u(0.3 + qubit, 0.7 * qubit, 0.2, qubit)
    circuit.append(type(gate)(*x), range(gate.num_qubits))
    circuit.h(range(5))
    ansatz = Ansatz(circuit, tuple(x), (), pauli_observables(["Z0", "X1 Y2", "ZZZZZ"], 5))
    inputs, _ = random_values(ansatz, 3)
    values = open_backend(EXACT, ansatz, seed=0).expectations(inputs, [])
    np.testing.assert_allclose(values, statevector_expectations(ansatz, inputs, np.zeros(0)), atol=1e-12)


@pytest.mark.parametrize("method", ["density_matrix", "matrix_product_state"])
def test_other_methods_give_the_same_values(method):
    ansatz = built("rot")
    inputs, weights = random_values(ansatz, 4)
    exact = statevector_expectations(ansatz, inputs, weights)
    spec = EXACT.model_copy(update={"method": method})
    values = open_backend(spec, ansatz, seed=0).expectations(inputs, weights)
    np.testing.assert_allclose(values, exact, atol=1e-10)
    sampled = open_backend(spec.model_copy(update={"shots": 2000}), ansatz, seed=0)
    np.testing.assert_allclose(sampled.expectations(inputs, weights), exact, atol=5 / np.sqrt(2000))


def test_a_users_own_gate_is_opened():
    x, inner = Parameter("x"), QuantumCircuit(2, name="mine")
    inner.ry(2 * x, 0)
    inner.cx(0, 1)
    circuit = QuantumCircuit(2)
    circuit.append(inner.to_gate(), [1, 0])
    ansatz = Ansatz(circuit, (x,), (), pauli_observables("z_each", 2))
    executor = open_backend(EXACT, ansatz, seed=0)
    inputs = np.array([[0.4], [1.0]])
    values = executor.expectations(inputs, [])
    np.testing.assert_allclose(values, statevector_expectations(ansatz, inputs, np.zeros(0)), atol=1e-12)
    np.testing.assert_allclose(executor.vjp(inputs, [], values)[0], -4 * values[:, :1] * np.sin(2 * inputs))


def test_equal_rows_give_equal_exact_values_and_calls_repeat():
    ansatz = built("mixed")
    executor = open_backend(EXACT, ansatz, seed=0)
    inputs, weights = random_values(ansatz, 1)
    values = executor.expectations(np.repeat(inputs, 5, axis=0), weights)
    np.testing.assert_array_equal(values, np.repeat(values[:1], 5, axis=0))
    np.testing.assert_array_equal(executor.expectations(inputs, weights), values[:1])


@pytest.mark.parametrize("name", ["rot", "reuploading"])
def test_sampled_expectations_lie_within_five_standard_errors(name):
    ansatz = built(name)
    inputs, weights = random_values(ansatz, 8)
    values = open_backend(SAMPLED, ansatz, seed=0).expectations(inputs, weights)
    exact = statevector_expectations(ansatz, inputs, weights)
    assert not np.allclose(values, exact, atol=1e-6)
    np.testing.assert_allclose(values, exact, atol=5 / np.sqrt(2000))


def test_a_sampled_product_lies_near_the_exact_one():
    ansatz = built("rot")
    inputs, weights = random_values(ansatz, 2)
    cotangent = np.eye(3)[:2]
    sampled = open_backend(SAMPLED, ansatz, seed=0).vjp(inputs, weights, cotangent)
    exact = open_backend(EXACT, ansatz, seed=0).vjp(inputs, weights, cotangent)
    # Half the difference of two averages, and weights sum over two rows.
    np.testing.assert_allclose(sampled[0], exact[0], atol=5 / np.sqrt(2 * 2000))
    np.testing.assert_allclose(sampled[1], exact[1], atol=5 / np.sqrt(2000))


def test_a_seed_repeats_the_samples_call_by_call():
    ansatz = built("ry")
    inputs, weights = random_values(ansatz, 3)

    def two_calls(seed):
        executor = open_backend(SAMPLED, ansatz, seed=seed)
        return [executor.expectations(inputs, weights) for _ in range(2)]

    first, again, other = two_calls(5), two_calls(5), two_calls(6)
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()
    assert (first[0] != other[0]).any()


def test_equal_rows_are_sampled_independently():
    ansatz = built("ry")
    inputs, weights = random_values(ansatz, 1)
    values = open_backend(SAMPLED, ansatz, seed=0).expectations(np.repeat(inputs, 200, axis=0), weights)
    spread = np.sqrt((1 - statevector_expectations(ansatz, inputs, weights)[0] ** 2) / 2000)
    np.testing.assert_allclose(values.std(axis=0), spread, rtol=0.3)


def test_a_batch_with_all_observables_is_one_broadcast_pub(pubs):
    ansatz = built("ry")
    open_backend(EXACT, ansatz, seed=0).expectations(*random_values(ansatz, 64))
    ((pub,),) = pubs
    assert (pub[2].shape, len(pub[1])) == ((64, 1), 3)


def test_all_shifts_of_a_batch_are_one_broadcast_pub(pubs):
    ansatz = built("ry")
    executor = open_backend(EXACT, ansatz, seed=0)
    executor.vjp(*random_values(ansatz, 16), np.ones((16, 3)))
    ((pub,),) = pubs
    # Two shifts of nine angles for sixteen samples.
    assert pub[2].shape == (2 * 9 * 16, 1)


@pytest.mark.parametrize(("name", "settings"), [("ry", 1), ("rot", 2)])
def test_a_sampled_batch_is_one_pub_a_setting(pubs, name, settings):
    ansatz = built(name)
    open_backend(SAMPLED, ansatz, seed=0).expectations(*random_values(ansatz, 64))
    assert [[pub[1].shape for pub in call] for call in pubs] == [[(64,)] * settings]


@pytest.mark.parametrize("spec", [EXACT, SAMPLED])
def test_a_large_batch_is_cut_without_changing_the_exact_values(monkeypatch, spec):
    ansatz = built("ry")
    inputs, weights = random_values(ansatz, 7)
    whole = open_backend(EXACT, ansatz, seed=0)
    cotangent = np.ones((7, 3))
    expected = whole.expectations(inputs, weights), *whole.vjp(inputs, weights, cotangent)
    for module in (aer, gradients):
        monkeypatch.setattr(module, "ROWS_PER_PUB", 5)
    monkeypatch.setattr(aer, "SAMPLES_PER_PUB", 5000)
    cut = open_backend(spec, ansatz, seed=0)
    got = cut.expectations(inputs, weights), *cut.vjp(inputs, weights, cotangent)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12 if spec is EXACT else 1.0)


@pytest.mark.parametrize("spec", [EXACT, SAMPLED])
def test_an_empty_batch_has_no_values(spec):
    ansatz = built("ry")
    executor = open_backend(spec, ansatz, seed=0)
    _, weights = random_values(ansatz, 1)
    assert executor.expectations(np.zeros((0, 3)), weights).shape == (0, 3)
    by_inputs, by_weights = executor.vjp(np.zeros((0, 3)), weights, np.zeros((0, 3)))
    np.testing.assert_array_equal(by_weights, np.zeros(6))
    assert by_inputs.shape == (0, 3)


def test_an_ansatz_without_weights_runs():
    ansatz = build(AnsatzSpec(qubits=2, depth=0))
    executor = open_backend(EXACT, ansatz, seed=0)
    inputs = np.array([[0.3, 1.2]])
    np.testing.assert_allclose(executor.expectations(inputs, []), np.cos(inputs), atol=1e-12)
    by_inputs, by_weights = executor.vjp(inputs, [], np.ones((1, 2)))
    np.testing.assert_allclose(by_inputs, -np.sin(inputs), atol=1e-12)
    assert by_weights.shape == (0,)


def test_shapes_are_checked_at_the_border():
    ansatz = built("ry")
    executor = open_backend(EXACT, ansatz, seed=0)
    inputs, weights = random_values(ansatz, 2)
    with pytest.raises(BackendError, match=r"inputs of an executor must have the shape \(B, 3\)"):
        executor.expectations(inputs[0], weights)
    with pytest.raises(BackendError, match=r"weights of an executor must have the shape \(6,\)"):
        executor.expectations(inputs, weights[1:])
    with pytest.raises(BackendError, match=r"cotangent of an executor must have the shape \(2, 3\)"):
        executor.vjp(inputs, weights, np.ones((3, 3)))


def test_the_report_counts_the_circuit_as_run():
    report = open_backend(SAMPLED, build(load_ansatz("reference")), seed=0).report()
    assert (report.backend, report.qubits, report.depth, report.two_qubit_gates) == ("aer_shots", 4, 6, 4)
    assert (report.shots, report.layout, report.job_ids, report.qpu_seconds) == (2000, None, (), 0.0)


def test_a_backend_is_opened_by_name():
    assert open_backend("aer", built("ry"), seed=0).report().backend == "aer"


def test_an_unknown_name_is_refused():
    with pytest.raises(ConfigError, match="Did you mean 'aer'"):
        open_backend("aerr", built("ry"), seed=0)


def observables(*terms):
    return [SparsePauliOp.from_list(each) for each in terms]


def test_commuting_operators_share_one_setting():
    groups = measured_groups(observables([("ZII", 1)], [("IZI", 1)], [("ZIZ", 2), ("III", 3)]))
    assert [group.letters for group in groups] == ["ZZZ"]


@pytest.mark.parametrize(
    ("labels", "settings"), [(("XX", "XI", "ZI"), 2), (("XY", "YX", "ZZ"), 3), (("IX", "ZI"), 1)]
)
def test_operators_that_clash_on_a_qubit_are_measured_apart(labels, settings):
    assert len(measured_groups([SparsePauliOp(label) for label in labels])) == settings


@pytest.mark.parametrize("seed", range(3))
def test_groups_together_estimate_every_observable(seed):
    generator = np.random.default_rng(seed)
    circuit = QuantumCircuit(3)
    for qubit in range(3):
        circuit.u(*generator.uniform(-3, 3, 3), qubit)
        circuit.cx(qubit, (qubit + 1) % 3)
    operators = [
        SparsePauliOp(random_pauli_list(3, 4, seed=10 * seed + index, phase=False), generator.normal(size=4))
        for index in range(3)
    ]
    shots = 20_000
    total = np.zeros((1, 3))
    for group in measured_groups(operators):
        job = StatevectorSampler(seed=seed).run([(group.measure(circuit), np.zeros((1, 0)))], shots=shots)
        total += group.contribution(job.result()[0].data.meas)
    exact = [Statevector(circuit).expectation_value(each).real for each in operators]
    scale = max(np.abs(each.coeffs).sum() for each in operators)
    np.testing.assert_allclose(total[0], exact, atol=5 * scale / np.sqrt(shots))
