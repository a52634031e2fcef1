"""Several circuits in the middle: each arrangement is its equations, and has the verbs of a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from qhq.ansatz.assemble import build
from qhq.ansatz.spec import AnsatzSpec
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.diagnostics.doctor import Background
from qhq.diagnostics.doctor.checks import examine
from qhq.errors import ConfigError
from qhq.models.gates import Circuits, by_rows
from qhq.models.hybrid import Shape
from qhq.models.several import build_several
from qhq.models.spec import MiddleSpec, ModelSpec
from qhq.training.losses import open_objective
from qhq.training.spec import TrainingSpec

SHAPE = Shape(features=2, horizon=3, targets=2, window=4, static=1)
MIDDLE = build(AnsatzSpec(qubits=3, depth=2, observables=("Z1", "Z2")))
STEPS = build(AnsatzSpec(qubits=2, depth=4, encoding={"repeat": True, "fresh": True}))
ARRANGEMENTS = {
    "parallel": ({"arrange": "parallel", "count": 3}, {"head_layers": (4,), "layer_norm": True}, MIDDLE),
    "sequence": ({"arrange": "sequence"}, {"static_layers": (3,)}, MIDDLE),
    "per_horizon": ({"arrange": "per_horizon"}, {"activation_before": "relu"}, MIDDLE),
    "per_target": ({"arrange": "per_target"}, {"encoder": "none"}, MIDDLE),
    "window": ({"arrange": "window"}, {"static_layers": (3,)}, STEPS),
}


def model_of(name: str, *, together: bool = True, dtype=torch.float64, shape=SHAPE, **more):
    circuits, keys, ansatz = ARRANGEMENTS[name]
    alone, rows = (StatevectorExecutor(each, threads=1) for each in (ansatz, by_rows(ansatz)))
    spec = ModelSpec.model_validate({
        "recurrent": [{"unit": "gru", "hidden": 3}] if name not in ("window", "per_target") else
        ModelSpec().model_dump()["recurrent"], "circuits": circuits, **keys, **more,
    })  # fmt: skip
    made = Circuits(ansatz, alone, rows if together else None, 5)
    return build_several(spec, shape, made, seed=1, dtype=dtype).eval()


def given(count: int = 3, dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    windows, static = rng.normal(size=(count, 4, 2)), rng.normal(size=(count, 1))
    return torch.tensor(windows, dtype=dtype), torch.tensor(static, dtype=dtype)


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_circuits_asked_at_once_are_the_circuits_one_by_one(name):
    at_once, apart = model_of(name), model_of(name, together=False)
    found, wanted = at_once(*given()), apart(*given())
    assert found.shape == (3, 3, 2)
    np.testing.assert_allclose(found.detach(), wanted.detach(), atol=1e-12)
    for values in (found, wanted):
        values.square().sum().backward()
    others = dict(apart.named_parameters())
    for key, each in at_once.named_parameters():
        assert each.grad is not None, key
        np.testing.assert_allclose(each.grad, others[key].grad, atol=1e-10)


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_the_verbs_of_an_evaluation_together_are_the_forward_pass(name):
    model = model_of(name)
    latent = model.encode(*given())
    ansatz = model.quantum.ansatz
    middle = model.run_on(StatevectorExecutor(ansatz, threads=1), latent)
    np.testing.assert_allclose(model.decode(latent, middle), model(*given()).detach(), atol=1e-12)
    calls = {"parallel": 3, "sequence": 2, "per_horizon": 3, "per_target": 2, "window": 1}[name]
    assert middle.shape == (3, calls * ansatz.num_outputs)
    sizes = {part: sum(each.numel() for each in tensors) for part, tensors in model.parts().items()}
    assert sizes["circuit"] == calls * ansatz.num_weights
    assert sizes["encoder"] > 0 < sizes["head"]


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("parallel", [("Linear", (9,)), ("GateCircuits", (3, 2)), ("LayerNorm", (6,)), ("Linear", (4,)),
                      ("ReLU", (4,)), ("Linear", (6,))]),
        ("sequence", [("Linear", (3,)), ("GateCircuits", (1, 2)), ("Linear", (3,)), ("GateCircuits", (1, 2)),
                      ("Linear", (6,))]),
        ("per_horizon", [("Linear", (9,)), ("ReLU", (9,)), ("GateCircuits", (3, 2)), ("GateMaps", (3, 2))]),
        ("window", [("Linear", (4, 2)), ("GateCircuits", (1, 2)), ("Linear", (6,))]),
    ],
)  # fmt: skip
def test_it_is_drawn_with_the_shapes_of_its_stages(name, shapes):
    stages = [(stage.kind, stage.shape) for stage in model_of(name).found.stages]
    assert stages[-len(shapes) :] == shapes


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_the_doctor_calls_it_healthy(name):
    model, (windows, static) = model_of(name, dtype=torch.float32), given(48, torch.float32)
    found = examine(model, (windows, static), background=Background(circuit=model.quantum.ansatz))
    assert found.codes == ()


def test_side_by_side_each_circuit_has_its_own_inputs_and_weights():
    model = model_of("parallel")
    middle = model.module.middle
    vector = torch.randn(2, middle.enter.in_features, dtype=torch.float64)
    found = middle(vector)
    values = middle.enter(vector).reshape(2, 3, 3)
    for number, layer in enumerate(middle.circuits.layers):
        np.testing.assert_allclose(found[:, number].detach(), layer(values[:, number]).detach(), atol=1e-12)
    assert not torch.equal(middle.circuits.layers[0].weight, middle.circuits.layers[1].weight)


def test_in_sequence_each_takes_what_the_one_before_gives():
    middle = model_of("sequence").module.middle
    vector = torch.randn(2, middle.maps[0].in_features, dtype=torch.float64)
    first, second = (each.layers[0] for each in middle.circuits)
    wanted = second(middle.maps[1](first(middle.maps[0](vector))))
    np.testing.assert_allclose(middle(vector)[:, 0].detach(), wanted.detach(), atol=1e-12)


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_a_distribution_has_its_values_behind_each_target(name):
    """Every verb reads the same outputs: the median is the forecast, whoever gave the circuits' values."""
    objective = open_objective(TrainingSpec(loss="quantile", quantiles=(0.1, 0.5, 0.9)))
    objective.fitted = objective.start(torch.randn(20, 3, 2, dtype=torch.float64))
    model = model_of(name, shape=replace(SHAPE, objective=objective))
    outputs, forecast = model.outputs(*given()).detach(), model(*given()).detach()
    assert outputs.shape == (3, 3, 2, 3)
    np.testing.assert_allclose((outputs + objective.fitted).sort(dim=-1).values[..., 1], forecast)
    latent = model.encode(*given())
    middle = model.middle(latent)
    np.testing.assert_allclose(model.decode(latent, middle), forecast, atol=1e-12)
    np.testing.assert_allclose(model.quantiles(latent, middle)[..., 1], forecast, atol=1e-12)
    model.start_at_zero()
    np.testing.assert_allclose(model.quantiles(latent, middle), objective.fitted.expand(3, 3, 2, 3))
    if name.startswith("per_"):
        axis = 1 if name == "per_horizon" else 2
        with torch.no_grad():
            model.closed = False
            model.module.middle.circuits.layers[1].weight.add_(0.5)
        moved = (model.outputs(*given()).detach() - outputs).abs().amax(dim=(0, 3 - axis)) > 1e-9
        assert moved.any(dim=-1).tolist() == [number == 1 for number in range(len(moved))]


