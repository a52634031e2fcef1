"""The main job through the command line: the JSON contract, the run folder, the same checkpoint again."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from qhq.cli.app import app as main
from qhq.errors import ConfigError

METRICS = {"mae", "rmse", "mape", "mase", "skill"}
TRAIN_KEYS = {"run", "backend", "seed", "epochs", "seconds", "quantum", "metrics"}
EVAL_KEYS = {
    "backend", "samples", "shots", "metrics", "naive", "delta_mae", "expectation_error", "depth",
    "two_qubit_gates", "layout", "calibration", "qpu_seconds", "job_ids",
}  # fmt: skip
FILES = {
    "config.yaml", "run.json", "model.safetensors", "resume.pt", "history.csv", "predictions.csv",
    "circuit.qpy", "circuit.qasm", "figures",
}  # fmt: skip


def trained(qhq, *arguments: str) -> dict:
    result = qhq("train", "tiny.yaml", "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_train_keeps_the_contract(qhq, study):
    record = trained(qhq, "--backend", "aer")
    assert record.keys() >= TRAIN_KEYS
    assert record["seconds"].keys() >= {"total", "data", "train", "eval"}
    assert record["quantum"].keys() >= {"qubits", "weights", "depth", "engine", "parity_max_abs"}
    assert record["metrics"]["test"].keys() == METRICS
    assert record["metrics"]["naive"].keys() == METRICS
    assert record["metrics"]["naive"]["skill"] == 0.0
    folder = study / "runs" / record["run"]
    assert {path.name for path in folder.iterdir()} >= FILES
    assert {path.name for path in (folder / "figures").iterdir()} >= {
        "history.png", "forecast.png", "model.png", "circuit.png",
    }  # fmt: skip


def test_metrics_are_those_of_the_predictions(qhq, study):
    record = trained(qhq)
    rows = pd.read_csv(study / "runs" / record["run"] / "predictions.csv")
    contract = ["symbol", "date", "horizon", "actual", "forecast", "naive"]
    assert list(rows.columns) == [*contract, "low", "high"]
    error, naive = ((rows[column] - rows["actual"]).abs() for column in ("forecast", "naive"))
    np.testing.assert_allclose(record["metrics"]["test"]["mae"], error.mean(), rtol=1e-12)
    own, rival = (each.groupby(rows["symbol"]).mean() for each in (error, naive))
    np.testing.assert_allclose(record["metrics"]["test"]["skill"], (1 - own / rival).mean(), atol=1e-12)
    relative = record["metrics"]["relative"]
    np.testing.assert_allclose(relative["test"]["mae"], 1 - record["metrics"]["test"]["skill"], atol=1e-12)
    assert relative["naive"] == {"mae": 1.0, "rmse": 1.0}


def test_eval_on_the_training_backend_gives_the_same_metrics(qhq, study):
    record = trained(qhq)
    result = json.loads(qhq("eval", "--backend", "aer", "--json").stdout)
    assert result["run"] == record["run"]
    (only,) = result["results"]
    assert only.keys() >= EVAL_KEYS
    for key in METRICS:
        np.testing.assert_allclose(only["metrics"][key], record["metrics"]["test"][key], atol=1e-12)
    assert (only["shots"], only["delta_mae"], only["expectation_error"]) == (None, 0.0, 0.0)
    assert len(list((study / "runs" / record["run"] / "evals").iterdir())) == 1


def test_eval_with_shots_differs_and_says_by_how_much(qhq):
    trained(qhq)
    arguments = ("eval", "--backend", "aer", "--backend", "aer_shots", "--shots", "256", "--json")
    exact, sampled = json.loads(qhq(*arguments).stdout)["results"]
    assert sampled["shots"] == 256
    assert 0 < sampled["expectation_error"] < 5 / np.sqrt(256)
    assert sampled["delta_mae"] != 0
    np.testing.assert_allclose(sampled["metrics"]["mae"] - exact["metrics"]["mae"], sampled["delta_mae"])
    again = json.loads(qhq(*arguments).stdout)["results"][1]
    other = json.loads(qhq(*arguments, "--seed", "1").stdout)["results"][1]
    assert again["metrics"] == sampled["metrics"] != other["metrics"]


def test_eval_takes_globs_and_a_stratified_subset(qhq):
    trained(qhq)
    results = json.loads(qhq("eval", "--backend", "aer*", "--samples", "20", "--json").stdout)["results"]
    assert {result["backend"] for result in results} >= {"aer", "aer_shots"}
    assert {result["samples"] for result in results} == {20}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--backend", "aerr"), "Did you mean 'aer'"),
        (("--backend", "nothing*"), "--backend must be an entry"),
        (("--shots", "9"), "--shots needs a sampling backend"),
        (("--samples", "100000"), "--samples must not exceed the test split"),
    ],
)
def test_eval_refuses_what_it_cannot_do(qhq, arguments, message):
    trained(qhq)
    result = qhq("eval", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_damaged_runs_are_refused(qhq, study):
    folder = study / "runs" / trained(qhq)["run"]
    weights = (folder / "model.safetensors").read_bytes()

    other = study / "runs" / trained(qhq, "--set", "quantum.overrides={encoding: {gates: RX}}")["run"]
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    assert "belong to the run's circuit" in qhq("eval", folder.name).stderr

    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    result = qhq("eval", folder.name)
    assert result.exit_code == 2
    assert "readable file that qhq wrote" in result.stderr

    (folder / "model.safetensors").write_bytes(weights)
    (folder / "circuit.qpy").write_bytes(b"QISKIT rubbish")
    result = qhq("eval", folder.name)
    assert result.exit_code == 2
    assert "Error: " in result.stderr


def test_classical_model_trains_and_evaluates(qhq, study):
    record = trained(qhq, "--set", "quantum=null")
    assert record["quantum"] is None
    assert not (study / "runs" / record["run"] / "circuit.qpy").exists()
    (result,) = json.loads(qhq("eval", "--backend", "aer", "--json").stdout)["results"]
    assert result["metrics"] == record["metrics"]["test"]
    assert result["expectation_error"] is None


def test_run_does_not_need_the_circuit_file_again(qhq, study):
    (study / "circuits").mkdir()
    (study / "circuits" / "mine.yaml").write_text("qubits: 2\nfile: {path: mine.py}\n")
    (study / "circuits" / "mine.py").write_text(
        "from qiskit.circuit import ParameterVector, QuantumCircuit\n"
        "def build(qubits, depth):\n"
        "    x, w = ParameterVector('x', qubits), ParameterVector('w', 2 * qubits)\n"
        "    circuit = QuantumCircuit(qubits)\n"
        "    for q in range(qubits):\n"
        "        circuit.ry(x[q], q)\n"
        "        circuit.rx(w[q], q)\n"
        "    circuit.cz(0, 1)\n"
        "    for q in range(qubits):\n"
        "        circuit.ry(w[qubits + q], q)\n"
        "    return circuit, list(x), list(w)\n"
    )
    record = trained(qhq, "--set", "quantum.ansatz=mine")
    for path in (study / "circuits").iterdir():
        path.unlink()
    (result,) = json.loads(qhq("eval", "--backend", "aer", "--json").stdout)["results"]
    assert result["metrics"] == record["metrics"]["test"]


def test_people_read_a_table_with_the_naive_forecast(qhq):
    result = qhq("train", "tiny.yaml")
    assert "last-value forecast" in result.stdout
    printed = " ".join(result.stdout.split())
    assert "One seed, not tested: on the test split the model's error is" in printed
    assert printed.lower().index("on the validation split") < printed.index("Test split, task forecast")
    assert "|grad| encoder" in result.stderr
    assert "last-value forecast" in qhq("eval").stdout


def test_compare_lists_runs_and_skips_damaged_ones(qhq, study):
    first, second = trained(qhq), trained(qhq, "--set", "seed=2")
    rows = json.loads(qhq("compare", "--json").stdout)["rows"]
    assert [row["run"] for row in rows] == [first["run"], second["run"]]
    assert rows[1]["mae"] == second["metrics"]["test"]["mae"]
    assert rows[1]["naive_mae"] == second["metrics"]["naive"]["mae"]
    (study / "runs" / first["run"] / "run.json").write_text("{")
    result = qhq("compare")
    assert result.exit_code == 0
    assert f"Skipped {first['run']}" in result.stderr
    assert second["run"] in result.stdout


def test_debug_shows_the_traceback(study):
    with pytest.raises(ConfigError, match="CONFIG must be"):
        main(["train", "none.yaml", "--debug"], standalone_mode=False)


def test_eval_on_other_data_is_marked_everywhere(qhq, study):
    days = pd.bdate_range("2020-01-01", periods=220).strftime("%Y-%m-%d")
    walk = 100 * np.exp(np.random.default_rng(0).normal(0, 0.01, 220).cumsum())
    frame = pd.DataFrame({"symbol": "ABC", "date": days, "adj_close": walk})
    frame.head(200).to_csv("old.csv", index=False)
    frame.to_csv("new.csv", index=False)
    own = ("data={source: csv, path: old.csv, symbols: [ABC], window: 5}", "quantum=null")
    record = trained(qhq, *(part for each in own for part in ("--set", each)))

    result = json.loads(qhq("eval", "--data", "new.csv", "--json").stdout)
    assert result["other_data"]["path"] == str(study / "new.csv")
    assert result["other_data"]["to"] == days[-1]
    assert result["results"][0]["samples"] == result["other_data"]["windows"]
    (file,) = (study / "runs" / record["run"] / "evals").iterdir()
    assert json.loads(file.read_text())["other_data"] == result["other_data"]
    assert json.loads(file.read_text())["request"]["data"]["path"] == "new.csv"
    assert "Other data than the run's: " in qhq("eval", "--data", "new.csv").stdout
    assert json.loads(qhq("eval", "--json").stdout)["other_data"] is None

    frame.to_csv("old.csv", index=False)
    refused = qhq("eval")
    assert refused.exit_code == 3
    assert f"qhq eval {record['run']} --data {study / 'old.csv'}" in refused.stderr
    assert qhq("eval", "--data", "old.csv").exit_code == 0


def test_a_walk_forward_is_shown_with_its_regimes_and_workers_are_for_its_folds(qhq, study):
    split = "data.split={scheme: walk_forward, folds: 2, train: 0.6, validation: 0.2, test: 0.2}"
    result = qhq("train", "tiny.yaml", "--set", split, "--set", "training.epochs=1", "--workers", "1")
    assert result.exit_code == 0, result.stderr
    for words in ("2 folds, each a run below", "By how much the input rows moved", "of 2 folds."):
        assert words in result.stdout
    (folder,) = (study / "runs").glob("*-walk-s1")
    assert (folder / "figures/walk.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads(qhq("train", "--resume", folder.name, "--json", "--workers", "1").stdout)
    assert sum(each["windows"] for each in record["regimes"]) == record["data"]["test"]["windows"]
    refused = qhq("train", "tiny.yaml", "--workers", "2")
    assert refused.exit_code == 2
    assert "train the folds of a walk-forward side by side" in refused.stderr
