"""Readout errors: what each observable becomes under them, exactly, and what they do to probabilities.

A qubit's readout says 1 for a 0 with probability u and 0 for a 1 with probability d, so the measured Z is
(1 - u - d) Z + (d - u), and a measured string Z...Z the product of such factors over its qubits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qhq.backends.executor import FloatArray
from qhq.backends.simulators.sampling import MeasuredGroup


def outcome_values(group: MeasuredGroup, flips: FloatArray) -> FloatArray:
    """Mean contribution of each outcome of n qubits to each observable.

    Args:
        group: What is measured together.
        flips: Probability to read 1 for a 0, and 0 for a 1, shape (n, 2).

    Returns:
        Shape (2**n, O); outcome x has qubit q in its bit q.
    """
    # <measured Z | 0> = 1 - 2u, <measured Z | 1> = 2d - 1.
    read = np.stack([1 - 2 * flips[:, 0], 2 * flips[:, 1] - 1], axis=1)
    total = np.zeros((2 ** len(flips), group.coefficients.shape[1]))
    for mask, coefficients in zip(group.masks, group.coefficients, strict=True):
        string = np.ones(1)
        for qubit, factor in enumerate(read):
            string = np.kron(factor if mask[qubit] else np.ones(2), string)
        total += np.outer(string, coefficients)
    return total


def flip_probabilities(probabilities: FloatArray, flips: FloatArray) -> FloatArray:
    """Probabilities (N, 2**n) of outcomes -> those of what is read, same shape."""
    rows, qubits = len(probabilities), len(flips)
    read = probabilities.reshape(rows, *[2] * qubits)
    for qubit, (up, down) in enumerate(flips):
        confusion = np.array([[1 - up, down], [up, 1 - down]])
        # Qubit 0 is the last axis.
        axis = qubits - qubit
        read = np.moveaxis(np.tensordot(confusion, read, axes=(1, axis)), 0, axis)
    flat: FloatArray = read.reshape(rows, -1)
    return flat


def shot_values(group: MeasuredGroup, bits: NDArray[np.uint8], flips: FloatArray) -> FloatArray:
    """Average shots (N, shots, n) of bits into the group's part of the observables, shape (N, O)."""
    read = np.stack([1 - 2 * flips[:, 0], 2 * flips[:, 1] - 1], axis=1)
    factors = np.where(bits, read[:, 1], read[:, 0])
    strings = [factors[..., mask].prod(axis=-1).mean(axis=-1) for mask in group.masks]
    values: FloatArray = np.stack(strings, axis=-1) @ group.coefficients
    return values
