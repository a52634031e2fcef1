"""The mirror never keeps a command from ending well; ``qhq compare`` on the command line."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")


def train(qhq, *arguments: str):
    return qhq("train", "tiny.yaml", "--set", "backend=statevector", "--set", "training.epochs=1", *arguments)


def test_a_training_ends_well_and_says_what_was_not_mirrored(qhq, monkeypatch):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
    monkeypatch.setenv("QHQ_MLFLOW", "on")
    result = train(qhq, "--json")
    assert result.exit_code == 0
    record = json.loads(result.stdout)
    assert "Not mirrored to MLflow (http://127.0.0.1" in result.stderr
    assert record["run"] in result.stderr
    assert json.loads((Path(record["path"]) / "run.json").read_text())["status"] == "finished"


def test_train_eval_and_sweep_are_in_the_default_store(qhq, study, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setenv("QHQ_MLFLOW", "on")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert train(qhq).exit_code == 0
    assert qhq("eval", "--backend", "aer_shots").exit_code == 0
    (study / "sweep.yaml").write_text(
        "experiment: tiny.yaml\nset: {backend: statevector, training.epochs: 1}\nseeds: 1\n"
        "stages: [{name: a, space: {quantum.depth: [1, 2]}}]\nfinal: {seeds: 1, baseline: false}\n"
    )
    assert qhq("sweep", "sweep.yaml", "--workers", "1").exit_code == 0
    client = MlflowClient(f"sqlite:///{study}/runs/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("qhq").experiment_id])
    kinds = sorted(run.data.tags["qhq.kind"] for run in runs)
    assert kinds == ["sweep", "train", "train", "trial", "trial"]
    evaluated = [run for run in runs if "eval.aer_shots.mae" in run.data.metrics]
    assert len(evaluated) == 1


def test_compare_shows_what_differs_sorts_filters_and_exports(qhq, study):
    for depth in (1, 2):
        assert train(qhq, "--set", f"quantum.depth={depth}").exit_code == 0
    record = json.loads(qhq("compare", "--sort", "-quantum.depth", "--json").stdout)
    assert record["differs"] == ["quantum.depth"]
    assert [row["quantum.depth"] for row in record["rows"]] == [2, 1]
    assert all(row["naive_mae"] > 0 for row in record["rows"])
    result = qhq(
        "compare", "--filter", "quantum.depth = 1", "--csv", "a.csv", "--excel", "a.xlsx", "--latex", "a.tex"
    )
    assert result.exit_code == 0, result.stderr
    assert {"a.csv", "a.xlsx", "a.tex"} <= {path.name for path in study.iterdir()}
    assert len((study / "a.csv").read_text().splitlines()) == 2
    assert len(json.loads(qhq("compare", "--limit", "1", "--all", "--json").stdout)["rows"]) == 1


@pytest.mark.parametrize(
    "arguments",
    [("--sort", "mpae"), ("--filter", "mape"), ("--filter", "deph = 1"), ("none*",), ("--csv", "none/a.csv")],
)
def test_bad_input_of_compare(qhq, study, arguments):
    train(qhq)
    result = qhq("compare", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")


def test_compare_skips_a_damaged_folder_with_a_warning(qhq):
    path = Path(json.loads(train(qhq, "--json").stdout)["path"])
    good = json.loads(train(qhq, "--json").stdout)["run"]
    (path / "run.json").write_text("{")
    result = qhq("compare", "--json")
    assert result.exit_code == 0
    assert [row["run"] for row in json.loads(result.stdout)["rows"]] == [good]
    assert f"Skipped {path.name}" in result.stderr


def test_no_runs_is_no_error(qhq):
    result = qhq("compare")
    assert result.exit_code == 0
    assert "No runs" in result.stdout
