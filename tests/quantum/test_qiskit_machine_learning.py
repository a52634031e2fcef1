"""What qiskit-machine-learning's users do with EstimatorQNN, done with AdjointNetwork in its place.

The situations are those that the package's own tests go through for ``EstimatorQNN``, ``VQR``,
``NeuralNetworkRegressor``, ``NeuralNetworkClassifier`` and ``TorchConnector``: numbers of inputs, weights and
observables, nothing of one of them, batches of any shape, losses, callbacks, warm starts, saving. Each holds
with and without measurements at the end of the circuit.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from qiskit.circuit import Parameter, ParameterVector, QuantumCircuit
from qiskit.circuit.library import efficient_su2, pauli_feature_map, real_amplitudes, zz_feature_map
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp
from qiskit_machine_learning.algorithms import VQR, NeuralNetworkClassifier, NeuralNetworkRegressor
from qiskit_machine_learning.circuit.library import qnn_circuit
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.exceptions import QiskitMachineLearningError
from qiskit_machine_learning.neural_networks import EstimatorQNN
from qiskit_machine_learning.optimizers import COBYLA, SLSQP
from torch import nn

from qhq.quantum import AdjointNetwork

ALTERNATIVES = pytest.mark.parametrize("measured", [False, True])


def both(circuit, *, measured=False, **keywords):
    stock = EstimatorQNN(circuit=circuit, estimator=StatevectorEstimator(), default_precision=0.0, **keywords)
    if measured:
        circuit = circuit.copy()
        circuit.measure_all()
    return AdjointNetwork(circuit=circuit, **keywords), stock


def assert_same(ours, stock, inputs, weights):
    np.testing.assert_allclose(ours.forward(inputs, weights), stock.forward(inputs, weights), atol=1e-12)
    for wanted in (False, True):
        ours.input_gradients = stock.input_gradients = wanted
        pairs = zip(ours.backward(inputs, weights), stock.backward(inputs, weights), strict=True)
        for one, other in pairs:
            assert (one is None) == (other is None)
            if other is not None:
                assert one.shape == other.shape
                np.testing.assert_allclose(one, other, atol=1e-10)


# Networks of every size


def rotations(inputs: int, weights: int, qubits: int):
    """A circuit with so many inputs and weights, and their parameters."""
    x, w = [Parameter(f"x{i}") for i in range(inputs)], [Parameter(f"w{i}") for i in range(weights)]
    circuit = QuantumCircuit(qubits)
    circuit.h(range(qubits))
    for index, each in enumerate(x):
        circuit.ry(each, index % qubits)
    for qubit in range(1, qubits):
        circuit.cx(qubit - 1, qubit)
    for index, each in enumerate(w):
        (circuit.rx if index % 2 else circuit.rz)(each * (1 + index), index % qubits)
    return circuit, x, w


OBSERVABLES = {
    1: [None, SparsePauliOp.from_list([("Z", 1), ("X", 1)]), [SparsePauliOp("Z"), SparsePauliOp("Y", 2.0)]],
    2: [None, SparsePauliOp(["ZZ", "XX"]), [SparsePauliOp("ZI"), SparsePauliOp(["XX", "IY"], [0.5, 3])]],
}


@ALTERNATIVES
@pytest.mark.parametrize(
    ("inputs", "weights", "qubits"),
    [(1, 1, 1), (1, 2, 1), (2, 1, 1), (2, 2, 2), (1, 0, 1), (2, 0, 2), (0, 1, 1), (0, 2, 2), (0, 0, 1)],
)
@pytest.mark.parametrize("measures", range(3))
def test_networks_of_every_size_are_those_of_stock(inputs, weights, qubits, measures, measured):
    circuit, x, w = rotations(inputs, weights, qubits)
    ours, stock = both(
        circuit,
        measured=measured,
        observables=OBSERVABLES[qubits][measures],
        input_params=x or None,
        weight_params=w or None,
    )
    draw = np.random.default_rng([inputs, weights, measures])
    values = draw.normal(size=weights) if weights else None
    for shape in [(), (1,), (3,), (2, 3)] if inputs else [None]:
        rows = None if shape is None else draw.normal(size=(*shape, inputs))
        assert_same(ours, stock, rows, values)
    if inputs == 1:
        assert_same(ours, stock, 0.3, values)
    if weights == 1:
        assert_same(ours, stock, rows, 0.3)


@pytest.mark.filterwarnings("ignore:.*num_qubits argument:DeprecationWarning")
@ALTERNATIVES
@pytest.mark.parametrize("features", [zz_feature_map(2, reps=1), pauli_feature_map(2, reps=1)])
def test_a_circuit_composed_for_networks_is_taken(features, measured):
    circuit, x, w = qnn_circuit(2, features, real_amplitudes(2, reps=1))
    ours, stock = both(circuit, measured=measured, input_params=x, weight_params=w)
    draw = np.random.default_rng(0)
    assert_same(ours, stock, draw.normal(size=(2, 2)), draw.normal(size=len(w)))


def test_parameters_keep_the_order_of_the_lists_and_not_of_their_names():
    vector = ParameterVector("a", 12)  # of which a[10] comes before a[2] by name
    circuit = QuantumCircuit(2)
    for index, each in enumerate(vector):
        circuit.ry(each * 0.1 * (index + 1), index % 2)
        circuit.cx(0, 1)
    x, w = [vector[11], vector[2], vector[10]], [vector[i] for i in (9, 0, 5, 3, 1, 4, 8, 7, 6)]
    ours, stock = both(circuit, input_params=x, weight_params=w)
    draw = np.random.default_rng(1)
    assert_same(ours, stock, draw.normal(size=(2, 3)), draw.normal(size=9))


def test_what_does_not_fit_is_refused_as_by_stock():
    circuit, x, w = rotations(2, 2, 2)
    for network in both(circuit, input_params=x, weight_params=w):
        with pytest.raises(QiskitMachineLearningError, match="incorrect shape"):
            network.forward([[1.0, 2.0, 3.0]], [1.0, 2.0])
        with pytest.raises(ValueError, match="reshape"):
            network.forward([[1.0, 2.0]], [1.0])


# Trainers


def regression():
    draw = np.random.default_rng(2)
    inputs = draw.uniform(-1, 1, (8, 1))
    return inputs, np.sin(2 * inputs[:, 0])


def one_qubit(measured, **keywords):
    circuit, x, w = rotations(1, 2, 1)
    return both(circuit, measured=measured, input_params=x, weight_params=w, **keywords)


@ALTERNATIVES
@pytest.mark.parametrize(
    ("optimiser", "loss"),
    [
        (COBYLA(maxiter=8), "squared_error"),  # by values alone
        (SLSQP(maxiter=3), "squared_error"),
        (SLSQP(maxiter=3), "absolute_error"),
    ],
)
def test_a_regressor_fits_as_over_stock(loss, optimiser, measured):
    inputs, targets = regression()
    fitted = []
    for network in one_qubit(measured):
        heard = []
        regressor = NeuralNetworkRegressor(
            network,
            optimizer=optimiser,
            loss=loss,
            initial_point=np.array([0.3, -0.2]),
            callback=lambda weights, value, heard=heard: heard.append(float(value)),
        )
        regressor.fit(inputs, targets)
        assert heard
        predicted = np.ravel(regressor.predict(inputs))
        fitted.append((regressor.weights, predicted, regressor.score(inputs, targets[:, None]), heard[0]))
    for ours, stock in zip(*fitted, strict=True):
        np.testing.assert_allclose(ours, stock, atol=1e-4)


def test_a_warm_start_goes_on_where_the_last_fit_ended():
    inputs, targets = regression()
    losses = []
    regressor = NeuralNetworkRegressor(
        one_qubit(True)[0],
        optimizer=SLSQP(maxiter=1),
        warm_start=True,
        initial_point=np.array([1.5, 1.0]),
        callback=lambda weights, value: losses.append(float(value)),
    )
    regressor.fit(inputs, targets)
    between = len(losses)
    regressor.fit(inputs, targets)
    assert losses[between] < losses[0]


def test_a_trained_regressor_is_saved_with_its_network(tmp_path):
    inputs, targets = regression()
    regressor = NeuralNetworkRegressor(
        one_qubit(True)[0], optimizer=SLSQP(maxiter=2), initial_point=np.array([0.3, -0.2])
    )
    regressor.fit(inputs, targets)
    path = str(tmp_path / "regressor.model")
    regressor.to_dill(path)
    loaded = NeuralNetworkRegressor.from_dill(path)
    np.testing.assert_array_equal(loaded.predict(inputs), regressor.predict(inputs))


@ALTERNATIVES
def test_vqr_is_a_regressor_over_the_composed_circuit(measured):
    draw = np.random.default_rng(3)
    inputs = draw.uniform(-1, 1, (6, 2))
    targets = inputs[:, 0] * inputs[:, 1]
    features, ansatz = zz_feature_map(2, reps=1), real_amplitudes(2, reps=1)
    start = draw.normal(size=ansatz.num_parameters)
    stock = VQR(
        feature_map=features,
        ansatz=ansatz,
        observable=SparsePauliOp("ZZ"),
        optimizer=SLSQP(maxiter=3),
        initial_point=start,
        estimator=StatevectorEstimator(default_precision=0.0),
    )
    stock.neural_network._default_precision = 0.0
    circuit = features.compose(ansatz)
    if measured:
        circuit.measure_all()
    network = AdjointNetwork(
        circuit=circuit,
        observables=SparsePauliOp("ZZ"),
        input_params=features.parameters,
        weight_params=ansatz.parameters,
    )
    ours = NeuralNetworkRegressor(network, optimizer=SLSQP(maxiter=3), initial_point=start)
    for model in (ours, stock):
        model.fit(inputs, targets)
    np.testing.assert_allclose(np.ravel(ours.predict(inputs)), np.ravel(stock.predict(inputs)), atol=1e-4)


def labelled():
    draw = np.random.default_rng(4)
    inputs = draw.uniform(-1, 1, (10, 2))
    return inputs, np.where(inputs.sum(axis=1) > 0, 1, -1)


@ALTERNATIVES
@pytest.mark.parametrize(
    ("loss", "one_hot"), [("squared_error", False), ("absolute_error", False), ("squared_error", True)]
)
def test_a_classifier_decides_as_over_stock(loss, one_hot, measured):
    inputs, labels = labelled()
    circuit, x, w = rotations(2, 2, 2)
    observables = [SparsePauliOp("ZI"), SparsePauliOp("IZ")] if one_hot else SparsePauliOp("ZZ")
    fitted = []
    for network in both(circuit, measured=measured, observables=observables, input_params=x, weight_params=w):
        classifier = NeuralNetworkClassifier(
            network,
            optimizer=SLSQP(maxiter=2),
            loss=loss,
            one_hot=one_hot,
            initial_point=np.array([0.4, 0.1]),
        )
        classifier.fit(inputs, (labels > 0).astype(int) if one_hot else labels)
        fitted.append((classifier.weights, classifier.predict(inputs)))
    np.testing.assert_allclose(fitted[0][0], fitted[1][0], atol=1e-4)
    np.testing.assert_array_equal(fitted[0][1], fitted[1][1])


# TorchConnector


@ALTERNATIVES
@pytest.mark.parametrize("shape", [(2,), (1, 2), (5, 2)])
def test_a_connector_goes_forward_and_back_as_over_stock(shape, measured):
    circuit, x, w = rotations(2, 2, 2)
    results = []
    for network in both(
        circuit,
        measured=measured,
        observables=[SparsePauliOp("ZI"), SparsePauliOp("XX")],
        input_params=x,
        weight_params=w,
        input_gradients=True,
    ):
        connector = TorchConnector(network, initial_weights=np.array([0.3, -0.7]))
        rows = torch.tensor(np.random.default_rng(5).normal(size=shape), dtype=torch.float32)
        rows.requires_grad_()
        values = connector(rows)
        values.square().sum().backward()
        results.append((values.detach(), rows.grad, connector.weight.grad))
    for ours, stock in zip(*results, strict=True):
        np.testing.assert_allclose(ours, stock, atol=1e-6)


def test_a_hybrid_model_trains_to_the_same_weights():
    features, ansatz = zz_feature_map(2, reps=1), efficient_su2(2, reps=0)
    circuit = features.compose(ansatz)
    trained = []
    for network in both(
        circuit,
        measured=True,
        input_params=features.parameters,
        weight_params=ansatz.parameters,
        input_gradients=True,
    ):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            start = np.linspace(-1, 1, ansatz.num_parameters)
            model = nn.Sequential(
                nn.Linear(3, 2), TorchConnector(network, initial_weights=start), nn.Linear(1, 1)
            )
        inputs = torch.tensor(np.random.default_rng(6).normal(size=(2, 3)), dtype=torch.float32)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            optimiser.zero_grad()
            (model(inputs) - 1).square().mean().backward()
            optimiser.step()
        trained.append([each.detach() for each in model.parameters()])
    for ours, stock in zip(*trained, strict=True):
        np.testing.assert_allclose(ours, stock, atol=1e-5)
