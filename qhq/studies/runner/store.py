"""Results of a study's cells, kept one line each as they come, so that a kill loses one at most.

Each line carries a checksum of its values: what a kill cut off or a hand changed is measured again.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from qhq.data.windows import Windows
from qhq.files import MOST_TABLE_BYTES, HeldError, append_line, held_alone, read_regular
from qhq.runs.run_folder import writable


def judged_by_symbol(windows: Windows) -> list[str]:
    """What the name of a study's results holds besides, so that none of an earlier version is taken for one.

    Earlier versions judged by errors pooled over all symbols and targets, in which the dearest decides. Where
    there are several, what they kept is measured again; of a single one it is the same, and serves on.
    """
    several = len(windows.cut.targets) > 1 or len(np.unique(windows.group)) > 1
    return ["skill by symbol"] if several else []


Values = dict[str, Any]
"""What a cell gives, as plain JSON."""

MOST_SECONDS = 600.0
"""How long a process waits for a cell that another one measures, while no cell at all is kept."""


class CellStore:
    """A JSON Lines file of ``{"cell": key, "values": {...}, "crc32": checksum}``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Values]:
        """Cells by key; a line that is damaged is passed over."""
        try:
            content_of = read_regular(self.path, most=MOST_TABLE_BYTES, what="store of cells")
        except FileNotFoundError:
            return {}
        cells = {}
        for line in content_of.splitlines():
            try:
                content = json.loads(line)
                key, values = content["cell"], content["values"]
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
            if content.get("crc32") == _checksum(key, values):
                cells[key] = values
        return cells

    def append(self, key: str, values: Values) -> None:
        """Keep one cell; on disk when this returns.

        Raises:
            ConfigError: If the file cannot be written.
        """
        content = {"cell": key, "values": values, "crc32": _checksum(key, values)}
        line = json.dumps(content, allow_nan=False)
        with writable(self.path):
            append_line(self.path, line)

    def complete(self, keys: Sequence[str], measure: Callable[[str, int], Values]) -> dict[str, Values]:
        """Measure every cell that is not there; processes that do so at once share the work.

        Each cell is measured and kept by one of them. The others pass it over and wait for it at the end;
        where its process is killed, another one measures it.

        Args:
            keys: Cells that are wanted.
            measure: Gives the values of a cell; told its key, and how many of the wanted cells are there.

        Returns:
            The store's cells by key, all of ``keys`` among them.

        Raises:
            ConfigError: If the store cannot be written, or another process holds a cell and keeps none.
        """
        done = self.read()
        while missing := [key for key in keys if key not in done]:
            before = len(done)
            for key in missing:
                with suppress(HeldError):
                    done = self._complete_one(key, keys, measure, seconds=0.0)
            if len(done) > before:
                continue
            try:
                done = self._complete_one(missing[0], keys, measure, seconds=MOST_SECONDS)
            except HeldError:
                done = self.read()
                if len(done) == before:
                    raise
        return done

    def _complete_one(
        self, key: str, keys: Sequence[str], measure: Callable[[str, int], Values], *, seconds: float
    ) -> dict[str, Values]:
        """Measure a cell unless it is there, alone; the store's cells afterwards."""
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
                done = self.read()
                if key not in done:
                    done[key] = measure(key, sum(each in done for each in keys))
                    self.append(key, done[key])
            finally:
                # Whoever waits for this file looks into the store once it has it, and finds the cell there.
                with suppress(OSError):
                    lock.unlink()
        return done


def _checksum(key: str, values: Values) -> int:
    return zlib.crc32(json.dumps([key, values]).encode())
