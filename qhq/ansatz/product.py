"""The same circuit without what couples its qubits: a product of circuits on one qubit each."""

from __future__ import annotations

from collections.abc import Sequence

from qiskit.circuit import CircuitInstruction, QuantumCircuit, Qubit
from qiskit.circuit.library import Barrier, UnitaryGate

from qhq.ansatz.program import Ansatz
from qhq.engine.compile import STANDARD, class_of
from qhq.errors import ConfigError


def without_entanglers(ansatz: Ansatz) -> Ansatz:
    """Leave out every gate on two or more qubits, and the weights that stood in no other gate.

    Gates that a circuit defines itself are opened down to Qiskit's standard gates. The qubits, the inputs and
    the observables stay, so that the rest of a model does too.

    >>> from qhq.ansatz.assemble import build
    >>> from qhq.ansatz.spec import AnsatzSpec
    >>> product = without_entanglers(build(AnsatzSpec(qubits=3, depth=2)))
    >>> product.circuit.num_nonlocal_gates(), product.num_weights
    (0, 6)

    Raises:
        ConfigError: If an input enters by gates on several qubits alone.
    """
    circuit = QuantumCircuit(*ansatz.circuit.qregs, name=ansatz.circuit.name)
    if circuit.num_qubits < ansatz.num_qubits:
        circuit.add_bits(each for each in ansatz.circuit.qubits if each not in circuit.qubits)
    circuit.global_phase = 0.0  # no observable sees it, and it may hold parameters of gates left out
    _copy_single(ansatz.circuit, ansatz.circuit.qubits, circuit)
    present = set(circuit.parameters)
    lost = [each.name for each in ansatz.inputs if each not in present]
    if lost:
        raise ConfigError(
            "Every input must still enter without the gates on several qubits",
            got=f"only such gates for {', '.join(lost)}",
            fix="Encode each input by a rotation, or leave quantum.entangled: true",
        )
    weights = tuple(each for each in ansatz.weights if each in present)
    return Ansatz(circuit, ansatz.inputs, weights, ansatz.observables, ansatz.angle_scaling)


def _copy_single(source: QuantumCircuit, qubits: Sequence[Qubit], target: QuantumCircuit) -> None:
    """Append the one-qubit gates of ``source``, its own qubits standing for ``qubits`` of ``target``."""
    for instruction in source.data:
        wires = [qubits[source.find_bit(each).index] for each in instruction.qubits]
        if len(wires) == 1:
            target.append(CircuitInstruction(instruction.operation, wires))
        elif _is_composite(instruction):
            _copy_single(instruction.operation.definition, wires, target)


def _is_composite(instruction: CircuitInstruction) -> bool:
    """Whether a gate on several qubits is a circuit of its own, of which parts may act on one qubit."""
    gate = instruction.operation
    definition = getattr(gate, "definition", None)
    is_whole = isinstance(gate, Barrier) or class_of(gate) in STANDARD or class_of(gate) is UnitaryGate
    return definition is not None and not is_whole
