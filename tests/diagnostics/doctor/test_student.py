"""The student's dead layer, from its cause to its cure.

LSTM 4 x 16, two qubits, concat; a ReLU before raw angles. Its outputs stayed in [0.9999272, 0.99993163] and
the LSTM's gradient was exactly zero.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.diagnostics.doctor.patients import Design, Patient, patient, scale, train

BAND = (0.9999272, 0.99993163)
STACK = [{"unit": "lstm", "hidden": 16}] * 4
STUDENT = Design(
    "lstm",
    "concat",
    circuit={"qubits": 2, "depth": 2, "entangler": {"pattern": "none"}},
    model={"recurrent": STACK, "activation_before": "relu"},
)


def student() -> Patient:
    """Angles as they come out of the ReLU, and a circuit that begins as the identity."""
    case = patient(STUDENT)
    case.model.angle_scaling = nn.Identity()
    with torch.no_grad():
        case.model.quantum.weight.zero_()
    return case


@torch.no_grad()
def into_the_band(case: Patient) -> None:
    """Move and stretch the latent features to the angles that the band means."""
    low, high = np.arccos(BAND[1]), np.arccos(BAND[0])
    latent = case.model.to_latent(case.model.encoder(case.inputs))
    span = latent.max(dim=0).values - latent.min(dim=0).values
    middle = (latent.max(dim=0).values + latent.min(dim=0).values) / 2
    factor = float(high - low) / span
    linear = case.model.to_latent
    linear.weight.mul_(factor[:, None])
    linear.bias.copy_((linear.bias - middle) * factor + float(low + high) / 2)


def lstm_gradient(case: Patient) -> float:
    case.model.zero_grad()
    nn.functional.mse_loss(case.model(case.inputs), case.targets).backward()
    return max(float(each.grad.abs().max()) for each in case.model.encoder.parameters())


def outputs(case: Patient) -> torch.Tensor:
    with torch.no_grad():
        return case.model.quantum(case.model.angles(case.model.encode(case.inputs)))


def width(case: Patient) -> float:
    found = outputs(case)
    return float((found.max(dim=0).values - found.min(dim=0).values).max())


def test_closed_relu_gives_exactly_one_and_a_gradient_of_exactly_zero():
    case = student()
    scale(case, 1.0, bias=-10.0)
    case.model.head.weight.data[:, 2:] = 0.0
    np.testing.assert_array_equal(outputs(case), np.ones((64, 2)))
    assert lstm_gradient(case) == 0.0
    assert case.diagnosis().codes[0] == "dead_relu"


def test_the_band_is_named_after_its_small_angles():
    case = student()
    into_the_band(case)
    np.testing.assert_allclose([outputs(case).min(), outputs(case).max()], BAND, rtol=0, atol=2e-7)
    diagnosis = case.diagnosis()
    assert diagnosis.codes == ("angles_small",)
    finding = diagnosis.findings[0]
    assert finding.evidence["angle_p95"] == pytest.approx(0.012, rel=0.05)
    assert finding.evidence["slope"] == pytest.approx(0.012, rel=0.05)
    assert finding.evidence["output_min"] == pytest.approx(BAND[0], abs=2e-7)
    assert finding.evidence["output_max"] == pytest.approx(BAND[1], abs=2e-7)
    assert "output_band_tight" in {each.code for each in diagnosis.findings}


@pytest.mark.parametrize("unit", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("skip", ["add", "concat", "none"])
def test_the_cure_gives_the_encoder_a_gradient_and_opens_the_band(unit, skip):
    """The fix of the finding: no ReLU, angles that spread (pi_tanh), an encoding that is steep at 0."""
    cured = patient(
        Design(
            unit,
            skip,
            circuit={**STUDENT.circuit, "encoding": {"gates": "RY", "hadamard": True}},
            model={"recurrent": [{"unit": unit, "hidden": 16}] * 4, "activation_before": "none"},
        )
    )
    assert lstm_gradient(cured) > 1e-5
    train(cured, 60)
    assert lstm_gradient(cured) > 1e-5
    assert width(cured) > 0.3
    assert cured.diagnosis().healthy


def test_without_the_cure_training_does_not_open_the_closed_relu():
    case = student()
    scale(case, 1.0, bias=-10.0)
    train(case, 10)
    assert width(case) == 0.0
    codes = {each.code for each in case.diagnosis().findings}
    assert {"dead_relu", "weights_never_move", "output_band_tight"} <= codes
