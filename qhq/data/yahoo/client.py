"""Questions to Yahoo: asked through yfinance, paced, and answered in full or with an error in three parts."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, TypeVar

from curl_cffi.requests.exceptions import RequestException

from qhq.data.yahoo.pacing import Pacing, PassingError
from qhq.data.yahoo.session import URL, YahooSession, find_address
from qhq.data.yahoo.symbols import check_symbol
from qhq.errors import DataError
from qhq.paths import cache_dir

Answer = TypeVar("Answer")


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

    def ask(self, symbol: str, what: str, question: Callable[[Any], Answer]) -> Answer:
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

    def _ask_once(self, symbol: str, what: str, question: Callable[[Any], Answer]) -> Answer:
        self.session.forget()
        # yfinance keeps replies in memory, broken ones and those of before a split too.
        self._yfinance.data.YfData.cache_get.cache_clear()
        try:
            with _outspoken(self._yfinance):
                answer = question(self._ticker(symbol))
        except DataError:
            raise
        except Exception as error:  # yfinance documents none: any kind can come out of a broken reply
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
                fix=f"Check the network, the proxy and {URL}, then run the command again",
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
