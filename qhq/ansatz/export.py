"""Writing an ansatz for other tools: OpenQASM 3, OpenQASM 2, QPY.

Every export is read back by Qiskit before it is given out, and compared. Where the circuit as it was
written does not survive that (Qiskit writes OpenQASM that it cannot read: powers, gates of one name, Pauli
gates), the lowered circuit is written instead, in gates and expressions that its readers know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from qiskit import qasm2, qasm3
from qiskit.circuit import CircuitInstruction, Gate, Parameter, ParameterExpression, QuantumCircuit, Reset
from qiskit.circuit.library import (
    CCXGate,
    CHGate,
    CPhaseGate,
    CRXGate,
    CRYGate,
    CRZGate,
    CSwapGate,
    CXGate,
    CYGate,
    CZGate,
    HGate,
    PhaseGate,
    RXGate,
    RYGate,
    RZGate,
    SdgGate,
    SGate,
    SwapGate,
    SXGate,
    TdgGate,
    TGate,
    U1Gate,
    U3Gate,
    UGate,
    XGate,
    YGate,
    ZGate,
)
from qiskit.quantum_info import Operator, Statevector

from qhq.ansatz.program import Ansatz, with_plain_names
from qhq.ansatz.stored import (
    plain_names,
    plain_program,
    program_at,
    program_digest,
    qpy_as_written,
    qpy_bytes,
    read_bytes_back,
)
from qhq.engine.compile import (
    Code,
    Operand,
    Slot,
    class_of,
    count_resets,
    is_parametric,
    lower,
    without_resets,
)
from qhq.errors import ConfigError, nearest
from qhq.files import replacing

# Qubits up to which an export is compared by what it does to a random state; wider ones gate by gate.
_WIDEST_STATE = 12

# Far above what a thousand gates round, 1e-13, and far below what a wrong one changes.
_TOLERANCE = 1e-9

_MOST_FACTORS, _MOST_CHARACTERS = 64, 100_000
"""Largest power that is written as a product, and longest angle."""

_INFIX = {"ADD": "+", "SUB": "-", "MUL": "*", "DIV": "/"}

_BOTH = {XGate, YGate, ZGate, HGate, SGate, SdgGate, TGate, TdgGate, RXGate, RYGate, RZGate}
_BOTH |= {CXGate, CYGate, CZGate, CHGate, CRZGate, CCXGate}
# Gates that Qiskit's reader of OpenQASM 3 gives back as they were.
_GATES_OF_QASM3 = frozenset(
    {*_BOTH, PhaseGate, SXGate, SwapGate, CSwapGate, CPhaseGate, CRXGate, CRYGate, UGate}
)

# Gates of the qelib1.inc of the paper on OpenQASM 2 (arXiv:1707.03429), which every reader has.
_GATES_OF_QASM2 = frozenset({*_BOTH, U1Gate, U3Gate})

_Reader = Callable[[str], QuantumCircuit]


class UnsupportedExport(ConfigError):  # noqa: N818
    """The form cannot hold the circuit; another form can."""


def export(ansatz: Ansatz, form: str, values: ArrayLike | None = None) -> bytes:
    """Content of a file that holds the circuit.

    Args:
        ansatz: What to write.
        form: A key of :data:`EXPORT_FORMS`: ``qasm3``, ``qasm2`` or ``qpy``.
        values: Values to write in place of the parameters: inputs, then weights, shape (I + W,).

    Raises:
        ConfigError: If the form is unknown or cannot hold the circuit, or there are too few values.
    """
    if form not in EXPORT_FORMS:
        raise ConfigError(
            "The form of an export must be known", got=f"'{form}'", fix=nearest(form, EXPORT_FORMS)
        )
    return EXPORT_FORMS[form](ansatz, values)


def export_circuit(ansatz: Ansatz, path: Path, form: str, values: ArrayLike | None = None) -> None:
    """Write the circuit to a file; see :func:`export`.

    Raises:
        ConfigError: Also if the file cannot be written.
    """
    content = export(ansatz, form, values)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise ConfigError(
            "The export must be writable", got=f"{path}: {error.strerror}", fix="Choose another path"
        ) from error


def to_qasm3(ansatz: Ansatz, values: ArrayLike | None = None) -> str:
    """OpenQASM 3; inputs are its input variables ``x_0``, ``x_1``, ..., weights ``w_0``, ``w_1``, ...

    Args:
        ansatz: What to write.
        values: Values in place of the parameters, shape (I + W,).

    Raises:
        ConfigError: If an angle is no sum, product or quotient, which is all that Qiskit reads.
    """
    if values is not None:
        return _written_with_values(ansatz, values, qasm3.dumps, qasm3.loads, _GATES_OF_QASM3)
    # Reading it back takes Qiskit 20 s for some thousand gates, and each fold of a walk-forward exports the
    # same circuit.
    key = (program_digest(ansatz), *sorted(ansatz.circuit.count_ops().items()))
    if key not in _texts:
        _texts.clear()
        _texts[key] = _to_qasm3(ansatz)
    return _texts[key]


# The last OpenQASM 3, by the program and the gates that it is written in.
_texts: dict[Hashable, str] = {}


def _to_qasm3(ansatz: Ansatz) -> str:
    text = _try_to_write(with_plain_names, ansatz, qasm3.dumps, qasm3.loads)
    if text is not None:
        return text
    # What Qiskit wrote it cannot read (powers, gates of one name): the lowered circuit, its angles spelled
    # out.
    text = _try_to_write(
        lambda given: in_gates(plain_program(given), _GATES_OF_QASM3), ansatz, _dump_expressions, qasm3.loads
    )
    if text is not None:
        return text
    raise _no_export("OpenQASM 3", ansatz, "export to qpy, or give the values of inputs and weights")


def to_qasm2(ansatz: Ansatz, values: ArrayLike | None) -> str:
    """OpenQASM 2, which has no parameters.

    Args:
        ansatz: What to write.
        values: Inputs, then weights, shape (I + W,).

    Raises:
        ConfigError: Without values.
    """
    if values is None:
        raise ConfigError(
            "OpenQASM 2 must have a number at every angle",
            got=f"{ansatz.num_inputs + ansatz.num_weights} free parameters",
            fix="Give their values, inputs first (on the command line --values 0.1,0.2,...), or export to"
            " qasm3 or qpy, which keep parameters",
        )
    return _written_with_values(ansatz, values, qasm2.dumps, qasm2.loads, _GATES_OF_QASM2)


def _to_qpy(ansatz: Ansatz, values: ArrayLike | None = None) -> bytes:
    """QPY, which holds the whole ansatz: the circuit as it was written, or lowered if QPY cannot hold that.

    Raises:
        ConfigError: If values are given; QPY keeps the parameters, so that it stays an ansatz.
    """
    if values is not None:
        raise ConfigError(
            "QPY must keep the parameters of an ansatz",
            got="values in their place",
            fix="Leave the values out, or export to qasm3",
        )
    try:
        content = qpy_as_written(ansatz)
        if agree(ansatz, read_bytes_back(ansatz, content)):
            return content
    except Exception:  # whatever Qiskit stumbles over: the lowered circuit is in gates that it knows
        return qpy_bytes(ansatz)
    return qpy_bytes(ansatz)


EXPORT_FORMS: dict[str, Callable[[Ansatz, ArrayLike | None], bytes]] = {
    "qasm3": lambda ansatz, values: to_qasm3(ansatz, values).encode(),
    "qasm2": lambda ansatz, values: to_qasm2(ansatz, values).encode(),
    "qpy": _to_qpy,
}


def _try_to_write(
    prepare: Callable[[Ansatz], QuantumCircuit],
    ansatz: Ansatz,
    write: Callable[[QuantumCircuit], str],
    read: _Reader,
) -> str | None:
    """Text of the circuit with its parameters free; None if it cannot be written and read back the same."""
    try:
        circuit = prepare(ansatz)
        text = write(circuit)
        read_back = with_roles(read(text), ansatz)
        agrees = agree(ansatz, read_back) or agree(with_roles(circuit, ansatz), read_back)
    except Exception:  # writers and readers raise families of their own; there is another way, or a refusal
        return None
    return text if agrees else None


def with_roles(circuit: QuantumCircuit, ansatz: Ansatz) -> Ansatz:
    """The ansatz with another circuit, whose parameters are named by position."""
    named = {each.name: each for each in circuit.parameters}
    roles = [named[name] for name in plain_names(ansatz.num_inputs, ansatz.num_weights)]
    split = ansatz.num_inputs
    return Ansatz(circuit, tuple(roles[:split]), tuple(roles[split:]), ansatz.observables)


def _written_with_values(
    ansatz: Ansatz,
    values: ArrayLike,
    write: Callable[[QuantumCircuit], str],
    read: _Reader,
    gates: frozenset[type],
) -> str:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (len(ansatz.parameters),):
        raise ConfigError(
            "There must be one value for each input and weight",
            got=f"shape {numbers.shape} for {ansatz.num_inputs} inputs and {ansatz.num_weights} weights",
            fix="Give the inputs, then the weights",
        )
    if not np.isfinite(numbers).all():
        raise ConfigError(
            "The values of inputs and weights must be finite numbers",
            got=", ".join(str(each) for each in numbers[~np.isfinite(numbers)]),
            fix="Give a number for each",
        )
    wanted = program_at(ansatz, numbers)
    given = dict(zip(ansatz.parameters, numbers.tolist(), strict=True))

    def as_written() -> QuantumCircuit:
        return ansatz.circuit.assign_parameters(given)

    def lowered() -> QuantumCircuit:
        return in_gates(wanted, gates)

    # The user's own gates first, since a reader wants to recognise the circuit; only then the lowered ones.
    for prepare in (as_written, lowered):
        try:
            circuit = prepare()
            text = write(circuit)
            again = lower(read(text))
            if _same_steps(wanted, again) or _same_action(wanted, again):
                return text
            # Too wide for a state: the gates that were read must be those that were written.
            if prepare is lowered and _same_steps(lower(circuit), again):
                return text
        except Exception:  # writers and readers raise families of their own
            continue
    raise _no_export("OpenQASM", ansatz, "export to qpy")


def agree(one: Ansatz, other: Ansatz) -> bool:
    """Whether two ansaetze do the same for any values, seen at two rows of them."""
    generator = np.random.default_rng(0)  # the same rows each time: a circuit can be exported always or never
    for _ in range(2):
        # Away from zero, where a sine and its argument agree, and within most domains of roots and
        # logarithms.
        row = generator.uniform(0.1, 1.2, len(one.parameters))
        mine, others = program_at(one, row), program_at(other, row)
        if not (_same_steps(mine, others) or _same_action(mine, others)):
            return False
    return True


def _same_steps(one: QuantumCircuit, other: QuantumCircuit) -> bool:
    """Whether two lowered circuits without parameters are the same gates in the same order."""
    if one.size() != other.size():
        return False
    for mine, others in zip(one.data, other.data, strict=True):
        if class_of(mine.operation) is not class_of(others.operation):
            return False
        if [one.find_bit(bit).index for bit in mine.qubits] != [
            other.find_bit(bit).index for bit in others.qubits
        ]:
            return False
        for p, q in zip(mine.operation.params, others.operation.params, strict=True):
            # Not ``> _TOLERANCE``: NaN must count as a difference.
            if not np.abs(np.asarray(p, complex) - np.asarray(q, complex)).max() <= _TOLERANCE:
                return False
    return True


def _places(circuit: QuantumCircuit, step: CircuitInstruction) -> list[int]:
    return [circuit.find_bit(bit).index for bit in step.qubits]


def _same_action(one: QuantumCircuit, other: QuantumCircuit) -> bool:
    """Whether two circuits without parameters turn a random state into the same, up to its phase."""
    if count_resets(one) != count_resets(other):
        return False
    # A state that is reset becomes a mixture; with fresh qubits instead it stays a state.
    one, other = without_resets(one)[0], without_resets(other)[0]
    if one.num_qubits != other.num_qubits or one.num_qubits > _WIDEST_STATE:
        return False
    generator = np.random.default_rng(1)
    size = 2**one.num_qubits
    state = generator.normal(size=size) + 1j * generator.normal(size=size)
    start = Statevector(state / np.linalg.norm(state))
    ends = [start.evolve(each).data for each in (one, other)]
    # Of two unit vectors that are equal but for a phase, the overlap is that phase.
    overlap = np.vdot(*ends)
    return bool(np.abs(ends[0] * overlap - ends[1]).max() <= _TOLERANCE)


def in_gates(circuit: QuantumCircuit, gates: frozenset[type]) -> QuantumCircuit:
    """A lowered circuit in the given gates alone, up to a global phase."""
    written = QuantumCircuit(circuit.num_qubits)
    if circuit.parameters:
        # Parameters that stand in no gate are kept here.
        written.global_phase = circuit.global_phase
    for step in circuit.data:
        for gate, qubits in _opened(step.operation, _places(circuit, step), gates):
            written.append(gate, qubits)
    return written


def _opened(gate: Any, qubits: list[int], gates: frozenset[type]) -> Iterator[tuple[Gate, list[int]]]:
    kind = class_of(gate)
    if kind in gates or isinstance(gate, Reset):
        yield gate, qubits
    # OpenQASM 2 has P and U by their old names alone, and these are the same matrices.
    elif kind is PhaseGate and U1Gate in gates:
        yield U1Gate(*gate.params), qubits
    elif kind is UGate and U3Gate in gates:
        yield U3Gate(*gate.params), qubits
    else:
        definition = gate.definition
        # Some of Qiskit's definitions are approximate: what is exported must be the gate, not what is near
        # it.
        exact = is_parametric(gate) or Operator(definition).equiv(Operator(gate), rtol=0, atol=_TOLERANCE)
        if not exact:
            raise ValueError(f"the definition of {gate.name} is not exact")
        for step in definition.data:
            places = [qubits[definition.find_bit(bit).index] for bit in step.qubits]
            yield from _opened(step.operation, places, gates)


def in_methods(ansatz: Ansatz) -> QuantumCircuit:
    """The plain program in gates that are methods of Qiskit's circuits, up to a global phase.

    Raises:
        ValueError: If a gate has only an approximate definition.
    """
    return in_gates(plain_program(ansatz), _GATES_OF_QASM3)


def _dump_expressions(circuit: QuantumCircuit) -> str:
    """OpenQASM 3 whose angles are written as sums, products and quotients, which is all that Qiskit reads."""
    replaced, texts = QuantumCircuit(circuit.num_qubits), dict[str, str]()
    replaced.global_phase = circuit.global_phase
    for step in circuit.data:
        gate = step.operation
        if is_parametric(gate):
            gate, angles = gate.to_mutable(), []
            for value in gate.params:
                if isinstance(value, ParameterExpression) and not isinstance(value, Parameter):
                    name = f"angle_{len(texts)}_"
                    texts[name] = _expression_text(value)
                    angles.append(Parameter(name))
                else:
                    angles.append(value)
            gate.params = angles
        replaced.append(gate, _places(circuit, step))
    # Each angle goes in as a parameter of a name of its own, and its text takes the place of the name:
    # Qiskit's writer would spell powers and functions that its reader refuses.
    absent = set(circuit.parameters) - set(replaced.parameters)
    text = qasm3.dumps(replaced)
    text = re.sub(r"^input float\[64\] angle_\d+_;\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"\bangle_\d+_\b", lambda match: texts[match[0]], text)
    # A parameter that stood in such angles alone has lost its declaration with them.
    declared = "".join(f"input float[64] {name};\n" for name in sorted(each.name for each in absent))
    return text.replace("qubit[", f"{declared}qubit[", 1)


def _expression_text(expression: ParameterExpression) -> str:
    """An angle in + - * / alone.

    Raises:
        ValueError: If it has a function, or is too long when its powers are products.
    """
    # Qiskit's is a set, whose order differs from process to process; an export must not.
    parameters = sorted(expression.parameters, key=lambda each: each.name)
    code = Code(expression, parameters)
    texts: list[str] = [each.name for each in parameters]

    def text(operand: Operand | None) -> str:
        if isinstance(operand, Slot):
            return texts[operand.index]
        if not isinstance(operand, float):
            raise ValueError("a complex number")
        # 2.0, not 2: Qiskit's reader divides two integers without a rest.
        return repr(operand) if operand >= 0 else f"({operand!r})"

    for step in code.steps:
        if step.op in _INFIX:
            found = f"({text(step.left)} {_INFIX[step.op]} {text(step.right)})"
        elif step.op == "POW" and isinstance(step.right, float) and step.right.is_integer():
            count = int(step.right)
            # As a product: Qiskit's reader of OpenQASM 3 has no powers. Cut off before the text is made, not
            # after.
            product = "*".join([text(step.left)] * min(abs(count), _MOST_FACTORS + 1))
            if not 0 < abs(count) <= _MOST_FACTORS:
                raise ValueError(f"the power {count}")
            found = f"({product})" if count > 0 else f"(1.0/({product}))"
        else:
            raise ValueError(f"the function {step.op}")
        if len(found) > _MOST_CHARACTERS:  # powers of powers double the text with every step
            raise ValueError("too long")
        texts.append(found)
    return text(code.result)


def _no_export(form: str, ansatz: Ansatz, fix: str) -> UnsupportedExport:
    odd = [
        str(value)
        for step in ansatz.lowered.data
        for value in step.operation.params
        if isinstance(value, ParameterExpression) and re.search(r"[a-z]+\(", str(value))
    ]
    what = f"the angle {odd[0][:100]}" if odd else f"circuit '{ansatz.circuit.name}'"
    return UnsupportedExport(
        f"An export must be {form} that Qiskit reads back as the same circuit",
        got=f"{what}, which it cannot",
        fix=fix[0].upper() + fix[1:],
    )
