"""The confusion matrix: each fault in three architectures or more, and 30 healthy models."""

from __future__ import annotations

import itertools
import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from qhq.ansatz.spec import list_ansaetze
from qhq.diagnostics.doctor.checks import CHECKS, FOLLOWS
from qhq.experiment.checkup import keys_of
from qhq.experiment.config import load_config
from qhq.experiment.opening import open_design
from qhq.models.spec import ModelSpec
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
    diagnosis = patient(design).diagnosis()
    assert diagnosis.codes == ()
    # What it is told to be healthy by lies on the good side of its limit.
    assert len(diagnosis.measured) > 5
    for each in diagnosis.measured:
        assert (each.value < each.limit) != each.below, each


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


# Fixes: what a finding tells to set, the config of that model takes; of others it says what to change.

SETTINGS = [
    {
        "model.activation_before=none", "model.activation_after=none", "model.skip=add", "quantum.depth=1",
        "quantum.overrides.angle_scaling=pi_tanh", "quantum.overrides.encoding.hadamard=true",
        "quantum.overrides.encoding.gates=RY", "quantum.overrides.entangler.pattern=ring",
        "quantum.overrides.observables=z_each", "data.scaling=window", "training.clip_norm=1",
        "training.dtype=float32",
    },
    {"model.skip=none", "quantum.depth=2", "training.dtype=float64"},
    {"quantum=null"},
]  # fmt: skip
"""Every setting that a fix names; those of a row can be set together."""

SUBJECTS = {
    "reference": [],
    "file": ["model={file: own.py}"],
    "gates": ["model.recurrent=[{unit: qlstm, hidden: 2}]"],
    "bare gates": [
        "model.recurrent=[{unit: qlstm_bare, hidden: 1}]", "quantum.overrides={observables: [Z0]}",
    ],
    "side by side": ["model.circuits={arrange: parallel}"],
    "window": [
        "model.circuits={arrange: window}", "quantum.depth=5",
        "quantum.overrides={encoding: {repeat: true, fresh: true}}",
    ],
    "frozen": ["model={kind: features}"],
    "line search": ["training.optimizer=lbfgs"],
}  # fmt: skip
"""Kinds of model as a config names them."""


def settings_in(fix: str) -> set[str]:
    words = shlex.split(fix.replace(";", " ").replace("(", " ").replace(")", " ").replace("'", ""))
    return {words[at + 1].rstrip(",.") for at, word in enumerate(words) if word == "--set"}


@pytest.mark.parametrize("code", FAULTS)
def test_every_setting_that_a_fix_names_is_in_the_table(code):
    for plant, designs in FAULTS[code]:
        case = patient(designs[0])
        plant(case)
        case.background = replace(case.background, takes=lambda key: True)
        for finding in case.diagnosis().findings:
            assert settings_in(finding.fix) <= set().union(*SETTINGS)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_what_the_doctor_tells_to_set_the_model_takes(study, subject):
    (study / "own.py").write_text(
        "from torch import nn\n\n\ndef build(shape, circuit):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(5, circuit.num_inputs), circuit,"
        " nn.Linear(circuit.num_outputs, 1), nn.Unflatten(1, (1, 1)))\n"
    )
    takes = keys_of(load_config("tiny.yaml", SUBJECTS[subject]))
    told = [sorted(each for each in row if takes(each.partition("=")[0])) for row in SETTINGS]
    few = ["data.symbols=[AAPL]", "data.start=2012-09-01"]
    for settings in filter(None, told):
        open_design(load_config("tiny.yaml", [*few, *SUBJECTS[subject], *settings]))
    if subject == "reference":
        assert sum(map(len, told)) == sum(map(len, SETTINGS))
    else:
        assert not takes("model.skip") or subject == "line search"


def test_a_module_that_no_config_builds_is_told_what_to_change():
    for plants in FAULTS.values():
        for plant, designs in plants[:1]:
            case = patient(designs[0])
            plant(case)
            for finding in case.diagnosis(thorough=False).findings:
                assert "--set" not in finding.fix
                assert " ()" not in finding.fix


def test_keys_of_a_module_in_memory_say_nothing_of_its_circuit():
    model = ModelSpec(file="memory:0123456789ab")
    config = load_config(None).model_copy(update={"model": model})
    assert [keys_of(config)(key) for key in ("quantum.depth", "model.skip", "data.scaling")] == [
        False, False, True,
    ]  # fmt: skip


def test_no_finding_explains_its_own_cause():
    assert FOLLOWS.keys() <= CHECKS.keys()
    for cause, effects in FOLLOWS.items():
        assert effects <= CHECKS.keys()
        assert all(cause not in FOLLOWS.get(effect, ()) for effect in effects)


def test_the_manual_has_a_paragraph_for_each_code():
    manual = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text()
    for code in CHECKS:
        assert f"### `{code}`" in manual
