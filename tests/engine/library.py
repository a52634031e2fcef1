"""Seeded random circuits with every gate of Qiskit's library, and with what users make of gates.

``build(seed, x, w)`` makes the same circuit of parameters or of numbers. Of numbers it is the reference:
Python has worked out its angles, so that no fault of Qiskit's binding is in it.
"""

import cmath
import inspect

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import (
    AnnotatedOperation,
    ControlModifier,
    Gate,
    Instruction,
    InverseModifier,
    ParameterExpression,
    ParameterVector,
    PowerModifier,
    library,
)
from qiskit.quantum_info import (
    Operator,
    Pauli,
    SparsePauliOp,
    Statevector,
    random_clifford,
    random_hermitian,
    random_unitary,
)

INPUTS, WEIGHTS = 3, 4
NAMES = [
    "rx",
    "ry",
    "rz",
    "p",
    "u",
    "cx",
    "cz",
    "x",
    "h",
    "id",
    "barrier",
    "delay",
    "measure",
    "reset",
    "global_phase",
    "unitary",
    "ccx",
    "rxx",
    "swap",
    "initialize",
    "box",
    "if_else",
    "qft",
    "permutation",
    "mcx",
    "clifford",
    "pauli",
    "sx",
    "cp",
    "mcphase",
    "snapshot",
    "save_statevector",
]
"""Names that a user may give a gate, all of which mean something to Qiskit or Aer."""


def parameters():
    return ParameterVector("x", INPUTS), ParameterVector("w", WEIGHTS)


# Angles: the same arithmetic on parameters and on numbers.


def call(name, value):
    """An elementary function of a parameter expression or of a number."""
    if isinstance(value, ParameterExpression):
        return {"abs": abs}.get(name, lambda v: getattr(v, name)())(value)
    functions = {"abs": abs, "sign": np.sign, "conjugate": np.conj}
    return float(functions.get(name, getattr(np, name, None))(value))


def real(value):
    """A complex number that is real as a float; an expression as it is."""
    return value if isinstance(value, ParameterExpression) else float(complex(value).real)


FORMS = {
    "plain": lambda a, b, c: a,
    "affine": lambda a, b, c: c * a - b / 2 + 0.3,
    "swapped": lambda a, b, c: c - a + (1 + b) - (-a),
    "same": lambda a, b, c: a - a + b,
    "nothing": lambda a, b, c: 0 * a + c,
    "product": lambda a, b, c: (np.pi - a) * (np.pi - b) / 3,
    "quotient": lambda a, b, c: a / (2 + call("cos", b)),
    "under": lambda a, b, c: c / (2 + call("sin", a)),
    "square": lambda a, b, c: a**2 - b**2,
    "cubes": lambda a, b, c: (a**3 - b**3) / 4,
    "scaled power": lambda a, b, c: (c * a) ** 3,
    "zeroth": lambda a, b, c: a**0 + b**1,
    "negative power": lambda a, b, c: (a * a + 1) ** -1,
    "root": lambda a, b, c: (a * a + 0.1) ** 0.5,
    "number to a power": lambda a, b, c: 2**a - 0.5 ** (a * b),
    "both": lambda a, b, c: (1.5 + call("sin", a)) ** b,
    "sine": lambda a, b, c: call("sin", a) ** 2 - call("cos", b) ** 2,
    "tangent": lambda a, b, c: call("tan", 0.4 * a) + b,
    "arcs": lambda a, b, c: call("arcsin", 0.5 * call("sin", a)) + call("arccos", 0.5 * call("cos", b)),
    "arctan": lambda a, b, c: call("arctan", c * a + b),
    "exponential": lambda a, b, c: call("exp", 0.3 * a - b / 5),
    "logarithm": lambda a, b, c: call("log", a * a + 0.5) * b,
    "absolute": lambda a, b, c: call("abs", a) + b,
    "sign": lambda a, b, c: c * call("sign", a) * b,
    "conjugate": lambda a, b, c: call("conjugate", a**2 + b),
    "imaginary": lambda a, b, c: real((1j * a) ** 2 + b),
    "turned": lambda a, b, c: real(a * 1j * -1j),
    "nested": lambda a, b, c: call("sin", call("exp", call("cos", a * b))) / (1 + (a - b) ** 2),
    "number": lambda a, b, c: c,
}
"""Every operator of ``ParameterExpression``, within its domain."""


