"""What has not happened yet: tomorrow's forecast is the one that an evaluation gives the day after."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qhq.backends.local.statevector import StatevectorExecutor
from qhq.data.load import load_panel
from qhq.errors import ConfigError, DataError
from qhq.experiment.config import load_config
from qhq.experiment.evaluate import forecast_windows
from qhq.experiment.other_data import OtherDataRequest, open_run_on
from qhq.experiment.predict import PredictRequest, forecast_ahead, plan_prediction, prediction_record
from qhq.experiment.reopening import read_finished
from qhq.experiment.run import train_run
from qhq.runs.run_folder import RunFolder
from qhq.studies.walk_forward.study import train_walk
from qhq.training.loop import Watcher

OLD, NEW = 240, 30
SYMBOLS = ("AAA", "BBB", "CCC")
CONFIG = """\
name: tiny
data: {{source: csv, path: old.csv, symbols: null, window: 5, horizon: {horizon}, scaling: {scaling}{more}}}
quantum: {quantum}
model: {{recurrent: [{{unit: gru, hidden: 4}}]}}
training: {{epochs: 1, batch_size: 64}}
intervals: {intervals}
"""
CIRCUIT = "{ansatz: reference, qubits: 2, depth: 1}"


def prices(rows: int = OLD + NEW) -> pd.DataFrame:
    """Three symbols on the exchange's sessions; the newest ``NEW`` come after what the runs are made from."""
    days = pd.bdate_range("2020-01-02", periods=OLD + NEW).strftime("%Y-%m-%d")
    walk = 100 * np.exp(np.random.default_rng(0).normal(0, 0.01, (len(SYMBOLS), OLD + NEW)).cumsum(axis=1))
    frames = [
        pd.DataFrame({"symbol": name, "date": days[:rows], "adj_close": walk[row, :rows]})
        for row, name in enumerate(SYMBOLS)
    ]
    return pd.concat(frames, ignore_index=True)


def trained(
    folder: Path, *, horizon=1, scaling="window", quantum="null", intervals="split", more=""
) -> RunFolder:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("QHQ_RUNS_DIR", str(folder / "runs"))
        prices(OLD).to_csv("old.csv", index=False)
        text = CONFIG.format(
            horizon=horizon, scaling=scaling, quantum=quantum, intervals=intervals, more=more
        )
        (folder / "tiny.yaml").write_text(text)
        config = load_config("tiny.yaml")
        return (train_walk if config.data.split.walks else train_run)(config, Watcher())


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    """Scaled by the window, so that it carries over to any unit; so little trained, it is the last value."""
    return trained(tmp_path_factory.mktemp("window"))


@pytest.fixture(scope="module")
def circuit(tmp_path_factory) -> RunFolder:
    """With a circuit, and scaled by each symbol's level: its forecast is its own from the first epoch on."""
    return trained(tmp_path_factory.mktemp("circuit"), quantum=CIRCUIT, scaling="standard")


@pytest.fixture(scope="module")
def two_ahead(tmp_path_factory) -> RunFolder:
    return trained(
        tmp_path_factory.mktemp("two"), horizon=2, scaling="standard", more=", gaps: mask, max_gap: 5"
    )


@pytest.fixture(scope="module")
def adaptive(tmp_path_factory) -> RunFolder:
    return trained(tmp_path_factory.mktemp("adaptive"), intervals="adaptive", scaling="standard")


@pytest.fixture(autouse=True)
def own_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path / "runs"))


def request_for(run: RunFolder, frame: pd.DataFrame, *overrides: str, since=None, **more) -> PredictRequest:
    path = run.path.parents[1] / "new.csv"
    frame.to_csv(path, index=False)
    return PredictRequest(OtherDataRequest(str(path), overrides, since), **more)


def predicted(run: RunFolder, frame: pd.DataFrame, *overrides: str, **more):
    plan = plan_prediction(run, request_for(run, frame, *overrides, **more))
    ansatz = plan.experiment.ansatz
    return forecast_ahead(plan, None if ansatz is None else StatevectorExecutor(ansatz))


def table(prediction) -> pd.DataFrame:
    return pd.DataFrame(row.__dict__ for row in prediction.rows())


def dates() -> list[str]:
    return sorted(prices()["date"].unique())


