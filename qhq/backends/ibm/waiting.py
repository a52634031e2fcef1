"""Waiting for a service: who hears of it, how time passes, and how often something is tried again.

A command line puts a `Talk` of its own here, and tests a `Clock`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, TypeVar

from qhq.backends.ibm.trouble import PASSING, ServiceError
from qhq.errors import JobError

LONGEST_PAUSE_SECONDS = 60.0
"""Between two attempts to reach a service that does not answer."""

logger = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_SILENCE_SECONDS = 20.0
"""After so long something is said, whatever is being waited for."""


class Talk(Protocol):
    """How to reach a person."""

    def tell(self, text: str) -> None:
        """Say something that must not be missed."""

    def wait(self, text: str) -> None:
        """Say what is being waited for; said again and again, and the same as before matters little."""

    def agree(self, question: str) -> bool:
        """Ask whether to go on."""


class Logged:
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


TALK: ContextVar[Talk] = ContextVar("talk", default=Logged())  # noqa: B039  (it has no state)
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
        while not over.wait(LONGEST_SILENCE_SECONDS):
            waited += LONGEST_SILENCE_SECONDS
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
        step = min(left, LONGEST_SILENCE_SECONDS)
        clock.sleep(step)
        left -= step


@dataclass(frozen=True)
class Patience:
    """How long to wait for a service, seconds: one that asks to wait, and one that does not answer."""

    asked: float
    unanswered: float


class Reconnecting(Protocol):
    """A service that can be reached afresh."""

    def reconnect(self) -> None:
        """Forget tokens, sessions and what was read."""


def persist(act: Callable[[], T], client: Reconnecting, clock: Clock, patience: Patience, where: str) -> T:
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
