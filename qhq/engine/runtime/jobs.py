"""What a job runs in and on: workspaces, which are memory of the kernels, and the worker pool.

Workspaces are taken and given back, so that a training step allocates next to none. The pool runs a job's
spans on plain Python threads, since the kernels release the interpreter lock. They survive what an OpenMP
team does not: calls from several threads at once, and a fork of the process. A worker sits in compiled code
and spins on its mailbox while there is work (see ``kernels.handoff``), and else sleeps on a queue.
"""

from __future__ import annotations

import atexit
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Lock, RLock, Thread
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from qhq.engine.compile.tape import Tape
from qhq.engine.kernels.handoff import MAILBOX_WORDS, State, Word
from qhq.engine.kernels.interpreter import Buffers, Job, Span, run
from qhq.engine.kernels.jit import announced
from qhq.engine.kernels.lanes import ROW_BYTES
from qhq.engine.program import Kind, Op
from qhq.limits import available_bytes, require_memory

KEPT_BYTES = 1 << 29
"""States of a forward pass are kept for the backward pass up to this size; beyond it they are made again."""
_IDLE_WORKSPACES = 4
# A workspace larger than this is not kept for the next call.
_IDLE_BYTES = 1 << 28
# More than those few are kept while all together are no larger: a recurrent unit takes one for each step.
_IDLE_SMALL = 1 << 24


def check_fits_memory(qubits: int) -> None:
    """Refuse a circuit of which not even one sample fits, before anything of size is made for it.

    Raises:
        BackendError: With the memory that it needs.
    """
    # The index maps of the program, twice while they grow, and of one tile the state, co-state and scratch.
    require_memory(
        (2 * 4 + 3 * 2 * ROW_BYTES) << qubits,
        f"The exact engine's state of {qubits} qubits",
        fix="Use fewer qubits (quantum.qubits)",
    )


@dataclass(frozen=True)
class Workspace:
    """Buffers of all threads for one batch size, and how the batch is cut among them.

    Attributes:
        key: What makes two workspaces exchangeable.
        buffers: What the kernels work in.
        forward_spans: Span of each thread, columns as in ``interpreter``.
        backward_spans: The same for the way back.
        size: Bytes.
    """

    key: tuple[Any, ...]
    buffers: Buffers
    forward_spans: npt.NDArray[np.int64]
    backward_spans: npt.NDArray[np.int64]
    size: int


