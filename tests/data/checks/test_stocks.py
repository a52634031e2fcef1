import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.checks.stocks import check_panel
from qhq.data.panel import Panel
from qhq.errors import DataError
from tests.data.panels import make_frame


def test_rows_are_sorted_by_the_symbols_asked_for_and_by_date():
    frame = make_frame().sample(frac=1, random_state=1)
    panel = check_panel(frame, "test", symbols=("BBB", "AAA"), columns=("close",))
    expected = frame.sort_values("date").query("symbol == 'BBB'")
    assert panel.symbols == ("BBB", "AAA")
    assert_allclose(panel.values[:200, 0], expected["close"], rtol=0)
    assert (np.diff(panel.dates[:200]) > np.timedelta64(0)).all()
    assert_array_equal(panel.counts, [200, 200])


@pytest.mark.parametrize("mark", ["\u202e", "\u2066", "\x1b[31m", "\x00", "\u200b"])
def test_a_symbol_with_letters_that_nobody_sees_is_refused_before_anything_is_trained(mark):
    frame = make_frame().replace({"symbol": {"AAA": f"a{mark}evil"}})
    with pytest.raises(DataError, match="Every symbol must be text that can be printed") as caught:
        check_panel(frame, "test")
    assert mark not in str(caught.value)


@pytest.mark.parametrize("name", ["<script>", "A&B", "\u0634\u0631", "\U0001f680", "X" * 200, "A B"])
def test_any_other_name_is_a_symbol(name):
    frame = make_frame().replace({"symbol": {"AAA": name}})
    assert name in check_panel(frame, "test").symbols


@pytest.mark.parametrize(
    "header",
    [
        ["Ticker", "Date", "Open", "High", "Low", "Close", "Volume", "Adj Close"],
        ["SYMBOL", "day", "OPEN", "HIGH", "LOW", "CLOSE", "vol", "adj_close"],
        [" symbol ", "Timestamp", "open", "high", "low", "close", "volume", "Adj. Close"],
        ["ticker", "datetime", "Open", "High", "Low", "Close", "Volume", "AdjClose"],
    ],
)
def test_natural_names_of_columns_are_accepted(header):
    plain = check_panel(make_frame(), "test")
    named = check_panel(make_frame().set_axis(header, axis=1), "test")
    assert named.columns == plain.columns
    assert_allclose(named.values, plain.values, rtol=0)


def test_columns_that_are_not_used_may_hold_anything():
    frame = make_frame().assign(open="n/a", note="x")
    assert check_panel(frame, "test", columns=("close",)).columns == ("close",)


def test_any_numeric_column_may_be_used():
    frame = make_frame().assign(Sentiment=-1.5)
    assert_allclose(check_panel(frame, "test", columns=("sentiment",)).values, -1.5)


@pytest.mark.parametrize(
    "dates",
    [
        pd.to_datetime(make_frame()["date"]),
        pd.to_datetime(make_frame()["date"]).dt.tz_localize("America/New_York"),
        pd.to_datetime(make_frame()["date"]).dt.date,
        make_frame()["date"] + " 00:00:00-05:00",
        make_frame()["date"] + "T16:00",
    ],
    ids=["datetime", "zoned", "date", "offset", "time"],
)
def test_dates_of_every_kind_are_the_local_day(dates):
    plain = check_panel(make_frame(), "test")
    assert_array_equal(check_panel(make_frame().assign(date=dates), "test").dates, plain.dates)


