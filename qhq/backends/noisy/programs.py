"""Noisy expectation values by Aer: a program with its noise, and three ways to run it.

`DensityProgram` is exact, `DrawnProgram` draws shots from its exact probabilities, and `TrajectoryProgram`
simulates shot by shot where a density matrix is too large.

Readout errors: a qubit's readout says 1 for a 0 with probability u and 0 for a 1 with probability d, so the
measured Z is (1 - u - d) Z + (d - u), and a measured string Z...Z the product of such factors over its
qubits.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Parameter, QuantumCircuit, Reset
from qiskit.exceptions import QiskitError
from qiskit.primitives.containers import BindingsArray, BitArray
from qiskit.quantum_info import PTM, SuperOp
from qiskit.transpiler import Target, generate_preset_pass_manager
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import SamplerV2

from qhq.backends.devices.isa import IsaProgram
from qhq.backends.executor import FloatArray
from qhq.backends.gradients import ROWS_PER_PUB
from qhq.backends.local import SimulatedSpec
from qhq.backends.local.aer import SAMPLES_PER_PUB, aer_error, check_method_width, job_result
from qhq.backends.local.shots import (
    Draws,
    MeasuredGroup,
    Probabilities,
    SampledProgram,
    by_chunks,
    measured_groups,
    outcome_values,
)
from qhq.backends.noisy.noise import DeviceNoise, NoisyDevice, attached_noise, noise_model, scale_noise
from qhq.errors import BackendError
from qhq.limits import size_text
from qhq.seeding import child_generator, child_seed

# The matrix and its copy take half a gigabyte then, four times as much with each qubit more.
MOST_DENSITY_QUBITS = 12
"""Widest circuit that Aer simulates as a density matrix."""

# Most probabilities that Aer hands over at once.
# 64 MB.
_NUMBERS_PER_RUN = 2**23


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


def build_noisy_program(isa: IsaProgram, device: NoisyDevice, scale: float) -> NoisyProgram:
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


def affine_errors(program: NoisyProgram) -> tuple[FloatArray, FloatArray]:
    """Slopes (O,) and offsets (O,) of exact values ``e``: about ``a e + b`` is measured.

    A channel shrinks a Pauli string that it meets by its mean over all strings, ``(tr R - 1) / (d^2 - 1)``
    with its transfer matrix ``R``, and a readout by ``1 - u - d``. A string meets the channels in its causal
    cone. The mean is right for depolarising noise; relaxation shrinks some strings more and others less.
    """
    outputs = program.num_outputs
    weights, slopes, offsets = np.zeros(outputs), np.zeros(outputs), np.zeros(outputs)
    known: dict[int, float] = {}
    for group, circuit in zip(program.groups, program.circuits, strict=True):
        for mask, shares in zip(group.masks, group.coefficients, strict=True):
            shrunk, cone = 1.0, set(np.flatnonzero(mask).tolist())
            up, down = program.noise.flips[mask].T
            # A string of Z is one where all are read right or an even number wrong.
            shrunk *= float(np.prod(1 - up - down))
            offsets += shares * float(np.prod(down - up)) if mask.any() else 0.0
            for step in reversed(circuit.data):
                qubits = tuple(circuit.find_bit(bit).index for bit in step.qubits)
                if cone.isdisjoint(qubits):
                    continue
                if isinstance(step.operation, Reset):
                    cone.difference_update(qubits)  # nothing before it matters
                    continue
                cone.update(qubits)
                error = program.noise.channels.get((step.operation.name, qubits))
                if error is not None:
                    if id(error) not in known:
                        transfer = PTM(SuperOp(error)).data.real
                        known[id(error)] = float((np.trace(transfer) - 1) / (len(transfer) - 1))
                    shrunk *= known[id(error)]
            slopes += np.abs(shares) * shrunk
            weights += np.abs(shares)
    # One slope for a sum of strings: their mean, weighted as they are summed.
    return np.where(weights > 0, slopes / np.where(weights > 0, weights, 1.0), 1.0), offsets


def _rotate(circuit: QuantumCircuit, letters: str, target: Target) -> QuantumCircuit:
    """Append the change of basis that a readout of Z needs, in gates of the device: they are noisy too."""
    rotated: QuantumCircuit = circuit.copy()
    # Sorted, as a set of texts is in another order in each process, and shots would be others.
    for letter in sorted(set(letters) & set("XY")):
        change = change_of_basis(letter, sorted(target.operation_names))
        for qubit in (index for index, each in enumerate(letters) if each == letter):
            rotated.compose(change, [qubit], inplace=True)
    return rotated


def change_of_basis(letter: str, basis: Sequence[str]) -> QuantumCircuit:
    """Gates of a device behind which a readout of Z reads X or Y."""
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


def shot_values(group: MeasuredGroup, bits: NDArray[np.uint8], flips: FloatArray) -> FloatArray:
    """Average shots (N, shots, n) of bits into the group's part of the observables, shape (N, O)."""
    read = np.stack([1 - 2 * flips[:, 0], 2 * flips[:, 1] - 1], axis=1)
    factors = np.where(bits, read[:, 1], read[:, 0])
    strings = [factors[..., mask].prod(axis=-1).mean(axis=-1) for mask in group.masks]
    values: FloatArray = np.stack(strings, axis=-1) @ group.coefficients
    return values


