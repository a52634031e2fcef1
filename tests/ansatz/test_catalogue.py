import re

import pytest

from qhq.ansatz.catalogue import list_ansaetze, load_ansatz
from qhq.errors import ConfigError

SIM = tuple(f"sim_{number:02}" for number in range(1, 20))
SHIPPED = (
    "brickwork",
    "efficient_su2",
    "real_amplitudes",
    "reference",
    "reuploading",
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
    with pytest.raises(ConfigError, match=r"mine\.yaml:4:3.*'hadamard'"):
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
