import itertools

import numpy as np
import pytest
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.quantum_info import Operator, SparsePauliOp
from qiskit_machine_learning.neural_networks import EffectiveDimension as Reference

from qhq.diagnostics.sampling import Probe, Sampling, mean_of
from qhq.diagnostics.weights import (
    dimension_of,
    effective_dimension,
    fisher_matrices,
    gradient_trend,
    gradient_variance,
    mean_two_design,
    two_design_variance,
)
from qhq.errors import ConfigError
from qhq.quantum.network import ExecutorNetwork

from .circuits import (
    all_zero,
    angle_grid,
    ansatz_of,
    haar_states,
    mean_zero,
    product_rx,
    random_pauli_circuit,
    shipped,
    stabilizer_states,
)

SURE = 0.999
"""Confidence of the intervals that a value must lie in: one test of a thousand may miss."""


def global_value(qubits):
    return (1 / 8) * (3 / 8) ** (qubits - 1)


def local_value(qubits):
    return 1 / (8 * qubits**2)


TOYS = [(all_zero, global_value), (mean_zero, local_value)]


@pytest.mark.parametrize(("cost", "expected"), TOYS)
@pytest.mark.parametrize("qubits", [1, 2, 3, 4])
def test_the_product_toy_has_its_exact_variance(cost, expected, qubits):
    grid = angle_grid(qubits, 5)  # squares of slopes hold frequencies up to 2
    values = np.hstack([np.zeros((len(grid), 1)), grid])
    slopes = Probe(product_rx(qubits, cost(qubits))).weight_gradients(values)[:, 0]
    np.testing.assert_allclose((slopes**2).mean(axis=0), expected(qubits), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("cost", "expected"), TOYS)
@pytest.mark.parametrize("qubits", [2, 4])
def test_the_product_toy_is_measured_within_its_interval(cost, expected, qubits):
    sampling = Sampling(20_000, seed=1, confidence=SURE).with_inputs_at_zero()
    found = gradient_variance(product_rx(qubits, cost(qubits)), sampling)
    assert found.mean.holds(expected(qubits))
    assert all(each.holds(expected(qubits)) for each in found.per_weight)
    assert found.mean.high - found.mean.low < 0.2 * expected(qubits)


def clifford_angles():
    """Angles of RZ RX RZ for the 24 one-qubit Cliffords, a 2-design."""
    found = {}
    for angles in itertools.product(np.pi / 2 * np.arange(4), repeat=3):
        circuit = QuantumCircuit(1)
        for name, angle in zip(("rz", "rx", "rz"), angles, strict=True):
            getattr(circuit, name)(angle, 0)
        matrix = Operator(circuit).data
        first = matrix.ravel()[np.flatnonzero(np.abs(matrix) > 1e-9)[0]]
        found.setdefault(tuple((np.round(matrix * first.conj() / abs(first), 6) + 0.0).ravel()), angles)
    return list(found.values())


def test_between_two_designs_the_variance_is_the_formula():
    x = ParameterVector("x", 7)
    circuit = QuantumCircuit(1)
    for name, angle in zip(("rz", "rx", "rz", "rx", "rz", "rx", "rz"), x, strict=True):
        getattr(circuit, name)(angle, 0)
    cliffords = clifford_angles()
    assert len(cliffords) == 24
    rows = np.array([[*before, 0.3, *after] for before in cliffords for after in cliffords])
    slopes = Probe(ansatz_of(circuit, [x[3]], [*x[:3], *x[4:]])).input_gradients(
        rows[:, [3, 0, 1, 2, 4, 5, 6]]
    )
    np.testing.assert_allclose((slopes**2).mean(), two_design_variance(1), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("qubits", "measured"), [(2, 0.118), (3, 0.0563), (4, 0.0312), (5, 0.0154), (6, 0.0090)]
)
def test_deep_random_circuits_are_plateaus(qubits, measured):
    middle = slice(5 * qubits**2 - qubits, 5 * qubits**2 + qubits)
    circuits = [random_pauli_circuit(qubits, 10 * qubits, seed) for seed in range(8)]
    found = [gradient_variance(each, Sampling(100, seed=7)).per_weight[middle] for each in circuits]
    estimate = mean_of([np.mean([each.value for each in row]) for row in found], SURE)
    formula = two_design_variance(qubits)
    # Ten columns a qubit are a 2-design but for a few percent; the recorded figures rest on fewer samples.
    assert estimate.low - 0.05 * formula < formula < estimate.high + 0.05 * formula
    np.testing.assert_allclose(estimate.value, measured, rtol=0.25)


