"""A program on a device: transpiled and kept, behind the correctness gate, and drawn as it would run."""

from dataclasses import replace

import numpy as np
import pytest
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.circuit.library import CRYGate
from qiskit.circuit.random import random_circuit
from qiskit.quantum_info import SparsePauliOp, Statevector, random_pauli_list

from qhq.ansatz.draw import draw_text
from qhq.ansatz.program import Ansatz
from qhq.backends import open_backend
from qhq.backends.backend import TranspileSpec
from qhq.backends.devices import isa as isa_module
from qhq.backends.devices.calibration import CalibratedDevice, build_target, load_fake
from qhq.backends.devices.isa import build_isa, check_isa, circuit_seconds, shot_seconds
from qhq.backends.registry import as_run
from qhq.engine.compile import lower, separate_angles
from qhq.errors import BackendError
from tests.ansatz.circuits import SPECS, built

NAIROBI = CalibratedDevice(load_fake("fake_nairobi"))

FEZ = CalibratedDevice(load_fake("fake_fez"))

FREE = TranspileSpec()

ANGLE = Parameter("a")


def small_circuit():
    circuit = QuantumCircuit(2)
    circuit.ry(ANGLE, 0)
    circuit.cx(0, 1)
    return circuit


def small_program(device=NAIROBI, settings=FREE):
    return build_isa(small_circuit(), [ANGLE], [SparsePauliOp("IZ"), SparsePauliOp("XY")], device, settings)


@pytest.fixture
def transpiled(monkeypatch, tmp_path):
    """Circuits that were transpiled; nothing is kept from before."""
    monkeypatch.setenv("QHQ_CACHE_DIR", str(tmp_path))
    calls, transpile = [], isa_module._transpile
    monkeypatch.setattr(isa_module, "_transpile", lambda *each: calls.append(each) or transpile(*each))
    return calls


@pytest.mark.parametrize("seed", range(20))
def test_observables_follow_a_forced_layout(seed):
    generator = np.random.default_rng(seed)
    device, size = (NAIROBI, 7) if seed % 2 else (FEZ, 8)
    qubits = int(generator.integers(2, 5))
    circuit = random_circuit(qubits, 4, max_operands=2, seed=seed)
    observables = [
        SparsePauliOp(random_pauli_list(qubits, 2, seed=seed, phase=False), [1.0, -0.5]),
        *(SparsePauliOp.from_sparse_list([("Z", [q], 1.0)], qubits) for q in range(qubits)),
    ]
    layout = tuple(int(each) for each in generator.permutation(size)[:qubits])
    program = build_isa(circuit, [], observables, device, TranspileSpec(layout=layout))
    assert program.circuit.num_qubits == device.calibration.num_qubits
    cut = program.cut()
    state, logical = Statevector(cut.circuit), Statevector(circuit)
    np.testing.assert_allclose(
        [state.expectation_value(each).real for each in cut.observables],
        [logical.expectation_value(each).real for each in observables],
        atol=1e-10,
    )


def test_only_gates_of_the_device_where_it_has_them():
    program = small_program(FEZ)
    for step in program.circuit.data:
        qubits = tuple(program.circuit.find_bit(bit).index for bit in step.qubits)
        assert FEZ.target.instruction_supported(step.name, qubits)


def test_the_choice_of_qubits_weighs_their_readout():
    device = CalibratedDevice(load_fake("fake_cusco"))
    readout = [device.target["measure"][qubit,].error for qubit in small_program(device).layout]
    # Its best coupled pair reads out by tossing a coin.
    assert max(readout) < 0.1


def test_a_cut_is_as_wide_as_the_qubits_in_use():
    program = small_program(FEZ, TranspileSpec(layout=(83, 82)))
    assert program.qubits == (82, 83)
    cut = program.cut()
    assert (cut.circuit.num_qubits, cut.layout) == (2, (1, 0))
    assert [each.to_list() for each in cut.observables] == [[("ZI", 1)], [("YX", 1)]]


def test_a_circuit_is_transpiled_once_for_a_device(transpiled):
    first, second = small_program(), small_program()
    assert len(transpiled) == 1
    assert first.circuit == second.circuit
    assert (first.layout, first.observables) == (second.layout, second.observables)


@pytest.mark.parametrize(
    ("device", "settings"),
    [(FEZ, FREE), (NAIROBI, TranspileSpec(seed=1)), (NAIROBI, TranspileSpec(layout=(5, 3)))],
)
def test_another_device_or_setting_is_transpiled_anew(transpiled, device, settings):
    small_program()
    small_program(device, settings)
    assert len(transpiled) == 2