class Draw:
    """One random circuit in the making; the same seed makes the same choices."""

    def __init__(self, seed, x, w, forms=tuple(FORMS)):
        self.rng = np.random.default_rng(seed)
        self.x, self.w, self.forms = list(x), list(w), forms

    def pick(self, values):
        return values[int(self.rng.integers(len(values)))]

    def number(self):
        return float(np.round(self.rng.normal(), 3))

    def angle(self):
        form, a, b = self.pick(self.forms), self.pick(self.x), self.pick(self.w)
        if self.rng.random() < 0.3:
            a, b = b, a
        return FORMS[form](a, b, self.number())

    def state(self, controls):
        return int(self.rng.integers(2**controls))

    def flags(self, count):
        return [int(each) for each in self.rng.integers(-1, 2, count)]

    def matrix(self, qubits):
        return random_unitary(2**qubits, seed=int(self.rng.integers(1 << 30))).data

    def hermitian(self, qubits):
        return random_hermitian(2**qubits, seed=int(self.rng.integers(1 << 30))).data / 2

    def paulis(self, qubits):
        """A Pauli sum whose terms commute, so that its product formula is exact."""
        letters = self.pick("XYZ")
        labels = ["".join(self.pick("I" + letters) for _ in range(qubits)) for _ in range(2)]
        return SparsePauliOp([*labels, letters * qubits], [self.number() for _ in range(3)])


def _of_angles(name):
    """A standard gate: as many angles as its constructor takes."""
    kind = getattr(library, name)
    given = [
        p
        for p in inspect.signature(kind.__init__).parameters
        if p in ("theta", "phi", "lam", "gamma", "beta")
    ]
    return lambda d: kind(*[d.angle() for _ in given])


STANDARD = [
    "C3SXGate",
    "C3XGate",
    "C4XGate",
    "CCXGate",
    "CCZGate",
    "CHGate",
    "CPhaseGate",
    "CRXGate",
    "CRYGate",
    "CRZGate",
    "CSGate",
    "CSXGate",
    "CSdgGate",
    "CSwapGate",
    "CU1Gate",
    "CU3Gate",
    "CUGate",
    "CXGate",
    "CYGate",
    "CZGate",
    "DCXGate",
    "ECRGate",
    "HGate",
    "IGate",
    "PhaseGate",
    "RC3XGate",
    "RCCXGate",
    "RGate",
    "RXGate",
    "RXXGate",
    "RYGate",
    "RYYGate",
    "RZGate",
    "RZXGate",
    "RZZGate",
    "SGate",
    "SXGate",
    "SXdgGate",
    "SdgGate",
    "SwapGate",
    "TGate",
    "TdgGate",
    "U1Gate",
    "U2Gate",
    "U3Gate",
    "UGate",
    "XGate",
    "XXMinusYYGate",
    "XXPlusYYGate",
    "YGate",
    "ZGate",
    "iSwapGate",
]

