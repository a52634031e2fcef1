"""What a backend opened for an ansatz can do, whatever stands behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qhq.errors import BackendError

FloatArray = NDArray[np.floating[Any]]
"""float64, or on the exact engine the precision of the inputs."""


@dataclass(frozen=True)
class Report:
    """What ran, for the record.

    Attributes:
        backend: Name of the entry.
        qubits: Width of the circuit as run.
        depth: Depth of the circuit as run, all gates.
        two_qubit_gates: Two-qubit gates of the circuit as run.
        shots: Measurements a value was estimated from; None if exact.
        layout: Physical qubit that each logical one is read from; None without a device.
        calibration: Date (ISO 8601) of the calibration it ran under; None without one.
        job_ids: Jobs of a service, in order.
        qpu_seconds: Time on a quantum processor.
    """

    backend: str
    qubits: int
    depth: int
    two_qubit_gates: int
    shots: int | None = None
    layout: tuple[int, ...] | None = None
    calibration: str | None = None
    job_ids: tuple[str, ...] = ()
    qpu_seconds: float = 0.0


class Executor(Protocol):
    """An ansatz opened on a backend: three verbs. B batch, I inputs, W weights, O observables."""

    def expectations(self, inputs: ArrayLike, weights: ArrayLike) -> FloatArray:
        """Expectation values (B, O) for inputs (B, I), in radians, and weights (W,).

        Raises:
            BackendError: If a shape does not fit the ansatz, or a value is not finite.
        """

    def vjp(
        self, inputs: ArrayLike, weights: ArrayLike, cotangent: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Pull a cotangent (B, O) of the expectation values back to inputs (B, I) and weights (W,).

        Raises:
            BackendError: If a shape does not fit the ansatz, or a value is not finite.
        """

    def report(self) -> Report:
        """Say what ran so far."""


def as_values(values: ArrayLike, shape: tuple[int | None, ...], name: str) -> FloatArray:
    """Check one argument of an executor and return it as float64.

    Args:
        values: Numbers of any floating type.
        shape: What its shape must be; None stands for any length.
        name: What to call it in the error.

    Raises:
        BackendError: If the shape differs, or a value is not finite.
    """
    array = np.ascontiguousarray(values, dtype=np.float64)
    fits = array.ndim == len(shape) and all(
        wanted in (None, given) for wanted, given in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise shape_error(name, array.shape, shape)
    if not np.isfinite(array).all():
        raise BackendError(
            f"The {name} of an executor must be finite",
            got="NaN or infinity",
            fix="Look for a diverged loss or missing prices before the quantum layer",
        )
    return array


def shape_error(name: str, got: tuple[int, ...], shape: tuple[int | None, ...]) -> BackendError:
    """Error that an argument of an executor does not fit its ansatz; None stands for any length."""
    wanted = ", ".join("B" if each is None else str(each) for each in shape)
    return BackendError(
        f"The {name} of an executor must have the shape ({wanted}{',' * (len(shape) == 1)})",
        got=str(got),
        fix="Match the ansatz that the backend was opened for",
    )
