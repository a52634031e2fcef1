"""What the errors of IBM's client mean."""

from __future__ import annotations

from collections.abc import Iterator

from qiskit.exceptions import QiskitError
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit_ibm_runtime.accounts import AccountNotFoundError, InvalidAccountError
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.exceptions import (
    IBMNotAuthorizedError,
    RuntimeInvalidStateError,
    RuntimeJobFailureError,
    RuntimeJobMaxTimeoutError,
    RuntimeJobNotFound,
    RuntimeProgramNotFound,
)

from qhq.backends.ibm.trouble import Kind


class NoInstanceError(QiskitError):  # type: ignore[misc]
    """The account has no such instance."""


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
    (QiskitBackendNotFoundError, "gone"),
)
"""Errors of the client whose meaning does not depend on the reply."""

_STATUSES: dict[int, Kind] = {
    -1: "unreachable", 401: "unauthorized", 403: "unauthorized", 413: "too_large", 429: "busy",
}  # fmt: skip
"""HTTP status (-1: no reply) -> what it means; from 500 on the service is not well."""

NO_SESSIONS_CODE = "1352"


def kind_of(error: Exception, missing: Kind) -> Kind:
    """What an error of the client means.

    Args:
        error: Whatever it raised.
        missing: What it means that the service does not find what was asked for.
    """
    chain = list(_chain(error))
    # Errors of the wire are OSErrors; those that carry a reply tell by its status.
    if any(isinstance(each, OSError) and getattr(each, "response", None) is None for each in chain):
        return "unreachable"
    status = next((each.status_code for each in chain if isinstance(each, RequestsApiError)), None)
    if status == 400 and NO_SESSIONS_CODE in str(error):
        return "no_session"
    for known, kind in _KINDS:
        if isinstance(error, known):
            return kind
    if status == 404:
        return missing
    return "unreachable" if (status or 0) >= 500 else _STATUSES.get(status or 0, "refused")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those it was made from, hidden ones too."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