class DensityProgram:
    """Exact probabilities of all outcomes, averaged with exact readout errors.

    Args:
        program: The program with its noise.
        threads: Threads that Aer may use; 0 means all cores.
    """

    def __init__(self, program: NoisyProgram, threads: int) -> None:
        check_density_width(program.num_qubits)
        self.num_qubits, self.num_outputs = program.num_qubits, program.num_outputs
        self._parameters, self._groups, self._flips = program.parameters, program.groups, program.noise.flips
        # Copies: the program's own go to the engines too, which know no instruction to save.
        self._circuits = [circuit.copy() for circuit in program.circuits]
        for circuit in self._circuits:
            # Not expectation values: one run serves all observables of a group, and their readout errors.
            circuit.save_probabilities()
        self._simulator = AerSimulator(
            method="density_matrix",
            noise_model=noise_model(program.noise, readout=False),
            max_parallel_threads=threads,
            runtime_parameter_bind_enable=True,
        )
        self._values = [outcome_values(group, self._flips) for group in self._groups]

    def __call__(self, values: FloatArray) -> FloatArray:
        """Expectation values (N, O) at rows (N, P)."""
        # Each row gives 2^n probabilities, so that wide circuits go in fewer rows at once.
        rows = max(1, min(ROWS_PER_PUB, _NUMBERS_PER_RUN >> self.num_qubits))
        return np.concatenate([np.zeros((0, self.num_outputs)), *by_chunks(self._run, values, rows)])

    def _run(self, values: FloatArray) -> FloatArray:
        parts = [
            self.probabilities(circuit, values) @ weights
            for circuit, weights in zip(self._circuits, self._values, strict=True)
        ]
        total: FloatArray = np.sum(parts, axis=0)
        return total

    def sources(self) -> list[Probabilities]:
        """For each group the probabilities of the outcomes, before readout errors."""
        return [partial(self.probabilities, circuit) for circuit in self._circuits]

    def probabilities(self, circuit: QuantumCircuit, values: FloatArray) -> FloatArray:
        """Probabilities (N, 2**n) of the outcomes; qubit q is bit q."""
        columns = dict(zip(self._parameters, values.T, strict=True))
        try:
            # A circuit without parameters takes no bindings; its one row stands for all.
            job = self._simulator.run(circuit, parameter_binds=[columns] if columns else None, shots=1)
            result = job.result()
            rows = [result.data(index)["probabilities"] for index in range(len(values) if columns else 1)]
        except QiskitError as error:
            raise aer_error(error) from error
        return np.broadcast_to(np.asarray(rows, dtype=np.float64), (len(values), 2**self.num_qubits))


