"""Trouble with the service, and waiting for it to pass: what went wrong, who hears of it, when to try again.

What can go wrong comes in the few kinds that make a difference. A command line puts a `Talk` of its own here,
and tests a `Clock`.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from qhq.errors import JobError

FailureKind = Literal[
    # No more than make a difference: each is answered in a way of its own.
    "unreachable", "busy", "unsettled", "unauthorized", "too_large", "too_long", "cancelled", "failed",
    "lost", "gone", "no_instance", "no_session", "refused", "garbled", "wrong", "moved",
]  # fmt: skip

PASSING = frozenset({"unreachable", "busy", "unsettled", "garbled"})
"""Kinds that waiting may cure."""

NOT_TAKEN = frozenset({"busy", "unauthorized", "too_large", "gone", "no_instance", "no_session", "refused"})
"""Kinds that say of a submission that it certainly became no job."""

TOO_MUCH = frozenset({"too_large", "too_long"})
"""Kinds that fewer rows cure."""

# A gateway may answer with a whole web page.
_LONGEST_MESSAGE = 300

ENDS_A_JOB = frozenset({"cancelled", "failed", "too_long"})
"""Kinds by which the service itself says that a job gives no result; any other leaves the job as it was."""

_ENDS: dict[FailureKind, tuple[str, str]] = {
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

    def __init__(self, kind: FailureKind, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind, self.message, self.retry_after = kind, message, retry_after


def as_job_error(trouble: ServiceError, where: str) -> JobError:
    """The error that a user sees; ``where`` names device, job or tag."""
    must, fix = _ENDS[trouble.kind]
    return JobError(must, got=f"{trouble.message.rstrip('.')} ({where})", fix=fix)


# What is a credential by its looks: an authorization header, a JSON Web Token, a field of a form.
_CREDENTIALS = (
    re.compile(r"(?i)\b(bearer|basic)(\s+|%20|\+)[\w.~+/=%-]+"),
    re.compile(r"\beyJ[\w-]+(?:\.[\w-]+){0,2}"),
    re.compile(r"""(?i)\b(api_?key|access_token|refresh_token|token)(["']?\s*[=:]\s*["']?)[^\s"'&,;)]+"""),
)


def redact(text: object, secrets: Iterable[str]) -> str:
    """One line of bounded length in which no secret stands, encoded for a URL or not.

    >>> redact("key abc123 is bad", ["abc123"])
    'key *** is bad'
    >>> redact("POST apikey=a%2Fb%2B1&x=1 Authorization: Bearer eyJh.eyJi.c", ["a/b+1"])
    'POST apikey=***&x=1 Authorization: Bearer ***'
    """
    line = " ".join(str(text).split())
    # The longest first: a secret inside of another would leave the rest of that one to be read.
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        # Each character may be percent-encoded for a URL or not, in either case, and a blank may be a plus.
        forms = ""
        for each in secret:
            code = "".join(f"%{byte:02x}" for byte in each.encode())
            forms += f"(?:{re.escape(each)}|{code}{'|[+]' if each == ' ' else ''})"
        line = re.sub(forms, "***", line, flags=re.IGNORECASE)
    for number, pattern in enumerate(_CREDENTIALS):
        line = pattern.sub(("\\1 ***", "***", "\\1\\2***")[number], line)
    # A terminal must not be steered by what a service says.
    line = "".join(each if each.isprintable() else "?" for each in line)
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[: _LONGEST_MESSAGE - 3]}..."


LONGEST_PAUSE_SECONDS = 60.0
"""Between two attempts to reach a service that does not answer."""

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

# After so long something is said, whatever is being waited for.
_LONGEST_SILENCE_SECONDS = 20.0


class Talk(Protocol):
    """How to reach a person."""

    def tell(self, text: str) -> None:
        """Say something that must not be missed."""

    def wait(self, text: str) -> None:
        """Say what is being waited for; said again and again, and the same as before matters little."""

    def agree(self, question: str) -> bool:
        """Ask whether to go on."""


class _Logged:
    """Nobody is there: what is said goes to the log, and what was called is done."""

    def tell(self, text: str) -> None:
        """Log a warning."""
        logger.warning("%s", text)

    def wait(self, text: str) -> None:
        """Log a line."""
        logger.info("%s", text)

    def agree(self, question: str) -> bool:
        """Log what would have been asked; yes."""
        logger.warning("%s: yes, as nobody is there to be asked", question)
        return True


TALK: ContextVar[Talk] = ContextVar("talk", default=_Logged())  # noqa: B039  (it has no state)
"""Who hears of it; see :func:`talking`."""


@contextlib.contextmanager
def talking(talk: Talk) -> Iterator[None]:
    """What is said inside goes to this."""
    token = TALK.set(talk)
    try:
        yield
    finally:
        TALK.reset(token)


@contextlib.contextmanager
def heartbeat(what: str) -> Iterator[None]:
    """Say every now and then that something is still waited for, as long as the block lasts.

    The client of the service waits for a reply without a word, for as long as the service likes.
    """
    talk, over, waited = TALK.get(), threading.Event(), 0.0

    def beat() -> None:
        nonlocal waited
        while not over.wait(_LONGEST_SILENCE_SECONDS):
            waited += _LONGEST_SILENCE_SECONDS
            talk.wait(f"{what}: no reply for {waited:.0f} s, still waiting")

    # A daemon: an interrupt must not wait for its next beat.
    thread = threading.Thread(target=beat, name="qhq-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Clock(Protocol):
    """Tells the time and lets it pass."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""

    def sleep(self, seconds: float) -> None:
        """Let some seconds pass."""


