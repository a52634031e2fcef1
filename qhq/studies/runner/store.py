"""The store of a study: its cells, one line each as they come, so that a kill loses what was in hand alone.

Each line carries a checksum of its values: what a kill cut off or a hand changed is measured again. Lines are
only added. A cell that makes files besides (a trial of a sweep) has a folder of its own: a subclass says
where.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from qhq.files import MOST_TABLE_BYTES, append_line, held_alone, read_regular
from qhq.runs.run_folder import writable

Values = dict[str, Any]
"""What a cell gives, as plain JSON."""


class Cell(Protocol):
    """One measurement of a study; it is sent to workers, so it must be picklable and need nothing else."""

    @property
    def key(self) -> str:
        """Its name in the store."""


AnyCell = TypeVar("AnyCell", bound=Cell)


@dataclass(frozen=True)
class Outcome:
    """What measuring a cell gave.

    Attributes:
        values: Kept in the store's line.
        files: Of a folder of the cell's own, by their relative path; empty for most studies.
    """

    values: Values
    files: dict[str, bytes] = field(default_factory=dict)


class Store(Generic[AnyCell]):
    """A JSON Lines file of ``{"cell": key, "values": {...}, "crc32": checksum}``.

    Args:
        path: The file; it and its folder need not be there.
        shared: Whether several processes measure into it at once. Else whoever opens it holds its folder.
    """

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        self.path, self.shared = path, shared
        self._parsed, self._cells = 0, dict[str, Values]()

    def read(self) -> dict[str, Values]:
        """Cells by key; a line that is damaged is passed over."""
        try:
            content = read_regular(self.path, most=MOST_TABLE_BYTES, what="store of cells")
        except FileNotFoundError:
            content = b""
        if len(content) < self._parsed:  # it is only added to, unless somebody took it away
            self._parsed, self._cells = 0, {}
        # A sweep reads its store once a round: what was parsed before is not parsed again.
        self._cells.update(_cells_of(content[self._parsed :]))
        self._parsed = content.rfind(b"\n") + 1
        return dict(self._cells)

    def find(self, cells: Mapping[str, AnyCell]) -> dict[str, Values]:
        """Values of those of the cells that are there."""
        there = self.read()
        return {key: there[key] for key in cells if key in there}

    def hand_out(self, cell: AnyCell) -> AnyCell:
        """Called as a cell is given to a worker; returns what the worker gets."""
        return cell

    def keep(self, cell: AnyCell, outcome: Outcome) -> Values:
        """Keep what a cell gave; on disk when this returns.

        Raises:
            ConfigError: If it cannot be written.
        """
        self.append(cell.key, outcome.values)
        return outcome.values

    def append(self, key: str, values: Values) -> None:
        """Add a line.

        Raises:
            ConfigError: If the file cannot be written.
        """
        content = {"cell": key, "values": values, "crc32": _checksum(key, values)}
        line = json.dumps(content, allow_nan=False)
        with writable(self.path):
            append_line(self.path, line)

    @contextmanager
    def claim(self, key: str, *, seconds: float = 0.0) -> Iterator[None]:
        """Hold a cell alone, across processes, so that two never measure the same one.

        Args:
            key: Of the cell.
            seconds: How long to wait for another process that holds it.

        Raises:
            HeldError: If another process still holds it then; says which.
            ConfigError: If the store cannot be written.
        """
        lock = self.path.with_name(f".{self.path.stem}-{zlib.crc32(key.encode()):08x}.lock")
        held = held_alone(
            lock,
            must="A cell of a study must be measured by one process at a time",
            fix="Wait for it to end, or end it; then call this again, and it goes on",
            seconds=seconds,
        )
        with ExitStack() as stack:
            with writable(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(held)
            try:
                yield
            finally:
                # Whoever waits for this file looks into the store once it has it, and finds the cell there.
                with suppress(OSError):
                    lock.unlink()


class MemoryStore(Store[AnyCell]):
    """Keeps cells in this process alone, for a study that is made anew each time."""

    def __init__(self) -> None:
        super().__init__(Path())
        self.cells = dict[str, Values]()

    def read(self) -> dict[str, Values]:
        """See `Store.read`."""
        return dict(self.cells)

    def append(self, key: str, values: Values) -> None:
        """See `Store.append`."""
        self.cells[key] = values


def _cells_of(content: bytes) -> Iterator[tuple[str, Values]]:
    """Cells of the whole lines, the last one of a key counting."""
    for text in content.splitlines():
        try:
            line = json.loads(text)
            key, values = line["cell"], line["values"]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if line.get("crc32") == _checksum(key, values):
            yield key, values


def _checksum(key: str, values: Values) -> int:
    return zlib.crc32(json.dumps([key, values]).encode())
