"""Rows beside each other, and the windows that are cut from them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.checks.stocks import check_panel
from qhq.data.windows import _LEAST_OBSERVED, Cut, arrange_rows, cut_windows, make_windows
from qhq.errors import DataError

from .panels import make_frame, make_panel, make_spec

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


FEATURES = ("adj_close", "close")


def with_holes(seed, rows=60, share=0.2):
    frame = make_frame(rows=rows, seed=seed % 7)
    keep = np.random.default_rng(seed).random(len(frame)) > share
    return check_panel(frame[keep], "test", columns=FEATURES)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 3))
def test_a_masked_panel_has_a_row_for_each_session_and_the_same_values(seed, max_gap):
    panel = with_holes(seed)
    laid = arrange_rows(panel, make_spec(gaps="mask", max_gap=max_gap))
    real = np.isfinite(laid.values).all(axis=1)
    assert_array_equal(laid.values[real], panel.values)
    assert_array_equal(laid.dates[real], panel.dates)
    session = np.searchsorted(panel.sessions, laid.dates)
    for segment in np.unique(laid.segment):
        own = laid.segment == segment
        assert_array_equal(np.diff(session[own]), 1)
        assert len(np.unique(laid.code[own])) == 1
        missing = "".join("." if one else "x" for one in real[own])
        assert "x" * (max_gap + 1) not in missing


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_masked_windows_fill_inputs_from_before_and_never_a_target(seed):
    spec = make_spec(gaps="mask", window=6, horizon=2)
    panel = arrange_rows(with_holes(seed), spec)
    windows = cut_windows(panel, Cut.of(spec))
    assert np.isfinite(windows.inputs).all()
    assert np.isfinite(windows.targets).all()
    assert (windows.mask[:, 0] == 1).all()
    assert (windows.mask[:, -1] == 1).all()
    assert (windows.mask.mean(axis=1) >= _LEAST_OBSERVED).all()
    for row in range(min(len(windows), 20)):
        inputs, mask = windows.inputs[row], windows.mask[row]
        for step in np.flatnonzero(mask == 0):
            assert_array_equal(inputs[step], inputs[step - 1])
    # Every target is a row that the file has, on its own date.
    held = {(c, d): v for c, d, v in zip(panel.code, panel.dates, panel.values, strict=True)}
    for code, dates, targets in zip(windows.code, windows.dates, windows.targets, strict=True):
        for day, value in zip(dates, targets, strict=True):
            assert_allclose(held[code, day][:1], value)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_the_future_moves_nothing_before_it(seed):
    spec = make_spec(gaps="mask", window=5)
    frame = make_frame(rows=60, seed=seed % 5)
    day = np.datetime64(frame["date"].iloc[30], "D")
    changed = frame.copy()
    late = changed["date"].astype(str) >= str(day)
    rng = np.random.default_rng(seed)
    changed.loc[late, list(FEATURES)] *= rng.uniform(0.5, 2, (late.sum(), 2))
    changed = changed[~late | (rng.random(len(changed)) > 0.3)]
    cuts = []
    for each in (frame, changed):
        panel = arrange_rows(check_panel(each, "", columns=FEATURES), spec)
        windows = cut_windows(panel, Cut.of(spec))
        cuts.append(windows.select(windows.dates.max(axis=1) < day))
    assert_array_equal(cuts[0].inputs, cuts[1].inputs)
    assert_array_equal(cuts[0].targets, cuts[1].targets)
    assert_array_equal(cuts[0].mask, cuts[1].mask)


def test_closed_up_rows_are_neighbours_until_the_gap_is_too_long():
    frame = make_frame(rows=40)
    hole = (frame["symbol"] == "AAA") & frame.index.isin(range(10, 15))
    panel = check_panel(frame[~hole], "test", columns=FEATURES)
    wide = arrange_rows(panel, make_spec(max_gap=5))
    narrow = arrange_rows(panel, make_spec(max_gap=4))
    assert len(np.unique(wide.segment)) == 2
    assert len(np.unique(narrow.segment)) == 3
    assert len(wide.code) == len(narrow.code) == 75
    windows = cut_windows(narrow, Cut(4, 1, FEATURES, ("close",)))
    spans = (windows.dates[:, 0] - windows.input_dates[:, 0]).astype(int)
    assert spans.max() < 10


def test_a_split_counts_on_a_day_whose_row_is_dropped_or_missing():
    frame = make_frame(rows=60).assign(split=0.0)
    day = frame["date"][30]
    own = frame["symbol"] == "AAA"
    frame.loc[own & (frame["date"] == day), "split"] = 2.0
    panel = check_panel(frame, "test", columns=("adj_close", "close", "split"))
    at = (panel.dates == np.datetime64(day, "D")) & (panel.code == 0)
    panel.values[at, panel.columns.index("close")] = np.nan
    for gaps in ("close", "mask"):
        spec = make_spec(gaps=gaps)
        windows = cut_windows(arrange_rows(panel, spec), Cut.of(spec))
        windows = windows.select(windows.symbol == "AAA")
        date = np.datetime64(day, "D")
        assert not ((windows.input_dates[:, 0] < date) & (windows.dates[:, 0] >= date)).any()


def test_a_split_of_the_shares_is_never_inside_a_window_of_raw_prices():
    frame = make_frame(rows=60).assign(split=0.0)
    frame.loc[(frame["symbol"] == "AAA") & (frame["date"] == frame["date"][30]), "split"] = 2.0
    panel = check_panel(frame, "test", columns=("adj_close", "close", "split"))
    day = np.datetime64(frame["date"][30], "D")
    raw = cut_windows(arrange_rows(panel, make_spec()), Cut.of(make_spec()))
    adjusted_only = make_spec(features=("adj_close",))
    adjusted = cut_windows(arrange_rows(panel, adjusted_only), Cut.of(adjusted_only))
    for windows, straddling in ((raw, 0), (adjusted, 5)):
        own = windows.select(windows.symbol == "AAA")
        across = (own.input_dates[:, 0] < day) & (own.dates[:, 0] >= day)
        assert across.sum() == straddling
