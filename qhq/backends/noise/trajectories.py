"""Noisy expectation values from shots, each a state with noise of its own: no density matrix is held."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit.primitives.containers import BindingsArray, BitArray
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import SamplerV2

from qhq.backends.executor import FloatArray
from qhq.backends.noise.channels import noise_model
from qhq.backends.noise.program import NoisyProgram
from qhq.backends.noise.readout import shot_values
from qhq.backends.simulators.aer import SAMPLES_PER_PUB, by_chunks, job_result
from qhq.backends.spec import SimulatedSpec
from qhq.seeding import child_seed


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
        self._flips = np.zeros_like(program.noise.flips) if sampled else program.noise.flips
        self._measured = [_measured(circuit) for circuit in program.circuits]
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
        seed = child_seed(self._seed, f"call {next(self._calls)}")
        sampler = SamplerV2.from_backend(self._simulator, default_shots=self._shots, seed=seed)
        rows = BindingsArray({self._parameters: values})
        results = job_result(sampler.run([(circuit, rows) for circuit in self._measured]))
        parts = [
            shot_values(group, _bits(result.data.meas), self._flips)
            for group, result in zip(self._groups, results, strict=True)
        ]
        total: FloatArray = np.sum(parts, axis=0)
        return total


def _measured(circuit: QuantumCircuit) -> QuantumCircuit:
    measured: QuantumCircuit = circuit.copy()
    measured.measure_all()
    return measured


def _bits(bits: BitArray) -> NDArray[np.uint8]:
    # BitArray packs big-endian: the last bit belongs to qubit 0.
    return np.unpackbits(bits.array, axis=-1)[..., ::-1][..., : bits.num_bits]
