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


@dataclass(frozen=True)
class CostForecast:
    """What is still to be paid of a request; nothing has been sent.

    Attributes:
        backend: The device.
        samples: Rows of values.
        jobs: Jobs that are still to be sent; what follows is of these.
        pubs: PUBs in them: one a job, with all observables.
        circuits: Circuits run, those that learn the readout errors too.
        shots: Measurements of each circuit.
        executions: Measurements in all.
        qpu_seconds: Estimate of the time on the device, see :func:`estimate_seconds`.
        remaining_seconds: What the plan has left; None if it has no limit.
        queue: Jobs that wait for the device.
        online: Whether the device takes jobs.
        calibration: Date (ISO 8601) of its calibration.
        max_qpu_seconds: The cap of the entry.
        layout: Physical qubit of each logical one.
        refusal: Why it would not be sent as things are; None if it would.
        held_samples: Rows whose results are in the journal, or whose jobs are with the service: they are not
            paid again.
        spent_seconds: Time on the device that those took, or may still take.
        most_seconds: Time on the device beyond which the service stops the jobs that are still to be sent,
            all together: what the cap leaves; None without a cap.
        service_seconds: What the service itself expects of them, by its own dry run; None if not asked.
        service_note: What follows from it, or why there is none.
    """

    backend: str
    samples: int
    jobs: int
    pubs: int
    circuits: int
    shots: int
    executions: int
    qpu_seconds: float
    remaining_seconds: float | None
    queue: int
    online: bool
    calibration: str | None
    max_qpu_seconds: float | None
    layout: tuple[int, ...] = ()
    refusal: str | None = None
    held_samples: int = 0
    spent_seconds: float = 0.0
    most_seconds: float | None = None
    service_seconds: float | None = None
    service_note: str | None = None


class HardwareExecutor(Executor, Protocol):
    """An executor whose values cost money or time in a queue: forecast first, then sent, then waited for.

    The same call finds what was sent before, so that jobs go to several devices before any is waited for.
    """

    stds: FloatArray

    @property
    def instance(self) -> str:
        """The plan that pays, so that costs of several devices on one plan are added; empty if unknown."""

    def forecast(
        self, samples: int, inputs: ArrayLike | None = None, weights: ArrayLike | None = None
    ) -> CostForecast:
        """The cost of so many samples, less what is paid already of these inputs; nothing is sent."""

    def ask_service(self, forecast: CostForecast, inputs: ArrayLike, weights: ArrayLike) -> CostForecast:
        """The forecast, with the estimate of the service itself added."""

    def send(self, inputs: ArrayLike, weights: ArrayLike) -> None:
        """Send what ``expectations`` of the same arguments will wait for."""

    def wait(self, inputs: ArrayLike, weights: ArrayLike) -> None:
        """Wait until ``expectations`` of the same arguments has all it needs."""

    def stop(self) -> None:
        """Send nothing more, in whichever thread."""

    def close(self) -> None:
        """Close what costs as long as it is open; jobs that wait still run."""


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
