"""``qhq doctor`` as a person and as a program sees it."""

from __future__ import annotations

import json

QUICK = ("--set", "data.start=2012-06-01")
PLATEAU = (
    "--set", "quantum.qubits=8", "--set", "quantum.depth=16", "--set", "model.skip=concat",
    "--set", "quantum.overrides={observables: [Z0 Z1], blocks: [{gates: Rot}]}",
)  # fmt: skip


def test_healthy_config_says_so_and_exits_0(qhq):
    result = qhq("doctor", "tiny.yaml", *QUICK)
    assert result.exit_code == 0
    assert result.stdout.startswith("Healthy: config tiny, before training.")
    for text in ("a fault if", "width of the widest output's band", "below 0.001"):
        assert text in result.stdout
    answer = json.loads(qhq("doctor", "tiny.yaml", *QUICK, "--json").stdout)
    measured = answer.pop("measured")
    assert answer == {"healthy": True, "findings": [], "leaks": [], "plausibility": []}
    assert {tuple(each) for each in measured} == {("name", "where", "value", "limit", "fault_if")}
    assert all((each["value"] < each["limit"]) != (each["fault_if"] == "below") for each in measured)


def test_fault_is_named_with_its_figures_and_fix_and_exits_1(qhq):
    result = qhq("doctor", "tiny.yaml", *QUICK, *PLATEAU)
    assert result.exit_code == 1
    for text in ("Not healthy: config tiny", "ERROR barren_plateau", "Fix: Fewer layers", "two_design"):
        assert text in result.stdout
    answer = qhq("doctor", "tiny.yaml", *QUICK, *PLATEAU, "--json")
    assert answer.exit_code == 1
    content = json.loads(answer.stdout)
    assert content.keys() == {"healthy", "findings", "leaks", "plausibility", "measured"}
    assert content["healthy"] is False
    (finding,) = content["findings"]
    assert finding.keys() == {"code", "severity", "message", "fix", "evidence"}
    assert finding["code"] == "barren_plateau"


def test_latest_run_is_looked_at_by_default(qhq):
    assert qhq("doctor").exit_code == 2
    assert qhq("train", "tiny.yaml", *QUICK, "--set", "training.epochs=1").exit_code == 0
    result = qhq("doctor")
    assert result.exit_code == 0
    assert "-tiny-s1" in result.stdout


def test_a_run_without_its_record_is_no_config(qhq, tmp_path):
    assert qhq("train", "tiny.yaml", *QUICK, "--set", "training.epochs=1").exit_code == 0
    (record,) = tmp_path.glob("**/run.json")
    content = json.loads(record.read_text())
    record.write_text(json.dumps({**content, "epochs": "many"}))
    result = qhq("doctor", str(record.parent))
    assert (result.exit_code, "'epochs' is not valid" in result.stderr) == (2, True)
    record.unlink()
    result = qhq("doctor", str(record.parent))
    assert (result.exit_code, "readable run.json" in result.stderr) == (2, True)


def test_a_damaged_circuit_is_an_error_in_three_parts(qhq, tmp_path):
    assert qhq("train", "tiny.yaml", *QUICK, "--set", "training.epochs=1").exit_code == 0
    (circuit,) = tmp_path.glob("**/circuit.qpy")
    circuit.write_bytes(circuit.read_bytes()[:-40])
    result = qhq("doctor")
    assert (result.exit_code, "QPY" in result.stderr) == (2, True)


def test_an_empty_folder_is_no_config(qhq, tmp_path):
    (tmp_path / "empty").mkdir()
    result = qhq("doctor", str(tmp_path / "empty"))
    assert (result.exit_code, "holds no config.yaml" in result.stderr) == (2, True)


def test_what_is_neither_run_nor_config_exits_2(qhq):
    result = qhq("doctor", "nowhere")
    assert result.exit_code == 2
    assert "RUN or CONFIG must be a run" in result.stderr


def test_a_model_without_a_circuit_is_not_called_healthy_by_checks_of_circuits(qhq):
    result = qhq("doctor", "tiny.yaml", *QUICK, "--set", "quantum=null")
    assert result.exit_code == 0
    assert "It has no circuit to check" in result.stdout
    assert "checks found nothing" not in result.stdout
