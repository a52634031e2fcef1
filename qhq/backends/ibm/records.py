"""What the journal of hardware jobs keeps: requests (one question to a device each), and their parts.

A request is a laid-out circuit, observables and rows of values, as key and bytes. Its parts are the jobs it
is sent as, each with a state. A row is read here, each value checked for what it should be: the file may be
damaged, or of another version.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import sqlite3
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from pydantic import BaseModel
from qiskit import qpy
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from qhq.backends.executor import FloatArray
from qhq.backends.ibm import IBMSpec


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
    # How a question is cut into jobs and labelled, and whether training is allowed, changes no answer either.
    asked = [spec.model_dump_json(exclude={*waiting, *later, "training", "tags", "samples_per_job"}), logical]
    # With the shape: the bytes of two rows of three numbers are those of three rows of two.
    digest = hashlib.sha256(json.dumps([*asked, call, seed, values.shape]).encode())
    # Bytes, not text: two angles that print alike may differ.
    digest.update(np.ascontiguousarray(values, dtype=np.float64).tobytes())
    return digest.hexdigest()


def pack_program(program: LaidOut) -> tuple[bytes, str]:
    """The circuit as QPY, and the rest as JSON."""
    stream = io.BytesIO()
    qpy.dump(program.circuit, stream)
    rest = {key: value for key, value in vars(program).items() if key not in ("circuit", "observables")}
    # Observables are Hermitian, so that the imaginary part of a coefficient is rounding; JSON has none.
    rest["observables"] = [
        [[letters, list(qubits), coefficient.real] for letters, qubits, coefficient in each.to_sparse_list()]
        for each in program.observables
    ]
    return stream.getvalue(), json.dumps(rest)


def unpack_program(circuit: bytes, rest: str) -> LaidOut:
    """What :func:`pack_program` packed."""
    isa = qpy.load(io.BytesIO(circuit))[0]
    # A later version may have packed more.
    names = {each.name for each in fields(LaidOut)}
    content = {key: value for key, value in json.loads(rest).items() if key in names}
    observables = tuple(
        SparsePauliOp.from_sparse_list([tuple(term) for term in terms], num_qubits=isa.num_qubits)
        for terms in content.pop("observables")
    )
    parameters, layout = tuple(content.pop("parameters")), tuple(content.pop("layout"))
    return LaidOut(isa, parameters, observables, layout=layout, **content)


def pack_values(values: FloatArray) -> bytes:
    """An array as NumPy's own file format."""
    stream = io.BytesIO()
    # A pickle runs code as it is read, and a journal may come in a folder of somebody else.
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()


def unpack_values(content: bytes) -> FloatArray:
    """What :func:`pack_values` packed."""
    values: FloatArray = np.load(io.BytesIO(content), allow_pickle=False)
    return values


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


PLANNED, SENDING, SENT, STORED = "planned", "sending", "sent", "stored"
UNREADABLE, CANCELLED, FAILED, DISCARDED = "unreadable", "cancelled", "failed", "discarded"
REPLACED = "replaced"
"""States of a part. Unreadable: the job is done, and its result came several times but could not be used.
Discarded: the user gave it up. Replaced: others stand in for it, as it was split or is to be sent again."""

UNSENT = (PLANNED, SENDING)
WITH_SERVICE = (SENT, UNREADABLE)
OPEN = (*UNSENT, *WITH_SERVICE)
ENDED = (CANCELLED, FAILED)
PAID = (*WITH_SERVICE, STORED)
"""States of a part that is not paid again: its result is here, or its job is with the service."""
_STATES = (*OPEN, STORED, *ENDED, DISCARDED, REPLACED)

MIGRATIONS = (
    (
        # 1, with IF NOT EXISTS: files of before versions were counted have these tables.
        """CREATE TABLE IF NOT EXISTS requests (
             key TEXT PRIMARY KEY, run TEXT, backend TEXT, spec TEXT, circuit BLOB, program TEXT, input BLOB,
             created REAL)""",
        """CREATE TABLE IF NOT EXISTS parts (
             tag TEXT PRIMARY KEY, key TEXT, start INTEGER, stop INTEGER, state TEXT, job_id TEXT,
             created REAL, changed REAL, message TEXT DEFAULT '', raw TEXT, qpu_seconds REAL)""",
        "CREATE INDEX IF NOT EXISTS parts_of_request ON parts (key)",
    ),
    (
        # 2: what a device was calibrated to as a job ran, jobs that a gateway made twice, and sessions that a
        # process that died has left open.
        "ALTER TABLE parts ADD COLUMN calibration TEXT",
        "CREATE TABLE calibrations (fingerprint TEXT PRIMARY KEY, content BLOB)",
        """CREATE TABLE extras (
             job_id TEXT PRIMARY KEY, tag TEXT, key TEXT, cancelled INTEGER, found REAL, qpu_seconds REAL)""",
        """CREATE TABLE sessions (
             id TEXT PRIMARY KEY, backend TEXT, pid INTEGER, host TEXT, opened REAL, closed REAL)""",
    ),
    (
        # 3: which instance alone can say what became of a job, and the qubits that it measures.
        "ALTER TABLE parts ADD COLUMN instance TEXT",
        "ALTER TABLE parts ADD COLUMN qubits TEXT",
    ),
    (
        # 4: of a journal that was copied, which copy made a tag; and the cap that a job was sent with.
        "ALTER TABLE parts ADD COLUMN owner TEXT",
        "ALTER TABLE parts ADD COLUMN limit_seconds REAL",
        "CREATE TABLE instances (id TEXT PRIMARY KEY, place TEXT, made REAL)",
    ),
)
"""What makes a journal of each schema version out of one of the version before; the first of a file that
is new or was written before versions were counted. Add at the end; never change what stands here."""

