"""The facts of a circuit, counted."""

from __future__ import annotations

from dataclasses import dataclass

from qhq.ansatz.program import Ansatz


@dataclass(frozen=True)
class CircuitFacts:
    """Size of an ansatz as written, before any backend rewrites it.

    Attributes:
        qubits: Q.
        inputs: I.
        weights: W.
        observables: O.
        depth: Longest path, counted in gates.
        depth_2q: Longest path, counted in gates on two or more qubits.
        two_qubit_gates: Gates on two or more qubits.
        gates: How often each gate occurs, the most frequent first.
    """

    qubits: int
    inputs: int
    weights: int
    observables: int
    depth: int
    depth_2q: int
    two_qubit_gates: int
    gates: dict[str, int]


def describe(ansatz: Ansatz) -> CircuitFacts:
    """Count the facts of an ansatz.

    >>> from qhq.ansatz.assemble import build
    >>> from qhq.ansatz.spec import AnsatzSpec
    >>> describe(build(AnsatzSpec(qubits=3))).gates
    {'ry': 6, 'cx': 3}
    """
    circuit = ansatz.circuit
    return CircuitFacts(
        qubits=ansatz.num_qubits,
        inputs=ansatz.num_inputs,
        weights=ansatz.num_weights,
        observables=ansatz.num_outputs,
        depth=circuit.depth(),
        depth_2q=circuit.depth(lambda instruction: instruction.operation.num_qubits > 1),
        two_qubit_gates=circuit.num_nonlocal_gates(),
        gates={name: int(count) for name, count in circuit.count_ops().items()},
    )
