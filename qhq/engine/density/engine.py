"""The noisy engine as an object: expectations under noise, with gradients by adjoint differentiation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from qhq.engine.compile.angles import AngleMap, ChainedAngles
from qhq.engine.density.compile import Channels, CompiledSweep, build_sweep, cut_at_inputs, transfer_steps
from qhq.engine.density.kernels import SCRATCH_ROWS, Work, sweep_back, sweep_forward
from qhq.engine.kernels.jit import announced
from qhq.engine.kernels.lanes import ROW_BYTES
from qhq.engine.runtime.jobs import aligned_rows
from qhq.errors import BackendError
from qhq.limits import require_memory

Reals = npt.NDArray[Any]

# A vector of 16 lanes takes 16 MB then; at 10 qubits the vectors of a way back take some gigabytes.
MOST_NOISY_QUBITS = 9
"""Widest circuit that is held as a density matrix."""

# Vectors of a forward pass are kept for the backward pass up to this size; beyond it they are made again.
_KEPT_BYTES = 1 << 29


@dataclass
class _Tile:
    """One tile of samples, or of observables, and its sweep.

    Attributes:
        work: What the kernels work in.
        vectors: All vectors of the sweep if ``kept``, else the last alone, a vector a row (4^n * T).
        kept: Whether there is a way back from here.
    """

    work: Work
    vectors: Reals
    kept: bool

    def last(self, lanes: int) -> Reals:
        """The last vector, shape (4^n, T)."""
        shown: Reals = self.vectors[-1].reshape(-1, lanes)
        return shown


class _Side:
    """One of the two sweeps, in one precision, with the tiles that nobody uses now."""

    # Not of the module, whose names are gone when the last residuals are collected as the interpreter ends.
    most_idle, most_idle_bytes = 8, _KEPT_BYTES

    def __init__(self, compiled: CompiledSweep, dtype: np.dtype[Any], *, columns: int | None = None) -> None:
        # Few columns take half a row each, which is half the work: arrays of two dimensions have such rows.
        halved = columns is not None and columns <= ROW_BYTES // 2 // dtype.itemsize
        self._row_bytes = ROW_BYTES // 2 if halved else ROW_BYTES
        self._shape: tuple[int, ...] = (1, -1) if halved else (-1,)
        self.lanes = self._row_bytes // dtype.itemsize
        sweep = compiled.sweep
        self.sweep = sweep._replace(
            values=sweep.values.astype(dtype).reshape(self._shape),
            fixed=sweep.fixed.astype(dtype).reshape(self._shape),
        )
        self.angles, self._signs, self._dtype = compiled.angles, compiled.signs, dtype
        self._idle: list[_Tile] = []
        # Reentrant: a residual may be collected, and give its tiles back, while this thread takes one.
        self._lock = RLock()

    @property
    def kept_bytes(self) -> int:
        """What all vectors of one tile take."""
        return (1 + len(self.sweep.blocks)) * self._row_bytes << 2 * self.sweep.qubits

    def run(self, angles: Reals, *, keep: bool, start: Reals | None = None) -> _Tile:
        """Sweep one tile.

        Args:
            angles: All angles of the circuit, shape (rows, A), one row a lane, or one for all lanes.
            keep: Whether all vectors are kept.
            start: First vector (4^n, columns <= T); None where it is a product.
        """
        tile = self._take(keep)
        turns = angles[:, self.angles] * self._signs
        trig = tile.work.trig.reshape(-1, 2, self.lanes)
        # Lanes beyond the batch repeat the last one: any finite number, whose cotangent is zero.
        trig[:, 0, : len(turns)], trig[:, 1, : len(turns)] = np.cos(turns).T, np.sin(turns).T
        trig[:, :, len(turns) :] = trig[:, :, len(turns) - 1 : len(turns)]
        if start is not None:
            first = tile.vectors[0].reshape(-1, self.lanes)
            first[:, : start.shape[1]], first[:, start.shape[1] :] = start, 0
        self._forward(tile)
        return tile

    def slopes(self, tile: _Tile, pull: Reals, start: Reals | None = None) -> Reals:
        """Gradients (T, turns) of the angles, in their order here, from one of the last vector, used up."""
        # All vectors were too many to keep: one tile is swept again with them, used, and given to the next.
        if not tile.kept:
            again = self._take(True)
            again.work.trig[:] = tile.work.trig
            if start is not None:
                first = again.vectors[0].reshape(-1, self.lanes)
                first[:, : start.shape[1]], first[:, start.shape[1] :] = start, 0
            self._forward(again)
            try:
                return self.slopes(again, pull)
            finally:
                self.give_back(again)
        _call(sweep_back, self.sweep, tile.work, tile.vectors.reshape(self._shape), pull)
        slopes: Reals = tile.work.slopes.reshape(-1, self.lanes).T * self._signs
        return slopes

    def give_back(self, tile: _Tile) -> None:
        """Keep a tile for the next call, unless it is large or there are enough."""
        if tile.vectors.nbytes <= self.most_idle_bytes:
            with self._lock:
                self._idle.append(tile)
                del self._idle[: -self.most_idle]

    def _forward(self, tile: _Tile) -> None:
        _call(sweep_forward, self.sweep, tile.work, tile.vectors.reshape(self._shape), int(tile.kept))

    def rows(self, count: int) -> Reals:
        """Uninitialised rows of this side's width."""
        full = aligned_rows(self._dtype, -(-count * self._row_bytes // ROW_BYTES))
        made: Reals = full[: count * self.lanes].reshape(self._shape)
        return made

    def _take(self, keep: bool) -> _Tile:
        with self._lock:
            for k, tile in enumerate(self._idle):
                if tile.kept == keep:
                    return self._idle.pop(k)
        size = 1 << 2 * self.sweep.qubits
        slots = 1 + len(self.sweep.blocks) if keep else 1
        require_memory(
            slots * size * self._row_bytes,
            f"The noisy engine's vectors of {self.sweep.qubits} qubits",
            fix="Use fewer qubits, or gradient: parameter_shift in backends.yaml to train on Aer",
        )
        runs, factors = len(self.sweep.runs) - 1, len(self.sweep.turns)
        counts = (2 * len(self.angles), 16 * runs, 16 * factors, 16 * runs, len(self.angles), SCRATCH_ROWS)
        work = Work(*map(self.rows, counts))
        return _Tile(work, self.rows(slots * size).reshape(slots, -1), keep)


@dataclass
class DensityResidual:
    """What ``forward`` leaves for ``backward``; its arguments must not be changed in between.

    Attributes:
        inputs: Shape (B, I).
        weights: Shape (W,).
        sides: The samples' sweep, and the observables'.
        tiles: Tiles of each.
    """

    inputs: Reals
    weights: Reals
    sides: tuple[_Side, _Side] = field(repr=False)
    tiles: tuple[list[_Tile], list[_Tile]] = field(repr=False)

    def __del__(self) -> None:
        for side, tiles in zip(self.sides, self.tiles, strict=True):
            for tile in tiles:
                side.give_back(tile)


class DensityEngine:
    """Exact expectations ``E[b, o] = sum_P observables[o, P] <P>`` of a circuit whose gates have channels.

    The precision follows the inputs: float32 in single, all others in double precision. It runs on the
    caller's thread; calls from several threads do not disturb each other. See ``density.kernels`` for how.

    Args:
        circuit: Gates of at most two qubits, on n qubits in Qiskit's order.
        channels: Pauli transfer matrix that follows a gate, by its name and qubits.
        observables: Coefficients (O, 4^n) of the Pauli strings ``P = sum_q p_q 4^q``, digits I, X, Y, Z.
        parameters: Parameters of the circuit, in the order of the angles of ``angle_map``.
        angle_map: What they are of ``inputs`` (B, I) and ``weights`` (W,).

    Raises:
        ConfigError: If a gate is too wide, or an angle is not real.
        BackendError: If there are more than ``MOST_NOISY_QUBITS`` qubits.
    """

    def __init__(
        self,
        circuit: QuantumCircuit,
        channels: Channels,
        observables: Reals,
        parameters: Sequence[Parameter],
        angle_map: AngleMap,
    ) -> None:
        if circuit.num_qubits > MOST_NOISY_QUBITS:
            raise BackendError(
                f"The noisy engine holds density matrices of at most {MOST_NOISY_QUBITS} qubits",
                got=f"{circuit.num_qubits} physical qubits in use",
                fix="Set gradient: parameter_shift or spsa in backends.yaml, or use fewer qubits",
            )
        steps, expressions = transfer_steps(circuit, channels)
        self._angles = ChainedAngles(angle_map, AngleMap(expressions, parameters, ()))
        sampled = self._angles.sampled
        first, last = cut_at_inputs(steps, lambda angle: bool(sampled[angle]))
        # A block has two qubits: a circuit on one gets a second that nothing happens to.
        self.qubits = max(2, int(circuit.num_qubits))
        compiled = (
            build_sweep(first, self.qubits, from_zero=True),
            build_sweep([step.transposed() for step in reversed(last)], self.qubits, from_zero=False),
        )
        columns = np.zeros((4**self.qubits, len(observables)))
        columns[: observables.shape[1]] = observables.T
        self.num_outputs = len(observables)
        self._sides: dict[np.dtype[Any], tuple[_Side, _Side]] = {}
        self._starts: dict[np.dtype[Any], list[Reals]] = {}
        for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
            front, back = _Side(compiled[0], dtype), _Side(compiled[1], dtype, columns=self.num_outputs)
            self._sides[dtype] = (front, back)
            self._starts[dtype] = [
                columns[:, k : k + back.lanes].astype(dtype) for k in range(0, self.num_outputs, back.lanes)
            ]

    def expectations(self, inputs: npt.ArrayLike, weights: npt.ArrayLike) -> Reals:
        """Expectations (B, O) of ``inputs`` (B, I) and ``weights`` (W,)."""
        return self._forward(inputs, weights, keep=False)[0]

    def forward(self, inputs: npt.ArrayLike, weights: npt.ArrayLike) -> tuple[Reals, DensityResidual]:
        """``expectations``, and what ``backward`` goes on from."""
        return self._forward(inputs, weights, keep=True)

    def vjp(
        self, inputs: npt.ArrayLike, weights: npt.ArrayLike, cotangent: npt.ArrayLike
    ) -> tuple[Reals, Reals]:
        """``backward`` of a fresh ``forward``."""
        return self.backward(self._forward(inputs, weights, keep=True)[1], cotangent)

    def backward(self, residual: DensityResidual, cotangent: npt.ArrayLike) -> tuple[Reals, Reals]:
        """Vector-Jacobian product of a forward pass, which may be gone back from more than once.

        Args:
            residual: From ``forward``.
            cotangent: ``dL/dE``, shape (B, O).

        Returns:
            ``dL/dinputs`` (B, I) and ``dL/dweights`` (W,).
        """
        inputs, (front, back), (states, pulled) = residual.inputs, residual.sides, residual.tiles
        dtype, batch, lanes, width = inputs.dtype, len(inputs), front.lanes, back.lanes
        slopes = np.zeros((batch, self._angles.count))  # float64 in any case: many small numbers are added up
        padded = np.zeros((len(states) * lanes, len(self._starts[dtype]) * width), dtype)
        padded[:batch, : self.num_outputs] = cotangent
        ends = [tile.last(lanes) for tile in states], [tile.last(width) for tile in pulled]
        for k, tile in enumerate(states):
            rows = slice(k * lanes, (k + 1) * lanes)
            found = front.slopes(tile, _pull(front, ends[1], padded[rows].T))
            slopes[rows, front.angles] += found[: batch - k * lanes]
        for k, tile in enumerate(pulled if batch else []):
            pull = _pull(back, ends[0], padded[:, k * width : (k + 1) * width])
            found = back.slopes(tile, pull, self._starts[dtype][k])
            # An angle that the batch shares may have its whole gradient laid on the first sample.
            slopes[0, back.angles] += found.sum(axis=0, dtype=np.float64)
        dinputs, dweights = self._angles.pullback(inputs, residual.weights, slopes)
        return dinputs.astype(dtype), dweights.astype(dtype)

    def _forward(
        self, inputs: npt.ArrayLike, weights: npt.ArrayLike, *, keep: bool
    ) -> tuple[Reals, DensityResidual]:
        given = np.asarray(inputs)
        dtype = np.dtype(np.float32 if given.dtype == np.float32 else np.float64)
        given, shared = given.astype(dtype, copy=False), np.asarray(weights).astype(dtype, copy=False)
        front, back = self._sides[dtype]
        lanes, width, batch, starts = front.lanes, back.lanes, len(given), self._starts[dtype]
        tiles = -(-batch // lanes)
        # Each side by itself: where all inputs enter first, the samples' sweep has no block to keep.
        keep_front = keep and tiles * front.kept_bytes <= _KEPT_BYTES
        keep_back = keep and len(starts) * back.kept_bytes <= _KEPT_BYTES
        angles = self._angles(given, shared)
        states = [front.run(angles[k * lanes : (k + 1) * lanes], keep=keep_front) for k in range(tiles)]
        pulled = [back.run(angles[:1], keep=keep_back, start=start) for start in (starts if batch else [])]
        values = np.empty((batch, self.num_outputs), dtype)
        for i, state in enumerate(states):
            for j, vector in enumerate(pulled):
                part = values[i * lanes : (i + 1) * lanes, j * width : (j + 1) * width]
                part[:] = (state.last(lanes).T @ vector.last(width))[: part.shape[0], : part.shape[1]]
        return values, DensityResidual(given, shared, (front, back), (states, pulled))


# Kernel, precision and width of rows -> the machine code, without Numba's look at the types of each call.
_entries: dict[tuple[Any, ...], Callable[..., None]] = {}


def _call(kernel: Any, *arguments: Any) -> None:
    """Run a kernel, and tell if it has to be compiled first."""
    key = (kernel, arguments[2].dtype, arguments[2].ndim)
    if key in _entries:
        _entries[key](*arguments)
        return
    with announced("noisy"):
        kernel(*arguments)
    made = kernel.overloads.get(tuple(map(numba.typeof, arguments)))
    _entries[key] = getattr(made, "entry_point", kernel)


def _pull(side: _Side, ends: Sequence[Reals], weights: Reals) -> Reals:
    """``sum_i ends[i] @ weights[i T : (i + 1) T]``: what the ends of one side pull on a tile of the other."""
    total = side.rows(len(ends[0]))  # aligned, since the kernel goes on with it in place
    shown = total.reshape(-1, side.lanes)
    for i, end in enumerate(ends):
        part = weights[i * end.shape[1] : (i + 1) * end.shape[1]]
        if i == 0:
            np.matmul(end, part, out=shown)
        else:
            shown += end @ part
    return total
