"""Entries with noise: Aer on the physical qubits in use, and qhq's noisy engine for gradients.

The engine gives what Aer's density matrix gives, with adjoint gradients.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.quantum_info import PTM, Kraus, Operator, SuperOp

from qhq.ansatz.program import Ansatz
from qhq.backends.backend import Method
from qhq.backends.devices.calibration import Calibration
from qhq.backends.devices.isa import JOB_SECONDS, IsaProgram, check_isa
from qhq.backends.executor import DeviceCost, FloatArray, Parity, Report, check_parity, parity_tolerance
from qhq.backends.gradients import OpenedCircuit, ValuesExecutor
from qhq.backends.local import SimulatedSpec
from qhq.backends.local.aer import check_method_width
from qhq.backends.local.shots import (
    PARITY_ROWS,
    Draws,
    MeasuredGroup,
    Probabilities,
    SampledExecutor,
    SampledProgram,
    SampledTrainingExecutor,
    outcome_values,
)
from qhq.backends.local.statevector import EngineExecutor
from qhq.backends.noisy import AerSpec, FakeSpec
from qhq.backends.noisy.layouts import build_smallest_isa
from qhq.backends.noisy.mitigation import (
    NOISE_FACTORS,
    CancelledProgram,
    ExtrapolatedProgram,
    twirl_readout,
)
from qhq.backends.noisy.noise import DeviceNoise, NoisyDevice, load_device
from qhq.backends.noisy.programs import (
    DensityProgram,
    DrawnProgram,
    NoisyProgram,
    TrajectoryProgram,
    build_noisy_program,
    change_of_basis,
    check_density_width,
)
from qhq.engine import MOST_NOISY_QUBITS, Channels, DensityEngine, TrajectoryEngine
from qhq.engine.compile import AngleMap, separate_angles
from qhq.errors import BackendError, apart
from qhq.seeding import child_generator, child_seed

# Of a row, in the comparison with Aer before training.
_CHECKED_TRAJECTORIES = 256
# What the comparison allows beyond the errors: an error of the noise that none of the trajectories met.
_RARE = 0.02


class NoisyExecutor(ValuesExecutor):
    """An ansatz on a simulated device.

    Values and parameter-shift gradients run the same transpiled circuit, in which each angle stands for
    itself, so the gradients are those of the noisy values.

    Args:
        spec: The entry.
        device: Where its noise comes from.
        ansatz: The program.
        seed: Where shots and perturbations come from.
        method: What is done against the noise.

    Raises:
        BackendError: If the program does not fit the device, fails the correctness gate, or meets no noise.
    """

    isa: IsaProgram
    program: NoisyProgram

    def __init__(
        self, spec: SimulatedSpec, device: NoisyDevice, ansatz: Ansatz, seed: int, method: Method = "none"
    ) -> None:
        self._spec, self._device, self._seed, self._method = spec, device, seed, method
        # Before the transpiler and the gate: the qubits in use are these at least.
        if spec.method == "density_matrix":
            check_density_width(ansatz.num_qubits)
        else:
            check_method_width(spec.method, ansatz.num_qubits)
        super().__init__(spec, ansatz, seed, spec.spsa)

    @property
    def shots(self) -> int | None:
        """Shots a value is estimated from; None if it is exact."""
        return self._spec.shots

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

    def open_program(self, circuit: QuantumCircuit, parameters: Sequence[Parameter]) -> OpenedCircuit:
        """The circuit on the device, past the gate, with its noise."""
        spec = self._spec
        self.isa = build_smallest_isa(circuit, parameters, self._ansatz.observables, self._device, spec)
        check_isa(self.isa, self._ansatz, seed=spec.transpile.seed)
        self.program = program = build_noisy_program(self.isa, self._device, spec.noise_scale)
        if self._method == "trex":
            # Where readout errors enter on average, so do the factors that undo them.
            shots = spec.shots if spec.readout == "sampled" else None
            program = twirl_readout(program, shots, child_generator(self._seed, "trex"))
        if self._method == "zne":
            return ExtrapolatedProgram(
                program, lambda each, place: self._open(each, child_seed(self._seed, f"noisy values {place}"))
            )
        if self._method == "pec":
            generator = child_generator(self._seed, "noisy values")
            return CancelledProgram(
                program, spec.threads, shots=spec.shots, readout=spec.readout, generator=generator
            )
        return self._open(program, child_seed(self._seed, "noisy values"))

    def forecast_cost(self, rows: int, shots: int) -> DeviceCost:
        """What so many rows would cost on the device itself, if its values were measured.

        Args:
            rows: Rows of values.
            shots: Measurements of each circuit.
        """
        circuits = rows * len(self.program.groups)
        gates, pause = self._device.seconds(self.isa)
        factors = NOISE_FACTORS if self._method == "zne" else (1,)
        learning = 1 if self._method == "trex" else 0
        seconds = circuits * sum(pause + each * gates for each in factors) + learning * pause
        runs = circuits * len(factors) + learning
        return DeviceCost(runs, runs * shots, JOB_SECONDS + shots * seconds)

    def _open(self, program: NoisyProgram, seed: int) -> OpenedCircuit:
        spec = self._spec
        if spec.method != "density_matrix":
            return TrajectoryProgram(program, spec, seed)
        if spec.shots is None:
            return DensityProgram(program, spec.threads)
        return DrawnProgram(program, spec.threads, shots=spec.shots, readout=spec.readout, seed=seed)


class NoisyEngineExecutor(EngineExecutor):
    """What a training on a simulated device runs on: the noisy engine alone.

    Args:
        aer: The same ansatz on the same device in Aer, which it stands for.

    Raises:
        BackendError: If more qubits are in use than the engine holds.
    """

    def __init__(self, aer: NoisyExecutor) -> None:
        self._aer = aer
        super().__init__(aer.ansatz, _build_density_engine(aer))

    def report(self) -> Report:
        """Say what ran."""
        return replace(self._aer.report(), backend="density")


class TrajectoryExecutor(EngineExecutor):
    """The noisy engine by trajectories: estimates, and unbiased gradients, on more qubits.

    The first rows are compared with Aer's values, within what both may be off by.

    Args:
        aer: The same ansatz on the same device in Aer, which it stands for.
        trajectories: How many a sample.
        seed: Where the trajectories come from.
    """

    def __init__(self, aer: NoisyExecutor, *, trajectories: int, seed: int) -> None:
        self._aer, self._agreed, self._shots = aer, False, aer.shots
        self.trajectories = trajectories
        program = aer.program
        circuits, parameters, angle_map = _engine_circuits(aer, program.circuits)
        worth = [outcome_values(group, program.noise.flips) for group in program.groups]
        # One channel stands at many places, and finding its Kraus operators takes a decomposition.
        kraus = {id(error): Kraus(SuperOp(error)).data for error in program.noise.channels.values()}
        self._trajectories = TrajectoryEngine(
            list(zip(circuits, worth, strict=True)),
            {place: kraus[id(error)] for place, error in program.noise.channels.items()},
            parameters,
            angle_map,
            trajectories=trajectories,
            generator=child_generator(seed, "trajectories"),
        )
        super().__init__(aer.ansatz, self._trajectories)

    def estimate(self, inputs: ArrayLike, weights: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Expectation values (B, O) for inputs (B, I) and weights (W,), and their standard errors (B, O)."""
        return self._trajectories.estimate(*self._checked(inputs, weights))

    def forward(self, inputs: ArrayLike, weights: ArrayLike) -> tuple[FloatArray, Any]:
        """Estimates (B, O), and what ``backward`` goes on from.

        Raises:
            BackendError: If a shape does not fit, or the engine differs from Aer.
        """
        if not self._agreed and len(np.asarray(inputs)):
            # Once is enough, as for the exact engine.
            self._check_against_aer(inputs, weights)
            self._agreed = True
        return super().forward(inputs, weights)

    def report(self) -> Report:
        """Say what ran."""
        return replace(self._aer.report(), backend="trajectories")

    def _check_against_aer(self, inputs: ArrayLike, weights: ArrayLike) -> None:
        # One row: Aer takes seconds for each at these widths.
        row = np.asarray(inputs)[:1]
        # Two more, as a standard deviation takes two rows however many trajectories each has.
        many = np.repeat(row, _CHECKED_TRAJECTORIES // self.trajectories + 2, axis=0)
        values, _ = self.estimate(many, weights)
        error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
        off = np.abs(values.mean(axis=0) - self._aer.expectations(row, weights)[0])
        shot_error = 0.0 if self._shots is None else 1 / np.sqrt(self._shots)
        # Six standard errors: chance alone refuses one value in 500 million.
        allowed = 6 * np.hypot(error, shot_error) + _RARE
        sys.stderr.write(
            f"qhq: {self._aer.program.num_qubits} qubits in use: the noisy engine follows {self.trajectories}"
            f" trajectories a sample; the standard error of an expectation value is about"
            f" {float(values.std(axis=0, ddof=1).mean()):.2g}\n"
        )
        if (off > allowed).any():
            worst = np.unravel_index(int((off - allowed).argmax()), off.shape)
            difference, most = apart(
                float(off[worst]), float(np.broadcast_to(allowed, off.shape)[worst]), digits=2
            )
            raise BackendError(
                "The noisy engine's trajectories must agree with Aer within the errors of both",
                got=f"a difference of {difference} where {most} is allowed",
                fix="Set gradient: parameter_shift in backends.yaml to train on Aer",
            )


class AdjointNoisyExecutor:
    """A simulated device: Aer for values, and qhq's noisy engine wherever gradients are asked for.

    A training step of a quantum layer goes forward and back on the engine; its first one checks that the two
    agree. Values without gradients are Aer's own.

    Args:
        aer: The ansatz on the device, in Aer.
    """

    def __init__(self, aer: NoisyExecutor, *, trajectories: int, seed: int) -> None:
        self.aer, self._agreed = aer, False
        self._trajectories, self._seed = trajectories, seed

    @cached_property
    def engine(self) -> NoisyEngineExecutor | TrajectoryExecutor:
        """The same on the noisy engine, made when the first gradient is asked for."""
        if self.is_exact:
            return NoisyEngineExecutor(self.aer)
        return TrajectoryExecutor(self.aer, trajectories=self._trajectories, seed=self._seed)

    @property
    def is_exact(self) -> bool:
        """Whether the engine holds a density matrix of the qubits in use; else it follows trajectories."""
        return self.aer.shots is None and self.aer.program.num_qubits <= MOST_NOISY_QUBITS

    @property
    def ansatz(self) -> Ansatz:
        """What it was opened for."""
        return self.aer.ansatz

    @property
    def isa(self) -> IsaProgram:
        """What runs, on the device."""
        return self.aer.isa

    @property
    def calibration(self) -> Calibration | None:
        """What it runs under; None where the noise is given by parameters."""
        return self.aer.calibration

    def expectations(self, inputs: ArrayLike, weights: ArrayLike) -> FloatArray:
        """Aer's expectation values (B, O) for inputs (B, I), in radians, and weights (W,).

        Raises:
            BackendError: If a shape does not fit, a value is not finite, or Aer fails.
        """
        return self.aer.expectations(inputs, weights)

    def forecast_cost(self, rows: int, shots: int) -> DeviceCost:
        """What so many rows would cost on the device itself; see `NoisyExecutor.forecast_cost`."""
        return self.aer.forecast_cost(rows, shots)

    def vjp(
        self, inputs: ArrayLike, weights: ArrayLike, cotangent: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Pull a cotangent (B, O) back to inputs (B, I) and weights (W,), on the engine.

        Raises:
            BackendError: If a shape does not fit, or the engine differs from Aer.
        """
        return self.backward(self.forward(inputs, weights)[1], cotangent)

    def forward(self, inputs: ArrayLike, weights: ArrayLike) -> tuple[FloatArray, Any]:
        """Values (B, O) of the engine, in the precision of the inputs, and what ``backward`` goes on from.

        Raises:
            BackendError: If a shape does not fit, or the engine differs from Aer.
        """
        values, residual = self.engine.forward(inputs, weights)
        # Once is enough: circuit and noise stay, and every later step would pay Aer's time for it.
        if not self._agreed and self.is_exact and len(values):
            few = self.aer.expectations(np.asarray(inputs)[:PARITY_ROWS], weights)
            distance = float(np.abs(values[:PARITY_ROWS] - few).max())
            tolerance = parity_tolerance(values.dtype, self.aer.isa.circuit.size())
            check_parity(Parity(distance, 0.0), tolerance, engine="noisy")
            self._agreed = True
        return values, residual

    def backward(self, residual: Any, cotangent: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Pull a cotangent (B, O) of a forward pass back to inputs (B, I) and weights (W,)."""
        return self.engine.backward(residual, cotangent)

    def report(self) -> Report:
        """Say what ran."""
        return self.aer.report()


def open_noisy(
    spec: AerSpec | FakeSpec, ansatz: Ansatz, *, seed: int
) -> NoisyExecutor | AdjointNoisyExecutor | SampledExecutor:
    """Open an entry with noise; for gradients it has the noisy engine where that holds it.

    Raises:
        ConfigError: If there is no such device, or the file is no snapshot.
        BackendError: If the ansatz does not fit the device or the method.
    """
    assert spec.noise is not None
    aer = NoisyExecutor(spec, load_device(spec.noise, ansatz.num_qubits), ansatz, seed)
    # A study that gives an entry shots does not ask for the gradient again.
    if spec.gradient == "adjoint" and (spec.shots is None or spec.method != "density_matrix"):
        return AdjointNoisyExecutor(aer, trajectories=spec.trajectories, seed=seed)
    if spec.shots is not None:
        fits = spec.method == "density_matrix" and aer.program.num_qubits <= MOST_NOISY_QUBITS
        return SampledExecutor(aer, _sampled_training(spec, aer, seed)) if fits else aer
    return aer


def _sampled_training(spec: AerSpec | FakeSpec, aer: NoisyExecutor, seed: int) -> SampledTrainingExecutor:
    """The same shots, drawn from the probabilities of the noisy engine."""
    program = aer.program

    def open_drawn(circuit: QuantumCircuit, parameters: Sequence[Parameter]) -> SampledProgram:  # noqa: ARG001
        # The circuit that Aer has is on the device already, with the same angles in the same order.
        assert spec.shots is not None
        sources = [_noisy_probabilities(program, rotated) for rotated in program.circuits]
        generator = child_generator(seed, "drawn shots")
        draws = Draws(spec.shots, program.noise.flips, readout=spec.readout, generator=generator)
        return SampledProgram(sources, program.groups, draws)

    def open_judge(circuit: QuantumCircuit, parameters: Sequence[Parameter]) -> OpenedCircuit:  # noqa: ARG001
        return DensityProgram(program, spec.threads)

    return SampledTrainingExecutor(
        spec, aer, open_drawn=open_drawn, open_judge=open_judge, seed=seed, engine="noisy"
    )


def _noisy_probabilities(program: NoisyProgram, circuit: QuantumCircuit) -> Probabilities:
    """Probabilities of what a group of a noisy program measures, before readout errors."""
    qubits, parameters = program.num_qubits, program.parameters
    # |x><x| = 2^-n sum_s (-1)^(x.s) Z^s, and Z is the last of the digits I, X, Y, Z of a Pauli string.
    projectors = np.ones((1, 1))
    for _ in range(qubits):
        projectors = np.kron(np.array([[0.5, 0, 0, 0.5], [0.5, 0, 0, -0.5]]), projectors)
    present = [each for each in parameters if each in circuit.parameters]
    columns = [parameters.index(each) for each in present]
    # Every angle is an input: the rows of a parameter shift differ in all of them.
    engine = DensityEngine(
        circuit, _channels_of(program.noise), projectors, present, AngleMap(present, present, ())
    )
    return lambda values: engine.expectations(values[:, columns], np.zeros(0))


def open_mitigated_noisy(
    spec: AerSpec | FakeSpec, ansatz: Ansatz, method: Method, *, seed: int
) -> NoisyExecutor:
    """Open an entry with noise and a method against it; its gradients come by parameter shift.

    Raises:
        ConfigError: If there is no such device, or the file is no snapshot.
        BackendError: If the ansatz does not fit the device or the method.
    """
    assert spec.noise is not None
    return NoisyExecutor(spec, load_device(spec.noise, ansatz.num_qubits), ansatz, seed, method)


def _build_density_engine(aer: NoisyExecutor) -> DensityEngine:
    """The noisy engine for what an executor runs.

    Raises:
        BackendError: If more qubits are in use than it holds.
    """
    (circuit,), parameters, angle_map = _engine_circuits(aer, [aer.isa.cut().circuit])
    return DensityEngine(
        circuit,
        _channels_of(aer.program.noise),
        _read_observables(aer.program, sorted(aer.device.target.operation_names)),
        parameters,
        angle_map,
    )


def _engine_circuits(
    aer: NoisyExecutor, circuits: Sequence[QuantumCircuit]
) -> tuple[list[QuantumCircuit], Sequence[Parameter], AngleMap]:
    """Circuits on the device for an engine, their parameters, and what these are of inputs and weights."""
    ansatz, cut = aer.ansatz, aer.isa.cut()
    _, expressions = separate_angles(ansatz.lowered)
    # An ansatz without angles was given one, which no value depends on.
    spare = dict.fromkeys(cut.parameters[len(expressions) :], 0.0)
    bound = [
        circuit.assign_parameters({each: 0.0 for each in spare if each in circuit.parameters})
        for circuit in circuits
    ]
    angle_map = AngleMap(expressions, ansatz.inputs, ansatz.weights)
    return bound, cut.parameters[: len(expressions)], angle_map


def _channels_of(noise: DeviceNoise) -> Channels:
    """The channels as Pauli transfer matrices."""
    # Gates alike share a channel object.
    alike = {id(error): error for error in noise.channels.values()}
    known = {place: PTM(SuperOp(error)).data.real for place, error in alike.items()}
    return {place: known[id(error)] for place, error in noise.channels.items()}


def _read_observables(program: NoisyProgram, basis: Sequence[str]) -> FloatArray:
    """Observables as they are read: behind the noisy change of basis of their qubits, with readout errors.

    Returns:
        Coefficients (O, 4^n) of the Pauli strings; qubit 0 is the lowest digit.
    """
    channels = _channels_of(program.noise)
    read: dict[tuple[int, str], FloatArray] = {}

    def factor(qubit: int, letter: str) -> FloatArray:
        """What a readout of Z behind the change of basis says, of the qubit before it."""
        if (qubit, letter) not in read:
            up, down = program.noise.flips[qubit]
            # In the order I, X, Y, Z: what is read is (1 - u - d) Z + (d - u) I.
            read[qubit, letter] = np.array([down - up, 0, 0, 1 - up - down])
            if letter != "Z":
                read[qubit, letter] = read[qubit, letter] @ _transfer(letter, basis, channels, qubit)
        return read[qubit, letter]

    total = np.zeros((program.num_outputs, 4**program.num_qubits))
    for group in program.groups:
        for mask, coefficients in zip(group.masks, group.coefficients, strict=True):
            total += np.outer(coefficients, _string(group, mask, factor, program.num_qubits))
    return total


def _transfer(letter: str, basis: Sequence[str], channels: Channels, qubit: int) -> FloatArray:
    """The noisy change of basis of one qubit, as a Pauli transfer matrix."""
    matrix = np.eye(4)
    for step in change_of_basis(letter, basis).data:
        gate = step.operation
        matrix = channels.get((gate.name, (qubit,)), np.eye(4)) @ PTM(Operator(gate)).data.real @ matrix
    return matrix


def _string(
    group: MeasuredGroup, mask: NDArray[np.bool_], factor: Callable[[int, str], FloatArray], qubits: int
) -> FloatArray:
    """Coefficients (4^n,) of one string: a channel keeps the trace, so a qubit that is not in it stays I."""
    string = np.ones(1)
    for qubit in range(qubits):
        each = factor(qubit, group.letters[qubit]) if mask[qubit] else np.array([1.0, 0, 0, 0])
        # Later qubits to the left, so that qubit 0 is the lowest digit.
        string = np.kron(each, string)
    return string
