"""A visit: it changes nothing, knows a user's own models, and tells look-alikes apart."""

from __future__ import annotations

import copy
import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.neural_networks import EstimatorQNN
from torch import nn

from qhq.backends.registry import open_backend
from qhq.diagnostics.doctor import Background, examine
from qhq.diagnostics.doctor.checks import sort_findings
from qhq.diagnostics.doctor.finding import Finding
from qhq.diagnostics.doctor.outputs import _more_shots
from qhq.models.hybrid import Shape, build_model
from qhq.models.spec import ModelSpec
from tests.diagnostics.doctor.patients import DESIGNS, Design, patient, samples, scale, train


@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_nothing_of_the_model_changes(design):
    case = patient(design.with_model(dropout=0.3))
    case.model.train()
    case.model.head.eval()
    before = copy.deepcopy(case.model.state_dict())
    modes = [module.training for module in case.model.modules()]
    layer, executor = case.model.quantum, case.model.quantum.neural_network.executor
    attributes = set(vars(executor))
    generator = torch.get_rng_state()
    case.model(case.inputs).sum().backward()
    gradients = [each.grad.clone() for each in case.model.parameters()]
    torch.set_rng_state(generator)
    case.diagnosis()
    np.testing.assert_array_equal(generator, torch.get_rng_state())
    assert [module.training for module in case.model.modules()] == modes
    for name, each in case.model.state_dict().items():
        np.testing.assert_array_equal(each, before[name])
    for each, gradient in zip(case.model.parameters(), gradients, strict=True):
        np.testing.assert_array_equal(each.grad, gradient)
    assert not layer._forward_hooks
    assert not layer._forward_pre_hooks
    assert set(vars(executor)) == attributes
    assert layer.neural_network.executor is executor


def test_the_same_visit_finds_the_same():
    case = patient(DESIGNS[0])
    scale(case, 1e-8)
    assert case.diagnosis().to_dict() == case.diagnosis().to_dict()


ALIKE = (
    "input_gradients_off",
    "gradient_none",
    "dead_relu",
    "gradient_zero",
    "angles_small",
    "barren_plateau",
)


def test_none_zero_and_tiny_are_three_findings():
    """One architecture, no way round the circuit, three faults that all stop the encoder."""
    from tests.diagnostics.doctor import faults

    found = {}
    for plant in (faults.input_gradients_off, faults.dead_relu, faults.angles_small):
        case = patient(faults.FLAT_AT_ZERO[2])
        plant(case)
        diagnosis = case.diagnosis()
        found[plant.__name__] = set(diagnosis.codes) & set(ALIKE)
        encoder = [each for each in diagnosis.findings if each.evidence.get("module") == "encoder.layers.0"]
        expected = {"input_gradients_off": "gradient_none", "dead_relu": "gradient_zero",
                    "angles_small": "gradient_vanishing"}[plant.__name__]  # fmt: skip
        assert [each.code for each in encoder] == [expected]
    assert found == {name: {name} for name in found}


def test_small_angles_are_no_fault_where_the_circuit_is_steep():
    design = Design("gru", "none", circuit={"qubits": 3, "encoding": {"gates": "RY", "hadamard": True}})
    case = patient(design.with_circuit(entangler={"pattern": "none"}))
    scale(case, 0.2, bias=0.0)
    assert case.diagnosis().codes == ()


def test_angles_that_waste_their_range_are_a_warning_where_the_circuit_is_steep():
    case = patient(
        Design("gru", "none", circuit={"qubits": 3, "encoding": {"gates": "RY", "hadamard": True}})
    )
    scale(case, 0.01, bias=0.0)
    (finding,) = (each for each in case.diagnosis().findings if each.code == "angles_small")
    assert (finding.severity, finding.evidence["stationary"]) == ("warning", False)


