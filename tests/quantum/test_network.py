import numpy as np
import pytest
from qiskit_machine_learning.neural_networks import NeuralNetwork

from qhq.backends.registry import open_backend
from qhq.errors import BackendError
from qhq.quantum.network import ExecutorNetwork
from tests.ansatz.circuits import built, random_values


@pytest.fixture
def network():
    ansatz = built("rot")
    return ExecutorNetwork(ansatz, open_backend("aer", ansatz, seed=0))


def test_sizes_are_the_ansatzs(network):
    assert isinstance(network, NeuralNetwork)
    assert (network.num_inputs, network.num_weights, network.output_shape) == (2, 6, (3,))
    assert network.input_gradients


@pytest.mark.parametrize("leading", [(), (4,), (2, 3)])
def test_forward_and_backward_keep_leading_dimensions(network, leading):
    ansatz = built("rot")
    inputs, weights = random_values(ansatz, int(np.prod(leading)))
    inputs = inputs.reshape(*leading, 2)
    by_inputs, by_weights = network.backward(inputs, weights)
    batch = leading or (1,)
    assert network.forward(inputs, weights).shape == (*batch, 3)
    assert (by_inputs.shape, by_weights.shape) == ((*batch, 3, 2), (*batch, 3, 6))


def test_the_jacobian_contracts_to_the_product(network):
    inputs, weights = random_values(built("rot"), 3)
    cotangent = np.random.default_rng(1).normal(size=(3, 3))
    by_inputs, by_weights = network.backward(inputs, weights)
    expected = network.executor.vjp(inputs, weights, cotangent)
    np.testing.assert_allclose(np.einsum("bo,boi->bi", cotangent, by_inputs), expected[0], atol=1e-12)
    np.testing.assert_allclose(np.einsum("bo,bow->w", cotangent, by_weights), expected[1], atol=1e-12)


def test_missing_inputs_are_named(network):
    with pytest.raises(BackendError, match="inputs of an executor must have the shape"):
        network.forward(None, np.zeros(6))


def test_a_closed_network_says_how_to_open_it():
    closed = ExecutorNetwork(built("rot"))
    with pytest.raises(BackendError, match=r"must be opened on a backend.*reopen"):
        closed.forward(np.zeros((1, 2)), np.zeros(6))