@pytest.mark.parametrize("which", ["circuit", "two_ahead"])
def test_given_rows_to_a_day_it_is_to_the_last_bit_what_evaluating_the_day_after_gives(which, request):
    folder = request.getfixturevalue(which)
    for known in (OLD + 3, OLD + 11, OLD + 12):
        rows = table(predicted(folder, prices(known)))
        assert (rows["forecast"] != rows["last_value"]).all()
        path = folder.path.parents[1] / "later.csv"
        prices().to_csv(path, index=False)
        day = date.fromisoformat(dates()[known])
        for since in (day, None):  # its own windows alone, and among all others
            experiment = open_run_on(folder, OtherDataRequest(str(path), since=since))
            windows = experiment.data.test
            executor = None if experiment.ansatz is None else StatevectorExecutor(experiment.ansatz)
            forecast = forecast_windows(experiment, executor, windows).forecast
            for number, symbol in enumerate(windows.symbol):
                if windows.dates[number, 0] == np.datetime64(day):
                    own = rows[rows["symbol"] == symbol]
                    np.testing.assert_array_equal(own["forecast"], forecast[number].ravel())


@pytest.mark.parametrize("which", ["circuit", "two_ahead", "adaptive"])
def test_no_later_row_moves_a_forecast_or_its_interval(which, request):
    folder = request.getfixturevalue(which)
    day, planted = date.fromisoformat(dates()[OLD + 5]), prices()
    absurd = planted["date"] > dates()[OLD + 10]
    planted.loc[absurd, "adj_close"] = 1e9 * (1 + np.arange(absurd.sum()) % 7)
    plain, other = (table(predicted(folder, each, since=day)) for each in (prices(), planted))
    made = plain["made_after"] <= dates()[OLD + 10]
    names = ["symbol", "made_after", "date", "horizon", "forecast", "low", "high", "last_value"]
    assert made.sum() > 10
    pd.testing.assert_frame_equal(plain.loc[made, names], other.loc[made, names], check_exact=True)
    assert (plain.loc[~made, "forecast"] != other.loc[~made, "forecast"]).any()


@pytest.mark.parametrize("which", ["circuit", "adaptive"])
def test_sessions_behind_are_forecast_as_they_were_when_nothing_of_them_was_known(which, request):
    folder = request.getfixturevalue(which)
    behind = table(predicted(folder, prices(), since=date.fromisoformat(dates()[OLD + 2])))
    for known in (OLD + 2, OLD + 20, OLD + NEW):
        then = table(predicted(folder, prices(known)))
        same = behind[behind["made_after"] == dates()[known - 1]].reset_index(drop=True)
        assert same["actual"].notna().all() == (known < OLD + NEW)
        columns = [name for name in then.columns if name != "actual"]
        pd.testing.assert_frame_equal(then[columns], same[columns], check_exact=True)


def test_rows_say_what_was_known_what_is_forecast_and_what_the_last_value_was(two_ahead):
    frame = prices(OLD + 10)
    rows = table(predicted(two_ahead, frame, levels=(0.5, 0.9)))
    assert len(rows) == len(SYMBOLS) * 2 * 2
    assert set(rows["made_after"]) == {dates()[OLD + 9]}
    assert list(rows["date"].unique()) == dates()[OLD + 10 : OLD + 12]
    last = frame.groupby("symbol")["adj_close"].last()
    np.testing.assert_array_equal(rows["last_value"], last[rows["symbol"]])
    narrow, wide = (rows[rows["level"] == level].reset_index() for level in (0.5, 0.9))
    assert (wide["low"] < narrow["low"]).all()
    assert (narrow["high"] < wide["high"]).all()
    assert ((rows["low"] <= rows["forecast"]) & (rows["forecast"] <= rows["high"])).all()


def test_intervals_have_the_radius_of_the_run_whether_its_rows_are_at_hand_or_not(run, monkeypatch):
    frame = prices()
    whole = table(predicted(run, frame))
    monkeypatch.setattr("qhq.data.prepare_other.Known.own_panel", lambda self, other: None)
    newest = frame[frame["date"] >= dates()[OLD]]
    pd.testing.assert_frame_equal(table(predicted(run, newest)), whole)
    with pytest.raises(DataError, match="A level other than"):
        predicted(run, newest, levels=(0.8,))


