"""A trained run on other data than its own: what fits is evaluated with the run's scalers."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qhq.data.spec import DataSpec
from qhq.errors import ConfigError, DataError, QHQError
from qhq.experiment.config import load_config
from qhq.experiment.evaluate import forecast_windows
from qhq.experiment.other_data import OtherDataRequest, _with_symbol, open_run_on, tell_format
from qhq.experiment.reopening import open_trained
from qhq.experiment.run import train_run
from qhq.runs.record import RunRecord
from qhq.runs.run_folder import RunFolder
from qhq.training.loop import Watcher
from tests.runs.records import MINIMAL

OLD, NEW = 240, 30
CONFIG = """\
name: tiny
data: {{source: csv, path: old.csv, symbols: [AAA, BBB], window: 5, scaling: {scaling}}}
quantum: null
model: {{recurrent: [{{unit: gru, hidden: 4}}]}}
training: {{epochs: 1, batch_size: 64}}
"""


def prices() -> pd.DataFrame:
    """Two symbols; the newest ``NEW`` sessions come after what the runs are made from."""
    days = pd.bdate_range("2020-01-01", periods=OLD + NEW).strftime("%Y-%m-%d")
    walk = 100 * np.exp(np.random.default_rng(0).normal(0, 0.01, (2, OLD + NEW)).cumsum(axis=1))
    frames = [
        pd.DataFrame({"symbol": name, "date": days, "adj_close": walk[row]})
        for row, name in enumerate(("AAA", "BBB"))
    ]
    return pd.concat(frames, ignore_index=True)


def older() -> pd.DataFrame:
    frame = prices()
    return frame[frame["date"] < sorted(frame["date"].unique())[OLD]]


def trained(folder: Path, scaling: str) -> RunFolder:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("QHQ_RUNS_DIR", str(folder / "runs"))
        older().to_csv("old.csv", index=False)
        (folder / "tiny.yaml").write_text(CONFIG.format(scaling=scaling))
        return train_run(load_config("tiny.yaml"), Watcher())


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    """A run scaled by window, which carries over to any unit and symbol."""
    return trained(tmp_path_factory.mktemp("window"), "window")


@pytest.fixture(scope="module")
def level_run(tmp_path_factory) -> RunFolder:
    """A run scaled by the level of each symbol in training."""
    return trained(tmp_path_factory.mktemp("minmax"), "minmax")


def opened(run: RunFolder, frame: pd.DataFrame, *overrides: str, since: date | None = None):
    path = run.path.parents[1] / "new.csv"
    frame.to_csv(path, index=False)
    return open_run_on(run, OtherDataRequest(str(path), overrides, since))


def test_new_rows_after_an_unchanged_prefix(run):
    own = open_trained(run).data
    experiment = opened(run, prices())
    data = experiment.data
    assert data.other is not None
    assert (data.other.overlap.revised, data.other.overlap.factors) == (0, {})
    assert len(data.test) == len(own.test) + 2 * NEW
    # Nothing of what the model or a scaler was fitted on is evaluated.
    assert data.test.dates.min() == own.test.dates.min() > own.validation.dates.max()
    assert data.scaler.to_dict() == own.scaler.to_dict()
    np.testing.assert_array_equal(data.train.targets, own.train.targets)
    # The windows of the run's own test split are forecast as they were, whatever follows them.
    before = pd.read_csv(run.path / "predictions.csv")
    result = forecast_windows(experiment, None, data.test)
    after = pd.DataFrame(
        {
            "symbol": data.test.symbol,
            "date": data.test.dates[:, 0].astype(str),
            "again": result.forecast[:, 0, 0],
        }
    )
    both = before.merge(after, on=["symbol", "date"])
    assert len(both) == len(before)
    np.testing.assert_allclose(both["again"], both["forecast"], rtol=1e-6)


def test_same_rows_in_another_file_are_the_runs_own(run):
    frame = older()
    shuffled = frame[["adj_close", "date", "symbol"]].sample(frac=1, random_state=0)
    data = opened(run, shuffled).data
    assert data.other is None
    np.testing.assert_array_equal(data.test.targets, open_trained(run).data.test.targets)


def test_future_of_other_data_moves_no_forecast(run):
    frame = prices()
    cut = sorted(frame["date"].unique())[OLD + 10]
    changed = frame.copy()
    changed.loc[changed["date"] >= cut, "adj_close"] *= 1.5
    first, second = (opened(run, each) for each in (frame, changed))
    results = [forecast_windows(each, None, each.data.test).forecast for each in (first, second)]
    early = first.data.test.dates[:, 0] <= np.datetime64(cut)
    np.testing.assert_array_equal(results[0][early], results[1][early])


def test_newest_rows_alone_look_no_further_back_than_their_file(run):
    frame = prices()
    data = opened(run, frame[frame["date"] >= sorted(frame["date"].unique())[OLD]]).data
    assert len(data.test) == 2 * (NEW - 5)
    assert set(data.other.overlap.sessions.values()) == {0}
    # The run's own file is still there, so the baselines keep their scale.
    np.testing.assert_array_equal(data.train.targets, open_trained(run).data.train.targets)


def test_without_any_row_of_the_training_split_there_is_no_mase(run, monkeypatch):
    monkeypatch.setattr("qhq.data.prepare_other.Known.own_panel", lambda self, other: None)
    frame = prices()
    experiment = opened(run, frame[frame["date"] >= sorted(frame["date"].unique())[OLD]])
    metrics = forecast_windows(experiment, None, experiment.data.test).metrics()
    assert metrics.mase is None
    assert metrics.skill is not None


def test_rows_set_aside_are_reported_and_kept_in_the_record(run):
    frame = prices()
    assert opened(run, frame).data.other.to_dict()["quarantine"]["rows"] == 0
    day = sorted(frame["date"].unique())[OLD + 5]
    frame.loc[(frame["symbol"] == "AAA") & (frame["date"] == day), "adj_close"] = np.nan
    other = opened(run, frame).data.other
    assert other.to_dict()["quarantine"]["rows"] == 1
    reported = " ".join(other.notes())
    assert "Set aside 1 of 540 rows" in reported
    assert f"AAA on {day}" in reported


def test_revised_row_of_the_past_is_reported(run):
    frame = prices()
    frame.loc[3, "adj_close"] += 1
    other = opened(run, frame).data.other
    assert other.overlap.revised == 1
    assert "adj_close of AAA on 2020-01-06" in " ".join(other.notes())


def test_revised_row_is_found_in_the_test_split_when_the_old_file_is_gone(run, monkeypatch):
    monkeypatch.setattr("qhq.data.prepare_other.Known.own_panel", lambda self, other: None)
    frame = prices()
    frame.loc[OLD - 3, "adj_close"] += 1
    assert opened(run, frame).data.other.overlap.revised == 1


def test_split_since_is_reported_where_scaling_does_not_see_it(run):
    frame = prices()
    frame.loc[frame["symbol"] == "BBB", "adj_close"] /= 4
    experiment = opened(run, frame)
    other = experiment.data.other
    assert other.overlap.factors.keys() == {"BBB"}
    np.testing.assert_allclose(other.overlap.factors["BBB"], 0.25)
    assert "does not depend on it" in " ".join(other.notes())
    # The scale of MASE is in the unit of the new prices too, so the figure does not change.
    whole = opened(run, prices())
    mase = [forecast_windows(each, None, each.data.test).metrics().mase for each in (experiment, whole)]
    np.testing.assert_allclose(*mase, rtol=1e-5)


def test_split_since_is_refused_where_the_scaler_knows_the_old_level(level_run):
    frame = prices()
    frame.loc[frame["symbol"] == "BBB", "adj_close"] /= 4
    with pytest.raises(DataError, match=r"BBB .* 0\.25 times"):
        opened(level_run, frame)


def test_dividend_since_is_reported_and_not_refused(level_run):
    frame = prices()
    frame.loc[frame["date"] < "2020-12-15", "adj_close"] *= 0.99
    notes = " ".join(opened(level_run, frame).data.other.notes())
    assert "0.99 times" in notes
    assert "fitted on the old ones" in notes


def test_another_symbol_is_evaluated_when_named(run, level_run):
    frame = prices().replace({"symbol": {"AAA": "CCC"}})
    with pytest.raises(DataError, match="no row of 'AAA'"):
        opened(run, frame)
    data = opened(run, frame, "data.symbols=[CCC]").data
    assert set(data.test.symbol) == {"CCC"}
    with pytest.raises(DataError, match="seen every symbol"):
        opened(level_run, frame, "data.symbols=[CCC]")


def test_weekly_rows_are_refused(run):
    frame = prices()
    weekly = frame[pd.to_datetime(frame["date"]).dt.day_of_week == 2]
    with pytest.raises(DataError, match=r"every 7 days, where the run had one every 1"):
        opened(run, weekly)


def test_file_that_ends_too_early_is_refused_with_its_dates(run):
    frame = older()
    days = sorted(frame["date"].unique())
    with pytest.raises(DataError, match=rf"from {days[0]} to {days[150]}"):
        opened(run, frame[frame["date"] <= days[150]])
    few = prices().groupby("symbol").tail(4)
    with pytest.raises(DataError, match="5 input rows and 1 target rows"):
        opened(run, few)


def test_earlier_dates_are_evaluated_when_asked_and_reported_as_seen(run):
    other = opened(run, prices(), since=date(2020, 6, 1)).data.other
    assert other.since == "2020-06-01"
    assert other.seen_sessions > 0
    assert other.notes()[0].startswith("Warning")


def test_dates_of_the_own_file_can_be_chosen(run):
    data = open_run_on(run, OtherDataRequest(since=date(2020, 11, 16))).data
    assert data.other.same
    assert str(data.test.dates.min()) == "2020-11-16"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.window=7", "data.window"),
        ("data.scaling=standard", "data.scaling"),
        ("data.split={train: .5, validation: .2, test: .3}", "data.split"),
        ("training.epochs=3", "where the data comes from"),
    ],
)
def test_what_the_model_was_trained_for_stays(run, override, message):
    with pytest.raises(ConfigError, match=message):
        opened(run, prices(), override)


def test_missing_column_is_refused(run):
    with pytest.raises(DataError, match="no 'adj_close'"):
        opened(run, prices().rename(columns={"adj_close": "level"}))


def test_options_for_a_run_of_stocks_are_refused(run):
    with pytest.raises(ConfigError, match=r"data\.panel"):
        opened(run, prices(), "data.panel=options", "data.source=csv")


def test_strict_opening_says_what_to_do_instead(tmp_path):
    run = trained(tmp_path, "window")
    prices().to_csv(tmp_path / "old.csv", index=False)
    with pytest.raises(DataError, match=rf"qhq eval \S*{run.name} --data {tmp_path / 'old.csv'}"):
        open_trained(run)
    # The file was written over: its older rows are the run's, and serve as such.
    data = open_run_on(run, OtherDataRequest(str(tmp_path / "old.csv"))).data
    assert data.other.overlap.compared == 2 * OLD
    assert len(data.train) > 0


def test_a_key_of_the_format_that_comes_from_the_run_is_reported():
    error = DataError("It must be so", got="this", fix="Mend it")
    own = DataSpec(source="csv", path="x.csv", format={"dates": "dayfirst"})
    reported = tell_format(error, own, OtherDataRequest("new.csv"))
    assert "From the run come data.format.dates=dayfirst" in reported.fix
    assert tell_format(error, own, OtherDataRequest("new.csv", ("data.format.dates=iso",))) is error


def test_a_file_that_names_no_symbol_is_of_the_runs_one(tmp_path):
    path = tmp_path / "newer.csv"
    request = OtherDataRequest(str(path))
    spec = DataSpec(source="csv", path=str(path), symbols=None)

    def record(*symbols):
        return RunRecord.model_validate(MINIMAL | {"metrics": {"symbols": {name: {} for name in symbols}}})

    path.write_text("Date,Close\n2024-01-02,5\n")
    assert _with_symbol(spec, record("OWN"), request).symbols == ("OWN",)
    assert _with_symbol(spec, record("A", "B"), request).symbols is None
    path.write_text("Date,Close,Symbol\n2024-01-02,5,OTHER\n")
    assert _with_symbol(spec, record("OWN"), request).symbols is None


WRONG = (None, "x", 3, [], {}, [[1.0]], [1.0, 2.0, 3.0], [1, "a"], {"a": []}, 1e308, True)


@pytest.mark.parametrize("name", ["run", "level_run"])
def test_a_damaged_scaler_is_an_error_in_three_parts_before_anything_is_forecast(name, request, tmp_path):
    """On the run's own prices it is compared with theirs; on others its own names alone know better."""
    run = request.getfixturevalue(name)
    prices().to_csv(tmp_path / "new.csv", index=False)
    content, refused = run.read_record().to_dict(), 0
    try:
        for key in content["scaler"]:
            for value in WRONG:
                run.write_json("run.json", content | {"scaler": {**content["scaler"], key: value}})
                try:
                    experiment = open_run_on(run, OtherDataRequest(path=str(tmp_path / "new.csv")))
                    forecast_windows(experiment, None, experiment.data.test)
                except QHQError:
                    refused += 1
        assert refused == len(content["scaler"]) * len(WRONG)
    finally:
        run.write_json("run.json", content)
