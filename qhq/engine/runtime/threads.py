"""Tiles over threads: plain Python threads, since the kernels release the interpreter lock.

They survive what an OpenMP team does not: calls from several threads at once, and a fork of the process.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from qhq.engine.kernels.interpreter import run
from qhq.engine.kernels.jit import announced
from qhq.engine.runtime.workers import Crew, Worker

_entries: dict[Any, Callable[..., None]] = {}
"""Precision -> the compiled kernel, without Numba's look at the types of each call (5 us of 7)."""
_crews: dict[Any, Crew] = {}
"""Precision -> its workers: the code that one sits in is compiled for one."""
_typeof: Any = numba.typeof
_NO_BOARDS = np.zeros(0, np.int64)

Job = tuple[Any, Any, Any, Any, Any]
"""Program, data, desks, results, spans: see ``kernels.run``."""


def _forget() -> None:
    """Threads do not live on in a forked child."""
    _crews.clear()


def _dismiss() -> None:
    """Threads that come back from compiled code must find an interpreter."""
    for crew in _crews.values():
        crew.dismiss()
    _crews.clear()


os.register_at_fork(after_in_child=_forget)
atexit.register(_dismiss)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bounded_threads(asked: int | None) -> int:
    """Threads to use: as asked, else ``OMP_NUM_THREADS``, and never more than the process has cores."""
    cores = available_cores()
    named = os.environ.get("OMP_NUM_THREADS", "")
    wanted = asked or (int(named) if named.isdigit() else cores)
    return max(1, min(wanted, cores))


def run_parts(job: Job) -> None:
    """Run the kernel on all spans of a job, the last on the caller's thread.

    Where no worker is idle, others keep the cores busy already, and the caller does the parts one by one.
    """
    entry, parts = _entry(job), len(job[4])
    if parts == 1:
        entry(job, _NO_BOARDS, 0)
    else:
        _run_together(entry, job, _crew(entry, job).claim(parts - 1, available_cores() - 1))


def _run_together(entry: Callable[..., None], job: Job, workers: list[Worker]) -> None:
    try:
        entry(job, np.array([worker.address for worker in workers], np.int64), 0)
    finally:
        errors = [worker.release() for worker in workers]
    for error in errors:
        if error is not None:
            raise error


def _entry(job: Job) -> Callable[..., None]:
    dtype = job[1][0].dtype
    if dtype not in _entries:
        _entries[dtype] = _load(hollow(job))
    return _entries[dtype]


def _crew(entry: Callable[..., None], job: Job) -> Crew:
    dtype = job[1][0].dtype
    crew = _crews.get(dtype)
    if crew is None:
        like = hollow(job)
        crew = _crews.setdefault(dtype, Crew(lambda boards: entry(like, boards, 1)))
    return crew


def _load(job: Job) -> Callable[..., None]:
    """Load the kernel of a precision from the disk, or compile it and say so."""
    kernel: Any = run
    arguments = (job, _NO_BOARDS, 0)
    with announced():
        kernel(*arguments)
    made = kernel.overloads.get(tuple(_typeof(argument) for argument in arguments))
    entry: Callable[..., None] = getattr(made, "entry_point", kernel)
    return entry


def hollow(job: Any) -> Any:
    """Something of the same type that holds no memory."""
    if isinstance(job, np.ndarray):
        return np.empty((0,) * job.ndim, job.dtype)
    if isinstance(job, tuple):
        parts = [hollow(part) for part in job]
        return type(job)(*parts) if hasattr(job, "_fields") else tuple(parts)
    return 0
