"""What is asked of a device in one go: a laid-out circuit, observables, rows of values; as key and bytes."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from pydantic import BaseModel
from qiskit import qpy
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from qhq.backends.executor import FloatArray
from qhq.backends.ibm.kind import IBMSpec


@dataclass(frozen=True)
class LaidOut:
    """A program on the qubits of a device, and what a report says of it.

    Attributes:
        circuit: Gates of the device, on all its qubits.
        parameters: Names of its parameters, in the order of the columns of a row of values.
        observables: The O operators, on all qubits of the device.
        qubits: Width of the circuit before it was laid out.
        layout: Physical qubit of each logical one.
        calibration: Date (ISO 8601) of the calibration that the layout was chosen under.
        settings: Settings of the readout that measure all observables.
        gate_seconds: Time that its gates take.
        idle_seconds: Time between two of its shots: readout, and the pause of the device.
        fingerprint: Of the device and its calibration that it was laid out for; empty if not known.
    """

    circuit: QuantumCircuit
    parameters: tuple[str, ...]
    observables: tuple[SparsePauliOp, ...]
    qubits: int
    layout: tuple[int, ...]
    calibration: str | None
    settings: int = 1
    gate_seconds: float = 0.0
    idle_seconds: float = 0.0
    fingerprint: str = ""


@dataclass(frozen=True)
class PubRequest:
    """Rows of values (N, P) for a program on a device.

    Attributes:
        key: Digest of what was asked, before the circuit was laid out; the same question has the same key,
            whatever the calibration of the day.
        spec: The entry; its name is the device.
        program: What runs.
        values: Values of the parameters, shape (N, P), radians.
    """

    key: str
    spec: IBMSpec
    program: LaidOut
    values: FloatArray


def question_key(spec: IBMSpec, logical: str, call: int, seed: int, values: FloatArray) -> str:
    """Digest of a question: device, options, logical circuit, rows of values, and the how-manieth it is.

    How long to wait and what it may cost does not belong to the question.
    """
    waiting = {"description", "max_qpu_seconds", "poll_seconds", "patience_seconds", "settle_seconds"}
    # A field that came later is left out where it changes nothing: questions that were paid keep their keys.
    later = set() if spec.fractional_gates else {"fractional_gates"}
    asked = [spec.model_dump_json(exclude={*waiting, *later, "training", "tags", "samples_per_job"}), logical]
    digest = hashlib.sha256(json.dumps([*asked, call, seed, values.shape]).encode())
    digest.update(np.ascontiguousarray(values, dtype=np.float64).tobytes())
    return digest.hexdigest()


def pack_program(program: LaidOut) -> tuple[bytes, str]:
    """The circuit as QPY, and the rest as JSON."""
    stream = io.BytesIO()
    qpy.dump(program.circuit, stream)
    rest = {key: value for key, value in vars(program).items() if key not in ("circuit", "observables")}
    rest["observables"] = [_terms(each) for each in program.observables]
    return stream.getvalue(), json.dumps(rest)


def unpack_program(circuit: bytes, rest: str) -> LaidOut:
    """What :func:`pack_program` packed."""
    isa = qpy.load(io.BytesIO(circuit))[0]
    names = {each.name for each in fields(LaidOut)}
    content = {key: value for key, value in json.loads(rest).items() if key in names}
    observables = tuple(_operator(each, isa.num_qubits) for each in content.pop("observables"))
    parameters, layout = tuple(content.pop("parameters")), tuple(content.pop("layout"))
    return LaidOut(isa, parameters, observables, layout=layout, **content)


def pack_values(values: FloatArray) -> bytes:
    """An array as NumPy's own file format."""
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()


def unpack_values(content: bytes) -> FloatArray:
    """What :func:`pack_values` packed."""
    values: FloatArray = np.load(io.BytesIO(content), allow_pickle=False)
    return values


def _terms(observable: SparsePauliOp) -> list[Any]:
    return [
        [letters, list(qubits), coefficient.real]
        for letters, qubits, coefficient in observable.to_sparse_list()
    ]


def _operator(terms: Sequence[Any], num_qubits: int) -> SparsePauliOp:
    return SparsePauliOp.from_sparse_list([tuple(term) for term in terms], num_qubits=num_qubits)


def spec_json(spec: IBMSpec) -> str:
    """An entry as JSON, its name inside it."""
    return json.dumps(spec.model_dump(mode="json"))


def spec_from_json(content: str) -> IBMSpec:
    """What :func:`spec_json` wrote, of this version or of one that knew more fields: those are left out."""
    return IBMSpec.model_validate(_known(IBMSpec, json.loads(content)))


def _known(model: type[BaseModel], content: Any) -> Any:
    """What a model has fields for, inside of it too."""
    if not isinstance(content, dict):
        return content
    kept = {}
    for name, field in model.model_fields.items():
        if name in content:
            kind: Any = field.annotation
            inside = isinstance(kind, type) and issubclass(kind, BaseModel)
            kept[name] = _known(kind, content[name]) if inside else content[name]
    return kept
