"""Questions to Yahoo: asked through yfinance, paced, and answered in full or with an error in three parts.

The session that yfinance is given lets each request out in its time, and none past a ``QHQ_YAHOO_URL``.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic, sleep
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import numpy as np
from curl_cffi.requests import Response, Session
from curl_cffi.requests.exceptions import RequestException

from qhq.data.yahoo.history import check_symbol
from qhq.errors import ConfigError, DataError
from qhq.paths import cache_dir

_Answer = TypeVar("_Answer")


class PassingError(DataError):
    """A failure that may pass when the same is asked again: a rate limit, a server error, a cut line."""


@dataclass
class Pacing:
    """When the next request may go out.

    Attributes:
        interval_seconds: Least time between two requests; Yahoo publishes no limit, this is a browser's pace.
        attempts: How often one question is asked at most.
        backoff_seconds: Longest pause after the first failure; it doubles with each further one.
        clock: Monotonic seconds.
        sleep: Waits for so many seconds.
        rng: Of the jitter, which must differ between processes: hence no seed.
    """

    interval_seconds: float = 0.5
    attempts: int = 5
    backoff_seconds: float = 1.0
    clock: Callable[[], float] = field(default_factory=lambda: monotonic)
    sleep: Callable[[float], None] = field(default_factory=lambda: sleep)
    rng: np.random.Generator = field(default_factory=np.random.default_rng)
    _free_at: float | None = field(default=None, init=False)

    def wait(self) -> None:
        """Wait until the next request may go out."""
        now = self.clock()
        if self._free_at is not None and now < self._free_at:
            self.sleep(self._free_at - now)
            now = self._free_at
        # Reserved before it is sent: time that the reply takes counts towards the interval.
        self._free_at = now + self.interval_seconds

    def keep_trying(self, ask: Callable[[], _Answer]) -> _Answer:
        """Ask until there is an answer, ``attempts`` times at most, with growing pauses.

        Raises:
            DataError: Any but a PassingError at once; the last one when all attempts are spent.
        """
        for failures in range(1, self.attempts):
            try:
                return ask()
            except PassingError:
                self.sleep(self._pause(failures))
        try:
            return ask()
        except PassingError as error:
            raise DataError(error.must, got=f"{error.got}, {self.attempts} times", fix=error.fix) from error

    def _pause(self, failures: int) -> float:
        """Seconds to wait after so many failures: the upper half of a span that doubles."""
        # Half of it random: processes that were refused together would otherwise all come back together.
        return self.backoff_seconds * 2.0 ** (failures - 1) * float(self.rng.uniform(0.5, 1.0))


_URL = "QHQ_YAHOO_URL"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
# Names the Yahoo host that a rewritten request was meant for.
_HOST_HEADER = "X-Forwarded-Host"

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 10
_DATA_PATHS = ("/finance/chart/", "/finance/options/")


def find_address() -> str | None:
    """Where Yahoo's hosts are rewritten to: ``QHQ_YAHOO_URL`` without a last slash; None is Yahoo itself.

    Raises:
        ConfigError: If it is neither https nor http on this machine.
    """
    url = os.environ.get(_URL)
    if not url:
        return None
    address = urlsplit(url)
    # Yahoo's cookies and crumbs go along with each request, and in the clear only this machine may see them.
    safe = address.scheme == "https" or (address.scheme == "http" and address.hostname in _LOOPBACK)
    if not safe or not address.hostname or address.query or address.fragment:
        raise ConfigError(
            f"{_URL} must be an https address, or http on this machine",
            got=f"'{url}'",
            fix=f"Correct it (http://127.0.0.1:PORT or https://HOST), or unset {_URL} to ask Yahoo itself",
        )
    return url.rstrip("/")


class YahooSession(Session[Response]):
    """A curl_cffi session, as yfinance wants one.

    Args:
        pacing: Lets each request out.
        address: See ``find_address``.

    Attributes:
        data_status: HTTP status of the last reply with data (chart or options), None before any.
        refused: The last request to a foreign host; kept, because yfinance swallows what it does not expect.
    """

    def __init__(self, pacing: Pacing, address: str | None = None) -> None:
        on_this_machine = address is not None and urlsplit(address).hostname in _LOOPBACK
        # An empty proxy overrules http_proxy in the environment: a loopback request must not leave by it.
        super().__init__(impersonate="chrome", proxies={"all": ""} if on_this_machine else None)
        self.data_status: int | None = None
        self.refused: DataError | None = None
        self._pacing, self._address = pacing, address

    def forget(self) -> None:
        """Forget the replies so far, before a new question."""
        self.data_status, self.refused = None, None

    def request(self, method: Any, url: str, **given: Any) -> Response:  # type: ignore[override]
        """Send a request, rewritten if there is an address.

        Raises:
            DataError: If there is an address, and the request is for no host of Yahoo's.
        """
        if self._address is None:
            return self._send(method, url, given)
        return self._follow(method, url, given)

    def ws_connect(self, url: str, *given: Any, **named: Any) -> Any:
        """Open a websocket; none is rewritten, so none with an address."""
        if self._address is not None:
            raise self._refuse(url)
        return super().ws_connect(url, *given, **named)

    def _follow(self, method: str, url: str, given: Mapping[str, Any]) -> Response:
        """Follow redirects here, one by one: curl would follow them to hosts that were never looked at."""
        given = dict(given)
        wanted = given.pop("allow_redirects", None) is not False
        headers = dict(given.pop("headers", None) or {})
        for _ in range(_MAX_REDIRECTS + 1):
            host = urlsplit(url).hostname or ""
            sent = {**given, "headers": {**headers, _HOST_HEADER: host}, "allow_redirects": False}
            reply = self._send(method, self._rewritten(url), sent)
            reply.url = url  # yfinance knows the consent page by its host
            target = reply.headers.get("Location")
            if not wanted or reply.status_code not in _REDIRECTS or not target:
                return reply
            url = urljoin(url, target)
            # They are part of the Location already where the service wants them.
            given.pop("params", None)
            # As browsers do: 307 and 308 alone repeat the method and the body.
            if reply.status_code not in (307, 308):
                method = "GET"
                given.pop("data", None)
        raise DataError(
            f"{_URL} must not redirect for ever",
            got=f"{_MAX_REDIRECTS} redirects, the last to {url}",
            fix="Check the service behind it",
        )

    def _send(self, method: Any, url: str, given: Mapping[str, Any]) -> Response:
        self._pacing.wait()
        # The one way out of this process: whatever yfinance asks for passes the pacing.
        reply = super().request(method, url, **given)
        if any(part in url for part in _DATA_PATHS):
            self.data_status = reply.status_code
        return reply

    def _rewritten(self, url: str) -> str:
        address = str(self._address)
        if url == address or url.startswith(f"{address}/"):
            return url
        parts = urlsplit(url)
        host = parts.hostname or ""
        # With the dot: notyahoo.com ends in yahoo.com as well.
        if parts.scheme not in ("http", "https") or not (host == "yahoo.com" or host.endswith(".yahoo.com")):
            raise self._refuse(url)
        return address + (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def _refuse(self, url: str) -> DataError:
        self.refused = DataError(
            f"No host but Yahoo's may be asked while {_URL} is set",
            got=f"a request for {urlsplit(url).hostname}",
            fix=f"Correct the service behind {_URL}, or unset it",
        )
        return self.refused


class EmptyReply(Exception):  # noqa: N818 - not an error of its own, the client explains it
    """Yahoo answered, and had nothing."""


def open_yahoo(*, pacing: Pacing | None = None, now: Callable[[], datetime] | None = None) -> Yahoo:
    """Open a session with Yahoo, or with the service at ``QHQ_YAHOO_URL``. Nothing is asked yet.

    Args:
        pacing: How often to ask.
        now: The time, aware; tests set it.

    Raises:
        ConfigError: If ``QHQ_YAHOO_URL`` is not safe.
    """
    pacing = pacing or Pacing()
    address = find_address()
    return Yahoo(
        YahooSession(pacing, address),
        yfinance=_import_yfinance("yahoo" if address is None else "mirror"),
        pacing=pacing,
        now=now or (lambda: datetime.now(UTC)),
    )


class Yahoo:
    """One session with Yahoo; ``ask`` is its only verb.

    Args:
        session: What yfinance sends its requests through.
        yfinance: The module.
        pacing: How often to ask again.
        now: The time, aware.
    """

    def __init__(
        self, session: YahooSession, *, yfinance: ModuleType, pacing: Pacing, now: Callable[[], datetime]
    ) -> None:
        self.session, self.now = session, now
        self._yfinance, self._pacing = yfinance, pacing
        self._tickers: dict[str, Any] = {}

    def ask(self, symbol: str, what: str, question: Callable[[Any], _Answer]) -> _Answer:
        """Ask something of a ``yfinance.Ticker``.

        Args:
            symbol: Yahoo's, such as ``AAPL``, ``BRK-B`` or ``^GSPC``.
            what: Name of what is asked for, for errors.
            question: Asks; raises EmptyReply where the answer is empty.

        Raises:
            DataError: If the symbol is not known, or the answer is empty, broken or refused.
        """
        check_symbol(symbol)
        return self._pacing.keep_trying(lambda: self._ask_once(symbol, what, question))

    def _ask_once(self, symbol: str, what: str, question: Callable[[Any], _Answer]) -> _Answer:
        self.session.forget()
        # yfinance keeps replies in memory, broken ones and those of before a split too.
        self._yfinance.data.YfData.cache_get.cache_clear()
        try:
            with _outspoken(self._yfinance):
                answer = question(self._ticker(symbol))
        except DataError:
            raise
        except Exception as error:  # yfinance documents none: any kind can come out of a broken reply
            # The object keeps parts of replies, and would answer from a broken one the next time.
            self._tickers.pop(symbol, None)
            raise self.session.refused or self._explain(symbol, what, error) from error
        if self.session.refused:
            raise self.session.refused
        return answer

    def _ticker(self, symbol: str) -> Any:
        if symbol not in self._tickers:
            self._tickers[symbol] = self._yfinance.Ticker(symbol, session=self.session)
        return self._tickers[symbol]

    def _explain(self, symbol: str, what: str, error: Exception) -> DataError:
        status = self.session.data_status
        kinds = self._yfinance.exceptions
        if status == 429 or isinstance(error, kinds.YFRateLimitError):
            return PassingError(
                "Yahoo must let qhq ask",
                got=f"429 Too Many Requests for {what} of {symbol}",
                fix="Run the command again in some minutes; what was fetched so far is kept",
            )
        # 401 and 403 too: as a rule a crumb that has run out.
        if status is not None and (status >= 500 or status in (401, 403)):
            return PassingError(
                f"Yahoo must answer for {what} of {symbol}",
                got=f"HTTP status {status}",
                fix="Run the command again later; what was fetched so far is kept",
            )
        if status == 404 or isinstance(error, EmptyReply | kinds.YFTickerMissingError):
            return DataError(
                f"Yahoo must have {what} of {symbol}",
                got="nothing, HTTP status 404" if status == 404 else _brief(error),
                fix="Check the symbol at https://finance.yahoo.com, and the dates",
            )
        if isinstance(error, RequestException):
            return PassingError(
                f"The connection must hold while {what} of {symbol} arrive",
                got=_brief(error),
                fix=f"Check the network, the proxy and {_URL}, then run the command again",
            )
        return PassingError(
            f"Yahoo's reply with {what} of {symbol} must be whole",
            got=f"one that yfinance cannot read ({_brief(error)})",
            fix="Run the command again later; if it stays, update yfinance",
        )


def _import_yfinance(kind: str) -> ModuleType:
    """Import yfinance; its cookies and time zones go to our cache, a mirror's apart from Yahoo's."""
    with warnings.catch_warnings():  # it changes the filters of the process
        import yfinance

    # A mirror's cookies would be refused by Yahoo, and Yahoo's are none of the mirror's business.
    folder = cache_dir() / "yfinance" / kind
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            "The cache folder must be writable", got=f"{folder}: {error.strerror}", fix="Set QHQ_CACHE_DIR"
        ) from error
    yfinance.set_tz_cache_location(str(folder))
    module: ModuleType = yfinance
    return module


@contextmanager
def _outspoken(yfinance: ModuleType) -> Iterator[None]:
    """Let yfinance raise what it would only log, and log nothing beside it."""
    debug, logger = yfinance.config.debug, logging.getLogger("yfinance")
    hidden, level = debug.hide_exceptions, logger.level
    debug.hide_exceptions = False
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            # What yfinance uses of pandas and others is its makers' business.
            warnings.filterwarnings("ignore", category=DeprecationWarning, module="yfinance")
            yield
    finally:
        debug.hide_exceptions = hidden
        logger.setLevel(level)


def _brief(error: Exception) -> str:
    text = str(error).partition("\n")[0].rstrip(". ")
    known = isinstance(error, EmptyReply) or type(error).__name__.startswith("YF")
    return text if known and text else f"{type(error).__name__}: {text}"
