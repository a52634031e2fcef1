"""Circuits as other people write them, over which a writer, a reader or a drawer of Qiskit stumbles."""

from collections.abc import Callable

import numpy as np
from qiskit.circuit import (
    AncillaRegister,
    AnnotatedOperation,
    ClassicalRegister,
    ControlModifier,
    Gate,
    InverseModifier,
    Parameter,
    ParameterVector,
    PowerModifier,
    QuantumCircuit,
    QuantumRegister,
    Qubit,
)
from qiskit.circuit.library import (
    C3XGate,
    CU3Gate,
    DiagonalGate,
    ECRGate,
    HGate,
    MSGate,
    PauliEvolutionGate,
    PauliGate,
    PermutationGate,
    QFTGate,
    RCCXGate,
    RXGate,
    RYGate,
    UCRYGate,
    UnitaryGate,
    XXPlusYYGate,
)
from qiskit.quantum_info import Clifford, SparsePauliOp, random_unitary

from qhq.ansatz.assemble import Ansatz

Made = tuple[QuantumCircuit, list[Parameter], list[Parameter]]


def _base(x: str = "x", w: str = "w", qubits: int = 2) -> Made:
    inputs, weights = [Parameter(x)], [Parameter(w)]
    circuit = QuantumCircuit(qubits)
    circuit.ry(inputs[0], 0)
    circuit.rx(weights[0], 1)
    circuit.cx(0, 1)
    return circuit, inputs, weights


def _with_gates(*gates, qubits: int = 2) -> Made:
    made = _base(qubits=qubits)
    for gate in gates:
        made[0].append(gate, range(gate.num_qubits))
    return made


def _with_angle(write: Callable) -> Made:
    circuit, inputs, weights = _base()
    circuit.rz(write(inputs[0], weights[0]), 0)
    circuit.ry(0.3, 0)
    return circuit, inputs, weights


class Own(Gate):
    def __init__(self, angle):
        super().__init__("own", 2, [angle])

    def _define(self):
        self.definition = QuantumCircuit(2)
        self.definition.rzz(2 * self.params[0], 0, 1)
        self.definition.h(0)


class OnlyMatrix(Gate):
    def __init__(self):
        super().__init__("only", 1, [])

    def __array__(self, dtype=None, copy=None):
        return np.array([[1, 0], [0, 1j]], dtype)


def _own() -> Made:
    made = _base()
    made[0].append(Own(made[2][0]), [0, 1])
    return made


def _one_name_for_two_gates() -> Made:
    circuit, inputs, weights = _base()
    for method in ("rx", "ry"):
        inner = QuantumCircuit(2, name="same")
        getattr(inner, method)(weights[0], 0)
        inner.cz(0, 1)
        circuit.append(inner.to_gate(), [0, 1])
    return circuit, inputs, weights


def _elements_of_vectors() -> Made:
    x, w, circuit = ParameterVector("x", 12), ParameterVector("w", 5), QuantumCircuit(2)
    circuit.ry(x[3], 0)
    circuit.rx(x[11] * w[4], 1)
    circuit.rz(w[1], 0)
    circuit.cx(0, 1)
    circuit.ry(x[0], 1)
    return circuit, [x[3], x[11], x[0]], [w[4], w[1]]


def _names_of_the_other_role() -> Made:
    x, w, circuit = Parameter("w_0"), Parameter("x_0"), QuantumCircuit(2)
    circuit.ry(x, 0)
    circuit.rx(w + 2 * x, 1)
    circuit.cx(0, 1)
    return circuit, [x], [w]


def _gates_named_like_parameters() -> Made:
    circuit, inputs, weights = _base()
    for qubit, (name, method) in enumerate({"w_0": "h", "x": "s"}.items()):
        inner = QuantumCircuit(1, name=name)
        getattr(inner, method)(0)
        circuit.append(inner.to_gate(), [qubit])
    return circuit, inputs, weights


