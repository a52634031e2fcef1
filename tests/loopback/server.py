"""HTTP on 127.0.0.1: identity, the Runtime API under /api/v1, and the verbs of tests under /loopback."""

from __future__ import annotations

import contextlib
import json
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .routes import ROUTES, Refused, Request
from .service import INSTANCE, KEY, Service
from .spoil import SPOILED


class Loopback:
    """A service that listens. ``stop`` and ``start`` again take the same port, and no job is lost between.

    Args:
        service: The state; a fresh one if none is given.
        port: 0 takes a free one.
    """

    def __init__(self, service: Service | None = None, *, port: int = 0) -> None:
        self.service = service or Service()
        self.port = port
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        """Base address, without the /api/v1."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Loopback:
        """Listen."""
        self._server = _Server(("127.0.0.1", self.port), self.service)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop listening and drop all connections; jobs run on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.drop_all()
            self._server.server_close()
            self._server = None

    def close(self) -> None:
        """Stop listening and end the service."""
        self.stop()
        self.service.close()

    def environment(self) -> dict[str, str]:
        """Environment variables that point the client, and qhq, at this service."""
        return environment(self.url)


def environment(url: str) -> dict[str, str]:
    """Environment variables that point the client, and qhq, at a loopback service.

    Without the usage data the client need not search for its caller, 20 ms a request in a deep stack.
    """
    return {
        "QHQ_IBM_URL": url,
        "QHQ_IBM_TOKEN": KEY,
        "QHQ_IBM_INSTANCE": INSTANCE,
        "IAM_URL": url,
        "GLOBAL_SEARCH_URL": url,
        "GLOBAL_CATALOG_URL": f"{url}/catalog",
        "USAGE_DATA_OPT_OUT": "True",
        "NO_PROXY": "127.0.0.1",
    }


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], service: Service) -> None:
        self.service = service
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, unless a client was killed or the service is closed."""
        if not isinstance(sys.exception(), ConnectionError | sqlite3.ProgrammingError):
            super().handle_error(request, client_address)

    def drop_all(self) -> None:
        """Close every connection, as a machine that goes down does."""
        for connection in list(self._connections):
            _hang_up(connection)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def _serve(self) -> None:
        service: Service = self.server.service
        address = urlsplit(self.path)
        body = self._body()
        path = address.path.removeprefix("/api/v1")
        name, ids = _match(self.command, path)
        service.count(name)
        fault = None if path.startswith("/loopback/") else service.faults.strike(f"{self.command} {path}")
        if fault and fault.do == "drop":
            return self._hang_up()
        if fault and fault.do == "hang":
            time.sleep(fault.seconds)
            return self._hang_up()
        if fault and fault.do == "answer":
            refused = Refused(fault.status, fault.code, fault.message)
            return self._answer(refused.status, refused.body, fault.headers)
        try:
            status, answer = _answer(service, self.headers, name, Request(ids, parse_qs(address.query), body))
        except Refused as refused:
            status, answer = refused.status, refused.body
        if fault and fault.do == "act":
            return self._answer(fault.status, "Gateway", fault.headers)
        if fault and fault.do == "spoil":
            text = answer if isinstance(answer, str) else json.dumps(answer)
            return self._answer(status, SPOILED[fault.spoil](text))
        return self._hang_up() if fault else self._answer(status, answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _body(self) -> bytes:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionError("The client went away in the middle of its request.")
        return body

    def _answer(self, status: int, answer: Any, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        is_text = isinstance(answer, str)
        data = b"" if answer is None else (answer if is_text else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8" if is_text else "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _hang_up(self) -> None:
        self.close_connection = True
        _hang_up(self.connection)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _match(command: str, path: str) -> tuple[str, tuple[str, ...]]:
    """Name of a request, with ``{id}`` for every id in its path, and the ids."""
    parts = path.strip("/").split("/")
    for name in ROUTES:
        method, _, pattern = name.partition(" /")
        pieces = pattern.split("/")
        if method == command and len(pieces) == len(parts):
            pairs = list(zip(pieces, parts, strict=True))
            if all(piece in ("{id}", part) for piece, part in pairs):
                return name, tuple(unquote(part) for piece, part in pairs if piece == "{id}")
    return f"{command} {path}", ()


def _answer(service: Service, headers: Any, name: str, request: Request) -> tuple[int, Any]:
    """Let a request in and answer it; its body is still bytes."""
    if name == "POST /identity/token":
        return service.identity.token(
            {key: values[0] for key, values in parse_qs(request.body.decode()).items()}
        )
    if name.startswith("POST /loopback/"):
        return 200, _control(
            service, name.removeprefix("POST /loopback/"), json.loads(request.body or b"[[], {}]")
        )
    if name == "POST /v3/resources/search":
        extensions = {"extensions": {"backends": service.devices}}
        item = {
            "crn": INSTANCE,
            "service_plan_unique_id": "plan",
            "name": "loopback",
            "tags": [],
            "doc": extensions,
        }
        return 200, {"items": [item]}
    if name == "GET /catalog/plan":
        title = {"en": {"display_name": service.plan}}
        return 200, {"overview_ui": title, "metadata": {"pricing": {"type": "free"}}}
    if refusal := service.identity.refusal(headers):
        raise Refused(*refusal)
    if name not in ROUTES:
        raise Refused(404, 1000, f"No such endpoint: {name}.")
    return ROUTES[name](service, Request(request.ids, request.query, json.loads(request.body or b"null")))


def _control(service: Service, verb: str, call: list[Any]) -> Any:
    if verb not in Service.VERBS:
        raise Refused(404, 1000, f"No such verb: {verb}.")
    positional, named = call
    return getattr(service, verb)(*positional, **named)


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
