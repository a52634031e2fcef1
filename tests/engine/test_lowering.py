import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import AnnotatedOperation, ControlModifier, Parameter
from qiskit.circuit.library import PauliEvolutionGate, RXGate, RYGate, zz_feature_map
from qiskit.quantum_info import Operator, SparsePauliOp

from qhq.engine.lowering import ROTATIONS, is_parametric, lower
from qhq.errors import ConfigError

from .circuits import PARAMETRIC, STANDARD, WIDTH, add_gate, random_problem


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
def test_circuits_that_are_not_unitary_are_refused(spoil):
    circuit = QuantumCircuit(1, 1)
    circuit.h(0)
    spoil(circuit)
    circuit.h(0)
    with pytest.raises(ConfigError, match="must be unitary"):
        lower(circuit)


def test_gate_without_definition_is_refused():
    from qiskit.circuit import Gate

    circuit = QuantumCircuit(1)
    circuit.append(Gate("mystery", 1, [Parameter("x")]), [0])
    with pytest.raises(ConfigError, match=r"'mystery'.*neither"):
        lower(circuit)