def _registers() -> Made:
    x, w = Parameter("x"), Parameter("w")
    shared = QuantumRegister(2, "a$")
    again = QuantumRegister(bits=[shared[1]], name="b")
    circuit = QuantumCircuit(shared, again, AncillaRegister(1, "anc"), [Qubit()], ClassicalRegister(2, "c"))
    circuit.ry(x, 0)
    circuit.rx(w, 3)
    circuit.cx(0, 2)
    circuit.measure(0, 0)
    return circuit, [x], [w]


def _registers_with_marks() -> Made:
    x, w = Parameter("x"), Parameter("w")
    circuit = QuantumCircuit(
        QuantumRegister(1, "50%_a_b"), QuantumRegister(1, "$#{"), ClassicalRegister(1, "é&")
    )
    circuit.ry(x, 0)
    circuit.rx(w, 1)
    circuit.append(_controlled(), [0, 1])
    circuit.measure(0, 0)
    circuit.h(0)
    return circuit, [x], [w]


def _controlled() -> Gate:
    inner = QuantumCircuit(1, name="50%_{")
    inner.rx(0.3, 0)
    return inner.to_gate().control(1)


def _odd_metadata() -> Made:
    made = _base()
    made[0].metadata = {"f": object(), 3: {1, 2}}
    made[0].name = "näme $x_{ \\frac"
    return made


def _idle_parameters() -> Made:
    circuit, inputs, weights = _base()
    phase, time = Parameter("phase"), Parameter("time")
    circuit.global_phase = 2 * phase + 0.1
    circuit.delay(time, 0)
    circuit.barrier(label="b$ar")
    return circuit, [*inputs, phase], [*weights, time]


def _odd_labels() -> Made:
    circuit, inputs, weights = _base()
    circuit.append(RXGate(weights[0], label=r"$\frac{$"), [0])
    circuit.append(HGate(label="50%&#_^"), [1])
    circuit.append(UnitaryGate(np.eye(4), label="$x"), [0, 1])
    inner = QuantumCircuit(2, name=r"b\ad_{name$^")
    inner.cx(0, 1)
    circuit.append(inner.to_gate(label="\n\tnew"), [0, 1])
    return circuit, inputs, weights


def _deep() -> Made:
    circuit, inputs, weights = _base()
    inner = QuantumCircuit(1, name="d")
    inner.rx(weights[0], 0)
    for _ in range(8):
        outer = QuantumCircuit(1, name="d")
        outer.append(inner.to_gate(), [0])
        inner = outer
    circuit.append(inner.to_instruction(), [0])
    return circuit, inputs, weights


def _evolution() -> Made:
    made = _base()
    operator = SparsePauliOp(["XX", "ZI"], [0.2, 0.3])
    made[0].append(PauliEvolutionGate(operator, time=made[2][0]), [0, 1])
    return made


def _angles_that_cancel() -> Made:
    circuit, inputs, weights = _base()
    circuit.append(CU3Gate(*weights * 3), [0, 1])  # in its definition stands (w - w) / 2
    return circuit, inputs, weights


def _wide() -> Made:
    x, w, circuit = ParameterVector("x", 14), ParameterVector("w", 14), QuantumCircuit(14)
    for qubit in range(14):
        circuit.ry(x[qubit], qubit)
        circuit.rxx(w[qubit], qubit, (qubit + 1) % 14)
        circuit.iswap(qubit, (qubit + 3) % 14)
    return circuit, list(x), list(w)


_ANNOTATED = AnnotatedOperation(RYGate(0.3), [ControlModifier(1, 0), InverseModifier(), PowerModifier(2)])

