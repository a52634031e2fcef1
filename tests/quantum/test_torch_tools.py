"""What torch's own tools do to a module's weights, they do to a quantum layer's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.optim.swa_utils import AveragedModel
from torch.utils.checkpoint import checkpoint

from qhq.quantum import QuantumLayer


@pytest.fixture
def layer():
    return QuantumLayer("reference", qubits=3, depth=2)


def rows():
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


def values_with(weight):
    other = QuantumLayer("reference", qubits=3, depth=2)
    other.load_state_dict({"weight": weight.detach()})
    return other(rows()).detach()


@pytest.mark.parametrize("method", [prune.l1_unstructured, prune.random_unstructured])
def test_pruning_zeroes_weights_and_trains_the_others(layer, method):
    before = layer.weight.detach().clone()
    method(layer, "weight", amount=2)
    assert (layer.weight == 0).sum() == 2
    np.testing.assert_array_equal(layer(rows()).detach(), values_with(before * layer.weight_mask))
    layer(rows()).sum().backward()
    assert ((layer.weight_orig.grad == 0) == (layer.weight_mask == 0)).all()
    prune.remove(layer, "weight")
    assert isinstance(layer.weight, nn.Parameter)
    assert list(layer.state_dict()) == ["weight"]
    np.testing.assert_array_equal(layer(rows()).detach(), values_with(layer.weight))


def test_pruning_repeats_and_goes_by_mask_or_over_modules(layer):
    prune.custom_from_mask(layer, "weight", torch.tensor([1, 0, 1, 1, 1, 1]))
    prune.l1_unstructured(layer, "weight", amount=1)
    prune.global_unstructured([(layer, "weight")], prune.L1Unstructured, amount=1)
    assert layer.weight_mask.sum() == 3
    np.testing.assert_array_equal(layer(rows()).detach(), values_with(layer.weight))


class Bounded(nn.Module):
    def forward(self, weight):
        return torch.pi * torch.tanh(weight)


def test_a_parametrization_trains_what_stands_behind_the_weights(layer):
    before = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Bounded())
    np.testing.assert_array_equal(layer(rows()).detach(), values_with(torch.pi * torch.tanh(before)))
    layer(rows()).sum().backward()
    assert layer.parametrizations.weight.original.grad.abs().max() > 0
    parametrize.remove_parametrizations(layer, "weight")
    assert list(layer.state_dict()) == ["weight"]


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_norms_of_the_weights(layer, norm):
    normed = norm(layer)
    np.testing.assert_array_equal(normed(rows()).detach(), values_with(normed.weight))
    normed(rows()).sum().backward()
    assert all(each.grad is not None for each in normed.parameters())


def test_the_average_of_weights_is_a_model(layer):
    average = AveragedModel(layer)
    average.update_parameters(layer)
    with torch.no_grad():
        layer.weight.add_(1.0)
    average.update_parameters(layer)
    np.testing.assert_allclose(average(rows()).detach(), values_with(layer.weight - 0.5), atol=1e-6)


def test_a_replica_of_data_parallel_runs_on_its_own_tensors(layer):
    replica = layer._replicate_for_data_parallel()
    moved = layer.weight * 0.5
    replica.weight = moved
    replica(rows()).sum().backward()
    np.testing.assert_array_equal(replica(rows()).detach(), values_with(moved))
    assert layer.weight.grad.abs().max() > 0


@pytest.mark.parametrize("assign", [False, True])
def test_a_state_loads_strictly(layer, assign):
    other = QuantumLayer("reference", qubits=3, depth=2, seed=7)
    other.load_state_dict(layer.state_dict(), strict=True, assign=assign)
    np.testing.assert_array_equal(other(rows()).detach(), layer(rows()).detach())


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing_recomputes_the_same_gradients(layer, use_reentrant):
    gradients = []
    for run in (layer, lambda x: checkpoint(layer, x, use_reentrant=use_reentrant)):
        inputs = rows().requires_grad_()
        layer.zero_grad()
        run(inputs).square().sum().backward()
        gradients.append((inputs.grad, layer.weight.grad))
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_array_equal(one, other)


def test_autocast_hands_over_half_precision_and_takes_it_back(layer):
    model = nn.Sequential(nn.Linear(3, 3), layer, nn.Linear(3, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(rows())
    out.float().sum().backward()
    assert out.dtype == torch.bfloat16
    assert all(each.grad is not None for each in model.parameters())


def test_weights_made_elsewhere_and_moved_here(layer):
    layer.to("meta").to_empty(device="cpu")
    nn.init.uniform_(layer.weight, -1, 1)
    np.testing.assert_array_equal(layer(rows()).detach(), values_with(layer.weight))


def test_a_quasi_newton_step_goes_downhill(layer):
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=5)

    def closure():
        optimiser.zero_grad()
        loss = layer(rows()).square().sum()
        loss.backward()
        return loss

    first = optimiser.step(closure).item()
    assert closure().item() < first
