"""What a backend opened for an ansatz can do, whatever stands behind it, and whether two of them agree.

Before a training, the engine that it runs on must agree with the backend that it stands for: the parity gate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike, NDArray

from qhq.errors import BackendError, apart

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
class DeviceCost:
    """What values would cost on a device, if they were measured there.

    Attributes:
        circuits: Circuits run, those that learn errors or amplify them too.
        executions: Measurements in all.
        seconds: Estimate of the time on the device, in one job.
    """

    circuits: int
    executions: int
    seconds: float


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
        mitigation: Methods of error mitigation that it serves, in words; None where none was asked for.
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
    mitigation: str | None = None


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

    def share_cap(self, seconds: float) -> None:
        """Lower the cap of the entry to what other questions to the same device leave of it."""

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
    # In float64 whatever comes: Aer and the client of IBM calculate in nothing else.
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


# Largest difference of a value or gradient that training may start with, of a circuit of a few gates.
_TOLERANCE = 1e-5

# Roundings of each gate that a circuit may add up, the samples of a gradient together.
# Up to 3 were measured, with RX in single precision; a wrong gate differs by far more.
_ROUNDINGS = 8.0

# Amplitudes of all states of a comparison, beyond which fewer are compared.
# Some seconds on Aer.
_MOST_AMPLITUDES = 1 << 22


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
    most = max(1, _MOST_AMPLITUDES >> reference.report().qubits * (2 if density else 1))
    # Fewer samples of a wide circuit: Aer's time doubles with each qubit.
    inputs = inputs[:most]
    found, wanted = executor.expectations(inputs, weights), reference.expectations(inputs, weights)
    # Fewer again: a gradient takes two circuits of the reference for each angle.
    few = inputs[: min(gradients, max(1, most // 8))]
    # A fixed seed: the gate must find today what it found yesterday, whatever seed the run has.
    generator = np.random.default_rng(0)
    # Signs at random, so that faults of two outputs do not cancel.
    cotangent = generator.choice([-1.0, 1.0], size=(len(few), wanted.shape[1])).astype(few.dtype)
    slopes = executor.vjp(few, weights, cotangent)
    angles = few.shape[1] + len(weights)
    # Two circuits an angle and sample, as parameter shift runs them, must stay below the same bound.
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
        # In float64, whatever the engine calculates in: the rounding of float32 over a step of 1e-3 would be
        # some 1e-4, and fail any engine.
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
    return max(_TOLERANCE, _ROUNDINGS * gates * float(np.finfo(dtype).eps))


def check_parity(parity: Parity, tolerance: float = _TOLERANCE, *, engine: str = "exact") -> None:
    """Refuse to go on from a difference above the tolerance.

    Raises:
        BackendError: If there is one.
    """
    if parity.max_abs <= tolerance:
        return
    most, values, gradients = apart(tolerance, parity.values, parity.gradients, digits=2)
    raise BackendError(
        f"The {engine} engine must agree with Aer to {most}",
        got=f"a difference of {values} in values and {gradients} in gradients",
        fix="Set training.dtype=float64, or gradient: parameter_shift in backends.yaml to train on Aer",
    )


def _distance(one: FloatArray, other: FloatArray) -> float:
    if one.size == 0:
        return 0.0
    # NaN would pass a check written as `not (x > tolerance)`, so it counts as infinity.
    return float(np.nan_to_num(np.abs(one - other), nan=np.inf).max())
