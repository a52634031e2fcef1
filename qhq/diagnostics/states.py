"""What random weights make of the state: expressibility and entangling capability.

Both as Sim, Johnson and Aspuru-Guzik, arXiv:1905.10876, define them. Expressibility is the divergence of the
histogram of fidelities ``F = |<psi|phi>|^2`` of pairs of states from that of Haar-random states,
``P(F) = (N - 1) (1 - F)^(N - 2)``; entangling capability is the mean of the measure of Meyer and Wallach,
quant-ph/0108104.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qhq.ansatz.program import Ansatz
from qhq.diagnostics.sampling import Array, Estimate, Probe, Sampling, positive_mean_of, spread_of
from qhq.engine import States

# Of the paper; the divergence depends on it.
_BINS = 75
# The ends of a 95 % interval then have ten resamples beyond them.
_RESAMPLED = 400


@dataclass(frozen=True)
class Expressibility:
    """How much of the state space random weights fill.

    Attributes:
        divergence: Kullback-Leibler divergence from Haar of the histogram, in nats; 0 is Haar, and a single
            state ``(N - 1) ln bins``. A finite number of pairs raises it by about the floor, which is not
            taken off: the paper does not.
        floor: What as many pairs of Haar-random states give, and the range they give it in: smaller
            differences mean nothing.
        counts: Pairs in each bin of the fidelity, (bins,).
        haar: The share of Haar-random pairs in each, (bins,).
    """

    divergence: Estimate
    floor: Estimate
    counts: tuple[int, ...]
    haar: tuple[float, ...]


def measure_expressibility(ansatz: Ansatz, sampling: Sampling, *, bins: int = _BINS) -> Expressibility:
    """Measure the expressibility over ``sampling.samples`` independent pairs of states.

    The paper's circuits have no inputs: hold them at zero to measure the weights alone.
    """
    probe = Probe(ansatz)
    one, other = (probe.states(sampling.draw(ansatz, f"expressibility/{side}")) for side in ("a", "b"))
    counts = histogram(fidelities(one, other), bins)
    log_masses = haar_log_masses(ansatz.num_qubits, bins)
    generator = sampling.generator("expressibility/resampled")
    again = generator.multinomial(sampling.samples, counts / counts.sum(), _RESAMPLED)
    value = float(divergence(counts, log_masses))
    masses = np.exp(log_masses)
    return Expressibility(
        divergence=spread_of(value, divergence(again, log_masses), sampling.samples, sampling.confidence),
        floor=_floor(log_masses, sampling, generator),
        counts=tuple(counts.tolist()),
        haar=tuple(masses.tolist()),
    )


def fidelities(one: States, other: States) -> Array:
    """``|<one[b]|other[b]>|^2``, shape (B,)."""
    overlaps = np.einsum("bz,bz->b", one.conj(), other)
    # Rounding carries the fidelity of a state with itself above 1, where no bin is.
    squares: Array = np.clip(overlaps.real**2 + overlaps.imag**2, 0.0, 1.0)
    return squares


def histogram(values: Array, bins: int = _BINS) -> npt.NDArray[np.int64]:
    """Counts (bins,) of fidelities in equal bins of [0, 1].

    Rounding must not carry a fidelity over a border: identical states belong to the last bin.
    """
    places = np.minimum(np.floor(values * bins + 1e-9), bins - 1).astype(np.int64)
    return np.bincount(places, minlength=bins).astype(np.int64)


def haar_log_masses(qubits: int, bins: int = _BINS) -> Array:
    """Logarithm of the exact share of Haar-random pairs in each bin, (bins,).

    Bin (a, b) holds ``(1 - a)^(N - 1) - (1 - b)^(N - 1)``, which underflows at 8 qubits; its logarithm does
    not.
    """
    power = 2.0**qubits - 1
    above = np.arange(bins, 0, -1)
    masses: Array = power * np.log(above / bins) + np.log1p(-(((above - 1) / above) ** power))
    return masses


def divergence(counts: npt.NDArray[np.int64], log_masses: Array) -> Array:
    """Kullback-Leibler divergence in nats of histograms (..., bins) from the shares of the same bins."""
    shares = counts / counts.sum(axis=-1, keepdims=True)
    # An empty bin adds nothing: x ln x goes to 0 with x, but 0 * -inf is NaN.
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    total: Array = (shares * (logs - log_masses)).sum(axis=-1)
    return total


def _floor(log_masses: Array, sampling: Sampling, generator: np.random.Generator) -> Estimate:
    masses = np.exp(log_masses)
    # multinomial refuses shares whose sum is above 1, be it by rounding.
    counts = generator.multinomial(sampling.samples, masses / masses.sum(), _RESAMPLED)
    found = divergence(counts, log_masses)
    low, high = np.quantile(found, [(1 - sampling.confidence) / 2, (1 + sampling.confidence) / 2])
    return Estimate(float(found.mean()), float(low), float(high), sampling.samples)


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
    # Qubit q is bit q of the index, so its values alternate every 2^q amplitudes.
    purities = [_purity(states.reshape(batch, -1, 2, 1 << qubit)) for qubit in range(qubits)]
    measure: Array = np.maximum(0.0, 2 * (1 - np.mean(purities, axis=0)))
    return measure


def _purity(states: States) -> Array:
    """``Tr rho^2`` of the qubit on the third axis, (B,)."""
    rho = np.einsum("bhil,bhjl->bij", states, states.conj())
    # rho is Hermitian: the trace of its square is the sum of its squared absolute entries.
    purity: Array = np.einsum("bij,bij->b", rho.real, rho.real) + np.einsum("bij,bij->b", rho.imag, rho.imag)
    return purity


def haar_meyer_wallach(qubits: int) -> float:
    """Mean Q of Haar-random states, ``(N - 2) / (N + 1)``.

    >>> haar_meyer_wallach(4) == 14 / 17
    True
    """
    return (2.0**qubits - 2) / (2.0**qubits + 1)
