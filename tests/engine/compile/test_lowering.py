import math

import numpy as np
import pytest
import qiskit_aer  # noqa: F401  # gives circuits save_statevector
from qiskit import QuantumCircuit
from qiskit.circuit import AnnotatedOperation, CircuitInstruction, ControlModifier, Gate, Parameter
from qiskit.circuit.library import (
    CRXGate,
    GlobalPhaseGate,
    HamiltonianGate,
    PauliEvolutionGate,
    PhaseGate,
    RVGate,
    RXGate,
    RYGate,
    XXPlusYYGate,
    zz_feature_map,
)
from qiskit.quantum_info import Operator, SparsePauliOp, Statevector, random_hermitian

from qhq.engine.compile import lower_checked
from qhq.engine.compile.definitions import is_parametric
from qhq.engine.compile.lowering import ROTATIONS, lower, without_final_measurements
from qhq.errors import ConfigError
from tests.engine.circuits import PARAMETRIC, STANDARD, WIDTH, add_gate, random_problem
from tests.engine.library import NAMES


def bound(circuit, rng):
    return circuit.assign_parameters(rng.normal(size=circuit.num_parameters))


def assert_lowered(circuit, seed=0):
    """The lowered circuit is the same operator, and holds rotations alone."""
    lowered = lower(circuit)
    assert all(step.operation.name in ROTATIONS for step in lowered.data if is_parametric(step.operation))
    values = dict(zip(circuit.parameters, np.random.default_rng(seed).normal(size=99), strict=False))
    kept = {p: v for p, v in values.items() if p in lowered.parameters}
    assert Operator(lowered.assign_parameters(kept)).equiv(Operator(circuit.assign_parameters(values)))


@pytest.mark.parametrize("name", PARAMETRIC)
def test_every_parametric_gate_is_lowered(name):
    rng = np.random.default_rng(3)
    circuit = random_problem(rng, max(2, WIDTH[name]), (name,), gates=1).circuit
    assert_lowered(circuit)


@pytest.mark.parametrize("name", STANDARD)
def test_fixed_gates_stay(name):
    circuit = QuantumCircuit(4)
    rng = np.random.default_rng(4)
    add_gate(circuit, name, rng, [Parameter("x")], [Parameter("w")])
    circuit = bound(circuit, rng)
    kept = [step.operation.name for step in lower(circuit).data]
    assert kept == ([] if name == "id" else [name])


def composite():
    inner = QuantumCircuit(2, name="inner")
    a, b = Parameter("a"), Parameter("b")
    inner.cry(a * b, 0, 1)
    inner.u(a, 0.3, b, 1)
    outer = QuantumCircuit(3)
    outer.append(inner.to_gate(), [2, 0])
    outer.append(inner.to_instruction(), [1, 2])
    return outer


def evolution():
    circuit = QuantumCircuit(3)
    operator = SparsePauliOp(["XYZ", "IZZ", "YII"], [0.3, -1.1, 0.7])
    circuit.append(PauliEvolutionGate(operator, time=Parameter("t")), [0, 1, 2])
    return circuit.decompose()  # the product formula, which is what lowering opens


def controlled(annotated=False):
    circuit = QuantumCircuit(3)
    circuit.append(RXGate(Parameter("x")).control(2, ctrl_state=1, annotated=False), [0, 1, 2])
    if annotated:
        circuit.append(AnnotatedOperation(RYGate(Parameter("y")), ControlModifier(1)), [2, 0])
    return circuit


@pytest.mark.parametrize(
    "circuit",
    [composite(), evolution(), controlled(), controlled(annotated=True), zz_feature_map(3, reps=2)],
    ids=["composite", "evolution", "controlled", "annotated", "zz_feature_map"],
)
def test_composites_are_opened(circuit):
    assert_lowered(circuit)


def test_barriers_delays_and_identities_are_dropped():
    circuit = QuantumCircuit(2, global_phase=0.3)
    circuit.barrier()
    circuit.delay(10, 0)
    circuit.id(1)
    circuit.h(0)
    assert [step.operation.name for step in lower(circuit).data] == ["h"]


def measured(circuit):
    circuit.measure(0, 0)


def was_reset(circuit):
    circuit.reset(0)


def branched(circuit):
    with circuit.if_test((0, 1)):
        circuit.x(0)


def initialised(circuit):
    circuit.initialize([0, 1], 0)


@pytest.mark.parametrize("spoil", [measured, was_reset, branched, initialised])
def test_circuits_that_measure_or_reset_become_gates_and_resets(spoil):
    circuit = QuantumCircuit(1, 1)
    circuit.h(0)
    spoil(circuit)
    circuit.h(0)
    lowered = lower(circuit)
    assert lowered.num_clbits == 0
    assert not {each.name for each in lowered.data} & {"measure", "if_else", "initialize"}


