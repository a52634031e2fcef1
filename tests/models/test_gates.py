"""Circuits in the gates: equal to a plain reference, asked all at once, and on any backend the same."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.quantum_info import Pauli, Statevector

from qhq.ansatz.assemble import build
from qhq.ansatz.spec import AnsatzSpec, load_ansatz
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.backends.registry import open_training_backend
from qhq.diagnostics.doctor.checks import examine
from qhq.errors import BackendError, ConfigError
from qhq.models.gates import Circuits, build_gated, by_rows
from qhq.models.hybrid import Shape
from qhq.models.spec import GATED, UNITS, MiddleSpec, ModelSpec
from qhq.training.losses import mean_loss, open_objective
from qhq.training.spec import TrainingSpec

SHAPE = Shape(features=2, horizon=1, targets=1, window=4)
ANSATZ = build(AnsatzSpec(qubits=3, depth=2, observables=("Z0", "Z1")))
"""Three inputs, of which a unit without linear layers gives two to the step and one to the state."""
BARE = build(AnsatzSpec(qubits=3, depth=2, observables=("Z0",)))


def circuits(ansatz=ANSATZ, *, backend: str | None = None, together: bool = True, seed: int = 5) -> Circuits:
    if backend is None:
        alone, rows = (StatevectorExecutor(each, threads=1) for each in (ansatz, by_rows(ansatz)))
    else:
        alone, rows = (open_training_backend(backend, each, seed=0) for each in (ansatz, by_rows(ansatz)))
    return Circuits(ansatz, alone, rows if together else None, seed)


def gated(unit: str, made: Circuits | None = None, *, dtype=torch.float64, shape=SHAPE, **keys):
    bare = unit.endswith("_bare")
    spec = ModelSpec(recurrent=[{"unit": unit, "hidden": 1 if bare else 3}], **keys)
    made = circuits(BARE if bare else ANSATZ) if made is None else made
    return build_gated(spec, shape, made, seed=1, dtype=dtype).eval()


def windows(count: int = 3, dtype=torch.float64) -> torch.Tensor:
    values = np.random.default_rng(0).normal(size=(count, SHAPE.window, SHAPE.features))
    return torch.tensor(values, dtype=dtype)


def asked(layer, values: torch.Tensor) -> torch.Tensor:
    """Expectation values (B, O) of numbers (B, I), by Qiskit's statevectors, one row after the other."""
    ansatz, rows = layer.ansatz, (math.pi * torch.tanh(values)).detach().numpy()
    weights = layer.weight.detach().double().numpy()
    found = []
    for row in rows:
        values_of = dict(zip(ansatz.parameters, [*row, *weights], strict=True))
        state = Statevector(ansatz.circuit.assign_parameters(values_of))
        found.append([state.expectation_value(each).real for each in ansatz.observables])
    return torch.tensor(np.array(found))


def reference(model, given: torch.Tensor) -> torch.Tensor:
    """The forecast of the model by the equations of the units, written out."""
    net = model.module
    unit = net.layers[0]
    layers, maps = unit.circuits.layers, unit.enter if unit.around else None
    state = cell = torch.zeros(len(given), unit.hidden_size, dtype=given.dtype)

    def gate(number: int, values: torch.Tensor) -> torch.Tensor:
        answer = asked(layers[number], values)
        return answer @ unit.leave.weight[number] + unit.leave.bias[number] if unit.around else answer

    for time in range(SHAPE.window):
        step = given[:, time]
        both = torch.cat([step, state], dim=1)
        if "LSTM" in type(unit).__name__:
            values = maps["both"](both) if unit.around else both
            i, f, o, g = (gate(number, values) for number in range(4))
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            state = output = torch.sigmoid(o) * torch.tanh(cell)
            if len(layers) == 6:
                values = maps["state"](state) if unit.around else torch.cat([0 * step, state], dim=1)
                state, output = gate(4, values), gate(5, values)
        else:
            values = maps["both"](both) if unit.around else both
            by_step = maps["step"](step) if unit.around else torch.cat([step, 0 * state], dim=1)
            by_state = maps["state"](state) if unit.around else torch.cat([0 * step, state], dim=1)
            r, z = torch.sigmoid(gate(0, values)), torch.sigmoid(gate(1, values))
            n = torch.tanh(gate(2, by_step) + r * gate(3, by_state))
            state = output = (1 - z) * n + z * state
    return net.head(output).reshape(-1, 1, 1)


