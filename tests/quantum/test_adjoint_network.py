"""AdjointNetwork gives what EstimatorQNN gives, in every use of qiskit-machine-learning."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from qiskit import transpile
from qiskit.circuit import ClassicalRegister, Clbit, Gate, Parameter, ParameterVector, QuantumCircuit
from qiskit.circuit.library import RXGate, real_amplitudes, zz_feature_map
from qiskit.primitives import StatevectorEstimator
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import Clifford, Operator, Pauli, PauliList, SparseObservable, SparsePauliOp
from qiskit_machine_learning.algorithms import NeuralNetworkRegressor
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.neural_networks import EstimatorQNN
from qiskit_machine_learning.optimizers import SLSQP
from torch import nn

from qhq.errors import ConfigError
from qhq.quantum import AdjointNetwork

OBSERVABLES = [SparsePauliOp("ZI"), SparsePauliOp(["XX", "IZ"], [0.5, -0.3])]


def both(observables=OBSERVABLES, *, inputs=True, weights=True, input_gradients=True, reference=True):
    features, ansatz = zz_feature_map(2, reps=1), real_amplitudes(2, reps=1)
    circuit = QuantumCircuit(2)
    keywords = {}
    if inputs:
        circuit.compose(features, inplace=True)
        keywords["input_params"] = list(features.parameters)
    if weights:
        circuit.compose(ansatz, inplace=True)
        keywords["weight_params"] = list(ansatz.parameters)
    keywords |= {"circuit": circuit, "observables": observables}
    if input_gradients is not None:
        keywords["input_gradients"] = input_gradients
    stock = None
    if reference:
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


# Observables: whatever EstimatorQNN takes, and one output each.

LABELLED = SparsePauliOp(["ZZ", "XX"], [0.5, -0.3])


@pytest.mark.parametrize(
    ("given", "meant"),
    {
        "sparse observable": (SparseObservable.from_list([("ZZ", 0.5), ("XX", -0.3)]), [LABELLED]),
        "sparse observables": ([SparseObservable.from_label("ZZ")] * 2, [Pauli("ZZ")] * 2),
        "projectors": (
            SparseObservable.from_list([("0+", 1.0)]),
            [SparsePauliOp(["II", "ZI", "IX", "ZX"], [0.25] * 4)],
        ),
        "pauli list": (PauliList(["ZZ", "-XX", "IY"]), [Pauli("ZZ"), Pauli("-XX"), Pauli("IY")]),
        "list of pauli lists": ([PauliList(["ZZ", "XX"]), "IY"], [Pauli("ZZ"), Pauli("XX"), Pauli("IY")]),
        "label": ("ZX", [Pauli("ZX")]),
        "labels": (["ZX", "IY"], [Pauli("ZX"), Pauli("IY")]),
        "mapping": ({"ZZ": 0.5, "XX": -0.3}, [LABELLED]),
        "mappings": ([{"ZZ": 0.5, "XX": -0.3}, {"IY": 2.0}], [LABELLED, SparsePauliOp("IY", 2.0)]),
        "operator": (Operator(LABELLED), [LABELLED]),
        "operators": ([Operator(LABELLED), Operator(Pauli("YI"))], [LABELLED, Pauli("YI")]),
        "clifford": (Clifford.from_label("XZ"), [Pauli("XZ")]),
        "mixed": ((Pauli("ZI"), LABELLED), [Pauli("ZI"), LABELLED]),
        "generator": ((Pauli(label) for label in ("ZI", "IX")), [Pauli("ZI"), Pauli("IX")]),
        "complex zero": (SparsePauliOp(["ZZ", "XX"], [0.5 + 0j, -0.3 + 0j]), [LABELLED]),
        "cancelling": (SparsePauliOp(["ZZ", "XX", "YY", "YY"], [0.5, -0.3, 1j, -1j]), [LABELLED]),
    }.values(),
)
def test_each_form_of_an_observable_is_what_it_means(given, meant):
    ours, _ = both(given, reference=False)
    _, stock = both(meant)
    inputs, weights = data(5)
    assert ours.output_shape == stock.output_shape == (len(meant),)
    assert len(ours.observables) == len(meant)
    np.testing.assert_allclose(ours.forward(inputs, weights), stock.forward(inputs, weights), atol=1e-12)
    for one, other in zip(ours.backward(inputs, weights), stock.backward(inputs, weights), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-10)


@pytest.mark.parametrize(
    "given",
    [
        3,
        "QQ",
        [["ZZ", "XX"]],
        [("ZZ", 1.0)],
        np.eye(4),
        {"ZZ": "much"},
        SparsePauliOp("ZZ", np.array([Parameter("c")])),
        SparsePauliOp("ZZ", float("nan")),
    ],
)
def test_what_is_no_observable_is_refused_and_shown(given):
    with pytest.raises(ConfigError, match=r"must be an operator.*Got .*Pass SparsePauliOp"):
        both(given, reference=False)


@pytest.mark.parametrize(
    "given", [SparsePauliOp("ZZ", 1 + 0.5j), Pauli("iZZ"), Operator(np.triu(np.ones((4, 4)))), {"ZZ": 1j}]
)
def test_what_is_not_hermitian_is_refused_with_its_coefficient(given):
    with pytest.raises(ConfigError, match=r"must be Hermitian.*with the coefficient"):
        both(given, reference=False)


@pytest.mark.parametrize("given", [[], ()])
def test_no_observable_at_all_is_refused(given):
    with pytest.raises(ConfigError, match="at least one observable"):
        both(given, reference=False)


def test_a_width_that_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="3 qubits"):
        both("ZZZ", reference=False)


# Measurements at the end are not the network's business.


def measured(circuit, way):
    circuit = circuit.copy()
    if way == "measure_all":
        circuit.measure_all()
    elif way == "measure_active":
        circuit.measure_active()
    elif way == "own register":
        circuit.add_register(ClassicalRegister(2, "mine"))
        circuit.measure([1, 0], [0, 1])
    elif way == "one qubit":
        circuit.add_register(ClassicalRegister(1, "one"))
        circuit.measure(0, 0)
    elif way == "loose bits":
        circuit.add_bits([Clbit(), Clbit()])
        circuit.measure([0, 1], [0, 1])
    elif way == "before a barrier":
        circuit.add_register(ClassicalRegister(2, "mine"))
        circuit.measure(0, 0)
        circuit.barrier()
        circuit.measure(1, 1)
        circuit.delay(10, 0)
    elif way == "twice":
        circuit.measure_all()
        circuit.measure_all()
    return circuit


@pytest.mark.parametrize(
    "way",
    ["measure_all", "measure_active", "own register", "one qubit", "loose bits", "before a barrier", "twice"],
)
def test_final_measurements_change_nothing(way):
    plain, _ = both(reference=False)
    circuit = measured(plain.circuit, way)
    ours = AdjointNetwork(
        circuit=circuit,
        observables=OBSERVABLES,
        input_params=plain.input_params,
        weight_params=plain.weight_params,
    )
    assert ours.circuit == circuit
    np.testing.assert_array_equal(ours.forward(*data(6)), plain.forward(*data(6)))


def test_a_gate_on_another_qubit_may_follow_a_measurement():
    circuit = QuantumCircuit(2, 1)
    circuit.ry(0.3, 0)
    circuit.measure(0, 0)
    circuit.rx(0.2, 1)
    values = AdjointNetwork(circuit=circuit, observables=["IZ", "ZI"]).forward(None, None)
    np.testing.assert_allclose(values, [[np.cos(0.3), np.cos(0.2)]], atol=1e-12)


@pytest.mark.parametrize("after", ["gate", "condition", "reset"])
def test_a_measurement_in_the_middle_collapses_the_state(after):
    circuit = QuantumCircuit(2, 1)
    circuit.h(0)
    circuit.measure(0, 0)
    if after == "gate":
        circuit.h(0)
    elif after == "condition":
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.x(1)
    else:
        circuit.reset(0)
    wanted = {"gate": [0, 1], "condition": [0, 0], "reset": [1, 1]}[after]
    values = AdjointNetwork(circuit=circuit, observables=["IZ", "ZI"]).forward(None, None)
    np.testing.assert_allclose(values, [wanted], atol=1e-12)


@pytest.mark.parametrize("named", ["own", "rx"])
def test_a_gate_whose_matrix_is_not_its_definition_is_refused(named):
    class Twofold(Gate):
        def _define(self):
            self.definition = QuantumCircuit(1)
            self.definition.ry(self.params[0], 0)

        def __array__(self, dtype=None, copy=None):
            return RXGate(float(self.params[0])).to_matrix()

    x, circuit = Parameter("x"), QuantumCircuit(1)
    circuit.append(Twofold(named, 1, [x]), [0])
    with pytest.raises(ConfigError, match="Twofold.*definition agree with its matrix"):
        AdjointNetwork(circuit=circuit, input_params=[x])


def test_a_subclass_of_a_standard_gate_is_refused_since_qiskit_forgets_it():
    class Turned(RXGate):
        def _define(self):
            self.definition = QuantumCircuit(1)
            self.definition.ry(self.params[0], 0)

    x, circuit = Parameter("x"), QuantumCircuit(1)
    circuit.append(Turned(x), [0])
    with pytest.raises(ConfigError, match="Derive Turned from Gate"):
        AdjointNetwork(circuit=circuit, input_params=[x])


# Transpiled circuits


@pytest.mark.parametrize("observables", [None, ["ZI", "IX"]])
@pytest.mark.parametrize("level", [0, 1, 3])
def test_observables_follow_the_layout_of_a_transpiled_circuit(observables, level):
    plain, _ = both(observables, reference=False)
    circuit = measured(plain.circuit, "measure_all" if level else "")
    device = GenericBackendV2(5, seed=1)
    moved = transpile(circuit, device, initial_layout=[3, 1], optimization_level=level, seed_transpiler=2)
    ours = AdjointNetwork(
        circuit=moved,
        observables=observables,
        input_params=plain.input_params,
        weight_params=plain.weight_params,
    )
    assert (ours.circuit.num_qubits, ours.num_virtual_qubits) == (5, 2)
    np.testing.assert_allclose(ours.forward(*data(7)), plain.forward(*data(7)), atol=1e-10)


# Keywords and attributes


def test_attributes_are_those_of_stock():
    ours, stock = both(input_gradients=None)
    for name in ("input_params", "weight_params", "observables", "circuit", "num_virtual_qubits"):
        one, other = getattr(ours, name), getattr(stock, name)
        assert type(one) is type(other), name
        assert one == other, name
    names = ("num_inputs", "num_weights", "output_shape", "sparse", "input_gradients")
    assert [getattr(ours, name) for name in names] == [2, 4, (2,), False, False]


def test_attributes_are_copies():
    network, _ = both(reference=False)
    for name in ("input_params", "weight_params", "observables"):
        getattr(network, name).clear()
        assert getattr(network, name)
    network.circuit.x(0)
    np.testing.assert_array_equal(network.forward(*data(1)), both(reference=False)[0].forward(*data(1)))


@pytest.mark.parametrize("kind", [list, tuple, iter, ParameterVector])
def test_parameters_may_come_in_any_container(kind):
    vector = ParameterVector("x", 3)
    circuit = QuantumCircuit(1)
    for each in vector:
        circuit.rx(each, 0)
    given = vector if kind is ParameterVector else kind(list(vector))
    network = AdjointNetwork(circuit=circuit, input_params=given)
    assert network.input_params == list(vector)
    np.testing.assert_allclose(network.forward([0.1, 0.2, 0.3], []), [[np.cos(0.6)]], atol=1e-12)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("estimator", StatevectorEstimator()),
        ("gradient", object()),
        ("default_precision", 0.01),
        ("pass_manager", object()),
    ],
)
def test_a_keyword_of_an_estimator_is_refused_by_name(keyword, value):
    with pytest.raises(ConfigError, match=rf"nothing of an estimator. Got the keyword '{keyword}'"):
        AdjointNetwork(circuit=QuantumCircuit(1), **{keyword: value})


def test_a_keyword_that_asks_for_nothing_is_let_through():
    nothing = {"estimator": None, "gradient": None, "pass_manager": None, "default_precision": 0.0}
    assert AdjointNetwork(circuit=QuantumCircuit(1), **nothing).forward(None, None) == 1


def test_an_unknown_keyword_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'weight_params'"):
        AdjointNetwork(circuit=QuantumCircuit(1), weights_params=[])


def test_faults_are_refused():
    theta = Parameter("theta")
    circuit = QuantumCircuit(1)
    circuit.rx(theta, 0)
    with pytest.raises(ConfigError, match="theta"):
        AdjointNetwork(circuit=circuit)
    with pytest.raises(ConfigError, match="Got a str"):
        AdjointNetwork(circuit="circuit")
    with pytest.raises(ConfigError, match=r"weight_params must be a parameter.*not among theta"):
        AdjointNetwork(circuit=circuit, weight_params=[theta, Parameter("other")])
    with pytest.raises(ConfigError, match=r"input_params must be a parameter.*'theta'"):
        AdjointNetwork(circuit=circuit, input_params=["theta"])
    with pytest.raises(ConfigError, match="theta"):
        AdjointNetwork(circuit=circuit, input_params=[theta], weight_params=[theta])
    network = AdjointNetwork(circuit=circuit, weight_params=theta)
    assert network.weight_params == [theta]
    with pytest.raises(ConfigError, match="weights for all its parameters. Got 0 for 1"):
        network.forward(None, None)


# Gradients by inputs: on wherever torch goes back, unless they are switched off in so many words.


class Recurrent(nn.Module):
    """An LSTM before the circuit, as in a forecasting model."""

    def __init__(self, network):
        super().__init__()
        self.encoder, self.to_angles = nn.LSTM(1, 3, batch_first=True), nn.Linear(3, 2)
        self.circuit = TorchConnector(network, initial_weights=np.full(4, 0.3))

    def forward(self, windows):
        hidden, _ = self.encoder(windows)
        return self.circuit(self.to_angles(hidden[:, -1]))


def test_an_lstm_before_the_network_learns_without_asking():
    model = Recurrent(both(input_gradients=None, reference=False)[0])
    model(torch.ones(2, 5, 1)).sum().backward()
    assert all(each.grad is not None and each.grad.abs().max() > 0 for each in model.parameters())


def test_gradients_that_are_switched_off_stay_off():
    for network in (both(input_gradients=False, reference=False)[0], both(reference=False)[0]):
        network.input_gradients = False
        model = Recurrent(network)
        model(torch.ones(2, 5, 1)).sum().backward()
        assert model.encoder.weight_ih_l0.grad is None
        assert model.circuit.weight.grad is not None


def test_outside_torch_the_default_is_that_of_stock():
    network, stock = both(input_gradients=None)
    assert network.backward(*data(1))[0] is stock.backward(*data(1))[0] is None
    network.input_gradients = True
    assert network.backward(*data(1))[0].shape == (3, 2, 2)
