"""The service has Yahoo's habits, as the unmodified client shows them."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from curl_cffi.requests import get
from numpy.testing import assert_allclose

from .listing import make_listing

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")


@pytest.fixture
def history(yahoo_loopback):
    """Prices as the client gives them."""

    def history(symbol, **given):
        return yahoo_loopback.open().ask(symbol, "prices", lambda ticker: ticker.history(**given))

    return history


def test_without_auto_adjust_prices_are_still_adjusted_for_splits(yahoo_loopback, history):
    listing = yahoo_loopback.market.listings["AAPL"]
    frame = history("AAPL", start="2023-06-01", end="2023-06-08", auto_adjust=False, actions=True)
    rows = [listing.days.index(stamp.date()) for stamp in frame.index]
    assert frame["Stock Splits"].tolist() == [0, 0, 2, 0, 0]
    assert_allclose(frame["Close"], listing.close[rows] / [2, 2, 1, 1, 1], rtol=1e-6)
    assert_allclose(frame["Volume"], listing.volume[rows] * [2, 2, 1, 1, 1])


def test_a_split_changes_the_whole_past_and_its_dividends(yahoo_loopback, history):
    span = {"start": "2024-05-01", "end": "2024-06-01", "auto_adjust": False}
    before = history("AAPL", **span)
    yahoo_loopback.market.now = datetime(2024, 9, 10, 14, 0, tzinfo=UTC)
    after = history("AAPL", **span)
    assert_allclose(after["Close"], before["Close"] / 4, rtol=1e-6)
    assert_allclose(after["Dividends"], before["Dividends"] / 4)
    assert after["Stock Splits"].eq(0).all()


def test_the_bar_of_today_has_the_time_of_the_last_trade(yahoo_loopback, history):
    yahoo_loopback.market.now = datetime(2024, 6, 27, 15, 0, tzinfo=UTC)
    assert [stamp.day for stamp in history("AAPL", start="2024-06-26").index] == [26, 27]


def test_every_host_of_yahoos_is_met(yahoo_loopback, history):
    history("AAPL", start="2024-06-03")
    assert set(yahoo_loopback.market.hosts()) == {
        "fc.yahoo.com",
        "query1.finance.yahoo.com",
        "query2.finance.yahoo.com",
    }


def test_options_want_a_crumb(yahoo_loopback):
    reply = get(f"{yahoo_loopback.url}/v7/finance/options/AAPL", allow_redirects=False)
    assert (reply.status_code, reply.json()["finance"]["error"]["code"]) == (401, "Unauthorized")


def test_a_listing_is_the_same_for_the_same_seed():
    span = (date(2024, 1, 1), date(2024, 3, 1))
    one, other, third = (make_listing("A", *span, seed=seed) for seed in (1, 1, 2))
    assert_allclose(one.prices, other.prices, rtol=0)
    assert (one.prices != third.prices).any()
    low, high = one.prices[:, 2], one.prices[:, 1]
    assert ((low <= one.prices.min(axis=1)) & (high >= one.prices.max(axis=1))).all()


def test_it_serves_as_a_process_of_its_own():
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.yahoo_loopback"],
        cwd=Path(__file__).parents[2],
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        url = process.stdout.readline().strip()
        assert get(f"{url}/v1/test/getcrumb").text == "loop.back"
    finally:
        process.kill()
        process.communicate()
