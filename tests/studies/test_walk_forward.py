"""A walk-forward: every date forecast once, one verdict, and a kill changes nothing."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from qhq.api.run import Run
from qhq.cli.train import _people, _people_of_seeds
from qhq.data.load import load_panel
from qhq.errors import ConfigError, DataError, Interrupted, QHQError
from qhq.experiment.config import ExperimentConfig, load_config
from qhq.experiment.run import train_run
from qhq.report.study_figures import draw_walk
from qhq.runs.run_folder import RunFolder, find_walk, read_walk
from qhq.runs.seeds import tabulate_seeds, trained_together
from qhq.studies.runner import LocalWorkers, Runner, StudyEvents
from qhq.studies.walk_forward import study as walk_study
from qhq.studies.walk_forward.study import FoldCell, FoldStore, resume_walk, train_walk
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
    with pytest.raises(Interrupted) as stopped:
        train_walk(config(), cut)
    folder = find_walk(stopped.value.command.removeprefix("qhq train --resume "))
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


LEARNS = {**CONFIG, "training": {"epochs": 2, "learning_rate": 0.02}}
"""Of two epochs, the second of which is better than the first: a fold can be cut off between them."""


def learning(**split) -> ExperimentConfig:
    data = {**CONFIG["data"], "split": {**CONFIG["data"]["split"], **split}}
    return ExperimentConfig.model_validate({**LEARNS, "data": data})


@pytest.fixture(scope="module")
def learned(runs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QHQ_RUNS_DIR", str(runs))
        return train_walk(learning(), Watcher())


def check_same(one, other) -> None:
    """The same forecasts to the last bit, and the same record of them."""
    assert (one.path / "predictions.csv").read_bytes() == (other.path / "predictions.csv").read_bytes()
    found, wanted = read_walk(one).to_dict(), read_walk(other).to_dict()
    for key in ("metrics", "regimes", "tests", "verdict", "epochs"):
        assert found[key] == wanted[key]
    folds = [[{**fold, "run": None} for fold in each["folds"]] for each in (found, wanted)]
    assert folds[0] == folds[1]


class Cells(StudyEvents):
    def __init__(self) -> None:
        self.there: list[str] = []

    def done(self, key, *, fresh) -> None:
        self.there.append(key)


def test_folds_that_are_trained_side_by_side_give_the_same_table(learned):
    progress = Cells()
    with LocalWorkers(2, progress.note) as workers:
        folder = train_walk(learning(), None, runner=Runner(workers, progress))
    check_same(folder, learned)
    assert sorted(progress.there) == ["Fold 1 of 3", "Fold 2 of 3", "Fold 3 of 3"]


class Elsewhere:
    """Workers that share no disk with the driver: they keep nothing, and get only what can be sent."""

    def __init__(self, folder=None, until: int = 99) -> None:
        self.until = until

    def run(self, function, items):
        for count, item in enumerate(items):
            assert isinstance(item, FoldCell)
            if count == self.until:
                raise KeyboardInterrupt
            assert {"config.yaml", "walk.json"} <= item.files.keys()
            yield item, function(item)


def test_workers_without_the_drivers_disk_give_the_same_table_and_go_on_where_another_stopped(learned):
    with pytest.raises(KeyboardInterrupt):
        train_walk(learning(), None, runner=Runner(Elsewhere(until=1)), remote=True)
    (folder,) = (
        walk for walk in map(RunFolder, learned.path.parent.glob("*-walk-s0")) if walk != learned
        and read_walk(walk).status == "running" and json.loads(walk.file("walk.json").read_text())["design"]
        ["training"]["epochs"] == 2
    )  # fmt: skip
    # An epoch of the second fold, trained here, is sent along.
    cut = Notes()
    cut.epoch_done = lambda state: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        resume_walk(folder, cut)
    assert cut.folds[0].startswith("Fold 2 of 3")
    cell = FoldCell(1, folder.path, None)
    sent = FoldStore(folder, remote=True).hand_out(cell)
    assert "fold-001/resume.pt" in sent.files
    resume_walk(folder, None, runner=Runner(Elsewhere()), remote=True)
    check_same(folder, learned)


# Several seeds: a walk each, whose folds are trained at once.


def of_seeds(count: int) -> ExperimentConfig:
    found = config()
    return found.model_copy(update={"training": found.training.model_copy(update={"seeds": count})})


@pytest.fixture(scope="module")
def of_two(runs):
    """Walks of the seeds 0 and 1, the first of which is that of ``walk``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QHQ_RUNS_DIR", str(runs))
        return trained_together(train_walk(of_seeds(2), Watcher()))


