"""A user's own circuit: QPY, OpenQASM 2 or 3, or Python with ``build(qubits, depth)``.

What a file is decides its content, not its ending. Qiskit's readers answer a bad file with whatever they
stumble over (``AttributeError``, panics of their Rust code, empty messages); none of it leaves this module.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import math
import re
import sys
import traceback
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from qiskit import qasm2, qasm3, qpy
from qiskit.circuit import (
    ControlFlowOp,
    Gate,
    Instruction,
    Measure,
    Parameter,
    ParameterVector,
    QuantumCircuit,
)
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.quantum_info import Operator

from qhq.ansatz.spec import CircuitFile
from qhq.documents import read_bytes
from qhq.engine.compile import without_final_measurements
from qhq.errors import ConfigError
from qhq.file_kinds import CIRCUIT, blank_comments, file_kind
from qhq.files import MEBIBYTE, expand_gzip, own_file

# Circuit, its input parameters and its weights.
_ReadCircuit = tuple[QuantumCircuit, tuple[Parameter, ...], tuple[Parameter, ...]]

# Of a circuit file, packed or not; matrices of ten qubits in QPY are 16 MiB each.
_MOST_BYTES = 64 * MEBIBYTE

# Qubits or classical bits of any circuit that a reader is asked for; devices have some hundred.
_MOST_BITS = 100_000


def read_circuit_file(file: CircuitFile, qubits: int, depth: int) -> _ReadCircuit:
    """Read or build the circuit that a file holds.

    Args:
        file: Which file, and which of its parameters are inputs.
        qubits: Width that the circuit must have.
        depth: Passed on to a Python file; must be 1 for the others, which cannot follow it.

    Returns:
        Circuit, inputs and weights.

    Raises:
        ConfigError: If the file is missing, cannot be read, or gives another width.
    """
    path = Path(file.path)
    _check_exists(path)
    if file.suffix == ".py":
        program = _build_from_python(path, qubits, depth)
    else:
        if depth != 1:  # said, not ignored: a sweep over depth would measure the same circuit again and again
            raise ConfigError(
                "depth must stay 1 for a circuit that a file fixes",
                got=f"depth {depth} for {path.name}",
                fix="Leave depth out, or build the circuit in a Python file",
            )
        circuit = read_circuit(path)
        program = (circuit, *_roles_in_file(circuit, file.inputs or (), path))
    _check_width(program[0], qubits, path)
    return program


def read_block(file: CircuitFile, qubits: int) -> QuantumCircuit:
    """Read a circuit without parameters as a block that follows an encoding.

    Returns:
        The circuit on ``qubits`` qubits. With ``weights: angles`` each angle of its gates is an element of
        the vector ``a``, in order of time; with ``weights: none`` it stays as it is.

    Raises:
        ConfigError: If the file cannot be read, has free parameters, measures before its end, or has another
            width.
    """
    path = Path(file.path)
    _check_exists(path)
    circuit = read_circuit(path)
    _check_width(circuit, qubits, path)
    if circuit.num_parameters:
        raise ConfigError(
            "file.weights is for a circuit without free parameters",
            got=f"{', '.join(sorted(each.name for each in circuit.parameters)[:5])} in {path}",
            fix="Replace it by file.inputs, which names the parameters that take the inputs",
        )
    # Collected as they come, and named as elements of one vector at the end, when it is known how many there
    # are.
    block, angles = QuantumCircuit(qubits), list[Parameter]()
    free = angles if file.weights == "angles" else None
    for gate, wires in _block_steps(circuit, list(range(qubits)), path, free):
        block.append(gate, wires)
    return block.assign_parameters(dict(zip(angles, ParameterVector("a", len(angles)), strict=True)))


def read_circuit(path: Path) -> QuantumCircuit:
    """Read a QPY or OpenQASM file, packed by gzip or not, without its measurements at the end.

    Raises:
        ConfigError: If it is missing or of another kind, or cannot be parsed; with the line where Qiskit's
            reader names one.
    """
    content = _read_packed(path)
    kind = file_kind(content)
    name = "" if kind is None else kind.name
    if content.startswith(b"QISKIT"):
        circuit = parse_qpy(path, content)
    elif name == "OpenQASM 2":
        circuit = _load_qasm2(path, _text(content))
    elif name == "OpenQASM 3" or (kind is None and ".qasm" in path.name.lower()):
        circuit = _load_qasm3(path, _text(content))
    else:
        saved = "Name a file that qpy.dump(circuit, stream) or qasm3.dump(circuit, stream) wrote"
        raise ConfigError(
            "A circuit file must be readable QPY, OpenQASM 2 or OpenQASM 3",
            got=f"{path}, which is {name or 'of no kind that qhq knows'}",
            fix=kind.goes if kind is not None and kind.goes not in ("", CIRCUIT) else saved,
        )
    return without_final_measurements(circuit)


def read_qpy(path: Path) -> QuantumCircuit:
    """Read the one circuit of a QPY file.

    Raises:
        ConfigError: If the file is missing or no QPY, or holds another number of circuits.
    """
    return parse_qpy(path, _read_packed(path))


def _read_packed(path: Path) -> bytes:
    content = read_bytes(path, most=_MOST_BYTES)
    # By the magic number, not the ending: what unpacks to gigabytes is stopped at ``most`` in either case.
    if not content.startswith(b"\x1f\x8b"):
        return content
    return expand_gzip(content, most=_MOST_BYTES, source=path, what="circuit file")


def parse_qpy(path: Path, content: bytes) -> QuantumCircuit:
    """The one circuit of the content of a QPY file; ``path`` is what its errors call it.

    Raises:
        ConfigError: If it is no QPY, or holds another number of circuits.
    """
    if max(_widths_in_qpy(content)) > _MOST_BITS:
        raise _unreadable(path, "QPY", ValueError("it is damaged"))
    try:
        with warnings.catch_warnings():
            # Elements missing from a vector get placeholders; no circuit changes by that.
            warnings.simplefilter("ignore")
            circuits = qpy.load(io.BytesIO(content))
    except BaseException as error:  # a panic of Qiskit's Rust code is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise _unreadable(path, "QPY", error) from error
    if len(circuits) != 1 or not isinstance(circuits[0], QuantumCircuit):
        names = ", ".join(f"'{getattr(each, 'name', '?')}'" for each in circuits[:5])
        raise ConfigError(
            "A QPY file of an ansatz must hold one circuit",
            got=f"{len(circuits)} programs in {path}{': ' + names if names else ''}",
            fix="Save the one that is meant by itself: qpy.dump(circuit, stream)",
        )
    return circuits[0]


def _widths_in_qpy(content: bytes) -> tuple[int, int]:
    """Qubits and classical bits that the first circuit of a QPY file claims to have; zeros where unknown."""
    # Qiskit makes as many bits as these two numbers say before it looks at anything else, and where one of
    # them is damaged it takes all the memory of the machine.
    version, programs = content[6:7], int.from_bytes(content[10:18], "big")
    if not version >= b"\x05" or programs != 1:
        return 0, 0
    # Header, symbolic encoding, type of the program, table of the programs; then name and global phase.
    at = 18 + (version >= b"\x0a") + 1 + 8 * (version >= b"\x10") + 5
    return int.from_bytes(content[at : at + 4], "big"), int.from_bytes(content[at + 4 : at + 8], "big")


def _text(content: bytes) -> str:
    """Text of an OpenQASM file; a byte order mark and what stands in comments do not matter."""
    text = content.decode("utf-8-sig", errors="replace")
    # Qiskit's parser of OpenQASM 2 takes no block comments and ASCII only.
    return blank_comments(text).replace("\r\n", "\n")


# Of a gate by ``pow``, and controls by ``ctrl``, in OpenQASM 3.
_MOST_REPEATS = 1000

# Where a text asks for a number of something -> the largest one.
_SIZES = {
    re.compile(r"\b(?:qubit|bit|(?:qreg|creg)\s+\w+)\s*\[([^\]]*)\]"): _MOST_BITS,
    re.compile(r"\b(?:ctrl|negctrl|pow)\s*\(([^@]*)\)\s*@"): _MOST_REPEATS,
}

# Of OpenQASM 2 and 3: hexadecimal, binary, octal and decimal, with underscores between the digits.
_NUMBER = re.compile(r"0[xX][\da-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?")


def _check_sizes(path: Path, form: str, text: str) -> None:
    """Refuse a register or a modifier that Qiskit's readers would take all memory for, or never end on.

    Raises:
        ConfigError: With the size.
    """
    for pattern, most in _SIZES.items():
        for found in pattern.finditer(text):
            # Of an expression the product: it is not smaller than a sum or a quotient, bar those with ones.
            sizes = [_as_number(number) for number in _NUMBER.findall(found[1])]
            if "**" in found[1] or math.prod(max(size, 1.0) for size in sizes) > most:
                said = f"{found[0][:60].strip()}, where {most:,} is the most that can be read"
                raise _unreadable(path, form, ValueError(said))


def _as_number(text: str) -> float:
    plain = text.replace("_", "")
    return float(plain) if plain[1:2] not in tuple("xXbBoO") else float(min(int(plain, 0), 2**60))


def _load_qasm2(path: Path, text: str) -> QuantumCircuit:
    _check_sizes(path, "OpenQASM 2", text)
    # Qiskit reads includes itself and would follow "../../secret": each must lie in the file's own folder.
    for name in re.findall(r'include\s+"([^"\n]+)"', text):
        own_file(path.parent, name)
    # Gates that Qiskit exports beyond the paper's qelib1.inc. A name that the file declares is its own.
    declared = set(re.findall(r"\b(?:gate|opaque|qreg|creg)\s+(\w+)", text))
    known = [each for each in qasm2.LEGACY_CUSTOM_INSTRUCTIONS if each.name not in declared]
    # PennyLane writes global phases, which OpenQASM 2 does not have, and which change no expectation in it.
    if "gphase" not in declared:
        text = re.sub(r"\bgphase\s*\([^;]*;", "", text)
    try:
        return qasm2.loads(
            text,
            include_path=(path.parent,),
            custom_instructions=known,
            custom_classical=qasm2.LEGACY_CUSTOM_CLASSICAL,
        )
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        # A panic of Qiskit's Rust parser is no Exception, so that everything else is caught.
        raise _unreadable(path, "OpenQASM 2", error) from error


def _load_qasm3(path: Path, text: str) -> QuantumCircuit:
    said = io.StringIO()
    try:
        # The parser prints where a fault is, and raises one that says nothing.
        with contextlib.redirect_stderr(said):
            whole = _inline_includes(text, path.parent, 0)
            _check_sizes(path, "OpenQASM 3", whole)
            return qasm3.loads(whole)
    except ConfigError:
        raise
    except Exception as error:  # the parser and the importer raise families of their own
        raise _unreadable(path, "OpenQASM 3", error, said.getvalue()) from error


def _inline_includes(text: str, folder: Path, level: int) -> str:
    """Put the files that stand beside a program in place of their includes, which Qiskit's reader refuses."""

    def content(match: re.Match[str]) -> str:
        name = match[1]
        beside = own_file(folder, name)
        if name == "qelib1.inc" and not beside.is_file():
            return 'include "stdgates.inc";'
        # A file that includes itself is left as it is at some level, and Qiskit's reader refuses it by name.
        if name == "stdgates.inc" or level > 8 or not beside.is_file():
            return match[0]
        # In one line, so that the lines which the parser names stay those of the user's file.
        return _inline_includes(_text(read_bytes(beside)), folder, level + 1).replace("\n", " ")

    return re.sub(r'include\s+"([^"\n]+)"\s*;', content, text)


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise ConfigError(
            "The circuit file of an ansatz must exist",
            got=f"a folder, {path}" if path.is_dir() else f"no file {path}",
            fix="Correct file.path",
        )


