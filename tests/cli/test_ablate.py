"""``qhq ablate``: one JSON object, a table, a figure and a page that needs nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from markupsafe import escape

from tests.report.pages import read_page

QUICK = ("--set", "training.epochs=1", "--set", "backend=statevector", "--workers", "1")


@pytest.fixture
def result(qhq):
    return qhq("ablate", "tiny.yaml", "--seeds", "2", *QUICK, "--json")


def test_json_holds_rows_and_verdict_and_stderr_the_rest(result, qhq):
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    assert record["verdict"].startswith("The quantum layer is ")
    hybrid = record["rows"][0]
    assert hybrid["variant"] == "hybrid"
    assert record["seed_loss"]["hybrid"][0] > 0
    assert record["data"] == "real prices (bundled)"
    assert next(each["rival"] for each in record["family"]) == "last_value"
    assert Path(record["figure"]).read_bytes().startswith(b"\x89PNG")
    check_page(Path(record["page"]).read_text(), record)
    people = qhq("ablate", "tiny.yaml", "--seeds", "2", *QUICK).stdout
    assert record["verdict"] in people
    assert people.startswith("Data: real prices (bundled)\n")
    for word in ("hybrid", "mlp", "frozen", "unentangled", "no middle", "last value", "gradient boosting"):
        assert word in people


def check_page(page: str, record: dict) -> None:
    assert escape(record["verdict"]) in page
    table, *_ = read_page(page).tables
    assert [row[0] for row in table.rows] == [row["variant"].replace("_", " ") for row in record["rows"]]
    assert page.count("named in advance:") == len(record["family"])
    assert "Data: real prices (bundled)." in page


def test_a_failed_control_is_a_finding(qhq):
    """A learning rate of nearly nothing finds no signal."""
    result = qhq("ablate", "tiny.yaml", "--control", "--seeds", "1", *QUICK,
                 "--set", "training.learning_rate=1e-12", "--json")  # fmt: skip
    assert result.exit_code == 1, result.stderr
    record = json.loads(result.stdout)
    assert record["passed"] is False
    assert "which it should not be" in record["verdict"]
    assert {row["control"] for row in record["rows"]} == {"random_walk", "planted"}
    headings = read_page(Path(record["page"]).read_text()).headings
    assert [text for level, text in headings if level == 2] == [
        "Control: random walk",
        "Control: planted signal",
    ]


def test_processes_together_with_a_cluster_are_refused(qhq, study):
    result = qhq("ablate", "tiny.yaml", *QUICK, "--cluster", "tcp://127.0.0.1:1")
    assert result.exit_code == 2
    assert "processes here or on a cluster" in result.stderr
    assert not (study / "runs").exists()


def test_a_config_without_a_circuit_is_refused(qhq):
    result = qhq("ablate", "tiny.yaml", "--set", "quantum=null")
    assert result.exit_code == 2
    assert "needs a config with a quantum layer" in result.stderr
