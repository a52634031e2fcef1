import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.checks.stocks import check_panel
from qhq.data.columns import COMPUTED, STOCK_VALUES, columns_to_read
from qhq.data.formulas import compute_columns, infer_splits
from qhq.data.load import load_panel
from qhq.data.spec import DataSpec
from qhq.errors import DataError
from tests.data.panels import make_frame

NAMES = tuple(COMPUTED["stocks"])
RAW = ("open", "high", "low", "close", "volume", "adj_close")


def computed(frame):
    return compute_columns(check_panel(frame, "test", columns=RAW), "stocks", NAMES)


def test_each_is_its_formula_row_by_row():
    frame = make_frame(rows=20)
    panel = computed(frame)
    own = frame[frame["symbol"] == "BBB"].reset_index(drop=True)
    for row in range(1, 20):
        at = 20 + row
        now, before = own.loc[row], own.loc[row - 1]
        span, move = np.log(now["high"] / now["low"]), np.log(now["close"] / now["open"])
        assert_allclose(panel.column("log_return")[at], np.log(now["adj_close"] / before["adj_close"]))
        gk = np.sqrt(0.5 * span**2 - (2 * np.log(2) - 1) * move**2)
        assert_allclose(panel.column("garman_klass")[at], gk)
        assert_allclose(panel.column("log_garman_klass")[at], np.log(gk))
        assert_allclose(panel.column("parkinson")[at], np.sqrt(span**2 / (4 * np.log(2))))
        day = np.datetime64(now["date"], "D").item()
        assert panel.column("weekday")[at] == day.weekday()
        assert panel.column("days_since")[at] == (day - np.datetime64(before["date"], "D").item()).days
    first = [0, 20]
    assert np.isnan(panel.column("log_return")[first]).all()
    assert np.isnan(panel.column("days_since")[first]).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 19), st.floats(0.1, 10))
def test_the_future_moves_nothing_before_it(row, factor):
    frame = make_frame(rows=20)
    late = frame["date"] >= frame["date"][row]
    changed = frame.copy()
    changed.loc[late, ["open", "high", "low", "close", "adj_close"]] *= factor
    before, after = computed(frame), computed(changed)
    early = before.dates < np.datetime64(frame["date"][row], "D")
    assert_array_equal(before.values[early], after.values[early])


def test_a_session_that_did_not_move_has_no_logarithm():
    flat = make_frame(rows=5).assign(open=7.0, high=7.0, low=7.0, close=7.0)
    assert np.isnan(computed(flat).column("log_parkinson")).all()
    assert_array_equal(computed(flat).column("parkinson"), 0)


def test_an_unknown_column_names_the_nearest():
    with pytest.raises(DataError, match="log_return"):
        compute_columns(check_panel(make_frame(rows=5), "test"), "stocks", ["log_returns"])


def test_raw_columns_are_those_that_a_file_must_have():
    assert columns_to_read(["log_parkinson", "close", "weekday"]) == ("high", "low", "close")


def test_the_bundled_splits_are_found_and_nothing_else():
    panel = load_panel(
        DataSpec(symbols=("AAPL", "MSFT", "GOOG", "IBM"), features=("close",), targets=("close",))
    )
    assert "split" in panel.columns
    found = np.flatnonzero(panel.column("split"))
    seen = {(panel.symbols[panel.code[row]], str(panel.dates[row])) for row in found}
    assert seen == {("AAPL", "2000-06-21"), ("AAPL", "2005-02-28"), ("MSFT", "2003-02-18")}
    assert_allclose(panel.column("split")[found], 2, rtol=0.02)


def test_a_split_that_the_file_names_is_kept():
    frame = make_frame(rows=9).assign(split=0.0)
    panel = check_panel(frame, "test", columns=("close", "adj_close", "split"))
    assert infer_splits(panel) is panel
    assert set(STOCK_VALUES) >= {"split", "dividend"}
