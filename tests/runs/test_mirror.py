"""The mirror: MLflow shows what lies in the folders, once each, and no store keeps a run from ending well."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
import sqlite3
from pathlib import Path

import pytest

from qhq.runs.mirror import mirror_run, mirror_study
from qhq.runs.mirror_entry import _MIRRORED_FILE, all_units, recall
from qhq.runs.mirror_live import serve
from qhq.runs.mirror_store import find_target, open_store
from tests.runs.records import record, trial, write_eval, write_prediction, write_run


@pytest.fixture(scope="session")
def made(tmp_path_factory, cache):
    """A store of a runs folder, its tables made; making them takes seconds."""
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with open_store(find_target(root)):
            pass
        with sqlite3.connect(root / "mlflow.db") as database:
            database.execute("delete from experiment_tags where experiment_id > 0")
            database.execute("delete from experiments where experiment_id > 0")
        database.close()
    return root / "mlflow.db"


@pytest.fixture
def runs(tmp_path, monkeypatch, made):
    """A runs folder with an empty store, the mirror switched on."""
    root = tmp_path / "runs of mine"
    root.mkdir()
    shutil.copy(made, root / "mlflow.db")
    monkeypatch.setenv("QHQ_RUNS_DIR", str(root))
    monkeypatch.delenv("QHQ_MLFLOW")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    return root


@pytest.fixture
def notes():
    return []


def stored(root: Path) -> dict:
    """Every run in the store by its name: MLflow's view; a name must not be there twice."""
    with open_store(find_target(root)) as store:
        found = store.client.search_runs([store.experiment_id])
        names = [run.info.run_name for run in found]
        assert len(names) == len(set(names))
        return dict(zip(names, found, strict=True))


def test_a_run_is_mirrored_whole(runs, notes):
    run = write_run(runs / "a", record(leaks=[{"code": "scaler"}]))
    write_eval(run)
    write_prediction(run)
    assert mirror_run(run, notes.append) is True
    assert notes == []
    (mirrored,) = stored(runs).values()
    data = mirrored.data
    assert mirrored.info.status == "FINISHED"
    assert mirrored.info.end_time - mirrored.info.start_time == 60_000
    assert data.params["training.learning_rate"] == "0.01"
    assert data.params["data.symbols"] == '["AAPL", "MSFT"]'
    assert data.metrics["test.mae"] == 0.7
    assert data.metrics["naive.mae"] == 0.6
    assert data.metrics["eval.aer_shots.mae"] == 0.8
    assert data.metrics["predict.fake_fez.naive_mae"] == 0.6
    assert data.metrics["predict.fake_fez.held_90_h1"] == 0.91
    assert data.metrics["history.grad_circuit"] == 0.1
    assert data.tags["qhq.data"] == "f" * 64
    assert data.tags["qhq.seed"] == "1"
    assert data.tags["version.qhq"] == "0.1.0"
    assert data.tags["mlflow.source.git.commit"] == "c" * 40
    assert "scaler" in data.tags["qhq.leaks"]
    artifacts = runs / "mlflow-artifacts" / mirrored.info.run_id / "artifacts"
    for name in ("config.yaml", "run.json", "history.csv", "figures/history.png"):
        assert (artifacts / name).read_bytes() == (run.path / name).read_bytes()


def test_history_has_one_step_an_epoch(runs, notes):
    run = write_run(runs / "a")
    mirror_run(run, notes.append)
    mirror_run(run, notes.append)
    with open_store(find_target(runs)) as store:
        run_id = recall(next(all_units(runs)), store.key).run_id
        losses = store.client.get_metric_history(run_id, "history.train_loss")
    assert [(each.step, each.value) for each in losses] == [(1, 3.5), (2, 2.5)]


@pytest.mark.parametrize("lost", [None, "gone", "garbage", "[]", '{"run.json": {"x": 1}}'])
def test_mirrored_twice_is_one_run(runs, notes, lost):
    run = write_run(runs / "a")
    assert mirror_run(run, notes.append)
    if lost == "gone":
        (run.path / _MIRRORED_FILE).unlink()
    elif lost is not None:
        (run.path / _MIRRORED_FILE).write_text(lost)
    write_eval(run)
    assert mirror_run(run, notes.append)
    assert stored(runs)["a"].data.metrics["eval.aer_shots.mae"] == 0.8
    assert notes == []


