"""The QPY file of a run: the lowered circuit, with roles, observables and angle scaling in its metadata.

What is stored is what every backend runs, `Ansatz.lowered`: a closed set of Qiskit's own gates. QPY writes
many a circuit that it cannot read back as it was (gates of a user's own class, two definitions of one name,
elements missing from a vector, metadata that is no JSON), and none of that is left after lowering. The
parameters are called ``x_0``, ``x_1``, ... and ``w_0``, ``w_1``, ... in the file, by position; the names that
the user gave them stand in the metadata, as text.

Format 1 held the circuit as it was written. It stays readable, and its runs are known by the fingerprint of
that format.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from qiskit import qpy
from qiskit.circuit import Parameter, ParameterExpression, QuantumCircuit
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import SparsePauliOp

from qhq.ansatz.files import parse_qpy, read_qpy
from qhq.ansatz.program import Ansatz, PartSizes, with_plain_names
from qhq.engine.compile import AngleMap, Code, Operand, Slot, class_of, is_parametric, separate_angles
from qhq.errors import ConfigError
from qhq.files import write_atomically

# Key of the circuit's metadata under which the rest of the ansatz stands.
_KEY = "qhq"

_FORMAT = 2

# Format of an export that kept the circuit as it was written.
_AS_WRITTEN = 3

# Step of an expression's code -> the same of Qiskit's expressions.
_REPLAY: dict[str, Callable[[Any, Any], Any]] = {
    "ADD": operator.add,
    "SUB": operator.sub,
    "MUL": operator.mul,
    "DIV": operator.truediv,
    "POW": operator.pow,
    "SIN": lambda a, _: a.sin(),
    "COS": lambda a, _: a.cos(),
    "TAN": lambda a, _: a.tan(),
    "ASIN": lambda a, _: a.arcsin(),
    "ACOS": lambda a, _: a.arccos(),
    "ATAN": lambda a, _: a.arctan(),
    "EXP": lambda a, _: a.exp(),
    "LOG": lambda a, _: a.log(),
    "ABS": lambda a, _: a.abs(),
    "SIGN": lambda a, _: a.sign(),
    "CONJ": lambda a, _: a.conjugate(),
}

_Array = npt.NDArray[np.float64]

_STANDARD_GATES = frozenset(get_standard_gate_name_mapping())

# Angles are compared where parameter ``k`` is ``point + sin(k + 1) / 4``, within most domains.
_POINTS = (0.3, 0.7)


def as_stored(ansatz: Ansatz) -> Ansatz:
    """The ansatz as a run stores it: written, read back and compared, so that it can be relied on later.

    A training that runs the result runs what its folder will hold, to the last bit.

    Raises:
        ConfigError: If the circuit cannot be lowered or stored, or is another one when it is read back.
    """
    try:
        again = read_bytes_back(ansatz, qpy_bytes(ansatz))
    except ConfigError:
        raise
    except Exception as error:  # whatever Qiskit's writer or reader stumbles over
        raise _unstorable(ansatz, f"{type(error).__name__}: {error}") from error
    # QPY loses things without an error (of two definitions of one name, one), so that it is compared.
    if program_digest(again) != program_digest(ansatz):
        raise _unstorable(ansatz, "another program when it is read back")
    return again


def save_ansatz(ansatz: Ansatz, path: Path) -> None:
    """Write an ansatz as one QPY file that :func:`load_built` reads back whole.

    Raises:
        ConfigError: If it cannot be stored; see :func:`as_stored`.
        OSError: If the file cannot be written.
    """
    write_atomically(path, qpy_bytes(ansatz))


def load_built(path: Path) -> Ansatz:
    """Read an ansatz that :func:`save_ansatz` wrote, now or in an earlier version.

    Raises:
        ConfigError: If the file is missing, damaged, or plain QPY without the roles of its parameters.
    """
    if not path.is_file():
        raise ConfigError(
            "The stored circuit must exist", got=f"no file {path}", fix="Choose another run, or train again"
        )
    circuit = read_qpy(path)
    # Two steps, since a file may be good QPY and yet no ansatz: the user is told which of the two it is.
    try:
        return _from_circuit(circuit)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            "A stored circuit must say which of its parameters are inputs",
            got=f"{path}, whose metadata does not",
            fix="Point an ansatz at it with file: {path: ..., inputs: ...}",
        ) from error


def qpy_bytes(ansatz: Ansatz) -> bytes:
    """Content of the QPY file of an ansatz.

    Raises:
        ConfigError: If Qiskit cannot write it.
    """
    return _dumped(plain_program(ansatz), ansatz, _FORMAT)


def qpy_as_written(ansatz: Ansatz) -> bytes:
    """QPY of the circuit as its user wrote it, if it can be written at all.

    Raises:
        ConfigError: If Qiskit cannot write it. What it wrote may still be another circuit when it is read.
    """
    # A copy, since writing puts the ansatz into the circuit's metadata.
    return _dumped(ansatz.circuit.copy(), ansatz, _AS_WRITTEN)


def read_bytes_back(ansatz: Ansatz, content: bytes) -> Ansatz:
    """Read what was written of an ansatz.

    Raises:
        ConfigError: If that is no QPY.
        Exception: Whatever Qiskit stumbles over.
    """
    return _from_circuit(parse_qpy(Path(f"circuit '{ansatz.circuit.name}'"), content))


def _dumped(circuit: QuantumCircuit, ansatz: Ansatz, form: int) -> bytes:
    circuit.metadata = {_KEY: {**_to_metadata(ansatz), "format": form}}
    stream = io.BytesIO()
    try:
        qpy.dump(circuit, stream)
    except BaseException as error:  # a panic of Qiskit's Rust code is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise _unstorable(ansatz, f"{type(error).__name__}: {error}") from error
    return stream.getvalue()


def plain_program(ansatz: Ansatz) -> QuantumCircuit:
    """The lowered circuit with inputs called ``x_0``, ``x_1``, ... and weights ``w_0``, ``w_1``, ...

    A parameter that no gate holds stands in the global phase, which changes no expectation, so that it is
    still a parameter of the circuit.
    """
    names = map(Parameter, plain_names(ansatz.num_inputs, ansatz.num_weights))
    return _renamed(ansatz.lowered, dict(zip(ansatz.parameters, names, strict=True)))


def ansatz_fingerprint(ansatz: Ansatz) -> str:
    """Digest of a program that a run is known by; of one read from format 1, that which this format had.

    >>> from qhq.ansatz.assemble import build
    >>> from qhq.ansatz.spec import AnsatzSpec
    >>> ansatz_fingerprint(build(AnsatzSpec(depth=1))) == ansatz_fingerprint(build(AnsatzSpec(depth=2)))
    False
    """
    stored = (ansatz.circuit.metadata or {}).get(_KEY)
    if isinstance(stored, Mapping) and stored.get("format") == 1:
        return _fingerprint_of_format_1(ansatz)
    return program_digest(ansatz)


def fingerprints(ansatz: Ansatz) -> tuple[str, ...]:
    """The fingerprint of a program, then those that it has, or had, by other formats.

    What was paid for under one of them is an answer to the same question.
    """
    known = [ansatz_fingerprint(ansatz), program_digest(ansatz)]
    # A circuit that format 1 could not name was never asked about under it.
    with contextlib.suppress(QiskitError, ValueError, TypeError):
        known.append(_fingerprint_of_format_1(ansatz))
    return tuple(dict.fromkeys(known))


def program_digest(ansatz: Ansatz) -> str:
    """Digest of what runs: the same gates, roles and observables give the same, whatever their names.

    Of an angle its values count, not how it is written, which QPY may change.
    """
    separated, angle_map = _angles(ansatz)
    spread = np.sin(np.arange(len(ansatz.parameters)) + 1.0) / 4
    with np.errstate(all="ignore"):
        angles = [angle_map.angles(*_split(ansatz, point + spread)) for point in _POINTS]
    columns = iter(np.concatenate(angles).T)
    gates = []
    for step in separated.data:
        gate, qubits = step.operation, [separated.find_bit(bit).index for bit in step.qubits]
        if is_parametric(gate):
            # Nine digits: QPY may reorder the arithmetic of an angle, which changes the last few of
            # seventeen.
            numbers = [f"{value:.9g}" for value in next(columns)]
        else:
            numbers = [_number_content(each) for each in gate.params]
        gates.append((class_of(gate).__name__, qubits, numbers))
    # 2, not _FORMAT: a later format must give the same digest, by which runs and paid-for jobs are known.
    content: dict[str, object] = {**_to_metadata(ansatz), "format": 2, "gates": gates}
    content |= {"inputs": ansatz.num_inputs, "weights": ansatz.num_weights, "qubits": ansatz.num_qubits}
    return hashlib.sha256(repr(content).encode()).hexdigest()


def program_at(ansatz: Ansatz, row: Sequence[float] | _Array) -> QuantumCircuit:
    """The lowered circuit at a row of values, shape (I + W,).

    Not by ``assign_parameters``, which gets some expressions wrong (see `qhq.engine.compile.expressions`).
    """
    separated, angle_map = _angles(ansatz)
    angles = angle_map.angles(*_split(ansatz, np.asarray(row, np.float64)))[0]
    named = {each.name: each for each in separated.parameters}
    bound: QuantumCircuit = separated.assign_parameters(
        {named[f"theta_{place}"]: float(angle) for place, angle in enumerate(angles)}
    )
    return bound


def _angles(ansatz: Ansatz) -> tuple[QuantumCircuit, AngleMap]:
    separated, expressions = separate_angles(ansatz.lowered)
    return separated, AngleMap(expressions, ansatz.inputs, ansatz.weights)


def _split(ansatz: Ansatz, row: _Array) -> tuple[_Array, _Array]:
    return row[None, : ansatz.num_inputs], row[ansatz.num_inputs :]


def _number_content(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        # Rounded before it is hashed: matrices that two machines multiply differ in the last digits.
        rounded = np.round(value, 9) + 0.0  # no minus zero
        return [rounded.shape, hashlib.sha256(np.ascontiguousarray(rounded).tobytes()).hexdigest()]
    return f"{float(value):.12g}"


def _renamed(circuit: QuantumCircuit, names: Mapping[Parameter, Parameter]) -> QuantumCircuit:
    """A copy of a lowered circuit with other parameters; those that no gate holds go to its phase."""
    # QPY stores a name as UTF-8 and its length in 16 bits; anything may be a name in Qiskit.
    name = (circuit.name or "ansatz").encode("utf-8", "replace").decode()[:200]
    copy = QuantumCircuit(circuit.num_qubits, name=name)
    idle = set(names)
    for step in circuit.data:
        gate = step.operation
        if any(isinstance(each, ParameterExpression) and each.parameters for each in gate.params):
            (angle,) = gate.params
            idle -= set(angle.parameters)
            gate = type(gate)(_substituted(angle, names))
        copy.append(gate, [circuit.find_bit(bit).index for bit in step.qubits], copy=False)
    # In the order of ``names``, not of the set: the bytes of the file must not change from one process to the
    # next.
    copy.global_phase = sum((names[each] for each in names if each in idle), 0)
    return copy


def _substituted(
    expression: ParameterExpression, names: Mapping[Parameter, Parameter]
) -> ParameterExpression:
    """The expression of other parameters, made anew from Qiskit's record of it."""
    # Not by ``subs``, for which a new name that is also an old one is a conflict.
    if isinstance(expression, Parameter):
        return names[expression]
    parameters = sorted(expression.parameters, key=list(names).index)
    code = Code(expression, parameters)
    values: list[Any] = [names[each] for each in parameters]

    def value(operand: Operand | None) -> Any:
        return values[operand.index] if isinstance(operand, Slot) else operand

    for step in code.steps:
        values.append(_REPLAY[step.op](value(step.left), value(step.right)))
    return value(code.result)


