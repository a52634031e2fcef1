"""The client's HTTP session without the habits of it that cost money or time unseen.

IBM's client sends a submission again when a gateway says 502 or 504, whether or not the first became a job;
sleeps through ``Retry-After`` for minutes without a word; waits for ever for a reply that does not come; and
follows redirects, with the number of the account, to wherever they lead. Here a submission is sent once, and
what becomes of it is found out by its tag; a wish to wait is handed on to whoever can say so; and a redirect
to another host is an error.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import qiskit_ibm_runtime.api.client as client_module
from qiskit_ibm_runtime.api.session import STATUS_FORCELIST, PostForcelistRetry, RetrySession
from requests.adapters import HTTPAdapter
from requests.exceptions import TooManyRedirects

CONNECT_SECONDS, READ_SECONDS = 5.0, 60.0
"""How long a connection, and then each piece of a reply, may take."""


class _Retry(PostForcelistRetry):  # type: ignore[misc]
    """Tries again what may be asked twice, and only without being told to wait."""

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        """Whether a reply of this status is asked for again at once."""
        if has_retry_after or method.upper() not in ("GET", "HEAD"):
            return False
        return bool(super().is_retry(method, status_code, has_retry_after))


class Posts(threading.local):
    """What a thread posted so far, and how much of it the service took."""

    sent = 0
    taken = 0


class WireSession(RetrySession):  # type: ignore[misc]
    """What the client talks through; ``posts`` counts what a thread sent, through all of its sessions."""

    posts = Posts()

    def _initialize_retry(self, retries_total: int, retries_connect: int, backoff_factor: float) -> None:
        retry = _Retry(
            total=retries_total,
            connect=retries_connect,
            backoff_factor=backoff_factor,
            status_forcelist=STATUS_FORCELIST,
        )
        for scheme in ("http://", "https://"):
            self.mount(scheme, HTTPAdapter(max_retries=retry))

    def _initialize_session_parameters(self, verify: bool, proxies: Any, auth: Any) -> None:
        super()._initialize_session_parameters(verify, proxies, auth)
        keep_key_here(auth)

    def request(self, method: str, url: str, bare: bool = False, **named: Any) -> Any:
        """Send a request, and wait for its reply a bounded time."""
        posted = int(method.upper() == "POST")
        self.posts.sent += posted
        if named.get("timeout") is None:
            named["timeout"] = (CONNECT_SECONDS, READ_SECONDS)
        reply = super().request(method, url, bare, **named)
        # A refusal has been raised.
        self.posts.taken += posted
        return reply

    def resolve_redirects(self, resp: Any, req: Any, **named: Any) -> Any:
        """Follow a redirect within the same address alone, and never one of a submission."""
        target = self.get_redirect_target(resp)
        if target is not None:
            here, there = urlsplit(resp.url), urlsplit(target)
            elsewhere = bool(there.netloc) and (here.scheme, here.netloc) != (there.scheme, there.netloc)
            if elsewhere or req.method.upper() not in ("GET", "HEAD"):
                place = f"{there.scheme}://{there.netloc}" if there.netloc else there.path
                raise TooManyRedirects(f"{here.netloc} redirects to {place}", response=resp)
        return super().resolve_redirects(resp, req, **named)


def keep_key_here(auth: Any) -> None:
    """Let a redirect of the identity service be an error: it would carry the API key along."""
    manager = getattr(auth, "tm", None)
    if manager is not None:
        manager.http_config = {**(manager.http_config or {}), "allow_redirects": False}


_inside, _counting = 0, threading.Lock()


@contextlib.contextmanager
def own_wire() -> Iterator[None]:
    """Sessions that the client opens inside are ours; several threads may be inside at once."""
    global _inside  # noqa: PLW0603  (the module that is changed is one for all threads)
    with _counting:
        _inside += 1
        client_module.RetrySession = WireSession
    try:
        yield
    finally:
        with _counting:
            _inside -= 1
            if not _inside:
                client_module.RetrySession = RetrySession
