"""What an entry of ``backends.yaml`` calls a device: where gates may go, and the noise they have there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from qiskit.transpiler import CouplingMap, Target

from qhq.backends.devices.calibration import Calibration
from qhq.backends.devices.fakes import load_fake
from qhq.backends.devices.snapshot import load_snapshot
from qhq.backends.devices.target import build_target
from qhq.backends.noise.channels import DeviceNoise, calibrated_noise, uniform_noise
from qhq.backends.noise.spec import NoiseSpec, UniformNoiseSpec
from qhq.errors import BackendError

UNIFORM_BASIS = ["cz", "measure", "rz", "sx", "x"]
"""Gates of a device known by parameters alone: those of a Heron."""


@dataclass(frozen=True)
class CalibratedDevice:
    """A device known by its configuration and properties: fake, frozen in a snapshot, or real.

    ``fractional`` is whether programs for it may have fractional gates.
    """

    calibration: Calibration
    fractional: bool = False

    @property
    def name(self) -> str:
        """Name of the device, as it calls itself."""
        return self.calibration.name

    @property
    def date(self) -> str | None:
        """When its calibration was last updated: ISO 8601, UTC."""
        return self.calibration.date

    @property
    def fingerprint(self) -> str:
        """Digest of all that a transpiled circuit depends on."""
        return self.calibration.fingerprint + ("+fractional" if self.fractional else "")

    @cached_property
    def target(self) -> Target:
        """Gates, where they may act, and their errors."""
        return build_target(self.calibration, fractional=self.fractional)

    def noise(self, qubits: Sequence[int]) -> DeviceNoise:
        """Noise on some physical qubits, renumbered; the rest of the device costs nothing."""
        return calibrated_noise(self.calibration.cut(qubits))


@dataclass(frozen=True)
class UniformDevice:
    """A device known by parameters alone: every qubit is alike and a neighbour of every other."""

    parameters: UniformNoiseSpec
    num_qubits: int

    name = "parameters"
    date = None

    @property
    def fingerprint(self) -> str:
        """Digest of all that a transpiled circuit depends on: the width."""
        return hashlib.sha256(f"uniform {self.num_qubits}".encode()).hexdigest()

    @cached_property
    def target(self) -> Target:
        """Gates, where they may act, and their errors."""
        pairs = [[one, other] for one in range(self.num_qubits) for other in range(self.num_qubits)]
        return Target.from_configuration(
            UNIFORM_BASIS,
            num_qubits=self.num_qubits,
            coupling_map=CouplingMap([pair for pair in pairs if pair[0] != pair[1]] or None),
        )

    def noise(self, qubits: Sequence[int]) -> DeviceNoise:
        """Noise on some physical qubits, renumbered."""
        return uniform_noise(self.parameters, len(qubits))


Device = CalibratedDevice | UniformDevice


def load_device(noise: NoiseSpec, num_qubits: int) -> Device:
    """The device that an entry names.

    Args:
        noise: A device, a snapshot or parameters.
        num_qubits: Qubits of the program.

    Raises:
        ConfigError: If there is no such device, or the file is no snapshot.
        BackendError: If it has fewer qubits than the program.
    """
    if noise.parameters is not None:
        return UniformDevice(noise.parameters, num_qubits)
    device = CalibratedDevice(load_calibration(noise))
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