def plain_names(inputs: int, weights: int) -> list[str]:
    """Names that parameters have by their position, inputs first."""
    return [f"x_{index}" for index in range(inputs)] + [f"w_{index}" for index in range(weights)]


def _to_metadata(ansatz: Ansatz) -> dict[str, object]:
    return {
        "format": _FORMAT,
        "inputs": [parameter.name for parameter in ansatz.inputs],
        "weights": [parameter.name for parameter in ansatz.weights],
        # In order and unsimplified: the sum may be the same, but the digest is of what was asked for.
        "observables": [
            [(label, float(coefficient.real)) for label, coefficient in observable.to_list()]
            for observable in ansatz.observables
        ],
        "angle_scaling": ansatz.angle_scaling,
        # Only where there are any: the digests of all others stay as they were.
        **({"parts": [list(each) for each in ansatz.parts]} if ansatz.parts else {}),
    }


def _from_circuit(circuit: QuantumCircuit) -> Ansatz:
    content = (circuit.metadata or {})[_KEY]
    given = (content["inputs"], content["weights"])
    named = {parameter.name: parameter for parameter in circuit.parameters}
    if content["format"] in (1, _AS_WRITTEN):
        inputs, weights = (tuple(named[name] for name in names) for names in given)
    else:
        inputs, weights = (tuple(map(Parameter, names)) for names in given)
        plain = [named[name] for name in plain_names(len(inputs), len(weights))]
        metadata = circuit.metadata
        circuit = _renamed(circuit, dict(zip(plain, inputs + weights, strict=True)))
        circuit.metadata = metadata
    observables = tuple(SparsePauliOp.from_list(terms) for terms in content["observables"])
    parts = tuple(PartSizes(*each) for each in content.get("parts", ()))
    return Ansatz(circuit, inputs, weights, observables, content["angle_scaling"], parts)


