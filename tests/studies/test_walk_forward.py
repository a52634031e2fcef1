"""A walk-forward: every date forecast once, one verdict, and a kill changes nothing."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from qhq.cli.train import _people
from qhq.errors import ConfigError, DataError, QHQError
from qhq.experiment.config import ExperimentConfig
from qhq.experiment.run import train_run
from qhq.runs.run_folder import RunFolder, find_walk, read_walk
from qhq.studies.walk_forward.study import resume_walk, train_walk
from qhq.training.loop import Watcher
from tests.runs.records import DELETED, WRONG, damaged, keys_of

CONFIG = {
    "name": "tiny",
    "data": {
        "symbols": ["AAPL"], "start": "2012-01-01", "window": 5,
        "split": {"scheme": "expanding", "folds": 3, "train": 0.6, "validation": 0.2, "test": 0.2},
    },
    "quantum": None,
    "model": {"recurrent": [{"unit": "gru", "hidden": 2}]},
    "training": {"epochs": 1},
}  # fmt: skip


class Notes(Watcher):
    """What was said, and a cut in the middle of one fold."""

    def __init__(self, cut_in: int = 0) -> None:
        self.said: list[str] = []
        self.cut_in = cut_in

    def note(self, text: str) -> None:
        self.said.append(text)

    def epoch_started(self, epoch, batches) -> None:
        if self.cut_in and len(self.folds) == self.cut_in:
            raise KeyboardInterrupt

    @property
    def folds(self) -> list[str]:
        return [each for each in self.said if each.startswith("Fold ")]


def config(**split) -> ExperimentConfig:
    return ExperimentConfig.model_validate(
        {**CONFIG, "data": {**CONFIG["data"], "split": {**CONFIG["data"]["split"], **split}}}
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("walks")


@pytest.fixture(autouse=True)
def _place(runs, monkeypatch):
    monkeypatch.setenv("QHQ_RUNS_DIR", str(runs))


@pytest.fixture(scope="module")
def walk(runs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QHQ_RUNS_DIR", str(runs))
        return train_walk(config(), Watcher())


def forecasts(folder) -> pd.DataFrame:
    return pd.read_csv(folder.path / "predictions.csv")


def test_every_test_date_is_forecast_once_and_pooled(walk):
    record, table = read_walk(walk).to_dict(), forecasts(walk)
    assert record["status"] == "finished"
    assert table["date"].is_unique
    each = pd.concat(forecasts(find_fold(walk, number)) for number in range(3))
    assert table.to_dict("list") == each.to_dict("list")
    error, naive = (np.abs(table[name] - table["actual"]) for name in ("forecast", "naive"))
    metrics = record["metrics"]
    assert_allclose(metrics["test"]["mae"], error.mean())
    assert_allclose(metrics["test"]["skill"], 1 - error.mean() / naive.mean())
    for row in record["folds"]:
        own = table["date"].between(row["from"], row["to"])
        assert row["windows"] == own.sum()
        assert row["trained_to"] < row["from"]
        assert_allclose(row["skill"], 1 - error[own].mean() / naive[own].mean())
    assert [each["second"] for each in record["tests"]] == ["last value"]
    assert not any(each["exploratory"] for each in record["tests"])  # the family was named in advance
    assert f"Over {len(table)} dates, forecast by 3 models" in record["verdict"]
    assert record["data"]["test"]["windows"] == len(table)
    assert record["looks"]["times"] == 1


def find_fold(walk, number):
    from qhq.runs.run_folder import find_run

    return find_run(f"{walk.name}/fold-{number:03d}")


def test_a_fold_is_the_run_that_training_it_alone_gives(walk):
    alone = train_run(config(fold=1), Watcher())
    fold = find_fold(walk, 1)
    for name in ("predictions.csv", "model.safetensors"):
        assert (alone.path / name).read_bytes() == (fold.path / name).read_bytes()


def test_a_walk_that_was_cut_off_goes_on_to_the_same_table(walk):
    cut = Notes(cut_in=2)
    with pytest.raises(KeyboardInterrupt):
        train_walk(config(), cut)
    hint = cut.said[-1]
    name = hint.removeprefix("Cut off. Continue with: qhq train --resume ")
    folder = find_walk(name)
    assert read_walk(folder).status == "running"
    shutil.rmtree(folder.path / "fold-002", ignore_errors=True)
    first = (folder.path / "fold-000" / "run.json").stat().st_mtime_ns
    on = Notes()
    resume_walk(folder, on)
    assert len(on.folds) == 2
    assert (folder.path / "fold-000" / "run.json").stat().st_mtime_ns == first
    assert (folder.path / "predictions.csv").read_bytes() == (walk.path / "predictions.csv").read_bytes()
    one, other = read_walk(folder).to_dict(), read_walk(walk).to_dict()
    assert one["metrics"] == other["metrics"]
    assert one["verdict"] == other["verdict"]
    lines = [
        json.loads(line) for line in (folder.path.parent / "looks.jsonl").read_text().split("\n") if line
    ]
    assert [line["run"] for line in lines].count(folder.name) == 1
    again = Notes()
    assert resume_walk(folder, again) == folder
    assert [each.partition(":")[0] for each in again.said] == [f"{folder.name} is finished"]


def test_a_volatility_is_tested_against_har_and_one_model_of_one_seed_not_at_all():
    data = {"targets": ["log_garman_klass"], "features": ["log_garman_klass"], "window": 22,
            "scaling": "standard"}  # fmt: skip
    split = {**CONFIG["data"]["split"], "folds": 1, "refit": 500}
    one = ExperimentConfig.model_validate({**CONFIG, "data": {**CONFIG["data"], **data, "split": split}})
    record = read_walk(train_walk(one, Watcher())).to_dict()
    assert [each["second"] for each in record["tests"]] == ["last value", "har"]
    assert {(each["verdict"], each["reason"]) for each in record["tests"]} == {("not tested", "one seed")}
    assert "forecast by one model of one seed" in record["verdict"]
    assert "not tested against HAR" in record["verdict"]


@pytest.mark.parametrize("damage", ["", "symbol,date\n", "other"])
def test_forecasts_of_other_windows_are_not_pooled(walk, tmp_path, monkeypatch, damage):
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path))
    shutil.copytree(walk.path, tmp_path / "copy")
    folder = find_walk("copy")
    record = json.loads((folder.path / "walk.json").read_text())
    (folder.path / "walk.json").write_text(json.dumps({**record, "status": "running"}))
    path = folder.path / "fold-001" / "predictions.csv"
    path.write_text(path.read_text().replace("AAPL", "MSFT") if damage == "other" else damage)
    with pytest.raises(DataError, match=r"predictions\.csv"):
        resume_walk(folder, Watcher())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"status": "running", "data": 3}', "[" * 100_000])
def test_a_damaged_record_is_refused(tmp_path, text):
    (tmp_path / "walk.json").write_text(text)
    with pytest.raises(ConfigError, match=r"walk\.json"):
        resume_walk(find_walk(str(tmp_path)), Watcher())


def test_other_prices_than_those_it_was_begun_with_are_refused(walk, tmp_path):
    shutil.copytree(walk.path, tmp_path / "copy")
    folder = find_walk(str(tmp_path / "copy"))
    record = json.loads((folder.path / "walk.json").read_text())
    changed = {**record, "status": "running", "data": {"fingerprint": "f" * 64}}
    (folder.path / "walk.json").write_text(json.dumps(changed))
    with pytest.raises(DataError, match="exactly the prices"):
        resume_walk(folder, Watcher())


def test_a_damaged_key_at_any_depth_is_an_error_in_three_parts_or_none(walk, tmp_path):
    content = json.loads(walk.file("walk.json").read_text())
    copy = RunFolder(tmp_path / walk.name)
    refused = 0
    for keys in keys_of(content):
        if (keys[0] in ("design", "tests") and len(keys) > 1) or len(keys) > 4:
            continue  # what is only shown, and tables of further measures
        for value in (DELETED, *WRONG):
            copy.path.mkdir(exist_ok=True)
            copy.file("walk.json").write_text(json.dumps(damaged(content, keys, value)))
            try:
                record = read_walk(copy)
                if record.status == "finished":
                    resume_walk(copy, Watcher())
                    record.prices()
                    _people(record, "here")
            except QHQError:
                refused += 1
    assert refused > 300
