"""A program on the qubits of a device, and the same program once the device has changed."""

from __future__ import annotations

from qiskit.circuit import Parameter
from qiskit.transpiler import Target

from qhq.backends.devices.device import CalibratedDevice
from qhq.backends.devices.isa import IsaProgram, build_isa, check_same
from qhq.backends.ibm.budget import circuit_seconds, shot_seconds
from qhq.backends.ibm.kind import IBMSpec
from qhq.backends.ibm.pub_request import LaidOut
from qhq.backends.local.aer import measured_groups
from qhq.errors import BackendError


def lay_out(isa: IsaProgram, device: CalibratedDevice, num_qubits: int) -> LaidOut:
    """What a report and a forecast need of a program of so many logical qubits on a device."""
    return LaidOut(
        circuit=isa.circuit,
        parameters=tuple(each.name for each in isa.parameters),
        observables=isa.observables,
        qubits=num_qubits,
        layout=isa.layout,
        calibration=device.date,
        settings=len(measured_groups(isa.observables)),
        gate_seconds=circuit_seconds(isa.circuit, device.target),
        idle_seconds=shot_seconds(device.calibration, device.target, isa.layout),
        fingerprint=device.fingerprint,
    )


def refit(program: LaidOut, spec: IBMSpec, device: CalibratedDevice) -> LaidOut:
    """The same program for a device that has another calibration, other qubits or other gates now.

    It is made from the program alone, so that what was planned by another process, from a circuit that is
    not here, can follow too; and compared with it, as the correctness gate compares with the ansatz.

    Raises:
        BackendError: If it no longer fits, or computes something else.
    """
    named = {each.name: each for each in program.circuit.parameters}
    parameters = tuple(named.get(name, Parameter(name)) for name in program.parameters)
    old = IsaProgram(program.circuit, parameters, program.observables, program.layout)
    if spec.transpile.layout is not None:
        _check_gates(program, device.target, device.name)
        return lay_out(old, device, program.qubits)
    cut = old.cut()
    new = build_isa(cut.circuit, cut.parameters, cut.observables, device, spec.transpile)
    layout = tuple(new.layout[place] for place in cut.layout)
    new = IsaProgram(new.circuit, new.parameters, new.observables, layout)
    check_same(new, old, seed=spec.transpile.seed)
    return lay_out(new, device, program.qubits)


def _check_gates(program: LaidOut, target: Target, device: str) -> None:
    """A layout that the entry fixes is kept as long as each of its gates is still there."""
    for step in program.circuit.data:
        qubits = tuple(program.circuit.find_bit(bit).index for bit in step.qubits)
        if not target.instruction_supported(step.name, qubits):
            raise BackendError(
                "The layout of an entry must be one that the device has gates for",
                got=f"{step.name} on qubits {list(qubits)} of {device}, which is no longer there",
                fix="Choose another transpile.layout, or leave it to the transpiler; nothing was sent",
            )
