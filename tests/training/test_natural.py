"""The quantum natural gradient: its step, what it does not depend on, and what is left to Adam."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from torch import nn

from qhq import QuantumLayer
from qhq.errors import BackendError
from qhq.training.natural import NaturalGradient

X, W = ParameterVector("x", 2), ParameterVector("w", 4)


def layer_of(scale: float) -> QuantumLayer:
    """A circuit whose angles are multiples of its weights."""
    circuit = QuantumCircuit(2)
    for qubit in range(2):
        circuit.ry(X[qubit], qubit)
        circuit.ry(scale * W[qubit], qubit)
    circuit.cx(0, 1)
    for qubit in range(2):
        circuit.rx(scale * W[2 + qubit], qubit)
    layer = QuantumLayer(circuit, inputs=list(X), seed=1).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.4, -0.9, 1.2, 0.3]) / scale)
    return layer


def step_of(layer: QuantumLayer, **settings) -> np.ndarray:
    """One step on a small problem."""
    optimizer = NaturalGradient(layer.parameters(), circuits=[layer], lr=0.1, **settings)
    rows = torch.linspace(-1, 1, 12).double().reshape(6, 2)
    before = layer.weight.detach().clone()
    optimizer.zero_grad()
    (layer(rows) - 0.3).square().mean().backward()
    optimizer.step()
    return (layer.weight.detach() - before).numpy()


def test_a_step_is_the_gradient_over_the_regularised_metric():
    layer = layer_of(1.0)
    gradient_of = copy.deepcopy(layer)
    found = step_of(layer, regularisation=0.02)
    rows = torch.linspace(-1, 1, 12).double().reshape(6, 2)
    (gradient_of(rows) - 0.3).square().mean().backward()
    angles = gradient_of.angle_scaling(rows)
    metric = gradient_of.metric(angles).numpy() + 0.02 * np.eye(4)
    gradient = gradient_of.weight.grad.numpy()
    np.testing.assert_allclose(found, -0.1 * np.linalg.solve(metric, gradient), atol=1e-12)
    blocks = gradient_of.metric(angles, blocks=True).numpy() + 0.02 * np.eye(4)
    assert not blocks[:2, 2:].any()
    found = step_of(layer_of(1.0), regularisation=0.02, metric="blocks")
    np.testing.assert_allclose(found, -0.1 * np.linalg.solve(blocks, gradient), atol=1e-12)
    part = step_of(layer_of(1.0), regularisation=0.02, metric="diagonal")
    np.testing.assert_allclose(part, -0.1 * gradient / np.diag(metric), atol=1e-12)


def test_the_angles_move_the_same_whatever_their_weights_are_called():
    """Natural: the circuit of w and that of w / 3 take the same step in angles; a gradient step does not."""
    one, other = (step_of(layer_of(scale), regularisation=1e-9) * scale for scale in (1.0, 3.0))
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert np.abs(one).max() > 1e-2


def test_what_is_no_circuit_is_left_to_adam():
    torch.manual_seed(0)
    layer = layer_of(1.0).float()
    model = nn.Sequential(nn.Linear(3, 2), layer, nn.Linear(2, 1))
    twin = copy.deepcopy(model)
    rows = torch.randn(8, 3)
    natural = NaturalGradient(model.parameters(), circuits=[layer], lr=0.01, weight_decay=0.1)
    adam = torch.optim.Adam(twin.parameters(), lr=0.01, weight_decay=0.1)
    for each, optimizer in ((model, natural), (twin, adam)):
        optimizer.zero_grad()
        each(rows).square().mean().backward()
        optimizer.step()
    for place in (0, 2):
        for one, other in zip(model[place].parameters(), twin[place].parameters(), strict=True):
            np.testing.assert_array_equal(one.detach(), other.detach())
    assert layer.weight.grad is not None
    assert not torch.equal(layer.weight, twin[1].weight)


def test_a_layer_without_a_state_has_no_metric():
    layer = QuantumLayer("reference", "aer_noisy", qubits=1, depth=1)
    with pytest.raises(BackendError, match="which the exact engine alone has"):
        layer.metric(torch.zeros(1, 1))