PART_COLUMNS = (
    "tag, key, start, stop, state, job_id, created, changed, message, qpu_seconds, calibration, instance, "
    "qubits, owner, limit_seconds"
)


@dataclass(frozen=True)
class RequestPart:
    """One PUB: rows ``start`` to ``stop`` of a request, under a tag of its own.

    Attributes:
        tag: What the job is found by on the service; no two parts share one.
        key: The request.
        start: First row.
        stop: Row after the last.
        state: One of the words above.
        job_id: The service's name for it, once known.
        created: When it was planned, seconds since 1970.
        changed: When its state last changed.
        message: Why it ended without a result.
        qpu_seconds: Time it took on the device, once known.
        calibration: Fingerprint of what the device was calibrated to as it ran, once known.
        instance: CRN of the instance that it was sent through: no other can say what became of it.
        qubits: Qubits of the device that it measures, a JSON list; the layout of a request may change later.
        owner: Instance of the journal that made its tag; None of one from before instances had ids.
        limit_seconds: Time on the device after which the service stops it; None without a cap.
    """

    tag: str
    key: str
    start: int
    stop: int
    state: str
    job_id: str | None
    created: float
    changed: float
    message: str
    qpu_seconds: float | None
    calibration: str | None = None
    instance: str | None = None
    qubits: str | None = None
    owner: str | None = None
    limit_seconds: float | None = None

    @property
    def measured(self) -> list[int] | None:
        """Qubits of the device that it measures; None before it was sent."""
        return None if self.qubits is None else [int(each) for each in json.loads(self.qubits)]

    @property
    def rows(self) -> int:
        """How many rows of values it has."""
        return self.stop - self.start


@dataclass(frozen=True)
class RequestOrigin:
    """Run that a request was made for (empty if none), device, and shots of each value if readable."""

    run: str
    backend: str
    shots: int | None


@dataclass(frozen=True)
class Extra:
    """A job that one submission became besides the one that is used: a gateway sent it twice.

    Attributes:
        job_id: The service's name for it.
        tag: The tag it shares.
        cancelled: Whether it was cancelled before it ran.
        qpu_seconds: Time it took on the device, once known.
    """

    job_id: str
    tag: str
    cancelled: bool
    qpu_seconds: float | None


@dataclass(frozen=True)
class Damaged:
    """A row of the journal that cannot be read, and why: its number, and its tag and job if they can."""

    row: int
    tag: str
    job_id: str | None
    reason: str


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a journal to the schema of today; one of tomorrow's qhq is left as it is."""
    execute = connection.execute
    if execute("PRAGMA user_version").fetchone()[0] >= len(MIGRATIONS):
        return
    execute("BEGIN IMMEDIATE")
    try:
        # Read again: another process may have been faster.
        version = execute("PRAGMA user_version").fetchone()[0]
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                execute(statement)
        execute(f"PRAGMA user_version = {max(version, len(MIGRATIONS))}")
    # Ctrl-C too: a transaction that stays open keeps every other process out of the journal.
    except BaseException:
        execute("ROLLBACK")
        raise
    execute("COMMIT")


def read_part(row: sqlite3.Row) -> RequestPart:
    """A row as what it should be.

    Raises:
        ValueError: If it is something else.
    """
    # By position, in the order of PART_COLUMNS.
    part = RequestPart(*row)
    # SQLite keeps whatever type it is given, in any column, and a journal may be damaged or somebody else's.
    if not (isinstance(part.tag, str) and isinstance(part.key, str)):
        raise ValueError("a tag or key that is no text")
    for name in ("job_id", "message", "calibration", "instance", "qubits", "owner"):
        if not isinstance(getattr(part, name), str | None):
            raise ValueError(f"tag {part.tag}: {name} is no text")
    if part.state not in _STATES:
        raise ValueError(f"tag {part.tag}: state '{part.state}' is not known here")
    if not (isinstance(part.start, int) and isinstance(part.stop, int) and 0 <= part.start < part.stop):
        raise ValueError(f"tag {part.tag}: rows {part.start} to {part.stop}")
    for name in ("created", "changed"):
        if not is_time(getattr(part, name)):
            raise ValueError(f"tag {part.tag}: {name} '{getattr(part, name)}' is no time")
    for name in ("qpu_seconds", "limit_seconds"):
        if not (getattr(part, name) is None or is_time(getattr(part, name))):
            raise ValueError(f"tag {part.tag}: {name} '{getattr(part, name)}'")
    return part


def is_time(value: object) -> bool:
    """Whether a stored value can be seconds since 1970, or of a job."""
    # 1e11 s is the year 5138; a damaged byte gives more.
    return isinstance(value, int | float) and math.isfinite(value) and 0 <= value < 1e11


def as_text(value: object) -> str:
    """A stored value that should be text; empty if it is something else."""
    return value if isinstance(value, str) else ""


def stored_shots(spec: object) -> int | None:
    """Shots of a stored entry, whatever else a later version may have written into it."""
    try:
        shots = json.loads(str(spec))["shots"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return shots if isinstance(shots, int) else None