class DrawnProgram(DensityProgram):
    """Shots drawn from the exact probabilities: as measured one by one, without simulating each.

    Args:
        program: The program with its noise.
        threads: Threads that Aer may use; 0 means all cores.
        shots: Shots a value.
        readout: ``sampled`` draws from what is read, ``exact`` from the state.
        seed: Where the shots come from.
    """

    def __init__(self, program: NoisyProgram, threads: int, *, shots: int, readout: str, seed: int) -> None:
        super().__init__(program, threads)
        draws = Draws(shots, self._flips, readout=readout, generator=child_generator(seed, "shots"))
        self._drawn = SampledProgram(self.sources(), self._groups, draws)

    def _run(self, values: FloatArray) -> FloatArray:
        return self._drawn(values)


def check_density_width(num_qubits: int) -> None:
    """Refuse what would take too much time or memory.

    Raises:
        BackendError: With the figure.
    """
    # A bound of its own: memory for 13 qubits is there on most machines, time for a training is not.
    if num_qubits > MOST_DENSITY_QUBITS:
        raise BackendError(
            f"The density matrix of a noisy simulation must have at most {MOST_DENSITY_QUBITS} qubits",
            got=f"{num_qubits} physical qubits in use, {size_text(16 * 4**num_qubits)}",
            fix="Set method to statevector or matrix_product_state with shots, or use fewer qubits",
        )
    check_method_width("density_matrix", num_qubits)


class TrajectoryProgram:
    """Shots of Aer's sampler, one broadcast PUB a setting of the readout.

    Args:
        program: The program with its noise.
        spec: The entry, with shots.
        seed: Where the shots come from; each call draws anew.
    """

    def __init__(self, program: NoisyProgram, spec: SimulatedSpec, seed: int) -> None:
        sampled = spec.readout == "sampled"
        self._parameters, self._groups = program.parameters, program.groups
        # Aer flips the bits where they are sampled: averaged once more they would count twice.
        self._flips = np.zeros_like(program.noise.flips) if sampled else program.noise.flips
        self._measured = [circuit.measure_all(inplace=False) for circuit in program.circuits]
        self._outputs = program.num_outputs
        self._shots, self._seed, self._calls = int(spec.shots or 1), seed, itertools.count()
        self._simulator = AerSimulator(
            method=spec.method,
            noise_model=noise_model(program.noise, readout=sampled),
            max_parallel_threads=spec.threads,
            runtime_parameter_bind_enable=True,
        )

    def __call__(self, values: FloatArray) -> FloatArray:
        """Estimates (N, O) at rows (N, P)."""
        chunks = by_chunks(self._run, values, max(1, SAMPLES_PER_PUB // self._shots))
        return np.concatenate([np.zeros((0, self._outputs)), *chunks])

    def _run(self, values: FloatArray) -> FloatArray:
        # The seed of a sampler is fixed as it is made, so each call makes its own: two batches must not
        # share shots.
        seed = child_seed(self._seed, f"call {next(self._calls)}")
        sampler = SamplerV2.from_backend(self._simulator, default_shots=self._shots, seed=seed)
        rows = BindingsArray({self._parameters: values})
        results = job_result(sampler.run([(circuit, rows) for circuit in self._measured]))
        parts = []
        for group, result in zip(self._groups, results, strict=True):
            counted: BitArray = result.data.meas
            # BitArray packs big-endian: the last bit belongs to qubit 0.
            bits = np.unpackbits(counted.array, axis=-1)[..., ::-1][..., : counted.num_bits]
            parts.append(shot_values(group, bits, self._flips))
        total: FloatArray = np.sum(parts, axis=0)
        return total
