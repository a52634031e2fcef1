"""HTTP on 127.0.0.1: the pages that yfinance asks for, and the faults."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.loopback.faults import Fault

from .chart import chart, empty_chart, unknown
from .market import CRUMB, Market
from .options import no_options, options, unauthorized

Answer = tuple[int, Any]


class Loopback:
    """A market that listens.

    Args:
        market: The state; the usual one if none is given.
        port: 0 takes a free one.
    """

    def __init__(self, market: Market | None = None, *, port: int = 0) -> None:
        self.market = market or Market()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
        self._server.daemon_threads = True
        self._server.market = self.market
        self.port = self._server.server_address[1]

    @property
    def url(self) -> str:
        """What ``QHQ_YAHOO_URL`` is to be."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Loopback:
        """Listen."""
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        market: Market = self.server.market
        address = urlsplit(self.path)
        path = unquote(address.path)
        query = dict(parse_qsl(address.query))
        if "period1" in query:
            market.spans.append(datetime.fromtimestamp(int(query["period1"]), UTC).date())
        market.requests.append((self.headers.get("X-Forwarded-Host", "nobody"), path))
        fault = market.faults.strike(f"GET {path}")
        if fault is None:
            self._answer(*_answer(market, path, query))
        else:
            self._fail(fault, market, path, query)

    def _fail(self, fault: Fault, market: Market, path: str, query: dict[str, str]) -> None:
        if fault.do == "drop":
            return self._hang_up()
        if fault.do == "answer":
            return self._answer(fault.status, fault.message)
        if fault.do == "redirect":
            return self._answer(302, "", Location=fault.message)
        if fault.do == "empty":
            return self._answer(200, empty_chart(market, market.listings[path.rsplit("/", 1)[-1]]))
        text = json.dumps(_answer(market, path, query)[1])
        if fault.do == "half":
            return self._answer(200, text[: len(text) // 2])
        self._answer(200, text, promised=2 * len(text))
        return self._hang_up()

    def _answer(self, status: int, answer: Any, *, promised: int | None = None, **headers: str) -> None:
        is_text = isinstance(answer, str)
        data = (answer if is_text else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8" if is_text else "application/json")
        self.send_header("Content-Length", str(promised or len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _answer(market: Market, path: str, query: dict[str, str]) -> Answer:
    folder, _, symbol = path.rpartition("/")
    listing = market.listings.get(symbol)
    if path == "/v1/test/getcrumb":
        return 200, CRUMB
    if folder == "/v8/finance/chart":
        return (200, chart(market, listing, query)) if listing else (404, unknown())
    if folder == "/v7/finance/options":
        if query.get("crumb") != CRUMB:
            return 401, unauthorized()
        return 200, options(market, listing, query) if listing else no_options()
    if path == "/":  # fc.yahoo.com answers so, and sets its cookie all the same
        return 404, "<html></html>"
    return 404, {"finance": {"result": None, "error": {"code": "Not Found", "description": "Not Found"}}}
