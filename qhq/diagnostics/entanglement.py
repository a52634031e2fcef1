"""Entanglement of the states of random weights: the measure of Meyer and Wallach, quant-ph/0108104."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qhq.ansatz.program import Ansatz
from qhq.diagnostics.estimate import Array, Estimate, positive_mean_of
from qhq.diagnostics.probe import Probe
from qhq.diagnostics.sampling import Sampling
from qhq.engine import States


@dataclass(frozen=True)
class Entanglement:
    """Entangling capability: 0 is a product of qubits, 1 all qubits maximally entangled.

    Attributes:
        mean: Mean Meyer-Wallach measure Q of random states of the circuit.
        deviation: Its standard deviation over them.
        haar: Mean of Haar-random states.
    """

    mean: Estimate
    deviation: float
    haar: float


def measure_entanglement(ansatz: Ansatz, sampling: Sampling) -> Entanglement:
    """Measure the mean Meyer-Wallach measure over random weights, and inputs if they are drawn."""
    values = meyer_wallach(Probe(ansatz).states(sampling.draw(ansatz, "entanglement")))
    mean = positive_mean_of(values, sampling.confidence)
    return Entanglement(mean, float(values.std(ddof=1)), haar_meyer_wallach(ansatz.num_qubits))


def meyer_wallach(states: States) -> Array:
    """``Q = 2 (1 - mean_k Tr rho_k^2)`` of each state: (B, 2^Q) -> (B,)."""
    batch, size = states.shape
    qubits = size.bit_length() - 1
    purities = [_purity(states.reshape(batch, -1, 2, 1 << qubit)) for qubit in range(qubits)]
    measure: Array = np.maximum(0.0, 2 * (1 - np.mean(purities, axis=0)))
    return measure


def _purity(states: States) -> Array:
    """``Tr rho^2`` of the qubit on the third axis, (B,)."""
    rho = np.einsum("bhil,bhjl->bij", states, states.conj())
    purity: Array = np.einsum("bij,bij->b", rho.real, rho.real) + np.einsum("bij,bij->b", rho.imag, rho.imag)
    return purity


def haar_meyer_wallach(qubits: int) -> float:
    """Mean Q of Haar-random states, ``(N - 2) / (N + 1)``.

    >>> haar_meyer_wallach(4) == 14 / 17
    True
    """
    return (2.0**qubits - 2) / (2.0**qubits + 1)
