import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.checks.stocks import check_panel
from qhq.data.windows import Cut, cut_windows, make_windows
from qhq.errors import DataError

from .panels import make_frame, make_panel

CUT = Cut(window=5, horizon=2, features=("adj_close", "close"), targets=("close",))


def slow_windows(series, length, horizon):
    """What make_windows means, one window at a time."""
    count = len(series) - length - horizon + 1
    past = [[series[i + t] for t in range(length)] for i in range(count)]
    future = [[series[i + length + h] for h in range(horizon)] for i in range(count)]
    return np.array(past), np.array(future)


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 20), st.integers(1, 3))
def test_make_windows_equals_the_obvious_loop(length, horizon, spare, features):
    series = np.random.default_rng(0).normal(size=(length + horizon + spare, features))
    past, future = make_windows(series, length=length, horizon=horizon)
    slow_past, slow_future = slow_windows(series, length, horizon)
    assert_allclose(past, slow_past, rtol=0)
    assert_allclose(future, slow_future, rtol=0)


def test_make_windows_copies_nothing():
    series = np.zeros((50, 2))
    past, future = make_windows(series, length=4, horizon=2)
    assert np.shares_memory(past, series)
    assert np.shares_memory(future, series)


def test_a_series_that_is_too_short_is_refused():
    with pytest.raises(DataError, match=r"must not exceed the series. Got 5 \+ 2 > 6 rows"):
        make_windows(np.zeros((6, 1)), length=5, horizon=2)


def test_windows_are_those_of_each_symbol_alone():
    panel = make_panel(rows=30)
    windows = cut_windows(panel, CUT)
    for symbol in panel.symbols:
        own = windows.select(windows.symbol == symbol)
        past, future = make_windows(
            panel.values[panel.code == panel.symbols.index(symbol)], length=5, horizon=2
        )
        assert_allclose(own.inputs, past, rtol=0)
        assert_allclose(own.targets, future[:, :, 1:], rtol=0)
        assert_allclose(own.last, past[:, -1, 1:], rtol=0)


def test_dates_are_those_of_the_targets():
    windows = cut_windows(make_panel(rows=30), CUT)
    assert windows.dates.shape == (len(windows), 2)
    assert windows.dates.dtype == np.dtype("datetime64[D]")
    assert (windows.input_dates.max(axis=1) < windows.dates.min(axis=1)).all()


@given(st.integers(0, 59), st.floats(0.01, 1e6))
def test_a_price_moves_no_window_before_it(row, price):
    frame = make_frame(rows=30)
    moved = frame.copy()
    moved.loc[row, ["close", "adj_close"]] = price
    before, after = (cut_windows(check_panel(each, "", columns=CUT.features), CUT) for each in (frame, moved))
    day, symbol = np.datetime64(frame["date"][row], "D"), frame["symbol"][row]
    whole = (before.dates.max(axis=1) < day) | (before.symbol != symbol)
    known = (before.input_dates.max(axis=1) < day) | (before.symbol != symbol)
    assert_array_equal(before.inputs[known], after.inputs[known])
    assert_array_equal(before.last[known], after.last[known])
    assert_array_equal(before.targets[whole], after.targets[whole])


def test_selecting_keeps_the_order_asked_for():
    windows = cut_windows(make_panel(rows=30), CUT)
    picked = windows.select(np.array([7, 0, 3]))
    assert_allclose(picked.inputs, windows.inputs[[7, 0, 3]], rtol=0)
    assert len(windows.select(slice(0, 0)).inputs) == 0
