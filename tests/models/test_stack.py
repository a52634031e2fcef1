"""Several models as one: what a stack gives is what each of them gives."""

import numpy as np
import pytest
import torch

from qhq.backends.local.statevector import StatevectorExecutor
from qhq.models.hybrid import Shape, build_model
from qhq.models.spec import MiddleSpec, ModelSpec, RecurrentLayerSpec
from qhq.models.stack import Stack, model_cannot_stack
from qhq.quantum.layer import QuantumLayer
from qhq.training.losses import open_objective
from qhq.training.spec import TrainingSpec

MEMBERS, BATCH, WINDOW, FEATURES, STATIC = 3, 5, 6, 2, 2


def layer(unit, **keys):
    return RecurrentLayerSpec(unit=unit, hidden=4, **keys)


SPECS = {
    "gru twice": ModelSpec(recurrent=(layer("gru"), layer("gru"))),
    "lstm both ways": ModelSpec(recurrent=(layer("lstm", bidirectional=True),)),
    "rnn, residual, norms": ModelSpec(
        recurrent=(layer("rnn", residual=True, layer_norm=True),), layer_norm=True, pooling="mean"
    ),
    "attention, deep head": ModelSpec(
        recurrent=(layer("gru"),),
        pooling="attention",
        skip="concat",
        head_layers=(5,),
        head_activation="gelu",
    ),
    "no encoder, mlp": ModelSpec(encoder="none", middle=MiddleSpec(hidden=3, outputs=4), static_layers=(3,)),
}


def build(spec, seed, *, shape=None, circuit=False):
    shape = shape or Shape(FEATURES, 2, 1, STATIC, WINDOW)
    quantum = QuantumLayer("reference", seed=seed, scale_inputs=False, qubits=4, depth=1) if circuit else None
    return build_model(spec, shape, quantum=quantum, seed=seed)


def samples(seed=0):
    generator = torch.Generator().manual_seed(seed)
    windows = torch.randn(MEMBERS, BATCH, WINDOW, FEATURES, generator=generator)
    return windows, torch.randn(MEMBERS, BATCH, STATIC, generator=generator)


def slopes(outputs, tensors):
    """Gradients of a sum in which each output has a weight of its own."""
    weights = torch.linspace(-1, 1, outputs.numel()).reshape(outputs.shape)
    return torch.autograd.grad((outputs * weights).sum(), tensors)


def assert_alike(models, stack):
    windows, static = samples()
    found = stack.outputs(windows, static)
    weights = torch.linspace(-1, 1, found[0].numel()).reshape(found.shape[1:])
    names = [name for name, each in stack.model.named_parameters() if each.requires_grad]
    pulled = torch.autograd.grad((found * weights).sum(), [stack.model.get_parameter(name) for name in names])
    for at, model in enumerate(models):
        own = model.outputs(windows[at], static[at])
        np.testing.assert_allclose(found[at].detach(), own.detach(), atol=1e-6)
        for name, own_slope, slope in zip(
            names, slopes(own, [model.get_parameter(name) for name in names]), pulled, strict=True
        ):
            np.testing.assert_allclose(slope[at], own_slope, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", SPECS)
def test_outputs_and_gradients_are_those_of_each_model(name):
    models = [build(SPECS[name], seed, circuit="mlp" not in name) for seed in range(MEMBERS)]
    assert not model_cannot_stack(models[0])
    stack = Stack(models)
    assert list(dict(stack.model.named_parameters())) == list(dict(models[0].named_parameters()))
    assert_alike(models, stack)


def test_several_values_a_target_and_a_frozen_circuit():
    objective = open_objective(TrainingSpec(loss="quantile", quantiles=(0.1, 0.5, 0.9)))
    shape = Shape(FEATURES, 2, 1, STATIC, WINDOW, objective)
    models = [build(SPECS["gru twice"], seed, shape=shape, circuit=True) for seed in range(MEMBERS)]
    for model in models:
        model.quantum.requires_grad_(False)
    stack = Stack(models)
    assert not stack.model.quantum.get_parameter("weight").requires_grad
    assert stack.outputs(*samples()).shape == (MEMBERS, BATCH, 2, 1, 3)
    assert_alike(models, stack)


def test_a_state_that_is_no_number_is_seen():
    """The tanh of the kernels is clipped, and must not make a number of NaN."""
    stack = Stack([build(SPECS["gru twice"], seed) for seed in range(MEMBERS)])
    windows, static = samples()
    windows[1, 0, 0, 0] = torch.nan
    found = stack.outputs(windows, static)
    assert found[1, 0].isnan().all()
    assert found[[0, 2]].isfinite().all()


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (ModelSpec(dropout=0.1), "dropout"),
        (ModelSpec(recurrent=(layer("tcn"),)), "TemporalConvolution"),
    ],
)
def test_what_cannot_be_stacked_says_why(spec, says):
    assert says in model_cannot_stack(build(spec, 0))


def test_other_precisions_and_modules_cannot_be_stacked():
    assert "float32" in model_cannot_stack(build(ModelSpec(), 0).double())
    assert "reference model" in model_cannot_stack(torch.nn.Linear(1, 1))


def test_the_executor_is_shared():
    models = [build(ModelSpec(), seed, circuit=True) for seed in range(2)]
    network = Stack(models).model.quantum.network
    assert isinstance(network.executor, StatevectorExecutor)