def test_a_damaged_file_is_made_again(transpiled, tmp_path):
    expected = small_program()
    (file,) = tmp_path.rglob("*.qpy")
    file.write_bytes(file.read_bytes()[:100])
    assert small_program().circuit == expected.circuit
    assert len(transpiled) == 2
    small_program()
    assert len(transpiled) == 2


def test_a_cache_that_cannot_be_written_costs_no_run(transpiled, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QHQ_CACHE_DIR", str(tmp_path / "file"))
    small_program()
    small_program()
    assert len(transpiled) == 2


@pytest.mark.parametrize("layout", [(0,), (0, 1, 2), (0, 99)])
def test_a_layout_that_does_not_fit_is_refused(layout):
    with pytest.raises(BackendError, match="circuit must fit the device.*fake_nairobi"):
        small_program(settings=TranspileSpec(layout=layout))


def test_gates_of_one_name_are_kept_apart():
    """Blocks, evolutions and unitaries whose names and printed numbers agree are other circuits."""
    device = CalibratedDevice(load_fake("fake_nairobi"))
    kept = []
    for angle in (0.3, 0.7):
        inside = QuantumCircuit(2, name="block")
        inside.ry(angle, 0)
        inside.cx(0, 1)
        circuit = QuantumCircuit(2)
        circuit.append(inside.to_gate(), [0, 1])
        program = build_isa(circuit, (), [SparsePauliOp("ZZ"), SparsePauliOp("IZ")], device, TranspileSpec())
        cut = program.cut()
        kept.append([Statevector(cut.circuit).expectation_value(each).real for each in cut.observables])
        wanted = [Statevector(circuit).expectation_value(SparsePauliOp(each)).real for each in ("ZZ", "IZ")]
        np.testing.assert_allclose(kept[-1], wanted, atol=1e-9)


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


X, V, W = Parameter("x"), Parameter("v"), Parameter("w")

OBSERVABLES = (SparsePauliOp("IZ"), SparsePauliOp("XY"))


def with_phase(circuit):
    circuit.global_phase = V * W


def with_delay(circuit):
    circuit.delay(V, 0)
    circuit.global_phase = W


def that_cancels(circuit):
    circuit.rz(V, 1)
    circuit.rz(-V, 1)
    circuit.rz(W, 0)


def in_a_difference(circuit):
    circuit.rx(V - V, 0)
    circuit.ry(W, 1)


def curved(circuit):
    circuit.ry(2**V, 0)
    circuit.rz((V * W).sin(), 0)
    circuit.append(CRYGate(W**2 / 3, ctrl_state=0), [1, 0])


@pytest.mark.parametrize("more", [with_phase, with_delay, that_cancels, in_a_difference, curved])
def test_each_parameter_stays_one_and_the_values_stay(more):
    circuit = QuantumCircuit(2)
    circuit.ry(X, 0)
    circuit.h(1)
    circuit.cx(0, 1)
    more(circuit)
    ansatz = Ansatz(circuit, (X, V), (W,), OBSERVABLES)
    written, layout = as_run(ansatz, "fake_nairobi")
    assert len(layout) == 2
    assert [each.name for each in written.parameters] == ["x", "v", "w"]
    assert "x" in draw_text(written)
    values = [
        open_backend("statevector", each, seed=0).expectations([[0.3, -0.8], [1.1, 0.5]], [0.6])
        for each in (written, ansatz)
    ]
    np.testing.assert_allclose(*values, rtol=0, atol=1e-12)


def test_the_gates_of_a_device_take_the_time_of_the_longest_path():
    target = build_target(load_fake("fake_manila"))
    circuit = QuantumCircuit(5)
    circuit.sx(0)
    circuit.cx(0, 1)
    circuit.rz(0.3, 1)
    circuit.sx(4)
    wanted = target["sx"][(0,)].duration + target["cx"][(0, 1)].duration + target["rz"][(1,)].duration
    assert circuit_seconds(circuit, target) == pytest.approx(wanted)
    assert circuit_seconds(QuantumCircuit(5), target) == 0


def test_between_shots_a_device_reads_out_and_pauses():
    calibration = load_fake("fake_fez")
    target = build_target(calibration)
    readout = max(target["measure"][(qubit,)].duration for qubit in (1, 2))
    assert shot_seconds(calibration, target, (1, 2)) == pytest.approx(250e-6 + readout)
