"""The states that an exact engine reads its expectations from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp

from qhq.engine.adjoint import Reals, StatevectorEngine, plain
from qhq.engine.frame import Frame
from qhq.engine.lanes import ROW_BYTES
from qhq.engine.room import KEPT_BYTES

States = npt.NDArray[Any]
"""Complex amplitudes (B, 2^n), Qiskit's order of basis states: qubit 0 is the lowest bit."""


class StateEngine:
    """Exact final states ``psi(inputs[b], weights)``, each up to a global phase of its own.

    float32 inputs give complex64, all others complex128.

    Args:
        circuit: Unitary circuit on n qubits.
        inputs: The parameters that differ by sample, I in all.
        weights: The parameters that the batch shares, W in all.
        threads: Most threads to use; by default as in :class:`qhq.engine.adjoint.StatevectorEngine`.

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
        # No phase commutes with X on all qubits, so the engine drops none that it could not see in Z.
        watched = [
            SparsePauliOp.from_sparse_list([("X", [qubit], 1.0)], circuit.num_qubits)
            for qubit in range(circuit.num_qubits)
        ]
        self._engine = StatevectorEngine(circuit, watched, inputs, weights, threads=threads)
        self._size = 1 << int(circuit.num_qubits)
        self._basis = basis_states(self._engine.tape.frame)

    def states(self, inputs: npt.ArrayLike, weights: npt.ArrayLike) -> States:
        """States (B, 2^n) of ``inputs`` (B, I) and ``weights`` (W,)."""
        inputs = plain(inputs)
        step = self._most_rows(inputs.dtype)
        parts = [self._part(inputs[first : first + step], weights) for first in range(0, len(inputs), step)]
        return np.concatenate(parts) if parts else self._part(inputs, weights)

    def _most_rows(self, dtype: np.dtype[Any]) -> int:
        """Samples whose states the engine keeps at once: whole tiles, and at least one."""
        lanes = ROW_BYTES // int(dtype.itemsize)
        return max(1, KEPT_BYTES // (2 * self._size * ROW_BYTES)) * lanes

    def _part(self, inputs: Reals, weights: npt.ArrayLike) -> States:
        _, residual = self._engine.forward(inputs, weights)
        assert residual.room is not None
        rows = residual.room.desks.psi.reshape(-1, self._size, 2, ROW_BYTES // inputs.dtype.itemsize)
        # (tile, amplitude, part, lane) -> (tile, lane, amplitude, part), a pair of parts one complex number.
        pairs = np.ascontiguousarray(rows.transpose(0, 3, 1, 2)).reshape(-1, self._size, 2)[: len(inputs)]
        residual.release()
        stored = pairs.view(np.result_type(inputs.dtype, np.complex64))[..., 0]
        states = np.empty_like(stored)
        states[:, self._basis] = stored
        return states


def basis_states(frame: Frame) -> npt.NDArray[np.int64]:
    """Basis state of each stored amplitude ``z``: its bit ``q`` is ``parity(row[q] & z) ^ sign[q]``."""
    qubits = range(len(frame.row))
    states = np.array([sum(frame.sign[q] << q for q in qubits)])
    for bit in qubits:
        states = np.concatenate([states, states ^ sum((frame.row[q] >> bit & 1) << q for q in qubits)])
    return states
