"""IBM's client made harmless: its HTTP session, what surrounds it, and what its errors and results mean.

IBM's client sends a submission again when a gateway says 502 or 504, whether or not the first became a job;
sleeps through ``Retry-After`` for minutes without a word; waits for ever for a reply that does not come; and
follows redirects, with the number of the account, to wherever they lead. Here a submission is sent once, and
what becomes of it is found out by its tag; a wish to wait is handed on to whoever can say so; and a redirect
to another host is an error.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import qiskit_ibm_runtime.api.client as client_module
from qiskit.exceptions import QiskitError
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit_ibm_runtime.accounts import AccountNotFoundError, InvalidAccountError
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.api.session import STATUS_FORCELIST, PostForcelistRetry, RetrySession
from qiskit_ibm_runtime.decoders.defaults import DEFAULT_DECODERS
from qiskit_ibm_runtime.exceptions import (
    IBMBackendApiProtocolError,
    IBMNotAuthorizedError,
    RuntimeInvalidStateError,
    RuntimeJobFailureError,
    RuntimeJobMaxTimeoutError,
    RuntimeJobNotFound,
    RuntimeProgramNotFound,
)
from requests.adapters import HTTPAdapter
from requests.exceptions import JSONDecodeError, TooManyRedirects

from qhq.backends.ibm.account import Account
from qhq.backends.ibm.results import CircuitResult, Estimates
from qhq.backends.ibm.waiting import FailureKind, ServiceError, redact

# How long a connection, and then each piece of a reply, may take.
_CONNECT_SECONDS, _READ_SECONDS = 5.0, 60.0


class _Retry(PostForcelistRetry):  # type: ignore[misc]
    """Tries again what may be asked twice, and only if the service did not ask to wait."""

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        """Whether a reply of this status is asked for again at once."""
        if has_retry_after or method.upper() not in ("GET", "HEAD"):
            return False
        return bool(super().is_retry(method, status_code, has_retry_after))


class _Posts(threading.local):
    """What a thread posted so far, and how much of it the service took."""

    sent = 0
    taken = 0


class WireSession(RetrySession):  # type: ignore[misc]
    """What the client talks through; ``posts`` counts what a thread sent, through all of its sessions."""

    # Of the class, not of a session: the client opens several, and a submission goes through any.
    posts = _Posts()

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
            named["timeout"] = (_CONNECT_SECONDS, _READ_SECONDS)
        reply = super().request(method, url, bare, **named)
        # A refusal has been raised.
        self.posts.taken += posted
        return reply

    def resolve_redirects(self, resp: Any, req: Any, **named: Any) -> Any:
        """Follow a redirect within the same address alone, and never one of a submission."""
        target = self.get_redirect_target(resp)
        if target is not None:
            # A submission that is redirected turns into a GET in most clients, and would look like one that
            # was taken.
            here, there = urlsplit(resp.url), urlsplit(target)
            elsewhere = bool(there.netloc) and (here.scheme, here.netloc) != (there.scheme, there.netloc)
            if elsewhere or req.method.upper() not in ("GET", "HEAD"):
                place = f"{there.scheme}://{there.netloc}" if there.netloc else there.path
                raise TooManyRedirects(f"{here.netloc} redirects to {place}", response=resp)
        return super().resolve_redirects(resp, req, **named)


def keep_key_here(auth: Any) -> None:
    """Let a redirect of the identity service be an error: it would carry the API key along."""
    # The client documents it nowhere: another version may have none.
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
        # The client has no place to give it a session, so its class is exchanged while it makes one.
        client_module.RetrySession = WireSession
    try:
        yield
    finally:
        with _counting:
            _inside -= 1
            if not _inside:
                client_module.RetrySession = RetrySession


class NoInstanceError(QiskitError):  # type: ignore[misc]
    """The account has no such instance."""


class RefusedHereError(QiskitError):  # type: ignore[misc]
    """The client refuses what is asked before anything is sent."""


# Errors of the client whose meaning does not depend on the reply.
_KINDS: tuple[tuple[type[Exception], FailureKind], ...] = (
    (IBMNotAuthorizedError, "unauthorized"),
    (InvalidAccountError, "unauthorized"),
    (AccountNotFoundError, "unauthorized"),
    (RuntimeJobMaxTimeoutError, "too_long"),
    (RuntimeInvalidStateError, "cancelled"),
    (RuntimeJobFailureError, "failed"),
    (RuntimeJobNotFound, "lost"),
    (RuntimeProgramNotFound, "gone"),
    (NoInstanceError, "no_instance"),
    (RefusedHereError, "refused"),
    (QiskitBackendNotFoundError, "gone"),
    (IBMBackendApiProtocolError, "garbled"),
)

# Errors of the wire whose meaning does not depend on what the client made of them.
_WIRE: tuple[tuple[type[Exception], FailureKind], ...] = (
    (JSONDecodeError, "garbled"),
    (TooManyRedirects, "moved"),
)

# HTTP status (-1: no reply) -> what it means; from 500 on the service is not well. After a timeout or a
# conflict nobody knows what became of a submission.
_STATUSES: dict[int, FailureKind] = {
    -1: "unreachable", 401: "unauthorized", 403: "unauthorized", 413: "too_large", 429: "busy",
    408: "unreachable", 409: "unreachable", 425: "unreachable", 499: "unreachable",
}  # fmt: skip

# IBM's, of a session that the Open Plan does not have.
_NO_SESSIONS_CODE = "1352"


def failure_of(error: Exception, missing: FailureKind) -> FailureKind:
    """What an error of the client means.

    Args:
        error: Whatever it raised.
        missing: What it means that the service does not find what was asked for.
    """
    chain = list(_chain(error))
    for wire, kind in _WIRE:
        if any(isinstance(each, wire) for each in chain):
            return kind
    # Errors of the wire are OSErrors; those that carry a reply tell by its status.
    if any(isinstance(each, OSError) and getattr(each, "response", None) is None for each in chain):
        return "unreachable"
    status = next((each.status_code for each in chain if isinstance(each, RequestsApiError)), None)
    if status is None and not isinstance(error, QiskitError):
        return _foreign(error)
    return _of_reply(error, status or 0, missing)


def _of_reply(error: Exception, status: int, missing: FailureKind) -> FailureKind:
    if status == 400 and _NO_SESSIONS_CODE in str(error):
        return "no_session"
    if status >= 500:
        return "unreachable"
    for known, kind in _KINDS:
        if isinstance(error, known):
            return kind
    return missing if status == 404 else _STATUSES.get(status, "refused")


def retry_after(error: Exception, now: float) -> float | None:
    """Seconds that the service asked to wait (its header Retry-After); None where it did not.

    Args:
        error: Whatever the client raised.
        now: Seconds since 1970, UTC.
    """
    for each in _chain(error):
        reply: Any = getattr(each, "response", None)
        value = getattr(reply, "headers", {}).get("Retry-After") if reply is not None else None
        if value:
            try:
                seconds = float(value)
            except ValueError:
                try:
                    # RFC 9110, 10.2.3: seconds, or a date.
                    seconds = parsedate_to_datetime(value).timestamp() - now
                except ValueError:
                    return None
            return seconds if 0 <= seconds < float("inf") else None
    return None


def _foreign(error: Exception) -> FailureKind:
    """An error of the layers below the client: of the identity service, or over a reply it could not read."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return "unreachable" if status >= 500 or status == 429 else "unauthorized"
    return "garbled"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those it was made from, hidden ones too."""
    while error is not None:
        yield error
        # The client raises its errors both with a cause and without one.
        error = error.__cause__ or error.__context__


def message_of(error: Exception) -> str:
    """What an error says; one that is a key alone is given with its type."""
    if isinstance(error, QiskitError | OSError):
        return str(error)
    return f"{type(error).__name__}: {error}"


class _Surroundings:
    """What the client must find as long as any thread is inside of it, put back by the last that leaves.

    Its warnings and log are silent: what it warns of is checked here before, and they would only repeat it. A
    service of one's own has no global catalogue, and a named instance needs no search.
    """

    SWITCH = "QISKIT_FUNCTIONS_EXPERIMENTAL"

    def __init__(self) -> None:
        self._lock, self._inside, self._unsearched = threading.Lock(), 0, 0
        self._undo = contextlib.ExitStack()

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """No warnings inside."""
        with self._lock:
            if self._inside == 0:
                self._undo = contextlib.ExitStack()
                self._undo.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
                log = logging.getLogger("qiskit_ibm_runtime")
                self._undo.callback(log.setLevel, log.level)
                log.setLevel(max(log.level, logging.ERROR))
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._undo.close()

    @contextlib.contextmanager
    def without_search(self, account: Account) -> Iterator[None]:
        """No global search inside, where there is nothing to be searched."""
        with self._lock:
            known = account.url is None or account.instance is None
            ours = not known and (self._unsearched > 0 or self.SWITCH not in os.environ)
            if ours:
                os.environ[self.SWITCH] = "1"
                self._unsearched += 1
        try:
            yield
        finally:
            with self._lock:
                self._unsearched -= int(ours)
                if ours and self._unsearched == 0:
                    del os.environ[self.SWITCH]


SURROUNDINGS = _Surroundings()


def decode(raw: str) -> Estimates:
    """Expectation values, their standard errors and the measurements behind them, of a result as received.

    Raises:
        ServiceError: If it cannot be read.
    """
    try:
        _check_json(raw)
        with SURROUNDINGS.quiet():
            executor, *_ = DEFAULT_DECODERS["executor"]
            program: Any = executor.decode(raw)
            result: Any = program
            for decoder in DEFAULT_DECODERS["executor"]:
                if decoder.is_applicable(result):
                    result = decoder.decode(result)
            data = result[0].data
            content = program.passthrough_data
            asked = content["qiskit_mitigation"][0]
            return Estimates(
                # By observable first, as the PUB was broadcast.
                values=np.asarray(data.evs, dtype=np.float64).T,
                stds=np.asarray(data.stds, dtype=np.float64).T,
                items=tuple(
                    CircuitResult({str(key): value for key, value in each.items()}) for each in program
                ),
                settings=len(asked["param_basis_pairs"]),
                tags=tuple(content["post_processor"]["options"]["environment"]["job_tags"]),
            )
    except Exception as error:  # a reader of foreign bytes stumbles over whatever it finds
        start = redact(raw[:60], ())
        message = redact(message_of(error), ())
    raise ServiceError("garbled", f"a result of {len(raw)} characters, '{start}': {message}")


def _check_json(raw: str) -> None:
    """Say what is no JSON object at all: the client would stumble over it in ways that explain nothing."""
    try:
        content = json.loads(raw)
    except RecursionError:
        raise ValueError("nested without end") from None
    except ValueError as error:
        raise ValueError(f"cut off, or no JSON ({error})" if raw.strip() else "empty") from None
    if not isinstance(content, dict):
        raise ValueError(f"a JSON {type(content).__name__}, and no object")
