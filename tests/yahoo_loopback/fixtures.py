"""Fixtures for tests that need Yahoo: ``from tests.yahoo_loopback.fixtures import *``."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from qhq.data.yahoo.client import Yahoo, open_yahoo
from qhq.paths import cache_dir

from .market import Market
from .server import Loopback

__all__ = ["yahoo_loopback"]


@dataclass
class YahooLoopback:
    """A market that listens, and what the code under test did besides.

    Attributes:
        market: Its state.
        url: Its address, in ``QHQ_YAHOO_URL``.
        pauses: Seconds that were to be waited; none were.
        foreign: Hosts beyond this machine that were to be asked; the test fails at its end if there are any.
    """

    market: Market
    url: str
    pauses: list[float] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def open(self) -> Yahoo:
        """The client, by the market's clock."""
        return open_yahoo(now=lambda: self.market.now)


@pytest.fixture
def yahoo_loopback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[YahooLoopback]:
    """The usual market, the environment that points at it, an empty cache, and no waiting."""
    loopback = Loopback().start()
    given = YahooLoopback(loopback.market, loopback.url)
    _set_folders(monkeypatch, tmp_path)
    monkeypatch.setenv("QHQ_YAHOO_URL", loopback.url)
    monkeypatch.setattr("qhq.data.yahoo.client.sleep", given.pauses.append)
    monkeypatch.setattr("qhq.data.yahoo.client.monotonic", lambda: sum(given.pauses))
    _guard(monkeypatch, given.foreign)
    _forget_yahoo()
    yield given
    loopback.close()
    _forget_yahoo()
    assert given.foreign == [], f"asked beyond this machine: {given.foreign}"


def _set_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache of the test's own, but with the engine's compiled kernels."""
    kernels, cache = cache_dir() / "kernels", tmp_path / "cache"
    cache.mkdir(exist_ok=True)
    if kernels.is_dir():
        (cache / "kernels").symlink_to(kernels)
    monkeypatch.setenv("QHQ_CACHE_DIR", str(cache))


def _guard(monkeypatch: pytest.MonkeyPatch, foreign: list[str]) -> None:
    """See every request of every session, yfinance's own included, and every socket of Python's."""
    from curl_cffi.requests.session import Session

    request_once, connect = Session._request_once, socket.socket.connect

    def watched(self: Any, method: Any, url: str, *args: Any, **named: Any) -> Any:
        if urlsplit(url).hostname != "127.0.0.1" or named.get("allow_redirects") is not False:
            foreign.append(url)
            raise AssertionError(f"not on this machine: {url}")
        return request_once(self, method, url, *args, **named)

    def watched_connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1"):
            foreign.append(str(address))
            raise AssertionError(f"not on this machine: {address}")
        connect(self, address)

    monkeypatch.setattr(Session, "_request_once", watched)
    monkeypatch.setattr(socket.socket, "connect", watched_connect)


def _forget_yahoo() -> None:
    """yfinance keeps its crumb, time zones and open databases for the process; a test has its own."""
    from yfinance import cache, data

    data.SingletonMeta._instances.clear()
    for manager, name in (
        (cache._TzCacheManager, "_tz_cache"),
        (cache._CookieCacheManager, "_Cookie_cache"),
        (cache._ISINCacheManager, "_isin_cache"),
    ):
        setattr(manager, name, None)
