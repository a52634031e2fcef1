"""Time, as what waits for a service sees it; tests give it a clock of their own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Protocol


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
    """Pauses in seconds: 1, 2, 4 and so on up to the longest, then that one for ever.

    >>> pauses = growing_pauses(5.0)
    >>> [next(pauses) for _ in range(5)]
    [1.0, 2.0, 4.0, 5.0, 5.0]
    """
    pause = min(1.0, longest)
    while True:
        yield pause
        pause = min(2 * pause, longest)
