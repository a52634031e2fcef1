"""Devices of an evaluation, reached side by side while the run that is evaluated is still being opened.

What takes seconds each (a token, a list of devices, a calibration) does so at once for all of them, and no
PyTorch is needed for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any, Generic, TypeVar

from qhq.backends.backend import BackendSpec
from qhq.backends.registry import kind_of
from qhq.studies.selection import Selection, select_backends, with_shots

K = TypeVar("K")
T = TypeVar("T")

LOOK_SECONDS = 0.1
"""How late the end of a thread may be seen."""

REACHED_AT_ONCE = 8
"""Devices that are reached at the same time: a service refuses whoever asks too much at once."""


class Pending(Generic[T]):
    """Something that a thread of its own does, told and asked as its maker is.

    The thread is a daemon: an interrupt ends the command at once, as ``kill -9`` would, and the journal
    knows what had been sent.
    """

    def __init__(self, act: Callable[[], T]) -> None:
        self._found: list[T] = []
        self._error: BaseException | None = None
        context = copy_context()

        def run() -> None:
            try:
                self._found.append(context.run(act))
            except BaseException as error:  # raised again where the result is asked for
                self._error = error

        self._thread = threading.Thread(target=run, name="qhq-device", daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether it has come to its end."""
        return not self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Wait until it is done, so long at most."""
        self._thread.join(seconds)

    def result(self) -> T:
        """What came of it, once it is done; an error is raised as it was."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._found[0]


def side_by_side(acts: Iterable[Callable[[], T]]) -> list[T]:
    """Do several things at once; their results in the same order, or the first error."""
    pending = [Pending(act) for act in acts]
    return [each.result() for each in pending]


def as_they_end(pending: Mapping[K, Pending[T]]) -> Iterator[tuple[K, T]]:
    """Results of several things, each as soon as it is there; an error is raised in its turn."""
    left = dict(pending)
    while left:
        done = [key for key, each in left.items() if each.is_done]
        for key in done:
            yield key, left.pop(key).result()
        if not done:
            next(iter(left.values())).wait(LOOK_SECONDS)


class Connections:
    """Backends that were asked for, and those of them that are devices of an account, being reached.

    Args:
        selection: What names and globs stand for.
        entries: Its entries, with the shots asked for.
    """

    def __init__(self, selection: Selection, entries: Sequence[BackendSpec]) -> None:
        self.selection, self.entries = selection, tuple(entries)
        devices = [(entry, kind_of(entry)) for entry in entries if kind_of(entry).is_hardware]
        connectors = {entry.name: partial(kind.connector(), entry) for entry, kind in devices}
        free = threading.BoundedSemaphore(REACHED_AT_ONCE)

        def reach(connect: Callable[[], Any]) -> Any:
            with free:
                return connect()

        self._reached = {name: Pending(partial(reach, connect)) for name, connect in connectors.items()}

    def reached(self, name: str) -> Any:
        """The connection to a device.

        Raises:
            BackendError: If it cannot be reached or read.
        """
        return self._reached[name].result()


def reach_backends(backends: Sequence[str], shots: int | None = None) -> Connections:
    """Begin to reach what an evaluation is to run on.

    Args:
        backends: Entries of ``backends.yaml``, devices or globs.
        shots: Shots instead of those of sampling entries.

    Raises:
        ConfigError: If one stands for none.
        BackendError: If the account has to be asked and cannot be, or none of its devices takes jobs.
    """
    selection = select_backends(backends, lambda template: kind_of(template).devices(template))
    return Connections(selection, with_shots(selection.entries, shots))