MAKERS = {name: _of_angles(name) for name in STANDARD if hasattr(library, name)} | {
    "GlobalPhaseGate": lambda d: library.GlobalPhaseGate(d.angle()),
    "MCPhaseGate": lambda d: library.MCPhaseGate(d.angle(), 2),
    "MCU1Gate": lambda d: library.MCU1Gate(d.angle(), 2),
    "MCXGate": lambda d: library.MCXGate(3, ctrl_state=d.state(3)),
    "MCXGrayCode": lambda d: library.MCXGrayCode(3, ctrl_state=d.state(3)),
    "MCXRecursive": lambda d: library.MCXRecursive(3),
    "MCXVChain": lambda d: library.MCXVChain(3, dirty_ancillas=bool(d.state(1))),
    "MCMTGate": lambda d: library.MCMTGate(
        d.pick([library.RYGate(d.angle()), library.ZGate(), library.PhaseGate(d.angle())]),
        1,
        2,
        ctrl_state=d.state(1),
    ),
    "MSGate": lambda d: library.MSGate(3, d.number()),
    "AndGate": lambda d: library.AndGate(2, [d.pick([1, -1, 0]), 1]),
    "OrGate": lambda d: library.OrGate(2, [d.pick([1, -1, 0]), 1]),
    "BitwiseXorGate": lambda d: library.BitwiseXorGate(3, d.state(3)),
    "InnerProductGate": lambda d: library.InnerProductGate(2),
    "DiagonalGate": lambda d: library.DiagonalGate([cmath.exp(1j * d.number()) for _ in range(4)]),
    "ExactReciprocalGate": lambda d: library.ExactReciprocalGate(2, 0.3),
    "FullAdderGate": lambda d: library.FullAdderGate(1),
    "HalfAdderGate": lambda d: library.HalfAdderGate(1),
    "ModularAdderGate": lambda d: library.ModularAdderGate(2),
    "MultiplierGate": lambda d: library.MultiplierGate(1),
    "GraphStateGate": lambda d: library.GraphStateGate([[0, 1, 0], [1, 0, 1], [0, 1, 0]]),
    "HamiltonianGate": lambda d: library.HamiltonianGate(d.hermitian(2), d.angle()),
    "IntegerComparatorGate": lambda d: library.IntegerComparatorGate(2, d.state(2), geq=bool(d.state(1))),
    "Isometry": lambda d: library.Isometry(d.matrix(2), 0, 0),
    "LinearAmplitudeFunctionGate": lambda d: library.LinearAmplitudeFunctionGate(
        2, d.number(), 0.1, (0, 1), (0, 1)
    ),
    "LinearFunction": lambda d: library.LinearFunction([[1, 1, 0], [0, 1, 0], [1, 0, 1]]),
    "LinearPauliRotationsGate": lambda d: library.LinearPauliRotationsGate(
        2, d.number(), d.number(), d.pick("XYZ")
    ),
    "PauliEvolutionGate": lambda d: library.PauliEvolutionGate(d.paulis(3), d.angle()),
    "PauliGate": lambda d: library.PauliGate("".join(d.pick("IXYZ") for _ in range(3))),
    "PauliProductRotationGate": lambda d: library.PauliProductRotationGate(Pauli("XYZ"), d.angle()),
    "PermutationGate": lambda d: library.PermutationGate(d.rng.permutation(3).tolist()),
    "PiecewiseChebyshevGate": lambda d: library.PiecewiseChebyshevGate(np.sin, 2, 1, [0, 2]),
    "PiecewiseLinearPauliRotationsGate": lambda d: library.PiecewiseLinearPauliRotationsGate(
        2, [0, 2], [d.number(), d.number()], [0.1, 0.2]
    ),
    "PiecewisePolynomialPauliRotationsGate": lambda d: library.PiecewisePolynomialPauliRotationsGate(
        2, [0, 2], [[d.number(), 0.1], [0.3, 0.2]]
    ),
    "PolynomialPauliRotationsGate": lambda d: library.PolynomialPauliRotationsGate(
        2, [d.number(), 0.4, 0.2], "X"
    ),
    "QFTGate": lambda d: library.QFTGate(3),
    "QuadraticFormGate": lambda d: library.QuadraticFormGate(2, [[1, 0], [1, 1]], [1, 0], 1),
    "RVGate": lambda d: library.RVGate(d.number(), d.number(), d.number()),
    "StatePreparation": lambda d: library.StatePreparation(d.matrix(2)[0]),
    "UCGate": lambda d: library.UCGate([d.matrix(1), d.matrix(1)]),
    "UCPauliRotGate": lambda d: library.UCPauliRotGate([d.number(), d.number()], d.pick("XYZ")),
    "UCRXGate": lambda d: library.UCRXGate([d.number(), d.number()]),
    "UCRYGate": lambda d: library.UCRYGate([d.number(), d.number()]),
    "UCRZGate": lambda d: library.UCRZGate([d.number(), d.number()]),
    "UniformSuperpositionGate": lambda d: library.UniformSuperpositionGate(3, 2),
    "UnitaryGate": lambda d: library.UnitaryGate(d.matrix(d.pick([1, 2, 3]))),
    "MCGupDiag": lambda d: library.MCGupDiag(d.matrix(1), 1, 0, 0),
    "BitFlipOracleGate": lambda d: library.BitFlipOracleGate("a & ~b"),
    "PhaseOracleGate": lambda d: library.PhaseOracleGate("a ^ b"),
}
"""Class of ``qiskit.circuit.library`` -> a gate of it."""

NO_GATE = {"Barrier", "Initialize", "Measure", "PauliProductMeasurement", "Reset", "WeightedSumGate"}
"""Classes that are no unitary gate; the last has no definition without clean qubits beside it."""


def library_classes():
    """Names of all classes of operations in Qiskit's library."""
    found = {name: getattr(library, name) for name in dir(library)}
    return {
        name
        for name, kind in found.items()
        if inspect.isclass(kind) and issubclass(kind, Instruction) and kind is not Instruction
    }


# What users make of gates.


def own_gate(d):
    """A gate of a user's own class, with a name of Qiskit's and a definition of its own."""
    qubits, name, angles = d.pick([1, 2, 3]), d.pick(NAMES), [d.angle() for _ in range(d.pick([0, 1, 2]))]

    class Own(Gate):
        def _define(self):
            body = QuantumCircuit(self.num_qubits, global_phase=0.3)
            body.rz(0.7, 0)
            for place, value in enumerate(self.params):
                body.ry(value, place % self.num_qubits)
                body.rz(2 * value, 0)
            if self.num_qubits > 1:
                body.cx(0, self.num_qubits - 1)
            body.barrier()
            body.h(0)
            self.definition = body

    return Own(name, qubits, angles)


def own_matrix(d):
    """A gate that is known by its matrix alone."""
    matrix, name = d.matrix(2), d.pick(NAMES)

    class ByMatrix(Gate):
        def __array__(self, dtype=None, copy=None):
            return matrix.astype(dtype or complex)

    class ByToMatrix(Gate):
        def to_matrix(self):
            return matrix

    return d.pick([ByMatrix, ByToMatrix])(name, 2, [])


