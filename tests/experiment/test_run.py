"""A run: decided by its seed, blind to the test split, the same after any interruption."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from qhq.errors import BackendError, ConfigError, DataError, Interrupted
from qhq.experiment.config import load_config
from qhq.experiment.reopening import open_trained
from qhq.experiment.run import _LAST_WORD_BYTES, resume_run, train_run
from qhq.runs.run_folder import FAILED, FINISHED, RUNNING, find_run, list_runs
from qhq.training.loop import Watcher
from tests.data.panels import make_frame


def train(*overrides: str, watcher: Watcher | None = None):
    return train_run(load_config("tiny.yaml", overrides), watcher or Watcher())


def weights(folder) -> dict[str, np.ndarray]:
    return load_file(folder.weights)


def assert_same_weights(one, other) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_seed_decides_the_predictions_byte_for_byte(study):
    texts = [(train(f"seed={seed}").path / "predictions.csv").read_bytes() for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("backend", ["aer", "aer_shots"])
def test_sampling_seed_belongs_to_the_run(study, backend):
    one, same, other = (
        train(f"backend={backend}", "data.start=2012-06-01", "training.epochs=1", f"seed={seed}")
        for seed in (1, 1, 2)
    )
    assert_same_weights(one, same)
    assert not np.array_equal(weights(one)["quantum.weight"], weights(other)["quantum.weight"])


class CutOff(Watcher):
    """Interrupt in the middle of an epoch, or right after one."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.epoch, self.batch, self.now = epoch, batch, -1

    def epoch_started(self, epoch, batches):
        self.now, self.done = epoch, 0

    def batch_done(self, loss, gradient_norms):
        self.done += 1
        if (self.now, self.done) == (self.epoch, self.batch):
            raise KeyboardInterrupt


@pytest.mark.parametrize("backend", ["aer", "aer_shots"])
def test_interrupted_and_resumed_equals_uninterrupted(study, backend):
    overrides = (f"backend={backend}", "training.epochs=3", "model.dropout=0.1", "data.start=2012-06-01")
    whole = train(*overrides)
    with pytest.raises(KeyboardInterrupt):
        train(*overrides, watcher=CutOff(0, 2))
    cut = list_runs()[-1]
    for epoch, batch in ((1, 1), (2, 1)):
        assert cut.read_record().status == RUNNING
        with pytest.raises(KeyboardInterrupt):
            resume_run(cut, CutOff(epoch, batch))
    resume_run(cut, Watcher())
    heard = Notes()
    resume_run(cut, heard)
    assert heard.notes == [f"{cut.name} is finished: nothing is left to train, and these are its results."]
    assert_same_weights(whole, cut)
    for name in ("predictions.csv", "history.csv"):
        assert (whole.path / name).read_bytes() == (cut.path / name).read_bytes()
    assert cut.read_record().to_dict()["metrics"] == whole.read_record().to_dict()["metrics"]


@pytest.mark.parametrize("where", ["reserving", "add_look"])
def test_wherever_a_run_is_cut_the_command_that_goes_on_is_named(study, monkeypatch, where):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"qhq.experiment.run.{where}", stop)
    with pytest.raises(Interrupted) as cut:
        train("training.epochs=1")
    assert cut.value.command == f"qhq train --resume {list_runs()[-1].name}"


def test_finished_run_is_left_as_it_is(study):
    run = train("training.epochs=1")
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    resume_run(run, CutOff(0, 1))
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_killed_process_resumes_bit_for_bit(study):
    """`kill -9` after the first epoch's line and again after the second's, then run to the end."""
    whole = train("training.epochs=4")
    arguments = ["train", "tiny.yaml", "--set", "training.epochs=4"]
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-m", "qhq", *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        with process:
            for line in process.stderr:
                if line.startswith("epoch"):
                    break
            process.send_signal(signal.SIGKILL)
        cut = list_runs()[-1]
        arguments = ["train", "--resume", cut.name]
    assert process.returncode == -signal.SIGKILL
    resume_run(find_run(cut.name), Watcher())
    assert_same_weights(whole, cut)
    assert cut.read_record().status == FINISHED
    assert len(list_runs()) == 2


def write_prices(path, change_from: str | None = None) -> None:
    """Two symbols' random walks; from a date on they may be other walks."""
    days = pd.bdate_range("2020-01-01", periods=160)
    walks = 50 * np.exp(np.random.default_rng(5).normal(0, 0.01, (2, 160)).cumsum(axis=1))
    if change_from is not None:
        changed = days >= change_from
        walks[:, changed] *= np.random.default_rng(6).uniform(0.5, 2, (2, int(changed.sum())))
    frames = [
        pd.DataFrame({"symbol": s, "date": days, "adj_close": w}) for s, w in zip("AB", walks, strict=True)
    ]
    pd.concat(frames).to_csv(path, index=False)


