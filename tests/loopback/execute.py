"""Run an executor job for real: the qubits that meet on Aer, the lone ones in closed form."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from ibm_quantum_schemas.common import CompressedTensorModel
from ibm_quantum_schemas.executor.version_2_0 import (
    ItemMetadataModel,
    MetadataModel,
    ParamsModel,
    QuantumProgramResultItemModel,
    QuantumProgramResultModel,
)
from qiskit import QuantumCircuit
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import SamplerV2
from qiskit_ibm_runtime.fake_provider.executor.broadcast_sample import broadcast_sample
from qiskit_ibm_runtime.quantum_program.converters import quantum_program_from_2_0
from samplomatic.quantum_program import SamplexItem

from .cut import cut_circuit, cut_noise, readout, split_qubits
from .devices import load_device
from .lone import chances_of_one


def run_job(params: dict[str, Any], device: str, *, noisy: bool, seed: int) -> str:
    """Run the parameters of an executor job on a device and return the result as the service's JSON."""
    model = ParamsModel.model_validate(params)
    program, _ = quantum_program_from_2_0(model)
    rng = np.random.default_rng(seed)
    results = [_run_item(item, program.shots, device if noisy else None, rng) for item in program.items]
    return QuantumProgramResultModel(
        data=[_result(arrays) for arrays in results],
        metadata=MetadataModel(chunk_timing=[]),
        passthrough_data=model.quantum_program.passthrough_data,
        semantic_role=model.quantum_program.semantic_role,
    ).model_dump_json()


def _result(arrays: dict[str, np.ndarray]) -> QuantumProgramResultItemModel:
    tensors = {
        name: CompressedTensorModel.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()
    }
    return QuantumProgramResultItemModel(results=tensors, metadata=ItemMetadataModel())


def _run_item(item: Any, shots: int, device: str | None, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Registers of one program item, boolean (*shape, shots, bits), and what its samplex says about them."""
    if isinstance(item, SamplexItem):
        item.samplex.finalize()
        drawn = broadcast_sample(item.samplex, item.samplex_arguments, item.shape, rng)
        values, shape = drawn.pop("parameter_values"), tuple(item.shape)
    else:
        values, drawn = np.asarray(item.circuit_arguments, dtype=float), {}
        shape = values.shape[:-1]
    registers = _measure(item.circuit, values.reshape(math.prod(shape), -1), shots, device, rng)
    return drawn | {name: bits.reshape(*shape, *bits.shape[1:]) for name, bits in registers.items()}


def _measure(
    circuit: QuantumCircuit, values: np.ndarray, shots: int, device: str | None, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Registers (B, shots, bits) of a circuit at B rows of parameter values."""
    together, lone = split_qubits(circuit)
    registers = {r.name: np.zeros((len(values), shots, r.size), dtype=bool) for r in circuit.cregs}
    if together:
        registers |= _on_aer(circuit, together, values, shots, device, int(rng.integers(2**31)))
    if lone:
        bits = _draw_lone(circuit, lone, values, shots, device, rng)
        for qubit, register, index in _measurements(circuit):
            if qubit in lone:
                registers[register][:, :, index] = bits[:, :, lone.index(qubit)]
    return registers


def _on_aer(
    circuit: QuantumCircuit, kept: list[int], values: np.ndarray, shots: int, device: str | None, seed: int
) -> dict[str, np.ndarray]:
    cut = cut_circuit(circuit, kept)
    column = {parameter: index for index, parameter in enumerate(circuit.parameters)}
    chosen = values[:, [column[parameter] for parameter in cut.parameters]]
    bindings = BindingsArray({tuple(cut.parameters): chosen} if cut.parameters else {}, shape=(len(values),))
    sampler = SamplerV2.from_backend(_simulator(device, tuple(kept)), seed=seed)
    data = sampler.run([SamplerPub(cut, bindings, shots=shots)]).result()[0].data
    return {name: bits.to_bool_array(order="little") for name, bits in dict(data).items()}


@functools.lru_cache(maxsize=32)
def _simulator(device: str | None, kept: tuple[int, ...]) -> AerSimulator:
    if device is None:
        return AerSimulator(max_parallel_threads=1)
    return AerSimulator(noise_model=cut_noise(load_device(device), list(kept)), max_parallel_threads=1)


def _draw_lone(
    circuit: QuantumCircuit,
    lone: list[int],
    values: np.ndarray,
    shots: int,
    device: str | None,
    rng: np.random.Generator,
) -> np.ndarray:
    chances = chances_of_one(circuit, lone, values)
    if device is not None:
        up, down = np.array([readout(load_device(device), qubit) for qubit in lone]).T
        chances = chances * (1 - down) + (1 - chances) * up
    return rng.random((len(values), shots, len(lone)), dtype=np.float32) < chances[:, None, :]


def _measurements(circuit: QuantumCircuit) -> list[tuple[int, str, int]]:
    """Qubit, register and index in the register of every measurement."""
    found = []
    for instruction in circuit.data:
        if instruction.operation.name == "measure":
            register, index = circuit.find_bit(instruction.clbits[0]).registers[0]
            found.append((circuit.find_bit(instruction.qubits[0]).index, register.name, index))
    return found
