"""A program with its noise, ready to simulate: one circuit for each setting of the readout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.transpiler import Target, generate_preset_pass_manager

from qhq.backends.devices.device import Device
from qhq.backends.devices.isa import IsaProgram
from qhq.backends.noise.channels import DeviceNoise, attached_noise
from qhq.backends.noise.scale import scale_noise
from qhq.backends.simulators.sampling import MeasuredGroup, measured_groups


@dataclass(frozen=True)
class NoisyProgram:
    """A program on the n physical qubits in use, and the noise there.

    Attributes:
        parameters: Columns of a row of values.
        groups: What is measured together.
        circuits: For each group the gates, those of the change of basis at the end.
        noise: Noise on the n qubits.
    """

    parameters: tuple[Parameter, ...]
    groups: tuple[MeasuredGroup, ...]
    circuits: tuple[QuantumCircuit, ...]
    noise: DeviceNoise

    @property
    def num_qubits(self) -> int:
        """Physical qubits in use, n."""
        return len(self.noise.flips)

    @property
    def num_outputs(self) -> int:
        """O."""
        return int(self.groups[0].coefficients.shape[1])


def build_noisy_program(isa: IsaProgram, device: Device, scale: float) -> NoisyProgram:
    """Cut a program and its noise to the qubits in use.

    Args:
        isa: The program on the device.
        device: The device.
        scale: How strong the noise is: 0 none, 1 the device's.

    Raises:
        BackendError: If the noise attaches to no gate, or cannot be scaled.
    """
    cut = isa.cut()
    groups = measured_groups(cut.observables)
    circuits = tuple(_rotate(cut.circuit, group.letters, device.target) for group in groups)
    noise = scale_noise(attached_noise(device.noise(isa.qubits), circuits), scale)
    return NoisyProgram(cut.parameters, groups, circuits, noise)


def _rotate(circuit: QuantumCircuit, letters: str, target: Target) -> QuantumCircuit:
    """Append the change of basis that a readout of Z needs, in gates of the device: they are noisy too."""
    rotated: QuantumCircuit = circuit.copy()
    for letter in sorted(set(letters) & set("XY")):
        change = _change_of_basis(letter, sorted(target.operation_names))
        for qubit in (index for index, each in enumerate(letters) if each == letter):
            rotated.compose(change, [qubit], inplace=True)
    return rotated


def _change_of_basis(letter: str, basis: Sequence[str]) -> QuantumCircuit:
    change = QuantumCircuit(1)
    if {"rz", "sx"} <= set(basis):
        # SX† Z SX = Y, and RZ(pi/2) turns X into Y. By hand, as loading the transpiler takes a second.
        if letter == "X":
            change.rz(np.pi / 2, 0)
        change.sx(0)
        return change
    if letter == "Y":
        change.sdg(0)
    change.h(0)
    written: QuantumCircuit = generate_preset_pass_manager(
        optimization_level=1, basis_gates=[name for name in basis if name != "measure"]
    ).run(change)
    return written
