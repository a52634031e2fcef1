"""The exact engine as an object: batched expectations and their gradients by adjoint differentiation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp

from qhq.engine.program import Program, cast
from qhq.engine.room import Room, Rooms, check_width
from qhq.engine.tape import Tape, build_tape
from qhq.engine.threads import bounded_threads, run_parts
from qhq.errors import ConfigError

Reals = npt.NDArray[Any]

_ROWS_PER_THREAD = 1 << 15
"""Row operations below which a second thread costs more than it saves (about 30 us forwards)."""


@dataclass
class Residual:
    """What ``forward`` leaves for ``backward``; its arguments must not be changed in between."""

    data: tuple[Reals, Reals]
    inputs: Reals
    weights: Reals
    room: Room | None = field(repr=False)
    rooms: Rooms = field(repr=False)

    def release(self) -> None:
        """Give the room back."""
        room, self.room = self.room, None
        if room is not None:
            self.rooms.give_back(room)

    def __del__(self) -> None:
        self.release()  # of a forward pass that nobody went back from


class StatevectorEngine:
    """Exact expectations ``E[b, o] = <psi(inputs[b], weights)| observables[o] |psi(inputs[b], weights)>``.

    The precision follows the inputs: float32 is computed in complex64, everything else in complex128. Calls
    from several Python threads do not disturb each other. See ``kernels`` for how it is done.

    Args:
        circuit: Unitary circuit on n qubits, Qiskit's qubit order.
        observables: Hermitian Pauli sums on n qubits, O in all.
        inputs: The parameters that differ by sample, I in all.
        weights: The parameters that the batch shares, W in all.
        threads: Most threads to use; by default ``OMP_NUM_THREADS``, else all cores of the process.

    Raises:
        ConfigError: If the circuit is not unitary, a parameter has no place, or an observable does not fit.
    """

    def __init__(
        self,
        circuit: QuantumCircuit,
        observables: Sequence[SparsePauliOp],
        inputs: Sequence[Parameter],
        weights: Sequence[Parameter],
        *,
        threads: int | None = None,
    ) -> None:
        self._recipe = (circuit, list(observables), list(inputs), list(weights), threads)
        check_width(int(circuit.num_qubits))
        self.tape: Tape = build_tape(circuit, observables, inputs, weights)
        self.threads = bounded_threads(threads)
        self.num_inputs, self.num_weights = len(inputs), len(weights)
        self._programs: dict[np.dtype[Any], Program] = {
            np.dtype(kind): cast(self.tape.program, kind) for kind in (np.float32, np.float64)
        }
        self._nothing = {kind: (np.empty((0, 0), kind), np.empty((0, 0), kind)) for kind in self._programs}
        self._rooms = Rooms(self.tape)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are built anew: memory and compiled code belong to a process."""
        return _rebuild, self._recipe

    def expectations(self, inputs: npt.ArrayLike, weights: npt.ArrayLike) -> Reals:
        """Expectations (B, O) of ``inputs`` (B, I) and ``weights`` (W,)."""
        values, residual = self._forward(inputs, weights, keep=False)
        residual.release()
        return values

    def forward(self, inputs: npt.ArrayLike, weights: npt.ArrayLike) -> tuple[Reals, Residual]:
        """``expectations``, and what ``backward`` needs to go on from there."""
        return self._forward(inputs, weights, keep=True)

    def backward(self, residual: Residual, cotangent: npt.ArrayLike) -> tuple[Reals, Reals]:
        """Vector-Jacobian product of a forward pass, in one sweep for all observables.

        Args:
            residual: From ``forward``. A second call with it makes the states again.
            cotangent: ``dL/dE``, shape (B, O).

        Returns:
            ``dL/dinputs`` (B, I) and ``dL/dweights`` (W,).
        """
        if residual.room is None:
            _, again = self._forward(residual.inputs, residual.weights, keep=True)
            residual.room, again.room = again.room, None
        try:
            return self._backward(residual, cotangent)
        finally:
            residual.release()

    def vjp(
        self, inputs: npt.ArrayLike, weights: npt.ArrayLike, cotangent: npt.ArrayLike
    ) -> tuple[Reals, Reals]:
        """``backward`` of a fresh ``forward``: ``dL/dinputs`` (B, I) and ``dL/dweights`` (W,)."""
        return self.backward(self._forward(inputs, weights, keep=True)[1], cotangent)

    def _forward(
        self, inputs: npt.ArrayLike, weights: npt.ArrayLike, *, keep: bool
    ) -> tuple[Reals, Residual]:
        inputs = plain(inputs)
        weights = plain(weights, inputs.dtype)
        _check_shapes(inputs, weights, self)
        data = self._variables(inputs, weights)
        values = np.empty((len(inputs), self.tape.num_observables), inputs.dtype)
        room = self._rooms.take(inputs.dtype, len(inputs), self._parts(len(inputs), inputs.dtype), keep)
        program, results = self._programs[inputs.dtype], (values, *self._nothing[inputs.dtype])
        run_parts((program, data, room.desks, results, room.forward_spans))
        return values, Residual(data, inputs, weights, room, self._rooms)

    def _backward(self, residual: Residual, cotangent: npt.ArrayLike) -> tuple[Reals, Reals]:
        room, data = residual.room, residual.data
        assert room is not None
        cotangent = plain(cotangent, data[0].dtype)
        _check_cotangent(cotangent, (len(data[0]), self.tape.num_observables))
        program = self._programs[data[0].dtype]
        dvalues = np.empty(data[0].shape, data[0].dtype)
        dweights = np.empty((len(room.backward_spans), len(data[1])), data[0].dtype)
        run_parts((program, data, room.desks, (cotangent, dvalues, dweights), room.backward_spans))
        shared = dweights[0] if len(dweights) == 1 else dweights.sum(axis=0)
        return self._pullback(residual, dvalues, shared)

    def _parts(self, batch: int, dtype: np.dtype[Any]) -> int:
        """Threads that pay for a batch of this size."""
        tiles = -(-batch * dtype.itemsize // 64)
        return max(1, min(self.threads, tiles, tiles * self._rooms.row_operations // _ROWS_PER_THREAD))

    def _variables(self, inputs: Reals, weights: Reals) -> tuple[Reals, Reals]:
        """Inputs and weights, each followed by the angles that are not affine."""
        tape = self.tape
        if not tape.angle_map.curved:
            return inputs, weights
        curved = tape.angle_map.curved_angles(inputs, weights).astype(inputs.dtype)
        shared = curved[:1, list(tape.curved_shared)].sum(axis=0)
        sampled = np.hstack([inputs, curved[:, list(tape.curved_sampled)]])
        # Of one column and a picked one NumPy makes a Fortran array; the kernels know C order alone.
        return np.ascontiguousarray(sampled), np.concatenate([weights, shared])

    def _pullback(self, residual: Residual, dvalues: Reals, dshared: Reals) -> tuple[Reals, Reals]:
        """The reverse of ``_variables``."""
        tape, count = self.tape, self.num_inputs
        if not tape.angle_map.curved:
            return dvalues, dshared
        dcurved = np.zeros((len(dvalues), len(tape.angle_map.curved)))
        dcurved[:, list(tape.curved_sampled)] = dvalues[:, count:]
        # A shared angle is the same in each sample, so its whole gradient may be laid on the first.
        dcurved[:1, list(tape.curved_shared)] = dshared[self.num_weights :]
        dinputs, dweights = tape.angle_map.curved_pullback(residual.inputs, residual.weights, dcurved)
        dtype = dvalues.dtype
        return (
            (dvalues[:, :count] + dinputs).astype(dtype),
            (dshared[: self.num_weights] + dweights).astype(dtype),
        )


def _rebuild(
    circuit: QuantumCircuit,
    observables: list[SparsePauliOp],
    inputs: list[Parameter],
    weights: list[Parameter],
    threads: int | None,
) -> StatevectorEngine:
    return StatevectorEngine(circuit, observables, inputs, weights, threads=threads)


def _check_shapes(inputs: Reals, weights: Reals, engine: StatevectorEngine) -> None:
    if inputs.ndim != 2 or inputs.shape[1] != engine.num_inputs:
        raise ConfigError(
            f"Inputs must have the shape (B, {engine.num_inputs})",
            got=f"{inputs.shape}",
            fix="Give one row a sample and one column an input parameter",
        )
    if weights.shape != (engine.num_weights,):
        raise ConfigError(
            f"Weights must have the shape ({engine.num_weights},)",
            got=f"{weights.shape}",
            fix="Give one number a weight parameter",
        )


def _check_cotangent(cotangent: Reals, shape: tuple[int, int]) -> None:
    if cotangent.shape != shape:
        raise ConfigError(
            f"The cotangent must have the shape {shape}",
            got=f"{cotangent.shape}",
            fix="Give one number a sample and observable",
        )


def plain(values: npt.ArrayLike, dtype: np.dtype[Any] | None = None) -> Reals:
    """The one array layout that the kernels are compiled for: contiguous, writeable, float32 or float64."""
    array = np.asarray(values)
    if dtype is None:
        dtype = array.dtype if array.dtype == np.float32 else np.dtype(np.float64)
    if array.dtype == dtype and array.flags.carray:
        return array
    return np.array(array, dtype, order="C")