def test_a_resumed_run_replaces_its_results(runs, notes):
    run = write_run(runs / "a", record(status="running"))
    mirror_run(run, notes.append)
    assert stored(runs)["a"].info.status == "RUNNING"
    content = record(metrics__test__mae=0.5, finished="2026-01-05T11:00:00+00:00")
    (run.path / "run.json").write_text(json.dumps(content))
    mirror_run(run, notes.append)
    mirrored = stored(runs)["a"]
    assert (mirrored.info.status, mirrored.data.metrics["test.mae"]) == ("FINISHED", 0.5)


def test_what_was_missed_is_mirrored_next_time(runs, notes):
    write_run(runs / "missed")
    write_run(runs / "sweeps" / "s" / "trials" / "0a1b-s1", trial())
    (runs / "sweeps" / "s" / "sweep.json").write_text('{"rows": [], "verdict": "None better."}')
    write_run(runs / "sweeps" / "begun" / "trials" / "2c3d-s1", trial())  # goes below its sweep, once there
    (runs / "damaged").mkdir()
    (runs / "damaged" / "run.json").write_text('{"status": ')
    assert mirror_run(write_run(runs / "now"), notes.append)
    assert stored(runs).keys() == {"missed", "now", "s", "0a1b-s1"}
    assert notes == [
        "Also mirrored to MLflow, as earlier commands had not: 3 runs or studies; 1 left for later."
    ]


def test_what_a_study_made_itself_is_not_called_missed(runs, notes):
    finals = [write_run(runs / name) for name in ("final-1", "final-2")]
    (runs / "sweeps" / "s").mkdir(parents=True)
    sweep = {"rows": [], "verdict": "None better."}
    (runs / "sweeps" / "s" / "sweep.json").write_text(json.dumps(sweep))
    assert mirror_study(runs / "sweeps" / "s", "sweep", sweep, notes.append, runs=finals)
    noise = {"rows": [], "verdict": ""}
    file = finals[0].write_json("studies/noise-1234.json", noise)
    assert mirror_study(finals[0], "noise", {**noise, "file": str(file)}, notes.append, runs=finals[:1])
    assert {"s", "final-1", "final-2", "final-1/noise-1234"} <= stored(runs).keys()
    assert notes == []


def test_a_store_made_anew_gets_everything_again(runs, notes, made):
    run = write_run(runs / "a")
    mirror_run(run, notes.append)
    shutil.copy(made, runs / "mlflow.db")
    mirror_run(write_run(runs / "b"), notes.append)
    assert stored(runs).keys() == {"a", "b"}


@pytest.mark.parametrize(
    "content",
    [trial(leaks=[]), trial(status="failed", error="ConfigError: no", metrics={}), trial(leaks=None)],
)
def test_trials_are_tolerated(runs, notes, content):
    run = write_run(runs / "sweeps" / "s" / "trials" / "0a1b-s1", content)
    assert mirror_run(run, notes.append) is True
    (mirrored,) = stored(runs).values()
    assert mirrored.data.tags["qhq.kind"] == "trial"
    assert mirrored.info.status == ("FAILED" if content["status"] == "failed" else "FINISHED")
    assert mirrored.data.metrics.get("validation.mae") == (0.7 if content["metrics"] else None)
    assert "test.mae" not in mirrored.data.metrics


