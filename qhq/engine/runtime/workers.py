"""The worker pool: a job's spans over plain Python threads, since the kernels release the interpreter lock.

They survive what an OpenMP team does not: calls from several threads at once, and a fork of the process. A
worker sits in compiled code and spins on its mailbox while there is work (see ``kernels.handoff``), and else
sleeps on a queue.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from qhq.engine.kernels.handoff import WORDS, State, Word
from qhq.engine.kernels.interpreter import Job, run
from qhq.engine.kernels.jit import announced

SPIN_NS = 500_000
"""How long a worker spins for the next order: a step of training comes back sooner, and it costs little."""
_LINE_WORDS = 16
"""Two cache lines, which processors fetch in pairs: no two mailboxes share them."""
_NO_MAILBOXES = np.zeros(0, np.int64)

_Serve = Callable[[npt.NDArray[np.int64]], None]
"""Does what is ordered in the mailbox at this address until nothing has been for a while."""
_Entry = Callable[[Job, npt.NDArray[np.int64], int], None]
"""``interpreter.run``, compiled for one precision."""

_typeof: Any = numba.typeof


class Worker:
    """A thread that belongs to one caller at a time, from ``WorkerPool.claim`` to ``release``."""

    def __init__(self, serve: _Serve, idle: list[Worker]) -> None:
        self._serve, self._idle = serve, idle
        # With whole lines to spare, to start the mailbox on a line of its own wherever NumPy put the array.
        self._memory = np.zeros(WORDS + 2 * _LINE_WORDS, np.int64)
        skip = -(self._memory.ctypes.data // 8) % _LINE_WORDS
        self._mailbox = self._memory[skip : skip + WORDS]
        self._mailbox[Word.CLOCK], self._mailbox[Word.SPIN] = time.CLOCK_MONOTONIC, SPIN_NS
        self.address = self._mailbox.ctypes.data
        self._lock = Lock()
        self._claimed, self._asleep, self._stopping = False, False, False
        self._calls: SimpleQueue[None] = SimpleQueue()
        self._error: Exception | None = None
        # A daemon, for which the interpreter does not wait; ``_shut_down_pools`` does, for a second at most.
        self._thread = Thread(target=self._loop, name="qhq-engine", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def asleep(self) -> bool:
        """Whether the thread sleeps, or is about to."""
        return self._asleep

    def claim(self) -> None:
        """Wake the thread, if need be; it looks at its mailbox until ``release``."""
        with self._lock:
            self._claimed = True
            self._mailbox[Word.STATE] = State.CLAIMED
            called, self._asleep = self._asleep, False
        if called:  # not when it is awake: the call would lie in the queue and cut its next sleep short
            self._calls.put(None)

    def release(self) -> Exception | None:
        """Leave the thread to the next caller. Returns what went wrong in its span."""
        while self._mailbox[Word.STATE] == State.ORDERED:  # only where the caller's own span has failed
            time.sleep(0)
        error, self._error = self._error, None
        with self._lock:
            self._claimed = False
            self._mailbox[Word.STATE] = State.FREE
        self._idle.append(self)
        return error

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        self.claim()
        self._mailbox[Word.STATE] = State.RECALLED
        self._thread.join(1)  # no longer: a thread that hangs must not keep the interpreter from its end

    def _loop(self) -> None:
        address = np.array([self.address])
        while not self._stopping:
            try:
                self._serve(address)
            except Exception as error:  # handed to the caller's thread
                self._error = error
                self._mailbox[Word.STATE] = State.FINISHED
            # Claimed in between, the thread goes back to its mailbox: under the lock, no call is lost.
            with self._lock:
                self._asleep = sleep = not self._claimed
            if sleep:
                self._calls.get()  # a queue and not a condition: a call that comes first is kept, not missed


class WorkerPool:
    """Workers of one precision: the code that one sits in is compiled for one."""

    def __init__(self, serve: _Serve) -> None:
        self._serve = serve
        self._idle: list[Worker] = []
        self._all: list[Worker] = []

    def claim(self, count: int, most: int) -> list[Worker]:
        """Up to ``count`` workers; new ones are started while there are fewer than ``most``."""
        workers: list[Worker] = []
        while len(workers) < count:
            try:
                # Not ``if self._idle``: another caller may take the last one in between.
                worker = self._idle.pop()
            except IndexError:
                started = self._start_worker() if len(self._all) < most else None
                if started is None:
                    break
                worker = started
            worker.claim()
            workers.append(worker)
        return workers

    def shut_down(self) -> None:
        """End all threads."""
        self._idle.clear()
        for worker in self._all:
            worker.stop()

    def _start_worker(self) -> Worker | None:
        worker = Worker(self._serve, self._idle)
        self._all.append(worker)
        try:
            worker.start()
        except RuntimeError:  # the interpreter ends, or the system has no more threads
            self._all.remove(worker)
            return None
        return worker


_entries: dict[np.dtype[Any], _Entry] = {}
"""Precision -> the compiled kernel, without Numba's look at the types of each call (5 us of 7)."""
_pools: dict[np.dtype[Any], WorkerPool] = {}
"""Precision -> its workers."""


