"""The parity gate: before a training, the engine it runs on must agree with the backend it stands for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qhq.backends.executor import Executor, FloatArray
from qhq.errors import BackendError

TOLERANCE = 1e-5
"""Largest difference of a value or gradient that training may start with, of a circuit of a few gates."""
ROUNDINGS = 8.0
"""Roundings of each gate that a circuit may add up, the samples of a gradient together; up to 3 were
measured, with RX in single precision. A wrong gate differs by far more."""

MOST_AMPLITUDES = 1 << 22
"""Amplitudes of all states of a comparison, beyond which fewer are compared; some seconds on Aer."""


@dataclass(frozen=True)
class Parity:
    """Largest absolute differences between two executors of one ansatz.

    Attributes:
        values: Of expectation values.
        gradients: Of gradients by inputs and weights.
    """

    values: float
    gradients: float

    @property
    def max_abs(self) -> float:
        """The larger of the two."""
        return max(self.values, self.gradients)


def measure_parity(
    executor: Executor,
    reference: Executor,
    inputs: FloatArray,
    weights: FloatArray,
    *,
    gradients: int = 4,
    density: bool = False,
) -> Parity:
    """Compare two executors: values on the inputs, gradients on the first few.

    The outputs of a sample are compared at once, under random signs. A wide circuit is compared on fewer
    samples, and its gradient along a random direction alone, by differences of the reference's values: its
    parameter shifts would take hours.

    Args:
        executor: The one in question.
        reference: The one to agree with.
        inputs: Shape (B, I), radians.
        weights: Shape (W,), radians.
        gradients: Samples whose gradients are compared.
        density: Whether the reference simulates density matrices, which grow with the square of a state.

    Returns:
        The differences; NaN counts as infinite.
    """
    most = max(1, MOST_AMPLITUDES >> reference.report().qubits * (2 if density else 1))
    # Fewer samples of a wide circuit: Aer's time doubles with each qubit.
    inputs = inputs[:most]
    found, wanted = executor.expectations(inputs, weights), reference.expectations(inputs, weights)
    few = inputs[: min(gradients, max(1, most // 8))]
    generator = np.random.default_rng(0)
    # Signs at random, so that faults of two outputs do not cancel.
    cotangent = generator.choice([-1.0, 1.0], size=(len(few), wanted.shape[1])).astype(few.dtype)
    slopes = executor.vjp(few, weights, cotangent)
    angles = few.shape[1] + len(weights)
    if 2 * angles * len(few) <= most:
        pairs = zip(slopes, reference.vjp(few, weights, cotangent), strict=True)
        return Parity(_distance(found, wanted), max(_distance(one, other) for one, other in pairs))
    along = _along_a_direction(reference, slopes, few, weights, cotangent, generator)
    return Parity(_distance(found, wanted), along)


def _along_a_direction(
    reference: Executor,
    slopes: tuple[FloatArray, FloatArray],
    inputs: FloatArray,
    weights: FloatArray,
    cotangent: FloatArray,
    generator: np.random.Generator,
) -> float:
    """Difference of the gradient's slope and that of the values, along a random direction of unit length."""
    across, along = (generator.normal(size=each.shape) for each in (inputs, weights))
    length = np.sqrt((across**2).sum() + (along**2).sum())
    across, along = across / length, along / length

    def value(step: float) -> float:
        moved = np.float64(inputs) + step * across, np.float64(weights) + step * along
        return float((reference.expectations(*moved) * cotangent).sum())

    step = 1e-3
    # Of fourth order: the error is some 1e-11 at this step, below the rounding of the slopes.
    measured = (8 * (value(step) - value(-step)) - (value(2 * step) - value(-2 * step))) / (12 * step)
    given = float((slopes[0] * across).sum() + (slopes[1] * along).sum())
    return _distance(np.array([given]), np.array([measured]))


def parity_tolerance(dtype: npt.DTypeLike, gates: int) -> float:
    """Largest difference that rounding may make: it grows with the gates of the circuit.

    Args:
        dtype: What the engine calculates in.
        gates: How many the circuit has.
    """
    return max(TOLERANCE, ROUNDINGS * gates * float(np.finfo(dtype).eps))


def check_parity(parity: Parity, tolerance: float = TOLERANCE, *, engine: str = "exact") -> None:
    """Refuse to go on from a difference above the tolerance.

    Raises:
        BackendError: If there is one.
    """
    if parity.max_abs <= tolerance:
        return
    raise BackendError(
        f"The {engine} engine must agree with Aer to {tolerance:.2g}",
        got=f"a difference of {parity.values:.1e} in values and {parity.gradients:.1e} in gradients",
        fix="Set training.dtype=float64, or gradient: parameter_shift in backends.yaml to train on Aer",
    )


def _distance(one: FloatArray, other: FloatArray) -> float:
    if one.size == 0:
        return 0.0
    return float(np.nan_to_num(np.abs(one - other), nan=np.inf).max())
