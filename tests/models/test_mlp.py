"""The classical baseline model: about as many parameters as the circuit, never of a lower rank."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qhq.errors import ConfigError
from qhq.models.hybrid import Shape, build_model
from qhq.models.mlp import TanhMLP, matched_width, mlp_parameters
from qhq.models.spec import MiddleSpec, ModelSpec
from tests.models.test_hybrid import SHAPE, model, quantum, windows

SIZES = st.integers(1, 40)


@given(SIZES, SIZES, st.integers(0, 5000))
def test_no_other_width_is_nearer(inputs, outputs, weights):
    width = matched_width(inputs, outputs, weights)
    assert width >= outputs
    distance = {each: abs(mlp_parameters(inputs, each, outputs) - weights)
                for each in range(outputs, width + 3)}  # fmt: skip
    assert distance[width] == min(distance.values())
    step = mlp_parameters(inputs, 1, outputs)
    assert distance[width] <= step / 2 or (width == outputs and weights < width * step)


@given(SIZES, st.integers(1, 12), st.integers(0, 100), st.integers(0, 9))
def test_the_outputs_have_full_rank(inputs, outputs, weights, seed):
    torch.manual_seed(seed)
    mlp = TanhMLP(inputs, matched_width(inputs, outputs, weights), outputs).double()
    values = mlp(torch.randn(200, inputs, dtype=torch.float64)).detach()
    assert torch.linalg.matrix_rank(values - values.mean(dim=0)) == outputs


def test_weights_of_an_earlier_version_are_read():
    spec = ModelSpec(latent=2, middle=MiddleSpec(hidden=3, outputs=2))
    written, read = (build_model(spec, SHAPE, quantum=None, seed=seed) for seed in (1, 2))
    earlier = {name.replace("mlp.", "twin."): each for name, each in written.state_dict().items()}
    assert earlier.keys() != written.state_dict().keys()
    read.load_state_dict(earlier)
    for name, tensor in written.state_dict().items():
        np.testing.assert_array_equal(read.state_dict()[name], tensor)


@pytest.mark.parametrize(("inputs", "hidden", "outputs"), [(4, 1, 4), (3, 5, 2)])
def test_parameters_are_counted_as_they_are(inputs, hidden, outputs):
    mlp = TanhMLP(inputs, hidden, outputs)
    assert sum(each.numel() for each in mlp.parameters()) == mlp_parameters(inputs, hidden, outputs)
    assert mlp(torch.zeros(7, inputs)).shape == (7, outputs)


@pytest.mark.parametrize("skip", ["none", "add", "concat"])
def test_every_tensor_of_a_model_with_an_mlp_learns(skip):
    net = model(hybrid=False, latent=3, middle={"hidden": 2, "outputs": 3}, skip=skip)
    torch.nn.functional.mse_loss(net(windows(3)), torch.ones(16, 1, 1)).backward()
    for name, tensor in net.named_parameters():
        assert tensor.grad is not None, name
        assert float(tensor.grad.abs().max()) > 0, name


def test_all_else_starts_as_in_the_hybrid():
    hybrid = build_model(ModelSpec(), SHAPE, quantum=quantum(), seed=3)
    spec = ModelSpec(latent=2, middle=MiddleSpec(hidden=1, outputs=2))
    classical = build_model(spec, SHAPE, quantum=None, seed=3)
    others = {name: each for name, each in classical.named_parameters() if not name.startswith("mlp")}
    for name, tensor in others.items():
        np.testing.assert_array_equal(tensor.detach(), hybrid.get_parameter(name).detach())


def test_the_mlp_takes_the_angles_that_the_circuit_took():
    net = model(hybrid=False, latent=2, middle={"hidden": 2, "outputs": 2, "angle_scaling": "half_pi_tanh"})
    latent = 100 * torch.ones(1, 2)
    np.testing.assert_allclose(net.angles(latent), np.full((1, 2), np.pi / 2), rtol=1e-6)
    np.testing.assert_array_equal(net.middle(latent).detach(), net.mlp(net.angles(latent)).detach())
    assert [id(each) for each in net.parts()["circuit"]] == [id(each) for each in net.mlp.parameters()]


def test_two_middles_are_refused():
    with pytest.raises(ConfigError, match="Either a quantum layer or model.middle"):
        build_model(ModelSpec(middle=MiddleSpec()), SHAPE, quantum=quantum(), seed=0)


def test_adding_needs_as_many_outputs_as_inputs():
    spec = ModelSpec(latent=3, middle=MiddleSpec(outputs=2), skip="add")
    with pytest.raises(ConfigError, match="as many middle outputs as inputs. Got 3 inputs and 2 outputs"):
        build_model(spec, Shape(1, 1, 1), quantum=None, seed=0)
