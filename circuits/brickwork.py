"""Bricks of RY and RXX over an RY encoding: an example of an ansatz in plain Qiskit."""

from qiskit.circuit import ParameterVector, QuantumCircuit


def build(qubits, depth):
    """Return the circuit, its inputs and its weights."""
    pairs = [[(qubit, qubit + 1) for qubit in range(layer % 2, qubits - 1, 2)] for layer in range(depth)]
    inputs = ParameterVector("x", qubits)
    weights = ParameterVector("w", sum(map(len, pairs)) + depth * qubits)
    unused = iter(weights)
    circuit = QuantumCircuit(qubits)
    for qubit in range(qubits):
        circuit.ry(inputs[qubit], qubit)
    for layer in pairs:
        for qubit in range(qubits):
            circuit.ry(next(unused), qubit)
        for one, other in layer:
            circuit.rxx(next(unused), one, other)
    return circuit, inputs, weights
