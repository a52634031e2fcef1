"""Random circuits that reset, measure and branch, and their expectation values the slow, obvious way."""

from __future__ import annotations

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import Operator, SparsePauliOp

OBSERVABLES = [SparsePauliOp(label) for label in ("IIZ", "IZI", "ZII", "XXI", "YIZ")]

_COLLAPSED = [np.diag([1.0, 0.0]), np.diag([0.0, 1.0])]
_LOWERING = np.array([[0.0, 1.0], [0.0, 0.0]])


def random_circuit(seed: int, *, branches: bool, steps: int = 10):
    """Three qubits and two bits; returns the circuit and its parameters in order of time.

    Its last gates are on every qubit, so that no measurement is one at its end.
    """
    drawn = _Drawn(seed)
    for qubit in range(3):
        drawn.circuit.ry(drawn.angle(), qubit)
    for _ in range(steps):
        drawn.step(drawn.number(10 if branches else 8))
    for qubit in range(3):
        drawn.circuit.rx(drawn.angle(), qubit)
    return drawn.circuit, drawn.parameters


class _Drawn:
    """A circuit in the making."""

    def __init__(self, seed: int) -> None:
        self.circuit, self.parameters = QuantumCircuit(3, 2), []
        self._generator = np.random.default_rng(seed)

    def number(self, below: int) -> int:
        return int(self._generator.integers(below))

    def angle(self) -> Parameter:
        self.parameters.append(Parameter(f"p{len(self.parameters)}"))
        return self.parameters[-1]

    def step(self, kind: int) -> None:
        if kind < 6:
            self._gate()
        elif kind == 6:
            self.circuit.reset(self.number(3))
        elif kind == 7:
            self._measure()
        else:
            self._branch()

    def _gate(self) -> None:
        one, other = (int(each) for each in self._generator.permutation(3)[:2])
        kind = self.number(7)
        if kind < 3:
            getattr(self.circuit, ("rx", "ry", "rz")[kind])(self.angle(), one)
        elif kind == 3:
            self.circuit.rzz(self.angle(), one, other)
        elif kind == 4:
            self.circuit.cx(one, other)
        else:
            getattr(self.circuit, ("h", "sx")[kind - 5])(one)

    def _measure(self) -> None:
        self.circuit.measure(self.number(3), self.number(2))

    def _branch(self) -> None:
        if self.number(2):
            with self.circuit.if_test((self.circuit.cregs[0], self.number(4))):
                self._gate()
                self._gate()
            return
        with self.circuit.if_test((self.circuit.clbits[self.number(2)], self.number(2))) as otherwise:
            self._gate()
            self.circuit.reset(self.number(3))
        with otherwise:
            self._measure()
            self._gate()


def slow_values(circuit: QuantumCircuit, observables=OBSERVABLES) -> np.ndarray:
    """Each history of results by itself, as an unnormalised density matrix."""
    size = 2**circuit.num_qubits
    start = np.zeros((size, size), complex)
    start[0, 0] = 1
    bits = {bit: bit for bit in circuit.clbits}
    histories = _run(circuit, list(range(circuit.num_qubits)), bits, [(dict.fromkeys(bits, 0), start)])
    total = sum(state for _, state in histories)
    return np.array([np.trace(each.to_matrix() @ total).real for each in observables])


def _run(circuit, qubits, bits, histories):
    for step in circuit.data:
        places = [qubits[circuit.find_bit(bit).index] for bit in step.qubits]
        own = [bits[bit] for bit in step.clbits]
        merged = {}
        for history in histories:
            for values, state in _after(step.operation, places, own, bits, history):
                key = tuple(values.values())
                merged[key] = (values, state + (merged[key][1] if key in merged else 0))
        histories = list(merged.values())
    return histories


def _after(operation, places, own, bits, history):
    """What becomes of one history: its results so far, and its state."""
    values, state = history
    if operation.name == "measure":
        return [({**values, own[0]: k}, _applied(state, _COLLAPSED[k], places)) for k in (0, 1)]
    if operation.name == "reset":
        return [(values, sum(_applied(state, each, places) for each in (_COLLAPSED[0], _LOWERING)))]
    if operation.name == "if_else":
        what, wanted = operation.condition
        read = list(what) if hasattr(what, "size") else [what]
        number = sum(values[bits[bit]] << place for place, bit in enumerate(read))
        bodies = [body for body in operation.blocks if body is not None]
        taken = bodies[:1] if number == int(wanted) else bodies[1:]
        for body in taken:
            return _run(body, places, dict(zip(body.clbits, own, strict=True)), [history])
        return [history]
    return [(values, _applied(state, Operator(operation).data, places))]


def _applied(state, matrix, places):
    whole = Operator(np.eye(len(state))).compose(Operator(matrix), places).data
    return whole @ state @ whole.conj().T
