"""What can go wrong between here and a device, in the few kinds that make a difference."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from qhq.errors import JobError

Kind = Literal[
    "unreachable", "busy", "unsettled", "unauthorized", "too_large", "too_long", "cancelled", "failed",
    "lost", "gone", "no_instance", "no_session", "refused", "garbled", "wrong", "moved",
]  # fmt: skip

PASSING = frozenset({"unreachable", "busy", "unsettled", "garbled"})
"""Kinds that waiting may cure."""

NOT_TAKEN = frozenset({"busy", "unauthorized", "too_large", "gone", "no_instance", "no_session", "refused"})
"""Kinds that say of a submission that it certainly became no job."""

TOO_MUCH = frozenset({"too_large", "too_long"})
"""Kinds that fewer rows cure."""

LONGEST_MESSAGE = 300

ENDS_A_JOB = frozenset({"cancelled", "failed", "too_long"})
"""Kinds by which the service itself says that a job gives no result; any other leaves the job as it was."""

_ENDS: dict[Kind, tuple[str, str]] = {
    "unreachable": (
        "The service must be reachable",
        "Nothing is lost: once the connection is back run the command again, or 'qhq jobs resume' for jobs "
        "that were sent",
    ),
    "busy": (
        "The service must have capacity for another request",
        "Wait a while; then run the command again, or 'qhq jobs resume' for jobs that were sent",
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
        "Check QHQ_IBM_INSTANCE: it must be the account that sent it, then run 'qhq jobs resume'; if the job "
        "was deleted, 'qhq jobs discard' gives it up",
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
    "garbled": (
        "The service must answer with something that can be read",
        "Nothing is lost and nothing is sent again: run 'qhq jobs resume' later; if it stays so, check "
        "QHQ_IBM_URL, and any proxy on the way",
    ),
    "wrong": (
        "A result must be whole: finite values within their bounds, from all shots that were asked for",
        "It was paid for and is not sent again: 'qhq jobs resume' asks for it once more, "
        "'qhq jobs discard' gives it up",
    ),
    "moved": (
        "The service must answer at its own address: a redirect to another one is not followed",
        "Correct QHQ_IBM_URL, or look at the proxy on the way; then run 'qhq jobs resume'",
    ),
}


class ServiceError(Exception):
    """A call to the service did not give what was asked for.

    Args:
        kind: What it means.
        message: What the service or the client said, secrets taken out.
        retry_after: Seconds that the service asks to wait, if it said so.
    """

    def __init__(self, kind: Kind, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind, self.message, self.retry_after = kind, message, retry_after


def as_job_error(trouble: ServiceError, where: str) -> JobError:
    """The error that a user sees; ``where`` names device, job or tag."""
    must, fix = _ENDS[trouble.kind]
    return JobError(must, got=f"{trouble.message.rstrip('.')} ({where})", fix=fix)


_CREDENTIALS = (
    re.compile(r"(?i)\b(bearer|basic)(\s+|%20|\+)[\w.~+/=%-]+"),
    re.compile(r"\beyJ[\w-]+(?:\.[\w-]+){0,2}"),
    re.compile(r"""(?i)\b(api_?key|access_token|refresh_token|token)(["']?\s*[=:]\s*["']?)[^\s"'&,;)]+"""),
)
"""What is a credential by its looks: an authorization header, a JSON Web Token, a field of a form."""


def _encoded(letter: str) -> str:
    """A character as it is percent-encoded, all of them can be; a blank as a plus too."""
    code = "".join(f"%{byte:02x}" for byte in letter.encode())
    return rf"{code}|\+" if letter == " " else code


def redact(text: object, secrets: Iterable[str]) -> str:
    """One line of bounded length in which no secret stands, encoded for a URL or not.

    >>> redact("key abc123 is bad", ["abc123"])
    'key *** is bad'
    >>> redact("POST apikey=a%2Fb%2B1&x=1 Authorization: Bearer eyJh.eyJi.c", ["a/b+1"])
    'POST apikey=***&x=1 Authorization: Bearer ***'
    """
    line = " ".join(str(text).split())
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        # Each character may be encoded for a URL or not, in either case, and a blank may be a plus.
        forms = (f"(?:{re.escape(each)}|{_encoded(each)})" for each in secret)
        line = re.sub("".join(forms), "***", line, flags=re.IGNORECASE)
    for number, pattern in enumerate(_CREDENTIALS):
        line = pattern.sub(("\\1 ***", "***", "\\1\\2***")[number], line)
    # A terminal must not be steered by what a service says.
    line = "".join(each if each.isprintable() else "?" for each in line)
    return line if len(line) <= LONGEST_MESSAGE else f"{line[: LONGEST_MESSAGE - 3]}..."
