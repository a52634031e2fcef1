"""What the weights can do: how steep the outputs are in them, and how many of them count.

Barren plateaus are measured by the variance of the gradient over random weights, and by how it falls with
the qubits (McClean et al., arXiv:1803.11173; Cerezo et al., arXiv:2001.00550). Capacity is the effective
dimension of Abbas et al., arXiv:2011.00027 (Nature Computational Science 1, 2021).

The latter needs a statistical model. A circuit whose outputs are expectation values, read by a regression, is
taken as the Gaussian one, ``y = E(x; w) + noise`` with equal, independent noise on each output. Its Fisher
information,

    F(w) = mean over x of  sum_o  dE_o/dw  dE_o/dw^T  /  noise^2,

depends on the noise only by a factor, which the normalisation takes out. The distribution of the measured bit
strings, which classifiers use, would give other values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.special import logsumexp

from qhq.ansatz.program import Ansatz
from qhq.diagnostics.sampling import (
    SILENT,
    Array,
    Estimate,
    Probe,
    Sampling,
    check_has_weights,
    positive_mean_of,
    spread_of,
)
from qhq.errors import ConfigError


@dataclass(frozen=True)
class GradientVariance:
    """How much the slopes of the outputs by the weights vary.

    A pair of output and weight whose slope is zero everywhere (outside the light cone, or commuting with what
    is measured) is left out of all means; how many there are is said instead.

    Attributes:
        mean: Over all pairs of output and weight.
        per_weight: Over the outputs that depend on the weight; 0 if none does.
        two_design: What the mean would be on a circuit that is a unitary 2-design: the barren plateau.
        idle_pairs: Share of the pairs whose slope is zero everywhere.
        idle_weights: Weights that no output depends on.
    """

    mean: Estimate
    per_weight: tuple[Estimate, ...]
    two_design: float
    idle_pairs: float
    idle_weights: tuple[int, ...]


@dataclass(frozen=True)
class GradientTrend:
    """The mean gradient variance over the number of qubits.

    Attributes:
        qubits: Q of each point.
        variances: Mean gradient variance of each.
        two_design: The 2-design value of each.
        slope: Of log2(variance) per qubit: -1 is a variance that halves with each qubit, a barren plateau;
            0 is one that stays. Weighted least squares; ``samples`` counts the points.
    """

    qubits: tuple[int, ...]
    variances: tuple[Estimate, ...]
    two_design: tuple[float, ...]
    slope: Estimate


def two_design_variance(qubits: int) -> float:
    """Gradient variance of a Pauli observable by a Pauli rotation between two unitary 2-designs.

    ``N^2 / (2 (N^2 - 1) (N + 1))``, N = 2^Q.

    >>> round(two_design_variance(2), 4)
    0.1067
    """
    size = 2.0**qubits
    return size**2 / (2 * (size**2 - 1) * (size + 1))


def gradient_variance(ansatz: Ansatz, sampling: Sampling) -> GradientVariance:
    """Measure the gradient variance of each weight over random weights, and inputs if they are drawn.

    Raises:
        ConfigError: If the ansatz has no weights.
    """
    check_has_weights(ansatz)
    values = sampling.draw(ansatz, "gradients")
    return _variance_of(
        Probe(ansatz).weight_gradients(values), mean_two_design(ansatz), confidence=sampling.confidence
    )


def _variance_of(slopes: Array, two_design: float, *, confidence: float = 0.95) -> GradientVariance:
    """Gradient variance of measured slopes (S, O, W)."""
    # The factor makes their mean the unbiased variance.
    squares = (slopes - slopes.mean(axis=0)) ** 2 * (len(slopes) / (len(slopes) - 1))
    alive = np.abs(slopes).max(axis=0) > SILENT
    weights = [squares[:, alive[:, w], w] for w in range(slopes.shape[2])]
    return GradientVariance(
        mean=_mean(squares[:, alive], confidence),
        per_weight=tuple(_mean(each, confidence) for each in weights),
        two_design=two_design,
        idle_pairs=float(1 - alive.mean()),
        idle_weights=tuple(np.flatnonzero(~alive.any(axis=0)).tolist()),
    )


def _mean(squares: Array, confidence: float) -> Estimate:
    """Mean of (S, pairs); the pairs of one sample depend on each other, the samples do not."""
    if squares.shape[1] == 0:
        return Estimate(0.0, 0.0, 0.0, len(squares))
    return positive_mean_of(squares.mean(axis=1), confidence)


def mean_two_design(ansatz: Ansatz) -> float:
    """The 2-design value of the ansatz's observables; a sum of Paulis counts by its squared coefficients."""
    weights = [
        sum(
            abs(coefficient) ** 2
            for pauli, coefficient in zip(each.paulis, each.coeffs, strict=True)
            if (pauli.x | pauli.z).any()
        )
        for each in (observable.simplify() for observable in ansatz.observables)
    ]
    return two_design_variance(ansatz.num_qubits) * float(np.mean(weights))


