"""Entries with noise, simulated by Aer: a program on physical qubits, cut to those in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qiskit.circuit import Parameter, QuantumCircuit

from qhq.ansatz.program import Ansatz
from qhq.backends.devices.calibration import Calibration
from qhq.backends.devices.isa import IsaProgram, build_isa, check_isa
from qhq.backends.executor import Report
from qhq.backends.gradients import Program, ValuesExecutor
from qhq.backends.local.aer import check_width
from qhq.backends.local.kind import SimulatedSpec
from qhq.backends.noisy.noise import NoisyDevice
from qhq.backends.noisy.programs import (
    DensityProgram,
    DrawnProgram,
    NoisyProgram,
    TrajectoryProgram,
    build_noisy_program,
    check_density_width,
)
from qhq.seeding import child_seed


class NoisyExecutor(ValuesExecutor):
    """An ansatz on a simulated device.

    Values and parameter-shift gradients run the same transpiled circuit, in which each angle stands for
    itself, so the gradients are those of the noisy values.

    Args:
        spec: The entry.
        device: Where its noise comes from.
        ansatz: The program.
        seed: Where shots and perturbations come from.

    Raises:
        BackendError: If the program does not fit the device, fails the correctness gate, or meets no noise.
    """

    isa: IsaProgram
    program: NoisyProgram

    def __init__(self, spec: SimulatedSpec, device: NoisyDevice, ansatz: Ansatz, seed: int) -> None:
        self._spec, self._device, self._seed = spec, device, seed
        # Before the transpiler and the gate: the qubits in use are these at least.
        if spec.method == "density_matrix":
            check_density_width(ansatz.num_qubits)
        else:
            check_width(spec.method, ansatz.num_qubits)
        super().__init__(spec, ansatz, seed, spec.spsa)

    @property
    def device(self) -> NoisyDevice:
        """Where its noise comes from."""
        return self._device

    @property
    def calibration(self) -> Calibration | None:
        """What it runs under; None where the noise is given by parameters."""
        return self._device.calibration

    def report(self) -> Report:
        """Say what ran."""
        layout = None if self.calibration is None else self.isa.layout
        return replace(self.report_on(self.isa.circuit), layout=layout, calibration=self._device.date)

    def open_program(self, circuit: QuantumCircuit, parameters: Sequence[Parameter]) -> Program:
        """The circuit on the device, past the gate, with its noise."""
        spec = self._spec
        self.isa = build_isa(circuit, parameters, self._ansatz.observables, self._device, spec.transpile)
        check_isa(self.isa, self._ansatz, seed=spec.transpile.seed)
        self.program = program = build_noisy_program(self.isa, self._device, spec.noise_scale)
        seed = child_seed(self._seed, "noisy values")
        if spec.method != "density_matrix":
            return TrajectoryProgram(program, spec, seed)
        if spec.shots is None:
            return DensityProgram(program, spec.threads)
        return DrawnProgram(program, spec.threads, shots=spec.shots, readout=spec.readout, seed=seed)