def _shut_down_pools() -> None:
    """Threads that come back from compiled code must find an interpreter."""
    for pool in _pools.values():
        pool.shut_down()
    _pools.clear()


os.register_at_fork(after_in_child=_pools.clear)  # threads do not live on in a forked child
atexit.register(_shut_down_pools)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bounded_threads(asked: int | None) -> int:
    """Threads to use: as asked, else ``OMP_NUM_THREADS``, and never more than the process has cores."""
    cores = available_cores()
    # The variable that users of NumPy and torch know already, and that clusters set for each of their jobs.
    named = os.environ.get("OMP_NUM_THREADS", "")
    wanted = asked or (int(named) if named.isdigit() else cores)
    return max(1, min(wanted, cores))


def run_job(job: Job) -> None:
    """Run the kernel on all spans of a job, the last on the caller's thread.

    Where no worker is idle, others keep the cores busy already, and the caller does the spans one by one.
    """
    dtype = job.inputs.dtype
    entry = _entries.get(dtype) or _load(dtype, hollow(job))
    if len(job.spans) == 1:
        entry(job, _NO_MAILBOXES, 0)
        return
    pool = _pools.get(dtype)
    if pool is None:
        like = hollow(job)
        # Of two callers who come here at once one makes the pool; the other's has started no thread.
        pool = _pools.setdefault(dtype, WorkerPool(lambda mailboxes: entry(like, mailboxes, 1)))
    _run_together(entry, job, pool.claim(len(job.spans) - 1, available_cores() - 1))


def _run_together(entry: _Entry, job: Job, workers: list[Worker]) -> None:
    # Released even if the caller's own span fails, but only when the others have left the job's memory alone.
    try:
        entry(job, np.array([worker.address for worker in workers], np.int64), 0)
    finally:
        errors = [worker.release() for worker in workers]
    for error in errors:
        if error is not None:
            raise error


def _load(dtype: np.dtype[Any], job: Job) -> _Entry:
    """Load the kernel of a precision from the disk, or compile it and say so."""
    kernel: Any = run
    arguments = (job, _NO_MAILBOXES, 0)
    with announced():  # with a batch of no samples, so that compiling does not run the job twice
        kernel(*arguments)
    made = kernel.overloads.get(tuple(_typeof(argument) for argument in arguments))
    _entries[dtype] = getattr(made, "entry_point", kernel)
    return _entries[dtype]


def hollow(job: Any) -> Any:
    """Something of the same Numba type that holds no memory: a worker keeps it for as long as it lives."""
    if isinstance(job, np.ndarray):
        return np.empty((0,) * job.ndim, job.dtype)
    if isinstance(job, tuple):
        parts = [hollow(part) for part in job]
        return type(job)(*parts) if hasattr(job, "_fields") else tuple(parts)
    return 0
