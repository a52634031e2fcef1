"""The error family. Every message has three parts: what must hold, what came, what to do.

QHQError (exit status 2)
├── ConfigError   2  usage, config, circuits/*.yaml, backends.yaml
├── DataError     3  prices that cannot be read, checked or cut into windows
└── BackendError  4  a backend that cannot be opened or does not answer
    └── JobError  4  one job on a device
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable


class QHQError(Exception):
    """A user's mistake or a failing service, in three parts.

    Args:
        must: The rule that must hold, without a full stop.
        got: What came instead, without a full stop.
        fix: What the user can do, without a full stop.
    """

    exit_status = 2

    def __init__(self, must: str, *, got: str, fix: str) -> None:
        super().__init__(f"{must}. Got {got}. {fix}.")
        self.must, self.got, self.fix = must, got, fix

    def __reduce__(self) -> tuple[Callable[..., QHQError], tuple[type[QHQError], str, str, str]]:
        """Be picklable, so that an error in a worker process reaches the one that asked."""
        return _rebuild, (type(self), self.must, self.got, self.fix)


def _rebuild(kind: type[QHQError], must: str, got: str, fix: str) -> QHQError:
    return kind(must, got=got, fix=fix)


class ConfigError(QHQError):
    """The command line, a config, an ansatz or a backend entry is not valid."""


class DataError(QHQError):
    """Market data cannot be read, breaks a rule of the panel, or is too short."""

    exit_status = 3


class BackendError(QHQError):
    """A backend cannot be opened, or does not answer."""

    exit_status = 4


class JobError(BackendError):
    """One job on a device failed."""


SHOWN_NAMES = 20
"""Most known names that an error lists."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is nearest to ``name``, for the ``fix`` part of an error.

    >>> nearest("hybird", ["hybrid", "classical"])
    "Did you mean 'hybrid'? Known: classical, hybrid"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"Did you mean '{close[0]}'? " if close else ""
    shown = ", ".join(names[:SHOWN_NAMES]) or "none"
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return f"{hint}Known: {shown}{more}"
