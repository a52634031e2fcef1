"""Jobs and submissions in SQLite: in memory, or in a file that outlives the process."""

from __future__ import annotations

import json
import sqlite3
import threading
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, backend TEXT, program_id TEXT, tags TEXT,
  session_id TEXT, private INTEGER, status TEXT DEFAULT 'Queued', reason TEXT, reason_code INTEGER,
  pubs TEXT, items TEXT, shots INTEGER, seconds REAL, created TEXT, running TEXT, finished TEXT,
  deleted INTEGER DEFAULT 0, limit_seconds REAL, params TEXT, result TEXT);
CREATE TABLE IF NOT EXISTS submissions (number INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT, tags TEXT);
"""
_LIGHT = (
    "number, id, backend, program_id, tags, session_id, private, status, reason, reason_code, "
    "pubs, items, shots, seconds, created, running, finished, deleted, limit_seconds"
)
"""All columns but the heavy two, parameters and result."""
_JSON = ("tags", "pubs", "items")
FINAL = ("Completed", "Failed", "Cancelled")


class Ledger:
    """All jobs ever submitted, deleted ones included, oldest first."""

    def __init__(self, path: str = ":memory:") -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.executescript(_SCHEMA)
        self._ask("UPDATE jobs SET status = 'Queued' WHERE status = 'Running'")

    def add(self, **job: Any) -> None:
        """Write a new job, and the submission that brought it, in one go."""
        columns = {key: json.dumps(value) if key in _JSON else value for key, value in job.items()}
        marks = ", ".join("?" * len(columns))
        with self._lock, self._connection:
            self._ask("BEGIN")
            self._ask(f"INSERT INTO jobs ({', '.join(columns)}) VALUES ({marks})", *columns.values())
            self._ask("INSERT INTO submissions (job, tags) VALUES (?, ?)", job["id"], columns["tags"])

    def change(self, job_id: str, **changes: Any) -> None:
        """Change columns of one job."""
        columns = {key: json.dumps(value) if key in _JSON else value for key, value in changes.items()}
        self._ask(
            f"UPDATE jobs SET {', '.join(f'{key} = ?' for key in columns)} WHERE id = ?",
            *columns.values(),
            job_id,
        )

    def find(self, job_id: str) -> dict[str, Any] | None:
        """One job that was not deleted, or None."""
        rows = self._ask("SELECT * FROM jobs WHERE id = ? AND deleted = 0", job_id)
        return _job(rows[0]) if rows else None

    def jobs(self, *, deleted: bool = False) -> list[dict[str, Any]]:
        """All jobs, oldest first, without parameters and results; the deleted ones only if asked for."""
        rows = self._ask(f"SELECT {_LIGHT} FROM jobs WHERE deleted <= ? ORDER BY number", deleted)
        return [_job(row) for row in rows]

    def spent(self) -> float:
        """QPU seconds of all completed jobs but dry runs."""
        paid = "status = 'Completed' AND backend NOT LIKE 'mock~_%' ESCAPE '~'"
        return float(self._ask(f"SELECT TOTAL(seconds) AS sum FROM jobs WHERE {paid}")[0]["sum"])

    def submissions(self) -> dict[str, int]:
        """How many submissions became jobs, by tag."""
        counts: dict[str, int] = {}
        for row in self._ask("SELECT tags FROM submissions"):
            for tag in json.loads(row["tags"]):
                counts[tag] = counts.get(tag, 0) + 1
        return counts

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _ask(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()


def _job(row: sqlite3.Row) -> dict[str, Any]:
    return {key: json.loads(row[key]) if key in _JSON else row[key] for key in row.keys()}  # noqa: SIM118
