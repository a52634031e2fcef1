"""What goes on while a call runs, for whoever waits for it: on standard error, or through a callable.

The heartbeat here says what a command is doing when it takes more than a few seconds; ``training`` and
``steps`` have the bars of a terminal, and what is called in their place. Nothing heavy is imported unless it
is used: the bars need rich, and those of a training torch, which is why they are a file of their own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias

from qhq.errors import ConfigError, visible

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from qhq.progress.steps import CalledSteps, OnStage, StudyProgress, SweepProgress
    from qhq.training.loop import Watcher

logger = logging.getLogger("qhq")

# Called with what is done, of how much, and what that is or comes next.
_Step: TypeAlias = Callable[[int, int, str], None]

Progress: TypeAlias = bool | _Step | None
"""Where progress goes: nowhere; True for the bars of the terminal; or a callable."""

# With a command in quotes, and what stands right beside it.
_WORD = re.compile(r"(?:'qhq [^']*'|\S)+")

PATIENCE_SECONDS = 2.0
"""Silence that needs no explanation."""
# Time between two lines at most.
_LONGEST_SECONDS = 60.0


class Heartbeat:
    """Prints what a command is doing once it has taken a while, and again ever more rarely.

    The seconds are those of the whole command: counted from each step they would begin anew all the time,
    and tell nobody how long it has taken. At least once a minute there is a line, and none where a command
    is quick. Where a bar is shown on a terminal, it says enough.

    Attributes:
        doing: What is being done now.
        bars: How many bars are on the screen.
    """

    def __init__(self, doing: str) -> None:
        self.doing, self.bars = doing, 0
        self._since, self._told = time.monotonic(), ""
        self._over = threading.Event()
        # A daemon: a command that ends, or is interrupted, does not wait for its next beat.
        self._thread = threading.Thread(target=self._beat, name="qhq-heartbeat", daemon=True)

    def say(self, doing: str) -> None:
        """Name what is being done from now on."""
        self.doing = doing

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
        wait, following = min(PATIENCE_SECONDS, threading.TIMEOUT_MAX), 10.0
        while not self._over.wait(wait):
            # 10 s after the first line, then 20, 40 and each minute: an hour in a log is some sixty lines.
            wait, following = min(following, _LONGEST_SECONDS), 2 * following
            if not (self.bars and sys.stderr.isatty()):
                self._tell(time.monotonic() - self._since)

    def _tell(self, passed: float) -> None:
        """Print a line; what the last one said already is not said again."""
        doing = self.doing
        text = "still at it" if doing == self._told else visible(doing)
        self._told = doing
        try:
            sys.stderr.write(f"[{passed:.0f} s] {text} ...\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            self._over.set()  # nobody listens any more


def say(text: str) -> None:
    """Tell a person something by the way, on standard error.

    A terminal breaks a long line wherever its edge is, so there it is broken between words; a log gets it
    whole, as whoever searches one expects.
    """
    with contextlib.suppress(OSError, ValueError):  # nobody listens any more
        text = visible(text)
        if sys.stderr.isatty():
            text = broken(text, _terminal_width())
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _terminal_width() -> int:
    """Columns of the terminal behind standard error, unless COLUMNS says otherwise."""
    with contextlib.suppress(OSError, ValueError):
        return int(os.environ.get("COLUMNS") or os.get_terminal_size(sys.stderr.fileno()).columns) or 80
    return 80


def broken(text: str, width: int) -> str:
    """Lines of so many columns at most, broken between words.

    What is meant to be copied stays whole: a word, such as a path, a command in quotes, and an indented line.
    A terminal shows what is too long for it on two lines, and still knows that it is one.

    >>> print(broken("Free some space, then call 'qhq train --resume tiny-s1' again.", 30))
    Free some space, then call
    'qhq train --resume tiny-s1'
    again.
    """
    from rich.cells import cell_len  # Chinese letters take two columns each

    lines = []
    for line in text.split("\n"):
        if line.startswith("  ") or cell_len(line) <= width:
            lines.append(line)
            continue
        row = ""
        for word in _WORD.findall(line):
            if row and cell_len(f"{row} {word}") > width:
                lines.append(row)
                row = word
            else:
                row = f"{row} {word}" if row else word
        lines.append(row)
    return "\n".join(lines)


# A list of one, so that whoever imports the name sees what is put there later.
current: list[Heartbeat | None] = [None]
"""The heartbeat of the command that runs, in its one place."""


def doing(text: str) -> None:
    """Name what the command that runs is doing from now on."""
    if current[0] is not None:
        current[0].say(text)


class Live:
    """A bar on standard error that is shown while a ``with`` block lasts."""

    bar: Bar

    def __enter__(self) -> Self:
        self.bar.start()
        if current[0] is not None:
            current[0].bars += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        if current[0] is not None:
            current[0].bars -= 1


def noting(progress: Progress) -> Callable[[str], None]:
    """Where what a person should know by the way goes: to the terminal, or to the log of ``qhq``."""
    return say if progress is True else lambda text: logger.info("%s", text)


@dataclass(frozen=True)
class Views:
    """Where a training is shown beside its progress.

    Attributes:
        curves: On the terminal, as curves.
        tensorboard: In files for TensorBoard, in the folder of the run.
        mirror: In MLflow, while it goes on.
    """

    curves: bool = False
    tensorboard: bool = False
    mirror: bool = False


@contextmanager
def open_training(progress: Progress, epochs: int, views: Views | None = None) -> Iterator[Watcher]:
    """Who watches a training of so many epochs at most.

    Raises:
        ConfigError: If ``progress`` is neither a bool nor a callable, or TensorBoard is not installed.
    """
    from qhq.progress.views import open_views
    from qhq.training.loop import Watchers

    views = views or Views()
    with _open_progress(progress, epochs, curves=views.curves) as watcher, open_views(views) as others:
        yield Watchers([watcher, *others]) if others else watcher


@contextmanager
def _open_progress(progress: Progress, epochs: int, *, curves: bool) -> Iterator[Watcher]:
    from qhq.progress.training import CalledTraining, CurvesProgress, TrainingProgress

    if progress is not True:
        # The bar is for a terminal alone; a callable of the caller hears the same events.
        yield CalledTraining(_step(progress), epochs)
        return
    with CurvesProgress() if curves else TrainingProgress() as bar:
        yield bar


@contextmanager
def open_steps(progress: Progress) -> Iterator[CalledSteps | StudyProgress]:
    """Where the progress of a study's cells goes, or of steps that are counted.

    Raises:
        ConfigError: If ``progress`` is neither a bool nor a callable.
    """
    from qhq.progress.steps import CalledSteps, StudyProgress

    if progress is not True:
        yield CalledSteps(_step(progress))
        return
    with StudyProgress() as bar:
        yield bar


@contextmanager
def open_stages(progress: Progress, metric: str, on_stage: OnStage) -> Iterator[CalledSteps | SweepProgress]:
    """Where the progress of a sweep's stages goes; ``on_stage`` gets the record of each in any case.

    Raises:
        ConfigError: If ``progress`` is neither a bool nor a callable.
    """
    from qhq.progress.steps import CalledSteps, SweepProgress

    if progress is not True:
        yield CalledSteps(_step(progress), on_stage)
        return
    with SweepProgress(metric, on_stage) as bar:
        yield bar


def _step(progress: Progress) -> _Step | None:
    if progress is None or progress is False:
        return None
    if callable(progress):
        return progress
    raise ConfigError(
        "progress must be True, or what can be called with (done, total, what)",
        got=f"a {type(progress).__name__}",
        fix="Write progress=True, or progress=print",
    )
