"""The QPY file of a run: the circuit with roles, observables and angle scaling in its metadata."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qiskit import qpy
from qiskit.circuit import QuantumCircuit
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.quantum_info import SparsePauliOp

from qhq.ansatz.files import read_qpy
from qhq.ansatz.program import Ansatz, with_plain_names
from qhq.errors import ConfigError

KEY = "qhq"
"""Key of the circuit's metadata under which the rest of the ansatz stands."""

FORMAT = 1

STANDARD_GATES = frozenset(get_standard_gate_name_mapping())


def save_ansatz(ansatz: Ansatz, path: Path) -> None:
    """Write an ansatz as one QPY file that :func:`load_built` reads back whole."""
    path.write_bytes(qpy_bytes(ansatz))


def load_built(path: Path) -> Ansatz:
    """Read an ansatz that :func:`save_ansatz` wrote.

    Raises:
        ConfigError: If the file is missing, damaged, or plain QPY without the roles of its parameters.
    """
    if not path.is_file():
        raise ConfigError(
            "The stored circuit must exist", got=f"no file {path}", fix="Choose another run, or train again"
        )
    circuit = read_qpy(path)
    try:
        return _from_metadata(circuit, (circuit.metadata or {})[KEY])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            "A stored circuit must say which of its parameters are inputs",
            got=f"{path}, whose metadata does not",
            fix="Point an ansatz at it with file: {path: ..., inputs: ...}",
        ) from error


def qpy_bytes(ansatz: Ansatz) -> bytes:
    """Content of the QPY file of an ansatz."""
    circuit = ansatz.circuit.copy()
    circuit.metadata = {KEY: _to_metadata(ansatz)}
    stream = io.BytesIO()
    qpy.dump(circuit, stream)
    return stream.getvalue()


def fingerprint(ansatz: Ansatz) -> str:
    """Digest of the program: the same gates, roles and observables give the same, whatever their names.

    >>> from qhq.ansatz.assemble import build
    >>> from qhq.ansatz.spec import AnsatzSpec
    >>> fingerprint(build(AnsatzSpec(depth=1))) == fingerprint(build(AnsatzSpec(depth=2)))
    False
    """
    content = _to_metadata(ansatz)
    content["gates"] = list(_gates(with_plain_names(ansatz), tuple(range(ansatz.num_qubits))))
    content["inputs"], content["weights"] = ansatz.num_inputs, ansatz.num_weights
    return hashlib.sha256(repr(content).encode()).hexdigest()


def _gates(circuit: QuantumCircuit, qubits: tuple[int, ...]) -> Iterator[tuple[str, list[str], list[int]]]:
    """Name, parameters and qubits of each standard gate; a user's own gates are opened."""
    for instruction in circuit.data:
        gate = instruction.operation
        wires = tuple(qubits[circuit.find_bit(bit).index] for bit in instruction.qubits)
        definition = getattr(gate, "definition", None)
        if gate.name not in STANDARD_GATES and definition is not None:
            yield from _gates(definition, wires)
        else:
            yield gate.name, [str(value) for value in gate.params], list(wires)


def _to_metadata(ansatz: Ansatz) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "inputs": [parameter.name for parameter in ansatz.inputs],
        "weights": [parameter.name for parameter in ansatz.weights],
        "observables": [_terms(observable) for observable in ansatz.observables],
        "angle_scaling": ansatz.angle_scaling,
    }


def _terms(observable: SparsePauliOp) -> list[tuple[str, float]]:
    return [(label, float(coefficient.real)) for label, coefficient in observable.to_list()]


def _from_metadata(circuit: QuantumCircuit, content: dict[str, Any]) -> Ansatz:
    named = {parameter.name: parameter for parameter in circuit.parameters}
    return Ansatz(
        circuit=circuit,
        inputs=tuple(named[name] for name in content["inputs"]),
        weights=tuple(named[name] for name in content["weights"]),
        observables=tuple(SparsePauliOp.from_list(terms) for terms in content["observables"]),
        angle_scaling=content["angle_scaling"],
    )
