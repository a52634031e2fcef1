"""The confusion matrix: each fault in three architectures or more, and 30 healthy models."""

from __future__ import annotations

import itertools
import json
import shlex
from pathlib import Path

import pytest

from qhq.ansatz.spec import list_ansaetze, load_ansatz
from qhq.diagnostics.doctor.checks import CHECKS, FOLLOWS
from qhq.experiment.config import load_config
from tests.diagnostics.doctor.faults import FAULTS
from tests.diagnostics.doctor.patients import Design, patient, train

CASES = [
    pytest.param(code, plant, design, id=f"{code}-{plant.__name__}-{design}")
    for code, plants in FAULTS.items()
    for plant, designs in plants
    for design in designs
]

TOGETHER = {
    "gradient_zero": {"output_band_tight"},
    "gradient_vanishing": {"output_band_tight"},
    "output_band_tight": {"gradient_vanishing"},
}
"""What is planted by shutting the encoder off is both: no angle moves, and nothing flows back."""


@pytest.mark.parametrize(("code", "plant", "design"), CASES)
def test_the_doctor_names_the_planted_fault_and_no_other(code, plant, design):
    case = patient(design)
    plant(case)
    diagnosis = case.diagnosis()
    assert code in diagnosis.codes
    assert set(diagnosis.codes) <= {code} | TOGETHER.get(code, set())
    warns = code == "some_outputs_constant" or plant.__name__ == "bfloat16"  # it runs, coarsely
    assert diagnosis.healthy == warns
    for finding in diagnosis.findings:
        assert finding.evidence
        assert finding.message.endswith(".")
        assert not finding.fix.endswith(".")
    json.dumps(diagnosis.to_dict(), allow_nan=False)


SLOW_TO_FIND = {
    "some_inputs_ignored",
    "all_inputs_ignored",
    "some_outputs_constant",
    "barren_plateau",
    "quantum_replaced",
}
"""Only the thorough visit asks the exact engine."""


@pytest.mark.parametrize(
    ("code", "plant", "design"), [each for each in CASES if each.values[0] not in SLOW_TO_FIND]
)
def test_the_quick_visit_while_training_names_it_too(code, plant, design):
    case = patient(design)
    plant(case)
    assert code in case.diagnosis(thorough=False).codes


def test_every_code_is_planted_three_times_at_least():
    assert FAULTS.keys() == CHECKS.keys()
    for plants in FAULTS.values():
        assert all(len(set(map(str, designs))) >= 3 for _, designs in plants)


UNITS_AND_SKIPS = list(itertools.product(("gru", "lstm", "rnn"), ("add", "concat", "none")))
ANSAETZE = ("reference", "efficient_su2", "real_amplitudes", "reuploading", "brickwork", "zz_feature_map",
            "sim_02", "sim_06", "sim_13", "sim_19")  # fmt: skip
ACTIVATIONS = ("none", "tanh", "relu", "sigmoid")
HEALTHY = [
    Design(
        *UNITS_AND_SKIPS[seed % 9],
        ANSAETZE[seed % 10],
        {"qubits": 3},
        {"activation_before": ACTIVATIONS[seed % 4]},
        seed,
    )
    for seed in range(36)
]


@pytest.mark.parametrize("design", HEALTHY, ids=lambda design: f"{design}-{design.seed}")
def test_a_healthy_model_has_no_finding(design):
    assert patient(design).diagnosis().codes == ()


@pytest.mark.parametrize("design", HEALTHY, ids=lambda design: f"{design}-{design.seed}")
def test_a_healthy_model_in_training_has_no_error(design):
    case = patient(design)
    train(case, 10)
    assert case.diagnosis().healthy


# A reservoir has no weights, and its qubits are shared out to its lags.
@pytest.mark.parametrize("ansatz", [each for each in list_ansaetze() if each != "reservoir"])
def test_every_shipped_circuit_is_healthy(ansatz):
    assert patient(Design("gru", "none", ansatz, {})).diagnosis().codes == ()


@pytest.mark.parametrize("unit", ["gru", "lstm", "rnn"])
def test_deep_stacks_and_wide_circuits_are_healthy(unit):
    stack = [{"unit": unit, "hidden": 16}] * 4
    case = patient(Design(unit, "concat", circuit={"qubits": 8, "depth": 3}, model={"recurrent": stack}))
    assert case.diagnosis().healthy


@pytest.mark.parametrize("code", FAULTS)
def test_every_key_that_a_fix_names_can_be_set(study, code):
    for plant, designs in FAULTS[code]:
        case = patient(designs[0])
        plant(case)
        for finding in case.diagnosis().findings:
            words = shlex.split(finding.fix.replace(";", " ").replace("(", " ").replace(")", " "))
            keys = [words[at + 1].rstrip(",.") for at, word in enumerate(words) if word == "--set"]
            config = load_config("tiny.yaml", keys)
            if config.quantum is not None:
                load_ansatz(config.quantum.ansatz, config.quantum.changes())


def test_no_finding_explains_its_own_cause():
    assert FOLLOWS.keys() <= CHECKS.keys()
    for cause, effects in FOLLOWS.items():
        assert effects <= CHECKS.keys()
        assert all(cause not in FOLLOWS.get(effect, ()) for effect in effects)


def test_the_manual_has_a_paragraph_for_each_code():
    manual = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text()
    for code in CHECKS:
        assert f"### `{code}`" in manual
