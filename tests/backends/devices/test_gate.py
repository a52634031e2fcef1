from dataclasses import replace

import pytest
from qiskit.quantum_info import SparsePauliOp

from qhq.backends.backend import TranspileSpec
from qhq.backends.devices.calibration import load_fake
from qhq.backends.devices.device import CalibratedDevice
from qhq.backends.devices.isa import build_isa, check_isa
from qhq.engine.compile import lower, separate_angles
from qhq.errors import BackendError
from tests.ansatz.circuits import SPECS, built

NAIROBI = CalibratedDevice(load_fake("fake_nairobi"))


def laid_out(ansatz, layout=None):
    circuit, expressions = separate_angles(lower(ansatz.circuit))
    named = {parameter.name: parameter for parameter in circuit.parameters}
    parameters = [named[f"theta_{k}"] for k in range(len(expressions))]
    return build_isa(circuit, parameters, ansatz.observables, NAIROBI, TranspileSpec(layout=layout))


@pytest.mark.parametrize("name", SPECS)
def test_every_kind_of_circuit_passes(name):
    ansatz = built(name)
    check_isa(laid_out(ansatz), ansatz, seed=0)
    check_isa(laid_out(ansatz, (5, 3, 1)[: ansatz.num_qubits]), ansatz, seed=0)


def test_observables_that_were_only_padded_are_caught():
    ansatz = built("ry")
    program = laid_out(ansatz, (5, 3, 1))
    padded = tuple(each.apply_layout(None, 7) for each in ansatz.observables)
    with pytest.raises(BackendError, match=r"must compute what the ansatz computes.*layout \["):
        check_isa(replace(program, observables=padded), ansatz, seed=0)


def test_observables_on_the_wrong_one_of_the_right_qubits_are_caught():
    ansatz = built("ry")
    program = laid_out(ansatz, (5, 3, 1))
    with pytest.raises(BackendError, match="must compute what the ansatz computes"):
        check_isa(replace(program, observables=program.observables[::-1]), ansatz, seed=0)


def test_a_gate_too_many_is_caught():
    ansatz = built("rot")
    program = laid_out(ansatz)
    circuit = program.circuit.copy()
    circuit.rz(1e-4, program.layout[0])
    with pytest.raises(BackendError, match="a difference of .*e-05"):
        check_isa(replace(program, circuit=circuit), ansatz, seed=0)


def test_a_wrong_phase_of_an_observable_is_caught():
    ansatz = built("rot")
    program = laid_out(ansatz)
    turned = tuple(SparsePauliOp(each.paulis, -each.coeffs) for each in program.observables)
    with pytest.raises(BackendError, match="must compute"):
        check_isa(replace(program, observables=turned), ansatz, seed=0)
