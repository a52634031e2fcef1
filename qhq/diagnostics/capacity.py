"""Capacity: the effective dimension of Abbas et al., arXiv:2011.00027 (Nature Computational Science 1, 2021).

It needs a statistical model. A circuit whose outputs are expectation values, read by a regression, is taken
as the Gaussian one, ``y = E(x; w) + noise`` with equal, independent noise on each output. Its Fisher
information,

    F(w) = mean over x of  sum_o  dE_o/dw  dE_o/dw^T  /  noise^2,

depends on the noise only by a factor, which the normalisation takes out. The distribution of the measured bit
strings, which classifiers use, would give other values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from qhq.ansatz.program import Ansatz
from qhq.diagnostics.estimate import Array, Estimate, spread_of
from qhq.diagnostics.probe import SILENT, Probe, check_has_weights
from qhq.diagnostics.sampling import Sampling
from qhq.errors import ConfigError

DATA = 10_000
"""Size of the data set that the dimension is stated for, unless another is asked for."""
_ROWS = 1 << 12
_RESAMPLED = 400


@dataclass(frozen=True)
class EffectiveDimension:
    """How many of the weights a data set can tell apart.

    Attributes:
        dimension: Effective dimension, between 0 and about W.
        weights: W.
        rank: Directions of weight space that change any output, at random weights.
        data: Size of the data set.
    """

    dimension: Estimate
    weights: int
    rank: int
    data: int

    @property
    def share(self) -> Estimate:
        """The dimension in parts of W."""
        return self.dimension.scaled(1 / self.weights)


def effective_dimension(
    ansatz: Ansatz, sampling: Sampling, *, num_inputs: int = 100, data: int = DATA
) -> EffectiveDimension:
    """Measure the effective dimension.

    Args:
        ansatz: The circuit.
        sampling: Of the weights; its input range is that of the inputs too.
        num_inputs: Inputs that the Fisher information is averaged over, the same for all weights.
        data: Size n of the data set.

    Raises:
        ConfigError: If the ansatz has no weights, or there is too little data for a dimension.
    """
    check_has_weights(ansatz)
    fisher = fisher_matrices(ansatz, sampling, num_inputs=num_inputs)
    spectrum = np.clip(np.linalg.eigvalsh(fisher), 0.0, None)
    value = float(dimension_of(spectrum, data))
    generator = sampling.generator("capacity/resampled")
    chosen = generator.integers(len(spectrum), size=(_RESAMPLED, len(spectrum)))
    again = np.array([dimension_of(spectrum[rows], data) for rows in chosen])
    ranks = (spectrum > SILENT).sum(axis=1)
    return EffectiveDimension(
        dimension=spread_of(value, again, len(spectrum), sampling.confidence),
        weights=ansatz.num_weights,
        rank=int(ranks.max()),
        data=data,
    )


def fisher_matrices(ansatz: Ansatz, sampling: Sampling, *, num_inputs: int) -> Array:
    """Fisher information at each drawn set of weights, at unit noise: (S, W, W)."""
    probe, split = Probe(ansatz), ansatz.num_inputs
    weights = sampling.draw(ansatz, "capacity/weights")[:, split:]
    generator = sampling.generator("capacity/inputs")
    inputs = generator.uniform(*sampling.input_range, (num_inputs, split))
    block, parts = max(1, _ROWS // num_inputs), []
    for first in range(0, len(weights), block):
        some = weights[first : first + block]
        values = np.hstack([np.tile(inputs, (len(some), 1)), np.repeat(some, num_inputs, axis=0)])
        slopes = probe.weight_gradients(values).reshape(len(some), -1, ansatz.num_weights)
        parts.append(slopes.transpose(0, 2, 1) @ slopes / num_inputs)
    return np.concatenate(parts)


def dimension_of(spectrum: Array, data: int = DATA) -> float:
    """Effective dimension of the eigenvalues (S, W) of the Fisher information at S sets of weights.

    ``2 ln mean_w sqrt(det(1 + k F(w) W / mean tr F)) / ln k``, ``k = n / (2 pi ln n)``, gamma = 1.

    Raises:
        ConfigError: If ``k <= 1``: a dimension needs some data.
    """
    scale = data / (2 * np.pi * np.log(data)) if data > 1 else 0.0
    if scale <= 1:
        raise ConfigError(
            "The data must be enough for a dimension", got=f"{data} rows", fix="Give 100 or more"
        )
    trace = spectrum.sum(axis=1).mean()
    if trace <= SILENT:
        return 0.0
    halves = np.log1p(scale * spectrum.shape[1] / trace * spectrum).sum(axis=1) / 2
    return float(2 * (logsumexp(halves) - np.log(len(spectrum))) / np.log(scale))
