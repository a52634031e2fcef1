"""What a person is told, and asked, while jobs are sent and waited for; a command line puts its own here."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Protocol

logger = logging.getLogger(__name__)

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
"""Who is told; see :func:`talking`."""


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

    thread = threading.Thread(target=beat, name="qhq-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
