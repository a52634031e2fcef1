"""Encoders: a convolution knows no later step, and two directions are those of PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from qhq.models.encoder import (
    AttentionOverSteps,
    Bidirectional,
    FlatWindow,
    RecurrentStack,
    TemporalConvolution,
)
from qhq.models.spec import RecurrentLayerSpec


def windows(steps: int = 12, features: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(seed).normal(size=(5, steps, features)), dtype=torch.float32)


def stack(*layers: dict, pooling: str = "last", features: int = 3) -> RecurrentStack:
    torch.manual_seed(0)
    specs = [RecurrentLayerSpec(**layer) for layer in layers]
    return RecurrentStack(specs, features=features, dropout=0.0, pooling=pooling).eval()


def test_a_convolution_knows_its_own_step_and_the_thirty_before():
    torch.manual_seed(0)
    layer = TemporalConvolution(3, 6)
    given = windows(steps=50).requires_grad_()
    outputs, last = layer(given)
    assert outputs.shape == (5, 50, 6)
    torch.testing.assert_close(outputs[:, -1], last)
    outputs[:, 40].sum().backward()
    reached = given.grad.abs().amax(dim=(0, 2)) > 0
    np.testing.assert_array_equal(np.flatnonzero(reached), np.arange(10, 41))


@pytest.mark.parametrize("unit", [nn.GRU, nn.LSTM, nn.RNN])
def test_both_directions_are_those_of_pytorch(unit):
    torch.manual_seed(0)
    own, other = Bidirectional(unit, 3, 4), unit(3, 4, batch_first=True, bidirectional=True)
    names = dict(own.onward.named_parameters())
    other.load_state_dict(
        {name: names[name] for name in names}
        | {f"{name}_reverse": each for name, each in own.backward_.named_parameters()}
    )
    outputs, final = own(windows())
    expected, state = other(windows())
    torch.testing.assert_close(outputs, expected)
    hidden = state[0] if isinstance(state, tuple) else state
    torch.testing.assert_close(final, torch.cat([hidden[0], hidden[1]], dim=-1))


def test_the_final_state_of_both_directions_reaches_every_step():
    given = windows().requires_grad_()
    stack({"unit": "gru", "hidden": 4, "bidirectional": True})(given).sum().backward()
    assert (given.grad.abs().amax(dim=(0, 2)) > 0).all()


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
@pytest.mark.parametrize("unit", ["gru", "tcn"])
def test_every_pooling_gives_one_vector_and_trains_all_of_the_encoder(pooling, unit):
    layers = (
        {"unit": unit, "hidden": 4, "bidirectional": True, "residual": True, "layer_norm": True},
        {"unit": "lstm", "hidden": 3},
    )
    net = stack(*layers, pooling=pooling)
    found = net(windows())
    assert found.shape == (5, net.hidden) == (5, 3)
    (found**2).sum().backward()
    for name, each in net.named_parameters():
        assert each.grad is not None, name
        assert float(each.grad.abs().max()) > 0, name


def test_attention_is_a_mean_of_steps():
    torch.manual_seed(0)
    pooling, sequence = AttentionOverSteps(3), windows()
    found = pooling(sequence, None)
    assert (found <= sequence.amax(dim=1)).all()
    assert (found >= sequence.amin(dim=1)).all()
    same = sequence[:, :1].expand(-1, 12, -1)
    torch.testing.assert_close(pooling(same, None), sequence[:, 0])


def test_a_residual_adds_the_input_and_a_norm_evens_the_outputs_out():
    plain, around = stack({"hidden": 3}), stack({"hidden": 3, "residual": True})
    torch.testing.assert_close(around(windows()), plain(windows()) + windows()[:, -1])
    normed = stack({"hidden": 3, "layer_norm": True})(windows())
    torch.testing.assert_close(normed.mean(dim=-1), torch.zeros(5), atol=1e-6, rtol=0)


def test_a_stack_without_extras_has_the_tensors_of_earlier_versions():
    assert set(stack({"unit": "gru", "hidden": 4}).state_dict()) == {
        f"layers.0.{name}" for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    }


def test_without_an_encoder_the_window_is_flat():
    flat = FlatWindow(12, 3)
    assert flat.hidden == 36
    np.testing.assert_array_equal(flat(windows())[:, 3:6], windows()[:, 1])