def test_each_seed_has_the_walk_that_it_has_alone(walk, of_two):
    assert [read_walk(each).seed for each in of_two] == [0, 1]
    assert read_walk(of_two[0]).together == [each.name for each in of_two]
    first = find_fold(of_two[1], 2)
    assert load_config(str(first.config)) == config(fold=2).of_seed(1)
    assert_allclose(forecasts(of_two[0])["forecast"], forecasts(walk)["forecast"], rtol=1e-5)
    assert not np.allclose(forecasts(of_two[1])["forecast"], forecasts(walk)["forecast"], rtol=1e-5)
    assert {read_walk(each).looks.times for each in of_two} == {
        read_walk(of_two[0]).looks.times, read_walk(of_two[0]).looks.times + 1
    }  # fmt: skip


def test_the_dates_are_tested_by_losses_averaged_over_the_seeds(of_two):
    found = read_walk(of_two[0]).seeds
    assert found == read_walk(of_two[1]).seeds
    assert found.numbers == [0, 1]
    (test,), alone = found.tests, [read_walk(each).tests[0] for each in of_two]
    assert test["second"] == "last value"
    # Of two seeds the dates are those of one, and the loss of the last value is the same.
    assert_allclose(test["vs_gain"], np.mean([each["gain"] for each in alone]))
    assert f"Over {alone[0]['dates']} dates, forecast by 3 models of 2 seeds each" in found.verdict
    # A walk that is the last value itself has no test of its own; its seed counts in that of all.
    assert None in [each["p_value"] for each in alone]
    assert (test["vs"], test["vs_p"]) == ("not shown", pytest.approx(test["vs_p_holm"]))
    table = tabulate_seeds(of_two)
    assert [row["seed"] for row in table.rows] == [0, 1]
    assert_allclose(table.mean["mae"], np.mean([read_walk(each).tested().test.mae for each in of_two]))
    words = " ".join(map(str, _people_of_seeds(Run(of_two[0]), table)))
    assert found.verdict in words


def test_all_seeds_go_on_after_cuts_by_the_name_of_any(of_two):
    """The first fold by a worker elsewhere, half of the second here, and the rest after both were cut off."""
    before = set(of_two[0].path.parent.glob("*-walk-s0"))
    with pytest.raises(KeyboardInterrupt):
        train_walk(of_seeds(2), None, runner=Runner(Elsewhere(until=1)), remote=True)
    (begun,) = set(of_two[0].path.parent.glob("*-walk-s0")) - before
    folders = trained_together(RunFolder(begun))
    cut = Notes()
    cut.epoch_done = lambda state: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(Interrupted, match=f"Continue with: qhq train --resume {folders[0].name}"):
        resume_walk(folders[1], cut)
    assert cut.folds[0].startswith("Fold 2 of 3")
    resume_walk(folders[1], Watcher())
    for one, other in zip(folders, of_two, strict=True):
        check_same(one, other)
        assert read_walk(one).seeds == read_walk(other).seeds
    again = Notes()
    assert resume_walk(folders[1], again) == folders[0]
    assert "nothing is left to train" in again.said[-1]


class Killed(Watcher):
    """Ends its process without a word at one moment."""

    def __init__(self, moment: str) -> None:
        self.moment, self.fold = moment, 0

    def note(self, text) -> None:
        self.fold += text.startswith("Fold ")
        if self.moment == "before the first fold" and self.fold == 1:
            die()

    def epoch_done(self, state) -> None:
        if self.moment == "between two epochs" and self.fold == 2:
            die()


def die(*_) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train_and_die(runs: str, moment: str) -> None:
    os.environ["QHQ_RUNS_DIR"] = runs
    if moment == "before they are put together":
        walk_study.pool = die
    train_walk(learning(), Killed(moment))


@pytest.mark.parametrize(
    "moment", ["before the first fold", "between two epochs", "before they are put together"]
)
def test_a_walk_that_was_killed_goes_on_to_the_same_table(learned, tmp_path, monkeypatch, moment):
    process = multiprocessing.get_context("spawn").Process(target=train_and_die, args=(str(tmp_path), moment))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path))
    (folder,) = (RunFolder(path) for path in tmp_path.glob("*-walk-s0"))
    assert read_walk(folder).status == "running"
    on = Notes()
    resume_walk(folder, on)
    check_same(folder, learned)
    left = {"before the first fold": 3, "between two epochs": 2, "before they are put together": 0}[moment]
    assert len(on.folds) == left
    looks = [line for line in (tmp_path / "looks.jsonl").read_text().splitlines() if line]
    assert len(looks) == 1