def test_intervals_hold_what_they_say_of_what_came(run):
    scored = predicted(run, prices(), since=date.fromisoformat(dates()[OLD])).scored()
    assert scored.windows == NEW * len(SYMBOLS)
    assert 0.8 < scored.coverage[0]["held"]["value"] < 0.98
    assert scored.naive.skill == 0.0


def test_own_rows_read_anew_need_no_other_file(run):
    plan = plan_prediction(run, PredictRequest())
    assert str(plan.ahead.last) == dates()[OLD - 1]
    assert plan.ahead.own


def test_stale_rows_are_told(run):
    record = prediction_record(predicted(run, prices()), "aer", today=date(2021, 1, 29))
    assert record.last_row == dates()[-1] == "2021-01-13"
    assert record.age_days == 16
    assert record.sessions_missed == 11  # these rows know no holiday, not even Martin Luther King Day
    assert record.session == "2021-01-14"


def test_a_config_may_name_the_calendar_and_another_is_refused(run):
    frame = prices()
    record = prediction_record(predicted(run, frame, "data.calendar=24/5"), "aer", today=date(2021, 1, 18))
    assert record.calendar == "the calendar 24/5"
    assert (record.session, record.sessions_missed, record.half_day) == ("2021-01-14", 2, False)
    with pytest.raises(DataError, match=r"sessions of data.calendar XNYS. Got \d+ of 270 dates"):
        predicted(run, frame, "data.calendar=XNYS")
    with pytest.raises(ConfigError, match=r"such as XNYS, XLON or 24/7. Got 'XNIS'"):
        predicted(run, frame, "data.calendar=XNIS")


@pytest.mark.parametrize(
    ("endings", "reported"),
    [
        ((".L", ".L", ".L"), "data.calendar=XLON knows"),
        ((".L", ".DE", ".DE"), "of XLON and XETR, which close on different days"),
        ((".L", "", ""), "of the US and XLON, which"),
    ],
)
def test_symbols_that_end_like_those_of_another_exchange_are_told_of_its_calendar(run, endings, reported):
    frame = prices().replace(
        {"symbol": {name: name + end for name, end in zip(SYMBOLS, endings, strict=True)}}
    )
    record = prediction_record(predicted(run, frame), "aer")
    assert "holidays not known" in record.calendar
    assert sum(reported in note for note in record.notes) == 1


def test_of_weeks_it_says_which_and_an_unfinished_one_moves_nothing(tmp_path):
    split = "{train: 0.5, validation: 0.25, test: 0.25}"
    weekly = trained(tmp_path, more=f", every: week, split: {split}")
    days = np.array(dates(), dtype="datetime64[D]")
    wednesday = int(np.flatnonzero((days.astype(int) + 3) % 7 == 2)[-1])
    made = [predicted(weekly, prices(rows)) for rows in (wednesday - 2, wednesday + 1)]
    record = prediction_record(made[1], "aer", today=days[wednesday].astype(date))
    assert record.period == "week"
    assert record.last_row == str(days[wednesday - 3])  # Friday
    assert record.session == str(days[wednesday] + 2)
    assert record.sessions_missed == 0
    pd.testing.assert_frame_equal(*map(table, made))
    later = prediction_record(made[1], "aer", today=(days[wednesday] + 8).astype(date))
    assert later.sessions_missed == 1


def test_a_single_training_shows_no_skill(run):
    record = prediction_record(predicted(run, prices()), "aer")
    assert record.skill.shown is False
    assert "One seed, not tested" in record.skill.verdict


def test_a_missing_symbol_is_refused_and_can_be_dropped(run):
    frame = prices()
    frame = frame[frame["symbol"] != "BBB"]
    rows = table(predicted(run, frame, "data.symbols=[AAA, CCC]"))
    assert rows["symbol"].tolist() == ["AAA", "CCC"]
    listed = plan_prediction(
        run, request_for(run, frame)
    )  # a run of all symbols of its file takes what is there
    assert listed.ahead.windows.symbol.tolist() == ["AAA", "CCC"]
    assert (
        "Without a row here, though the run knows them: BBB"
        in prediction_record(forecast_ahead(listed, None), "aer").notes
    )
    with pytest.raises(DataError, match="BBB"):
        predicted(run, frame, "data.symbols=[AAA, BBB]")