def _check_width(circuit: QuantumCircuit, qubits: int, path: Path) -> None:
    if circuit.num_qubits != qubits:
        raise ConfigError(
            "The circuit of a file must have the width that the ansatz states",
            got=f"{circuit.num_qubits} qubits in {path}, qubits: {qubits}",
            fix=f"Set qubits: {circuit.num_qubits}",
        )


def _roles_in_file(
    circuit: QuantumCircuit, wanted: str | tuple[str, ...], path: Path
) -> tuple[tuple[Parameter, ...], tuple[Parameter, ...]]:
    if not circuit.parameters:
        kind = file_kind(_read_packed(path))
        is_qasm2 = kind is not None and kind.name == "OpenQASM 2"
        why = ": it is OpenQASM 2, which has numbers in place of parameters" if is_qasm2 else ""
        raise ConfigError(
            "file.inputs must name free parameters of the circuit",
            got=f"none in {path}{why}",
            fix="Write weights: angles in place of inputs, which puts the encoding before the circuit and"
            " trains its rotation angles, or save the circuit with free parameters, as OpenQASM 3 or QPY",
        )
    return split_roles(circuit, wanted, what="file.inputs", source=str(path))


def split_roles(
    circuit: QuantumCircuit, wanted: str | Sequence[str], *, what: str, source: str
) -> tuple[tuple[Parameter, ...], tuple[Parameter, ...]]:
    """Share the free parameters of a circuit out: those that are named are inputs, the rest are weights.

    Args:
        circuit: The circuit.
        wanted: Names of the inputs, in the order of an input row, or one prefix of their names.
        what: The key or keyword that names them, for an error.
        source: Where the circuit is from, for an error.

    Returns:
        Inputs and weights; what is not ordered by ``wanted`` is by its name, ``w2`` before ``w10``.

    Raises:
        ConfigError: If one is no parameter of the circuit, or none is.
    """
    # By name, not in Qiskit's order, which sorts "w10" before "w2" where they are no elements of a vector.
    named = {each.name: each for each in sorted(circuit.parameters, key=_natural_order)}
    names = [name for name in named if name.startswith(wanted)] if isinstance(wanted, str) else wanted
    unknown = [name for name in names if name not in named]
    if unknown or not names:
        raise ConfigError(
            f"{what} must name parameters of the circuit",
            got=f"'{wanted if isinstance(wanted, str) else ', '.join(unknown)}' for {source}",
            fix=f"Choose from {', '.join(named) or 'none: give the circuit a free parameter for each input'}",
        )
    weights = tuple(parameter for name, parameter in named.items() if name not in names)
    return tuple(named[name] for name in names), weights