def _set(row, **cells):
    def change(frame):
        frame = frame.astype({name: object for name in cells})
        for name, value in cells.items():
            frame.loc[row, name] = value
        return frame

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (_set(3, close=np.nan), r"'close' must be a finite number.* AAA on 2015-01-06 \(row 4 of test\)"),
        (_set(3, close="abc"), r"'abc' in column 'close' for AAA on 2015-01-06"),
        (_set(203, close=np.inf), r"Got inf for BBB on 2015-01-06 \(row 204 of test\)"),
        (_set(3, close=-5.0), r"'close' must be above zero. Got -5 for AAA on 2015-01-06"),
        (_set(3, low=0.0), r"'low' must be above zero. Got 0"),
        (_set(3, volume=-1), r"'volume' must be zero or more. Got -1"),
        (_set(3, low=9000.0), r"'low' must not exceed 'high'. Got 9000 > .* AAA on 2015-01-06 \(row 4"),
        (_set(3, open=9000.0), r"'open' must not exceed 'high'"),
        (_set(3, close=0.1), r"'low' must not exceed 'close'"),
        (_set(3, date="06/01/2015"), r"a date.*Got '06/01/2015' in column 'date' for AAA \(row 4 of test\)"),
        (_set(3, date="2015-02-30"), r"'2015-02-30'.*a day that no calendar has"),
        (_set(3, date="2015-01-01"), r"AAA on 2015-01-01 \(row 1 of test\) and again in row 4"),
        (lambda frame: frame.drop(columns="date"), "Got no 'date'"),
        (lambda frame: frame.assign(Ticker="AAA"), "both 'symbol' and 'Ticker'"),
        (lambda frame: frame.iloc[:0], "must have rows"),
    ],
)
def test_a_broken_rule_names_symbol_date_and_row(change, match):
    with pytest.raises(DataError, match=match):
        check_panel(change(make_frame()), "test")


def test_a_missing_symbol_names_the_nearest():
    with pytest.raises(DataError, match=r"no row of 'AAB'. Did you mean 'AAA'\? Known: AAA, BBB"):
        check_panel(make_frame(), "test", symbols=("BBB", "AAB"))


def test_missing_columns_name_the_nearest():
    frame = make_frame().drop(columns="adj_close")
    with pytest.raises(DataError, match=r"Got no 'adj_close'\. .* Did you mean 'close'"):
        check_panel(frame, "test", columns=("adj_close",))


def test_dividends_and_splits_may_be_empty():
    frame = make_frame().assign(Dividends="", stock_splits="")
    frame.loc[3, "Dividends"] = "0.5"
    panel = check_panel(frame, "test", columns=("dividend", "split"))
    assert_allclose(panel.values.sum(axis=0), [0.5, 0.0], rtol=0)


def with_gaps(segment=None):
    days = np.arange(6) + np.datetime64("2020-01-01")
    values = np.array([[1.0, np.nan], [np.nan, 2.0], [3.0, np.nan]] * 2)
    code = np.repeat(np.arange(2), 3)
    more = {} if segment is None else {"segment": segment}
    return Panel(("C1", "C2"), ("bid", "ask"), code, days, values, groups=("A", "B"), label="model", **more)


def test_a_stock_is_its_own_group_and_segment():
    panel = check_panel(make_frame(), "test")
    assert panel.group_names == panel.symbols
    assert panel.label == "traded"
    assert_array_equal(panel.segment, panel.code)


def test_gaps_are_filled_from_before_and_never_across_segments():
    nan = np.nan
    own = [[1.0, nan], [1.0, 2.0], [3.0, 2.0]]
    assert_array_equal(with_gaps().filled, [*own, *own])
    segment = np.array([0, 0, 1, 2, 2, 2])
    assert_array_equal(with_gaps(segment).filled, [[1.0, nan], [1.0, 2.0], [3.0, nan], *own])


def test_a_selection_carries_everything_along():
    panel = with_gaps(np.array([0, 0, 1, 2, 2, 2])).between(*np.array(["2020-01-02", "2020-01-05"], "M8[D]"))
    assert_array_equal(panel.segment, [0, 1, 2, 2])
    assert_array_equal(panel.code, [0, 0, 1, 1])
    assert (panel.groups, panel.label) == (("A", "B"), "model")


def test_groups_can_be_left_out():
    panel = with_gaps().without_groups(["A"])
    assert (panel.symbols, panel.groups) == (("C2",), ("B",))
    assert_array_equal(panel.code, [0, 0, 0])
    stocks = check_panel(make_frame(), "test").without_groups(["AAA"])
    assert (stocks.symbols, stocks.groups, len(stocks.code)) == (("BBB",), (), 200)


def test_columns_are_found_by_name_and_added():
    panel = with_gaps().with_columns({"mid": np.arange(6.0)})
    assert_array_equal(panel.column("mid"), np.arange(6.0))
    with pytest.raises(DataError, match=r"Got 'mad'\. Did you mean 'mid'"):
        panel.column("mad")