@pytest.mark.parametrize(("qubits", "states"), [(1, 6), (2, 60)])
def test_the_variance_of_a_pauli_over_a_design_is_that_over_haar(qubits, states):
    design = stabilizer_states(qubits)
    assert len(design) == states
    pauli = SparsePauliOp("X" * qubits).to_matrix()
    values = np.einsum("bi,ij,bj->b", design.conj(), pauli, design).real
    np.testing.assert_allclose((values**2).mean(), 1 / (2**qubits + 1), rtol=0, atol=1e-12)


def test_the_variance_of_a_pauli_over_haar_states():
    signs = 1 - 2 * (np.arange(16) & 1)
    values = np.abs(haar_states(4, 20_000)) ** 2 @ signs
    assert mean_of(values**2, SURE).holds(1 / (2**4 + 1))


def test_idle_weights_are_named_and_left_out_of_the_mean():
    found = gradient_variance(shipped("sim_01"), Sampling(4000, confidence=SURE).with_inputs_at_zero())
    assert found.idle_weights == (4, 5, 6, 7)  # RZ before a measurement of Z
    assert found.idle_pairs == 1 - 4 / 32
    assert found.mean.holds(0.5)  # <Z> = cos(w), whose slope has the variance 1/2
    assert found.per_weight[4].value == 0


def test_a_sum_of_paulis_counts_by_its_squared_coefficients():
    toy = product_rx(3, mean_zero(3))
    np.testing.assert_allclose(mean_two_design(toy), two_design_variance(3) * 3 / 36)
    assert mean_two_design(shipped("reference")) == two_design_variance(4)


@pytest.mark.parametrize(
    ("cost", "slope"), [(all_zero, np.log2(3 / 8)), (lambda n: SparsePauliOp("I" * (n - 1) + "Z"), 0.0)]
)
def test_the_trend_is_the_slope_of_the_logarithm(cost, slope):
    sampling = Sampling(4000, seed=2, confidence=0.99).with_inputs_at_zero()
    found = gradient_trend(lambda qubits: product_rx(qubits, cost(qubits)), range(2, 7), sampling)
    assert found.slope.holds(slope)
    assert found.slope.high - found.slope.low < 0.3
    assert found.two_design == tuple(
        mean_two_design(product_rx(qubits, cost(qubits))) for qubits in range(2, 7)
    )


def test_where_nothing_moves_there_is_no_trend():
    def dead(qubits):
        w, x, circuit = ParameterVector("w", 1), ParameterVector("x", 1), QuantumCircuit(qubits)
        circuit.rx(x[0], 0)
        circuit.rz(w[0], 0)
        return ansatz_of(circuit, x, w)

    assert gradient_trend(dead, [2, 3, 4], Sampling(10)) is None
    found = gradient_variance(dead(2), Sampling(10))
    assert (found.mean.value, found.idle_pairs, found.idle_weights) == (0.0, 1.0, (0,))


def test_a_trend_needs_three_widths():
    with pytest.raises(ConfigError, match="at least three widths"):
        gradient_trend(lambda qubits: shipped("reference", qubits=qubits), [2, 3], Sampling(10))


def test_an_encoding_alone_is_refused():
    with pytest.raises(ConfigError, match="must have weights"):
        gradient_variance(shipped("reference", depth=0), Sampling(10))


