"""What can go wrong between here and a device, in the few kinds that make a difference."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from qhq.errors import JobError

Kind = Literal[
    "unreachable", "busy", "unsettled", "unauthorized", "too_large", "too_long", "cancelled", "failed",
    "lost", "gone", "no_instance", "no_session", "refused",
]  # fmt: skip

PASSING = frozenset({"unreachable", "busy", "unsettled"})
"""Kinds that waiting may cure."""

NOT_TAKEN = frozenset({"busy", "unauthorized", "too_large", "gone", "no_instance", "no_session", "refused"})
"""Kinds that say of a submission that it certainly became no job."""

TOO_MUCH = frozenset({"too_large", "too_long"})
"""Kinds that fewer rows cure."""

LONGEST_MESSAGE = 300

_ENDS: dict[Kind, tuple[str, str]] = {
    "unreachable": (
        "The service must be reachable",
        "Nothing is lost: run 'qhq jobs resume' once the connection is back",
    ),
    "busy": (
        "The service must have room for another job",
        "Wait for other jobs to finish, then run 'qhq jobs resume'",
    ),
    "unsettled": (
        "A job whose reply was lost must be found or ruled out before it is sent again",
        "Run 'qhq jobs resume' in a minute",
    ),
    "unauthorized": (
        "The service must accept the API key",
        "Make a new key, put it into QHQ_IBM_TOKEN or save it again, then run 'qhq jobs resume'",
    ),
    "too_large": (
        "A job must fit the service's limit of size",
        "One sample alone is too large: use an ansatz with fewer gates, or fewer observables",
    ),
    "too_long": (
        "A job must fit the time limit of the service or of max_qpu_seconds (code 1305)",
        "One sample alone takes too long: lower shots, or raise max_qpu_seconds",
    ),
    "cancelled": (
        "A job must run to its end",
        "Run 'qhq jobs resume' with its id or tag to send it again; finished parts are kept",
    ),
    "failed": (
        "A job must run to its end",
        "Run 'qhq jobs resume' with its id or tag to send it again; finished parts are kept",
    ),
    "lost": (
        "A job that was sent must still be known to the service",
        "Check QHQ_IBM_INSTANCE: it must be the account that sent it; with its id or tag "
        "'qhq jobs resume' sends it again",
    ),
    "gone": (
        "The device must still be there for what has not been sent",
        "Name another device; results that came back are kept",
    ),
    "no_instance": (
        "The service must know the instance, and the key must have access to it",
        "Correct QHQ_IBM_INSTANCE: it is the CRN of the instance",
    ),
    "no_session": (
        "A session needs a plan that has sessions; the Open Plan has none",
        "Set mode: batch or mode: job in the entry",
    ),
    "refused": (
        "The service must accept what is asked",
        "Correct the entry as the service says; finished parts are kept",
    ),
}


class ServiceError(Exception):
    """A call to the service did not give what was asked for.

    Args:
        kind: What it means.
        message: What the service or the client said, secrets taken out.
    """

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind, self.message = kind, message


def as_job_error(trouble: ServiceError, where: str) -> JobError:
    """The error that a user sees; ``where`` names device, job or tag."""
    must, fix = _ENDS[trouble.kind]
    return JobError(must, got=f"{trouble.message.rstrip('.')} ({where})", fix=fix)


def redact(text: object, secrets: Iterable[str]) -> str:
    """One line of bounded length in which no secret stands.

    >>> redact("key abc123 is bad", ["abc123"])
    'key *** is bad'
    """
    line = " ".join(str(text).split())
    for secret in secrets:
        if secret:
            line = line.replace(secret, "***")
    return line if len(line) <= LONGEST_MESSAGE else f"{line[: LONGEST_MESSAGE - 3]}..."
