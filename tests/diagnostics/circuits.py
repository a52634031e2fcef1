"""Circuits of known values, and grids on which means over angles are exact."""

from __future__ import annotations

import itertools

import numpy as np
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from qhq.ansatz.assemble import build, pauli_observables
from qhq.ansatz.program import Ansatz
from qhq.ansatz.spec import load_ansatz


def shipped(name: str, **overrides) -> Ansatz:
    return build(load_ansatz(name, overrides))


def ansatz_of(circuit: QuantumCircuit, inputs, weights, observables=None) -> Ansatz:
    measured = observables or pauli_observables("z_each", circuit.num_qubits)
    return Ansatz(circuit, tuple(inputs), tuple(weights), tuple(measured))


def product_rx(qubits: int, observable: SparsePauliOp) -> Ansatz:
    """RX(w) on each qubit after an RX input, which is idle at 0."""
    x, w = ParameterVector("x", 1), ParameterVector("w", qubits)
    circuit = QuantumCircuit(qubits)
    circuit.rx(x[0], 0)
    for qubit in range(qubits):
        circuit.rx(w[qubit], qubit)
    return ansatz_of(circuit, x, w, [observable])


def all_zero(qubits: int) -> SparsePauliOp:
    """The projector on |0...0>, a global cost."""
    labels = ["".join(letters) for letters in itertools.product("IZ", repeat=qubits)]
    return SparsePauliOp(labels, np.full(len(labels), 0.5**qubits))


def mean_zero(qubits: int) -> SparsePauliOp:
    """The mean of |0><0| over the qubits, a local cost."""
    terms = [("Z", [qubit], 0.5 / qubits) for qubit in range(qubits)]
    return SparsePauliOp.from_sparse_list([("", [], 0.5), *terms], num_qubits=qubits)


def angle_grid(angles: int, points: int) -> np.ndarray:
    """All combinations of ``points`` equidistant angles: exact means of frequencies below ``points``."""
    axis = 2 * np.pi * np.arange(points) / points
    return np.array(list(itertools.product(axis, repeat=angles)))


def random_pauli_circuit(qubits: int, depth: int, seed: int) -> Ansatz:
    """McClean et al.: RY(pi/4), then columns of random Pauli rotations and a ladder of CZ; measures Z0 Z1."""
    generator = np.random.default_rng([29, qubits, seed])
    x, w = ParameterVector("x", 1), ParameterVector("w", qubits * depth)
    circuit, unused = QuantumCircuit(qubits), iter(w)
    circuit.rx(x[0], 0)
    circuit.ry(np.pi / 4, range(qubits))
    for _ in range(depth):
        for qubit in range(qubits):
            getattr(circuit, generator.choice(["rx", "ry", "rz"]))(next(unused), qubit)
        for qubit in range(qubits - 1):
            circuit.cz(qubit, qubit + 1)
    return ansatz_of(circuit, x, w, pauli_observables(["Z0 Z1"], qubits))


def haar_states(qubits: int, count: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    size = 2**qubits
    states = generator.normal(size=(count, size)) + 1j * generator.normal(size=(count, size))
    return states / np.linalg.norm(states, axis=1, keepdims=True)


def stabilizer_states(qubits: int) -> np.ndarray:
    """All of them: a 3-design, so means of what is quadratic in |psi><psi| are those of Haar, exactly."""
    found: dict[tuple, np.ndarray] = {}
    waiting = [np.eye(2**qubits)[0].astype(complex)]
    gates = [_matrix(qubits, name, wires) for name, wires in _clifford_gates(qubits)]
    while waiting:
        state = waiting.pop()
        first = state[np.flatnonzero(np.abs(state) > 1e-9)[0]]
        state = state * (first.conj() / abs(first))
        key = tuple((np.round(state, 6) + 0.0).tolist())
        if key not in found:
            found[key] = state
            waiting += [gate @ state for gate in gates]
    return np.array(list(found.values()))


def _clifford_gates(qubits):
    singles = [(name, (qubit,)) for name in ("h", "s") for qubit in range(qubits)]
    return singles + [("cx", pair) for pair in itertools.permutations(range(qubits), 2)]


def _matrix(qubits, name, wires):
    from qiskit.quantum_info import Operator

    circuit = QuantumCircuit(qubits)
    getattr(circuit, name)(*wires)
    return Operator(circuit).data
