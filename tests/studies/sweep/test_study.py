"""A whole sweep: the same table whoever works, however often it is cut off; one look at the test split."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pandas as pd
import pytest

from qhq import __version__
from qhq.errors import ConfigError
from qhq.experiment.config import load_config, naming_json
from qhq.runs.run_folder import RunFolder, read_walk
from qhq.studies.runner import LocalWorkers, Runner, StudyEvents
from qhq.studies.runner.cluster import ClusterWorkers
from qhq.studies.runner.reproducible import Fingerprints, _circuit, digest
from qhq.studies.sweep.spec import load_sweep
from qhq.studies.sweep.study import open_sweep, run_sweep
from qhq.studies.walk_forward.study import train_walk
from qhq.training.loop import Watcher
from tests.conftest import TINY

SWEEP = """\
name: small
experiment: tiny.yaml
set: {backend: statevector, training.epochs: 2}
seeds: 2
stages:
  - name: circuit
    space: {quantum.qubits: [2, 3], quantum.depth: [2, 3]}  # not where it starts
  - name: rate
    search: tpe
    trials: 5
    round: 2
    prune: {at: [1]}
    space: {training.learning_rate: {low: 0.001, high: 0.05, log: true}, data.window: [4, 5]}
final: {seeds: 2, set: {training.epochs: 1}}
"""


class Log(StudyEvents):
    """Remembers what was reported."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.fresh: list[str] = []
        self.notes: list[str] = []
        self.stop_after = stop_after

    def note(self, text: str) -> None:
        self.notes.append(text)

    def done(self, key, *, fresh):
        if fresh:
            self.fresh.append(key)
        if self.stop_after is not None and len(self.fresh) == self.stop_after:
            raise KeyboardInterrupt


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    return lay_out(tmp_path, monkeypatch)


def lay_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("QHQ_RUNS_DIR", str(folder / "runs"))
    (folder / "tiny.yaml").write_text(TINY)
    (folder / "sweep.yaml").write_text(SWEEP)
    return folder