def test_regimes_share_the_windows_out_and_are_told_in_the_text(learned):
    record = read_walk(learned)
    assert sum(each.windows for each in record.regimes) == len(forecasts(learned))
    errors = [each.mae * each.windows for each in record.regimes]
    assert_allclose(sum(errors) / len(forecasts(learned)), record.tested().test.mae)
    by_regime = record.to_dict()["metrics"]["intervals"]["coverage"][0]["by_regime"]
    assert {name: part["count"] for name, part in by_regime.items()} == {
        each.regime: each.windows for each in record.regimes
    }
    titles = [getattr(part, "title", "") for part in _people(record, "here")]
    assert any("input rows moved" in str(title) for title in titles)


def test_a_walk_of_an_earlier_version_has_no_regimes_and_is_shown(walk):
    content = json.loads(walk.file("walk.json").read_text())
    del content["regimes"]
    record = read_walk(walk).without("regimes")
    assert record.regimes == []
    assert record.tested().test.mae == content["metrics"]["test"]["mae"]
    assert all("input rows moved" not in str(getattr(part, "title", "")) for part in _people(record, "here"))


@pytest.fixture(scope="module")
def closes():
    panel = load_panel(config().data)
    dates = panel.dates.astype("datetime64[D]")
    return pd.DataFrame({"symbol": "AAPL", "date": dates, "adj_close": panel.column("adj_close")})


@pytest.mark.parametrize("folds", [8, 20])
def test_no_fold_sees_its_future_and_every_session_is_forecast_once(closes, folds, tmp_path, monkeypatch):
    """Absurd rows after a fold's block move neither its weights nor its forecasts."""
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path))
    path = tmp_path / "closes.csv"
    closes.to_csv(path, index=False)

    def of(**split) -> ExperimentConfig:
        own = learning(folds=folds, **split).model_dump(mode="json", exclude_unset=True)
        own["data"] = {**own["data"], "path": str(path), "source": "csv", "symbols": None}
        return ExperimentConfig.model_validate(own)

    walk = train_walk(of(), Watcher())
    table = forecasts(walk)
    sessions = closes["date"].astype(str).to_list()
    assert table["date"].to_list() == sessions[-round(0.2 * len(sessions)) :]
    rows = read_walk(walk).folds
    assert len(rows) == folds
    rng = np.random.default_rng(folds)
    for number in (0, folds // 2, folds - 2):
        absurd = closes.copy()
        later = absurd["date"] > rows[number].last
        absurd.loc[later, "adj_close"] *= np.exp(rng.normal(0, 0.5, later.sum()))
        absurd.to_csv(path, index=False)
        alone = train_run(of(fold=number), Watcher())
        fold = find_fold(walk, number)
        for name in ("predictions.csv", "model.safetensors"):
            assert (alone.path / name).read_bytes() == (fold.path / name).read_bytes()


MODULE = """
from torch import nn


class Mine(nn.Module):
    def __init__(self, shape, circuit):
        super().__init__()
        self.quantum, self.before = circuit, nn.Linear(shape.window * shape.features, circuit.num_inputs)
        self.after = nn.Linear(circuit.num_outputs, shape.horizon * shape.targets)

    def forward(self, windows):
        return self.after(self.quantum(self.before(windows.flatten(1)))).reshape(-1, 1, 1)


def build(shape, circuit):
    return Mine(shape, circuit)
"""


@pytest.mark.parametrize("remote", [False, True])
def test_every_fold_is_trained_from_the_module_that_the_walk_carries(remote, tmp_path, monkeypatch):
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path / "runs"))
    (tmp_path / "mine.py").write_text(MODULE)
    circuit = {"ansatz": "reference", "qubits": 2, "depth": 1}
    own = {**LEARNS, "backend": "statevector", "quantum": circuit}
    own["model"] = {"file": str(tmp_path / "mine.py")}
    runner = Runner(Elsewhere()) if remote else None
    folder = train_walk(ExperimentConfig.model_validate(own), Watcher(), runner=runner, remote=remote)
    assert folder.file("model.py").read_text() == MODULE == find_fold(folder, 2).file("model.py").read_text()


@pytest.mark.parametrize(
    "changes",
    [
        {"backend": "ibm_fez", "quantum": {"ansatz": "reference", "qubits": 2, "depth": 1}},
        {"model": {"file": "memory:0123456789ab"}},
    ],
)
def test_what_must_stay_in_one_process_is_not_given_to_several_workers(changes, tmp_path, monkeypatch):
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path))
    config = ExperimentConfig.model_validate({**learning().model_dump(mode="json"), **changes})
    with pytest.raises(ConfigError, match="another in one process"):
        train_walk(config, None, runner=Runner(Elsewhere()))
    assert not list(tmp_path.iterdir())


def test_the_figure_has_a_bar_a_fold_and_one_a_regime(learned):
    folds, regimes = draw_walk(read_walk(learned)).axes
    assert len(folds.patches) == 3
    assert [bar.get_height() for bar in regimes.patches] == [
        100 * each.skill for each in read_walk(learned).regimes
    ]
