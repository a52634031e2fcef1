"""`qhq circuit` and `qhq backends` through the command line."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.painted


def test_list_names_the_shipped_ansaetze(qhq):
    names = {row["name"] for row in json.loads(qhq("circuit", "list", "--json").stdout)["rows"]}
    assert names >= {"reference", "real_amplitudes", "efficient_su2", "zz_feature_map", "reuploading"}


def test_own_ansatz_is_listed_and_a_broken_one_skipped(qhq, study):
    (study / "circuits").mkdir()
    (study / "circuits" / "mine.yaml").write_text("qubits: 3\n")
    (study / "circuits" / "broken.yaml").write_text("qubitz: 3\n")
    result = qhq("circuit", "list")
    assert "mine" in result.stdout
    assert "Skipped broken" in result.stderr


@pytest.mark.parametrize("ending", ["png", "svg", "pdf", "txt"])
def test_draw_writes_a_picture(qhq, study, ending):
    result = qhq("circuit", "draw", "reference", "--output", f"circuit.{ending}", "--json")
    assert json.loads(result.stdout) == {"name": "reference", "path": f"circuit.{ending}"}
    assert (study / f"circuit.{ending}").stat().st_size > 200


def test_draw_prints_text(qhq):
    result = qhq("circuit", "draw", "reference", "--qubits", "2")
    assert "Ry(x[0])" in result.stdout
    assert "Ry(x[2])" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("draw", "reference", "--output", "circuit.bmp"), "must end in .txt, .png, .svg, .pdf or .tex"),
        (("draw", "reference", "--output", "none/circuit.png"), "must be writable"),
        (("draw", "referense"), "Did you mean 'reference'"),
        (("export", "reference", "--format", "qpy"), "QPY is binary"),
        (("export", "reference", "--format", "qasm"), "form of an export"),
        (("export", "reference", "--format", "qasm2"), "OpenQASM 2"),
        (("export", "reference", "--output", "none/circuit.qasm"), "writable"),
        (("info", "none.yaml"), "must exist"),
    ],
)
def test_bad_requests_are_refused(qhq, arguments, message):
    result = qhq("circuit", *arguments)
    assert result.exit_code == 2, result.stderr
    assert message in result.stderr


def test_export_prints_openqasm_3(qhq):
    text = qhq("circuit", "export", "reference").stdout
    assert text.startswith("OPENQASM 3")


def test_info_counts(qhq):
    facts = json.loads(qhq("circuit", "info", "reference", "--qubits", "3", "--depth", "2", "--json").stdout)
    assert (facts["qubits"], facts["weights"], facts["two_qubit_gates"]) == (3, 6, 6)
    assert facts["angle_scaling"] == "pi_tanh"
    assert "two qubit gates" in qhq("circuit", "info", "reference").stdout


def test_backends_are_listed_and_shown(qhq):
    rows = {row["name"]: row for row in json.loads(qhq("backends", "list", "--json").stdout)["rows"]}
    assert rows["aer"]["shots"] is None
    assert rows["aer_shots"]["shots"] == 1024
    shown = json.loads(qhq("backends", "show", "aer_shots", "--json").stdout)
    assert (shown["name"], shown["kind"]) == ("aer_shots", "aer")
    assert "gradient:" in qhq("backends", "show", "aer").stdout
    assert "Did you mean 'aer_shots'" in qhq("backends", "show", "aer_shot").stderr


def test_brackets_in_a_description_are_text(qhq, study):
    (study / "circuits").mkdir()
    (study / "circuits" / "mine.yaml").write_text("description: 'a [/x] and [red]b'\n")
    assert "a [/x] and [red]b" in qhq("circuit", "list").stdout


def test_wide_drawings_are_not_broken(qhq):
    lines = qhq("circuit", "draw", "reference", "--depth", "12").stdout.splitlines()
    assert len(lines) == 9
    assert max(map(len, lines)) > 200


def test_what_a_python_circuit_prints_stays_off_the_json(qhq, study):
    (study / "circuits").mkdir()
    (study / "circuits" / "noisy.yaml").write_text("qubits: 1\nfile: {path: noisy.py}\n")
    (study / "circuits" / "noisy.py").write_text(
        "from qiskit.circuit import Parameter, QuantumCircuit\n"
        "print('hello')\n"
        "def build(qubits, depth):\n"
        "    x, circuit = Parameter('x'), QuantumCircuit(1)\n"
        "    circuit.ry(x, 0)\n"
        "    return circuit, [x], []\n"
    )
    result = qhq("circuit", "info", "noisy", "--json")
    assert json.loads(result.stdout)["inputs"] == 1
    assert "hello" in result.stderr


def test_bound_circuit_exports_to_openqasm_2(qhq):
    arguments = ("circuit", "export", "reference", "--qubits", "1", "--format", "qasm2", "--values")
    assert "ry(0.25)" in qhq(*arguments, "0.25,0.5").stdout
    assert "numbers separated by commas" in qhq(*arguments, "0.25,x").stderr


def test_circuit_as_a_device_runs_it(qhq):
    arguments = ("circuit", "info", "reference", "--qubits", "3", "--json")
    logical = json.loads(qhq(*arguments).stdout)
    result = qhq(*arguments, "--isa", "fake_nairobi")
    device = json.loads(result.stdout)
    assert set(device["gates"]) <= {"cx", "rz", "sx", "x"}
    assert (device["inputs"], device["weights"]) == (logical["inputs"], logical["weights"])
    assert "read from physical" in result.stderr
    assert "OPENQASM 3" in qhq("circuit", "export", "reference", "--isa", "fake_nairobi").stdout
    assert "needs a backend with a device" in qhq("circuit", "draw", "reference", "--isa", "aer").stderr


def test_a_name_of_nothing_says_that_a_run_may_be_named_too(qhq):
    for what in (("draw",), ("info",), ("export",)):
        result = qhq("circuit", *what, "reuploadin")
        assert result.exit_code == 2
        said = " ".join(result.stderr.split())
        assert "an ansatz in circuits/, the path of a YAML file, or a run. Got 'reuploadin'" in said
        assert "Did you mean 'reuploading'?" in said
