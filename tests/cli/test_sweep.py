"""``qhq sweep``: one JSON object, tables, figures, and a second call that goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SWEEP = """\
name: small
experiment: tiny.yaml
set: {backend: statevector, training.epochs: 1, quantum.qubits: 4}
seeds: 2
stages:
  - name: circuit
    space: {quantum.qubits: [2, 3], quantum.depth: [1, 2, 3, 4]}
final: {seeds: 2}
"""


@pytest.fixture
def sweep(qhq, study):
    (study / "sweep.yaml").write_text(SWEEP)
    return lambda *arguments: qhq("sweep", "sweep.yaml", "--workers", "1", *arguments)


def test_json_holds_rows_verdict_and_a_winner_to_train_and_people_get_tables(sweep, qhq):
    result = sweep("--json")
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    assert [row["variant"] for row in record["rows"]] == ["winner", "start", "last_value"]
    assert "On the test split the winner is" in record["verdict"]
    (figure,) = record["figures"]
    assert Path(figure).read_bytes().startswith(b"\x89PNG")
    for name in record["rows"][0]["runs"]:
        assert (Path("runs") / name / "figures" / "forecast.png").exists()
    assert "1 of 2 circuit: 8 points" in result.stderr
    assert qhq("train", f"{record['folder']}/winner.yaml", "--json").exit_code == 0
    assert qhq("compare", *record["rows"][0]["runs"]).exit_code == 0
    people = sweep("--resume").stdout
    assert record["verdict"] in people
    for word in (
        "Stage circuit",
        "chosen",
        "Rank correlation",
        "winner",
        "start",
        "last value",
        "winner.yaml",
    ):
        assert word in people


def test_without_a_final_the_rows_are_the_last_stage_s(sweep):
    result = sweep(
        "--set", "final=null", "--set", "stages=[{name: a, space: {quantum.depth: [1]}}]", "--json"
    )
    record = json.loads(result.stdout)
    assert record["rows"][0]["status"] == "finished"
    assert record["rows"][0]["chosen"] is True
    assert record["final"] is None


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--resume",), 2, "begun with the same config"),
        (("--cluster", "tcp://127.0.0.1:1"), 2, "processes here or on a cluster"),
        (("--set", "stages=[]"), 2, "stages"),
        (("--set", "metric=mde"), 2, "metric"),
        (("--set", "set={training.epoch: 3}"), 2, "epochs"),
        (("--set", "final={set: {quantum.qubits: 0}}"), 2, "qubits"),
        (("--set", "set={data.symbols: [NONE]}"), 3, "NONE"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(sweep, study, arguments, status, words):
    result = sweep(*arguments)
    assert result.exit_code == status, result.stderr
    assert words in result.stderr
    assert not (study / "runs").exists()


def test_a_missing_sweep_is_a_usage_error(qhq):
    result = qhq("sweep", "nowhere.yaml", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["kind"] == "ConfigError"
