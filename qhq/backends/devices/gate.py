"""The correctness gate: before anything is spent, the program on the device must equal the logical one."""

from __future__ import annotations

import numpy as np
from qiskit_aer import AerSimulator

from qhq.ansatz.program import Ansatz
from qhq.backends.devices.isa import IsaProgram
from qhq.backends.gradients.parameter_shift import by_angles
from qhq.backends.simulators.aer import ExactProgram, in_known_gates
from qhq.errors import BackendError
from qhq.seeding import child_generator

TOLERANCE = 1e-6
"""Largest difference of an expectation value that passes."""

SAMPLES = 4
"""Random points that are compared."""

STATEVECTOR_QUBITS = 24
"""Widest program that is compared by statevector; a wider one by matrix product states."""


def check_isa(isa: IsaProgram, ansatz: Ansatz, *, seed: int) -> None:
    """Compare a program on a device, noiseless, with the ansatz it was made from.

    Args:
        isa: The program, its parameters the angles of the lowered ansatz, its observables laid out.
        ansatz: What it must compute.
        seed: Where the compared points come from.

    Raises:
        BackendError: If an expectation value differs by more than `TOLERANCE`.
    """
    circuit, parameters, _ = by_angles(ansatz)
    simulator = _simulator(ansatz.num_qubits)
    circuit = in_known_gates(circuit, simulator)
    logical = ExactProgram(circuit, tuple(parameters), ansatz.observables, simulator)
    cut = isa.cut()
    simulator = _simulator(cut.circuit.num_qubits)
    on_device = ExactProgram(cut.circuit, cut.parameters, cut.observables, simulator)
    angles = child_generator(seed, "gate").uniform(-np.pi, np.pi, (SAMPLES, len(parameters)))
    distance = np.abs(on_device(angles) - logical(angles)).max()
    _check_distance(distance, isa)


def _check_distance(distance: float, isa: IsaProgram) -> None:
    # Not <=, so that NaN does not pass.
    if not distance < TOLERANCE:
        raise BackendError(
            f"The circuit on the device must compute what the ansatz computes, to {TOLERANCE:g}",
            got=f"a difference of {distance:.1e} with layout {list(isa.layout)}",
            fix="Report this with the circuit: a qubit order or an observable is wrong, so nothing was run",
        )


def check_same(isa: IsaProgram, known: IsaProgram, *, seed: int) -> None:
    """Compare a program, noiseless, with one of the same parameters and observables that passed the gate.

    Raises:
        BackendError: If an expectation value differs by more than `TOLERANCE`.
    """
    angles = child_generator(seed, "gate").uniform(-np.pi, np.pi, (SAMPLES, len(isa.parameters)))
    values = []
    for each in (isa.cut(), known.cut()):
        simulator = _simulator(each.circuit.num_qubits)
        values.append(ExactProgram(each.circuit, each.parameters, each.observables, simulator)(angles))
    _check_distance(np.abs(values[0] - values[1]).max(), isa)


def _simulator(num_qubits: int) -> AerSimulator:
    method = "statevector" if num_qubits <= STATEVECTOR_QUBITS else "matrix_product_state"
    return AerSimulator(method=method, runtime_parameter_bind_enable=True)
