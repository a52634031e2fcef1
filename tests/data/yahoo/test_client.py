"""Asking Yahoo: pauses by a clock that only the sleeper moves, requests that go to the address and nowhere
else, and every way in which an answer can fail, each an error in three parts that names the symbol.
"""

import logging

import numpy as np
import pytest
from curl_cffi.requests import Session

from qhq.data.yahoo.client import EmptyReply, Pacing, PassingError, YahooSession, find_address
from qhq.data.yahoo.history import fetch_history
from qhq.errors import ConfigError, DataError


class Clock:
    def __init__(self):
        self.time, self.slept = 100.0, []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.time += seconds

    def pacing(self, **changes):
        rng = np.random.default_rng(0)
        return Pacing(clock=lambda: self.time, sleep=self.sleep, rng=rng, **changes)


@pytest.fixture
def clock():
    return Clock()


def failing(times, error=None):
    calls = []

    def ask():
        calls.append(1)
        if len(calls) <= times:
            raise error or PassingError("It must pass", got="a refusal", fix="Wait")
        return len(calls)

    return ask


def test_requests_keep_their_distance(clock):
    pacing, starts = clock.pacing(interval_seconds=2.0), []
    for busy_seconds in (0.5, 5.0, 0.0, 0.0):
        pacing.wait()
        starts.append(clock.time)
        clock.time += busy_seconds
    assert starts == [100.0, 102.0, 107.0, 109.0]


def test_pauses_double_and_are_jittered(clock):
    assert clock.pacing(attempts=6, backoff_seconds=1.0).keep_trying(failing(5)) == 6
    for failures, pause in enumerate(clock.slept):
        assert 0.5 * 2**failures <= pause <= 2**failures
    assert len(set(np.array(clock.slept) / 2.0 ** np.arange(5))) == 5


def test_after_the_last_attempt_it_says_how_often(clock):
    with pytest.raises(DataError, match="It must pass. Got a refusal, 3 times. Wait."):
        clock.pacing(attempts=3).keep_trying(failing(99))
    assert len(clock.slept) == 2


def test_what_will_not_pass_is_not_asked_again(clock):
    with pytest.raises(DataError, match="unknown"):
        clock.pacing().keep_trying(failing(99, DataError("A", got="unknown", fix="B")))
    assert clock.slept == []


@pytest.fixture
def session(yahoo_loopback):
    return YahooSession(Pacing(), yahoo_loopback.url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://localhost:1/yahoo", "https://mirror.example/y"]
)
def test_a_safe_address_is_taken(monkeypatch, url):
    monkeypatch.setenv("QHQ_YAHOO_URL", f"{url}/")
    assert find_address() == url


@pytest.mark.parametrize(
    "url",
    ["http://mirror.example", "ftp://127.0.0.1", "127.0.0.1:8000", "https://", "https://a.example/?b=c"],
)
def test_an_unsafe_address_is_refused(monkeypatch, url):
    monkeypatch.setenv("QHQ_YAHOO_URL", url)
    with pytest.raises(ConfigError, match="must be an https address, or http on this machine"):
        find_address()


@pytest.mark.parametrize("url", [None, ""])
def test_without_an_address_it_is_yahoo_itself(monkeypatch, url):
    monkeypatch.delenv("QHQ_YAHOO_URL", raising=False)
    if url is not None:
        monkeypatch.setenv("QHQ_YAHOO_URL", url)
    assert find_address() is None


@pytest.mark.parametrize("host", ["yahoo.com", "fc.yahoo.com", "query2.finance.yahoo.com", "guce.yahoo.com"])
def test_every_yahoo_host_is_rewritten_and_named(yahoo_loopback, session, host):
    reply = session.get(f"https://{host}/v8/finance/chart/%5EGSPC", params={"range": "1d", "interval": "1d"})
    assert reply.json()["chart"]["result"][0]["meta"]["symbol"] == "^GSPC"
    assert reply.url == f"https://{host}/v8/finance/chart/%5EGSPC"
    assert yahoo_loopback.market.requests == [(host, "/v8/finance/chart/^GSPC")]


@pytest.mark.parametrize(
    "url",
    ["https://example.com/", "https://yahoo.com.example.com/", "https://notyahoo.com/", "ftp://yahoo.com/"],
)
def test_any_other_host_is_refused(yahoo_loopback, session, url):
    with pytest.raises(DataError, match=r"No host but Yahoo's may be asked while QHQ_YAHOO_URL is set"):
        session.get(url)
    assert session.refused is not None
    assert yahoo_loopback.market.requests == []


def test_a_websocket_is_refused(session):
    with pytest.raises(DataError, match="No host but Yahoo's"):
        session.ws_connect("wss://streamer.finance.yahoo.com/")


@pytest.mark.parametrize("target", ["https://consent.yahoo.com/v2", "/elsewhere", "{own}/elsewhere"])
def test_a_redirect_stays_at_the_address(yahoo_loopback, session, target):
    target = target.format(own=yahoo_loopback.url)
    yahoo_loopback.market.fault("/start", do="redirect", message=target)
    assert session.get("https://finance.yahoo.com/start", params={"a": "b"}).status_code == 404
    paths = [path for _, path in yahoo_loopback.market.requests]
    assert paths == ["/start", "/v2" if "consent" in target else "/elsewhere"]


def test_a_redirect_is_only_followed_if_wanted(yahoo_loopback, session):
    yahoo_loopback.market.fault("/start", do="redirect", message="/elsewhere")
    assert session.get("https://finance.yahoo.com/start", allow_redirects=False).status_code == 302


def test_a_redirect_to_another_host_is_refused(yahoo_loopback, session):
    yahoo_loopback.market.fault("/start", do="redirect", message="https://example.com/")
    with pytest.raises(DataError, match=r"Got a request for example\.com"):
        session.get("https://finance.yahoo.com/start")


def test_redirects_end(yahoo_loopback, session):
    yahoo_loopback.market.fault("/start", do="redirect", message="/start", times=None)
    with pytest.raises(DataError, match="must not redirect for ever"):
        session.get("https://finance.yahoo.com/start")


def test_a_proxy_of_the_environment_is_passed_by(monkeypatch, yahoo_loopback, session):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert session.get("https://finance.yahoo.com/").status_code == 404
    assert len(yahoo_loopback.market.requests) == 1


def test_requests_are_paced(yahoo_loopback):
    session = YahooSession(Pacing(interval_seconds=1.0, clock=lambda: 0.0), yahoo_loopback.url)
    session.get("https://finance.yahoo.com/")
    session.get("https://finance.yahoo.com/")
    assert yahoo_loopback.pauses == [1.0]


def test_the_guard_of_these_tests_sees_any_session(yahoo_loopback):
    with pytest.raises(AssertionError, match="not on this machine"):
        Session().get("https://example.com/")
    assert yahoo_loopback.foreign == ["https://example.com/"]
    yahoo_loopback.foreign.clear()


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


def test_a_refused_host_is_reported_even_if_yfinance_swallows_it(yahoo_loopback, yahoo):
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
