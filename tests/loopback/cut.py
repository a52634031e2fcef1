"""Cut a circuit and its device down to the qubits that meet others, so a large device can be simulated."""

from __future__ import annotations

from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import Barrier
from qiskit.providers import BackendV2, Options
from qiskit.transpiler import Target
from qiskit_aer.noise import NoiseModel, ReadoutError
from qiskit_ibm_runtime.models import BackendProperties, QasmBackendConfiguration
from qiskit_ibm_runtime.utils.backend_converter import convert_to_target

from .devices import Device

LONE_GATES = {"rz", "sx", "x", "id", "delay", "measure", "barrier"}
_CONFIGURATION = (
    "backend_name",
    "backend_version",
    "basis_gates",
    "dt",
    "max_shots",
    "supported_instructions",
)
_INSTRUCTIONS = {"measure", "delay", "reset"}


def split_qubits(circuit: QuantumCircuit) -> tuple[list[int], list[int]]:
    """Physical qubits that meet others (or bear a gate not in `LONE_GATES`), and lone measured ones."""
    together, measured = set(), set()
    for instruction in circuit.data:
        qubits = {circuit.find_bit(qubit).index for qubit in instruction.qubits}
        if instruction.operation.name == "measure":
            measured |= qubits
        if not _is_lone(instruction.operation, len(qubits)):
            together |= qubits
    return sorted(together), sorted(measured - together)


def cut_circuit(circuit: QuantumCircuit, kept: list[int]) -> QuantumCircuit:
    """The circuit on the kept qubits, renumbered in their order; all classical bits stay."""
    cut = QuantumCircuit(len(kept), global_phase=circuit.global_phase)
    cut.add_bits(circuit.clbits)
    for register in circuit.cregs:
        cut.add_register(register)
    place = {circuit.qubits[old]: new for new, old in enumerate(kept)}
    for instruction in circuit.data:
        qubits = [place[qubit] for qubit in instruction.qubits if qubit in place]
        if instruction.operation.name == "barrier":
            cut.append(Barrier(len(qubits)), qubits) if qubits else None
        elif qubits:
            cut.append(instruction.operation, qubits, instruction.clbits)
    return cut


def cut_noise(device: Device, kept: list[int]) -> NoiseModel:
    """Gate, relaxation and readout errors of the kept qubits, renumbered in their order.

    Aer reads one readout error a qubit from a target; the calibration has two, so they are set here.
    """
    model = NoiseModel.from_backend(_Cut(_target(device, kept)), readout_error=False)
    for new, old in enumerate(kept):
        up, down = readout(device, old)
        model.add_readout_error(ReadoutError([[1 - up, up], [down, 1 - down]]), [new])
    return model


def readout(device: Device, qubit: int) -> tuple[float, float]:
    """Chance to read 1 from a prepared 0, and 0 from a prepared 1."""
    values = {entry["name"]: entry["value"] for entry in device.properties["qubits"][qubit]}
    both = values.get("readout_error", 0.0)
    return values.get("prob_meas1_prep0", both), values.get("prob_meas0_prep1", both)


class _Cut(BackendV2):
    """The least backend that Aer reads a noise model from."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target

    target = property(lambda self: self._target)
    max_circuits = None

    @classmethod
    def _default_options(cls) -> Options:
        return Options()

    def run(self, run_input: Any, **options: Any) -> Any:
        raise NotImplementedError


def _is_lone(operation: Any, qubits: int) -> bool:
    if operation.name == "barrier":
        return True
    plain = all(isinstance(angle, int | float | Parameter) for angle in operation.params)
    return qubits == 1 and operation.name in LONE_GATES and plain


def _target(device: Device, kept: list[int]) -> Target:
    place = {old: new for new, old in enumerate(kept)}
    whole = device.configuration
    gates = [
        {**gate, "coupling_map": _renumber(gate.get("coupling_map", []), place)} for gate in whole["gates"]
    ]
    configuration = {key: whole[key] for key in _CONFIGURATION if key in whole} | {
        "n_qubits": len(kept),
        "gates": [gate for gate in gates if gate["coupling_map"]],
        "coupling_map": _renumber(whole["coupling_map"], place),
        "supported_instructions": sorted(_INSTRUCTIONS),
    }
    configuration["basis_gates"] = [gate["name"] for gate in configuration["gates"]]
    flags = ("local", "simulator", "conditional", "open_pulse", "memory")
    parsed = QasmBackendConfiguration.from_dict(configuration | dict.fromkeys(flags, False))
    return convert_to_target(parsed, _properties(device, place))


def _properties(device: Device, place: dict[int, int]) -> BackendProperties:
    whole = device.properties
    gates = [
        {**gate, "qubits": [place[q] for q in gate["qubits"]]}
        for gate in whole["gates"]
        if _inside(gate, place)
    ]
    cut = {key: whole[key] for key in ("backend_name", "backend_version", "last_update_date")}
    return BackendProperties.from_dict(
        {**cut, "qubits": [whole["qubits"][old] for old in place], "gates": gates, "general": []}
    )


def _inside(gate: dict[str, Any], place: dict[int, int]) -> bool:
    return set(gate["qubits"]) <= set(place)


def _renumber(pairs: list[list[int]], place: dict[int, int]) -> list[list[int]]:
    return [[place[q] for q in pair] for pair in pairs if set(pair) <= set(place)]