def inner(d, qubits, gates=3, name="any"):
    """A small circuit with a global phase of its own."""
    circuit = QuantumCircuit(qubits, global_phase=d.angle(), name=name and d.pick(NAMES))
    for _ in range(gates):
        gate = MAKERS[d.pick(SMALL)](d)
        if gate.num_qubits <= qubits:
            circuit.append(gate, d.rng.permutation(qubits)[: gate.num_qubits].tolist())
    return circuit


def annotated(d):
    base = d.pick([lambda: MAKERS[d.pick(SMALL)](d), lambda: inner(d, 2).to_gate(), lambda: own_gate(d)])()
    modifiers = []
    for _ in range(d.pick([1, 2])):
        controls = d.pick([1, 2]) if base.num_qubits == 1 else 1
        modifiers.append(
            d.pick(
                [
                    InverseModifier(),
                    PowerModifier(d.pick([-2, 0, 3])),
                    ControlModifier(controls, d.state(controls)),
                ]
            )
        )
    return AnnotatedOperation(base, modifiers)


def controlled(d):
    base = d.pick([lambda: MAKERS[d.pick(SMALL)](d), lambda: inner(d, 2, name=None).to_gate()])()
    controls = d.pick([1, 2])
    return base.control(controls, ctrl_state=d.state(controls), annotated=d.pick([False, None]))


def mutable(d):
    gate = MAKERS[d.pick(STANDARD)](d).to_mutable()
    gate.label = d.pick(NAMES)
    gate.name = d.pick([gate.name, "own"])
    return gate


SMALL = [n for n in STANDARD if n in MAKERS and n not in ("C3SXGate", "C3XGate", "C4XGate", "RC3XGate")]

WRAPPED = {
    "own gate": own_gate,
    "own matrix": own_matrix,
    "annotated": annotated,
    "controlled": controlled,
    "mutable": mutable,
    "inverse": lambda d: MAKERS[d.pick(SMALL)](d).inverse(),
    "power": lambda d: MAKERS[d.pick(SMALL)](d).power(d.pick([2, -1])),
    "root": lambda d: MAKERS[d.pick(["XGate", "HGate", "CXGate", "SwapGate"])](d).power(0.5),
    "repeated": lambda d: MAKERS[d.pick(SMALL)](d).repeat(2),
    "to_gate": lambda d: inner(d, d.pick([1, 2, 3])).to_gate(),
    "to_instruction": lambda d: inner(d, d.pick([1, 2, 3])).to_instruction(),
    "to_instruction inverse": lambda d: inner(d, 2).to_instruction().inverse(),
    "open control": lambda d: library.CRYGate(d.angle(), ctrl_state=0),
    "open multi control": lambda d: library.CCXGate(ctrl_state=d.state(2)),
    "clifford": lambda d: random_clifford(2, seed=d.state(10)),
    "operator": lambda d: Operator(d.matrix(1)).to_instruction(),
    "rotation vector": lambda d: library.RVGate(0, d.angle(), 0),
}


def build(seed, x, w, *, qubits=4, gates=6, kinds=None, forms=tuple(FORMS)):
    """A random circuit on ``qubits`` qubits; the kinds are keys of ``MAKERS`` and ``WRAPPED``."""
    d = Draw(seed, x, w, forms)
    kinds = kinds or [*MAKERS, *WRAPPED]
    circuit = QuantumCircuit(qubits, d.pick([0, 2]), global_phase=d.angle())
    for qubit in range(qubits):
        circuit.ry(d.angle(), qubit)
    for _ in range(gates):
        kind = d.pick(kinds)
        gate = (MAKERS.get(kind) or WRAPPED[kind])(d)
        wires = d.rng.permutation(qubits)[: gate.num_qubits].tolist()
        if gate.num_qubits <= qubits:
            circuit.append(gate, wires)
        _between(d, circuit)
    for value in [*x, *w]:
        circuit.rx(0.3 * value, int(d.rng.integers(qubits)))
    return circuit


def _between(d, circuit):
    """What changes no expectation."""
    choice = d.rng.random()
    if choice < 0.15:
        circuit.barrier()
    elif choice < 0.25:
        circuit.delay(1e-6 * (1 + d.w[0] ** 2), 0, unit="s") if d.state(1) else circuit.delay(100, 0)
    elif choice < 0.35:
        circuit.id(0)


def observables(qubits):
    some = [SparsePauliOp.from_sparse_list([(p, [q], 1.0)], qubits) for q in range(qubits) for p in "ZX"]
    return (*some[:5], SparsePauliOp("Y" * qubits), SparsePauliOp(["Z" * qubits, "I" * qubits], [0.7, 0.2]))


def truth(circuit, measured):
    state = Statevector(circuit)
    return np.array([state.expectation_value(each).real for each in measured])
