"""The journal of hardware jobs: written before anything is sent, so that no crash loses or doubles a job.

It stands in the folder of the runs (``runs/.jobs.sqlite``), not in the cache: it knows which jobs were
paid for and holds their results, and a cache may be emptied at any time. One file serves all runs of the
folder and all processes at once. SQLite in WAL mode with full synchronisation survives ``kill -9`` and a
power cut; the lock beside it belongs to the operating system, which releases it when its holder dies.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import uuid
import weakref
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from qhq.backends.ibm.pub_request import (
    PubRequest,
    pack_program,
    pack_values,
    spec_from_json,
    spec_json,
    unpack_program,
    unpack_values,
)
from qhq.errors import BackendError
from qhq.paths import runs_dir

PLANNED, SENDING, SENT, STORED = "planned", "sending", "sent", "stored"
CANCELLED, FAILED, REPLACED = "cancelled", "failed", "replaced"
"""States of a part. Replaced: others stand in for it, as it was split or is to be sent again."""

OPEN = (PLANNED, SENDING, SENT)
ENDED = (CANCELLED, FAILED)

RUN: ContextVar[str] = ContextVar("run", default="")
"""Name of the run that is being worked on; see :func:`in_run`."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
  key TEXT PRIMARY KEY, run TEXT, backend TEXT, spec TEXT, circuit BLOB, program TEXT, input BLOB,
  created REAL);
CREATE TABLE IF NOT EXISTS parts (
  tag TEXT PRIMARY KEY, key TEXT, start INTEGER, stop INTEGER, state TEXT, job_id TEXT, created REAL,
  changed REAL, message TEXT DEFAULT '', raw TEXT, qpu_seconds REAL);
