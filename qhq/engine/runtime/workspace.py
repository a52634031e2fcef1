"""Workspaces: memory of the kernels, taken and given back, so that a training step allocates next to none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from threading import RLock
from typing import Any

import numpy as np
import numpy.typing as npt

from qhq.engine.compile.tape import Tape
from qhq.engine.kernels.interpreter import Buffers, Span
from qhq.engine.kernels.lanes import ROW_BYTES
from qhq.engine.program import Kind, Op
from qhq.memory import available_bytes, require_memory

KEPT_BYTES = 1 << 29
"""States of a forward pass are kept for the backward pass up to this size; beyond it they are made again."""
_IDLE_WORKSPACES = 4
_IDLE_BYTES = 1 << 28
"""A workspace larger than this is not kept for the next call."""


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
        key = (dtype, tiles, threads, keep)
        # A list, not a dictionary: there are a few at most, and two threads may need two of a kind.
        with self._lock:
            for k, workspace in enumerate(self._idle):
                if workspace.key == key:
                    return self._idle.pop(k)
        return self._build(key)

    def give_back(self, workspace: Workspace) -> None:
        """Keep a workspace for the next call, unless it is large or there are enough."""
        if workspace.size <= _IDLE_BYTES:
            with self._lock:
                self._idle.append(workspace)  # the oldest go first: a batch size that nobody uses any more
                del self._idle[:-_IDLE_WORKSPACES]

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
