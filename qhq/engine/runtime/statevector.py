"""The exact engine as objects: expectations with gradients by adjoint differentiation, and final states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp

from qhq.engine.compile.deferred import count_resets, defer_resets
from qhq.engine.compile.fusion import Frame
from qhq.engine.compile.lowering import lower
from qhq.engine.compile.tape import Tape, build_tape
from qhq.engine.kernels.interpreter import Job
from qhq.engine.kernels.lanes import ROW_BYTES
from qhq.engine.program import Program, cast
from qhq.engine.runtime.jobs import (
    KEPT_BYTES,
    Workspace,
    Workspaces,
    bounded_threads,
    check_fits_memory,
    run_job,
)
from qhq.errors import ConfigError

Reals = npt.NDArray[Any]

States = npt.NDArray[Any]
"""Complex amplitudes (B, 2^n), Qiskit's order of basis states: qubit 0 is the lowest bit."""

# Row operations below which a second thread costs more than it saves (about 30 us forwards).
_ROWS_PER_THREAD = 1 << 15


@dataclass
class Residual:
    """What ``forward`` leaves for ``backward``; its arguments must not be changed in between."""

    variables: tuple[Reals, Reals]
    inputs: Reals
    weights: Reals
    workspace: Workspace | None = field(repr=False)
    workspaces: Workspaces = field(repr=False)

    def release(self) -> None:
        """Give the workspace back."""
        workspace, self.workspace = self.workspace, None
        if workspace is not None:
            self.workspaces.give_back(workspace)

    def __del__(self) -> None:
        self.release()  # of a forward pass that nobody went back from, as in a validation without no_grad


