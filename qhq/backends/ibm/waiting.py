"""Time, as what waits for a service sees it; tests give it a clock of their own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Protocol

from qhq.backends.ibm.talk import LONGEST_SILENCE_SECONDS, TALK


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
