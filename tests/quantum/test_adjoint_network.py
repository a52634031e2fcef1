"""AdjointNetwork gives what EstimatorQNN gives, in every use of qiskit-machine-learning."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.circuit.library import real_amplitudes, zz_feature_map
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import Operator, Pauli, SparsePauliOp
from qiskit_machine_learning.algorithms import NeuralNetworkRegressor
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.neural_networks import EstimatorQNN
from qiskit_machine_learning.optimizers import SLSQP

from qhq.errors import ConfigError
from qhq.quantum import AdjointNetwork

OBSERVABLES = [SparsePauliOp("ZI"), SparsePauliOp(["XX", "IZ"], [0.5, -0.3])]


def both(observables=OBSERVABLES, *, inputs=True, weights=True, input_gradients=True):
    features, ansatz = zz_feature_map(2, reps=1), real_amplitudes(2, reps=1)
    circuit = QuantumCircuit(2)
    keywords = {}
    if inputs:
        circuit.compose(features, inplace=True)
        keywords["input_params"] = list(features.parameters)
    if weights:
        circuit.compose(ansatz, inplace=True)
        keywords["weight_params"] = list(ansatz.parameters)
    keywords |= {"circuit": circuit, "observables": observables, "input_gradients": input_gradients}
    stock = EstimatorQNN(estimator=StatevectorEstimator(), default_precision=0.0, **keywords)
    return AdjointNetwork(**keywords), stock


def data(seed: int, rows: int = 3):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(rows, 2)), generator.normal(size=4)


@pytest.mark.parametrize(
    "observables", [None, SparsePauliOp("ZZ"), OBSERVABLES, [Pauli("XZ")], [Operator(Pauli("YI"))]]
)
@pytest.mark.parametrize("input_gradients", [True, False])
def test_values_and_jacobians_equal_stock(observables, input_gradients):
    ours, stock = both(
        observables if not isinstance(observables, list) or isinstance(observables[0], SparsePauliOp)
        else [SparsePauliOp.from_operator(Operator(each)) for each in observables],
        input_gradients=input_gradients,
    )  # fmt: skip
    ours = AdjointNetwork(
        circuit=ours.circuit, observables=observables, input_params=ours.input_params,
        weight_params=ours.weight_params, input_gradients=input_gradients,
    )  # fmt: skip
    inputs, weights = data(0)
    np.testing.assert_allclose(ours.forward(inputs, weights), stock.forward(inputs, weights), atol=1e-12)
    for one, other in zip(ours.backward(inputs, weights), stock.backward(inputs, weights), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(one, other, atol=1e-10)


@pytest.mark.parametrize(("inputs", "weights"), [(True, False), (False, True)])
def test_networks_without_inputs_or_weights_equal_stock(inputs, weights):
    ours, stock = both(inputs=inputs, weights=weights)
    values = (data(1)[0] if inputs else [], data(1)[1] if weights else [])
    np.testing.assert_allclose(ours.forward(*values), stock.forward(*values), atol=1e-12)
    for one, other in zip(ours.backward(*values), stock.backward(*values), strict=True):
        if other is not None and np.size(other):
            np.testing.assert_allclose(one, other, atol=1e-10)


def test_torch_connector_equals_stock():
    gradients = []
    inputs, weights = data(2, rows=5)
    for network in both():
        layer = TorchConnector(network, initial_weights=weights)
        rows = torch.tensor(inputs, dtype=torch.float32, requires_grad=True)
        (layer(rows) ** 2).sum().backward()
        gradients.append((layer(rows).detach(), rows.grad, layer.weight.grad))
    for ours, stock in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, stock, atol=1e-6)


def test_regressor_equals_stock():
    inputs, weights = data(3, rows=8)
    target = np.sin(inputs.sum(axis=1))
    fitted = []
    for network in both(observables=None, input_gradients=False):
        regressor = NeuralNetworkRegressor(
            network, optimizer=SLSQP(maxiter=5), loss="squared_error", initial_point=weights
        )
        regressor.fit(inputs, target)
        fitted.append((regressor.weights, regressor.predict(inputs), regressor.score(inputs, target)))
    for ours, stock in zip(*fitted, strict=True):
        np.testing.assert_allclose(ours, stock, atol=1e-5)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_copies_give_the_same(again):
    network, _ = both()
    np.testing.assert_array_equal(again(network).forward(*data(4)), network.forward(*data(4)))


def test_faults_are_refused():
    theta = Parameter("theta")
    circuit = QuantumCircuit(1)
    circuit.rx(theta, 0)
    with pytest.raises(ConfigError, match="theta"):
        AdjointNetwork(circuit=circuit)
    with pytest.raises(ConfigError, match="observable"):
        AdjointNetwork(circuit=circuit, observables=["no operator"], weight_params=[theta])
    with pytest.raises(ConfigError):
        AdjointNetwork(circuit=circuit, observables=SparsePauliOp("ZZ"), weight_params=[theta])
    circuit.measure_all()
    circuit.rx(theta, 0)
    with pytest.raises(ConfigError, match="measure"):
        AdjointNetwork(circuit=circuit, weight_params=[theta])
