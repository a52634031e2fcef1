"""Processes of this machine, each on one thread, so that a result is the same with any number of them."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from qhq.errors import BackendError

Item = TypeVar("Item")
Result = TypeVar("Result")
Note = Callable[[str], None]

MOST_DEATHS = 5
"""Workers that may die one after the other without any piece of work done in between."""


class Workers(Protocol):
    """Who does the work."""

    def run(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """Apply ``function`` to every item; give each result with its item's index as it is done.

        Raises:
            Exception: What the function raises; the rest is given up.
            BackendError: If workers keep dying.
        """


class LocalWorkers:
    """Processes that stay for many calls of `run`; one alone is this process itself.

    Args:
        count: How many.
        note: Told when a worker died and its work is done again.
        initializer: Called in each process as it starts, with ``initargs``, for what cannot be sent with
            every item.
    """

    def __init__(
        self,
        count: int,
        note: Note,
        *,
        initializer: Callable[..., None] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        self.count, self.note = count, note
        self.initializer, self.initargs = initializer, initargs
        self.pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(wait=error is None)

    def run(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """See `Workers.run`."""
        if self.count == 1:
            yield from ((index, function(item)) for index, item in enumerate(items))
            return
        waiting, deaths = dict(enumerate(items)), 0
        while waiting:
            for index, result in self._pass(function, dict(waiting)):
                del waiting[index]
                deaths = 0
                yield index, result
            if waiting:
                deaths += 1
                self._mourn(deaths, len(waiting))

    def _pass(
        self, function: Callable[[Item], Result], items: dict[int, Item]
    ) -> Iterator[tuple[int, Result]]:
        """Give what could be done before a worker died, which takes all others with it."""
        if self.pool is None:
            self.pool = ProcessPoolExecutor(
                self.count,
                mp_context=get_context("spawn"),
                initializer=_start,
                initargs=(self.initializer, self.initargs),
            )
        futures = {}
        with contextlib.suppress(BrokenProcessPool), _interrupts_held():
            for index, item in items.items():
                futures[self.pool.submit(function, item)] = index
        for future in as_completed(futures):
            try:
                result = future.result()
            except BrokenProcessPool:
                continue
            yield futures[future], result

    def _mourn(self, deaths: int, left: int) -> None:
        self._close(wait=False)
        if deaths == MOST_DEATHS:
            raise BackendError(
                "Workers must live long enough for one piece of work",
                got=f"{deaths} that died one after the other",
                fix="Look at the memory left, or take fewer --workers; then call it again, it goes on",
            )
        self.note(f"A worker died. Started again; {left} pieces of work are left.")

    def _close(self, *, wait: bool) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=wait, cancel_futures=True)
            self.pool = None


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold an interruption back while workers are started, and in each of them until `start_quietly`.

    A new process inherits the mask. Without it, Ctrl-C in the seconds that a worker imports what it needs
    would end in the traceback of an import. Nothing is lost: what was held back comes at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_quietly(*_: Any) -> None:
    """Begin a worker process: on one thread, silent when interrupted, and gone when its parent is."""
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _start(initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> None:
    start_quietly()
    if initializer is not None:
        initializer(*initargs)


def _end_with_parent() -> None:
    """A killed parent closes nothing: without this its workers would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