class Workspaces:
    """All workspaces of one engine that nobody uses now."""

    def __init__(self, tape: Tape) -> None:
        program = tape.program
        self._qubits, self._tables = program.layout.bits, program.layout.tables
        self._slots, self._angles = len(program.readout.starts) - 1, len(program.angles.constant)
        self._idle: list[Workspace] = []
        # Reentrant: a residual may be collected, and give its workspace back, while this thread builds one.
        self._lock = RLock()
        ops = program.layout.ops
        rotations = int(ops[ops[:, Op.KIND] == Kind.ROTATIONS, Op.COUNT].sum())
        self.row_operations = self._state_rows * (
            rotations + int((ops[:, Op.KIND] == Kind.PHASE_SHARED).sum()) + 4
        )
        """Row operations of one tile, roughly."""

    def take(self, dtype: np.dtype[Any], batch: int, threads: int, keep: bool) -> Workspace:
        """A workspace for a batch on ``threads``; ``keep`` asks for a state a tile, not one a thread."""
        tiles = -(-batch * dtype.itemsize // ROW_BYTES)
        keep = keep and tiles * self._state_rows * ROW_BYTES <= KEPT_BYTES
        if threads > 1 and self._bytes(dtype, tiles, threads, keep) > _IDLE_BYTES:
            # Each thread has states of its own: fewer threads rather than none at all.
            share = self._bytes(dtype, tiles, threads, keep) // threads
            threads = max(1, min(threads, available_bytes() // (2 * share)))
        # By tiles, not samples: batches of 60 and of 64 work in the same memory.
        key = (dtype, tiles, threads, keep)
        # A list, not a dictionary: there are a few at most, and two threads may need two of a kind.
        with self._lock:
            for k, workspace in enumerate(self._idle):
                if workspace.key == key:
                    return self._idle.pop(k)
        return self._build(key)

    def give_back(self, workspace: Workspace) -> None:
        """Keep a workspace for the next call, unless it is large or there are enough."""
        # A large one would hold memory between two calls that other code may want.
        if workspace.size <= _IDLE_BYTES:
            with self._lock:
                self._idle.append(workspace)  # the oldest go first: a batch size that nobody uses any more
                while (
                    len(self._idle) > _IDLE_WORKSPACES and sum(each.size for each in self._idle) > _IDLE_SMALL
                ):
                    del self._idle[0]

    @property
    def _state_rows(self) -> int:
        return 2 << self._qubits

    def _bytes(self, dtype: np.dtype[Any], tiles: int, threads: int, keep: bool) -> int:
        """What ``_build`` takes."""
        states = (tiles if keep else threads) * self._state_rows
        work = threads * (2 * self._state_rows + self._slots)
        angles = 2 * self._angles * (tiles + 1 + threads)
        return (states + work + angles) * ROW_BYTES + self._tables * self._state_rows * int(dtype.itemsize)

    def _build(self, key: tuple[Any, ...]) -> Workspace:
        dtype, tiles, threads, keep = key
        require_memory(
            self._bytes(dtype, tiles, threads, keep),
            f"The exact engine's batch of states of {self._qubits} qubits",
            fix="Use fewer qubits or a smaller batch",
        )
        trig = aligned_rows(dtype, 2 * self._angles * (tiles + 1))
        tables = aligned_rows(dtype, math.ceil(self._tables * self._state_rows * dtype.itemsize / ROW_BYTES))
        states = aligned_rows(dtype, self._state_rows * (tiles if keep else threads))
        work_rows = 2 * self._state_rows + 2 * self._angles + self._slots
        work = aligned_rows(dtype, work_rows * threads).reshape(threads, -1)
        spans = np.zeros((threads, len(Span)), np.int64)
        # Whole tiles to each thread, so that no two of them write to one row.
        edges = np.array([tiles * k // threads for k in range(threads + 1)])
        spans[:, Span.FIRST], spans[:, Span.LAST] = edges[:-1], edges[1:]
        spans[:, Span.KEEP], spans[:, Span.PREPARE] = keep, 1
        back = spans.copy()
        # What the batch shares is still there from the way forwards.
        back[:, Span.PREPARE], back[:, Span.BACK] = 0, 1
        return Workspace(
            key,
            Buffers(states.reshape(1 if keep else threads, -1), trig, tables, work, self._angles),
            forward_spans=spans,
            backward_spans=back,
            size=work.nbytes + states.nbytes + tables.nbytes,
        )


def aligned_rows(dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
    """Uninitialised rows whose first lies at a multiple of the row size.

    NumPy aligns to 16 bytes only, and the kernels' vector loads count on 64: elsewhere they crash.
    """
    width = ROW_BYTES // dtype.itemsize
    memory = np.empty((count + 1) * width, dtype)
    skip = -(memory.ctypes.data // dtype.itemsize) % width
    return memory[skip : skip + count * width]


# How long a worker spins for the next order: a step of training comes back sooner, and it costs little.
_SPIN_NS = 500_000
# Two cache lines, which processors fetch in pairs: no two mailboxes share them.
_LINE_WORDS = 16
_NO_MAILBOXES = np.zeros(0, np.int64)

# Does what is ordered in the mailbox at this address until nothing has been for a while.
_Serve = Callable[[npt.NDArray[np.int64]], None]
# ``interpreter.run``, compiled for one precision.
_Entry = Callable[[Job, npt.NDArray[np.int64], int], None]

_typeof: Any = numba.typeof


class _Worker:
    """A thread that belongs to one caller at a time, from ``_WorkerPool.claim`` to ``release``."""

    def __init__(self, serve: _Serve, idle: list[_Worker]) -> None:
        self._serve, self._idle = serve, idle
        # With whole lines to spare, to start the mailbox on a line of its own wherever NumPy put the array.
        self._memory = np.zeros(MAILBOX_WORDS + 2 * _LINE_WORDS, np.int64)
        skip = -(self._memory.ctypes.data // 8) % _LINE_WORDS
        self._mailbox = self._memory[skip : skip + MAILBOX_WORDS]
        self._mailbox[Word.CLOCK], self._mailbox[Word.SPIN] = time.CLOCK_MONOTONIC, _SPIN_NS
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


class _WorkerPool:
    """Workers of one precision: the code that one sits in is compiled for one."""

    def __init__(self, serve: _Serve) -> None:
        self._serve = serve
        self._idle: list[_Worker] = []
        self._all: list[_Worker] = []

    def claim(self, count: int, most: int) -> list[_Worker]:
        """Up to ``count`` workers; new ones are started while there are fewer than ``most``."""
        workers: list[_Worker] = []
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

    def _start_worker(self) -> _Worker | None:
        worker = _Worker(self._serve, self._idle)
        self._all.append(worker)
        try:
            worker.start()
        except RuntimeError:  # the interpreter ends, or the system has no more threads
            self._all.remove(worker)
            return None
        return worker


# Precision -> the compiled kernel, without Numba's look at the types of each call (5 us of 7).
_entries: dict[np.dtype[Any], _Entry] = {}
# Precision -> its workers.
_pools: dict[np.dtype[Any], _WorkerPool] = {}


def _shut_down_pools() -> None:
    """Threads that come back from compiled code must find an interpreter."""
    for pool in _pools.values():
        pool.shut_down()
    _pools.clear()


os.register_at_fork(after_in_child=_pools.clear)  # threads do not live on in a forked child
atexit.register(_shut_down_pools)


def _available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bounded_threads(asked: int | None) -> int:
    """Threads to use: as asked, else ``OMP_NUM_THREADS``, and never more than the process has cores."""
    cores = _available_cores()
    # The variable that users of NumPy and torch know already, and that clusters set for each of their jobs.
    named = os.environ.get("OMP_NUM_THREADS", "")
    wanted = asked or (int(named) if named.isdigit() else cores)
    return max(1, min(wanted, cores))


def run_job(job: Job) -> None:
    """Run the kernel on all spans of a job, the last on the caller's thread.

    Where no worker is idle, others keep the cores busy already, and the caller does the spans one by one.
    """
    dtype = job.inputs.dtype
    entry = _entries.get(dtype) or _load(dtype, _hollow(job))
    if len(job.spans) == 1:
        entry(job, _NO_MAILBOXES, 0)
        return
    pool = _pools.get(dtype)
    if pool is None:
        like = _hollow(job)
        # Of two callers who come here at once one makes the pool; the other's has started no thread.
        pool = _pools.setdefault(dtype, _WorkerPool(lambda mailboxes: entry(like, mailboxes, 1)))
    _run_together(entry, job, pool.claim(len(job.spans) - 1, _available_cores() - 1))


def _run_together(entry: _Entry, job: Job, workers: list[_Worker]) -> None:
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


def _hollow(job: Any) -> Any:
    """Something of the same Numba type that holds no memory: a worker keeps it for as long as it lives."""
    if isinstance(job, np.ndarray):
        return np.empty((0,) * job.ndim, job.dtype)
    if isinstance(job, tuple):
        parts = [_hollow(part) for part in job]
        return type(job)(*parts) if hasattr(job, "_fields") else tuple(parts)
    return 0
