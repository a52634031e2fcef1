"""The parity gate: before training runs on the exact engine, it must agree with the backend it stands for."""

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
    executor: Executor, reference: Executor, inputs: FloatArray, weights: FloatArray, *, gradients: int = 4
) -> Parity:
    """Compare two executors: values on all inputs, gradients on the first few.

    Args:
        executor: The one in question.
        reference: The one to agree with.
        inputs: Shape (B, I), radians.
        weights: Shape (W,), radians.
        gradients: Samples whose gradients are compared, each output by itself.

    Returns:
        The differences; NaN counts as infinite.
    """
    values = _distance(executor.expectations(inputs, weights), reference.expectations(inputs, weights))
    few, slope = inputs[:gradients], 0.0
    outputs = reference.expectations(few[:1], weights).shape[1]
    for output in range(outputs):
        cotangent = np.zeros((len(few), outputs), dtype=few.dtype)
        cotangent[:, output] = 1.0
        for one, other in zip(
            executor.vjp(few, weights, cotangent), reference.vjp(few, weights, cotangent), strict=True
        ):
            slope = max(slope, _distance(one, other))
    return Parity(values, slope)


def parity_tolerance(dtype: npt.DTypeLike, gates: int) -> float:
    """Largest difference that rounding may make: it grows with the gates of the circuit.

    Args:
        dtype: What the engine calculates in.
        gates: How many the circuit has.
    """
    return max(TOLERANCE, ROUNDINGS * gates * float(np.finfo(dtype).eps))


def check_parity(parity: Parity, tolerance: float = TOLERANCE) -> None:
    """Refuse to go on from a difference above the tolerance.

    Raises:
        BackendError: If there is one.
    """
    if parity.max_abs <= tolerance:
        return
    raise BackendError(
        f"The exact engine must agree with Aer to {tolerance:.2g}",
        got=f"a difference of {parity.values:.1e} in values and {parity.gradients:.1e} in gradients",
        fix="Set training.dtype=float64, or gradient: parameter_shift in backends.yaml to train on Aer",
    )


def _distance(one: FloatArray, other: FloatArray) -> float:
    if one.size == 0:
        return 0.0
    return float(np.nan_to_num(np.abs(one - other), nan=np.inf).max())
