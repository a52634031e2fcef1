"""What a circuit measures and resets on its way, deferred: it becomes one of gates alone, on more qubits.

A measurement in the middle of a circuit is deferred: where a branch reads its result, CX copies it to a
qubit of its own, the record, and each gate of the branch becomes one that is controlled by records. Nothing
but such controls acts on a record, so that it stays what a classical bit is, and every expectation value is
that of the circuit with the branch (Nielsen and Chuang, section 4.4). A result that nobody reads is copied to
a qubit that is reset at once. So a circuit with branches becomes one of gates and resets, which every backend
runs alike.

A reset of a lowered circuit goes on with a fresh qubit in place of the one that it resets. Nothing acts on
the old qubit any more, so that what is measured of the others is what it is after the reset (the same
section). The price is a qubit for each reset; gradients and kernels stay the same.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from qiskit.circuit import (
    CASE_DEFAULT,
    ClassicalRegister,
    Clbit,
    ControlFlowOp,
    ForLoopOp,
    IfElseOp,
    Measure,
    QuantumCircuit,
    QuantumRegister,
    Reset,
    SwitchCaseOp,
)
from qiskit.circuit.classical import expr, types
from qiskit.quantum_info import SparsePauliOp

from qhq.errors import ConfigError

Conditions = tuple[tuple[int, int], ...]
"""Qubits that hold records, and the value that each must have."""

# Of one condition: it is worked out for each of their values.
_MOST_BITS = 8

# Of a loop.
_MOST_TURNS = 10_000


@dataclass(frozen=True)
class Branch:
    """What is done, and when.

    Attributes:
        bits: Classical bits, of the outermost circuit, that decide.
        holds: Whether it is taken, by the values of some of them; the others are 0.
        body: What is done.
    """

    bits: tuple[Clbit, ...]
    holds: Callable[[Mapping[Clbit, int]], bool]
    body: QuantumCircuit


def bits_read(circuit: QuantumCircuit, bits: Mapping[Clbit, Clbit]) -> frozenset[Clbit]:
    """The bits that some branch depends on, at any depth.

    Args:
        circuit: A circuit.
        bits: Its classical bits -> those that they stand for.
    """
    found: set[Clbit] = set()
    for step in circuit.data:
        if isinstance(step.operation, IfElseOp | SwitchCaseOp):
            found.update(bits[bit] for bit in _bits_of(_subject(step.operation)))
        for body in _bodies(step.operation, bool(step.clbits)):
            found |= bits_read(body, dict(zip(body.clbits, (bits[bit] for bit in step.clbits), strict=False)))
    return frozenset(found)


def bits_measured(circuit: QuantumCircuit, clbits: tuple[Clbit, ...]) -> frozenset[Clbit]:
    """The bits that a body measures into, at any depth; ``clbits`` are what its own stand for, in order."""
    bits, found = dict(zip(circuit.clbits, clbits, strict=True)), set[Clbit]()
    for step in circuit.data:
        own = tuple(bits[bit] for bit in step.clbits)
        if isinstance(step.operation, Measure):
            found.update(own)
        for body in _bodies(step.operation, bool(own)):
            found |= bits_measured(body, own[: len(body.clbits)])
    return frozenset(found)


def _bodies(operation: Any, has_bits: bool) -> tuple[QuantumCircuit, ...]:
    if isinstance(operation, ControlFlowOp):
        return tuple(operation.blocks)
    # Of what has no classical bits the definition need not be made: that of a gate may take long.
    definition = None if not has_bits or isinstance(operation, Measure) else operation.definition
    return () if definition is None else (definition,)


def unrolled(loop: ForLoopOp) -> Iterator[QuantumCircuit]:
    """The bodies of a loop over given values, one after another.

    Raises:
        ConfigError: If it has too many turns, or may end early.
    """
    indices, parameter, body = loop.params
    if len(indices) > _MOST_TURNS:
        raise cannot_branch(f"a loop of {len(indices):,} turns, where {_MOST_TURNS:,} are the most")
    for index in indices:
        # Not strictly: a body need not use the value of its turn.
        yield body if parameter is None else body.assign_parameters({parameter: index}, strict=False)


def branches_of(operation: ControlFlowOp, bits: Mapping[Clbit, Clbit]) -> list[Branch]:
    """The branches of ``if`` or ``switch``; of each value of the bits one is taken at most.

    Args:
        operation: What Qiskit calls control flow.
        bits: Classical bits of the circuit it stands in -> of the outermost.

    Raises:
        ConfigError: If it is a loop until something is measured, or decides by more than bits.
    """
    if not isinstance(operation, IfElseOp | SwitchCaseOp):
        raise cannot_branch(f"the operation '{operation.name}'")
    subject = _subject(operation)
    own = _bits_of(subject)
    if len(own) > _MOST_BITS:
        raise cannot_branch(f"a condition on {len(own)} bits, where {_MOST_BITS} are the most")
    # A condition may name a bit twice, as a register and alone.
    outer = tuple(dict.fromkeys(bits[bit] for bit in own))

    def branch(wanted: Callable[[set[int]], object], body: QuantumCircuit) -> Branch:
        def holds(values: Mapping[Clbit, int]) -> bool:
            return bool(wanted({_value(subject, {bit: values.get(bits[bit], 0) for bit in own})}))

        holds({})  # so that what cannot be worked out is refused here
        return Branch(outer, holds, body)

    if isinstance(operation, IfElseOp):
        # What an if asks is brought to 1 or 0 by ``_value``, so that it is a switch of two cases.
        sides = ({1}.intersection, {0}.intersection)
        return [branch(side, body) for side, body in zip(sides, operation.blocks, strict=False)]
    cases = list(operation.cases_specifier())
    labels = frozenset(label for each, _ in cases for label in each if label is not CASE_DEFAULT)
    # No label stands twice, and the default is last: Qiskit sees to both.
    return [
        branch(labels.isdisjoint if CASE_DEFAULT in own else frozenset(own).intersection, body)
        for own, body in cases
    ]


_Subject: TypeAlias = tuple[Clbit | ClassicalRegister, int] | expr.Expr | Clbit | ClassicalRegister


def _subject(operation: IfElseOp | SwitchCaseOp) -> _Subject:
    """What decides: a bit or register and the value it must have, or whose value is looked up."""
    found: _Subject = operation.condition if isinstance(operation, IfElseOp) else operation.target
    return found


def _bits_of(subject: _Subject) -> tuple[Clbit, ...]:
    if isinstance(subject, Clbit):
        return (subject,)
    if isinstance(subject, ClassicalRegister):
        return tuple(subject)
    if isinstance(subject, tuple):
        return _bits_of(subject[0])
    read: dict[Clbit, None] = {}
    for variable in expr.iter_vars(subject):
        if not isinstance(variable.var, Clbit | ClassicalRegister):
            raise cannot_branch(f"a condition on the variable '{variable.name}'")
        read.update(dict.fromkeys(_bits_of(variable.var)))
    return tuple(read)


def _value(subject: Any, bits: Mapping[Clbit, int]) -> int:
    """A bit, a register, a comparison or an expression, of the values of its bits."""
    if isinstance(subject, expr.Expr):
        return _worked_out(subject, bits)
    if isinstance(subject, tuple):
        return int(_value(subject[0], bits) == int(subject[1]))
    # As Qiskit counts: the first bit of a register is the lowest.
    return sum(bits[bit] << place for place, bit in enumerate(_bits_of(subject)))


def _worked_out(node: expr.Expr, bits: Mapping[Clbit, int]) -> int:
    def value(part: expr.Expr) -> int:
        return _worked_out(part, bits)

    match node:
        case expr.Var(var=Clbit() | ClassicalRegister() as named):
            found = _value(named, bits)
        case expr.Value(value=number):
            found = int(number)
        case expr.Cast(operand=operand):
            found = int(bool(value(operand))) if _is_bool(node) else value(operand)
        case expr.Index(target=target, index=index):
            # The higher bits go with the mask below, an indexed bit being a Bool.
            found = value(target) >> value(index)
        case expr.Unary(op=expr.Unary.Op.LOGIC_NOT, operand=operand):
            found = int(not value(operand))
        case expr.Unary(op=expr.Unary.Op.BIT_NOT, operand=operand):
            # Negative in Python; the mask below makes it the unsigned number that Qiskit has.
            found = ~value(operand)
        case expr.Binary(op=op, left=left, right=right) if op.name in _BINARY:
            found = int(_BINARY[op.name](value(left), value(right)))
        case _:
            raise cannot_branch(f"the condition {node}")
    # Qiskit's numbers are as wide as their type says.
    return found & (1 if _is_bool(node) else (1 << node.type.width) - 1)


def _is_bool(node: expr.Expr) -> bool:
    return isinstance(node.type, types.Bool)


_BINARY: dict[str, Callable[[int, int], int]] = {
    "BIT_AND": operator.and_,
    "BIT_OR": operator.or_,
    "BIT_XOR": operator.xor,
    "LOGIC_AND": lambda a, b: bool(a and b),
    "LOGIC_OR": lambda a, b: bool(a or b),
    "EQUAL": operator.eq,
    "NOT_EQUAL": operator.ne,
    "LESS": operator.lt,
    "LESS_EQUAL": operator.le,
    "GREATER": operator.gt,
    "GREATER_EQUAL": operator.ge,
    "SHIFT_LEFT": operator.lshift,
    "SHIFT_RIGHT": operator.rshift,
}


def cannot_branch(what: str) -> ConfigError:
    """Error that a circuit decides by something that cannot be made gates and resets."""
    return ConfigError(
        "A circuit may measure, reset and branch on what it measured, and loop over given values",
        got=what,
        fix="Write it as if_test or switch on measured bits; unroll a loop that waits for a result",
    )


def count_resets(lowered: QuantumCircuit) -> int:
    """How many qubits ``without_resets`` adds."""
    return sum(isinstance(step.operation, Reset) for step in lowered.data)


def without_resets(lowered: QuantumCircuit) -> tuple[QuantumCircuit, tuple[int, ...]]:
    """The same on more qubits, as gates alone.

    Args:
        lowered: What ``lower`` returns, n qubits.

    Returns:
        The circuit, and which of its qubits stands for each of the n at the end.
    """
    unitary = QuantumCircuit(lowered.num_qubits, name=lowered.name)
    wires = list(range(lowered.num_qubits))
    for step in lowered.data:
        places = [lowered.find_bit(bit).index for bit in step.qubits]
        if isinstance(step.operation, Reset):
            unitary.add_register(QuantumRegister(1, f"after_reset{unitary.num_qubits}"))
            wires[places[0]] = unitary.num_qubits - 1
        else:
            unitary.append(step.operation, [wires[place] for place in places])
    return unitary, tuple(wires)


def defer_resets(
    lowered: QuantumCircuit, observables: Sequence[SparsePauliOp]
) -> tuple[QuantumCircuit, tuple[SparsePauliOp, ...]]:
    """A lowered circuit without resets, and observables where their qubits have gone.

    Args:
        lowered: What ``lower`` returns.
        observables: On its qubits, or on the first of them where the others hold records.
    """
    # Records of measurements widen a circuit that resets nothing, too, and its observables must follow.
    if not count_resets(lowered) and all(each.num_qubits == lowered.num_qubits for each in observables):
        return lowered, tuple(observables)
    unitary, wires = without_resets(lowered)
    return unitary, tuple(_moved(each, wires, unitary.num_qubits) for each in observables)


def _moved(observable: SparsePauliOp, wires: Sequence[int], qubits: int) -> SparsePauliOp:
    if observable.num_qubits > len(wires):
        raise ConfigError(
            "Every observable must act on the qubits of the circuit",
            got=f"{observable.num_qubits} qubits beside {len(wires)}",
            fix="Leave out the letters of qubits that it does not have",
        )
    return observable.apply_layout(list(wires[: observable.num_qubits]), qubits)