@pytest.mark.parametrize("scaling", ["window", "minmax", "standard", "log_return"])
def test_test_part_moves_no_weight(study, scaling):
    own = (*OWN, f"data.scaling={scaling}")
    write_prices("own.csv")
    before = train(*own)
    test_from = before.read_record().to_dict()["data"]["test"]["from"]
    write_prices("own.csv", change_from=test_from)
    after = train(*own)
    assert_same_weights(before, after)
    assert (before.path / "history.csv").read_bytes() == (after.path / "history.csv").read_bytes()
    assert (before.path / "predictions.csv").read_bytes() != (after.path / "predictions.csv").read_bytes()


def test_config_of_a_run_trains_the_same_again(study):
    first = train("model.skip=concat", "quantum.overrides={blocks: [{kind: rotations, gates: Rot}]}")
    again = train_run(load_config(str(first.config)), Watcher())
    assert_same_weights(first, again)


def test_record_says_what_ran(study):
    record = train("training.epochs=1").read_record().to_dict()
    assert record["task"] == "forecast"
    assert record["design"]["training"]["epochs"] == 1
    assert record["versions"].keys() >= {"python", "qhq", "qiskit", "torch"}
    assert record["parameters"]["circuit"] == record["quantum"]["weights"] == 2
    assert len(record["data"]["fingerprint"]) == 64
    assert set(record["metrics"]["symbols"]) == {"AAPL", "MSFT"}
    json.dumps(record, allow_nan=False)


def cut_off(*overrides: str):
    with pytest.raises(KeyboardInterrupt):
        train(*overrides, watcher=CutOff(1, 1))
    return list_runs()[-1]


OWN = ("data.source=csv", "data.path=own.csv", "data.symbols=[A, B]", "data.start=null")


def test_other_prices_are_refused_on_resume_and_evaluation(study):
    write_prices("own.csv")
    cut, done = cut_off(*OWN), train(*OWN)
    write_prices("own.csv", change_from="2020-08-01")
    for run in (lambda: resume_run(cut, Watcher()), lambda: open_trained(done)):
        with pytest.raises(
            DataError, match=r"on exactly the prices that it was made for\. Got other prices from .*own.csv"
        ):
            run()


def test_run_opens_from_any_folder(study, monkeypatch):
    write_prices("own.csv")
    run = train(*OWN)
    (study / "elsewhere").mkdir()
    monkeypatch.chdir(study / "elsewhere")
    open_trained(find_run(run.name))


def test_state_of_another_run_is_refused(study):
    one, other = cut_off(), cut_off("seed=9", "quantum.overrides={encoding: {gates: RX}}")
    (one.resume).write_bytes(other.resume.read_bytes())
    with pytest.raises(ConfigError, match="checkpoint must belong to the run's circuit"):
        resume_run(one, Watcher())


def test_resumed_run_keeps_its_backend_entry(study):
    whole, cut = train(), cut_off()
    (study / "backends.yaml").write_text("aer: {kind: aer, shots: 4}\n")
    resume_run(cut, Watcher())
    assert_same_weights(whole, cut)
    assert cut.read_record().to_dict()["backend_entry"]["shots"] is None


def test_several_targets_and_horizons(study):
    run = train("data.features=[adj_close, high, low]", "data.targets=[high, low]", "data.horizon=2",
                "model.skip=concat")  # fmt: skip
    rows = pd.read_csv(run.path / "predictions.csv")
    assert list(rows.columns) == [
        "symbol",
        "date",
        "horizon",
        "actual",
        "forecast",
        "naive",
        "low",
        "high",
        "target",
    ]
    assert set(rows["horizon"]) == {1, 2}
    high, low = (rows[rows["target"] == name].reset_index() for name in ("high", "low"))
    assert (high["actual"] >= low["actual"]).all()
    assert (high[["symbol", "date", "horizon"]] == low[["symbol", "date", "horizon"]]).all(axis=None)


def test_parity_gate_stops_before_anything_is_written(study, monkeypatch):
    record = train("training.epochs=1").read_record().to_dict()
    assert 0 < record["quantum"]["parity_max_abs"] < 1e-5
    assert record["quantum"]["engine"] == "statevector"
    monkeypatch.setattr("qhq.backends.executor._TOLERANCE", 1e-12)
    monkeypatch.setattr("qhq.backends.executor._ROUNDINGS", 0.0)
    with pytest.raises(BackendError, match="engine must agree with Aer"):
        train("training.epochs=1")
    assert len(list_runs()) == 1


