"""The journal of hardware jobs: written before anything is sent, so that no crash loses or doubles a job.

It stands in the folder of the runs (``runs/.jobs.sqlite``), not in the cache: it knows which jobs were
paid for and holds their results, and a cache may be emptied at any time. One file serves all runs of the
folder and all processes at once. SQLite in WAL mode with full synchronisation survives ``kill -9`` and a
power cut; the lock beside it belongs to the operating system, which releases it when its holder dies.

A folder may be copied, and then two journals know the same jobs. Each place where a journal lies is an
instance with an id of its own, and each part has an owner: the instance that made its tag. A part of
another owner is never sent under its tag, and its job is never cancelled unasked; see :meth:`Journal.owns`.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import socket
import sqlite3
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from qhq.backends.devices.calibration import Calibration
from qhq.backends.ibm.records import (
    DISCARDED,
    ENDED,
    MIGRATIONS,
    PART_COLUMNS,
    PLANNED,
    REPLACED,
    SENDING,
    SENT,
    STORED,
    UNREADABLE,
    WITH_SERVICE,
    Damaged,
    Extra,
    LaidOut,
    PubRequest,
    RequestOrigin,
    RequestPart,
    as_text,
    is_time,
    migrate,
    pack_program,
    pack_values,
    read_part,
    spec_from_json,
    spec_json,
    stored_shots,
    unpack_program,
    unpack_values,
)
from qhq.backends.ibm.waiting import TALK, heartbeat, redact
from qhq.errors import BackendError
from qhq.files import is_running
from qhq.paths import runs_dir

# Name of the run that is being worked on; see :func:`in_run`.
_RUN: ContextVar[str] = ContextVar("run", default="")

# How long a statement waits for a file that another process has locked, and how often it does.
LOCKED_SECONDS, MOST_LOCKED = 15.0, 4

_T = TypeVar("_T")


@contextlib.contextmanager
def in_run(name: str) -> Iterator[None]:
    """Requests that are planned inside belong to this run."""
    token = _RUN.set(name)
    try:
        yield
    finally:
        _RUN.reset(token)


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
            # isolation_level=None leaves transactions to this class: sqlite3's own begin at a change and
            # stay open.
            self._connection = sqlite3.connect(
                self.path, isolation_level=None, timeout=LOCKED_SECONDS, check_same_thread=False
            )
            # Closing folds the write-ahead log into the file.
            self._close = weakref.finalize(self, self._connection.close)
            self._connection.row_factory = sqlite3.Row
            # A byte that is no text must not hide the rest of its row.
            self._connection.text_factory = lambda content: content.decode("utf-8", "replace")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            migrate(self._connection)
            self.instance = self._find_instance()
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        # Tags that were made here and never sent: no job can bear them.
        self._unused: set[str] = set()

    def _find_instance(self) -> str:
        """Id of the journal at this place: a copy, or one restored from elsewhere, gets one of its own."""
        found = self.path.stat()
        path, device, inode = str(self.path.resolve()), found.st_dev, found.st_ino
        # A copy has another inode, or lies on another device or host.
        here = [socket.gethostname(), path, device, inode]

        def known() -> str | None:
            for row in self._connection.execute("SELECT id, place FROM instances").fetchall():
                try:
                    host, its_path, its_device, its_inode = json.loads(row["place"])
                except (ValueError, TypeError):
                    continue
                # A folder that is renamed keeps its device and inode, and one whose disk is mounted
                # elsewhere under the same path its inode. A copy has another.
                if (host, its_inode) == (here[0], inode) and (its_path == path or its_device == device):
                    return str(row["id"])
            return None

        instance = known()
        if instance is None:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                # Look again: another process may have been faster.
                instance = known()
                if instance is None:
                    instance = uuid.uuid4().hex
                    row = [instance, json.dumps(here), time.time()]
                    self._connection.execute("INSERT INTO instances (id, place, made) VALUES (?, ?, ?)", row)
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        return instance

    def owns(self, part: RequestPart) -> bool:
        """Whether a job under the tag of a part can only be of this journal.

        Of a folder that was copied, the journal it was copied from may have sent the part, and wait for it.
        """
        return part.owner == self.instance

    def is_unused(self, tag: str) -> bool:
        """Whether no job can bear a tag: it was made by this object, and nothing was sent under it."""
        return tag in self._unused

    @property
    def is_newer(self) -> bool:
        """Whether a later qhq wrote the file, so that what it says may not be all that there is."""
        return int(self._ask("PRAGMA user_version")[0][0]) > len(MIGRATIONS)

    def close(self) -> None:
        """Close the file."""
        self._close()

    @contextlib.contextmanager
    def sending(self, device: str) -> Iterator[None]:
        """One at a time sends to a device inside; its lock is freed by the system if it is killed."""
        # It becomes the name of a file, and an entry of somebody else may call a device ``../../x``.
        name = re.sub(r"[^A-Za-z0-9_-]", "_", device)[:60]
        lock = FileLock(str(self.path.with_name(f".jobs.{name}.lock")), mode=0o600)
        with contextlib.ExitStack() as held:
            with heartbeat(f"another qhq is sending to {device}, and one at a time may"):
                held.enter_context(lock)
            yield

    def plan(self, request: PubRequest, rows: int, now: float) -> None:
        """Write a request and its parts of at most some rows, unless it is known."""
        circuit, program = pack_program(request.program)
        content = [spec_json(request.spec), circuit, program, pack_values(request.values), now]
        count = len(request.values)
        with self._transaction():
            # Inside the transaction: two processes may plan the same question at once.
            if self._ask("SELECT 1 FROM requests WHERE key = ?", request.key):
                return
            row = [request.key, _RUN.get(), request.spec.name, *content]
            columns = "key, run, backend, spec, circuit, program, input, created"
            self._ask(f"INSERT INTO requests ({columns}) VALUES ({_marks(row)})", *row)
            for start in range(0, count, rows):
                self._add_part(request.key, start, min(start + rows, count), now)

    def replan(self, key: str, program: LaidOut) -> None:
        """Let what has not been sent of a request be another program: the device has changed."""
        circuit, rest = pack_program(program)
        self._change("UPDATE requests SET circuit = ?, program = ? WHERE key = ?", circuit, rest, key)

    def renew(self, key: str, now: float, *, discarded: bool = False) -> None:
        """Plan those parts of a request once more that ended without a result, or were given up."""
        states = (*ENDED, DISCARDED) if discarded else ENDED
        with self._transaction():
            for part in self._parts(f"key = ? AND state IN ({_marks(states)})", key, *states):
                self._replace(part, [(part.start, part.stop)], now)

    def knows(self, key: str) -> bool:
        """Whether a request was planned."""
        return bool(self._ask("SELECT 1 FROM requests WHERE key = ?", key))

    def request(self, key: str) -> PubRequest:
        """A request that was planned.

        Raises:
            BackendError: If what stands of it cannot be read; results that were stored still can.
        """
        row = next(iter(self._ask("SELECT * FROM requests WHERE key = ?", key)), None)
        try:
            if row is None:
                raise ValueError("no such request")
            program = unpack_program(row["circuit"], row["program"])
            return PubRequest(key, spec_from_json(row["spec"]), program, unpack_values(row["input"]))
        except Exception as error:  # whatever a reader of damaged bytes stumbles over
            raise BackendError(
                "A request in the journal of hardware jobs must be readable",
                got=f"{self.path}, request {key[:12]}: {type(error).__name__}: {redact(error, ())}",
                fix="Install the version of qhq that wrote it, or give its jobs up with 'qhq jobs discard'",
            ) from error

    def origins(self) -> dict[str, RequestOrigin]:
        """Where each request came from, by its key; what cannot be read of one is left out."""
        found = {}
        for _, row in self._each("requests", "key, run, backend, spec"):
            if isinstance(row, sqlite3.Row) and isinstance(row["key"], str):
                run, backend = as_text(row["run"]), as_text(row["backend"])
                found[row["key"]] = RequestOrigin(run, backend, stored_shots(row["spec"]))
        return found

    def spent(self, key: str) -> float:
        """Seconds on the device that the jobs of a request took, those that were split and extra ones too."""
        tables = ("parts", "extras")
        sums = [self._ask(f"SELECT TOTAL(qpu_seconds) FROM {each} WHERE key = ?", key) for each in tables]
        return sum(float(rows[0][0]) for rows in sums)

    def parts(self, key: str | None = None) -> list[RequestPart]:
        """Parts that no others stand in for: of one request by row, or of all requests by age.

        Raises:
            BackendError: If one of the request cannot be read; among all those are left out, see `damaged`.
        """
        if key is not None:
            return self._parts("key = ? AND state != ? ORDER BY start", key, REPLACED)
        found = [part for part in self._read() if isinstance(part, RequestPart) and part.state != REPLACED]
        return sorted(found, key=lambda part: (part.created, part.start))

    def damaged(self) -> list[Damaged]:
        """Parts that cannot be read."""
        return [each for each in self._read() if isinstance(each, Damaged)]

    def _read(self) -> Iterator[RequestPart | Damaged]:
        for number, row in self._each("parts", PART_COLUMNS):
            if not isinstance(row, sqlite3.Row):
                yield Damaged(number, "", None, str(row))
                continue
            try:
                yield read_part(row)
            except ValueError as error:
                job_id = row["job_id"] if isinstance(row["job_id"], str) else None
                yield Damaged(number, as_text(row["tag"]), job_id, str(error))

    def part(self, tag: str) -> RequestPart:
        """One part by its tag."""
        (part,) = self._parts("tag = ?", tag)
        return part

    def extras(self, key: str | None = None) -> list[Extra]:
        """Jobs besides those that are used: of one request, or of all."""
        rows = self._ask("SELECT job_id, tag, cancelled, qpu_seconds, key FROM extras ORDER BY found")
        return [
            Extra(row[0], row[1], bool(row[2]), row[3] if is_time(row[3]) else None)
            for row in rows
            if key in (None, row[4]) and isinstance(row[0], str) and isinstance(row[1], str)
        ]

    def add_extra(self, part: RequestPart, job_id: str, *, cancelled: bool, now: float) -> None:
        """Write that a submission became one job more."""
        row = [job_id, part.tag, part.key, int(cancelled), now]
        self._ask(
            "INSERT OR IGNORE INTO extras (job_id, tag, key, cancelled, found) VALUES (?, ?, ?, ?, ?)", *row
        )

    def add_extra_usage(self, job_id: str, qpu_seconds: float) -> None:
        """Write what an extra job took on the device."""
        self._change("UPDATE extras SET qpu_seconds = ? WHERE job_id = ?", qpu_seconds, job_id)

    def opened_session(self, session_id: str, backend: str, now: float) -> None:
        """Write that this process opened a batch or session: whoever resumes closes it if it dies."""
        row = [session_id, backend, os.getpid(), socket.gethostname(), now]
        self._ask(
            "INSERT OR REPLACE INTO sessions (id, backend, pid, host, opened) VALUES (?, ?, ?, ?, ?)", *row
        )

    def closed_session(self, session_id: str, now: float) -> None:
        """Write that a batch or session is closed."""
        self._change("UPDATE sessions SET closed = ? WHERE id = ?", now, session_id)

    def orphaned_sessions(self) -> list[tuple[str, str]]:
        """Batches and sessions (id, device) whose process is dead, on this machine."""
        rows = self._ask("SELECT id, backend, pid, host FROM sessions WHERE closed IS NULL")
        here = socket.gethostname()
        # A process of another machine cannot be looked for: its sessions are closed there.
        return [
            (row["id"], row["backend"])
            for row in rows
            if row["host"] == here and not (isinstance(row["pid"], int) and is_running(row["pid"]))
        ]

    def claim(
        self,
        tag: str,
        now: float,
        *,
        instance: str,
        qubits: Sequence[int],
        limit_seconds: float | None = None,
    ) -> bool:
        """Write that a planned part is about to be sent; False if another process was first.

        Args:
            tag: Of the part, which must be one of this journal's own.
            now: Seconds since 1970.
            instance: CRN of the instance that it is sent through.
            qubits: Qubits of the device that it measures.
            limit_seconds: Time on the device after which the service is to stop it.
        """
        self._unused.discard(tag)
        if not self.owns(self.part(tag)):
            return False
        written = {"instance": instance, "qubits": json.dumps([int(each) for each in qubits])}
        return bool(self._set(tag, PLANNED, now, state=SENDING, limit_seconds=limit_seconds, **written))

    def take_over(self, part: RequestPart, now: float) -> None:
        """Let a part of this journal, with a tag of its own, stand in for an unsent one of another."""
        with self._transaction():
            self._replace(part, [(part.start, part.stop)], now)

    def adopt(self, part: RequestPart, job_id: str, now: float) -> None:
        """Write that a job bears the tag of a part which was not known to be sent."""
        self._set(part.tag, part.state, now, state=SENT, job_id=job_id)

    def unclaim(self, tag: str, now: float) -> None:
        """Write that a part was certainly not taken: it may be sent again."""
        self._set(tag, SENDING, now, state=PLANNED)

    def waited(self, part: RequestPart, now: float) -> float:
        """Seconds since a part was being sent; counted anew from now where the clock was set back since."""
        if part.changed <= now:
            return now - part.changed
        self._set(part.tag, SENDING, now)
        return 0.0

    def sent(self, tag: str, job_id: str, now: float) -> None:
        """Write which job a part became."""
        self._set(tag, SENDING, now, state=SENT, job_id=job_id)

    def store(self, tag: str, raw: str, now: float) -> None:
        """Keep a result as the service gave it, once it was read and checked."""
        # From either state: what could not be read before may be readable to this version.
        for before in WITH_SERVICE:
            self._set(tag, before, now, state=STORED, raw=raw, message="")

    def put_back(self, tag: str, now: float) -> None:
        """Let a stored result be one to be asked for: it cannot be used."""
        self._set(tag, STORED, now, state=SENT)

    def hold(self, tag: str, raw: str, message: str, now: float) -> None:
        """Keep what came in place of a result; the job stays one to be asked for."""
        for before in WITH_SERVICE:
            self._set(tag, before, now, state=UNREADABLE, raw=raw, message=message)

    def end(self, part: RequestPart, state: str, message: str, now: float) -> bool:
        """Write that a part ended without a result; False if it is in another state than it was read in.

        Another process may have sent it, or have its result, since.
        """
        if part.state == STORED:
            return False
        return bool(self._set(part.tag, part.state, now, state=state, message=message))

    def add_calibration(self, tag: str, calibration: Calibration) -> None:
        """Write what the device was calibrated to as a part ran."""
        content = json.dumps([calibration.configuration, calibration.properties]).encode()
        # Equal calibrations are one row, however many jobs ran under it.
        row = [calibration.fingerprint + calibration.date, gzip.compress(content, mtime=0)]
        with self._transaction():
            self._ask("INSERT OR IGNORE INTO calibrations (fingerprint, content) VALUES (?, ?)", *row)
            self._ask("UPDATE parts SET calibration = ? WHERE tag = ?", row[0], tag)

    def calibration(self, part: RequestPart) -> Calibration | None:
        """What the device was calibrated to as a part ran; None where it is not known."""
        rows = self._ask("SELECT content FROM calibrations WHERE fingerprint = ?", part.calibration)
        return Calibration(*json.loads(gzip.decompress(rows[0]["content"]))) if rows else None

    def add_usage(self, tag: str, qpu_seconds: float) -> None:
        """Write what a part took on the device."""
        self._change("UPDATE parts SET qpu_seconds = ? WHERE tag = ?", qpu_seconds, tag)

    def split(self, part: RequestPart, now: float) -> None:
        """Let two halves stand in for a part."""
        middle = (part.start + part.stop) // 2
        with self._transaction():
            self._replace(part, [(part.start, middle), (middle, part.stop)], now)

    def raw(self, tag: str) -> str:
        """A stored result."""
        return str(self._ask("SELECT raw FROM parts WHERE tag = ?", tag)[0]["raw"])

    def _replace(self, part: RequestPart, pieces: Sequence[tuple[int, int]], now: float) -> None:
        # Only whoever takes it out of its state may put others in its place.
        if self._set(part.tag, part.state, now, state=REPLACED):
            for start, stop in pieces:
                self._add_part(part.key, start, stop, now)

    def _add_part(self, key: str, start: int, stop: int, now: float) -> None:
        # Random, not counted: two folders on one account must never give the same tag.
        row = [f"qhq-{uuid.uuid4().hex}", key, start, stop, PLANNED, now, now, self.instance]
        columns = "tag, key, start, stop, state, created, changed, owner"
        self._ask(f"INSERT INTO parts ({columns}) VALUES ({_marks(row)})", *row)
        self._unused.add(str(row[0]))

    def _parts(self, condition: str, *values: Any) -> list[RequestPart]:
        try:
            rows = self._ask(f"SELECT {PART_COLUMNS} FROM parts WHERE {condition}", *values)
            return [read_part(row) for row in rows]
        except ValueError as error:
            raise self._unusable(error) from error

    def _each(self, table: str, columns: str) -> Iterator[tuple[int, sqlite3.Row | str]]:
        """Rows of a table, each read by itself: a damaged one costs no other; in its place stands why."""
        try:
            # Row by row: one statement over all of a damaged file ends at the first page that is bad.
            last = self._ask(f"SELECT max(rowid) FROM {table}")[0][0] or 0
        except BackendError:
            # The last page is a damaged one; the count is taken from an index.
            last = self._ask(f"SELECT count(*) FROM {table}")[0][0]
        for number in range(1, last + 1):
            try:
                rows = self._ask(f"SELECT {columns} FROM {table} WHERE rowid = ?", number)
            except BackendError as error:
                yield number, error.got
                continue
            yield from ((number, row) for row in rows)

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
            # Ctrl-C too: a transaction that stays open keeps every other process out of the journal.
            except BaseException:
                self._ask("ROLLBACK")
                raise
            self._ask("COMMIT")

    def _ask(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        return self._execute(lambda: self._connection.execute(statement, values).fetchall())

    def _change(self, statement: str, *values: Any) -> int:
        return self._execute(lambda: self._connection.execute(statement, values).rowcount)

    def _execute(self, act: Callable[[], _T]) -> _T:
        """Do one statement; a file that another process has locked is waited for some times, aloud."""
        for attempt in range(1, MOST_LOCKED + 1):
            try:
                with self._one_at_a_time:
                    return act()
            except sqlite3.Error as error:
                if attempt == MOST_LOCKED or not _is_locked(error):
                    raise self._unusable(error) from error
            TALK.get().wait(f"{self.path} is locked by another process, attempt {attempt} of {MOST_LOCKED}")
        raise AssertionError("the last attempt returns or raises")

    def _unusable(self, error: Exception) -> BackendError:
        return BackendError(
            "The journal of hardware jobs must be readable and writable: nothing is sent without it",
            got=f"{self.path}: {error}",
            fix="Wait until the process that holds it has ended: what was sent is found again by its tag"
            if _is_locked(error)
            else "Free disk space, or point QHQ_RUNS_DIR at a folder of your own",
        )


def _is_locked(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