def _natural_order(parameter: Parameter) -> list[int | str]:
    """Sort ``w2`` before ``w10``."""
    pieces = re.split(r"(\d+)", parameter.name)  # text and digits in turns, so that like meets like
    return [int(piece) if piece.isdecimal() else piece for piece in pieces]


# An operation and the places of its qubits.
_Step = tuple[Any, list[int]]

_STANDARD = get_standard_gate_name_mapping()
# Classes of Qiskit's gates whose parameters are angles.
_TURNING = frozenset(
    type(gate) for gate in _STANDARD.values() if isinstance(gate, Gate) and gate.params and gate.num_qubits
)


def _block_steps(
    circuit: QuantumCircuit, wires: list[int], path: Path, angles: list[Parameter] | None
) -> Iterator[_Step]:
    """The steps of a circuit; ``angles``, if given, gains a fresh parameter for each angle of its gates."""
    for instruction in circuit.data:
        gate = instruction.operation
        places = [wires[circuit.find_bit(each).index] for each in instruction.qubits]
        if instruction.clbits or isinstance(gate, Measure | ControlFlowOp):
            raise ConfigError(
                "A block must be made of gates and resets, with measurements at its end at most",
                got=f"'{gate.name}' in {path}",
                fix="Take it out, or give the circuit free parameters and name them by file.inputs: then it"
                " may measure on its way",
            )
        turning = None if angles is None else _turning(gate)
        if angles is not None and turning is not None:
            fresh = [Parameter(f"angle_{len(angles) + index}") for index in range(len(turning.params))]
            turning.params = fresh
            angles += fresh
            yield turning, places
        elif angles is not None and _is_own(gate):
            yield from _block_steps(gate.definition, places, path, angles)
        else:
            yield gate, places


