"""The mirror in MLflow: by itself, never twice, missed runs later, and never in the way."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from qhq.tracking.mirror import mirror_run, mirror_study
from qhq.tracking.run_folder import RECORD_KEYS, RunFolder, create_run

pytestmark = pytest.mark.filterwarnings("ignore")

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("QHQ_MLFLOW", "on")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    return tmp_path / "runs"


def fill(folder: RunFolder, **keys) -> None:
    design = {"name": "study", "seed": 3, "quantum": {"qubits": 4}}
    record = dict.fromkeys(RECORD_KEYS) | {
        "status": "finished",
        "seed": 3,
        "backend": "aer",
        "design": design,
    }
    record |= {
        "metrics": {"test": {"mae": 1.5, "mape": None}, "naive": {"mae": 2.0}},
        "leaks": ["stops_on_test"],
    }
    record |= {"created": "2026-01-02T03:04:05+00:00", "finished": "2026-01-02T03:05:05+00:00", "epochs": 2}
    folder.write_json("run.json", record | keys)
    folder.write_text("config.yaml", "name: study\n")
    folder.write_text("history.csv", "epoch,train_loss,grad_circuit\n1,0.5,\n2,0.25,0.125\n")
    folder.write_text("figures/forecast.png", "no picture")


def make(**keys) -> RunFolder:
    return create_run("study", 3, lambda folder: fill(folder, **keys))


def mirrored(kind: str = "train") -> dict[str, object]:
    """Runs of the store by name."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{Path('runs/mlflow.db').absolute()}")
    experiment = client.get_experiment_by_name("qhq").experiment_id
    found = client.search_runs([experiment], f"tags.`qhq.kind` = '{kind}'", max_results=1000)
    assert len({run.info.run_name for run in found}) == len(found), "a run was mirrored twice"
    return {run.info.run_name: run for run in found}


def artifacts(run) -> set[str]:
    place = Path(run.info.artifact_uri.removeprefix("file://"))
    return {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}


def test_a_run_is_there_with_params_metrics_steps_tags_and_files(runs):
    folder = make()
    assert mirror_run(folder, pytest.fail)
    run = mirrored()[folder.name]
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == 60_000
    assert run.data.params["quantum.qubits"] == "4"
    assert run.data.metrics["mae"] == 1.5
    assert run.data.metrics["naive_mae"] == 2.0
    assert run.data.metrics["train_loss"] == 0.25
    assert "mape" not in run.data.metrics
    assert run.data.tags["qhq.leaks"] == "stops_on_test"
    assert artifacts(run) == {"config.yaml", "run.json", "history.csv", "figures/forecast.png"}


def test_mirrored_twice_it_is_one_run_even_if_the_folder_forgot():
    folder = make()
    for forget in (False, False, True):
        if forget:
            (folder.path / "mlflow.json").unlink()
        assert mirror_run(folder, pytest.fail)
    assert len(mirrored()) == 1


def test_an_evaluation_is_added_to_the_run_that_is_there():
    folder = make()
    mirror_run(folder, pytest.fail)
    folder.add_evaluation({"results": [{"backend": "aer_shots", "metrics": {"mae": 3.0}, "delta_mae": 0.5}]})
    mirror_run(folder, pytest.fail)
    run = mirrored()[folder.name]
    assert run.data.metrics["eval.aer_shots.mae"] == 3.0
    assert run.data.metrics["eval.aer_shots.delta_mae"] == 0.5


def closed_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def test_nobody_at_the_address_is_one_line_and_the_run_comes_later(monkeypatch):
    first, notes = make(), []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{closed_port()}")
    assert not mirror_run(first, notes.append)
    assert len(notes) == 1
    assert first.name in notes[0]
    assert "secret" not in notes[0].partition("(")[0]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    second = make()
    assert mirror_run(second, pytest.fail)
    assert set(mirrored()) == {first.name, second.name}


def test_a_server_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    notes: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert not mirror_run(make(), notes.append)
    assert "Not mirrored" in notes[0]


def test_a_store_that_cannot_be_written_is_one_line(runs, monkeypatch):
    folder, notes = make(), []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder.path}/run.json/none.db")
    assert not mirror_run(folder, notes.append)
    assert len(notes) == 1


def test_a_damaged_store_is_one_line(runs):
    folder, notes = make(), []
    (runs / "mlflow.db").write_text("no database")
    assert not mirror_run(folder, notes.append)
    assert len(notes) == 1


def test_a_damaged_run_keeps_no_other_from_the_store():
    make(versions=["no", "mapping"])
    make(created="yesterday")
    good = make()
    assert mirror_run(good, pytest.fail)
    assert set(mirrored()) == {good.name}


def test_switched_off_it_makes_nothing(runs, monkeypatch):
    monkeypatch.setenv("QHQ_MLFLOW", "off")
    assert not mirror_run(make(), pytest.fail)
    assert not (runs / "mlflow.db").exists()


def test_a_sweep_has_its_trials_below_it(runs):
    folder = RunFolder(runs / "sweeps" / "small")
    metrics = {"validation": {"mae": 1.0}, "validation_naive": {"mae": 2.0}}
    for name, keys in {"a-s0": {"metrics": metrics}, "b-s0": {"status": "failed", "metrics": None}}.items():
        fill(RunFolder(folder.path / "trials" / name), **keys)
    record = {
        "rows": [{"variant": "winner", "mae": 1.0, "skill": None}],
        "verdict": "No better.",
        "stages": [],
    }
    for _ in range(2):
        assert mirror_study(folder, "sweep", record, pytest.fail)
    (sweep,), trials = mirrored("sweep").values(), mirrored("trial")
    assert sweep.data.metrics == {"winner.mae": 1.0}
    assert sweep.data.tags["mlflow.note.content"] == "No better."
    assert {run.info.status for run in trials.values()} == {"FINISHED", "FAILED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in trials.values()} == {sweep.info.run_id}
    assert trials["a-s0"].data.metrics["naive_mae"] == 2.0


MIRROR_ALL = """
from qhq.tracking.mirror import mirror_run
from qhq.tracking.run_folder import list_runs
import sys
for folder in list_runs()[int(sys.argv[1])::2]:
    assert mirror_run(folder, print)
"""


def test_two_processes_at_once_lose_nothing():
    names = {make().name for _ in range(6)}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-c", MIRROR_ALL]
    both = [subprocess.Popen([*command, str(part)], env=environment) for part in (0, 1)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert set(mirrored()) == names


def test_what_is_remembered_is_of_one_store_alone(tmp_path, monkeypatch):
    folder = make()
    mirror_run(folder, pytest.fail)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "other")
    mirror_run(folder, pytest.fail)
    memory = json.loads((folder.path / "mlflow.json").read_text())
    assert len({each["run_id"] for each in memory.values()}) == 2
