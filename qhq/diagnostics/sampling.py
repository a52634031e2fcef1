"""What a diagnostic draws: how many samples, from which seed, over which angles."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from qhq.ansatz.program import Ansatz
from qhq.diagnostics.estimate import Array
from qhq.errors import ConfigError
from qhq.seeding import child_generator

INPUT_RANGES: dict[str, tuple[float, float]] = {
    "pi_tanh": (-math.pi, math.pi),
    "half_pi_tanh": (-math.pi / 2, math.pi / 2),
    "unit_tanh": (-0.99, 0.99),
    "pi_sin": (-math.pi, math.pi),
    "two_arctan": (-math.pi, math.pi),
}
"""Angle scaling of an ansatz -> the angles in radians that its inputs can take."""


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
        return replace(self, input_range=INPUT_RANGES[ansatz.angle_scaling])

    def with_inputs_at_zero(self) -> Sampling:
        """The same with all inputs held at 0, where an encoding by rotations does nothing."""
        return replace(self, input_range=(0.0, 0.0))

    def generator(self, name: str) -> np.random.Generator:
        """The random numbers of the purpose ``name``."""
        return child_generator(self.seed, f"diagnostics/{name}")

    def draw(self, ansatz: Ansatz, name: str) -> Array:
        """Values (S, I + W) of inputs and then weights, for the purpose ``name``."""
        generator = self.generator(name)
        inputs = generator.uniform(*self.input_range, (self.samples, ansatz.num_inputs))
        weights = generator.uniform(*self.weight_range, (self.samples, ansatz.num_weights))
        return np.hstack([inputs, weights])
