"""Daily prices come out as they were traded, whatever Yahoo has adjusted them to.

Forward adjustment: the future changes nothing before it, and returns are the classical ones.
"""

from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.yahoo.history import (
    HISTORY_COLUMNS,
    fetch_history,
    forward_adjusted,
    last_finished_day,
    later_splits,
)
from qhq.errors import DataError

ROW = st.tuples(
    st.floats(1.0, 1000.0),
    st.sampled_from([0.0, 0.0, 0.0, 0.2]) | st.floats(0.0, 0.5),
    st.sampled_from([0.0, 0.0, 1.0, 2.0, 4.0, 0.1, 1.5]),
)
"""Close, dividend over the close before it in new shares, split."""


def rows_of(table):
    close, share, split = (np.array(column) for column in zip(*table, strict=True))
    before = np.concatenate([close[:1], close[:-1]]) / np.where(split > 0, split, 1.0)
    return close, share * before, split


def backward_adjusted(close, dividend, split):
    """The slow, obvious one: the last row as it is, and each action divides all rows before it."""
    adjusted = close.copy()
    for row in range(1, len(close)):
        ratio = split[row] or 1.0
        adjusted[:row] *= (1 - dividend[row] * ratio / close[row - 1]) / ratio
    return adjusted


@given(st.lists(ROW, min_size=1, max_size=30), st.lists(ROW, min_size=1, max_size=5))
def test_a_later_action_moves_nothing_before_it(past, future):
    close, dividend, split = rows_of(past + future)
    count = len(past)
    now = forward_adjusted(close[:count], dividend[:count], split[:count])
    assert_array_equal(forward_adjusted(close, dividend, split)[:count], now)


@given(st.lists(ROW, min_size=2, max_size=40))
def test_log_returns_are_those_of_the_backward_adjustment(table):
    close, dividend, split = rows_of(table)
    forward = np.diff(np.log(forward_adjusted(close, dividend, split)))
    assert_allclose(forward, np.diff(np.log(backward_adjusted(close, dividend, split))), rtol=0, atol=1e-12)


@given(st.lists(ROW, min_size=1, max_size=30))
def test_without_actions_nothing_is_adjusted(table):
    close, _, _ = rows_of(table)
    assert_array_equal(forward_adjusted(close, 0 * close, 0 * close), close)


@given(st.lists(ROW, min_size=1, max_size=30))
def test_later_splits_undo_a_split_adjustment(table):
    close, _, split = rows_of(table)
    adjusted = close.copy()
    for row in range(1, len(close)):
        adjusted[:row] /= split[row] or 1.0
    assert_allclose(adjusted * later_splits(split), close, rtol=1e-12)


def test_an_owner_who_reinvests_gets_the_adjusted_return():
    close, dividend, split = np.array([100.0, 48.0]), np.array([0, 1.0]), np.array([0, 2.0])
    # Two new shares at 50 before; each pays 1, which buys at 49; two shares become 2 * 50 / 49.
    assert_allclose(forward_adjusted(close, dividend, split)[1], 48 * 2 * 50 / 49)


@pytest.mark.parametrize("dividend", [50.0, 60.0, 5000.0], ids=["all", "liquidation", "in pence"])
def test_what_a_dividend_not_below_the_price_earns_cannot_be_said(dividend):
    close = np.array([40.0, 50.0, 5.0, 6.0])
    adjusted = forward_adjusted(close, np.array([0, 0, dividend, 0]), np.zeros(4))
    assert_allclose(adjusted, [40.0, 50.0, np.nan, 50.0 * 6 / 5])


@pytest.mark.parametrize("missing", [0.0, np.nan])
def test_a_dividend_is_paid_on_the_last_price_before_it(missing):
    close = np.array([100.0, missing, 99.0, 99.0])
    adjusted = forward_adjusted(close, np.array([0, 0, 1.0, 0]), np.zeros(4))
    assert_allclose(adjusted, [100.0, missing, 100.0, 100.0])


@pytest.mark.parametrize("large", [15.0, 45.0, 99.0], ids=["special", "return of capital", "spin-off"])
def test_a_large_dividend_below_the_price_is_one_like_any_other(large):
    close = np.array([100.0, 100.0 - large])
    assert_allclose(forward_adjusted(close, np.array([0, large]), np.zeros(2)), 100.0)


@pytest.mark.parametrize("split", [0.0, -2.0, np.nan, np.inf, 1.0])
def test_a_ratio_that_is_none_is_no_split(split):
    close = np.array([10.0, 11.0, 12.0])
    assert_allclose(forward_adjusted(close, np.zeros(3), np.array([0, split, 0])), close, rtol=0)


NEW_YORK_CLOSE_SUMMER = datetime(2024, 6, 27, 20, 0, tzinfo=UTC)


