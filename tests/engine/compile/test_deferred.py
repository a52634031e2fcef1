"""Measurements on the way, branches and resets: the exact engine beside each history of results by itself."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.classical import expr
from qiskit.quantum_info import SparsePauliOp, Statevector

from qhq.engine import StatevectorEngine
from qhq.engine.compile import lower, lower_checked, without_resets
from qhq.errors import ConfigError
from tests.engine.branching import OBSERVABLES, random_circuit, slow_values


@pytest.mark.parametrize("seed", range(50))
def test_values_are_those_of_all_histories(seed):
    circuit, parameters = random_circuit(seed, branches=True)
    row = np.random.default_rng(seed).uniform(-3, 3, len(parameters))
    found = StatevectorEngine(circuit, OBSERVABLES, parameters, []).expectations(row[None], np.zeros(0))[0]
    bound = circuit.assign_parameters(dict(zip(parameters, row, strict=True)))
    np.testing.assert_allclose(found, slow_values(bound), atol=1e-10)


def values(circuit, *labels):
    engine = StatevectorEngine(circuit, [SparsePauliOp(label) for label in labels], [], [])
    return engine.expectations(np.zeros((1, 0)), np.zeros(0))[0]


def test_a_state_is_teleported():
    circuit = QuantumCircuit(3, 2)
    circuit.ry(0.7, 0)
    circuit.rz(0.4, 0)
    circuit.h(1)
    circuit.cx(1, 2)
    circuit.cx(0, 1)
    circuit.h(0)
    circuit.measure([0, 1], [0, 1])
    with circuit.if_test((1, 1)):
        circuit.x(2)
    with circuit.if_test((0, 1)):
        circuit.z(2)
    plain = QuantumCircuit(1)
    plain.ry(0.7, 0)
    plain.rz(0.4, 0)
    np.testing.assert_allclose(values(circuit, "XII", "YII", "ZII"), values(plain, "X", "Y", "Z"), atol=1e-12)


def test_branches_by_expressions_switches_and_loops():
    circuit = QuantumCircuit(3, 2)
    circuit.x(0)
    circuit.measure([0, 1], [0, 1])
    first, second = circuit.clbits
    with circuit.if_test(expr.logic_and(first, expr.logic_not(second))):
        circuit.x(2)  # 1 and not 0
    with circuit.if_test(expr.less(circuit.cregs[0], 1)):
        circuit.x(1)  # 1 is not below 1
    np.testing.assert_allclose(values(circuit, "IIZ", "IZI", "ZII"), [-1, 1, -1], atol=1e-12)
    with circuit.switch(circuit.cregs[0]) as case:
        with case(0, 2):
            circuit.x(0)
        with case(1):
            circuit.x(1)
        with case(case.DEFAULT):
            circuit.x(2)
    np.testing.assert_allclose(values(circuit, "IIZ", "IZI", "ZII"), [-1, -1, -1], atol=1e-12)
    angle = Parameter("turn")
    with circuit.for_loop((1, 2, 3), angle):
        circuit.rx(0.1 * angle, 2)
    with circuit.for_loop((4, 5), Parameter("unused")):
        circuit.x(2)
    np.testing.assert_allclose(values(circuit, "ZII"), [-np.cos(0.6)], atol=1e-12)


def test_a_result_is_kept_though_its_qubit_rests():
    circuit = QuantumCircuit(2, 1)
    circuit.h(0)
    circuit.measure(0, 0)  # nothing acts on qubit 0 any more, and yet this is no measurement at the end
    with circuit.if_test((0, 1)):
        circuit.x(1)
    np.testing.assert_allclose(values(circuit, "ZI", "ZZ"), [0, 1], atol=1e-12)


@pytest.mark.parametrize("turns", [0, 1, 4])
def test_loops_and_branches_without_a_record_are_compared_with_qiskit_too(turns):
    turn, circuit = Parameter("turn"), QuantumCircuit(2, 1)
    circuit.h(0)
    with circuit.for_loop(range(turns), turn):
        circuit.rx(0.3 + turn, 1)
        circuit.cx(1, 0)
    with circuit.if_test((0, 1)) as otherwise:  # nothing has measured into the bit, so it is 0
        circuit.x(1)
    with otherwise:
        circuit.ry(0.2, 1)
    unrolled = QuantumCircuit(2)
    unrolled.h(0)
    for k in range(turns):
        unrolled.rx(0.3 + k, 1)
        unrolled.cx(1, 0)
    unrolled.ry(0.2, 1)
    found, wanted = lower_checked(circuit), Statevector(unrolled).data
    np.testing.assert_allclose(abs(np.vdot(Statevector(found).data, wanted)), 1, atol=1e-12)


def test_only_what_matters_takes_a_qubit():
    circuit = QuantumCircuit(2, 1)
    circuit.h(0)
    circuit.measure(0, 0)
    circuit.reset(0)  # makes the measurement void
    circuit.reset(1)  # nothing has acted on it
    circuit.h(0)
    lowered = lower(circuit)
    assert (lowered.num_qubits, lowered.count_ops()) == (2, {"h": 2, "reset": 1})
    assert without_resets(lowered)[0].num_qubits == 3


@pytest.mark.parametrize("kind", ["while", "break", "variable", "wide"])
def test_what_waits_for_a_result_is_refused(kind):
    circuit = QuantumCircuit(1, 9)
    circuit.h(0)
    circuit.measure(0, 0)
    if kind == "while":
        with circuit.while_loop((0, 1)):
            circuit.h(0)
    elif kind == "break":
        with circuit.for_loop(range(3)):
            circuit.break_loop()
    elif kind == "variable":
        flag = circuit.add_var("flag", expr.lift(False))
        with circuit.if_test(flag):
            circuit.x(0)
    else:
        with circuit.if_test((circuit.cregs[0], 3)):
            circuit.x(0)
    with pytest.raises(ConfigError, match=r"may measure, reset and branch .* Got .* unroll a loop"):
        lower(circuit)
