"""Processes of this machine, each on one thread, so that a result is the same with any number of them."""

from __future__ import annotations

import atexit
import contextlib
import gc
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver, get_context, parent_process, resource_tracker
from multiprocessing.context import BaseContext
from types import TracebackType
from typing import Protocol, Self, TypeVar

from qhq.errors import BackendError, ConfigError

Item = TypeVar("Item")
Result = TypeVar("Result")
Note = Callable[[str], None]

# Workers that may die one after the other without any piece of work done in between.
_MOST_DEATHS = 5

# One to do, and one to begin at once when it is done.
PIECES_AHEAD = 2
"""Pieces of work that a process has at a time."""


class Workers(Protocol):
    """Who does the work."""

    def run(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Apply ``function`` to every item; give each with its result as it is done.

        Items are taken as workers are ready for them, few ahead: what is not taken yet is nobody's.

        Raises:
            Exception: What the function raises; the rest is given up.
            BackendError: If workers keep dying.
        """


@contextlib.contextmanager
def open_workers(count: int | None, cluster: str | None, note: Note) -> Iterator[Workers]:
    """Workers as a command line asks for them.

    Args:
        count: Processes of this machine; one alone is this process itself. None is one a core.
        cluster: Address of a Dask scheduler, instead.
        note: Called when a worker died and its work is done again.

    Raises:
        ConfigError: If both are asked for, or distributed is not installed.
        BackendError: If the scheduler does not answer.
    """
    if cluster is None:
        with LocalWorkers(count or cores(), note) as local:
            yield local
        return
    check_workers(count, cluster)
    from qhq.studies.runner.cluster import ClusterWorkers

    with ClusterWorkers(cluster, note) as remote:
        yield remote


def check_workers(count: int | None, cluster: str | None) -> None:
    """Refuse processes of this machine together with a cluster.

    Raises:
        ConfigError: If both are asked for.
    """
    if cluster is not None and count is not None:
        raise ConfigError(
            "A study works on processes here or on a cluster",
            got="--workers together with --cluster",
            fix="Give one of them",
        )


class LocalWorkers:
    """Processes that stay for many calls of `run`; one alone is this process itself.

    Args:
        count: How many.
        note: Called when a worker died and its work is done again.
    """

    def __init__(self, count: int, note: Note) -> None:
        self.count, self.note = count, note
        self.pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(wait=error is None)

    def run(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """See `Workers.run`."""
        # A process for one worker would import torch and Qiskit once more, for seconds, to do the same.
        if self.count == 1:
            yield from ((item, function(item)) for item in items)
            return
        coming, lost, deaths = iter(items), list[Item](), 0
        running = dict[Future[Result], Item]()
        broken = False
        while True:
            if not broken:
                # What was lost goes first: its claims in the store are still held, and others wait for them.
                source = itertools.chain(_drained(lost), coming)
                for item in itertools.islice(source, PIECES_AHEAD * self.count - len(running)):
                    running[self._submit(function, item)] = item
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                item = running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    broken = True
                    lost.append(item)
                else:
                    # Work done in between shows that it is not each piece of work that kills its worker.
                    deaths = 0
                    yield item, result
            if broken and not running:
                # A worker that dies takes all others with it: their work is lost as well.
                deaths, broken = deaths + 1, False
                self._mourn(deaths, len(lost))

    def _submit(self, function: Callable[[Item], Result], item: Item) -> Future[Result]:
        if self.pool is None:
            # Each imports PyTorch and Qiskit first: for some seconds nothing would be heard of them.
            self.note(f"Starting {self.count} processes; the first results come after some seconds.")
            self.pool = ProcessPoolExecutor(
                self.count,
                mp_context=_process_context(),
                initializer=start_quietly,
                initargs=(dict(os.environ),),
            )
        try:
            with _interrupts_held():
                return self.pool.submit(function, item)
        except BrokenProcessPool as error:
            # It is lost as those are that were running.
            failed: Future[Result] = Future()
            failed.set_exception(error)
            return failed

    def _mourn(self, deaths: int, lost: int) -> None:
        self._close(wait=False)
        if deaths == _MOST_DEATHS:
            raise BackendError(
                "Workers must live long enough for one piece of work",
                got=f"{deaths} that died one after the other",
                fix="Look at the memory left, or take fewer --workers; then call it again, it goes on",
            )
        self.note(f"A worker died. Started again; {lost} pieces of work are done again.")

    def _close(self, *, wait: bool) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=wait, cancel_futures=True)
            self.pool = None


# What each piece of work imports, half a gigabyte.
_PRELOADED = ["qhq.experiment.run", "qhq.studies.portability", "qhq.studies.noise", "qhq.studies.sweep.study"]


def _process_context() -> BaseContext:
    """How processes are made, none of them as a fork of this one.

    Such a fork inherits the locks of torch's and OpenMP's threads without the threads, and hangs on them. On
    Linux all workers are forks of a server that has imported what they need and has no threads: it is
    imported once, and its memory is shared.
    """
    # Starting it lets signals through that were held.
    resource_tracker.ensure_running()
    # Apple's frameworks crash in a fork, whoever made it, and Windows has none.
    if sys.platform != "linux":
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    # One thread, or NumPy starts others as it is imported. A safe path, or a torch.py in the current folder
    # would be imported for PyTorch.
    with _interrupts_held(), _environment(OMP_NUM_THREADS="1", PYTHONSAFEPATH="1"):
        forkserver.ensure_running()
    # It answers when it has imported all. Who interrupts that must not leave it workers to make: they would
    # find nothing of their parent's, and say so at length.
    first = context.Process(target=int)
    first.start()
    first.join()
    return context


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _drained(items: list[Item]) -> Iterator[Item]:
    while items:
        yield items.pop(0)


def cores() -> int:
    """Cores that this process may use."""
    # In a container or a batch job fewer than cpu_count, which counts the cores of the machine.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold an interruption back while workers are started, and in each of them until `start_quietly`."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # A new process inherits the mask. Without it, Ctrl-C in the seconds that a worker imports what it needs
    # would end in the traceback of an import. Nothing is lost: what was held back comes at the end.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_quietly(environment: Mapping[str, str]) -> None:
    """Begin a worker process: on one thread, silent when interrupted, and gone when its parent is.

    Args:
        environment: The parent's, of today: the server has that of the day when it was started.
    """
    os.environ.clear()
    os.environ.update(environment)
    # Set before torch is imported, which reads it once; sums over several threads depend on how many.
    os.environ["OMP_NUM_THREADS"] = "1"
    # A terminal sends Ctrl-C to the whole group. The driver says what became of the study; a worker that left
    # by an exception would print a traceback beside it. 130 is how shells report SIGINT.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    atexit.register(gc.freeze)  # nobody should wait for its last garbage collection, 2 s of all libraries


def _end_with_parent() -> None:
    """A killed parent closes nothing: without this its workers would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
