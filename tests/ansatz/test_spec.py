import re
import subprocess
import sys

import pytest
from pydantic import ValidationError

from qhq.ansatz.spec import AnsatzSpec, list_ansaetze, load_ansatz
from qhq.errors import ConfigError


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"qubits": 0}, "greater than or equal to 1"),
        ({"depth": -1}, "greater than or equal to 0"),
        ({"angle_scaling": "relu"}, "Input should be 'pi_tanh'"),
        ({"encoding": {"gates": "Rot"}}, "gates must be one or more of RX, RY, RZ"),
        ({"encoding": {"gates": "RY RY"}}, "would only add their inputs"),
        ({"encoding": {"gates": "RZ"}}, "RZ first does nothing"),
        ({"encoding": {"kind": "zz_feature_map"}, "qubits": 1}, "pairs of qubits"),
        ({"encoding": {"kind": "arctan"}}, "takes angles by angle_scaling: arctan, not by pi_tanh"),
        ({"encoding": {"kind": "amplitude"}}, "does not match any of the expected tags"),
        ({"blocks": []}, "at least 1 item"),
        ({"blocks": [{"gates": ""}]}, "gates must be one or more of RX, RY, RZ, Rot"),
        ({"blocks": [{"gates": "RX RQ"}]}, "gates must be one or more"),
        ({"blocks": [{"kind": "zz_feature_map"}]}, "expected tags"),
        ({"blocks": [{"gates": "RX", "on": "outer"}]}, "'all' or 'inner'"),
        ({"blocks": [{"kind": "couplings", "gate": "crz", "pattern": "star"}]}, "'linear', 'falling'"),
        ({"blocks": [{"kind": "couplings", "gate": "cry", "pattern": "ring"}]}, "'cx', 'cz', 'crx' or 'crz'"),
        ({"encoding": {"gates": "H RY"}}, "gates must be one or more of RX, RY, RZ"),
        ({"entangler": {"pattern": "star"}}, "'ring', 'linear', 'full' or 'none'"),
        ({"observables": []}, "at least one Pauli operator"),
        ({"observables": ["Z0 Q1"]}, "'Z0 Q1' is no Pauli operator"),
        ({"file": {"path": "a.txt", "inputs": "x"}}, "must end in"),
        ({"file": {"path": "a.qpy"}}, "inputs must name"),
        ({"file": {"path": "a.py", "inputs": "x"}}, "inputs must be left out"),
        ({"file": {"path": "a.py"}, "blocks": [{"gates": "Rot"}]}, "file and blocks exclude each other"),
        ({"colour": "blue"}, "Extra inputs are not permitted"),
    ],
)
def test_a_broken_rule_is_named(content, message):
    with pytest.raises(ValidationError, match=message):
        AnsatzSpec.model_validate(content)


@pytest.mark.parametrize("content", [{}, {"file": {"path": "a.py"}}, {"observables": ["ZZII", "X0 Y3"]}])
def test_a_spec_survives_being_written_and_read(content):
    spec = AnsatzSpec.model_validate(content)
    assert AnsatzSpec.model_validate(spec.model_dump(mode="json")) == spec


def test_reading_a_spec_imports_no_qiskit():
    code = (
        "import sys, qhq.ansatz.spec, qhq.backends.registry; "
        "print([name for name in ('qiskit', 'torch', 'pandas', 'numpy') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


SIM = tuple(f"sim_{number:02}" for number in range(1, 20))
SHIPPED = (
    "brickwork",
    "efficient_su2",
    "qlstm",
    "real_amplitudes",
    "reference",
    "reservoir",
    "reuploading",
    "side_by_side",
    *SIM,
    "zz_feature_map",
)


@pytest.fixture
def study(tmp_path, monkeypatch):
    (tmp_path / "circuits").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_shipped_ansaetze_are_listed_by_name(study):
    assert tuple(list_ansaetze()) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_each_shipped_ansatz_loads_and_describes_itself(study, name):
    assert load_ansatz(name).description


def test_the_study_hides_a_shipped_ansatz(study):
    (study / "circuits" / "reference.yaml").write_text("qubits: 7\n")
    assert load_ansatz("reference").qubits == 7


def test_a_path_needs_no_catalogue(study):
    (study / "mine.yaml").write_text("qubits: 3\n")
    assert load_ansatz("mine.yaml").qubits == load_ansatz(str(study / "mine.yaml")).qubits == 3


def test_an_override_reaches_one_nested_key(study):
    spec = load_ansatz("zz_feature_map", {"qubits": 6, "encoding": {"reps": 2}})
    assert (spec.qubits, spec.encoding.reps, spec.encoding.entanglement) == (6, 2, "linear")


def test_an_override_of_the_kind_replaces_the_part(study):
    spec = load_ansatz("reference", {"encoding": {"kind": "zz_feature_map"}})
    assert spec.encoding.kind == "zz_feature_map"


def test_a_circuit_file_is_found_beside_its_yaml(study):
    (study / "circuits" / "mine.yaml").write_text("file: {path: own.py}\n")
    assert load_ansatz("mine").file.path == str(study / "circuits" / "own.py")


def test_an_unknown_name_names_the_nearest(study):
    with pytest.raises(ConfigError, match="Did you mean 'reference'"):
        load_ansatz("referense")


def test_a_missing_path_is_named(study):
    with pytest.raises(ConfigError, match=r"nowhere.yaml"):
        load_ansatz("nowhere.yaml")


def test_a_fault_is_named_by_file_line_and_column(study):
    (study / "circuits" / "mine.yaml").write_text("qubits: 4\nencoding:\n  gates: RZ\n  hadamrd: true\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml:4:3.*'encoding.hadamard'"):
        load_ansatz("mine")


def test_a_fault_of_an_override_does_not_blame_the_file(study):
    with pytest.raises(ConfigError, match="set on the command line"):
        load_ansatz("reference", {"qubits": "many"})


def test_a_fault_of_a_config_is_named_by_its_key_there(study):
    named = "quantum.overrides.{}".format
    for overrides, message in (
        (
            {"encoding": {"gates": "RQ"}},
            r"'quantum.overrides.encoding.gates' is not valid.*Got 'RQ' at the config",
        ),
        ({"blocks": [{"gates": "RQ"}]}, r"'quantum.overrides.blocks.0.gates' is not valid.*at the config"),
        (
            {"entangle": "ring"},
            r"Got 'quantum.overrides.entangle' at the config.*Did you mean",
        ),
        (
            {"file": {"path": "a.qpy"}},
            r"'quantum.overrides.file' is not valid: inputs must.*at the config",
        ),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            load_ansatz("reference", overrides, named=named)
        assert not re.search(r"\.yaml:\d", str(caught.value))


def test_a_fault_of_the_file_is_not_blamed_on_the_config(study):
    (study / "circuits" / "mine.yaml").write_text("qubits: 4\nentangler: {pattern: star}\n")
    with pytest.raises(ConfigError, match=r"'entangler.pattern' is not valid.*mine\.yaml:2:13"):
        load_ansatz("mine", {"qubits": 3}, named="quantum.overrides.{}".format)


def test_a_circuit_file_in_place_of_a_yaml_is_refused_with_where_it_goes(study, monkeypatch):
    (study / "mine.qasm").write_text("OPENQASM 2.0;\n")
    with pytest.raises(ConfigError, match=r"mine.qasm, which is OpenQASM 2. Name a circuit as file.path"):
        load_ansatz("mine.qasm")