class StatevectorEngine:
    """Exact expectations ``E[b, o] = <psi(inputs[b], weights)| observables[o] |psi(inputs[b], weights)>``.

    The precision follows the inputs: float32 is computed in complex64, everything else in complex128. Calls
    from several Python threads do not disturb each other. See ``kernels.interpreter`` for how it is done.

    Args:
        circuit: Circuit on n qubits, Qiskit's qubit order. Each reset takes a qubit more, and so does
            each result of a measurement that a branch reads.
        observables: Hermitian Pauli sums on n qubits, O in all.
        inputs: The parameters that differ by sample, I in all.
        weights: The parameters that the batch shares, W in all.
        threads: Most threads to use; by default ``OMP_NUM_THREADS``, else all cores of the process.

    Raises:
        ConfigError: If the circuit cannot be lowered, a parameter has no place, or an observable is too
            wide.
        BackendError: If no memory holds it.
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
        self._recipe = (circuit, list(observables), list(inputs), list(weights))
        self._asked_threads = threads
        check_fits_memory(int(circuit.num_qubits))
        unitary, placed = defer_resets(lower(circuit), observables)
        check_fits_memory(int(unitary.num_qubits))
        self.tape: Tape = build_tape(unitary, placed, inputs, weights)
        self.threads = bounded_threads(threads)
        self.num_inputs, self.num_weights = len(inputs), len(weights)
        # The program in each precision, and an empty array for the gradients that a forward pass leaves out.
        self._programs: dict[np.dtype[Any], tuple[Program, Reals]] = {
            np.dtype(kind): (cast(self.tape.program, kind), np.empty((0, 0), kind))
            for kind in (np.float32, np.float64)
        }
        self._workspaces = Workspaces(self.tape)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are built anew: memory and compiled code belong to a process."""
        return partial(StatevectorEngine, threads=self._asked_threads), self._recipe

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
        if residual.workspace is None:  # used up: autograd with retain_graph comes back a second time
            _, again = self._forward(residual.inputs, residual.weights, keep=True)
            residual.workspace, again.workspace = again.workspace, None
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
        inputs = _plain(inputs)
        weights = _plain(weights, inputs.dtype)
        if inputs.ndim != 2 or inputs.shape[1] != self.num_inputs:
            fix = "Give one row a sample and one column an input parameter"
            raise _shape_error("Inputs", f"(B, {self.num_inputs})", inputs, fix)
        if weights.shape != (self.num_weights,):
            raise _shape_error(
                "Weights", f"({self.num_weights},)", weights, "Give one number a weight parameter"
            )
        dtype, variables = inputs.dtype, self._variables(inputs, weights)
        values = np.empty((len(inputs), self.tape.num_observables), dtype)
        workspace = self._workspaces.take(dtype, len(inputs), self._threads_for(len(inputs), dtype), keep)
        program, nothing = self._programs[dtype]
        spans = workspace.forward_spans
        run_job(Job(program, *variables, workspace.buffers, values, nothing, nothing, spans))
        return values, Residual(variables, inputs, weights, workspace, self._workspaces)

    def _backward(self, residual: Residual, cotangent: npt.ArrayLike) -> tuple[Reals, Reals]:
        workspace, variables = residual.workspace, residual.variables
        assert workspace is not None
        inputs, weights = variables
        dtype = inputs.dtype
        cotangent = _plain(cotangent, dtype)
        if cotangent.shape != (len(inputs), self.tape.num_observables):
            wanted = f"({len(inputs)}, {self.tape.num_observables})"
            raise _shape_error("The cotangent", wanted, cotangent, "Give one number a sample and observable")
        spans = workspace.backward_spans
        dinputs = np.empty(inputs.shape, dtype)
        dweights = np.empty((len(spans), len(weights)), dtype)
        program, _ = self._programs[dtype]
        run_job(Job(program, inputs, weights, workspace.buffers, cotangent, dinputs, dweights, spans))
        shared = dweights[0] if len(dweights) == 1 else dweights.sum(axis=0)
        return self._pullback(residual, dinputs, shared)

    def _threads_for(self, batch: int, dtype: np.dtype[Any]) -> int:
        """Threads that pay for a batch of this size."""
        tiles = -(-batch * dtype.itemsize // ROW_BYTES)
        return max(1, min(self.threads, tiles, tiles * self._workspaces.row_operations // _ROWS_PER_THREAD))

    def _variables(self, inputs: Reals, weights: Reals) -> tuple[Reals, Reals]:
        """Inputs and weights, each followed by the angles that are not affine."""
        tape = self.tape
        if not tape.angle_map.curved:
            return inputs, weights
        # Worked out in double precision: near the end of its domain arcsin would lose half of the digits.
        curved = tape.angle_map.curved_angles(inputs, weights).astype(inputs.dtype)
        shared = curved[:1, list(tape.curved_shared)].sum(axis=0)
        sampled = np.hstack([inputs, curved[:, list(tape.curved_sampled)]])
        # Of one column and a picked one NumPy makes a Fortran array; the kernels know C order alone.
        return np.ascontiguousarray(sampled), np.concatenate([weights, shared])

    def _pullback(self, residual: Residual, dvariables: Reals, dshared: Reals) -> tuple[Reals, Reals]:
        """The reverse of ``_variables``."""
        tape, count = self.tape, self.num_inputs
        if not tape.angle_map.curved:
            return dvariables, dshared
        dcurved = np.zeros((len(dvariables), len(tape.angle_map.curved)))
        dcurved[:, list(tape.curved_sampled)] = dvariables[:, count:]
        # A shared angle is the same in each sample, so its whole gradient may be laid on the first.
        dcurved[:1, list(tape.curved_shared)] = dshared[self.num_weights :]
        dinputs, dweights = tape.angle_map.curved_pullback(residual.inputs, residual.weights, dcurved)
        dtype = dvariables.dtype
        return (
            (dvariables[:, :count] + dinputs).astype(dtype),
            (dshared[: self.num_weights] + dweights).astype(dtype),
        )


class StateEngine:
    """Exact final states ``psi(inputs[b], weights)``, each up to a global phase of its own.

    float32 inputs give complex64, all others complex128.

    Args:
        circuit: Unitary circuit on n qubits.
        inputs: The parameters that differ by sample, I in all.
        weights: The parameters that the batch shares, W in all.
        threads: Most threads to use; by default as in :class:`StatevectorEngine`.

    Raises:
        ConfigError: If the circuit is not unitary, or a parameter has no place.
    """

    def __init__(
        self,
        circuit: QuantumCircuit,
        inputs: Sequence[Parameter],
        weights: Sequence[Parameter],
        *,
        threads: int | None = None,
    ) -> None:
        lowered = lower(circuit)
        if count_resets(lowered) or lowered.num_qubits > circuit.num_qubits:
            raise ConfigError(
                "Only a circuit without resets and branches ends in a state; others end in a mixture",
                got=f"{count_resets(lowered)} resets",
                fix="Ask for expectation values, or take a circuit of gates alone",
            )
        # No phase commutes with X on all qubits, so the engine drops none that it could not see in Z.
        watched = [
            SparsePauliOp.from_sparse_list([("X", [qubit], 1.0)], circuit.num_qubits)
            for qubit in range(circuit.num_qubits)
        ]
        self._engine = StatevectorEngine(circuit, watched, inputs, weights, threads=threads)
        self._size = 1 << int(circuit.num_qubits)
        self._basis = _basis_states(self._engine.tape.frame)

    def states(self, inputs: npt.ArrayLike, weights: npt.ArrayLike) -> States:
        """States (B, 2^n) of ``inputs`` (B, I) and ``weights`` (W,)."""
        inputs = _plain(inputs)
        # Samples whose states the engine keeps at once: whole tiles, and at least one.
        lanes = ROW_BYTES // int(inputs.dtype.itemsize)
        step = max(1, KEPT_BYTES // (2 * self._size * ROW_BYTES)) * lanes
        parts = [self._part(inputs[first : first + step], weights) for first in range(0, len(inputs), step)]
        return np.concatenate(parts) if parts else self._part(inputs, weights)

    def _part(self, inputs: Reals, weights: npt.ArrayLike) -> States:
        _, residual = self._engine.forward(inputs, weights)
        assert residual.workspace is not None
        rows = residual.workspace.buffers.psi.reshape(-1, self._size, 2, ROW_BYTES // inputs.dtype.itemsize)
        # (tile, amplitude, part, lane) -> (tile, lane, amplitude, part), a pair of parts one complex number.
        pairs = np.ascontiguousarray(rows.transpose(0, 3, 1, 2)).reshape(-1, self._size, 2)[: len(inputs)]
        residual.release()  # ``pairs`` is a copy
        stored = pairs.view(np.result_type(inputs.dtype, np.complex64))[..., 0]
        states = np.empty_like(stored)
        states[:, self._basis] = stored
        return states


def _basis_states(frame: Frame) -> npt.NDArray[np.int64]:
    """Basis state of each stored amplitude ``z``: its bit ``q`` is ``parity(row[q] & z) ^ sign[q]``."""
    qubits = range(len(frame.row))
    states = np.array([sum(frame.sign[q] << q for q in qubits)])
    for bit in qubits:
        states = np.concatenate([states, states ^ sum((frame.row[q] >> bit & 1) << q for q in qubits)])
    return states


def _shape_error(name: str, wanted: str, found: Reals, fix: str) -> ConfigError:
    return ConfigError(f"{name} must have the shape {wanted}", got=f"{found.shape}", fix=fix)


def _plain(values: npt.ArrayLike, dtype: np.dtype[Any] | None = None) -> Reals:
    """The one array layout that the kernels are compiled for: contiguous, writeable, float32 or float64."""
    array = np.asarray(values)
    if dtype is None:
        dtype = array.dtype if array.dtype == np.float32 else np.dtype(np.float64)
    if array.dtype == dtype and array.flags.carray:
        return array
    return np.array(array, dtype, order="C")
