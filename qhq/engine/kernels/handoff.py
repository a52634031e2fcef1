"""How a caller's thread hands spans of a job to workers without Python in between.

A *mailbox* is the address of a few words in memory that belong to one worker. The worker sits in compiled
code and spins on its mailbox; whoever has claimed the worker writes there. To wake a halted core takes 100 us
and more, longer than many jobs, so a worker spins for a while before it goes to sleep.

Words are read and written atomically, with acquire and release order: whoever sees ORDERED in a mailbox also
sees the job and the span that were written before it, and whoever sees FINISHED sees the worker's results.
Without that order a processor (ARM more than x86) or LLVM itself may move the writes past each other.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped, unused-ignore]
from numba import extending
from numba.core import cgutils, types

from qhq.engine.kernels.jit import inner

_extend: Any = extending
_types: Any = types
_codegen: Any = cgutils
# Any: Numba is typed in part.

STATE, JOB, SPAN, CLOCK, SPIN, _TIME = range(6)
"""Words of a mailbox: one of the states below; address of a job and number of its span; the system's clock to
use, and for how many of its nanoseconds to spin; two words that ``now`` writes to."""
WORDS = 8
FREE, CLAIMED, ORDERED, FINISHED, RECALLED = range(5)
"""States: nobody's; a caller's, who orders soon; at work; done, still the caller's; wanted back in Python."""

WORD_BYTES = 8
_PAUSES = 16
"""Between two looks at a word, half a microsecond: each look takes the cache line from the other core."""
_LOOKS = 200
"""For which a caller spins that has finished before its workers, about 200 us."""


def _word(builder: Any, mailbox: Any, place: Any) -> Any:
    offset = builder.mul(place, ir.Constant(place.type, WORD_BYTES))
    return builder.inttoptr(builder.add(mailbox, offset), ir.IntType(64).as_pointer())


def _read(_typing: Any, mailbox: Any, place: Any) -> Any:  # noqa: ARG001
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.load_atomic(_word(builder, *args), "acquire", WORD_BYTES)

    return _types.int64(_types.int64, _types.int64), generate


def _write(_typing: Any, mailbox: Any, place: Any, value: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        builder.store_atomic(args[2], _word(builder, *args[:2]), "release", WORD_BYTES)
        return context.get_dummy_value()

    return _types.void(_types.int64, _types.int64, _types.int64), generate


def _address(_typing: Any, job: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        place = _codegen.alloca_once_value(builder, args[0])
        return builder.ptrtoint(place, ir.IntType(64))

    return _types.int64(job), generate


def _job(_typing: Any, address: Any, like: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], context.get_value_type(like).as_pointer())
        job = builder.load(pointer)
        # Numba releases what a function holds when it returns; what was borrowed here must be counted first.
        context.nrt.incref(builder, like, job)
        return job

    return like(_types.int64, like), generate


def _pause(_typing: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
        if platform.machine() in {"x86_64", "AMD64"}:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(_codegen.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return _types.void(), generate


read: Callable[[int, int], int] = _extend.intrinsic(_read)
"""``read(mailbox, k)``: word ``k``, and with it all that its writer wrote before."""
write: Callable[[int, int, int], None] = _extend.intrinsic(_write)
"""``write(mailbox, k, value)``: word ``k``, after all that was written before."""
address_of: Callable[[Any], int] = _extend.intrinsic(_address)
"""``address_of(job)``: of a copy on the stack of the calling function, gone when that returns."""
job_at: Callable[[int, Any], Any] = _extend.intrinsic(_job)
"""``job_at(address, like)``: what is stored there, of the type of ``like``."""
_rest: Callable[[], None] = _extend.intrinsic(_pause)

_sched_yield: Any = _types.ExternalFunction("sched_yield", _types.int32())
_usleep: Any = _types.ExternalFunction("usleep", _types.int32(_types.int32))
_clock_gettime: Any = _types.ExternalFunction("clock_gettime", _types.int32(_types.int64, _types.int64))


@inner
def relax() -> None:
    """Wait for a moment, and let others have the core if they want it: there may be only one."""
    for _ in range(_PAUSES):
        _rest()
    _sched_yield()


@inner
def doze() -> None:
    """Leave the core for a moment, to whoever has to share another one."""
    _usleep(20)


@inner
def now(mailbox: int) -> int:
    """Nanoseconds on the mailbox's clock."""
    _clock_gettime(read(mailbox, CLOCK), mailbox + WORD_BYTES * _TIME)
    return read(mailbox, _TIME) * 1_000_000_000 + read(mailbox, _TIME + 1)


@inner
def order(mailbox: int, address: int, span: int) -> None:
    """Have a claimed worker do a span of the job at ``address``."""
    write(mailbox, JOB, address)
    write(mailbox, SPAN, span)
    write(mailbox, STATE, ORDERED)  # last: its release order publishes the two words before


@inner
def await_all(mailboxes: npt.NDArray[np.int64]) -> None:
    """Wait until no worker is at work: spinning at first, then asleep, so that a worker may have this core.

    Otherwise a worker that shares its core with another process would stay there while the caller burns one.
    """
    looks = 0
    for k in range(len(mailboxes)):
        while read(mailboxes[k], STATE) == ORDERED:
            looks += 1
            if looks < _LOOKS:
                relax()
            else:
                doze()


@inner
def next_order(mailbox: int) -> bool:
    """Wait for an order; False if none came for so long that the worker should sleep."""
    limit = now(mailbox) + read(mailbox, SPIN)
    while True:
        state = read(mailbox, STATE)
        if state == ORDERED:
            return True
        # A worker that is claimed never gives up: its caller would wait for it in vain.
        if state == RECALLED or (state == FREE and now(mailbox) >= limit):
            return False
        relax()


@inner
def ordered_job(mailbox: int, like: Any) -> Any:
    """The job that was ordered."""
    return job_at(read(mailbox, JOB), like)