@pytest.mark.parametrize(("name", "axis"), [("per_horizon", 1), ("per_target", 2)])
def test_each_circuit_forecasts_its_own_alone(name, axis):
    model = model_of(name)
    before = model(*given()).detach()
    with torch.no_grad():
        model.module.middle.circuits.layers[1].weight.add_(0.5)
    moved = (model(*given()).detach() - before).abs().amax(dim=(0, 3 - axis)) > 1e-9
    assert moved.tolist() == [number == 1 for number in range(len(moved))]


def test_the_window_enters_step_by_step():
    """The first layer of the circuit takes the oldest step, and each the next one."""
    model = model_of("window")
    windows, static = given(1)
    angles = model.angles(model.encode(windows, static)).reshape(4, 2)
    enter = model.module.middle.enter
    np.testing.assert_allclose(angles, (np.pi * torch.tanh(enter(windows[0]))).detach(), atol=1e-12)
    names = [each.name for each in STEPS.inputs]
    order = [each.params[0].name for each in (step.operation for step in STEPS.circuit.data)
             if each.params and str(each.params[0]) in names]  # fmt: skip
    assert order == names


def test_the_classical_baseline_stands_in_every_place():
    circuits, keys, _ = ARRANGEMENTS["parallel"]
    spec = ModelSpec(circuits=circuits, middle=MiddleSpec(hidden=2, outputs=2), latent=3, **keys)
    model = build_several(spec, SHAPE, Circuits(None, None, None, 0), seed=1)
    assert model.quantum is None
    assert sum(each.numel() for each in model.parts()["circuit"]) == 3 * 2 * (3 + 1 + 2)


