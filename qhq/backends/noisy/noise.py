"""The noise of the qubits in use: a channel for each gate, a pair of flip probabilities for each readout.

Where it comes from (a calibration, or parameters that are the same everywhere), and how it is made stronger
or weaker: k times the generator of every channel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import Choi, Kraus, SuperOp
from qiskit.transpiler import CouplingMap, Target
from qiskit_aer.noise import (
    NoiseModel,
    QuantumError,
    ReadoutError,
    depolarizing_error,
    thermal_relaxation_error,
)
from qiskit_aer.noise.device import basic_device_gate_errors

from qhq.backends.devices.calibration import (
    CalibratedDevice,
    Calibration,
    Device,
    build_target,
    load_fake,
    load_snapshot,
)
from qhq.backends.devices.isa import REP_DELAY_SECONDS, IsaProgram, circuit_seconds, shot_seconds
from qhq.backends.executor import FloatArray
from qhq.backends.noisy import NoiseSpec, UniformNoiseSpec
from qhq.errors import BackendError

# Gates of a device known by parameters alone: those of a Heron.
_UNIFORM_BASIS = ["cz", "measure", "reset", "rz", "sx", "x"]

_Matrix = NDArray[np.complexfloating[Any]]

GatePlace = tuple[str, tuple[int, ...]]
"""Name of a gate and the qubits it acts on, in order."""


@dataclass(frozen=True)
class DeviceNoise:
    """Noise on n qubits.

    Attributes:
        channels: What follows a gate, by its name and qubits.
        flips: Probability to read 1 for a 0, and 0 for a 1, shape (n, 2).
        readout_only: Whether gates are noiseless on purpose.
    """

    channels: dict[GatePlace, QuantumError]
    flips: FloatArray
    readout_only: bool = False


class NoisyDevice(Device, Protocol):
    """A device whose noise is known."""

    @property
    def calibration(self) -> Calibration | None:
        """What it is known by; None where it is known by parameters."""

    def noise(self, qubits: Sequence[int]) -> DeviceNoise:
        """Noise on some physical qubits, renumbered; the rest of the device costs nothing."""

    def seconds(self, isa: IsaProgram) -> tuple[float, float]:
        """Time that the gates of a program take, and that between two of its shots."""


@dataclass(frozen=True)
class _SimulatedDevice(CalibratedDevice):
    """A device with the noise of its calibration."""

    def noise(self, qubits: Sequence[int]) -> DeviceNoise:
        """Noise on some physical qubits, renumbered."""
        return _known_noise(_Place(self.calibration.fingerprint, tuple(qubits), self.calibration))

    def seconds(self, isa: IsaProgram) -> tuple[float, float]:
        """Time that the gates of a program take, and that between two of its shots."""
        return (
            circuit_seconds(isa.circuit, self.target),
            shot_seconds(self.calibration, self.target, isa.layout),
        )


@dataclass(frozen=True)
class _UniformDevice:
    """A device known by parameters alone: every qubit is alike and a neighbour of every other."""

    parameters: UniformNoiseSpec
    num_qubits: int

    name = "parameters"
    date = None
    calibration = None

    @property
    def fingerprint(self) -> str:
        """Digest of all that a transpiled circuit depends on: the width."""
        return hashlib.sha256(f"uniform {self.num_qubits}".encode()).hexdigest()

    @cached_property
    def target(self) -> Target:
        """Gates, where they may act, and their errors."""
        pairs = [[one, other] for one in range(self.num_qubits) for other in range(self.num_qubits)]
        return Target.from_configuration(
            _UNIFORM_BASIS,
            num_qubits=self.num_qubits,
            coupling_map=CouplingMap([pair for pair in pairs if pair[0] != pair[1]] or None),
        )

    def noise(self, qubits: Sequence[int]) -> DeviceNoise:
        """Noise on some physical qubits, renumbered."""
        return _known_uniform(self.parameters, len(qubits))

    def seconds(self, isa: IsaProgram) -> tuple[float, float]:
        """Time that the gates of a program take, and that between two of its shots: the usual pause."""
        single, double = 1e-9 * self.parameters.gate_ns_1q, 1e-9 * self.parameters.gate_ns_2q
        lasts = {"rz": 0.0, "cz": double}
        return circuit_seconds(isa.circuit, lambda name, _: lasts.get(name, single)), REP_DELAY_SECONDS


def load_device(noise: NoiseSpec, num_qubits: int) -> NoisyDevice:
    """The device that an entry names.

    Args:
        noise: A device, a snapshot or parameters.
        num_qubits: Qubits of the program.

    Raises:
        ConfigError: If there is no such device, or the file is no snapshot.
        BackendError: If it has fewer qubits than the program.
    """
    if noise.parameters is not None:
        return _UniformDevice(noise.parameters, num_qubits)
    device = _SimulatedDevice(load_calibration(noise))
    if device.calibration.num_qubits < num_qubits:
        raise BackendError(
            "A device must have a qubit for each of the circuit",
            got=f"{num_qubits} qubits for the {device.calibration.num_qubits} of {device.name}",
            fix="Choose a larger device, or an ansatz with fewer qubits",
        )
    return device


def load_calibration(noise: NoiseSpec) -> Calibration:
    """The calibration of a fake device or of a snapshot file.

    Raises:
        ConfigError: If there is no such device, or the file is no snapshot.
    """
    if noise.snapshot is not None:
        return load_snapshot(Path(noise.snapshot).expanduser())
    return load_fake(str(noise.device))


@dataclass(frozen=True)
class _Place:
    """Some qubits of a calibration, known by its fingerprint."""

    fingerprint: str
    qubits: tuple[int, ...]
    calibration: Calibration = field(compare=False, repr=False)


# A noise study opens the same circuit a hundred times, with other shots and streams: most of its time went
# into the same channels. Kept as objects, they are also scaled once for each scale.
@lru_cache(maxsize=16)
def _known_noise(place: _Place) -> DeviceNoise:
    return calibrated_noise(place.calibration.cut(place.qubits))


def calibrated_noise(calibration: Calibration) -> DeviceNoise:
    """Noise of a calibrated device, by Aer's rule.

    Each gate is followed by T1 and T2 relaxation for its duration and as much depolarising as makes its
    average fidelity the measured one. Readout has the two probabilities of each qubit.
    """
    errors = basic_device_gate_errors(target=build_target(calibration))
    flips = []
    for qubit in range(calibration.num_qubits):
        both = calibration.qubit(qubit, "readout_error") or 0.0
        up, down = (calibration.qubit(qubit, f"prob_meas{one}_prep{1 - one}") for one in (1, 0))
        # Some devices give the mean of the two alone.
        flips.append((both, both) if up is None or down is None else (up, down))
    # After a reset a qubit is in |0>, which relaxation leaves as it is; no calibration says more of it.
    channels = {(name, tuple(qubits)): error for name, qubits, error in errors if name != "reset"}
    return DeviceNoise(channels, np.array(flips))


@lru_cache(maxsize=16)
def _known_uniform(parameters: UniformNoiseSpec, num_qubits: int) -> DeviceNoise:
    return uniform_noise(parameters, num_qubits)


def uniform_noise(parameters: UniformNoiseSpec, num_qubits: int) -> DeviceNoise:
    """Noise that is the same on all qubits and pairs."""
    # One object for all places: what is worked out of a channel later is then worked out once.
    single = _channel(parameters, 1)
    channels: dict[GatePlace, QuantumError] = {}
    for qubit in range(num_qubits):
        channels |= {(name, (qubit,)): single for name in ("sx", "x")}
    double = _channel(parameters, 2)
    for one in range(num_qubits):
        channels |= {("cz", (one, other)): double for other in range(num_qubits) if other != one}
    noisy = {place: error for place, error in channels.items() if not error.ideal()}
    flips = [[parameters.readout_1_given_0, parameters.readout_0_given_1]] * num_qubits
    return DeviceNoise(noisy, np.array(flips), readout_only=not parameters.on_gates)


def attached_noise(noise: DeviceNoise, circuits: Iterable[QuantumCircuit]) -> DeviceNoise:
    """The channels that some gate of the circuits meets.

    Raises:
        BackendError: If there is none: the gates would be noiseless without a word.
    """
    used = {
        (step.name, tuple(circuit.find_bit(bit).index for bit in step.qubits))
        for circuit in circuits
        for step in circuit.data
    }
    # Aer drops what matches no gate without a word, and a noiseless "noisy" result looks like any other.
    channels = {place: error for place, error in noise.channels.items() if place in used}
    if channels or noise.readout_only:
        return replace(noise, channels=channels)
    raise BackendError(
        "The noise of a backend must attach to some gate of the circuit",
        got=f"gates {_names(used)}, and noise on {_names(noise.channels) or 'none'}",
        fix="Check the snapshot or the device, or use a noiseless entry such as aer",
    )


def noise_model(noise: DeviceNoise, *, readout: bool) -> NoiseModel:
    """The noise as Aer takes it; readout errors only where shots are drawn with them."""
    model = NoiseModel()
    for (name, qubits), error in noise.channels.items():
        model.add_quantum_error(error, name, list(qubits))
    if readout:
        for qubit, (up, down) in enumerate(noise.flips):
            model.add_readout_error(ReadoutError([[1 - up, up], [down, 1 - down]]), [qubit])
    return model


def _channel(parameters: UniformNoiseSpec, num_qubits: int) -> QuantumError:
    strength = parameters.depolarizing_1q if num_qubits == 1 else parameters.depolarizing_2q
    seconds = 1e-9 * (parameters.gate_ns_1q if num_qubits == 1 else parameters.gate_ns_2q)
    t1 = np.inf if parameters.t1_us is None else 1e-6 * parameters.t1_us
    # 1/T2 = 1/(2 T1) + 1/Tphi: at twice T1 nothing but relaxation is left.
    t2 = 2 * t1 if parameters.t2_us is None else 1e-6 * parameters.t2_us
    relaxation = thermal_relaxation_error(t1, t2, seconds)
    for _ in range(num_qubits - 1):
        relaxation = relaxation.expand(thermal_relaxation_error(t1, t2, seconds))
    # Depolarising first, as Aer's own model of a device has it.
    return depolarizing_error(strength, num_qubits).compose(relaxation)


def _names(places: Iterable[GatePlace]) -> str:
    return ", ".join(sorted({name for name, _ in places}))


def scale_noise(noise: DeviceNoise, scale: float) -> DeviceNoise:
    """Make noise ``scale`` times as strong: 0 is none, 1 is the noise itself.

    A channel with superoperator S becomes exp(k log S), as if its physics had acted k times as long; the
    readout matrix P becomes I + k (P - I).

    Raises:
        BackendError: If a channel has no logarithm, or a readout error would pass 1.
    """
    # Not through the logarithm, from which it would come back only within 3e-9.
    if scale == 1:
        return noise
    # Without a logarithm, which a channel that loses all of a qubit does not have.
    if scale == 0:
        return replace(noise, channels={}, flips=np.zeros_like(noise.flips))
    # Gates alike share a channel object.
    alike = {id(error): error for error in noise.channels.values()}
    scaled = {place: _scale_channel(_Same(error), scale) for place, error in alike.items()}
    channels = {place: scaled[id(error)] for place, error in noise.channels.items()}
    flips = scale * noise.flips
    if (flips > 1).any():
        raise BackendError(
            "A readout error must stay a probability when scaled",
            got=f"{scale:g} times {noise.flips.max():.3g}",
            fix="Use a smaller noise_scale",
        )
    return replace(noise, channels=channels, flips=flips)


@dataclass(frozen=True, eq=False)
class _Same:
    """A channel by its identity: to compare two of them takes as long as to scale one."""

    error: QuantumError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.error is other.error

    def __hash__(self) -> int:
        return id(self.error)


@lru_cache(maxsize=1024)
def _scale_channel(channel_of: _Same, scale: float) -> QuantumError:
    # Here, since most runs scale nothing and SciPy takes its time to import.
    from scipy.linalg import expm, logm

    channel = SuperOp(channel_of.error).data
    # A singular matrix has no logarithm, whatever logm gives for it.
    if np.linalg.svd(channel, compute_uv=False).min() < 1e-12:
        raise BackendError(
            "A noise channel must have a logarithm to be scaled",
            got="one that loses all it acts on",
            fix="Use noise_scale 1, or a layout without that gate",
        )
    power = np.asarray(expm(scale * logm(channel)), dtype=np.complex128)
    return QuantumError(_nearest_channel(power))


def _nearest_channel(superoperator: _Matrix) -> Kraus:
    """Kraus operators of what is a channel up to rounding, or almost one for a broken k."""
    choi = Choi(SuperOp(superoperator)).data
    # The Hermitian part alone: the rest is rounding of the logarithm.
    values, vectors = np.linalg.eigh((choi + choi.conj().T) / 2)
    size = int(np.sqrt(len(values)))
    # Below it is rounding, or what a power that is no channel has below zero.
    kept = values > 1e-14
    # Choi stacks columns: vec(K)[i + size * j] = K[i, j].
    operators = [
        np.sqrt(value) * vector.reshape(size, size, order="F")
        for value, vector in zip(values[kept], vectors[:, kept].T, strict=True)
    ]
    # A part below zero was cut off: give the trace back.
    total = sum(each.conj().T @ each for each in operators)
    roots, frame = np.linalg.eigh(total)
    mend = (frame / np.sqrt(roots)) @ frame.conj().T
    return Kraus([each @ mend for each in operators])
