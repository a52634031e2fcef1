"""What every diagnostic stands on: random inputs and weights, the exact engine, estimates with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import stats

from qhq.ansatz.program import Ansatz
from qhq.engine import StateEngine, States, StatevectorEngine
from qhq.errors import ConfigError
from qhq.seeding import child_generator

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure with its confidence interval.

    Attributes:
        value: The estimate.
        low: Lower end of the interval.
        high: Upper end of the interval.
        samples: Independent samples it rests on.
    """

    value: float
    low: float
    high: float
    samples: int

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies in the interval.

        >>> Estimate(0.5, low=0.4, high=0.6, samples=100).holds(0.45)
        True
        """
        return self.low <= value <= self.high

    def scaled(self, factor: float) -> Estimate:
        """The same estimate in another unit; ``factor`` is positive."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor, self.samples)


def mean_of(values: npt.ArrayLike, confidence: float) -> Estimate:
    """Mean of independent samples (S,), its interval by Student's t.

    Raises:
        ConfigError: If there are fewer than two.
    """
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        raise ConfigError(
            "An interval needs at least two samples", got=str(len(values)), fix="Ask for more samples"
        )
    # Student's t below, not a normal: small samples are exactly where an interval is looked at.
    mean, error = float(values.mean()), float(values.std(ddof=1)) / np.sqrt(len(values))
    reach = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * float(error)
    return Estimate(mean, mean - reach, mean + reach, len(values))


def positive_mean_of(values: npt.ArrayLike, confidence: float) -> Estimate:
    """``mean_of`` samples that are never negative: nor is the interval."""
    estimate = mean_of(values, confidence)
    return Estimate(estimate.value, max(0.0, estimate.low), estimate.high, estimate.samples)


def spread_of(value: float, resampled: Array, samples: int, confidence: float) -> Estimate:
    """The normal bootstrap interval of a figure that is never negative.

    Its width is the spread of the resampled figures; their own bias, which comes on top of that of the
    figure, is not carried over (Davison and Hinkley, Bootstrap Methods, 1997, 5.2).

    Args:
        value: The figure of the data.
        resampled: The figure of each resampled set of data.
        samples: Size of the data.
        confidence: Such as 0.95.
    """
    reach = float(stats.norm.ppf((1 + confidence) / 2) * resampled.std(ddof=1))
    return Estimate(value, max(0.0, value - reach), value + reach, samples)


# Angle scaling of an ansatz -> the angles in radians that its inputs can take.
_INPUT_RANGES: dict[str, tuple[float, float]] = {
    "pi_tanh": (-math.pi, math.pi),
    "half_pi_tanh": (-math.pi / 2, math.pi / 2),
    "unit_tanh": (-0.99, 0.99),
    "pi_clip": (-math.pi, math.pi),
    "pi_sin": (-math.pi, math.pi),
    "arctan": (-math.pi / 2, math.pi / 2),
    "two_arctan": (-math.pi, math.pi),
}


@dataclass(frozen=True)
class Sampling:
    """Inputs and weights drawn uniformly and independently.

    Attributes:
        samples: How many.
        seed: Where all that is drawn comes from.
        confidence: Of every interval.
        input_range: Angles of the inputs, in radians; equal ends hold them there.
        weight_range: Angles of the weights, in radians.

    Raises:
        ConfigError: If there are fewer than two samples, or the confidence is not between 0 and 1.
    """

    samples: int = 1000
    seed: int = 0
    confidence: float = 0.95
    input_range: tuple[float, float] = (-math.pi, math.pi)
    weight_range: tuple[float, float] = (0.0, 2 * math.pi)

    def __post_init__(self) -> None:
        if self.samples < 2 or not 0 < self.confidence < 1:
            raise ConfigError(
                "A sampling must have at least 2 samples and a confidence between 0 and 1",
                got=f"{self.samples} samples, confidence {self.confidence}",
                fix="Ask for some hundreds, and for 0.95",
            )

    def for_inputs_of(self, ansatz: Ansatz) -> Sampling:
        """The same with the inputs over all that the ansatz's angle scaling can give."""
        return replace(self, input_range=_INPUT_RANGES[ansatz.angle_scaling])

    def with_inputs_at_zero(self) -> Sampling:
        """The same with all inputs held at 0, where an encoding by rotations does nothing."""
        return replace(self, input_range=(0.0, 0.0))

    def generator(self, name: str) -> np.random.Generator:
        """The random numbers of the purpose ``name``."""
        # A stream a purpose: what one diagnostic draws does not depend on whether another was asked for.
        return child_generator(self.seed, f"diagnostics/{name}")

    def draw(self, ansatz: Ansatz, name: str) -> Array:
        """Values (S, I + W) of inputs and then weights, for the purpose ``name``."""
        generator = self.generator(name)
        # Drawn even where the ends are equal, so that the weights after them are the same numbers with
        # inputs and without.
        inputs = generator.uniform(*self.input_range, (self.samples, ansatz.num_inputs))
        weights = generator.uniform(*self.weight_range, (self.samples, ansatz.num_weights))
        # The order of `ansatz.parameters`, by which the engine is opened.
        return np.hstack([inputs, weights])


# Rounding stays below 1e-13, and no slope of random angles comes so near to zero.
SILENT = 1e-10
"""A slope below this is zero."""

_NO_WEIGHTS = np.empty(0)


class Probe:
    """Batched over *values* (B, P): a row holds I inputs and then W weights in radians, P = I + W."""

    def __init__(self, ansatz: Ansatz) -> None:
        self.ansatz = ansatz

    def expectations(self, values: Array) -> Array:
        """Expectation values (B, O)."""
        return self._engine.expectations(values, _NO_WEIGHTS)

    def gradients(self, values: Array) -> Array:
        """Slopes ``[b, o, p] = d E[b, o] / d values[b, p]``, shape (B, O, P)."""
        slopes = np.empty((len(values), self.ansatz.num_outputs, values.shape[1]))
        # One pass an output: an adjoint pass gives the product of a cotangent with the Jacobian, not the
        # Jacobian.
        for output in range(self.ansatz.num_outputs):
            cotangent = np.zeros(slopes.shape[:2])
            cotangent[:, output] = 1
            slopes[:, output], _ = self._engine.vjp(values, _NO_WEIGHTS, cotangent)
        return slopes

    def weight_gradients(self, values: Array) -> Array:
        """The slopes of the weights, (B, O, W)."""
        return self.gradients(values)[:, :, self.ansatz.num_inputs :]

    def input_gradients(self, values: Array) -> Array:
        """The slopes of the inputs, (B, O, I)."""
        return self.gradients(values)[:, :, : self.ansatz.num_inputs]

    def states(self, values: Array) -> States:
        """Final states (B, 2^Q), each up to a phase."""
        return self._state_engine.states(values, _NO_WEIGHTS)

    @cached_property
    def _engine(self) -> StatevectorEngine:
        ansatz = self.ansatz
        # All parameters as inputs and none as weights: the engine takes one set of weights for a whole batch,
        # and here they differ by row.
        return StatevectorEngine(ansatz.circuit, ansatz.observables, ansatz.parameters, [])

    @cached_property
    def _state_engine(self) -> StateEngine:
        return StateEngine(self.ansatz.circuit, self.ansatz.parameters, [])


def check_has_weights(ansatz: Ansatz) -> None:
    """Refuse an ansatz that is an encoding alone.

    Raises:
        ConfigError: If it has no weights.
    """
    if ansatz.num_weights == 0:
        raise ConfigError(
            "The ansatz must have weights to look at", got="none", fix="Set depth to 1 or more, or add blocks"
        )