def test_evaluation_does_not_ask_what_the_run_was_trained_on(study, monkeypatch):
    run = train("training.epochs=1")
    monkeypatch.setenv("HOME", str(study))
    for name in ("QHQ_IBM_TOKEN", "QISKIT_IBM_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    device = {"kind": "ibm", "name": "ibm_gone", "training": True}
    run.write_json("run.json", {**run.read_record().to_dict(), "backend_entry": device})
    experiment = open_trained(run)
    assert experiment.model.quantum.neural_network.executor.report().backend == "statevector"


def test_rows_set_aside_are_reported_once_and_kept_in_the_record(study):
    frame = make_frame(symbols=("AAA",), rows=150)
    frame.loc[[20, 130], "adj_close"] = 0.0
    frame.to_csv("own.csv", index=False)
    reported = Notes()
    own = ("data.source=csv", "data.path=own.csv", "data.symbols=null", "data.start=null", "data.end=null")
    run = train(*own, "training.epochs=1", watcher=reported)
    (note,) = [each for each in reported.notes if "Set aside" in each]
    assert "Set aside 2 of 150 rows" in note
    record = run.read_record().to_dict()["data"]
    assert (record["quarantine"]["rows"], record["quarantine"]["of"], record["doubts"]) == (2, 150, [])
    assert record["quarantine"]["reasons"][0]["rows"] == [21, 131]
    # The same rows are left out when the run is opened again.
    assert open_trained(run).data.fingerprint == record["fingerprint"]
    with pytest.raises(DataError, match="'adj_close' must be above zero"):
        train(*own, "data.bad_rows=refuse", "training.epochs=1")


class Notes(Watcher):
    """Keep what is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text):
        self.notes.append(text)


def test_a_run_that_diverges_says_so_and_may_be_tried_again(study):
    with pytest.raises(ConfigError, match="finite"):
        train("training.learning_rate=1e30")
    (folder,) = list_runs()
    record = folder.read_record().to_dict()
    assert record["status"] == FAILED
    assert "The loss must stay a finite number" in record["error"]
    with pytest.raises(ConfigError, match="failed: The loss must stay a finite number"):
        open_trained(folder)
    with pytest.raises(ConfigError, match="finite"):
        resume_run(folder, Watcher())
    assert folder.read_record().status == FAILED


@pytest.mark.parametrize("error", [MemoryError("8 GiB"), RuntimeError("of torch")])
def test_whatever_ends_a_training_is_its_reason(study, error):
    class Failing(Watcher):
        def epoch_done(self, state):
            raise error

    with pytest.raises(type(error)):
        train(watcher=Failing())
    (folder,) = list_runs()
    assert folder.read_record().status == FAILED
    assert str(error) in folder.read_record().error
    assert resume_run(folder, Watcher()).read_record().status == FINISHED
    assert "error" not in folder.read_record().to_dict()


def test_a_run_is_called_what_its_folder_is_called(study):
    folder = train("training.epochs=1")
    moved = folder.path.rename(folder.path.with_name("kept"))
    record = find_run("kept").read_record().to_dict()
    assert record["run"] == "kept"
    assert open_trained(find_run("kept")).config.name == "tiny"
    resume_run(find_run(str(moved)), Watcher())
    assert [run.name for run in list_runs()] == ["kept"]


@pytest.mark.parametrize("full_at", ["resume.pt", "predictions.csv", "run.json"])
def test_a_disk_that_fills_up_later_leaves_a_failed_run_that_goes_on(study, monkeypatch, full_at):
    """Planted: after the second epoch nothing can be written, until the space that was kept is given back."""
    plain = ("quantum=null", "training.epochs=3", "data.start=2012-06-01")
    whole = train(*plain)
    real, seen, full = os.replace, [], []

    def replace(temporary, target):
        folder, name = os.path.split(os.fspath(target))
        seen.append(name)
        if name == full_at and seen.count("resume.pt") > 1:
            full.append(folder)
        kept = [each for each in os.scandir(folder) if each.name.startswith(".qhq-")]
        if folder in full and any(each.stat().st_size == _LAST_WORD_BYTES for each in kept):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(target))
        return real(temporary, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(ConfigError, match="No space left"):
            train(*plain)
    cut = list_runs()[-1]
    record = cut.read_record().to_dict()
    assert record["status"] == FAILED
    assert "No space left" in record["error"]
    resumed = resume_run(cut, Watcher())
    assert resumed.read_record().status == FINISHED
    assert "error" not in resumed.read_record().to_dict()
    assert (resumed.path / "predictions.csv").read_bytes() == (whole.path / "predictions.csv").read_bytes()
    assert not list(resumed.path.glob(".qhq-*"))
