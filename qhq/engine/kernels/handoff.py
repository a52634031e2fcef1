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
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped, unused-ignore]
from numba.core import cgutils, types

from qhq.engine.kernels.jit import inner, intrinsic

_types: Any = types
_codegen: Any = cgutils
# Any: Numba is typed in part.


class Word(IntEnum):
    """Words of a mailbox."""

    STATE = 0
    JOB = 1  # its address
    SPAN = 2  # its number
    CLOCK = 3  # which of the system's clocks to go by
    SPIN = 4  # nanoseconds to wait for an order
    TIME = 5  # this and the next word, a ``timespec`` of two 64-bit numbers, are overwritten by ``_now``


class State(IntEnum):
    """Who a worker belongs to, and what it does."""

    FREE = 0
    CLAIMED = 1  # by a caller, who orders soon
    ORDERED = 2  # at work
    FINISHED = 3  # and still the caller's
    RECALLED = 4  # wanted back in Python


MAILBOX_WORDS = 8
_WORD_BYTES = 8
# Between two looks at a word, half a microsecond: each look takes the cache line from the other core.
_PAUSES = 16
# For which a caller spins that has finished before its workers, about 200 us.
_LOOKS = 200


def _word(builder: Any, mailbox: Any, place: Any) -> Any:
    offset = builder.mul(place, ir.Constant(place.type, _WORD_BYTES))
    return builder.inttoptr(builder.add(mailbox, offset), ir.IntType(64).as_pointer())


# Intrinsics, since Numba has no atomic of a given order on an address.


@intrinsic
def read(_typing: Any, mailbox: Any, place: Any) -> Any:  # noqa: ARG001
    """``read(mailbox, k)``: word ``k``, and with it all that its writer wrote before."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.load_atomic(_word(builder, *args), "acquire", _WORD_BYTES)

    return _types.int64(_types.int64, _types.int64), generate


@intrinsic
def write(_typing: Any, mailbox: Any, place: Any, value: Any) -> Any:  # noqa: ARG001
    """``write(mailbox, k, value)``: word ``k``, after all that was written before."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        builder.store_atomic(args[2], _word(builder, *args[:2]), "release", _WORD_BYTES)
        return context.get_dummy_value()

    return _types.void(_types.int64, _types.int64, _types.int64), generate


@intrinsic
def address_of(_typing: Any, job: Any) -> Any:
    """``address_of(job)``: of a copy on the stack of the calling function, gone when that returns."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        place = _codegen.alloca_once_value(builder, args[0])
        return builder.ptrtoint(place, ir.IntType(64))

    return _types.int64(job), generate


@intrinsic
def _job_at(_typing: Any, address: Any, like: Any) -> Any:  # noqa: ARG001
    """``_job_at(address, like)``: what is stored there, of the type of ``like``."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], context.get_value_type(like).as_pointer())
        job = builder.load(pointer)
        # Numba releases what a function holds when it returns; what was borrowed here must be counted first.
        context.nrt.incref(builder, like, job)
        return job

    return like(_types.int64, like), generate


@intrinsic
def _pause(_typing: Any) -> Any:
    """``_pause()``: tell the processor that this is a spin; its other hardware thread gets the units."""

    def generate(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
        if platform.machine() in {"x86_64", "AMD64"}:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(_codegen.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return _types.void(), generate


# Of the C library, which every process has loaded: Python's ``time`` would need the interpreter lock.
_sched_yield: Any = _types.ExternalFunction("sched_yield", _types.int32())
_usleep: Any = _types.ExternalFunction("usleep", _types.int32(_types.int32))
_clock_gettime: Any = _types.ExternalFunction("clock_gettime", _types.int32(_types.int64, _types.int64))


@inner
def _relax() -> None:
    """Wait for a moment, and let others have the core if they want it: there may be only one."""
    for _ in range(_PAUSES):
        _pause()
    _sched_yield()


@inner
def _now(mailbox: int) -> Any:
    """Nanoseconds on the mailbox's clock."""
    _clock_gettime(read(mailbox, Word.CLOCK), mailbox + _WORD_BYTES * Word.TIME)
    return read(mailbox, Word.TIME) * 1_000_000_000 + read(mailbox, Word.TIME + 1)


@inner
def order(mailbox: int, address: int, span: int) -> None:
    """Have a claimed worker do a span of the job at ``address``."""
    write(mailbox, Word.JOB, address)
    write(mailbox, Word.SPAN, span)
    write(mailbox, Word.STATE, State.ORDERED)  # last: its release order publishes the two words before


@inner
def await_all(mailboxes: npt.NDArray[np.int64]) -> None:
    """Wait until no worker is at work: spinning at first, then asleep, so that a worker may have this core.

    Otherwise a worker that shares its core with another process would stay there while the caller burns one.
    """
    looks = 0
    # One after the other, not in rounds: the last to finish decides, whatever the order.
    for k in range(len(mailboxes)):
        while read(mailboxes[k], Word.STATE) == State.ORDERED:
            looks += 1
            if looks < _LOOKS:
                _relax()
            else:
                _usleep(20)  # leave the core to whoever has to share another one


@inner
def next_order(mailbox: int) -> bool:
    """Wait for an order; False if none came for so long that the worker should sleep."""
    limit = _now(mailbox) + read(mailbox, Word.SPIN)
    while True:
        state = read(mailbox, Word.STATE)
        if state == State.ORDERED:
            return True
        # A worker that is claimed never gives up: its caller would wait for it in vain.
        if state == State.RECALLED or (state == State.FREE and _now(mailbox) >= limit):
            return False
        _relax()


@inner
def ordered_job(mailbox: int, like: Any) -> Any:
    """The job that was ordered."""
    return _job_at(read(mailbox, Word.JOB), like)