class WallClock:
    """The time on the wall."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Let some seconds pass."""
        time.sleep(seconds)


class StoppableClock:
    """A clock that lets no more time pass once it was stopped, in whichever thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self.stopped = clock, False

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        return self._clock.now()

    def sleep(self, seconds: float) -> None:
        """Let some seconds pass.

        Raises:
            JobError: If it was stopped.
        """
        self.check()
        self._clock.sleep(seconds)
        self.check()

    def check(self) -> None:
        """Raise an error if it was stopped."""
        if self.stopped:
            raise JobError(
                "Nothing may be sent or waited for once a command was interrupted",
                got="an interrupt",
                fix="The same command, or 'qhq jobs resume', goes on",
            )


def growing_pauses(longest: float) -> Iterator[float]:
    """Pauses in seconds before the next attempt: 1, 2, 4 and so on up to the longest, then that one for ever.

    >>> pauses = growing_pauses(5.0)
    >>> [next(pauses) for _ in range(5)]
    [1.0, 2.0, 4.0, 5.0, 5.0]
    """
    pause = min(1.0, longest)
    while True:
        yield pause
        pause = min(2 * pause, longest)


def polling_pauses(longest: float) -> Iterator[float]:
    """Pauses in seconds between two questions for a job: a sixteenth of what was waited so far, 1 at least.

    So the end of a job is seen at most a sixteenth later than it came, and after four minutes (of the shipped
    15 s) it is asked for once a `longest`.

    >>> pauses = polling_pauses(15.0)
    >>> [next(pauses) for _ in range(18)][-3:]
    [1.0, 1.0, 1.0625]
    """
    waited = 0.0
    while True:
        pause = min(max(1.0, waited / 16), longest)
        yield pause
        waited += pause


def let_pass(clock: Clock, seconds: float, why: str) -> None:
    """Let some seconds pass, and say every now and then why, and how long it still takes."""
    left = seconds
    while left > 0:
        TALK.get().wait(f"{why}; again in {left:.0f} s" if left >= 1 else why)
        step = min(left, _LONGEST_SILENCE_SECONDS)
        clock.sleep(step)
        left -= step


@dataclass(frozen=True)
class Patience:
    """How long to wait for a service, seconds: one that asks to wait, and one that does not answer."""

    asked: float
    unanswered: float


class _Reconnecting(Protocol):
    """A service that can be reached afresh."""

    def reconnect(self) -> None:
        """Forget tokens, sessions and what was read."""


def persist(act: Callable[[], _T], client: _Reconnecting, clock: Clock, patience: Patience, where: str) -> _T:
    """Do something with a service, and again after each failure that waiting or a fresh token may cure.

    Args:
        act: What to do.
        client: The service; it is reached afresh once if it refuses a token.
        clock: The time.
        patience: How long to go on; a wish of the service to wait longer than that is handed on.
        where: Device or job, for what is said meanwhile.

    Raises:
        ServiceError: If waiting does not cure it, or not in time.
    """
    # A loop, not tenacity: a wish of the service overrides the pauses and has a patience of its own, a
    # refused token is renewed once without a pause, and each pause is cut up to say why it lasts. As
    # callbacks on a retry state that is longer than these lines, and says it in four places.
    waited, rebuilt = 0.0, False
    for growing in growing_pauses(LONGEST_PAUSE_SECONDS):
        try:
            return act()
        except ServiceError as trouble:
            # A token may have expired; a key that is refused a second time is wrong.
            if trouble.kind == "unauthorized" and not rebuilt:
                rebuilt = True
                client.reconnect()
                continue
            longest = patience.asked if trouble.retry_after else patience.unanswered
            if trouble.kind not in PASSING or waited >= longest:
                raise
            pause = max(growing, trouble.retry_after or 0.0)
            if waited + pause > longest and trouble.retry_after:
                message = f"{trouble.message}; the service asks to come back in {pause:.0f} s"
                raise ServiceError(trouble.kind, message, pause) from None
            asked = ", as the service asks" if trouble.retry_after else ""
            why = f"{where}: {trouble.message}{asked}"
        let_pass(clock, pause, why)
        waited += pause
    raise AssertionError("pauses never end")
