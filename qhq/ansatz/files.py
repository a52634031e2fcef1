"""A user's own circuit: QPY, OpenQASM 3, or Python with ``build(qubits, depth)``."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sys
import traceback
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from qiskit import qasm3, qpy
from qiskit.circuit import Parameter, QuantumCircuit

from qhq.ansatz.spec import CircuitFile
from qhq.errors import ConfigError

Program = tuple[QuantumCircuit, tuple[Parameter, ...], tuple[Parameter, ...]]
"""Circuit, inputs, weights."""


def read_circuit_file(file: CircuitFile, qubits: int, depth: int) -> Program:
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
    if not path.is_file():
        raise ConfigError(
            "The circuit file of an ansatz must exist", got=f"no file {path}", fix="Correct file.path"
        )
    if file.suffix == ".py":
        program = _build_from_python(path, qubits, depth)
    else:
        _check_depth_unset(path, depth)
        circuit = READERS[file.suffix](path)
        program = (circuit, *_split_roles(circuit, file.inputs or (), path))
    if program[0].num_qubits != qubits:
        raise ConfigError(
            "The circuit of a file must have the width that the ansatz states",
            got=f"{program[0].num_qubits} qubits in {path}, qubits: {qubits}",
            fix=f"Set qubits: {program[0].num_qubits}",
        )
    return program


def read_qpy(path: Path) -> QuantumCircuit:
    """Read the one circuit of a QPY file.

    Raises:
        ConfigError: If the file is no QPY, or holds another number of circuits.
    """
    try:
        with path.open("rb") as stream:
            circuits = qpy.load(stream)
    except Exception as error:  # qpy answers a damaged file with whatever it stumbles over
        raise _unreadable(path, "QPY", error) from error
    if len(circuits) != 1 or not isinstance(circuits[0], QuantumCircuit):
        raise ConfigError(
            "A QPY file of an ansatz must hold one circuit",
            got=f"{len(circuits)} programs in {path}",
            fix="Save it with qpy.dump(circuit, stream)",
        )
    return circuits[0]


def read_qasm3(path: Path) -> QuantumCircuit:
    """Read an OpenQASM 3 file; its ``input`` variables become parameters.

    Raises:
        ConfigError: If it cannot be parsed, with the line where the parser says so.
    """
    try:
        return qasm3.loads(path.read_text(encoding="utf-8"))
    except Exception as error:  # the parser and the importer raise families of their own
        raise _unreadable(path, "OpenQASM 3", error) from error


READERS: dict[str, Callable[[Path], QuantumCircuit]] = {".qpy": read_qpy, ".qasm": read_qasm3}


def _check_depth_unset(path: Path, depth: int) -> None:
    if depth != 1:
        raise ConfigError(
            "depth must stay 1 for a circuit that a file fixes",
            got=f"depth {depth} for {path.name}",
            fix="Leave depth out, or build the circuit in a Python file",
        )


def _split_roles(
    circuit: QuantumCircuit, wanted: str | tuple[str, ...], path: Path
) -> tuple[tuple[Parameter, ...], tuple[Parameter, ...]]:
    named = {each.name: each for each in sorted(circuit.parameters, key=_natural_order)}
    names = [name for name in named if name.startswith(wanted)] if isinstance(wanted, str) else wanted
    unknown = [name for name in names if name not in named]
    if unknown or not names:
        raise ConfigError(
            "file.inputs must name parameters of the circuit",
            got=f"'{wanted if isinstance(wanted, str) else ', '.join(unknown)}' for {path}",
            fix=f"Choose from {', '.join(named) or 'none: the circuit has no parameters'}",
        )
    weights = tuple(parameter for name, parameter in named.items() if name not in names)
    return tuple(named[name] for name in names), weights


def _natural_order(parameter: Parameter) -> list[int | str]:
    """Sort ``w2`` before ``w10``."""
    pieces = re.split(r"(\d+)", parameter.name)
    return [int(piece) if piece.isdigit() else piece for piece in pieces]


def _build_from_python(path: Path, qubits: int, depth: int) -> Program:
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
    module = importlib.util.module_from_spec(loader)
    loader.loader.exec_module(module)
    return module


def _fault_line(path: Path, error: BaseException) -> str:
    """``path:line`` of the last frame that lies in the user's file."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f"{path}:{error.lineno}"
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
    ]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _checked_answer(answer: Any, path: Path) -> Program:
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


def _unreadable(path: Path, form: str, error: Exception) -> ConfigError:
    reason = str(error).strip().splitlines()
    return ConfigError(
        f"The circuit file must be readable {form}",
        got=f"{path}: {reason[0] if reason else type(error).__name__}",
        fix="Export it again from Qiskit",
    )
