"""Results of a study's cells, kept one line each as they come, so that a kill loses one at most.

Each line carries a checksum of its values: what a kill cut off or a hand changed is measured again.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from qhq.data.windows import Windows
from qhq.files import MOST_TABLE_BYTES, append_line, read_regular
from qhq.tracking.run_folder import writable


def judged_by_symbol(windows: Windows) -> list[str]:
    """What the name of a study's results holds besides, so that none of an earlier version is taken for one.

    Earlier versions judged by errors pooled over all symbols and targets, in which the dearest decides. Where
    there are several, what they kept is measured again; of a single one it is the same, and serves on.
    """
    several = len(windows.cut.targets) > 1 or len(np.unique(windows.group)) > 1
    return ["skill by symbol"] if several else []


class CellStore:
    """A JSON Lines file of ``{"cell": key, "values": {...}, "crc32": checksum}``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, dict[str, Any]]:
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

    def append(self, key: str, values: dict[str, Any]) -> None:
        """Keep one cell; on disk when this returns.

        Raises:
            ConfigError: If the file cannot be written.
        """
        content = {"cell": key, "values": values, "crc32": _checksum(key, values)}
        line = json.dumps(content, allow_nan=False)
        with writable(self.path):
            append_line(self.path, line)


def _checksum(key: str, values: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps([key, values]).encode())
