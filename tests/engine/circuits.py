"""Seeded random circuits with every standard gate, and slow, obvious references for them."""

from dataclasses import dataclass

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Gate, ParameterExpression, ParameterVector
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.quantum_info import SparsePauliOp, Statevector

from qhq.engine import StatevectorEngine

STANDARD = {
    name: type(gate)
    for name, gate in get_standard_gate_name_mapping().items()
    if isinstance(gate, Gate) and name != "global_phase"
}
PARAMETRIC = tuple(n for n, g in get_standard_gate_name_mapping().items() if g.params and n in STANDARD)
WIDTH = {name: get_standard_gate_name_mapping()[name].num_qubits for name in STANDARD}
ARITY = {name: len(get_standard_gate_name_mapping()[name].params) for name in STANDARD}


@dataclass(frozen=True)
class Problem:
    circuit: QuantumCircuit
    observables: list[SparsePauliOp]
    inputs: list
    weights: list

    def expectations(self, inputs, weights):
        """Slow and obvious: bind, evolve, measure."""
        return np.array([self._sample(row, weights) for row in inputs])

    def _sample(self, row, weights):
        binding = dict(zip([*self.inputs, *self.weights], [*row, *weights], strict=True))
        present = {p: v for p, v in binding.items() if p in self.circuit.parameters}
        state = Statevector(self.circuit.assign_parameters(present))
        return [state.expectation_value(o).real for o in self.observables]

    def numbers(self, rng, batch, dtype=np.float64):
        inputs = rng.uniform(-np.pi, np.pi, (batch, len(self.inputs))).astype(dtype)
        return inputs, rng.uniform(-np.pi, np.pi, len(self.weights)).astype(dtype)


def random_expression(rng, x, w) -> ParameterExpression | float:
    a, b = x[rng.integers(len(x))], w[rng.integers(len(w))]
    scale, shift = rng.normal(size=2)
    choices = (a, b, scale * a, shift + scale * b, a + b, a - 2 * b, 2 * (np.pi - a) * (np.pi - b) / 5)
    curved = (a * b, a.sin() + b, (a * 0.3).exp(), scale * a * a, float(scale))
    every = choices + curved
    return every[rng.integers(len(every))]


def random_problem(rng, qubits, names=tuple(STANDARD), gates=12) -> Problem:
    x, w = ParameterVector("x", 3), ParameterVector("w", 4)
    circuit = QuantumCircuit(qubits)
    fitting = [name for name in names if WIDTH[name] <= qubits]
    for name in rng.permutation(fitting)[:gates]:
        add_gate(circuit, str(name), rng, x, w)
    return Problem(circuit, random_observables(rng, qubits), list(x), list(w))


def add_gate(circuit, name, rng, x, w):
    wires = rng.permutation(circuit.num_qubits)[: WIDTH[name]].tolist()
    angles = [random_expression(rng, x, w) for _ in range(ARITY[name])]
    circuit.append(STANDARD[name](*angles), wires)


def random_observables(rng, qubits, count=3):
    labels = lambda letters: "".join(rng.choice(list(letters), qubits))  # noqa: E731
    diagonal = [SparsePauliOp(labels("IZ"), rng.normal()) for _ in range(count)]
    sums = [[labels("IXYZ") for _ in range(3)] for _ in range(count - 1)]
    general = [SparsePauliOp(terms, rng.normal(size=3)) for terms in sums]
    return diagonal + general


def ring_problem(qubits, layers) -> Problem:
    """RY(x) encoding, layers of RY RZ and a ring of CX, all single Z: the circuit of the speed tables."""
    x, w = ParameterVector("x", qubits), ParameterVector("w", 2 * qubits * layers)
    circuit, weights = QuantumCircuit(qubits), iter(w)
    for q in range(qubits):
        circuit.ry(x[q], q)
    for _ in range(layers):
        for q in range(qubits):
            circuit.ry(next(weights), q)
            circuit.rz(next(weights), q)
        for q in range(qubits):
            circuit.cx(q, (q + 1) % qubits)
    observables = [SparsePauliOp.from_sparse_list([("Z", [q], 1.0)], qubits) for q in range(qubits)]
    return Problem(circuit, observables, list(x), list(w))


def engine_of(problem, threads=1):
    return StatevectorEngine(
        problem.circuit, problem.observables, problem.inputs, problem.weights, threads=threads
    )


def slopes(function, point, step=2e-4):
    """Finite differences of fourth order, one a coordinate of ``point`` (last axis)."""
    found = []
    for shift in step * np.eye(point.shape[-1]):
        near = function(point + shift) - function(point - shift)
        far = function(point + 2 * shift) - function(point - 2 * shift)
        found.append((8 * near - far) / (12 * step))
    return np.array(found)


def assert_gradients(problem, rng, batch=2, atol=1e-8):
    engine = engine_of(problem)
    inputs, weights = problem.numbers(rng, batch)
    cotangent = rng.normal(size=(batch, len(problem.observables)))
    dinputs, dweights = engine.vjp(inputs, weights, cotangent)
    by_input = slopes(lambda x: (engine.expectations(x, weights) * cotangent).sum(axis=1), inputs)
    by_weight = slopes(lambda w: (engine.expectations(inputs, w) * cotangent).sum(), weights)
    np.testing.assert_allclose(dinputs, by_input.T.reshape(dinputs.shape), atol=atol, rtol=1e-8)
    np.testing.assert_allclose(dweights, by_weight, atol=atol, rtol=1e-8)
