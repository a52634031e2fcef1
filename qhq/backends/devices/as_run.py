"""An ansatz as a device would run it, for drawing, exporting and counting; nothing is run."""

from __future__ import annotations

from typing import Any

from qiskit.circuit import QuantumCircuit, QuantumRegister

from qhq.ansatz.program import Ansatz
from qhq.backends.devices.device import CalibratedDevice, Device, load_device
from qhq.backends.devices.isa import IsaProgram, build_isa
from qhq.backends.spec import BackendSpec, IBMSpec, find_backend
from qhq.errors import ConfigError


def as_run(ansatz: Ansatz, backend: str) -> tuple[Ansatz, tuple[int, ...]]:
    """Write an ansatz in the gates of a device, on the physical qubits in use.

    Args:
        ansatz: What to write.
        backend: An entry with a device: fake, of an account, a snapshot, or noise parameters.

    Returns:
        The ansatz, whose qubit k is the k-th physical qubit in use, and the physical qubit that each
        logical one is read from.

    Raises:
        ConfigError: If the entry has no device.
        BackendError: If the ansatz does not fit the device.
    """
    spec: Any = find_backend(backend)
    device = _device(spec, ansatz.num_qubits)
    isa = build_isa(ansatz.lowered, ansatz.parameters, ansatz.observables, device, spec.transpile)
    cut = isa.cut()
    inputs, weights = cut.parameters[: ansatz.num_inputs], cut.parameters[ansatz.num_inputs :]
    named = _named(cut.circuit, isa)
    # It changes no expectation, and keeps a parameter that stands in no gate (any more) in the circuit.
    idle = set(cut.parameters) - set(named.parameters)
    named.global_phase = sum((each for each in cut.parameters if each in idle), 0)
    return Ansatz(named, inputs, weights, cut.observables, ansatz.angle_scaling), isa.layout


def _named(circuit: QuantumCircuit, isa: IsaProgram) -> QuantumCircuit:
    """Call each qubit by its physical number, and by the logical one that is read from it."""
    logical = {physical: f"_q{index}" for index, physical in enumerate(isa.layout)}
    named = QuantumCircuit(*(QuantumRegister(1, f"p{each}{logical.get(each, '')}") for each in isa.qubits))
    return named.compose(circuit, range(circuit.num_qubits))


def _device(spec: BackendSpec, num_qubits: int) -> Device:
    if isinstance(spec, IBMSpec):
        # The client takes two seconds to import.
        from qhq.backends.ibm.opening import open_client, read_device

        device: CalibratedDevice = read_device(open_client(spec), spec)
        return device
    noise = getattr(spec, "noise", None)
    if noise is None:
        raise ConfigError(
            "--isa needs a backend with a device",
            got=f"'{spec.name}', which runs the circuit as it stands",
            fix="Name a device, such as fake_fez or ibm_fez",
        )
    return load_device(noise, num_qubits)
