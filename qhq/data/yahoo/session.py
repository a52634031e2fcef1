"""The HTTP session that yfinance is given: every request is paced, and none leaves a ``QHQ_YAHOO_URL``."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urljoin, urlsplit

from curl_cffi.requests import Response, Session

from qhq.data.yahoo.pacing import Pacing
from qhq.errors import ConfigError, DataError

URL = "QHQ_YAHOO_URL"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
HOST_HEADER = "X-Forwarded-Host"
"""Names the Yahoo host that a rewritten request was meant for."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 10
_DATA_PATHS = ("/finance/chart/", "/finance/options/")


def find_address() -> str | None:
    """Where Yahoo's hosts are rewritten to: ``QHQ_YAHOO_URL`` without a last slash; None is Yahoo itself.

    Raises:
        ConfigError: If it is neither https nor http on this machine.
    """
    url = os.environ.get(URL)
    if not url:
        return None
    address = urlsplit(url)
    safe = address.scheme == "https" or (address.scheme == "http" and address.hostname in LOOPBACK)
    if not safe or not address.hostname or address.query or address.fragment:
        raise ConfigError(
            f"{URL} must be an https address, or http on this machine",
            got=f"'{url}'",
            fix=f"Correct it (http://127.0.0.1:PORT or https://HOST), or unset {URL} to ask Yahoo itself",
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
        on_this_machine = address is not None and urlsplit(address).hostname in LOOPBACK
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

    def _follow(self, method: str, url: str, given: dict[str, Any]) -> Response:
        """Follow redirects here, one by one: curl would follow them to hosts that were never looked at."""
        given = dict(given)
        wanted = given.pop("allow_redirects", None) is not False
        headers = dict(given.pop("headers", None) or {})
        for _ in range(_MAX_REDIRECTS + 1):
            host = urlsplit(url).hostname or ""
            sent = {**given, "headers": {**headers, HOST_HEADER: host}, "allow_redirects": False}
            reply = self._send(method, self._rewritten(url), sent)
            reply.url = url  # yfinance knows the consent page by its host
            target = reply.headers.get("Location")
            if not wanted or reply.status_code not in _REDIRECTS or not target:
                return reply
            url = urljoin(url, target)
            given.pop("params", None)
            if reply.status_code not in (307, 308):
                method = "GET"
                given.pop("data", None)
        raise DataError(
            f"{URL} must not redirect for ever",
            got=f"{_MAX_REDIRECTS} redirects, the last to {url}",
            fix="Check the service behind it",
        )

    def _send(self, method: Any, url: str, given: dict[str, Any]) -> Response:
        self._pacing.wait()
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
        if parts.scheme not in ("http", "https") or not (host == "yahoo.com" or host.endswith(".yahoo.com")):
            raise self._refuse(url)
        return address + (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def _refuse(self, url: str) -> DataError:
        self.refused = DataError(
            f"No host but Yahoo's may be asked while {URL} is set",
            got=f"a request for {urlsplit(url).hostname}",
            fix=f"Correct the service behind {URL}, or unset it",
        )
        return self.refused
