import numpy as np
import pytest
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit_machine_learning.neural_networks import EffectiveDimension as Reference

from qhq.diagnostics.capacity import dimension_of, effective_dimension, fisher_matrices
from qhq.diagnostics.probe import Probe
from qhq.diagnostics.sampling import Sampling
from qhq.errors import ConfigError
from qhq.quantum.network import ExecutorNetwork

from .circuits import ansatz_of, shipped


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
