"""Where requests go: to the address and nowhere else."""

import pytest
from curl_cffi.requests import Session

from qhq.data.yahoo.client import Pacing, YahooSession, find_address
from qhq.errors import ConfigError, DataError


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
