"""An ansatz whose state is a product: groups of qubits that no gate couples and no observable reads together.

Each factor can be simulated alone, which takes the sum of their amplitudes and not the product. The readout
times of a reservoir are such factors, and so may be the parts of an ansatz. A device runs the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from qiskit.circuit import Barrier, Parameter, ParameterExpression, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from qhq.ansatz.program import Ansatz, on_qubits

FEWEST_QUBITS = 9
"""With one for each reset. Below, one state costs no more than several: forward and back a batch of 64 takes
0.08 ms on 4 + 4 qubits either way; on 6 + 6 it takes 1.3 ms as one and 0.1 ms as two."""


@dataclass(frozen=True)
class Factor:
    """A factor of an ansatz, itself an ansatz.

    Attributes:
        ansatz: The factor.
        inputs: Which of the whole's inputs it takes, in its order; factors may share some.
        weights: The same of weights.
        outputs: Which of the whole's outputs are its own.
    """

    ansatz: Ansatz
    inputs: tuple[int, ...]
    weights: tuple[int, ...]
    outputs: tuple[int, ...]


def factors_of(ansatz: Ansatz) -> tuple[Factor, ...]:
    """The factors of a wide ansatz; of any other the whole as one.

    >>> from qhq.ansatz.assemble import build
    >>> from qhq.ansatz.spec import AnsatzSpec
    >>> alone = AnsatzSpec.model_validate({"qubits": 12, "entangler": {"pattern": "none"}})
    >>> len(factors_of(build(alone))), len(factors_of(build(AnsatzSpec(qubits=12))))
    (12, 1)
    """
    groups = [] if ansatz.num_qubits + ansatz.num_resets < FEWEST_QUBITS else _groups(ansatz)
    if len(groups) < 2:
        every = [tuple(range(count)) for count in (ansatz.num_inputs, ansatz.num_weights, ansatz.num_outputs)]
        return (Factor(ansatz, *every),)
    # An output that reads no qubit at all belongs to the first.
    return tuple(_factor(ansatz, each, takes_constants=each is groups[0]) for each in groups)


def _groups(ansatz: Ansatz) -> list[list[int]]:
    """Qubits of each part, ascending; none where it does not fall apart."""
    circuit = ansatz.circuit
    # A phase is of no qubit: its parameters would be in no factor.
    if isinstance(circuit.global_phase, ParameterExpression) and circuit.global_phase.parameters:
        return []
    steps = [
        ([circuit.find_bit(bit).index for bit in step.qubits], step.operation)
        for step in circuit.data
        if not isinstance(step.operation, Barrier)
    ]
    together = [qubits for qubits, _ in steps] + [_support(each) for each in ansatz.observables]
    # A chain through the qubits of a gate or observable connects them as well as all their pairs would.
    pairs = np.array([pair for qubits in together for pair in pairwise(qubits)]).reshape(-1, 2).T
    size = circuit.num_qubits
    _, part_of = connected_components(coo_array((np.ones(pairs.shape[1]), tuple(pairs)), (size, size)))
    inputs = frozenset(ansatz.inputs)
    fed = {part_of[qubits[0]] for qubits, operation in steps if inputs & _held(operation.params)}
    read = {part_of[qubit] for each in ansatz.observables for qubit in _support(each)}
    # An ansatz takes an input: what takes none stays with a part that does.
    first = next(part for part in part_of if part in (fed & read or fed))
    if not read <= fed or any(not _support(each) for each in ansatz.observables):
        read.add(first)
    part_of = np.where(np.isin(part_of, list(fed)), part_of, first)
    # Nothing is asked of a part that nothing reads.
    return [np.flatnonzero(part_of == part).tolist() for part in dict.fromkeys(part_of) if part in read]


def _held(params: Sequence[object]) -> frozenset[Parameter]:
    """Free parameters of a gate."""
    return frozenset(
        held for each in params if isinstance(each, ParameterExpression) for held in each.parameters
    )


def _support(observable: SparsePauliOp) -> list[int]:
    """Qubits that an observable reads, ascending."""
    paulis = observable.paulis
    return [int(qubit) for qubit in np.flatnonzero((paulis.z | paulis.x).any(axis=0))]


def _factor(ansatz: Ansatz, qubits: list[int], *, takes_constants: bool) -> Factor:
    own, circuit = {qubit: place for place, qubit in enumerate(qubits)}, QuantumCircuit(len(qubits))
    circuit.name = ansatz.circuit.name
    for step in ansatz.circuit.data:
        wires = [ansatz.circuit.find_bit(bit).index for bit in step.qubits]
        # Qubits of a gate are all of one factor, so the first says which.
        if wires and wires[0] in own and not isinstance(step.operation, Barrier):
            circuit.append(step.operation, [own[wire] for wire in wires])
    held = set(circuit.parameters)
    inputs = tuple(place for place, each in enumerate(ansatz.inputs) if each in held)
    weights = tuple(place for place, each in enumerate(ansatz.weights) if each in held)
    outputs = tuple(
        place
        for place, support in enumerate(map(_support, ansatz.observables))
        if set(support) <= own.keys() and (support or takes_constants)
    )
    program = Ansatz(
        circuit,
        tuple(ansatz.inputs[place] for place in inputs),
        tuple(ansatz.weights[place] for place in weights),
        tuple(on_qubits(ansatz.observables[place], qubits) for place in outputs),
        ansatz.angle_scaling,
    )
    return Factor(program, inputs, weights, outputs)
