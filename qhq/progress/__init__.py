"""What goes on while a call runs, for whoever waits for it: on standard error, or through a callable.

``heartbeat`` says what a command is doing when it takes more than a few seconds; ``training`` and ``steps``
have the bars of a terminal, and what is called in their place. Nothing heavy is imported unless it is used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from qhq.errors import ConfigError
from qhq.progress.heartbeat import say

if TYPE_CHECKING:
    from qhq.progress.steps import Called, OnStage, StudyProgress, SweepProgress
    from qhq.training.loop import Watcher

Step: TypeAlias = Callable[[int, int, str], None]
"""Called with what is done, of how much, and what that is or comes next."""

Progress: TypeAlias = bool | Step | None
"""Where progress goes: nowhere; True for the bars of the terminal; or a callable."""

logger = logging.getLogger("qhq")


def noting(progress: Progress) -> Callable[[str], None]:
    """Where what a person should know by the way goes: to the terminal, or to the log of ``qhq``."""
    return say if progress is True else lambda text: logger.info("%s", text)


@contextmanager
def open_training(progress: Progress, epochs: int) -> Iterator[Watcher]:
    """Who watches a training of so many epochs at most.

    Raises:
        ConfigError: If ``progress`` is neither a bool nor a callable.
    """
    from qhq.progress.training import Called, TrainingProgress

    if progress is not True:
        yield Called(_step(progress), epochs)
        return
    with TrainingProgress() as bar:
        yield bar


@contextmanager
def open_steps(progress: Progress) -> Iterator[Called | StudyProgress]:
    """Where the progress of a study's cells goes, or of steps that are counted.

    Raises:
        ConfigError: If ``progress`` is neither a bool nor a callable.
    """
    from qhq.progress.steps import Called, StudyProgress

    if progress is not True:
        yield Called(_step(progress))
        return
    with StudyProgress() as bar:
        yield bar


@contextmanager
def open_stages(progress: Progress, metric: str, on_stage: OnStage) -> Iterator[Called | SweepProgress]:
    """Where the progress of a sweep's stages goes; ``on_stage`` gets the record of each in any case.

    Raises:
        ConfigError: If ``progress`` is neither a bool nor a callable.
    """
    from qhq.progress.steps import Called, SweepProgress

    if progress is not True:
        yield Called(_step(progress), on_stage)
        return
    with SweepProgress(metric, on_stage) as bar:
        yield bar


def _step(progress: Progress) -> Step | None:
    if progress is None or progress is False:
        return None
    if callable(progress):
        return progress
    raise ConfigError(
        "progress must be True, or what can be called with (done, total, what)",
        got=f"a {type(progress).__name__}",
        fix="Write progress=True, or progress=print",
    )