def gradient_trend(
    make: Callable[[int], Ansatz], qubits: Sequence[int], sampling: Sampling
) -> GradientTrend | None:
    """Measure the gradient variance of a family of circuits at several widths.

    Args:
        make: Qubits -> the ansatz.
        qubits: Widths to measure, at least three of them.
        sampling: Samples of each.

    Returns:
        None where a gradient is zero everywhere, so that nothing falls.

    Raises:
        ConfigError: If there are fewer than three widths.
    """
    if len(set(qubits)) < 3:
        raise ConfigError(
            "A trend needs at least three widths", got=f"{list(qubits)}", fix="Give for example 2, 4 and 6"
        )
    found = [gradient_variance(make(width), sampling) for width in qubits]
    # The logarithm of nothing has no slope.
    if any(each.mean.value < SILENT for each in found):
        return None
    means = tuple(each.mean for each in found)
    slope = _fitted_slope(np.array(qubits, np.float64), means, sampling.confidence)
    return GradientTrend(tuple(qubits), means, tuple(each.two_design for each in found), slope)


def _fitted_slope(qubits: Array, variances: Sequence[Estimate], confidence: float) -> Estimate:
    """Weighted fit of log2(variance); points off the line by more than their errors widen the interval."""
    logs = np.log2([each.value for each in variances])
    reach = stats.norm.ppf((1 + confidence) / 2)
    errors = [(each.high - each.value) / reach / (each.value * np.log(2)) for each in variances]
    # A width whose slopes are all alike has no error, and would take all of the weight.
    weight = 1 / np.maximum(errors, 1e-12) ** 2
    centred = qubits - np.average(qubits, weights=weight)
    spread = float(weight @ centred**2)
    slope = float(weight @ (centred * logs)) / spread
    off = logs - np.average(logs, weights=weight) - slope * centred
    misfit = max(1.0, float(weight @ off**2) / (len(qubits) - 2))
    width = float(stats.t.ppf((1 + confidence) / 2, len(qubits) - 2)) * np.sqrt(misfit / spread)
    return Estimate(slope, float(slope - width), float(slope + width), len(qubits))


# Size of the data set that the dimension is stated for, unless another is asked for.
_DATA = 10_000
_ROWS = 1 << 12
# As in `states`: ten beyond each end of a 95 % interval.
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
    ansatz: Ansatz, sampling: Sampling, *, num_inputs: int = 100, data: int = _DATA
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
    # Rounding leaves zero eigenvalues just below zero.
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
    # In blocks, as gradients of all weights at all inputs at once take gigabytes.
    block, parts = max(1, _ROWS // num_inputs), []
    for first in range(0, len(weights), block):
        some = weights[first : first + block]
        values = np.hstack([np.tile(inputs, (len(some), 1)), np.repeat(some, num_inputs, axis=0)])
        slopes = probe.weight_gradients(values).reshape(len(some), -1, ansatz.num_weights)
        parts.append(slopes.transpose(0, 2, 1) @ slopes / num_inputs)
    return np.concatenate(parts)


def dimension_of(spectrum: Array, data: int = _DATA) -> float:
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
    # In logarithms, by eigenvalues: a determinant of some tens of weights overflows.
    halves = np.log1p(scale * spectrum.shape[1] / trace * spectrum).sum(axis=1) / 2
    return float(2 * (logsumexp(halves) - np.log(len(spectrum))) / np.log(scale))
