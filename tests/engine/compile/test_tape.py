import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.quantum_info import SparsePauliOp

from qhq.engine.compile.tape import build_tape
from qhq.engine.program import Kind, Op, cast
from tests.engine.circuits import ring_problem


def kinds(circuit, observables, inputs=(), weights=()):
    return build_tape(circuit, observables, inputs, weights).program.layout.ops[:, Op.KIND].tolist()


def test_entanglers_cost_nothing():
    circuit = QuantumCircuit(3)
    circuit.ry(0.3, range(3))
    for _ in range(5):
        circuit.cx(0, 1)
        circuit.swap(1, 2)
        circuit.x(0)
    assert kinds(circuit, [SparsePauliOp("ZZZ")]) == [Kind.PRODUCT]


def test_the_reference_circuit_is_few_passes():
    problem = ring_problem(6, 3)
    tape = build_tape(problem.circuit, problem.observables, problem.inputs, problem.weights)
    # The first layer is a product state; the last phases commute with Z and go.
    expected = [
        Kind.PRODUCT,
        Kind.PHASE_SHARED,
        Kind.ROTATIONS,
        Kind.ROTATIONS,
        Kind.PHASE_SHARED,
        Kind.ROTATIONS,
        Kind.ROTATIONS,
    ]
    assert tape.program.layout.ops[:, Op.KIND].tolist() == expected
    assert tape.program.angles.sampled == 6
    assert tape.num_angles == 6 * 5


def test_phases_before_other_observables_stay():
    circuit = QuantumCircuit(1)
    circuit.ry(0.3, 0)
    circuit.rz(0.2, 0)
    assert kinds(circuit, [SparsePauliOp("X")]) == [Kind.PRODUCT, Kind.PHASE_SHARED]
    assert kinds(circuit, [SparsePauliOp("Z")]) == [Kind.PRODUCT]


def test_phases_of_nothing_disappear():
    w = Parameter("w")
    circuit = QuantumCircuit(2)
    circuit.rz(w, 0)
    circuit.rzz(w, 0, 1)
    assert kinds(circuit, [SparsePauliOp("XX")], (), [w]) == [Kind.PRODUCT]


def test_rotations_about_one_axis_merge():
    x, w = Parameter("x"), Parameter("w")
    circuit = QuantumCircuit(2)
    circuit.ry(x, 0)
    circuit.cx(0, 1)
    circuit.x(0)
    circuit.ry(0.5, 0)
    circuit.x(0)
    circuit.cx(0, 1)
    circuit.ry(w, 1)
    circuit.ry(w, 1)
    tape = build_tape(circuit, [SparsePauliOp("ZZ")], [x], [w])
    assert tape.num_angles == 3


def test_kinds_of_phases_and_matrices():
    x, w = Parameter("x"), Parameter("w")
    circuit = QuantumCircuit(2)
    circuit.h(range(2))
    circuit.rz(x, 0)
    circuit.rz(w, 1)
    circuit.unitary(np.eye(4)[[1, 2, 3, 0]], range(2))
    assert kinds(circuit, [SparsePauliOp("ZZ")], [x], [w]) == [
        Kind.PRODUCT,
        Kind.PHASE_SHARED,
        Kind.PHASE_SAMPLE,
        Kind.DENSE,
    ]


def test_curved_angles_are_variables():
    x, w = ParameterVector("x", 2), ParameterVector("w", 2)
    circuit = QuantumCircuit(1)
    circuit.ry(x[0] * x[1], 0)
    circuit.rx(w[0] * w[1], 0)
    circuit.ry(w[0] * x[1], 0)
    tape = build_tape(circuit, [SparsePauliOp("Z")], list(x), list(w))
    assert (tape.curved_sampled, tape.curved_shared) == ((0, 2), (1,))
    assert set(tape.program.angles.x_index.tolist()) == {2, 3}
    assert set(tape.program.angles.w_index.tolist()) == {2}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cast_changes_the_real_numbers(dtype):
    problem = ring_problem(2, 1)
    tape = build_tape(problem.circuit, problem.observables, problem.inputs, problem.weights)
    layout, angles, readout = cast(tape.program, dtype)
    assert {a.dtype for a in (layout.dense, angles.constant, angles.x_slope, readout.values)} == {
        np.dtype(dtype)
    }
    assert layout.ops.dtype == np.int64
