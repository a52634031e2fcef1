"""Hearing what quantum layers of every kind are given and give."""

import numpy as np
import torch
from torch import nn

from qhq.diagnostics.doctor import examine
from qhq.diagnostics.doctor.listening import listen
from qhq.quantum import QuantumLayer


def test_a_layer_that_scales_its_inputs_is_heard_at_its_angles():
    layer = QuantumLayer("reference", qubits=2, depth=1)
    model = nn.Sequential(nn.Linear(3, 2), layer, nn.Linear(2, 1))
    inputs = 50 * torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    with listen(model) as heard:
        model(inputs)
    (only,) = heard
    (angles,) = only.angles
    np.testing.assert_array_equal(angles.detach(), layer.angle_scaling(model[0](inputs)).detach())
    assert only.runs == 1
    codes = examine(model, inputs, torch.zeros(8, 1)).codes
    assert "quantum_replaced" not in codes
    assert "quantum_not_executed" not in codes


def test_a_training_step_over_aer_is_counted_as_a_run():
    layer = QuantumLayer("reference", "aer", qubits=2, depth=1)
    with listen(layer) as heard:
        layer(torch.zeros(3, 2))
        with torch.no_grad():
            layer(torch.zeros(3, 2))
    assert heard[0].runs >= 2