def test_a_symbol_that_stopped_is_left_out_by_name(run):
    frame = prices()
    frame = frame[(frame["symbol"] != "BBB") | (frame["date"] < dates()[-4])]
    prediction = predicted(run, frame)
    assert table(prediction)["symbol"].tolist() == ["AAA", "CCC"]
    (left,) = prediction_record(prediction, "aer").left_out
    assert left.symbol == "BBB"


def test_too_few_rows_are_refused_in_words(run):
    frame = prices()
    with pytest.raises(DataError, match=r"AAA has 4 rows since .*takes 5"):
        predicted(run, frame[frame["date"] >= dates()[-4]])


def test_prices_in_another_unit_are_refused_where_the_scaler_was_fitted_on_the_old_one(tmp_path):
    folder, frame = trained(tmp_path, scaling="standard"), prices()
    frame["adj_close"] /= 4
    with pytest.raises(DataError, match="a split since"):
        predicted(folder, frame)


def test_prices_after_a_split_are_forecast_where_the_scaling_does_not_depend_on_their_unit(run):
    frame, plain = prices(), table(predicted(run, prices()))
    frame["adj_close"] /= 4
    prediction = predicted(run, frame)
    np.testing.assert_allclose(table(prediction)["forecast"], plain["forecast"] / 4, rtol=1e-6)
    assert any("0.25 times those of the run" in note for note in prediction_record(prediction, "aer").notes)


def test_a_split_among_the_newest_rows_is_told_and_one_before_them_is_not(run):
    def told(first: str) -> list[str]:
        frame = prices()
        frame.loc[(frame["symbol"] == "AAA") & (frame["date"] >= first), "adj_close"] /= 2
        notes = prediction_record(predicted(run, frame), "aer").notes
        return [note for note in notes if "a column 'split'" in note]

    (note,) = told(dates()[-2])
    assert note.startswith(("adj_close of AAA moves by -49%", "adj_close of AAA moves by -5"))
    assert f"on {dates()[-2]}, in the rows" in note
    assert told(dates()[-5]) == []  # the oldest of the five rows that are read


def test_a_horizon_ends_where_it_is_asked_to(two_ahead):
    first, second = dates()[OLD + 10 : OLD + 12]
    rows = table(predicted(two_ahead, prices(OLD + 10), until=date.fromisoformat(first)))
    assert set(rows["date"]) == {first}
    with pytest.raises(DataError, match="longer data.horizon"):
        predicted(two_ahead, prices(OLD + 9), until=date.fromisoformat(second))


def test_levels_lie_between_0_and_1(run):
    with pytest.raises(ConfigError, match="--level"):
        predicted(run, prices(), levels=(1.0,))


def test_a_run_that_prices_today_says_nothing_of_tomorrow(run, monkeypatch):
    from qhq.data import ahead

    spec = load_config(str(run.config)).data.model_copy(update={"task": "price"})
    with pytest.raises(DataError, match="data.task forecast"):
        ahead.prepare_ahead(load_panel(load_config(str(run.config)).data), spec, None, (None, None))


def test_the_newest_fold_of_a_walk_forward_forecasts(tmp_path):
    split = ", split: {scheme: expanding, folds: 3, train: 0.6, validation: 0.2, test: 0.2}"
    walk = trained(tmp_path, more=split)
    plan = plan_prediction(walk, request_for(walk, prices()))
    assert plan.folder.name == "fold-002"
    assert plan.name == walk.name
    assert "Over 48 dates, forecast by 3 models" in plan.skill.verdict
    assert plan.skill.shown is False
    assert plan.trained_to == str(read_finished(plan.folder).data.train.last)
    assert len(forecast_ahead(plan, None).rows()) == len(SYMBOLS)


def test_intervals_at_90_percent_hold_88_to_92_percent_of_500_sessions_of_the_bundled_prices(tmp_path):
    """The quickstart without its circuit and one epoch long: what it forecasts matters little here."""
    config = load_config(None, ["quantum=null", "training.epochs=1", "training.patience=null"])
    run = train_run(config, Watcher())
    begin = read_finished(run).data.test.first
    plan = plan_prediction(run, PredictRequest(OtherDataRequest(since=date.fromisoformat(begin))))
    (coverage,) = forecast_ahead(plan, None).scored().coverage
    assert coverage["held"]["dates"] >= 500
    assert 0.88 <= coverage["held"]["value"] <= 0.92
