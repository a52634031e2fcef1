"""Prices on this machine: a Parquet file a symbol, and beside it a JSON sidecar that vouches for it.

Both lie under ``cache_dir()/yahoo``, named after the symbol, the interval and the columns' version. Each
is written beside and then moved into place, the sidecar last. A file that its sidecar's sha256 does not fit,
or a sidecar that cannot be read, counts as not there. A lock makes two processes take turns.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import pyarrow as pa
from filelock import FileLock, Timeout

from qhq.data.yahoo.history import EARLIEST, RAW
from qhq.errors import DataError
from qhq.files import write_atomically
from qhq.paths import cache_dir

SCHEMA = 1
"""Version of the columns; a file of another one is not looked at."""

INTERVAL = "1d"
LOCK_SECONDS = 600.0
_VERSIONS = ("qhq", "yfinance", "curl_cffi", "pandas", "pyarrow")


@dataclass(frozen=True, eq=False)
class Entry:
    """What is held of one symbol.

    Attributes:
        frame: Columns ``history.RAW``, prices as traded, all sessions from ``start`` to ``through``.
        start: Earliest day asked for.
        end: Latest day asked for.
        through: Last day that can have no further row.
        fetched_at: When the last row came, aware.
    """

    frame: pd.DataFrame
    start: date
    end: date
    through: date
    fetched_at: datetime

    def covers(self, start: date | None, end: date | None, *, offline: bool) -> bool:
        """Whether a request can be answered from here.

        Offline, a day that was asked for before and had not come then is not missed.
        """
        if (start or EARLIEST) < self.start:
            return False
        if offline and (end is None or end <= self.end):
            return True
        return end is not None and end <= self.through


def entry_path(symbol: str) -> Path:
    """The Parquet file of a symbol; what is odd in a file name is written as %XX.

    >>> entry_path("^GSPC").name
    '%5EGSPC-1d-v1.parquet'
    """
    return cache_dir() / "yahoo" / f"{quote(symbol, safe='')}-{INTERVAL}-v{SCHEMA}.parquet"


@contextmanager
def lock_entry(symbol: str) -> Iterator[Path]:
    """Keep other processes from a symbol's files; gives the Parquet file's path.

    Raises:
        DataError: If the folder is not writable, or the lock does not come free.
    """
    path = entry_path(symbol)
    lock = FileLock(path.with_suffix(".lock"), timeout=LOCK_SECONDS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, Timeout) as error:
        raise DataError(
            "The cache folder must be writable, and no other process may hold it for long",
            got=f"{type(error).__name__} for {path.parent}",
            fix="Set QHQ_CACHE_DIR, or end the process that fetches the same symbol",
        ) from error
    try:
        yield path
    finally:
        lock.release()


def read_entry(path: Path) -> Entry | None:
    """Read what is held; None if there is nothing, or it is damaged."""
    try:
        note = json.loads(path.with_suffix(".json").read_bytes())
        data = path.read_bytes()
        if note["schema"] != SCHEMA or hashlib.sha256(data).hexdigest() != note["sha256"]:
            return None
        frame = pd.read_parquet(io.BytesIO(data))
        entry = Entry(
            frame,
            start=date.fromisoformat(note["asked"]["start"]),
            end=date.fromisoformat(note["asked"]["end"]),
            through=date.fromisoformat(note["held"]["through"]),
            fetched_at=datetime.fromisoformat(note["fetched_at"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError, pa.ArrowException):
        return None
    return entry if tuple(frame.columns) == RAW and len(frame) else None


def write_entry(path: Path, symbol: str, entry: Entry) -> None:
    """Write the file, then its sidecar, each whole or not at all."""
    buffer = io.BytesIO()
    entry.frame.to_parquet(buffer, index=False)
    data = buffer.getvalue()
    note = {**_describe(symbol, entry), "sha256": hashlib.sha256(data).hexdigest()}
    write_atomically(path, data)
    write_atomically(path.with_suffix(".json"), json.dumps(note, indent=2))


def _describe(symbol: str, entry: Entry) -> dict[str, Any]:
    held = entry.frame["date"]
    return {
        "source": "yahoo",
        "symbol": symbol,
        "interval": INTERVAL,
        "schema": SCHEMA,
        "fetched_at": entry.fetched_at.astimezone(UTC).isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in _VERSIONS},
        "asked": {"start": entry.start.isoformat(), "end": entry.end.isoformat()},
        "held": {
            "first": str(held.iloc[0].date()),
            "last": str(held.iloc[-1].date()),
            "through": entry.through.isoformat(),
        },
        "rows": len(entry.frame),
    }
