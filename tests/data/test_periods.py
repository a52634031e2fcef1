"""Rows of weeks and months: pandas by hand, nothing later, and only what is over."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.checks.stocks import check_panel
from qhq.data.load import load_panel
from qhq.data.periods import by_period
from qhq.data.sessions import period_of
from qhq.data.spec import DataSpec
from qhq.errors import DataError
from tests.data.panels import make_frame
from tests.data.test_sessions import new_york

FILE = ("open", "high", "low", "close", "volume", "adj_close")
NAMES = (*FILE, "realised_volatility", "log_realised_volatility")


def prices(first="2021-01-04", last="2022-04-29", symbols=("AAA", "BBB")):
    """Random prices on New York's sessions."""
    days = new_york(first, last)
    frame = make_frame(symbols=symbols, rows=len(days))
    return frame.assign(date=np.tile(days.strftime("%Y-%m-%d"), len(symbols)))


def load(folder, frame, **keys):
    frame.to_csv(folder / "prices.csv", index=False)
    given = {"source": "csv", "path": str(folder / "prices.csv"), "symbols": None, "every": "week"} | keys
    return load_panel(DataSpec(**({"features": NAMES, "targets": (NAMES[-1],)} | given)))


@pytest.mark.parametrize("every", ["week", "month"])
def test_equal_to_pandas_by_hand(tmp_path, every):
    frame = prices()
    panel = load(tmp_path, frame, every=every)
    for code, symbol in enumerate(panel.symbols):
        own = frame[frame["symbol"] == symbol].assign(date=lambda rows: pd.to_datetime(rows["date"]))
        own["square"] = np.log(own["adj_close"]).diff() ** 2
        label = own["date"].dt.to_period("W-SUN" if every == "week" else "M")
        wanted = own.groupby(label).agg(
            date=("date", "last"), open=("open", "first"), high=("high", "max"), low=("low", "min"),
            close=("close", "last"), volume=("volume", "sum"), adj_close=("adj_close", "last"),
            square=("square", "sum"),
        )[1:]  # fmt: skip
        rows = panel.code == code
        assert_array_equal(panel.dates[rows], wanted["date"].to_numpy().astype("datetime64[D]"))
        for name in NAMES[:6]:
            assert_allclose(panel.column(name)[rows], wanted[name], rtol=1e-12)
        assert_allclose(panel.column("realised_volatility")[rows], np.sqrt(wanted["square"]), rtol=1e-12)
        assert_allclose(panel.column(NAMES[-1])[rows], np.log(wanted["square"]) / 2, rtol=1e-12)


@pytest.mark.parametrize(
    ("last", "newest"),
    [
        ("2022-04-13", "2022-04-08"),  # a Wednesday
        ("2022-04-14", "2022-04-14"),  # Thursday before Good Friday: the week is over
        ("2022-04-15", "2022-04-14"),
        ("2022-04-22", "2022-04-22"),
        ("2022-04-25", "2022-04-22"),  # Monday after
    ],
)
def test_a_week_that_is_not_over_is_left_out_and_named(tmp_path, last, newest):
    panel = load(tmp_path, prices(last=last))
    assert panel.dates.max() == np.datetime64(newest)
    said = [note for note in panel.notes if "is not over" in note]
    assert len(said) == (newest not in (last, "2022-04-14") or last == "2022-04-13")


def test_a_month_is_over_after_its_last_session(tmp_path):
    assert load(tmp_path, prices(last="2022-04-28"), every="month").dates.max() == np.datetime64("2022-03-31")
    assert load(tmp_path, prices(last="2022-04-29"), every="month").dates.max() == np.datetime64("2022-04-29")


@pytest.mark.parametrize("every", ["week", "month"])
def test_no_later_row_is_read(every):
    frame = prices(last="2021-04-01", symbols=("AAA",)).astype({"volume": float})
    whole = by_period(check_panel(frame, "test", columns=FILE), every, NAMES)
    for cut in range(38, 48):  # ten sessions in a row, the end of a month among them
        changed, day = frame.copy(), np.array([np.datetime64(frame["date"][cut])])
        changed.loc[cut:, list(FILE)] *= 2.5
        moved = by_period(check_panel(changed, "test", columns=FILE), every, NAMES)
        known = whole.dates < day
        assert_array_equal(moved.dates, whole.dates)
        assert_array_equal(moved.values[known], whole.values[known])
        assert (moved.values[~known] != whole.values[~known]).any()
        # And what is there after fewer sessions is what is there after all of them.
        shorter = by_period(check_panel(frame[:cut], "test", columns=FILE), every, NAMES)
        assert_array_equal(shorter.values, whole.values[: len(shorter.code)])
        over = period_of(whole.dates, every) < period_of(day, every)
        assert len(shorter.code) == np.count_nonzero(over)


def test_all_series_bear_the_date_of_the_panels_last_session(tmp_path):
    frame = prices()
    friday = frame["date"] == "2021-06-11"
    panel = load(tmp_path, frame[~(friday & (frame["symbol"] == "BBB"))])
    assert_array_equal(panel.dates[panel.code == 0], panel.dates[panel.code == 1])


def test_a_split_within_a_week_is_no_move(tmp_path):
    frame = prices(symbols=("AAA",))
    plain = load(tmp_path, frame, features=("high", "volume", "garman_klass"), targets=("high",))
    split = frame["date"] >= "2021-06-09"  # a Wednesday
    halved = frame.assign(split=np.where(frame["date"] == "2021-06-09", 2.0, 0.0))
    halved.loc[split, ["open", "high", "low", "close"]] /= 2
    halved.loc[split, "volume"] *= 2
    found = load(tmp_path, halved, features=("high", "volume", "garman_klass"), targets=("high",))
    week = found.dates == np.datetime64("2021-06-11")
    assert_allclose(found.column("garman_klass"), plain.column("garman_klass"), rtol=1e-9)
    assert_allclose(found.column("high")[week], plain.column("high")[week] / 2)
    assert_allclose(found.column("volume")[week], plain.column("volume")[week] * 2)
    assert found.column("split")[week] == pytest.approx(2)


def test_of_sessions_it_is_the_absolute_return(tmp_path):
    panel = load(tmp_path, prices(), every=None, features=("log_return", "realised_volatility"),
                 targets=("realised_volatility",))  # fmt: skip
    assert_allclose(panel.column("realised_volatility"), np.abs(panel.column("log_return")))


def test_a_symbol_without_a_whole_week_is_refused_by_name(tmp_path):
    frame = prices()
    late = (frame["symbol"] == "BBB") & (frame["date"] < "2022-04-25")
    with pytest.raises(DataError, match="two weeks of rows.*BBB"):
        load(tmp_path, frame[~late])


def test_options_have_no_weeks():
    with pytest.raises(ValueError, match="every: week needs a panel of stocks"):
        DataSpec(source="synthetic", every="week", features=("mid",), targets=("mid",), scaling="over_strike")


def test_a_config_without_it_does_not_name_it():
    assert "every" not in DataSpec().model_dump()
