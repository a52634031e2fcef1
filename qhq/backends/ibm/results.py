"""What came back of a job, and whether it can be what was asked for; no client here.

A result is checked before it is stored: bytes that a proxy cut off, a calibration of the readout that failed
or a job of somebody else's all give numbers, and numbers that were paid for are believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.quantum_info import SparsePauliOp

from qhq.backends.executor import FloatArray
from qhq.backends.ibm import IBMSpec, calibration_circuits, circuits_per_sample
from qhq.backends.ibm.records import LaidOut
from qhq.backends.ibm.waiting import ServiceError
from qhq.errors import apart

# How far beyond its bound, in standard errors, a value may lie that mitigation has stretched.
_SIGMAS = 6.0

# No value may lie farther beyond its bound than this share of it, whatever its standard error.
_MOST_STRETCH = 0.5

# The same where values are extrapolated to no noise.
_MOST_STRETCH_ZNE = 1.0

# A qubit that is misread more often than this carries no information: TREX would divide by nearly zero.
_WORST_READOUT = 0.25

# Before the name of a register: which of its bits were flipped on purpose.
_FLIPS = "measurement_flips."


@dataclass(frozen=True)
class CircuitResult:
    """What one circuit of a job measured: arrays by name, registers of shape (*shape, shots, bits)."""

    arrays: dict[str, NDArray[Any]]

    @property
    def registers(self) -> dict[str, NDArray[np.bool_]]:
        """What was measured."""
        return {
            name: array
            for name, array in self.arrays.items()
            if not name.startswith(_FLIPS) and array.dtype == bool and array.ndim >= 2
        }

    @property
    def shots(self) -> int:
        """Measurements, all randomizations together; of the register with the fewest."""
        return min((int(np.prod(each.shape[:-1])) for each in self.registers.values()), default=0)

    @property
    def shots_each(self) -> set[int]:
        """Measurements of each randomization."""
        return {each.shape[-2] for each in self.registers.values()}


@dataclass(frozen=True)
class Estimates:
    """A decoded result.

    Attributes:
        values: Expectation values, shape (N, O).
        stds: Their standard errors, shape (N, O); infinite where an extrapolation has none.
        items: What was measured, the circuits of the samples first, that of the readout last.
        settings: Rows times settings of the readout.
        tags: Tags that the job was sent with.
    """

    values: FloatArray
    stds: FloatArray
    items: tuple[CircuitResult, ...]
    settings: int
    tags: tuple[str, ...]


def check_estimates(
    found: Estimates,
    spec: IBMSpec,
    program: LaidOut,
    rows: int,
    tag: str,
    qubits: Sequence[int] | None = None,
) -> None:
    """Refuse a result that cannot be what was asked for.

    Args:
        found: The result.
        spec: The entry it was asked for with.
        program: What ran.
        rows: Rows of values.
        tag: Tag of the job.
        qubits: Qubits of the device that it measured; those of the program if not known. A device may have
            changed, and the program with it, since the job was sent.

    Raises:
        ServiceError: Kind ``wrong``, with what is wrong with it.
    """
    if tag not in found.tags:
        raise _wrong(f"the result of another job (tags {', '.join(found.tags) or 'none'})")
    wanted = (rows, len(program.observables))
    for name, array in (("values", found.values), ("standard errors", found.stds)):
        if array.shape != wanted:
            raise _wrong(f"{name} of shape {array.shape} for {wanted[0]} samples and {wanted[1]} observables")
    _check_shots(found, spec, rows)
    if spec.is_on(spec.trex, from_level=1):
        used = measured_qubits(program.observables) if qubits is None else qubits
        _check_readout(found.items[-1], program.circuit.num_qubits, used)
    _check_values(found, spec, program)


def _check_shots(found: Estimates, spec: IBMSpec, rows: int) -> None:
    wanted = circuits_per_sample(spec) + calibration_circuits(spec)
    if len(found.items) != wanted:
        raise _wrong(f"measurements of {len(found.items)} circuits of {wanted}")
    each = set().union(*(item.shots_each for item in found.items))
    if len(each) != 1:
        raise _wrong(f"circuits measured with different numbers of shots: {sorted(each)}")
    for place, item in enumerate(found.items):
        flips = {name: item.arrays.get(_FLIPS + name) for name in item.registers}
        for name, array in item.registers.items():
            flip = flips[name]
            if flip is not None and flip.shape[:-2] != array.shape[:-2]:
                raise _wrong(f"{array.shape[:-2]} randomizations, of which {flip.shape[:-2]} are recorded")
        is_readout = place >= circuits_per_sample(spec)
        # Not exactly as many: shots that are divided over randomizations are rounded up.
        settings = 1 if is_readout else found.settings
        if settings < 1 or (not is_readout and settings % rows) or item.shots < settings * spec.shots:
            what = "the readout" if is_readout else "each value"
            got = item.shots / max(settings, 1)
            raise _wrong(f"{got:g} shots of {what} of the {spec.shots} that were asked for")


def _check_readout(item: CircuitResult, num_qubits: int, qubits: Sequence[int]) -> None:
    """The circuit that learns the readout errors prepares 0 and flips on purpose: undone, most bits are 0."""
    for name, bits in item.registers.items():
        flips = item.arrays.get(_FLIPS + name)
        if flips is None or bits.shape[-1] != num_qubits:
            continue
        # Flipped back first: TREX flips bits at random so that the errors of 0 and of 1 become alike.
        misread = (bits ^ flips).mean(axis=tuple(range(bits.ndim - 1)))
        bad = [qubit for qubit in qubits if misread[qubit] > _WORST_READOUT]
        if bad:
            raise _wrong(f"a readout of qubit {bad[0]} that is wrong {misread[bad[0]]:.0%} of the time")


def _check_values(found: Estimates, spec: IBMSpec, program: LaidOut) -> None:
    if not np.isfinite(found.values).all():
        raise _wrong(f"{int((~np.isfinite(found.values)).sum())} values that are not finite")
    if np.isnan(found.stds).any() or (found.stds < 0).any():
        raise _wrong("standard errors that are negative or no numbers")
    bounds = np.array([np.abs(each.coeffs).sum() for each in program.observables])
    excess = np.abs(found.values) - bounds
    worst = np.unravel_index(int((excess / bounds).argmax()), excess.shape)
    # Means of +1 and -1 reach a bound only up to rounding.
    if (excess > _stretch(found, spec, bounds) + 1e-9).any():
        value, most = apart(found.values[worst], bounds[worst[1]])
        raise _wrong(f"a value of {value} where at most {most} is possible")


def _stretch(found: Estimates, spec: IBMSpec, bounds: FloatArray) -> FloatArray:
    """How far beyond its bound each value may lie, shape (N, O); unmitigated ones are means: not at all."""
    if spec.is_on(spec.zne.enable, from_level=2):
        most = _MOST_STRETCH_ZNE * bounds
    elif spec.is_on(spec.trex, from_level=1):
        most = _MOST_STRETCH * bounds
    else:
        return np.zeros_like(found.values)
    # A value near its bound has nearly no spread of its own; that of the readout's calibration remains.
    spread = np.maximum(found.stds, bounds / np.sqrt(spec.shots))
    stretch: FloatArray = np.minimum(_SIGMAS * spread, most)
    return stretch


def measured_qubits(observables: Sequence[SparsePauliOp]) -> list[int]:
    """Qubits of a device that observables are measured on."""
    used: set[int] = set()
    for each in observables:
        used |= set(np.flatnonzero((each.paulis.x | each.paulis.z).any(axis=0)).tolist())
    return sorted(used)


def _wrong(what: str) -> ServiceError:
    return ServiceError("wrong", f"a result with {what}")
