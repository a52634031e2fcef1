"""Every way in which an answer can fail, each an error in three parts that names the symbol."""

import logging

import pytest

from qhq.data.yahoo.client import EmptyReply
from qhq.data.yahoo.history import fetch_history
from qhq.errors import DataError

CHART = "/v8/finance/chart/AAPL"
BARE = '{"chart": {"result": [{"indicators": 3}], "error": null}}'
"""Well-formed JSON that is no chart."""


@pytest.fixture
def yahoo(yahoo_loopback):
    return yahoo_loopback.open()


def test_one_429_is_not_noticed(yahoo_loopback, yahoo):
    whole = fetch_history("AAPL", yahoo=yahoo)
    fault = yahoo_loopback.market.fault(CHART, status=429, message="Too Many Requests")
    assert fetch_history("AAPL", yahoo=yahoo).equals(whole)
    assert fault.hits == 1


def test_several_429_are_waited_for(yahoo_loopback, yahoo):
    fault = yahoo_loopback.market.fault(CHART, status=429, message="Too Many Requests", times=4)
    yahoo_loopback.pauses.clear()
    assert len(fetch_history("AAPL", yahoo=yahoo)) == 390
    assert fault.hits == 4
    backoffs = [pause for pause in yahoo_loopback.pauses if pause > 0.5]
    assert len(backoffs) == 2
    assert backoffs[0] < 1.0 < backoffs[1] < 2.0


def test_429_for_good_is_an_error(yahoo_loopback, yahoo):
    fault = yahoo_loopback.market.fault(CHART, status=429, message="Too Many Requests", times=None)
    with pytest.raises(
        DataError,
        match="Yahoo must let qhq ask. Got 429 Too Many Requests for .* of AAPL, 5 times. Run .* again",
    ):
        fetch_history("AAPL", yahoo=yahoo)
    assert fault.hits == 10


def test_a_429_for_the_crumb_alone_does_no_harm(yahoo_loopback, yahoo):
    yahoo_loopback.market.fault("/v1/test/getcrumb", status=429, message="Too Many Requests", times=None)
    assert len(fetch_history("AAPL", yahoo=yahoo)) == 390


def test_an_unknown_symbol_is_asked_for_once(yahoo_loopback, yahoo):
    for _ in range(4):  # yfinance takes another way from the third on
        with pytest.raises(
            DataError, match="Yahoo must have daily prices of NOPE. Got nothing, HTTP status 404"
        ):
            fetch_history("NOPE", yahoo=yahoo)
    assert max(yahoo_loopback.pauses) <= 0.5


def test_an_empty_table_is_an_error(yahoo_loopback, yahoo):
    fetch_history("AAPL", yahoo=yahoo)
    yahoo_loopback.market.fault(CHART, do="empty", times=None)
    with pytest.raises(DataError, match="Yahoo must have daily prices of AAPL. Got .*no price data found"):
        fetch_history("AAPL", yahoo=yahoo)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"do": "half"},
            "Yahoo's reply with daily prices of AAPL must be whole. Got one that yfinance cannot",
        ),
        ({"do": "cut"}, "The connection must hold while daily prices of AAPL arrive"),
        ({"do": "drop"}, "The connection must hold while daily prices of AAPL arrive"),
        ({"status": 500, "message": "<html>"}, "must answer for daily prices of AAPL. Got HTTP status 500"),
        ({"status": 502, "message": "{}"}, "must answer for daily prices of AAPL. Got HTTP status 502"),
        ({"status": 200, "message": BARE}, "Yahoo's reply with daily prices of AAPL must be whole"),
        (
            {"status": 200, "message": "Will be right back"},
            "Yahoo's reply with .* AAPL must be whole. Got .*DOWN",
        ),
    ],
)
@pytest.mark.parametrize("skip", [0, 1])
def test_a_broken_reply_is_asked_for_again(yahoo_loopback, yahoo, changes, match, skip):
    """Skip 0 breaks the reply with the time zone, 1 the one with the prices."""
    fault = yahoo_loopback.market.fault(CHART, times=2, skip=skip, **changes)
    assert len(fetch_history("AAPL", yahoo=yahoo)) == 390
    assert fault.hits == 2
    yahoo_loopback.market.fault(CHART, times=None, **changes)
    with pytest.raises(DataError, match=f"{match}.*, 5 times"):
        fetch_history("AAPL", yahoo=yahoo)


def test_a_service_that_is_down_is_an_error(yahoo_loopback, yahoo, monkeypatch):
    monkeypatch.setenv("QHQ_YAHOO_URL", "http://127.0.0.1:1")
    with pytest.raises(
        DataError, match="The connection must hold.*Check the network, the proxy and QHQ_YAHOO_URL"
    ):
        fetch_history("AAPL", yahoo=yahoo_loopback.open())


def test_a_refused_host_is_told_even_if_yfinance_swallows_it(yahoo_loopback, yahoo):
    def swallow(ticker):
        try:
            ticker.session.get("https://example.com/")
        except Exception:
            return "nothing happened"

    with pytest.raises(DataError, match=r"No host but Yahoo's .* Got a request for example\.com"):
        yahoo.ask("AAPL", "a test", swallow)


def test_a_redirect_away_from_yahoo_is_refused(yahoo_loopback, yahoo):
    yahoo_loopback.market.fault(CHART, do="redirect", message="https://example.com/", times=None)
    with pytest.raises(DataError, match=r"Got a request for example\.com"):
        fetch_history("AAPL", yahoo=yahoo)


def test_an_isin_is_refused_before_anything_is_asked(yahoo_loopback, yahoo):
    with pytest.raises(DataError, match="Got the ISIN US0378331005"):
        fetch_history("US0378331005", yahoo=yahoo)
    assert yahoo_loopback.market.requests == []


def test_yfinance_is_left_as_it_was(yahoo):
    import yfinance

    seen = []

    def question(ticker):
        seen.append(yfinance.config.debug.hide_exceptions)
        raise EmptyReply("no such thing")

    level = logging.getLogger("yfinance").level
    with pytest.raises(DataError, match="Yahoo must have a test of AAPL. Got no such thing"):
        yahoo.ask("AAPL", "a test", question)
    assert (seen, yfinance.config.debug.hide_exceptions) == ([False], True)
    assert logging.getLogger("yfinance").level == level
