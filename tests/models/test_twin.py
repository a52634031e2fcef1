"""The classical twin: as many parameters as the circuit has weights, as near as its width allows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qhq.errors import ConfigError
from qhq.models.hybrid import Shape, build_model
from qhq.models.spec import MiddleSpec, ModelSpec
from qhq.models.twin import TanhTwin, twin_parameters, twin_width
from tests.models.test_hybrid import SHAPE, model, quantum, windows

SIZES = st.integers(1, 40)


@given(SIZES, SIZES, st.integers(0, 5000))
def test_no_other_width_is_nearer(inputs, outputs, weights):
    width = twin_width(inputs, outputs, weights)
    distance = {each: abs(twin_parameters(inputs, each, outputs) - weights)
                for each in range(max(1, width - 2), width + 3)}  # fmt: skip
    assert distance[width] == min(distance.values())
    step = twin_parameters(inputs, 1, outputs)
    assert distance[width] <= step / 2 or (width == 1 and weights < step)


@pytest.mark.parametrize(("inputs", "hidden", "outputs"), [(4, 1, 4), (3, 5, 2)])
def test_parameters_are_counted_as_they_are(inputs, hidden, outputs):
    twin = TanhTwin(inputs, hidden, outputs)
    assert sum(each.numel() for each in twin.parameters()) == twin_parameters(inputs, hidden, outputs)
    assert twin(torch.zeros(7, inputs)).shape == (7, outputs)


@pytest.mark.parametrize("skip", ["none", "add", "concat"])
def test_every_tensor_of_a_model_with_a_twin_learns(skip):
    net = model(hybrid=False, latent=3, middle={"hidden": 2, "outputs": 3}, skip=skip)
    torch.nn.functional.mse_loss(net(windows(3)), torch.ones(16, 1, 1)).backward()
    for name, tensor in net.named_parameters():
        assert tensor.grad is not None, name
        assert float(tensor.grad.abs().max()) > 0, name


def test_all_else_starts_as_in_the_hybrid():
    hybrid = build_model(ModelSpec(), SHAPE, quantum=quantum(), seed=3)
    spec = ModelSpec(latent=2, middle=MiddleSpec(hidden=1, outputs=2))
    twin = build_model(spec, SHAPE, quantum=None, seed=3)
    others = {name: each for name, each in twin.named_parameters() if not name.startswith("twin")}
    for name, tensor in others.items():
        np.testing.assert_array_equal(tensor.detach(), hybrid.get_parameter(name).detach())


def test_twin_takes_the_angles_that_the_circuit_took():
    net = model(hybrid=False, latent=2, middle={"hidden": 2, "outputs": 2, "angle_scaling": "half_pi_tanh"})
    latent = 100 * torch.ones(1, 2)
    np.testing.assert_allclose(net.angles(latent), np.full((1, 2), np.pi / 2), rtol=1e-6)
    np.testing.assert_array_equal(net.middle(latent).detach(), net.twin(net.angles(latent)).detach())
    assert [id(each) for each in net.parts()["circuit"]] == [id(each) for each in net.twin.parameters()]


def test_two_middles_are_refused():
    with pytest.raises(ConfigError, match="Either a quantum layer or model.middle"):
        build_model(ModelSpec(middle=MiddleSpec()), SHAPE, quantum=quantum(), seed=0)


def test_adding_needs_as_many_outputs_as_inputs():
    spec = ModelSpec(latent=3, middle=MiddleSpec(outputs=2), skip="add")
    with pytest.raises(ConfigError, match="as many middle outputs as inputs. Got 3 inputs and 2 outputs"):
        build_model(spec, Shape(1, 1, 1), quantum=None, seed=0)