def test_half_a_dead_relu_is_a_warning():
    case = patient(DESIGNS[0])
    case.model.activation_before = nn.ReLU()
    with torch.no_grad():
        case.model.to_latent.bias.fill_(0.5)
        case.model.to_latent.bias[1] = -10.0
    (finding,) = (each for each in case.diagnosis().findings if each.code == "dead_relu")
    assert (finding.severity, finding.evidence["dead_columns"]) == ("warning", 1)


def test_wrapping_is_judged_by_the_circuit():
    """x / 4 in the circuit: a turn of the input is a quarter of one."""
    x, w = ParameterVector("x", 2), ParameterVector("w", 2)
    found = []
    for divisor in (1, 4):
        circuit = QuantumCircuit(2)
        for qubit in range(2):
            circuit.ry(x[qubit] / divisor, qubit)
            circuit.ry(w[qubit], qubit)
        model = nn.Sequential(
            nn.Linear(1, 2),
            TorchConnector(network(circuit, x, w, input_gradients=True), np.ones(2)),
            nn.Linear(2, 1),
        )
        with torch.no_grad():
            model[0].weight.fill_(4.0)
        found.append(examine(model, torch.linspace(-1, 1, 32)[:, None]).codes)
    assert "angles_wrapped" in found[0]
    assert found[1] == ()


