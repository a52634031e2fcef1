"""Tiles over threads: plain Python threads, since the kernels release the interpreter lock.

They survive what an OpenMP team does not: calls from several threads at once, and a fork of the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numba
import numpy as np

from qhq.engine.compiled import announced
from qhq.engine.kernels import run

_Answers = SimpleQueue[Exception | None]
_Orders = SimpleQueue[tuple[Callable[..., None], Any, _Answers]]
_crew: list[_Orders] = []
"""One queue a worker; a queue of C is handed over five times faster than a future."""
_entries: dict[Any, Callable[..., None]] = {}
"""Precision -> the compiled kernel, without Numba's look at the types of each call (5 us of 7)."""
_typeof: Any = numba.typeof
_NO_TILES = np.zeros(5, np.int64)

Job = tuple[Any, Any, Any, Any, Any]
"""Program, data, desk, results, span: see ``kernels.run``."""


def _forget() -> None:
    """Threads do not live on in a forked child."""
    _crew.clear()


os.register_at_fork(after_in_child=_forget)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bounded_threads(asked: int | None) -> int:
    """Threads to use: as asked, else ``OMP_NUM_THREADS``, and never more than the process has cores."""
    cores = available_cores()
    named = os.environ.get("OMP_NUM_THREADS", "")
    wanted = asked or (int(named) if named.isdigit() else cores)
    return max(1, min(wanted, cores))


def run_parts(jobs: Sequence[Job], first: tuple[Any, Any] | None) -> None:
    """Run the kernel once for each job, the last on the caller's thread.

    Args:
        jobs: Arguments of each call.
        first: Desk and span of a call that must end before the others start, or None.
    """
    entry = _entry(jobs[0])
    if first is not None:
        program, data, _, results, _ = jobs[0]
        entry(program, data, first[0], results, first[1])
    if len(jobs) == 1:
        entry(*jobs[0])
    else:
        _run_together(entry, jobs)


def _entry(job: Job) -> Callable[..., None]:
    dtype = job[1][0].dtype
    if dtype not in _entries:
        _entries[dtype] = _load(job)
    return _entries[dtype]


def _load(job: Job) -> Callable[..., None]:
    """Load the kernel of a precision from the disk, or compile it and say so."""
    kernel: Any = run
    with announced():
        kernel(*job[:-1], _NO_TILES)
    made = kernel.overloads.get(tuple(_typeof(argument) for argument in job))
    entry: Callable[..., None] = getattr(made, "entry_point", kernel)
    return entry


def _run_together(entry: Callable[..., None], jobs: Sequence[Job]) -> None:
    answers: _Answers = SimpleQueue()
    for _ in range(len(jobs) - 1 - len(_crew)):
        _hire()
    for queue, job in zip(_crew, jobs[:-1], strict=False):
        queue.put((entry, job, answers))
    entry(*jobs[-1])
    errors = [answers.get() for _ in jobs[:-1]]
    for error in errors:
        if error is not None:
            raise error


def _hire() -> None:
    queue: _Orders = SimpleQueue()
    Thread(target=_work, args=(queue,), name=f"qhq-engine-{len(_crew)}", daemon=True).start()
    _crew.append(queue)


def _work(queue: _Orders) -> None:
    while True:
        entry, job, answers = queue.get()
        try:
            entry(*job)
        except Exception as error:  # handed to the caller's thread
            answers.put(error)
        else:
            answers.put(None)