@pytest.mark.parametrize("unit", sorted(GATED))
def test_a_unit_is_its_equations_over_qiskits_statevectors(unit):
    model = gated(unit)
    np.testing.assert_allclose(
        model(windows()).detach(), reference(model, windows()).detach(), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("unit", sorted(GATED))
def test_in_single_precision_it_is_so_to_a_millionth(unit):
    single, double = gated(unit, dtype=torch.float32), gated(unit)
    double.load_state_dict(single.state_dict())
    found = single(windows(dtype=torch.float32)).detach()
    np.testing.assert_allclose(found, reference(double, windows()).detach(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("unit", "backend"), [
    *((unit, None) for unit in sorted(GATED)), ("qlstm", "aer_noisy"), ("qgru", "aer_noisy"),
])  # fmt: skip
def test_all_gates_at_once_are_the_gates_one_by_one(unit, backend):
    """On the exact engine and on the noisy one: the same forecasts, and the same gradients."""
    ansatz = BARE if unit.endswith("_bare") else ANSATZ
    at_once, apart = (gated(unit, circuits(ansatz, backend=backend, together=each)) for each in (True, False))
    apart.load_state_dict(at_once.state_dict())
    given = [windows().requires_grad_() for _ in range(2)]
    found, wanted = at_once(given[0]), apart(given[1])
    np.testing.assert_allclose(found.detach(), wanted.detach(), atol=1e-12)
    for values in (found, wanted):
        values.square().sum().backward()
    np.testing.assert_allclose(given[0].grad, given[1].grad, atol=1e-10)
    others = dict(apart.named_parameters())
    for name, each in at_once.named_parameters():
        assert each.grad is not None
        np.testing.assert_allclose(each.grad, others[name].grad, atol=1e-10)


def test_a_gradient_that_is_asked_for_twice_is_the_same():
    model = gated("qgru")
    loss = model(windows()).square().sum()
    asked = list(model.parameters())
    once, again = (torch.autograd.grad(loss, asked, retain_graph=True) for _ in range(2))
    for one, other in zip(once, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_many_cotangents_at_once_are_refused_in_words():
    model = gated("qlstm")
    found, units = model(windows(2)).flatten(), torch.eye(2).double()
    with pytest.raises(BackendError, match=r"torch.func in place of is_grads_batched"):
        torch.autograd.grad(found, list(model.parameters()), units, is_grads_batched=True)


@pytest.mark.parametrize("unit", ["qlstm", "qgru"])
def test_second_derivatives_are_those_of_the_gates_one_by_one(unit):
    at_once, apart = (gated(unit, circuits(together=each)) for each in (True, False))
    apart.load_state_dict(at_once.state_dict())
    found = []
    for model in (at_once, apart):
        asked = list(model.module.layers[0].parameters())
        first = torch.autograd.grad(model(windows(1)).square().sum(), asked, create_graph=True)
        found.append(torch.autograd.grad(sum(each.square().sum() for each in first), asked))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_whoever_listens_to_a_map_hears_each_step():
    model, heard = gated("qlstm"), []
    before = model(windows()).detach()
    handle = model.module.layers[0].leave.register_forward_hook(lambda *each: heard.append(each))
    np.testing.assert_allclose(model(windows()).detach(), before, atol=1e-12)
    handle.remove()
    assert len(heard) == SHAPE.window


def test_one_call_a_step_asks_all_gates(monkeypatch):
    made = circuits()
    model, rows, true = gated("qlstm", made), [], made.together.expectations

    def counted(inputs, weights):
        rows.append(inputs.shape)
        return true(inputs, weights)

    monkeypatch.setattr(made.together, "expectations", counted)
    with torch.no_grad():
        model(windows())
    assert rows == [(3 * 4, 3 + 6)] * SHAPE.window


def test_gates_ask_a_backend_that_the_model_was_reopened_on():
    model, other = gated("qlstm"), StatevectorExecutor(ANSATZ, threads=1)
    asked_rows = []

    class Counting:
        def expectations(self, inputs, weights):
            asked_rows.append(len(inputs))
            return other.expectations(inputs, weights)

        def vjp(self, *arguments):
            return other.vjp(*arguments)

        def report(self):
            return other.report()

    before = model(windows()).detach()
    model.reopen(Counting())
    with torch.no_grad():
        np.testing.assert_allclose(model(windows()), before, atol=1e-12)
    assert asked_rows == [3] * (4 * SHAPE.window)


def test_the_verbs_of_an_evaluation_together_are_the_forward_pass():
    model = gated("qlstm")
    latent = model.encode(windows())
    middle = model.run_on(StatevectorExecutor(ANSATZ, threads=1), latent)
    assert middle.shape == (3, 4 * SHAPE.window * 2)
    np.testing.assert_allclose(model.decode(latent, middle), model(windows()).detach(), atol=1e-12)
    assert model.angles(latent).shape == (3, 4 * SHAPE.window, 3)


@pytest.mark.parametrize("loss", ["gaussian", "student_t"])
def test_a_distribution_is_read_from_the_head_behind_the_gates(loss):
    objective = open_objective(TrainingSpec(loss=loss, quantiles=(0.1, 0.5, 0.9)))
    objective.fitted = objective.start(torch.randn(20, 1, 1, dtype=torch.float64))
    model = gated("qlstm", shape=replace(SHAPE, objective=objective))
    outputs = model.outputs(windows())
    assert outputs.shape == (3, 1, 1, objective.values)
    np.testing.assert_array_equal(model(windows()).detach(), outputs[..., 0].detach())
    mean_loss(objective, outputs, torch.zeros(3, 1, 1), model.start, None).backward()
    assert all(each.grad is not None for each in model.parameters())
    latent = model.encode(windows())
    found = model.quantiles(latent, model.middle(latent))
    np.testing.assert_allclose(found[..., 1], model(windows()).detach(), atol=1e-12)
    assert (found.diff(dim=-1) > 0).all()


def test_its_parts_and_stages_are_found():
    model = gated("qlstm")
    assert [(stage.kind, stage.shape) for stage in model.found.stages] == [
        ("Linear", (3,)), ("GateCircuits", (4, 2)), ("GateMaps", (4, 3)), ("Linear", (1,)),
    ]  # fmt: skip
    sizes = {part: sum(each.numel() for each in tensors) for part, tensors in model.parts().items()}
    assert sizes == {"encoder": 3 * 6 + 4 * 3 * 3, "circuit": 4 * 6, "head": 4}


def test_the_doctor_calls_it_healthy_and_finds_every_gate():
    model = gated("qlstm", dtype=torch.float32)
    found = examine(model, windows(32, torch.float32), thorough=False)
    assert found.healthy, found.findings


@pytest.mark.parametrize("gate", range(4))
def test_the_doctor_names_a_gate_whose_weights_are_not_finite_or_detached(gate):
    model = gated("qgru", dtype=torch.float32)
    with torch.no_grad():
        model.module.layers[0].circuits.layers[gate].weight.fill_(math.nan)
    assert "not_finite" in examine(model, windows(8, torch.float32), thorough=False).codes


def test_small_angles_are_found_in_gates():
    model = gated("qlstm", dtype=torch.float32)
    with torch.no_grad():
        for each in model.module.layers[0].enter.parameters():
            each.mul_(1e-3)
    assert "angles_small" in examine(model, windows(32, torch.float32), thorough=False).codes


def test_copies_go_on_asking_all_gates_at_once():
    model = gated("qlstm")
    twin = copy.deepcopy(model)
    np.testing.assert_array_equal(twin(windows()).detach(), model(windows()).detach())
    assert twin.module.layers[0].circuits._can_ask_together()


def test_the_forget_gate_starts_open():
    bias = gated("qlstm").module.layers[0].leave.bias
    assert bool((bias[1] == 1).all())
    assert bool((bias[0] < 1).all())


def test_layers_with_and_without_circuits_are_stacked():
    spec = ModelSpec(recurrent=[{"unit": "gru", "hidden": 3}, {"unit": "qlstm", "hidden": 2}], dropout=0.1)
    model = build_gated(spec, SHAPE, circuits(), seed=1)
    assert model(windows(dtype=torch.float32)).shape == (3, 1, 1)


def test_the_classical_baseline_stands_in_every_gate():
    spec = ModelSpec(recurrent=[{"unit": "qlstm"}], middle=MiddleSpec(hidden=2, outputs=2), latent=3)
    model = build_gated(spec, SHAPE, Circuits(None, None, None, 0), seed=1)
    assert model.quantum is None
    assert sum(each.numel() for each in model.parts()["circuit"]) == 4 * 2 * (3 + 1 + 2)


def test_frozen_circuits_do_not_learn():
    made = circuits()
    model = gated("qlstm", Circuits(made.ansatz, made.executor, made.together, 5, frozen=True))
    assert not any(each.requires_grad for each in model.parts()["circuit"])


@pytest.mark.parametrize(
    ("unit", "keys", "said"),
    [
        ("qlstm", {"activation_before": "tanh"}, "has no middle"),
        ("qgru", {"skip": "concat"}, "has no middle"),
    ],
)
def test_keys_without_a_meaning_are_refused(unit, keys, said):
    with pytest.raises(ConfigError, match=said):
        gated(unit, **keys)


def test_a_bare_unit_must_fit_its_circuit():
    with pytest.raises(ConfigError, match="an input for each feature and unit"):
        gated("qlstm_bare", circuits(ANSATZ))


def test_gates_need_a_circuit():
    with pytest.raises(ConfigError, match="needs a circuit"):
        build_gated(ModelSpec(recurrent=[{"unit": "qlstm"}]), SHAPE, Circuits(None, None, None, 0), seed=1)


def test_every_unit_with_circuits_is_in_the_table():
    assert set(UNITS) >= GATED


def chen(inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Z on each qubit of the circuit of Chen, Yoo and Fang, written out gate by gate; weights (L, 3, Q)."""
    qubits = len(inputs)
    circuit = QuantumCircuit(qubits)
    circuit.h(range(qubits))
    for qubit, value in enumerate(inputs):
        circuit.ry(math.atan(value), qubit)
        circuit.rz(math.atan(value**2), qubit)
    for first, second, third in weights:
        for far in (1, 2):
            for qubit in range(qubits):
                circuit.cx(qubit, (qubit + far) % qubits)
        for qubit in range(qubits):
            circuit.rz(first[qubit], qubit)
            circuit.ry(second[qubit], qubit)
            circuit.rz(third[qubit], qubit)
    state = Statevector(circuit)
    return np.array([state.expectation_value(Pauli("Z"), [qubit]).real for qubit in range(qubits)])


def test_the_qlstm_of_the_paper_is_its_equations_over_its_circuit():
    """Six circuits of H, RY(arctan x), RZ(arctan x^2), two rings of CX and Rot, without linear layers."""
    ansatz = build(load_ansatz("qlstm", {"observables": ["Z0", "Z1"]}))
    spec = ModelSpec(recurrent=[{"unit": "qlstm_six_bare", "hidden": 2}])
    model = build_gated(spec, SHAPE, circuits(ansatz), seed=1).eval()
    own = [
        each.weight.detach().double().numpy().reshape(2, 3, 4)
        for each in model.module.layers[0].circuits.layers
    ]

    def gate(number: int, step: np.ndarray, state: np.ndarray) -> np.ndarray:
        return chen(np.concatenate([step, state]), own[number])[:2]

    def sigmoid(values: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-values))

    given, forecasts = 2 * windows(2, torch.float32), []
    for window in given.double().numpy():
        state = cell = np.zeros(2)
        for step in window:
            i, f, o, g = (gate(number, step, state) for number in range(4))
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
            bent = sigmoid(o) * np.tanh(cell)
            state, output = (gate(number, 0 * step, bent) for number in (4, 5))
        forecasts.append(output)
    wanted = model.module.head(torch.tensor(np.array(forecasts), dtype=torch.float32))
    np.testing.assert_allclose(model(given).detach().flatten(), wanted.detach().flatten(), rtol=0, atol=1e-6)