CREATE INDEX IF NOT EXISTS parts_of_request ON parts (key);
"""

_LIGHT = "tag, key, start, stop, state, job_id, created, changed, message, qpu_seconds"


@dataclass(frozen=True)
class Part:
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

    @property
    def rows(self) -> int:
        """How many rows of values it has."""
        return self.stop - self.start


@dataclass(frozen=True)
class Origin:
    """Run that a request was made for (empty if none), device, and shots of each value."""

    run: str
    backend: str
    shots: int


@contextlib.contextmanager
def in_run(name: str) -> Iterator[None]:
    """Requests that are planned inside belong to this run."""
    token = RUN.set(name)
    try:
        yield
    finally:
        RUN.reset(token)


def journal_file(folder: Path | None = None) -> Path:
    """Where the journal of a folder lies; of that of the runs if none is given."""
    return (folder or runs_dir()) / ".jobs.sqlite"


class Journal:
    """Requests and their parts in one SQLite file; every method is one transaction.

    Args:
        folder: Where it lies; the folder of the runs if none is given.

    Raises:
        BackendError: If the file cannot be written: without it nothing may be sent.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.path = journal_file(folder)
        # The threads of a process share one connection, and a transaction belongs to the connection.
        self._one_at_a_time = threading.RLock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # SQLite gives its side files the mode of the main one.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            self._connection = sqlite3.connect(
                self.path, isolation_level=None, timeout=60, check_same_thread=False
            )
            # Closing folds the write-ahead log into the file.
            self._close = weakref.finalize(self, self._connection.close)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        self._lock = FileLock(str(self.path.with_name(".jobs.lock")), mode=0o600)

    def close(self) -> None:
        """Close the file."""
        self._close()

    def sending(self) -> FileLock:
        """The lock under which one process at a time sends; freed by the system if its holder is killed."""
        return self._lock

    def plan(self, request: PubRequest, rows: int, now: float) -> None:
        """Write a request and its parts of at most some rows, unless it is known."""
        circuit, program = pack_program(request.program)
        content = [spec_json(request.spec), circuit, program, pack_values(request.values), now]
        count = len(request.values)
        with self._transaction():
            if self._ask("SELECT 1 FROM requests WHERE key = ?", request.key):
                return
            row = [request.key, RUN.get(), request.spec.name, *content]
            self._ask("INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *row)
            for start in range(0, count, rows):
                self._add_part(request.key, start, min(start + rows, count), now)

    def renew(self, key: str, now: float) -> None:
        """Plan those parts of a request once more that ended without a result."""
        with self._transaction():
            for part in self._parts("key = ? AND state IN (?, ?)", key, *ENDED):
                self._replace(part, [(part.start, part.stop)], now)

    def request(self, key: str) -> PubRequest:
        """A request that was planned."""
        (row,) = self._ask("SELECT * FROM requests WHERE key = ?", key)
        program = unpack_program(row["circuit"], row["program"])
        return PubRequest(key, spec_from_json(row["spec"]), program, unpack_values(row["input"]))

    def origins(self) -> dict[str, Origin]:
        """Where each request came from, by its key."""
        rows = self._ask("SELECT key, run, backend, spec FROM requests")
        return {
            row["key"]: Origin(row["run"], row["backend"], spec_from_json(row["spec"]).shots) for row in rows
        }

    def spent(self, key: str) -> float:
        """Seconds on the device that the parts of a request took, those that others stand in for too."""
        return float(self._ask("SELECT TOTAL(qpu_seconds) AS sum FROM parts WHERE key = ?", key)[0]["sum"])

    def parts(self, key: str | None = None) -> list[Part]:
        """Parts that no others stand in for: of one request by row, or of all requests by age."""
        if key is None:
            return self._parts("state != ? ORDER BY created, start", REPLACED)
        return self._parts("key = ? AND state != ? ORDER BY start", key, REPLACED)

    def part(self, tag: str) -> Part:
        """One part by its tag."""
        (part,) = self._parts("tag = ?", tag)
        return part

    def claim(self, tag: str, now: float) -> bool:
        """Write that a planned part is about to be sent; False if another process was first."""
        return bool(self._set(tag, PLANNED, now, state=SENDING))

    def unclaim(self, tag: str, now: float) -> None:
        """Write that a part was certainly not taken: it may be sent again."""
        self._set(tag, SENDING, now, state=PLANNED)

    def sent(self, tag: str, job_id: str, now: float) -> None:
        """Write which job a part became."""
        self._set(tag, SENDING, now, state=SENT, job_id=job_id)

    def store(self, tag: str, raw: str, now: float) -> None:
        """Keep a result as the service gave it."""
        self._set(tag, SENT, now, state=STORED, raw=raw)

    def end(self, tag: str, state: str, message: str, now: float) -> None:
        """Write that a part ended without a result."""
        self._set(tag, SENT, now, state=state, message=message)

    def add_usage(self, tag: str, qpu_seconds: float) -> None:
        """Write what a part took on the device."""
        self._change("UPDATE parts SET qpu_seconds = ? WHERE tag = ?", qpu_seconds, tag)

    def split(self, part: Part, now: float) -> None:
        """Let two halves stand in for a part."""
        middle = (part.start + part.stop) // 2
        with self._transaction():
            self._replace(part, [(part.start, middle), (middle, part.stop)], now)

    def raw(self, tag: str) -> str:
        """A stored result."""
        return str(self._ask("SELECT raw FROM parts WHERE tag = ?", tag)[0]["raw"])

    def _replace(self, part: Part, pieces: Sequence[tuple[int, int]], now: float) -> None:
        # Only whoever takes it out of its state may put others in its place.
        if self._set(part.tag, part.state, now, state=REPLACED):
            for start, stop in pieces:
                self._add_part(part.key, start, stop, now)

    def _add_part(self, key: str, start: int, stop: int, now: float) -> None:
        row = [f"qhq-{uuid.uuid4().hex}", key, start, stop, PLANNED, now, now]
        columns = "tag, key, start, stop, state, created, changed"
        self._ask(f"INSERT INTO parts ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", *row)

    def _parts(self, condition: str, *values: Any) -> list[Part]:
        return [Part(*row) for row in self._ask(f"SELECT {_LIGHT} FROM parts WHERE {condition}", *values)]

    def _set(self, tag: str, before: str, now: float, **columns: Any) -> int:
        """Change a part that is in a certain state; another process may have been faster."""
        changes = ", ".join(f"{name} = ?" for name in [*columns, "changed"])
        values = [*columns.values(), now, tag, before]
        return self._change(f"UPDATE parts SET {changes} WHERE tag = ? AND state = ?", *values)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._one_at_a_time:
            self._ask("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._ask("ROLLBACK")
                raise
            self._ask("COMMIT")

    def _ask(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        try:
            with self._one_at_a_time:
                return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _change(self, statement: str, *values: Any) -> int:
        try:
            with self._one_at_a_time:
                return self._connection.execute(statement, values).rowcount
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> BackendError:
        return BackendError(
            "The journal of hardware jobs must be readable and writable: nothing is sent without it",
            got=f"{self.path}: {error}",
            fix="Free disk space, or point QHQ_RUNS_DIR at a folder of your own",
        )