OWN = (
    AnsatzSpec(qubits=3, depth=2, observables=("Z1", "Z2")),
    AnsatzSpec(qubits=2, blocks=[{"gates": "RX RZ"}]),
)
PARTS = build(AnsatzSpec(parts=OWN))


def parts_model(*, together: bool = True, dtype=torch.float64, **circuits):
    alone, rows = (StatevectorExecutor(each, threads=1) for each in (PARTS, by_rows(PARTS)))
    keys = {"recurrent": [{"unit": "gru", "hidden": 3}], "circuits": {"arrange": "sequence", **circuits}}
    made = Circuits(PARTS, alone, rows if together else None, 5)
    return build_several(ModelSpec.model_validate(keys), SHAPE, made, seed=1, dtype=dtype).eval()


def test_parts_in_sequence_are_their_equations():
    model = parts_model()
    middle = model.module.middle
    first, second = map(build, OWN)
    weights = middle.circuits.layers[0].weight.detach().numpy()
    vector = torch.randn(2, middle.maps[0].in_features, dtype=torch.float64)
    for linear, ansatz, own in zip(middle.maps, (first, second), (weights[:6], weights[6:]), strict=True):
        angles = (np.pi * torch.tanh(linear(vector))).detach().numpy()
        found = StatevectorExecutor(ansatz, threads=1).expectations(angles, own)
        if ansatz is first:
            vector, entered = torch.tensor(found), vector
    np.testing.assert_allclose(middle(entered)[:, 0].detach(), found, atol=1e-12)
    apart = parts_model(together=False)
    np.testing.assert_allclose(apart(*given()).detach(), model(*given()).detach(), atol=1e-12)


def test_parts_in_sequence_have_the_verbs_of_a_run():
    model = parts_model()
    latent = model.encode(*given())
    middle = model.run_on(StatevectorExecutor(PARTS, threads=1), latent)
    np.testing.assert_allclose(model.decode(latent, middle), model(*given()).detach(), atol=1e-12)
    sizes = {part: sum(each.numel() for each in tensors) for part, tensors in model.parts().items()}
    assert sizes["circuit"] == PARTS.num_weights
    found = examine(
        parts_model(dtype=torch.float32), given(48, torch.float32), background=Background(circuit=PARTS)
    )
    assert found.codes == ()


def test_each_part_stands_in_a_sequence_once():
    with pytest.raises(ConfigError, match=r"must be left out where an ansatz has parts.*Got count 3 for 2"):
        parts_model(count=3)


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("window", {"pooling": "mean"}, r"Got model.pooling"),
        ("per_horizon", {"head_layers": (4,)}, r"arranged as per_horizon. Got model.head_layers"),
        ("parallel", {"skip": "concat"}, "Got model.skip"),
        ("parallel", {"output_activation": "tanh"}, "Got model.output_activation"),
    ],
)
def test_keys_without_a_meaning_are_refused(name, more, said):
    with pytest.raises(ConfigError, match=said):
        model_of(name, **more)


def test_a_circuit_over_the_window_must_fit_its_steps():
    with pytest.raises(ConfigError, match=r"8 inputs for 3 steps. Give it a layer a step: --set quantum"):
        model_of("window", shape=Shape(features=2, horizon=1, targets=1, window=3, static=1))


def test_it_needs_a_circuit_to_arrange():
    spec = ModelSpec(circuits={"arrange": "parallel"})
    with pytest.raises(ConfigError, match="needs a circuit to arrange"):
        build_several(spec, SHAPE, Circuits(None, None, None, 0), seed=1)


def test_only_circuits_that_are_not_counted_by_the_data_have_a_count():
    with pytest.raises(ValueError, match="count must be left out: 'per_horizon'"):
        ModelSpec(circuits={"arrange": "per_horizon", "count": 2})


def test_gates_and_other_places_are_not_mixed():
    from qhq.models.gates import build_gated

    spec = ModelSpec(recurrent=[{"unit": "qlstm", "hidden": 3}], circuits={"arrange": "parallel"})
    with pytest.raises(ConfigError, match="has no middle. Got model.circuits"):
        build_gated(spec, SHAPE, Circuits(None, None, None, 0), seed=1)