@pytest.mark.parametrize("spoil", [was_reset, initialised])
def test_what_is_controlled_must_be_unitary(spoil):
    part = QuantumCircuit(1)
    part.h(0)
    spoil(part)
    circuit = QuantumCircuit(2)
    circuit.append(AnnotatedOperation(part.to_instruction(), ControlModifier(1)), [0, 1])
    with pytest.raises(ConfigError, match=r"must be unitary.*'reset'"):
        lower(circuit)


def test_gate_without_definition_is_refused():
    circuit = QuantumCircuit(1)
    circuit.append(Gate("mystery", 1, [Parameter("x")]), [0])
    with pytest.raises(ConfigError, match=r"'mystery'.*neither"):
        lower(circuit)


def own(name, qubits, params=(), define=None, **more):
    """A gate of a user's own class; ``define`` fills its definition."""

    class Own(Gate):
        def _define(self):
            self.definition = QuantumCircuit(qubits)
            define(self.definition, *self.params)

    gate = Own(name, qubits, list(params))
    for key, value in more.items():
        setattr(gate, key, value)
    return gate


@pytest.mark.parametrize("qubits", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_says_nothing(name, count, qubits):
    def define(body, *angles):
        body.h(0)
        for angle in angles:
            body.ry(angle, qubits - 1)
        if qubits > 1:
            body.cz(0, 1)

    circuit = QuantumCircuit(3)
    circuit.ry(0.3, 0)
    circuit.append(own(name, qubits, [Parameter(f"a{k}") for k in range(count)], define), range(qubits))
    circuit.append(QuantumCircuit(1, name=name).to_gate(), [0])
    assert lower_checked(circuit).count_ops()["h"] == 1


def test_a_subclass_of_a_standard_gate_is_its_definition():
    class Echo(XXPlusYYGate):
        def _define(self):
            self.definition = QuantumCircuit(2)
            self.definition.rx(self.params[0], 1)

        def __array__(self, dtype=None, copy=None):
            return Operator(self.definition).data

    inner = QuantumCircuit(2)
    inner._append(CircuitInstruction(Echo(0.3), inner.qubits))
    assert "rx" in lower(inner).count_ops() or inner.data[0].operation.base_class is XXPlusYYGate


def endless():
    class Endless(Gate):
        def _define(self):
            self.definition = QuantumCircuit(1)
            self.definition.append(Endless("endless", 1, []), [0])

    return Endless("endless", 1, [])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: own("a", 1, [Parameter("x")], lambda body, x: body.rx(math.sin(x), 0)),
            "Own 'a'.*TypeError",
        ),
        (lambda: own("b", 1, [], lambda body: body.append(own("b", 1), [0])), "Own 'b'.*TypeError"),
        (lambda: own("c", 1, [], lambda body: 1 / 0), "Own 'c'.*ZeroDivisionError"),
        (lambda: own("d", 1, [], None, definition=QuantumCircuit(3)), "Own 'd'.*definition on 3"),
        (lambda: Gate("e", 2, []), "Gate 'e'.*neither a definition nor a matrix"),
        (lambda: by_matrix(np.ones((2, 2))), "ByMatrix.*not unitary"),
        (lambda: by_matrix(np.eye(8)), "ByMatrix.*matrix on 3"),
        (lambda: by_matrix(np.eye(3)), "ByMatrix.*not unitary"),
        (lambda: by_matrix(None), "ByMatrix"),
        (endless, "Endless 'endless'.*holds itself"),
        (lambda: RVGate(Parameter("x"), 0.1, 0), "RVGate"),
        (lambda: HamiltonianGate(np.eye(128), Parameter("t")), "HamiltonianGate.*more than 6"),
    ],
)
def test_what_cannot_be_opened_is_named(make, said):
    gate = make()
    circuit = QuantumCircuit(gate.num_qubits)
    circuit.append(gate, range(gate.num_qubits))
    with pytest.raises(ConfigError, match=f"Every gate must come apart.*{said}"):
        lower_checked(circuit)


class Panic(BaseException):
    """As what Qiskit's Rust code raises."""


@pytest.mark.parametrize("method", ["_define", "to_matrix"])
@pytest.mark.parametrize("raised", [Panic("boom"), MemoryError("boom"), RecursionError("boom")])
def test_whatever_a_gate_raises_is_an_error_of_qhqs(method, raised):
    def fail(gate):
        raise raised

    gate = type("Own", (Gate,), {method: fail})("rx", 1, [])
    circuit = QuantumCircuit(1)
    circuit.append(gate, [0])
    with pytest.raises(ConfigError, match="Own 'rx' on 1 qubits"):
        lower_checked(circuit)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_user_who_stops_it_stops_it(stop):
    def fail(gate):
        raise stop

    circuit = QuantumCircuit(1)
    circuit.append(type("Own", (Gate,), {"_define": fail})("own", 1, []), [0])
    with pytest.raises(stop):
        lower_checked(circuit)


