"""What the errors of IBM's client mean."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

from qiskit.exceptions import QiskitError
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit_ibm_runtime.accounts import AccountNotFoundError, InvalidAccountError
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.exceptions import (
    IBMBackendApiProtocolError,
    IBMNotAuthorizedError,
    RuntimeInvalidStateError,
    RuntimeJobFailureError,
    RuntimeJobMaxTimeoutError,
    RuntimeJobNotFound,
    RuntimeProgramNotFound,
)
from requests.exceptions import JSONDecodeError, TooManyRedirects

from qhq.backends.ibm.trouble import Kind


class NoInstanceError(QiskitError):  # type: ignore[misc]
    """The account has no such instance."""


class RefusedHereError(QiskitError):  # type: ignore[misc]
    """The client refuses what is asked before anything is sent."""


_KINDS: tuple[tuple[type[Exception], Kind], ...] = (
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
"""Errors of the client whose meaning does not depend on the reply."""

_WIRE: tuple[tuple[type[Exception], Kind], ...] = (
    (JSONDecodeError, "garbled"),
    (TooManyRedirects, "moved"),
)
"""Errors of the wire whose meaning does not depend on what the client made of them."""

_STATUSES: dict[int, Kind] = {
    -1: "unreachable", 401: "unauthorized", 403: "unauthorized", 413: "too_large", 429: "busy",
    408: "unreachable", 409: "unreachable", 425: "unreachable", 499: "unreachable",
}  # fmt: skip
"""HTTP status (-1: no reply) -> what it means; from 500 on the service is not well. After a timeout or a
conflict nobody knows what became of a submission."""

NO_SESSIONS_CODE = "1352"


def kind_of(error: Exception, missing: Kind) -> Kind:
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


def _of_reply(error: Exception, status: int, missing: Kind) -> Kind:
    if status == 400 and NO_SESSIONS_CODE in str(error):
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
                    seconds = parsedate_to_datetime(value).timestamp() - now
                except ValueError:
                    return None
            return seconds if 0 <= seconds < float("inf") else None
    return None


def _foreign(error: Exception) -> Kind:
    """An error of the layers below the client: of the identity service, or over a reply it could not read."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return "unreachable" if status >= 500 or status == 429 else "unauthorized"
    return "garbled"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those it was made from, hidden ones too."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