STRANGERS: dict[str, Callable[[], Made]] = {
    "unicode names": lambda: _base("θ", "β₁"),
    "names with spaces": lambda: _base("my input", "a b"),
    "names of the language": lambda: _base("lambda", "input"),
    "names of constants": lambda: _base("pi", "U"),
    "names of gates": lambda: _base("rx", "cx"),
    "names in TeX": lambda: _base("$x$", "$\\frac"),
    "names with marks": lambda: _base("x_{1}^2", "a%b&c#d\\e"),
    "names with quotes": lambda: _base("it's_a_b", 'say "hi" ~{'),
    "names that no font has": lambda: _base("\U0001f642 x", "\ufdfa_w"),
    "names on two lines": lambda: _base("a\nb", "c\td"),
    "names like elements": lambda: _base("x[0]", "x[1]"),
    "names like numbers": lambda: _base("1", "2.5"),
    "names like sums": lambda: _base("x+1", "w*2"),
    "long names": lambda: _base("x" * 400, "w" * 400),
    "names of the other role": _names_of_the_other_role,
    "gates named like parameters": _gates_named_like_parameters,
    "elements of vectors": _elements_of_vectors,
    "one name for two gates": _one_name_for_two_gates,
    "registers": _registers,
    "registers with marks": _registers_with_marks,
    "odd metadata": _odd_metadata,
    "idle parameters": _idle_parameters,
    "odd labels": _odd_labels,
    "deep": _deep,
    "wide": _wide,
    "own class": _own,
    "only a matrix": lambda: _with_gates(OnlyMatrix()),
    "unitary": lambda: _with_gates(
        UnitaryGate(random_unitary(4, seed=1)), UnitaryGate(random_unitary(2, seed=2))
    ),
    "open controls": lambda: _with_gates(
        RXGate(0.3).control(1, ctrl_state=0), HGate().control(1, ctrl_state=0)
    ),
    "annotated": lambda: _with_gates(_ANNOTATED),
    "library": lambda: _with_gates(MSGate(2, 0.4), PauliGate("XY"), QFTGate(2), DiagonalGate([1, -1, 1j, 1])),
    "synthesised": lambda: _with_gates(
        Clifford(QuantumCircuit(2)), PermutationGate([1, 0]), UCRYGate([0.1, 0.2])
    ),
    "rare gates": lambda: _with_gates(RCCXGate(), C3XGate(), XXPlusYYGate(0.1, 0.2), ECRGate(), qubits=4),
    "evolution": _evolution,
    "angles that cancel": _angles_that_cancel,
    "square": lambda: _with_angle(lambda x, w: x**2 + 1),
    "cube": lambda: _with_angle(lambda x, w: (x + w) ** 3 / 2),
    "inverse": lambda: _with_angle(lambda x, w: 1 / (2 + x * x)),
    "product": lambda: _with_angle(lambda x, w: (np.pi - x) * (np.pi - w)),
    "quotient": lambda: _with_angle(lambda x, w: x / (w + 3) / (x * x + 1)),
    "conjugate": lambda: _with_angle(lambda x, w: 2 * x.conjugate()),
    "tiny and huge": lambda: _with_angle(lambda x, w: x * 1e-20 + w * 1e5),
    "single precision": lambda: _with_angle(lambda x, w: x * float(np.float32(0.1)) + 0.1),
    "sine": lambda: _with_angle(lambda x, w: x.sin() * w.cos() + w.exp()),
    "root": lambda: _with_angle(lambda x, w: (x * x + 1) ** 0.5),
    "long angle": lambda: _with_angle(lambda x, w: sum(((k + 1) * x * w / (k + 3)).sin() for k in range(40))),
}

BEYOND_OPENQASM = {"sine", "root", "long angle"}
"""Angles by functions, of which Qiskit reads none in OpenQASM 3."""


def stranger(name: str) -> Ansatz:
    circuit, inputs, weights = STRANGERS[name]()
    width = circuit.num_qubits
    observables = (SparsePauliOp("Z" * width), SparsePauliOp("X" + "I" * (width - 1)))
    return Ansatz(circuit, tuple(inputs), tuple(weights), observables)