def scale(data):
    return data / (2 * np.pi * np.log(data))


@pytest.mark.parametrize("data", [100, 10_000, 10**9])
def test_equal_eigenvalues_give_the_closed_form(data):
    found = dimension_of(np.full((7, 5), 3.0), data)
    np.testing.assert_allclose(found, 5 * np.log1p(scale(data)) / np.log(scale(data)), rtol=1e-12)


def test_with_much_data_the_dimension_goes_to_the_rank():
    spectrum, data = np.tile([1.0, 2.0, 0.0, 0.0], (3, 1)), 10**18
    expected = 2 + np.log(4 / 3 * 8 / 3) / np.log(scale(data))
    np.testing.assert_allclose(dimension_of(spectrum, data), expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["reference", "sim_14"])
def test_it_is_the_dimension_of_qiskit_machine_learning(name):
    ansatz, sampling = shipped(name), Sampling(6, seed=3)
    fisher = fisher_matrices(ansatz, sampling, num_inputs=5)
    found = effective_dimension(ansatz, sampling, num_inputs=5, data=5000)
    weights = sampling.draw(ansatz, "capacity/weights")[:, ansatz.num_inputs :]
    inputs = sampling.generator("capacity/inputs").uniform(-np.pi, np.pi, (5, ansatz.num_inputs))
    values = np.hstack([np.tile(inputs, (6, 1)), np.repeat(weights, 5, axis=0)])
    slopes = Probe(ansatz).weight_gradients(values)
    reference = Reference(ExecutorNetwork(ansatz), weights, inputs)
    # Outputs of one leave the slopes as they are: the Gaussian model, not the one of probabilities.
    theirs = reference.get_fisher_information(slopes, np.ones(slopes.shape[:2]))
    np.testing.assert_allclose(fisher, theirs.reshape(6, 5, *theirs.shape[1:]).mean(axis=1), atol=1e-12)
    normalised, _ = reference.get_normalized_fisher(theirs)
    expected = reference._get_effective_dimension(normalised, 5000)
    np.testing.assert_allclose(found.dimension.value, expected, rtol=1e-10)


def redundant(weights):
    """<Z> = cos(x + w0 + w1 + ...): all weights are one."""
    x, w, circuit = ParameterVector("x", 1), ParameterVector("w", weights), QuantumCircuit(1)
    circuit.ry(x[0], 0)
    for each in w:
        circuit.ry(each, 0)
    return ansatz_of(circuit, x, w)


def test_redundant_weights_count_once():
    found = effective_dimension(redundant(4), Sampling(200, seed=1), num_inputs=400, data=10_000)
    assert found.rank == 1
    # F is 1/2 in one direction for any weights, up to the mean over the drawn inputs.
    expected = np.log1p(4 * scale(10_000)) / np.log(scale(10_000))
    np.testing.assert_allclose(found.dimension.value, expected, rtol=0.01)
    np.testing.assert_allclose(found.share.value, expected / 4, rtol=0.01)


def test_weights_without_effect_have_no_dimension():
    x, w, circuit = ParameterVector("x", 1), ParameterVector("w", 1), QuantumCircuit(1)
    circuit.ry(x[0], 0)
    circuit.rz(w[0], 0)
    found = effective_dimension(ansatz_of(circuit, x, w), Sampling(10), num_inputs=5)
    assert (found.dimension.value, found.rank) == (0.0, 0)


def test_the_interval_covers_a_larger_sample():
    ansatz = shipped("brickwork")
    few = effective_dimension(ansatz, Sampling(100, seed=1, confidence=0.99), num_inputs=100)
    many = effective_dimension(ansatz, Sampling(500, seed=2), num_inputs=100)
    assert few.dimension.holds(many.dimension.value)


@pytest.mark.parametrize("data", [0, 1, 10])
def test_too_little_data_is_refused(data):
    with pytest.raises(ConfigError, match="enough for a dimension"):
        dimension_of(np.ones((2, 2)), data)