@pytest.mark.parametrize("qubits", [2, 14])
@pytest.mark.parametrize("angle", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("gate", [RXGate, CRXGate, PhaseGate, GlobalPhaseGate])
def test_an_angle_that_is_no_finite_number_is_refused(gate, angle, qubits):
    circuit = QuantumCircuit(qubits)
    circuit.append(gate(angle), range(gate(0.1).num_qubits))
    if gate is GlobalPhaseGate:  # it counts where it becomes relative
        circuit = circuit.to_gate(label="own").control(1, annotated=True)
        outer = QuantumCircuit(qubits + 1)
        outer.append(circuit, range(qubits + 1))
        circuit = outer
    with pytest.raises(ConfigError, match=r"must be a finite number.*(nan|inf)"):
        lower_checked(circuit)


def by_matrix(matrix):
    class ByMatrix(Gate):
        def to_matrix(self):
            return matrix

    return ByMatrix("rx", 1, [])


def test_a_definition_beside_another_matrix_is_refused():
    gate = own("g", 1, [], lambda body: body.h(0))
    type(gate).__array__ = lambda self, dtype=None, copy=None: np.eye(2)
    circuit = QuantumCircuit(1)
    circuit.append(gate, [0])
    with pytest.raises(ConfigError, match=r"must be the operator that Qiskit says.*Own"):
        lower_checked(circuit)


def test_parameters_of_a_phase_that_becomes_relative_count():
    phase, angle = Parameter("phase"), Parameter("angle")
    inner = QuantumCircuit(1, global_phase=phase * 2)
    inner.p(angle, 0)
    circuit = QuantumCircuit(2, global_phase=angle - phase)
    circuit.h(0)
    circuit.append(inner.to_gate().control(1), [0, 1])
    circuit.append(AnnotatedOperation(inner.to_gate(), ControlModifier(1, ctrl_state=0)), [1, 0])
    assert_lowered(circuit)
    assert set(lower(circuit).parameters) == {phase, angle}
    assert lower(circuit).global_phase == 0


def test_parameters_without_effect_are_dropped():
    phase, time = Parameter("phase"), Parameter("time")
    circuit = QuantumCircuit(1, global_phase=phase)
    circuit.delay(time, 0, unit="s")
    circuit.append(GlobalPhaseGate(phase * time))
    circuit.h(0)
    assert not lower_checked(circuit).parameters


def test_measurements_at_the_end_are_left_out_wherever_they_stand():
    circuit = QuantumCircuit(2, 3)
    circuit.h(0)
    circuit.measure(1, 0)
    circuit.barrier()
    circuit.measure(0, 2)
    bare = without_final_measurements(circuit)
    assert bare.count_ops() == {"h": 1, "barrier": 1}
    assert (bare.num_qubits, bare.num_clbits) == (2, 0)
    part = QuantumCircuit(2, 1)
    part.measure(1, 0)
    circuit.append(part.to_instruction(), [0, 1], [1])
    assert [step.name for step in lower_checked(circuit).data] == ["h"]


def test_a_gate_called_measure_is_no_measurement():
    circuit = QuantumCircuit(1)
    circuit.append(own("measure", 1, [], lambda body: body.x(0)), [0])
    assert without_final_measurements(circuit) is circuit
    assert lower(circuit).count_ops() == {"x": 1}


def test_what_begins_by_preparing_a_state_is_unitary_on_zero():
    circuit = QuantumCircuit(2)
    circuit.reset(0)
    circuit.initialize([0.6, 0.8j], 1)
    circuit.cx(1, 0)
    lowered = lower_checked(circuit)
    assert Statevector(lowered).equiv(Statevector(circuit))
    circuit.initialize([0.6, 0.8j], 1)
    assert lower_checked(circuit).count_ops()["reset"] == 1


def test_a_box_is_what_it_holds():
    circuit = QuantumCircuit(2)
    with circuit.box():
        circuit.ry(Parameter("x"), 1)
        circuit.cx(1, 0)
    assert_lowered_equal(circuit, "ry", "cx")


def assert_lowered_equal(circuit, *names):
    assert [step.name for step in lower(circuit).data] == list(names)


def test_what_simulators_save_is_dropped():
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.save_statevector()
    assert_lowered_equal(circuit, "h")


def test_a_product_formula_is_no_difference():
    circuit = QuantumCircuit(2)
    circuit.append(PauliEvolutionGate(SparsePauliOp(["XX", "ZI"], [0.9, 0.7]), time=Parameter("t")), [0, 1])
    assert is_parametric(lower_checked(circuit).data[-1].operation)


@pytest.mark.parametrize("qubits", [1, 2, 4])
def test_evolution_by_a_free_time_is_exact(qubits):
    hamiltonian = random_hermitian(2**qubits, seed=3)
    circuit = QuantumCircuit(qubits)
    circuit.append(HamiltonianGate(hamiltonian, Parameter("t")), range(qubits))
    assert_lowered(circuit)


def test_two_parameters_of_one_name_are_refused():
    hidden = QuantumCircuit(1)
    hidden.rx(Parameter("a"), 0)
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("a"), 0)
    circuit.append(own("g", 1, [], None, definition=hidden), [0])
    with pytest.raises(ConfigError, match="'rx'.*[Nn]ame conflict"):
        lower(circuit)
