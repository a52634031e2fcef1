"""The confusion matrix of wrapped modules and of circuits in gates: each fault is named, and no other.

The suite plants each fault in one of the wrapped modules and one of the recurrent units, in turn; with
``QHQ_FUZZ`` set, as ``make fuzz`` does, in all of them.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch
from torch import nn

from qhq.diagnostics.doctor.checks import CHECKS
from tests.diagnostics.doctor.places import FAULTS, GATES, PLACES, REFERENCE, ROUND, WRAPPED, gated

WHOLE = "QHQ_FUZZ" in os.environ


def _in_turn():
    for number, (code, plant, circuit, places) in enumerate(FAULTS):
        for group in (WRAPPED, GATES):
            names = [name for name in places if name in group]
            chosen = names if WHOLE else names[number % len(names) :][:1] if names else []
            for name in chosen:
                yield pytest.param(code, plant, circuit, places[name], id=f"{code}-{plant.__name__}-{name}")


TOGETHER = {
    "gradient_zero": {"output_band_tight"},
    "gradient_vanishing": {"output_band_tight"},
    "output_band_tight": {"gradient_vanishing"},
    "angles_wrapped": {"gradient_exploding"},
}
"""What a plant does besides: an encoder that is shut off moves no angle, and large weights in a loop are
steep."""


@pytest.mark.parametrize(("code", "plant", "circuit", "make"), list(_in_turn()))
def test_the_doctor_names_the_planted_fault_and_no_other(code, plant, circuit, make):
    case = make(circuit)
    plant(case)
    diagnosis = case.diagnosis()
    assert code in diagnosis.codes
    assert set(diagnosis.codes) <= {code} | TOGETHER.get(code, set())
    assert diagnosis.healthy == (code == "some_outputs_constant")


def test_every_code_is_planted_in_both():
    for group in (WRAPPED, GATES):
        assert CHECKS.keys() == {code for code, _, _, places in FAULTS if places.keys() & group.keys()}


@pytest.mark.parametrize("make", [*PLACES.values(), ROUND["flat"]], ids=[*PLACES, "way round"])
def test_a_healthy_model_has_no_finding(make):
    assert make(REFERENCE).diagnosis().codes == ()


@pytest.mark.parametrize("name", ["rows", "qgru"])
def test_a_healthy_model_in_training_has_no_error(name):
    case = PLACES[name](REFERENCE)
    optimizer = torch.optim.Adam(case.model.parameters(), lr=0.01)
    initial = {key: each.clone() for key, each in case.model.state_dict().items()}
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.mse_loss(case.model(case.inputs), case.targets).backward()
        optimizer.step()
    case.background = replace(case.background, initial=initial, epochs=3)
    assert case.diagnosis().healthy


def test_what_is_closed_at_the_last_step_alone_is_not_dead():
    """A ReLU before the gates' circuits, and an input that shuts it where the window ends."""
    case = gated(REFERENCE, "qlstm")
    case.change_inputs(torch.relu)
    case.scale(1.0, bias=0.5)
    with torch.no_grad():
        case.before[0].weight[:, 0] = 1.0
    case.inputs = case.inputs.abs()
    assert "dead_relu" not in case.diagnosis(thorough=False).codes
    case.inputs = torch.cat([case.inputs[:, :-1], torch.full_like(case.inputs[:, -1:], -20.0)], dim=1)
    assert "dead_relu" not in case.diagnosis(thorough=False).codes
