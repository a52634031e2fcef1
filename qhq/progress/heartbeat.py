"""Saying what a command is doing, on standard error, when it takes more than a few seconds."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from qhq.visible import visible

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE_SECONDS = 4.0
"""Silence that needs no explanation."""
LONGEST_SECONDS = 60.0
"""Time between two lines at most."""


class Heartbeat:
    """Prints what is being done once it has taken a while, and again ever more rarely, at least each minute.

    A command that is quick prints nothing. Where a bar is shown on a terminal, it says enough.

    Attributes:
        doing: What is being done now.
        bars: How many bars are on the screen.
    """

    def __init__(self, doing: str) -> None:
        self.doing, self.bars = doing, 0
        self._since = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="qhq-heartbeat", daemon=True)

    def say(self, doing: str, *, anew: bool = True) -> None:
        """Name what is being done from now on; ``anew`` begins to count its seconds, else they go on."""
        self.doing = doing
        if anew:
            self._since = time.monotonic()

    def stop(self) -> None:
        """Say no more: the result is out, and nothing should stand below it that looks unfinished."""
        self._over.set()

    def __enter__(self) -> Self:
        self._outer = current[0]
        current[0] = self
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        current[0] = self._outer

    def _beat(self) -> None:
        wait, reported = PATIENCE_SECONDS, 0.0
        since = self._since
        while not self._over.wait(min(0.25, PATIENCE_SECONDS)):
            if since != self._since:
                wait, reported, since = PATIENCE_SECONDS, 0.0, self._since
            passed = time.monotonic() - since
            if passed < reported + wait:
                continue
            reported, wait = passed, min(2 * wait if reported else 10.0, LONGEST_SECONDS)
            if not (self.bars and sys.stderr.isatty()):
                self._tell(passed)

    def _tell(self, passed: float) -> None:
        try:
            sys.stderr.write(f"{visible(self.doing)} ... ({passed:.0f} s)\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            self._over.set()  # nobody listens any more


def say(text: str) -> None:
    """Tell a person something by the way, on standard error."""
    with contextlib.suppress(OSError, ValueError):  # nobody listens any more
        sys.stderr.write(f"{visible(text)}\n")
        sys.stderr.flush()


current: list[Heartbeat | None] = [None]
"""The heartbeat of the command that runs, in its one place."""


def doing(text: str, *, anew: bool = True) -> None:
    """Name what the command that runs is doing from now on; without ``anew`` its seconds go on."""
    if current[0] is not None:
        current[0].say(text, anew=anew)


def count_bars(change: int) -> None:
    """Tell the command that runs of a bar that was put on the screen (+1) or taken away (-1)."""
    if current[0] is not None:
        current[0].bars += change


class Live:
    """A bar on standard error that is shown while a ``with`` block lasts."""

    bar: Progress

    def __enter__(self) -> Self:
        self.bar.start()
        count_bars(+1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        count_bars(-1)
