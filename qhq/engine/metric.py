"""The Fubini-Study metric of a circuit's final state by its weights, for the quantum natural gradient.

::

    g_ij = Re <d_i psi|d_j psi> - Re(<d_i psi|psi> <psi|d_j psi>)
    |<psi(w)|psi(w + dw)>|^2 = 1 - dw g dw + O(dw^3)

A phase that the engine drops does not matter, even where it depends on the weights: the second term takes it
out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from qhq.engine.runtime.statevector import StateEngine

# A larger step loses to the truncation, h^4 / 30 = 5e-13 of the fifth derivative, a smaller one to the
# rounding of the states, 1e-16 / h.
_STEP = 2e-3
# Central differences of fourth order, in steps: with states in double precision the slopes are exact to
# about 1e-12. All states are one batch of the compiled engine. Forward mode over torch gives the same and
# takes a hundred times as long for a circuit of the usual size, since every gate is a call.
_STENCIL = ((1, 2 / 3), (2, -1 / 12))
_BYTES = 256 << 20
"""Of the states that are kept at once."""


class MetricEngine:
    """The metric of a circuit, averaged over samples (Stokes, Izaac, Killoran and Carleo, arXiv:1909.02108).

    Args:
        circuit: Unitary circuit on n qubits.
        inputs: The parameters that differ by sample, I in all.
        weights: The parameters that the batch shares, W in all.
        threads: Most threads to use; by default as in :class:`qhq.engine.StatevectorEngine`.

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
        # Weights as inputs: each point of the stencil is a sample, so that one batch holds them all.
        self._engine = StateEngine(circuit, [*inputs, *weights], [], threads=threads)
        self._size = 1 << int(circuit.num_qubits)

    def metric(self, inputs: npt.ArrayLike, weights: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The mean of the metric (W, W) over inputs (B, I), at weights (W,); in double precision."""
        rows, at = np.asarray(inputs, dtype=np.float64), np.asarray(weights, dtype=np.float64)
        total = np.zeros((len(at), len(at)))
        # The mean over no samples would be 0 / 0.
        if not total.size or not len(rows):
            return total
        shifts = np.concatenate([sign * times * np.eye(len(at)) for times, _ in _STENCIL for sign in (1, -1)])
        points = at + _STEP * np.concatenate([np.zeros((1, len(at))), shifts])
        chunk = max(1, _BYTES // (16 * self._size * len(points)))
        for first in range(0, len(rows), chunk):
            total += self._sum(rows[first : first + chunk], points)
        return total / len(rows)

    def _sum(self, rows: npt.NDArray[np.float64], points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The sum of the metrics of some samples, from the states at the weights and at those about them."""
        batch, count = len(rows), len(points)
        asked = np.hstack([np.repeat(rows, count, axis=0), np.tile(points, (batch, 1))])
        states = self._engine.states(asked, np.zeros(0)).reshape(batch, count, -1)
        around = states[:, 1:].reshape(batch, len(_STENCIL), 2, points.shape[1], -1)
        factors = np.array([factor for _, factor in _STENCIL]) / _STEP
        slopes = np.einsum("s,bswn->bwn", factors, around[:, :, 0] - around[:, :, 1])
        along = np.einsum("bn,bwn->bw", states[:, 0].conj(), slopes)
        # With optimize NumPy makes it one matrix product of BLAS.
        overlaps = np.einsum("bin,bjn->ij", slopes.conj(), slopes, optimize=True)
        found: npt.NDArray[np.float64] = (overlaps - np.einsum("bi,bj->ij", along.conj(), along)).real
        return found