def _turning(gate: Any) -> Gate | None:
    """A copy of the gate as one of ``_TURNING``; None if it is none of them."""
    if type(gate) in _TURNING:
        return gate.to_mutable()
    # Many files define rzz or cu1 themselves; opened, its one angle would become several.
    known = _STANDARD.get(gate.name)
    if not gate.params or type(known) not in _TURNING or len(known.params) != len(gate.params):
        return None
    copy = known.to_mutable()
    copy.params = list(gate.params)
    same = copy.num_qubits == gate.num_qubits and Operator(copy).equiv(Operator(gate))
    return copy if same else None


def _is_own(gate: Any) -> bool:
    """Whether a gate is a circuit of the file's own, of which some gates may turn by an angle.

    What Qiskit's library holds means something as a whole (a matrix, a Fourier transform), and ``h`` that a
    file defines as U(pi/2, 0, pi) is still no rotation that anybody means to train.
    """
    from_library = (type(gate).__module__ or "").startswith("qiskit.circuit.library")
    is_plain = gate.name in _STANDARD and not gate.params
    own = isinstance(gate, Instruction) and not from_library and not is_plain
    return own and gate.definition is not None


def _build_from_python(path: Path, qubits: int, depth: int) -> _ReadCircuit:
    kind = file_kind(read_bytes(path))
    if kind is not None and kind.name in ("a QPY file", "OpenQASM 2", "OpenQASM 3"):
        raise ConfigError(
            "A circuit file that ends in .py must be Python",
            got=f"{path}, which is {kind.name}",
            fix="Give it the ending .qpy or .qasm",
        )
    try:
        # What the file prints must not mix with a command's JSON on standard output.
        with contextlib.redirect_stdout(sys.stderr):
            answer = _load_module(path).build(qubits, depth)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise ConfigError(
            f"{path.name} must define build(qubits, depth) that returns circuit, inputs and weights",
            got=f"{type(error).__name__}: {error} at {_fault_line(path, error)}",
            fix="Mend that line",
        ) from error
    return _checked_answer(answer, path)