@pytest.mark.parametrize("kind", ["ablation", "sweep", "noise"])
def test_studies_are_mirrored_with_rows_and_verdict(runs, notes, kind):
    rows = [{"variant": "hybrid", "mae": 0.5, "skill": None}, {"variant": "twin", "mae": 0.4, "skill": 0.1}]
    if kind != "ablation":
        rows = [{key: value for key, value in row.items() if key != "variant"} for row in rows]
    study = {"rows": rows, "verdict": "No better.", "config": "tiny", "request": {"seeds": 2}}
    study["data"] = "real prices (bundled)" if kind == "ablation" else {"fingerprint": "0a"}
    folder = runs / {"ablation": "studies/x", "sweep": "sweeps/x", "noise": "a/studies"}[kind]
    folder.mkdir(parents=True)
    file = folder / ("noise-0a.json" if kind == "noise" else "study.json")
    file.write_text(json.dumps({**study, "created": "2026-01-05T10:00:00+00:00"}))
    place = folder.parent if kind == "noise" else folder
    given = {**study, "file": str(file)} if kind == "noise" else study
    for _ in range(2):
        assert mirror_study(place, kind, given, notes.append) is True
    (mirrored,) = stored(runs).values()
    assert mirrored.data.tags["mlflow.note.content"] == "No better."
    assert mirrored.data.tags["qhq.kind"] == kind
    assert mirrored.data.tags.get("qhq.data") == (None if kind == "ablation" else "0a")
    assert mirrored.data.params["config"] == "tiny"
    assert mirrored.data.metrics["twin.mae" if kind == "ablation" else "rows.mae"] == 0.4
    assert notes == []


def test_a_study_asked_again_replaces_itself(runs, notes):
    folder = runs / "studies" / "x"
    folder.mkdir(parents=True)
    for seeds in ([1], [1, 2]):
        study = {"rows": [{"variant": "hybrid", "mae": 0.1 * len(seeds)}], "seeds": seeds}
        (folder / "study.json").write_text(json.dumps(study))
        assert mirror_study(folder, "ablation", study, notes.append) is True
    data = stored(runs)["x"].data
    assert (data.params["seeds"], data.metrics["hybrid.mae"]) == ("[1, 2]", 0.2)


def test_a_sweep_brings_its_trials(runs, notes):
    for number in range(3):
        write_run(runs / "sweeps" / "s" / "trials" / f"{number}-s1", trial())
    study = {"rows": [], "verdict": "None better."}
    (runs / "sweeps" / "s" / "study.json").write_text(json.dumps(study))
    assert mirror_study(runs / "sweeps" / "s", "sweep", study, notes.append) is True
    assert stored(runs).keys() == {"s", "0-s1", "1-s1", "2-s1"}


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"design": []}', json.dumps(record(design=None)), json.dumps(record(metrics=3)),
     json.dumps(record(created="yesterday"))],
)  # fmt: skip
def test_a_damaged_run_is_reported_and_keeps_no_other(runs, notes, content):
    run = write_run(runs / "bad")
    (run.path / "run.json").write_text(content)
    write_run(runs / "good")
    mirror_run(run, notes.append)
    assert "good" in stored(runs)


def test_off_is_off(runs, notes, monkeypatch):
    monkeypatch.setenv("QHQ_MLFLOW", "off")
    run = write_run(runs / "a")
    assert mirror_run(run, notes.append) is None
    assert notes == []
    assert not (run.path / _MIRRORED_FILE).exists()


@pytest.fixture
def silent_server():
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["silent", "closed", "garbage", "folder", "unknown"])
def test_a_store_that_cannot_be_reached_is_a_line(runs, notes, monkeypatch, silent_server, kind):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (runs / "garbage.db").write_text("no database, but text that is long enough to be read as one" * 20)
    uri = {
        "silent": silent_server,
        "closed": "http://someone:secret@127.0.0.1:9",
        "garbage": f"sqlite:///{runs}/garbage.db",
        "folder": f"sqlite:///{runs}",
        "unknown": "gopher://nowhere",
    }[kind]
    run = write_run(runs / "a")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert mirror_run(run, notes.append) is False
    (note,) = notes
    assert note.startswith("Not mirrored to MLflow (")
    assert ": a; " in note
    assert "the next run that reaches the store mirrors it too" in note
    assert "secret" not in note
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert mirror_run(write_run(runs / "b"), notes.append) is True
    assert stored(runs).keys() == {"a", "b"}


def mirror_some(root: str, names: list[str]) -> None:
    for name in names:
        reported: list[str] = []
        assert mirror_run(Path(root) / name, reported.append) is True, reported


