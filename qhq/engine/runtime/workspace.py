"""Memory of the kernels, taken and given back, so that a training step allocates nothing of size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from threading import RLock
from typing import Any

import numpy as np
import numpy.typing as npt

from qhq.engine.compile.tape import Tape
from qhq.engine.kernels.interpreter import Desks
from qhq.engine.kernels.lanes import ROW_BYTES
from qhq.engine.program import PHASE_SHARED, TURNS
from qhq.memory import available_bytes, require_memory

KEPT_BYTES = 1 << 29
"""States of a forward pass are kept for the backward pass up to this size; beyond it they are made again."""
_IDLE_ROOMS = 4
_IDLE_BYTES = 1 << 28
"""A room larger than this is not kept for the next call."""


def check_width(qubits: int) -> None:
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
class Room:
    """Desks of all threads for one batch size.

    Attributes:
        key: What makes two rooms exchangeable.
        desks: What the kernels work in.
        forward_spans: Span of each thread.
        backward_spans: The same for the way back.
        size: Bytes.
    """

    key: tuple[Any, ...]
    desks: Desks
    forward_spans: npt.NDArray[np.int64]
    backward_spans: npt.NDArray[np.int64]
    size: int


class Rooms:
    """All rooms of one engine that nobody uses now."""

    def __init__(self, tape: Tape) -> None:
        program = tape.program
        self._qubits, self._tables = program.layout.bits, program.layout.tables
        self._slots, self._angles = len(program.readout.starts) - 1, len(program.angles.constant)
        self._idle: list[Room] = []
        self._lock = RLock()  # a residual may be collected, and give its room back, while we build one
        ops = program.layout.ops
        kinds = ops[:, 0]
        turns = int(ops[kinds == TURNS, 1].sum())
        self.row_operations = (2 << self._qubits) * (turns + int((kinds == PHASE_SHARED).sum()) + 4)
        """Row operations of one tile, roughly."""

    def take(self, dtype: np.dtype[Any], batch: int, parts: int, keep: bool) -> Room:
        """A room for a batch on ``parts`` threads; ``keep`` asks for a state a tile, not one a thread."""
        tiles = math.ceil(batch / (ROW_BYTES // dtype.itemsize))
        keep = keep and tiles * self._state_rows * ROW_BYTES <= KEPT_BYTES
        if parts > 1 and self._bytes(dtype, tiles, parts, keep) > _IDLE_BYTES:
            # Each thread has states of its own: fewer threads rather than none at all.
            share = self._bytes(dtype, tiles, parts, keep) // parts
            parts = max(1, min(parts, available_bytes() // (2 * share)))
        key = (dtype, tiles, parts, keep)
        with self._lock:
            for k, room in enumerate(self._idle):
                if room.key == key:
                    return self._idle.pop(k)
        return self._build(key)

    def give_back(self, room: Room) -> None:
        """Keep a room for the next call, unless it is large or there are enough."""
        if room.size <= _IDLE_BYTES:
            with self._lock:
                self._idle = [*self._idle[1 - _IDLE_ROOMS :], room]

    @property
    def _state_rows(self) -> int:
        return 2 << self._qubits

    def _bytes(self, dtype: np.dtype[Any], tiles: int, parts: int, keep: bool) -> int:
        """What ``_build`` takes."""
        own = (tiles if keep else parts) * self._state_rows + parts * (2 * self._state_rows + self._slots)
        angles = 2 * self._angles * (tiles + 1 + parts)
        return (own + angles) * ROW_BYTES + self._tables * self._state_rows * int(dtype.itemsize)

    def _build(self, key: tuple[Any, ...]) -> Room:
        dtype, tiles, parts, keep = key
        require_memory(
            self._bytes(dtype, tiles, parts, keep),
            f"The exact engine's batch of states of {self._qubits} qubits",
            fix="Use fewer qubits or a smaller batch",
        )
        trig = _rows(dtype, 2 * self._angles * (tiles + 1))
        tables = _rows(dtype, math.ceil(self._tables * self._state_rows * dtype.itemsize / ROW_BYTES))
        own = 1 if keep else parts
        states = _rows(dtype, self._state_rows * (tiles if keep else parts)).reshape(own, -1)
        work_rows = 2 * self._state_rows + 2 * self._angles + self._slots
        work = _rows(dtype, work_rows * parts).reshape(parts, -1)
        edges = [tiles * k // parts for k in range(parts + 1)]
        return Room(
            key,
            Desks(states, trig, tables, work, self._angles),
            np.array([[edges[k], edges[k + 1], keep, 1, 0] for k in range(parts)]),
            np.array([[edges[k], edges[k + 1], keep, 0, 1] for k in range(parts)]),
            work.nbytes + states.nbytes + tables.nbytes,
        )


def _rows(dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
    """Uninitialised rows whose first lies at a multiple of the row size."""
    width = ROW_BYTES // dtype.itemsize
    memory = np.empty((count + 1) * width, dtype)
    skip = -(memory.ctypes.data // dtype.itemsize) % width
    return memory[skip : skip + count * width]
