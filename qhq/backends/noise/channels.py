"""The noise of the qubits in use: a channel for each gate, a pair of flip probabilities for each readout."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit_aer.noise import (
    NoiseModel,
    QuantumError,
    ReadoutError,
    depolarizing_error,
    thermal_relaxation_error,
)
from qiskit_aer.noise.device import basic_device_gate_errors

from qhq.backends.devices.calibration import Calibration
from qhq.backends.devices.target import build_target
from qhq.backends.executor import FloatArray
from qhq.backends.noise.spec import UniformNoiseSpec
from qhq.errors import BackendError

Place = tuple[str, tuple[int, ...]]
"""Name of a gate and the qubits it acts on, in order."""


@dataclass(frozen=True)
class DeviceNoise:
    """Noise on n qubits.

    Attributes:
        channels: What follows a gate, by its name and qubits.
        flips: Probability to read 1 for a 0, and 0 for a 1, shape (n, 2).
        readout_only: Whether gates are noiseless on purpose.
    """

    channels: dict[Place, QuantumError]
    flips: FloatArray
    readout_only: bool = False


def calibrated_noise(calibration: Calibration) -> DeviceNoise:
    """Noise of a calibrated device, by Aer's rule.

    Each gate is followed by T1 and T2 relaxation for its duration and as much depolarising as makes its
    average fidelity the measured one. Readout has the two probabilities of each qubit.
    """
    errors = basic_device_gate_errors(target=build_target(calibration))
    flips = [_flips(calibration, qubit) for qubit in range(calibration.num_qubits)]
    return DeviceNoise({(name, tuple(qubits)): error for name, qubits, error in errors}, np.array(flips))


def uniform_noise(parameters: UniformNoiseSpec, num_qubits: int) -> DeviceNoise:
    """Noise that is the same on all qubits and pairs."""
    single = _channel(parameters, 1)
    channels: dict[Place, QuantumError] = {}
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
    used = {place for circuit in circuits for place in _places(circuit)}
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


def _flips(calibration: Calibration, qubit: int) -> tuple[float, float]:
    both = calibration.qubit(qubit, "readout_error") or 0.0
    up, down = (calibration.qubit(qubit, f"prob_meas{one}_prep{1 - one}") for one in (1, 0))
    return (both, both) if up is None or down is None else (up, down)


def _channel(parameters: UniformNoiseSpec, num_qubits: int) -> QuantumError:
    strength = parameters.depolarizing_1q if num_qubits == 1 else parameters.depolarizing_2q
    seconds = 1e-9 * (parameters.gate_ns_1q if num_qubits == 1 else parameters.gate_ns_2q)
    t1 = np.inf if parameters.t1_us is None else 1e-6 * parameters.t1_us
    t2 = 2 * t1 if parameters.t2_us is None else 1e-6 * parameters.t2_us
    relaxation = thermal_relaxation_error(t1, t2, seconds)
    for _ in range(num_qubits - 1):
        relaxation = relaxation.expand(thermal_relaxation_error(t1, t2, seconds))
    return depolarizing_error(strength, num_qubits).compose(relaxation)


def _places(circuit: QuantumCircuit) -> Iterable[Place]:
    for instruction in circuit.data:
        yield instruction.name, tuple(circuit.find_bit(bit).index for bit in instruction.qubits)


def _names(places: Iterable[Place]) -> str:
    return ", ".join(sorted({name for name, _ in places}))
