"""From a spec to the circuit it describes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from qiskit.circuit import Parameter, ParameterVector, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from qhq.ansatz.files import read_block, read_circuit_file
from qhq.ansatz.layers import block_circuit, encoding_circuit, entangler_circuit
from qhq.ansatz.program import Ansatz
from qhq.ansatz.spec import AnsatzSpec
from qhq.errors import ConfigError

__all__ = ["Ansatz", "build", "pauli_observables"]


def build(spec: AnsatzSpec) -> Ansatz:
    """Build the ansatz of a spec.

    Layered circuits name their inputs ``x[0]``, ``x[1]``, ... and their weights ``w[0]``, ``w[1]``, ...,
    counted from the left of the circuit to the right and in each column from the first qubit to the last.

    >>> ansatz = build(AnsatzSpec(qubits=3, depth=2))
    >>> ansatz.num_inputs, ansatz.num_weights, ansatz.num_outputs
    (3, 6, 3)

    Raises:
        ConfigError: If a circuit file cannot be used, or an observable does not fit the circuit.
    """
    if spec.file is not None and spec.file.weights is None:
        circuit, inputs, weights = read_circuit_file(spec.file, spec.qubits, spec.depth)
    else:
        circuit, inputs, weights = _stack_layers(spec)
    observables = pauli_observables(spec.observables, circuit.num_qubits)
    return Ansatz(circuit, inputs, weights, observables, spec.angle_scaling)


def pauli_observables(observables: str | Sequence[str], qubits: int) -> tuple[SparsePauliOp, ...]:
    """Turn ``z_each``, or a list such as ``["IIXZ", "Z0 X1"]``, into operators on ``qubits`` qubits.

    Raises:
        ConfigError: If an operator is wider than the circuit, or names a qubit twice.
    """
    if isinstance(observables, str):
        return pauli_observables([f"Z{qubit}" for qubit in range(qubits)], qubits)
    return tuple(_pauli(text, qubits) for text in observables)


def _pauli(text: str, qubits: int) -> SparsePauliOp:
    if text.isalpha():
        if len(text) != qubits:
            raise _observable_error(text, qubits)
        return SparsePauliOp(text)
    places = [int(factor[1:]) for factor in text.split()]
    if max(places) >= qubits or len(set(places)) != len(places):
        raise _observable_error(text, qubits)
    letters = "".join(factor[0] for factor in text.split())
    return SparsePauliOp.from_sparse_list([(letters, places, 1.0)], num_qubits=qubits)


def _observable_error(text: str, qubits: int) -> ConfigError:
    return ConfigError(
        "An observable must name each qubit at most once and fit the circuit",
        got=f"'{text}' for {qubits} qubits",
        fix=f"Write {qubits} letters as in '{'Z'.rjust(qubits, 'I')}', or qubits below {qubits} as in 'Z0'",
    )


def _stack_layers(spec: AnsatzSpec) -> tuple[QuantumCircuit, tuple[Parameter, ...], tuple[Parameter, ...]]:
    encoding = encoding_circuit(spec.encoding, spec.qubits, first=True)
    inputs = tuple(ParameterVector("x", encoding.num_parameters))
    circuit = QuantumCircuit(spec.qubits, name="ansatz").compose(_renamed(encoding, inputs))
    again = _renamed(encoding_circuit(spec.encoding, spec.qubits, first=False), inputs)
    if spec.file is not None:
        layers = [[read_block(spec.file, spec.qubits)]] * spec.depth
    else:
        layers = [_layer_blocks(spec, last=layer == spec.depth - 1) for layer in range(spec.depth)]
    weights = tuple(ParameterVector("w", sum(block.num_parameters for layer in layers for block in layer)))
    unused = iter(weights)
    for layer, blocks in enumerate(layers):
        if layer > 0 and spec.encoding.repeat:
            circuit.compose(again, inplace=True)
        for block in blocks:
            circuit.compose(_renamed(block, tuple(islice(unused, block.num_parameters))), inplace=True)
    return circuit, inputs, weights


def _layer_blocks(spec: AnsatzSpec, *, last: bool) -> list[QuantumCircuit]:
    blocks = [block_circuit(block, spec.qubits, last=last) for block in spec.blocks]
    return [*blocks, entangler_circuit(spec.entangler, spec.qubits)]


def _renamed(circuit: QuantumCircuit, parameters: Sequence[Parameter]) -> QuantumCircuit:
    return circuit.assign_parameters(dict(zip(circuit.parameters, parameters, strict=True)))