@pytest.mark.parametrize("fresh", [False, True])
def test_two_processes_at_once_lose_nothing(runs, fresh):
    """Each has runs of its own and sees the other's as missed; in a fresh folder both make the store."""
    if fresh:
        (runs / "mlflow.db").unlink()
    names = [f"run-{number}" for number in range(4)]
    for name in names:
        write_run(runs / name)
    context = multiprocessing.get_context("spawn")
    parts = names[::2], names[1::2]
    workers = [context.Process(target=mirror_some, args=(str(runs), part)) for part in parts]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert stored(runs).keys() == set(names)


def mirrored_files(root):
    return {path.name for path in (root / "mlflow-artifacts").rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "plant",
    [
        lambda run, secret: (run / "figures" / "x.png").symlink_to(secret),
        lambda run, secret: (run / "report.html").symlink_to(secret),
        lambda run, secret: (run / "evals").symlink_to(secret.parent),
        lambda run, secret: (run / "circuit.qasm").hardlink_to(secret),
        lambda run, secret: (run / "figures" / "fifo.png").mkdir(),
        lambda run, secret: os.mkfifo(run / "figures" / "fifo.png"),
    ],
)
def test_nothing_outside_the_folder_is_mirrored(runs, notes, tmp_path, plant):
    secret = tmp_path / "elsewhere" / "secret.json"
    secret.parent.mkdir()
    secret.write_text(json.dumps({"key": "secret"}))
    run = write_run(runs / "a")
    plant(run.path, secret)
    assert mirror_run(run, notes.append) is True
    assert notes == []
    stored = [path for path in (runs / "mlflow-artifacts").rglob("*") if path.is_file()]
    assert len(stored) == 4
    assert not [path for path in stored if b"secret" in path.read_bytes()]


@pytest.mark.parametrize(
    "backend", ["aer_noisy", "../../../elsewhere/secret", "*", "", None, ["x"], {"a": 1}]
)
def test_a_noise_record_names_no_file(runs, notes, tmp_path, backend):
    secret = tmp_path / "elsewhere" / "secret.png"
    secret.parent.mkdir()
    secret.write_bytes(b"secret")
    run = write_run(runs / "a")
    (run.figures / "noise-aer_noisy.png").write_bytes(b"\x89PNG")
    content = {"run": "a", "backend": backend, "figure": str(secret), "rows": [], "verdict": ""}
    file = run.write_json("studies/noise-1234.json", content)
    mirror_study(run, "noise", {**content, "file": str(file)}, notes.append)
    expected = {"noise-1234.json", "noise-aer_noisy.png"} if backend == "aer_noisy" else {"noise-1234.json"}
    assert expected <= mirrored_files(runs)
    assert "secret.png" not in mirrored_files(runs)


def test_what_is_being_written_is_neither_a_file_nor_a_run(tmp_path):
    for name in ("run.json", "evals/a.json", "evals/.qhq-a.json", "figures/.qhq-b.png", "figures/b.png"):
        path = tmp_path / "one" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    for place in (".qhq-1", "sweeps/s/trials/.qhq-1", "sweeps/s/trials/whole"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "run.json").write_text("{}")
    units = list(all_units(tmp_path))
    assert [unit.name for unit in units] == ["one", "whole"]
    assert [path.name for path in units[0].files()] == ["run.json", "b.png", "a.json"]


def test_the_losses_of_a_run_that_trains_grow_and_its_end_goes_on_with_them(runs, notes):
    run = write_run(runs / "a", record(status="running", metrics=None))
    history = run.file("history.csv").read_text().splitlines()
    for rows in (2, 3):
        run.file("history.csv").write_text("\n".join(history[:rows]))
        serve([f"{runs / 'none'}\n", f"{run.path}\n"])  # one that is not there keeps no other
        (mirrored,) = stored(runs).values()
        assert mirrored.info.status == "RUNNING"
        assert mirrored.data.params["training.learning_rate"] == "0.01"
        assert {key.partition(".")[0] for key in mirrored.data.metrics} == {"history"}
        with open_store(find_target(runs)) as store:
            found = store.client.get_metric_history(mirrored.info.run_id, "history.train_loss")
        assert [each.step for each in found] == list(range(1, rows))
    run.file("run.json").write_text(json.dumps(record()))
    assert mirror_run(run, notes.append) is True
    (mirrored,) = stored(runs).values()
    assert mirrored.info.status == "FINISHED"
    assert mirrored.data.metrics["test.mae"] == 0.7