def _load_module(path: Path) -> ModuleType:
    # A private name and no sys.path: the file can neither shadow a package nor be imported by one.
    name = f"_qhq_ansatz_{zlib.crc32(str(path.absolute()).encode()):08x}"
    loader = importlib.util.spec_from_file_location(name, path)
    assert loader is not None
    assert loader.loader is not None
    # Not put into ``sys.modules`` either: a file that has changed is run anew each time.
    module = importlib.util.module_from_spec(loader)
    loader.loader.exec_module(module)
    return module


def _fault_line(path: Path, error: BaseException) -> str:
    """``path:line`` of the last frame that lies in the user's file."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f"{path}:{error.lineno}"
    # Of the user's file alone: where Qiskit raised deep inside says less than the line that called it.
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
    ]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _checked_answer(answer: Any, path: Path) -> _ReadCircuit:
    try:
        circuit, inputs, weights = answer
        program = (circuit, tuple(_flat(inputs)), tuple(_flat(weights)))
    except (TypeError, ValueError):
        program = (None, (), ())
    parameters = program[1] + program[2]
    if isinstance(program[0], QuantumCircuit) and all(isinstance(each, Parameter) for each in parameters):
        return program
    raise ConfigError(
        "build(qubits, depth) must return a QuantumCircuit, its inputs and its weights",
        got=f"{type(answer).__name__} from {path}",
        fix="Return (circuit, inputs, weights), the last two as ParameterVector or lists of Parameter",
    )


def _flat(parameters: Any) -> Iterable[Any]:
    return [parameters] if isinstance(parameters, Parameter) else list(parameters)


def _unreadable(path: Path, form: str, error: BaseException, said: str = "") -> ConfigError:
    """What a reader raised and ``said``, with the place where it names one, as an error of qhq's."""
    reason = (str(error).strip().strip("'\"").splitlines() or said.splitlines() or [""])[0]
    # Of OpenQASM 2 `<input>:3,4:`, of OpenQASM 3 `L3:C4` or `line 3:4`; all count columns from 0.
    where = re.match(r"(?:<input>:|L|line )?(\d+)[,:]C?(\d+):? *", reason)
    place = f"{path}:{where[1]}:{int(where[2]) + 1}" if where else str(path)
    reason = reason[where.end() :] if where else reason
    if "binary parsing error" in reason:
        reason = "it is damaged or cut off"
    if not reason or isinstance(error, AttributeError | KeyError | IndexError):
        reason = "Qiskit's reader cannot make sense of it"
    # What Qiskit says of a QPY version that it does not know
    newer = "upgrade your version of Qiskit" in reason
    return ConfigError(
        f"The circuit file must be readable {form}",
        got=f"{place}: {reason[:200].rstrip('.')}",
        fix="Install a newer Qiskit, or export it again"
        if newer
        else "Mend it, or export it again from Qiskit",
    )
