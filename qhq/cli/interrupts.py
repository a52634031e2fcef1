"""Ctrl-C, SIGTERM and a terminal that is closed: whenever one comes, a command ends in order and says so.

Python raises KeyboardInterrupt wherever the main thread happens to be, which goes wrong in three places. A
module that is being imported prints a traceback, or swallows it and the command goes on; so does a callback
that cannot raise, such as a finaliser; and a second Ctrl-C cuts off what the first one set going. Here it is
raised where it can be caught, once, for all three signals.

Nothing heavy is imported: this comes before the command line itself, the imports of which take a while.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

# Nobody wants to wait for all of PyTorch, and a user's own module may do anything while it is imported.
_HELD_SECONDS = 1.0
"""How long an interrupt waits for an import to end."""

_AGAIN_SECONDS = 0.05
"""After which it tries again."""

_SWALLOWED_SECONDS = 1.0
"""After which one that was raised in the middle of an import is taken for swallowed."""

# Two quick ones are one: the second must not take away the sentence that says how to go on.
_PATIENCE_SECONDS = 3.0
"""Within so long after the first Ctrl-C the next changes nothing; a later one ends the process at once."""

_SAID = {"SIGINT": "an interrupt (Ctrl-C)", "SIGTERM": "SIGTERM", "SIGHUP": "SIGHUP, as a terminal is closed"}


class Interrupts:
    """What the process does about the three signals, from its first line to its last.

    Attributes:
        number: The signal that ends the command; SIGINT before any came.
    """

    def __init__(self) -> None:
        self.number: int = signal.SIGINT
        self._held_since: float | None = None
        self._raised_at: float | None = None
        self._again = False
        self._numbers: list[int] = []
        self._timer: threading.Timer | None = None
        self._status: int | None = None

    def take_over(self) -> None:
        """Be asked about signals from now on; those that the shell had ignored (nohup, ``&``) stay so."""
        for name in _SAID:
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._came)
                self._numbers.append(number)
        self._report = sys.unraisablehook
        sys.unraisablehook = self._unraisable

    def caught(self) -> None:
        """An interrupt has reached who ends the command: it need not come again."""
        self._raised_at = self._raised_at or time.monotonic()
        if self._timer is not None:
            self._timer.cancel()

    def command_ended(self, status: int) -> None:
        """Nothing is left but the interpreter's own end, which may wait for threads: leave it when asked."""
        self._status = status
        if self._timer is not None:
            self._timer.cancel()  # it would find the signals as the interpreter leaves them, which is deadly

    def over(self) -> None:
        """Ignore the signals from here on: the interpreter would die of one, and the status be lost."""
        for number in self._numbers:
            signal.signal(number, signal.SIG_IGN)

    @property
    def status(self) -> int:
        """The exit status of a command that it ended: 130 for Ctrl-C, as shells have it."""
        return 128 + self.number

    @property
    def said(self) -> str:
        """What came, in words."""
        return _SAID[signal.Signals(self.number).name]

    def _came(self, number: int, frame: FrameType | None) -> None:
        again, self._again = self._again, False
        if self._status is not None:
            os._exit(self._status)
        now = time.monotonic()
        if self._raised_at is not None:
            if now - self._raised_at >= _PATIENCE_SECONDS:
                self._leave(number)
            return
        if _importing(frame):
            if self._held_since is None:
                self._held_since = now
            elif not again:
                return  # the first one is on its way
            if now - self._held_since < _HELD_SECONDS:
                self._come_again(number, _AGAIN_SECONDS)
                return
            # What is being imported may swallow it: then it comes once more.
            self._come_again(number, _SWALLOWED_SECONDS)
            self.number = number
            raise KeyboardInterrupt
        self.number, self._raised_at = number, now
        raise KeyboardInterrupt

    def _come_again(self, number: int, seconds: float) -> None:
        def send() -> None:
            self._again = True
            os.kill(os.getpid(), number)

        self._timer = threading.Timer(seconds, send)
        self._timer.daemon = True
        self._timer.start()

    def _leave(self, number: int) -> None:
        """End at once: every file is written whole or not at all, and workers end with their parent."""
        with contextlib.suppress(OSError):
            os.write(2, b"Interrupted.\n")
        os._exit(128 + number)

    def _unraisable(self, what: Any) -> None:
        if isinstance(what.exc_value, KeyboardInterrupt) and self._status is None:
            self._raised_at = None
            self._come_again(self.number, _AGAIN_SECONDS)
        else:
            self._report(what)


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported, somewhere up the stack."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


INTERRUPTS = Interrupts()
"""Those of this process."""