def _unstorable(ansatz: Ansatz, why: str) -> ConfigError:
    return ConfigError(
        "A run must be able to store its circuit and read it back",
        got=f"circuit '{ansatz.circuit.name}': {why}",
        fix="Write the gate or the angle that is named in Qiskit's standard gates",
    )


def _fingerprint_of_format_1(ansatz: Ansatz) -> str:
    content: dict[str, object] = {**_to_metadata(ansatz), "format": 1}
    content["gates"] = list(_gates(with_plain_names(ansatz), tuple(range(ansatz.num_qubits))))
    content["inputs"], content["weights"] = ansatz.num_inputs, ansatz.num_weights
    return hashlib.sha256(repr(content).encode()).hexdigest()


def _gates(circuit: QuantumCircuit, qubits: tuple[int, ...]) -> Iterator[tuple[str, list[str], list[int]]]:
    """Name, parameters and qubits of each standard gate as format 1 knew them; other gates are opened."""
    for instruction in circuit.data:
        gate = instruction.operation
        wires = tuple(qubits[circuit.find_bit(bit).index] for bit in instruction.qubits)
        definition = getattr(gate, "definition", None)
        if gate.name not in _STANDARD_GATES and definition is not None:
            yield from _gates(definition, wires)
        else:
            yield gate.name, [str(value) for value in gate.params], list(wires)
