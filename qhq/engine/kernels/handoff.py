"""Handing parts of a job from the caller's thread to workers, neither of which needs Python for it.

The worker sits in ``serve`` and looks at its board; whoever has claimed the worker writes there. To wake a
halted core takes 100 us and more, so that a worker keeps looking for a while before it goes to sleep.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qhq.engine.kernels.jit import inner
from qhq.engine.kernels.signals import doze, now, peek, poke, relax, take

STATE, JOB, PART, CLOCK, PATIENCE, _TIME = range(6)
"""Words of a board: one of the states below; address and part of the job; the clock to use and how many of
its nanoseconds to look for an order; two words of ``now``."""
WORDS = 8
READY, CLAIMED, ORDERED, FINISHED, LEAVE = range(5)
"""Nobody's; somebody's, who will order soon; at work; done, and still somebody's; wanted back in Python."""

_LOOKS = 200
"""Of a caller that has ended before its workers, about 200 us."""


@inner
def order(board: int, address: int, part: int) -> None:
    """Have a claimed worker do a part of the job at ``address``."""
    poke(board, JOB, address)
    poke(board, PART, part)
    poke(board, STATE, ORDERED)


@inner
def await_all(boards: npt.NDArray[np.int64]) -> None:
    """Wait until no worker is at work: looking at first, then asleep, so that a worker may have this core.

    Else a worker that shares its core with another process would stay there while the caller burns one.
    """
    looks = 0
    for k in range(len(boards)):
        while peek(boards[k], STATE) == ORDERED:
            looks += 1
            if looks < _LOOKS:
                relax()
            else:
                doze()


@inner
def next_order(board: int) -> bool:
    """Wait for an order; False if none came for so long that the worker should sleep."""
    limit = now(peek(board, CLOCK), board, _TIME) + peek(board, PATIENCE)
    while True:
        state = peek(board, STATE)
        if state == ORDERED:
            return True
        if state == LEAVE or (state == READY and now(peek(board, CLOCK), board, _TIME) >= limit):
            return False
        relax()


@inner
def accept(board: int, like: Any) -> Any:
    """The job that was ordered."""
    return take(peek(board, JOB), like)
