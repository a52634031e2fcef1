"""Daily prices come out as they were traded, whatever Yahoo has adjusted them to."""

from datetime import UTC, date, datetime

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.yahoo.history import COLUMNS, fetch_history, forward_adjusted, last_finished_day
from qhq.errors import DataError

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
    assert tuple(frame.columns) == COLUMNS
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
