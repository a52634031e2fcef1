"""What two threads in compiled code tell each other: words in memory, read and written atomically.

A *board* is the address of a few words that belong to one worker; see ``kernels_crew``.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped, unused-ignore]
from numba import extending
from numba.core import cgutils, types

from qhq.engine.kernels.jit import inner

_extend: Any = extending
_types: Any = types
_codegen: Any = cgutils
# Any: Numba is typed in part.

WORD_BYTES = 8
_PAUSES = 16
"""Between two looks at a word, about half a microsecond: a look takes the line from the other core."""


def _word(builder: Any, board: Any, place: Any) -> Any:
    offset = builder.mul(place, ir.Constant(place.type, WORD_BYTES))
    return builder.inttoptr(builder.add(board, offset), ir.IntType(64).as_pointer())


def _peek(_typing: Any, board: Any, place: Any) -> Any:  # noqa: ARG001
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.load_atomic(_word(builder, *args), "acquire", WORD_BYTES)

    return _types.int64(_types.int64, _types.int64), generate


def _poke(_typing: Any, board: Any, place: Any, value: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        builder.store_atomic(args[2], _word(builder, *args[:2]), "release", WORD_BYTES)
        return context.get_dummy_value()

    return _types.void(_types.int64, _types.int64, _types.int64), generate


def _lay(_typing: Any, job: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        place = _codegen.alloca_once_value(builder, args[0])
        return builder.ptrtoint(place, ir.IntType(64))

    return _types.int64(job), generate


def _take(_typing: Any, address: Any, like: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], context.get_value_type(like).as_pointer())
        job = builder.load(pointer)
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


peek: Callable[[int, int], int] = _extend.intrinsic(_peek)
"""``peek(board, k)``: word ``k``, and with it all that its writer wrote before."""
poke: Callable[[int, int, int], None] = _extend.intrinsic(_poke)
"""``poke(board, k, value)``: word ``k``, after all that was written before."""
lay: Callable[[Any], int] = _extend.intrinsic(_lay)
"""``lay(job)``: address of a copy on the stack of the calling function, gone when that returns."""
take: Callable[[int, Any], Any] = _extend.intrinsic(_take)
"""``take(address, like)``: what was laid there, of the type of ``like``."""
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
def now(clock: int, board: int, place: int) -> int:
    """Nanoseconds on a clock of the system; the words ``place`` and ``place + 1`` are overwritten."""
    _clock_gettime(clock, board + WORD_BYTES * place)
    return peek(board, place) * 1_000_000_000 + peek(board, place + 1)