def network(circuit, x, w, **options):
    observables = [
        SparsePauliOp.from_sparse_list([("Z", [qubit], 1)], circuit.num_qubits) for qubit in range(2)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # qiskit-machine-learning warns of its own defaults
        return EstimatorQNN(circuit=circuit, estimator=StatevectorEstimator(), observables=observables,
                            input_params=list(x), weight_params=list(w), default_precision=0.0,
                            **options)  # fmt: skip


class Own(nn.Module):
    """A user's model: stock connector, stock estimator, functional ReLU."""

    def __init__(self, *, input_gradients: bool, relu: bool) -> None:
        super().__init__()
        torch.manual_seed(3)
        x, w = ParameterVector("x", 2), ParameterVector("w", 2)
        circuit = QuantumCircuit(2)
        circuit.ry(x[0], 0)
        circuit.ry(x[1], 1)
        circuit.cx(0, 1)
        circuit.ry(w[0], 0)
        circuit.ry(w[1], 1)
        qnn = network(circuit, x, w, input_gradients=input_gradients)
        self.encode, self.relu = nn.Linear(3, 2), relu
        self.qnn, self.head = TorchConnector(qnn, np.array([0.4, 0.9])), nn.Linear(2, 1)

    def forward(self, rows):
        latent = self.encode(rows)
        return self.head(self.qnn(torch.relu(latent - 50) if self.relu else latent))


@pytest.mark.parametrize(
    ("input_gradients", "relu", "codes"),
    [(True, False, ()), (False, False, ("input_gradients_off",)), (True, True, ("dead_relu",))],
)
def test_a_users_own_connector_is_understood(input_gradients, relu, codes):
    rows = torch.tensor(np.random.default_rng(0).normal(size=(12, 3))).float()
    model = Own(input_gradients=input_gradients, relu=relu)
    assert examine(model, rows, rows[:, :1]).codes == codes


@pytest.mark.parametrize("middle", [None, {"hidden": 4, "outputs": 4}])
def test_a_model_without_a_quantum_layer_is_looked_at_for_the_rest(middle):
    spec = ModelSpec.model_validate({"recurrent": [{"unit": "gru", "hidden": 6}], "middle": middle})
    model = build_model(spec, Shape(1, 1, 1), quantum=None, seed=0)
    inputs, targets = samples()
    assert examine(model, inputs, targets).codes == ()
    with torch.no_grad():
        model.head.weight.zero_()
    assert {"gradient_zero", "constant_forecast"} <= {
        each.code for each in examine(model, inputs, targets).findings
    }


def test_static_features_are_given_as_a_tuple():
    spec = ModelSpec.model_validate({"recurrent": [{"unit": "gru", "hidden": 6}]})
    model = build_model(spec, Shape(1, 1, 1, static=2), quantum=None, seed=0)
    inputs, targets = samples()
    assert examine(model, (inputs, torch.ones(len(inputs), 2)), targets).codes == ()


def test_a_frozen_circuit_is_by_design():
    case = patient(DESIGNS[0])
    case.model.quantum.requires_grad_(False)
    train(case, 3)
    (finding,) = case.diagnosis().findings
    assert (finding.code, finding.severity) == ("weights_never_move", "info")


def test_shots_of_a_sampling_layer_are_seen_in_its_report():
    case = patient(DESIGNS[0])
    spec = replace(case, background=replace(case.background, circuit=None))
    from qhq.backends.noisy import AerSpec

    entry = AerSpec(kind="aer", shots=4, gradient="parameter_shift")
    case.model.quantum.reopen(open_backend(entry, case.circuit, seed=0))
    scale(case, 0.1)
    assert "shot_noise" in spec.diagnosis(thorough=False).codes


def test_the_precision_that_an_estimator_is_asked_for_is_shot_noise():
    x, w = ParameterVector("x", 2), ParameterVector("w", 2)
    circuit = QuantumCircuit(2)
    for qubit in range(2):
        circuit.ry(x[qubit], qubit)
        circuit.ry(w[qubit], qubit)
    found = []
    for precision in (0.0, 0.5):
        stock = TorchConnector(network(circuit, x, w, input_gradients=True), np.ones(2))
        stock.neural_network._default_precision = precision
        model = nn.Sequential(nn.Linear(1, 2), stock, nn.Linear(2, 1))
        with torch.no_grad():
            model[0].weight.fill_(0.3)
        diagnosis = examine(model, torch.linspace(-1, 1, 32)[:, None])
        found.append([each.evidence["shots"] for each in diagnosis.findings if each.code == "shot_noise"])
    assert found == [[], [4]]


def test_a_circuit_that_takes_the_inputs_themselves_is_not_cut_off():
    case = patient(DESIGNS[0])
    model = nn.Sequential(case.model.quantum, nn.Linear(case.circuit.num_outputs, 1))
    rows = torch.tensor(np.random.default_rng(0).normal(size=(12, case.circuit.num_inputs))).float()
    assert examine(model, rows).codes == ()


def test_consequences_are_reported_as_info_and_never_without_their_cause():
    dead = Finding("dead_relu", "error", "m.", "f")
    tight = Finding("output_band_tight", "error", "m.", "f", {"width": 0.0})
    assert [each.severity for each in sort_findings([tight]).findings] == ["error"]
    diagnosis = sort_findings([tight, dead])
    assert [(each.code, each.severity) for each in diagnosis.findings] == [
        ("dead_relu", "error"),
        ("output_band_tight", "info"),
    ]
    assert diagnosis.findings[1].evidence == {"width": 0.0, "follows_from": "dead_relu"}
    assert not diagnosis.healthy


def test_figures_that_json_has_no_number_for_become_words():
    finding = Finding("not_finite", "error", "m.", "f", {"a": float("nan"), "b": 1.0})
    assert finding.to_dict()["evidence"] == {"a": "nan", "b": 1.0}


def test_a_background_alone_says_that_a_circuit_is_missing():
    case = patient(DESIGNS[0])
    model = build_model(ModelSpec(), Shape(1, 1, 1), quantum=None, seed=0)
    diagnosis = examine(model, case.inputs, background=Background(circuit=case.circuit))
    assert diagnosis.codes == ("quantum_replaced",)


@pytest.mark.parametrize(
    ("needed", "said"),
    [(95, "about 95 shots"), (15_159, "about 15,000 shots"), (2_345_678, "about 2.3 million shots"),
     (15_159_550_989_556, "More shots do not help: it would take more than 10 million for each value")],
)  # fmt: skip
def test_shots_are_reported_in_figures_for_people_and_within_what_can_be_had(needed, said):
    advice = _more_shots(needed)
    assert said in advice
    assert not re.search(r"\d{6}", advice)