def run(log: StudyEvents | None = None, count: int = 1, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    with LocalWorkers(count, lambda _: None) as workers:
        return run_sweep(open_sweep(*load_sweep("sweep.yaml", overrides)), Runner(workers, log)).to_dict()


def table(record: Any) -> Any:
    """All of a record but wall times, folders and the names of the final runs."""
    left_out = ("seconds", "folder", "runs", "trials")
    if isinstance(record, dict):
        return {key: table(value) for key, value in record.items() if key not in left_out}
    return [table(each) for each in record] if isinstance(record, list) else record


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The record of a sweep that nothing disturbed, and where it was made."""
    with pytest.MonkeyPatch.context() as patch:
        folder = lay_out(tmp_path_factory.mktemp("whole"), patch)
        return run(), folder


def test_stages_carry_the_winner_and_only_the_last_looks_at_the_test_part(whole):
    record, folder = whole
    sweep = Path(record["folder"])
    start, winner = (load_config(str(sweep / f"{name}.yaml")) for name in ("start", "winner"))
    chosen = [next(row for row in stage["rows"] if row["chosen"]) for stage in record["stages"]]
    assert str(winner.quantum.qubits) == chosen[0]["quantum.qubits"]
    assert winner.training.learning_rate == chosen[1]["training.learning_rate"]
    assert start.training.learning_rate == 0.01
    for path in sweep.glob("trials/*/run.json"):
        content = json.loads(path.read_text())
        assert set(content["metrics"]) == {"validation", "validation_naive"}
        np.testing.assert_allclose(
            content["relative"]["mae"], 1 - content["metrics"]["validation"]["skill"], atol=1e-12
        )
        assert not (path.parent / "predictions.csv").exists()
    seeds = {int(path.name.rpartition("-s")[2]) for path in sweep.glob("trials/*")}
    assert seeds == {1, 2}
    assert record["final"]["seeds"] == [3, 4]
    finals = {path.name for path in (folder / "runs").iterdir() if path.is_dir()} - {"sweeps"}
    assert finals == {name for row in record["final"]["rows"] for name in row.get("runs", [])}


def test_every_point_of_the_grid_is_ranked_and_tpe_begins_where_the_stage_starts(whole):
    circuit, rate = whole[0]["stages"]
    assert circuit["points"] == 4
    values = [row["value"] for row in circuit["rows"]]
    assert values == sorted(values)
    assert rate["points"] == 5
    assert any(row["training.learning_rate"] == 0.01 and row["data.window"] == "5" for row in rate["rows"])
    assert rate["pruned"] == sum(row["status"] == "pruned" for row in rate["rows"])
    assert all(row["epochs"] == 1 for row in rate["rows"] if row["status"] == "pruned")


def test_the_points_that_may_be_the_best_are_reported_on_the_validation_split(whole):
    for stage in whole[0]["stages"]:
        found = stage["confidence_set"]
        trials = {row["trials"][0]: row for row in stage["rows"] if row["value"] is not None}
        assert set(found["p_values"]) == {*trials, "last_value"}
        assert 0 <= found["superior_p"] <= 1
        for name, row in trials.items():
            assert row["in_set"] is (name in found["members"])
            assert row["set_p"] == found["p_values"][name]
        assert found["sentence"] in whole[0]["verdict"]


def test_the_final_table_stands_beside_the_last_value_with_its_tests(whole):
    rows = {row["variant"]: row for row in whole[0]["final"]["rows"]}
    assert set(rows) == {"winner", "start", "last_value"}
    assert rows["last_value"]["skill"] == 0
    for name in ("winner", "start"):
        assert (rows[name]["mase_low"], rows[name]["mase_high"]) == (None, None)  # of two seeds
        assert np.median(rows[name]["mase_seeds"]) == rows[name]["mase"]
        assert rows[name]["vs_naive"] in ("better", "not shown", "worse")
        assert rows[name]["vs_naive_exploratory"] is (name == "start")
    assert rows["winner"]["vs_naive_detectable"] > 0
    final = whole[0]["final"]["confidence_set"]
    assert set(final["p_values"]) == set(rows)
    assert final["benchmark"] == "last_value"
    record = json.loads((Path(whole[0]["folder"]) / "sweep.json").read_text())
    assert record["status"] == "finished"
    assert record["versions"]["qhq"]
    assert record["verdict"] == whole[0]["verdict"]


def test_a_finished_sweep_asked_again_trains_nothing(whole, monkeypatch):
    monkeypatch.chdir(whole[1])
    monkeypatch.setenv("QHQ_RUNS_DIR", str(whole[1] / "runs"))
    log = Log()
    assert run(log) == whole[0]
    assert log.fresh == []


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_same_table(whole, place):
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        ClusterWorkers(cluster.scheduler_address, lambda _: None) as workers,
    ):
        record = run_sweep(open_sweep(*load_sweep("sweep.yaml")), Runner(workers)).to_dict()
    assert table(record) == table(whole[0])


@pytest.mark.parametrize("after", [1, 13])
def test_cut_off_anywhere_it_goes_on_and_trains_nothing_twice(whole, place, after):
    first, second = Log(stop_after=after), Log()
    with pytest.raises(KeyboardInterrupt):
        run(first)
    assert table(run(second)) == table(whole[0])
    assert len(first.fresh) == after
    assert not set(first.fresh) & set(second.fresh)


DRIVER = """
import os, signal, sys
from qhq.studies.sweep.spec import load_sweep
from qhq.studies.sweep.study import open_sweep, run_sweep
from qhq.studies.walk_forward.study import train_walk
from qhq.training.loop import Watcher
from qhq.studies.runner import LocalWorkers
from qhq.studies.runner import StudyEvents, Runner

class Killer(StudyEvents):
    count = 0
    def done(self, key, *, fresh):
        Killer.count += 1
        if Killer.count == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    with LocalWorkers(2, print) as workers:
        run_sweep(open_sweep(*load_sweep("sweep.yaml")), Runner(workers, Killer()))
"""


def test_a_killed_driver_leaves_what_a_second_one_completes(whole, place):
    (place / "driver.py").write_text(DRIVER)
    root = Path(__file__).parents[3]
    killed = subprocess.run(
        [sys.executable, "driver.py", "5"],
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    log = Log()
    assert table(run(log)) == table(whole[0])
    assert "queued again" in log.notes[0]
    done = {path.name for path in Path(whole[0]["folder"]).glob("trials/*")}
    swept = next((place / "runs" / "sweeps").iterdir())
    assert {path.name for path in swept.glob("trials/*")} == done
    assert not list(swept.glob("working/*"))


def test_a_damaged_trial_is_named_and_one_taken_away_is_trained_again(whole, place):
    record = run()
    trial = next(Path(record["folder"]).glob("trials/*"))
    shutil.rmtree(trial)
    log = Log()
    assert run(log) == {**record, "stages": run()["stages"]}
    assert log.fresh == [trial.name]


def test_what_cannot_be_trained_fails_by_itself(place):
    record = run(overrides=("stages=[{name: a, space: {data.window: [5, 100000]}}]", "final=null"))
    (stage,) = record["stages"]
    assert [row["status"] for row in stage["rows"]] == ["finished", "failed"]
    assert stage["failed"] == 1
    assert record["final"] is None
    assert record["verdict"].endswith("The test split was not looked at.")


def test_a_stage_without_any_that_can_be_trained_says_why(place):
    with pytest.raises(ConfigError, match=r"none of 1; the first said: .*100000"):
        run(overrides=("stages=[{name: a, space: {data.window: [100000]}}]", "final=null"))


def test_a_device_is_refused(place):
    with pytest.raises(ConfigError, match="must train on a simulator"):
        open_sweep(*load_sweep("sweep.yaml", ["set={backend: ibm_torino}"]))


def test_a_sweep_is_named_by_where_it_starts_and_more_final_seeds_train_no_stage_again(whole, place):
    spec, config = load_sweep("sweep.yaml")
    assert open_sweep(spec, config).folder.name == Path(whole[0]["folder"]).name
    assert (
        open_sweep(spec, config.model_copy(update={"seed": 9})).folder.name != Path(whole[0]["folder"]).name
    )
    shutil.copytree(whole[1] / "runs", place / "runs")
    log = Log()
    record = run(log, overrides=("final.seeds=3",))
    assert record["final"]["seeds"] == [3, 4, 5]
    assert record["stages"] == whole[0]["stages"]
    assert [name.rpartition("-s")[2] for name in log.fresh] == ["5", "5"]


def test_another_circuit_of_the_same_name_is_another_trial(place):
    (place / "circuits").mkdir()
    text = "qubits: 2\ndepth: 1\nblocks: [{kind: rotations, gates: RX}]\n"
    config = load_config("tiny.yaml", ["quantum.ansatz=circuits/mine.yaml"])
    names = set()
    for gates in ("RX", "RY"):
        (place / "circuits" / "mine.yaml").write_text(text.replace("RX", gates))
        _circuit.cache_clear()  # another process
        names.add(digest(config))
    assert len(names) == 2


def test_two_drivers_of_one_sweep_are_one_too_many(place):
    sweep = open_sweep(*load_sweep("sweep.yaml"))
    sweep.folder.path.mkdir(parents=True)
    with sweep.folder.locked(), pytest.raises(ConfigError, match="one process at a time"):
        run()


def test_seeds_of_trials_repeat_those_of_a_training(whole, place):
    """A trial is the training that qhq train would do, without the look at the test split."""
    from qhq.experiment.run import train_run
    from qhq.training.loop import Watcher

    trial = next(iter(sorted(Path(whole[0]["folder"]).glob("trials/*"))))
    config = load_config(str(trial / "config.yaml"))
    history = np.genfromtxt(trial / "history.csv", delimiter=",", names=True)
    again = np.genfromtxt(train_run(config, Watcher()).path / "history.csv", delimiter=",", names=True)
    np.testing.assert_array_equal(history["validation_loss"], again["validation_loss"])


@pytest.mark.parametrize(("symbols", "serves"), [("[AAPL]", True), ("[AAPL, MSFT]", False)])
def test_errors_pooled_over_symbols_by_an_earlier_version_are_measured_again(place, symbols, serves):
    config = load_config("tiny.yaml", [f"data.symbols={symbols}"])
    seen = Fingerprints.of(config)
    content = [naming_json(config), (seen.prices, seen.circuit), __version__]
    earlier = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:10]
    assert (digest(config) == earlier) is serves


def test_a_sweep_says_which_rows_were_set_aside(place):
    days = pd.bdate_range("2020-01-01", periods=200).strftime("%Y-%m-%d")
    prices = 100 + np.random.default_rng(0).normal(0, 1, 200).cumsum()
    prices[50] = np.nan
    pd.DataFrame({"symbol": "AAA", "date": days, "adj_close": prices}).to_csv("bad.csv", index=False)
    data = "data: {source: csv, path: bad.csv, symbols: [AAA], window: 5}"
    Path("tiny.yaml").write_text(re.sub(r"data: \{.*?\}", data, TINY))
    log = Log(stop_after=1)
    with pytest.raises(KeyboardInterrupt):
        run(log)
    assert f"AAA on {days[50]}" in log.notes[0]


WALK = """\
name: walked
experiment: walk.yaml
set: {backend: statevector, training.epochs: 1}
seeds: 1
stages:
  - {name: circuit, space: {quantum.depth: [1, 2]}}
final: {seeds: 2}
"""


@pytest.fixture
def walking(place):
    split = "split: {scheme: walk_forward, folds: 2, train: 0.6, validation: 0.2, test: 0.2}"
    (place / "walk.yaml").write_text(TINY.replace("scaling: standard", f"scaling: standard, {split}"))
    (place / "sweep.yaml").write_text(WALK)
    return place


def test_a_sweep_of_a_walk_forward_searches_before_every_tested_session_and_tests_in_every_fold(walking):
    with pytest.raises(KeyboardInterrupt):
        run(Log(stop_after=3))  # both trials, and the first final run
    record, on = run(again := Log()), again.fresh
    assert len(on) == (3 if len(record["final"]["rows"]) == 3 else 1)
    runs = [
        RunFolder(walking / "runs" / name) for row in record["final"]["rows"] for name in row.get("runs", [])
    ]
    walks = [read_walk(each) for each in runs]
    assert {walk.status for walk in walks} == {"finished"}
    first = min(walk.folds[0].first for walk in walks)
    for path in Path(record["folder"]).glob("trials/*/run.json"):
        assert max(json.loads(path.read_text())["validation_losses"]["dates"]) < first
    winner = record["final"]["rows"][0]
    assert winner["runs"][0] == runs[0].name
    assert record["final"]["windows"] == walks[0].to_dict()["data"]["test"]["windows"]
    alone = read_walk(train_walk(load_config(str(runs[0].config)), Watcher()))
    assert alone.tested().test.mae == walks[0].tested().test.mae == winner["mae_seeds"][0]
    lines = [json.loads(line) for line in (walking / "runs/looks.jsonl").read_text().split("\n") if line]
    assert sum(line["times"] for line in lines if line["command"] == "sweep") == len(runs)


def test_the_folds_of_a_sweep_must_have_one_scale(walking):
    leak = ("set.data.leaks=[last_symbol_inverts]", "set.data.scaling=minmax")
    with pytest.raises(ConfigError, match="must have one scale"):
        open_sweep(*load_sweep("sweep.yaml", leak))