def check_traded(frame, listing, first, last):
    """Every session of the span once, all as traded."""
    rows = [row for row, day in enumerate(listing.days) if first <= day <= last]
    days = [listing.days[row] for row in rows]
    assert [stamp.date() for stamp in frame["date"]] == days
    assert_allclose(frame[["open", "high", "low", "close"]], listing.prices[rows], rtol=1e-6)
    assert_allclose(frame["volume"], listing.volume[rows])
    assert_allclose(frame["dividend"], [listing.dividends.get(day, 0) for day in days], rtol=1e-6)
    assert_allclose(frame["split"], [listing.splits.get(day, 0) for day in days])
    parts = (frame[name].to_numpy() for name in ("close", "dividend", "split"))
    assert_array_equal(frame["adj_close"], forward_adjusted(*parts))


@pytest.mark.parametrize("symbol", ["AAPL", "MSFT", "^GSPC", "EURUSD=X", "BRK-B"])
def test_prices_are_as_traded(yahoo_loopback, symbol):
    frame = fetch_history(symbol, date(2023, 3, 1), date(2024, 5, 31), yahoo=yahoo_loopback.open())
    check_traded(frame, yahoo_loopback.market.listings[symbol], date(2023, 3, 1), date(2024, 5, 31))
    assert tuple(frame.columns) == HISTORY_COLUMNS
    assert set(frame["symbol"]) == {symbol}


def test_a_split_after_the_span_is_undone_too(yahoo_loopback):
    frame = fetch_history("AAPL", date(2023, 1, 2), date(2023, 2, 28), yahoo=yahoo_loopback.open())
    check_traded(frame, yahoo_loopback.market.listings["AAPL"], date(2023, 1, 2), date(2023, 2, 28))
    assert frame["close"].min() > 300


def test_a_split_this_morning_is_undone_though_its_bar_is_dropped(yahoo_loopback):
    yahoo_loopback.market.now = datetime(2024, 9, 10, 15, 0, tzinfo=UTC)
    frame = fetch_history("AAPL", yahoo=yahoo_loopback.open())
    check_traded(frame, yahoo_loopback.market.listings["AAPL"], date(2023, 1, 2), date(2024, 9, 9))


def test_the_end_is_included_and_one_day_is_a_span(yahoo_loopback):
    frame = fetch_history("MSFT", date(2024, 5, 31), date(2024, 5, 31), yahoo=yahoo_loopback.open())
    assert [str(stamp.date()) for stamp in frame["date"]] == ["2024-05-31"]


@pytest.mark.parametrize(
    ("minutes_after_close", "last"),
    [(-600, 26), (-200, 26), (-1, 26), (0, 26), (29, 26), (30, 27), (300, 27)],
)
def test_the_bar_of_today_waits_for_the_close(yahoo_loopback, minutes_after_close, last):
    market = yahoo_loopback.market
    market.now = NEW_YORK_CLOSE_SUMMER + minutes_after_close * (
        datetime(2024, 1, 1, 0, 1) - datetime(2024, 1, 1)
    )
    frame = fetch_history("AAPL", date(2024, 6, 3), yahoo=yahoo_loopback.open())
    check_traded(frame, market.listings["AAPL"], date(2024, 6, 3), date(2024, 6, last))


@pytest.mark.parametrize(
    ("zone", "now", "last"),
    [
        ("Asia/Tokyo", datetime(2024, 6, 27, 23, 0, tzinfo=UTC), date(2024, 6, 27)),
        ("America/New_York", datetime(2024, 6, 28, 2, 0, tzinfo=UTC), date(2024, 6, 26)),
    ],
)
def test_yesterday_is_the_exchanges(zone, now, last):
    assert last_finished_day({"exchangeTimezoneName": zone}, now) == last


def test_no_finished_session_is_an_error(yahoo_loopback):
    yahoo_loopback.market.now = datetime(2024, 6, 27, 15, 0, tzinfo=UTC)
    with pytest.raises(DataError, match="Yahoo must have daily prices of AAPL. Got no finished session"):
        fetch_history("AAPL", date(2024, 6, 27), yahoo=yahoo_loopback.open())


def test_a_span_without_a_session_is_an_error(yahoo_loopback):
    with pytest.raises(
        DataError, match="sessions of AAPL between start and end. Got none from 2022-01-03 to 2022-02-01"
    ):
        fetch_history("AAPL", date(2022, 1, 3), date(2022, 2, 1), yahoo=yahoo_loopback.open())


def test_an_action_without_a_price_goes_to_the_next_session(yahoo_loopback):
    listing = yahoo_loopback.market.listings["AAPL"]
    row = listing.days.index(date(2024, 5, 10))
    listing.prices[row] = np.nan
    frame = fetch_history("AAPL", date(2024, 5, 8), date(2024, 5, 14), yahoo=yahoo_loopback.open())
    assert [stamp.day for stamp in frame["date"]] == [8, 9, 13, 14]
    assert_allclose(frame["dividend"], [0, 0, 0.25, 0])
