"""Results of a study's cells, kept one line each as they come, so that a kill loses one at most."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from qhq.tracking.run_folder import writable


class CellStore:
    """A JSON Lines file of ``{"cell": key, "values": {...}}``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, dict[str, Any]]:
        """Cells by key; a line that a kill cut off is passed over."""
        if not self.path.exists():
            return {}
        cells = {}
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                content = json.loads(line)
                cells[str(content["cell"])] = dict(content["values"])
            except (ValueError, KeyError, TypeError):
                continue
        return cells

    def append(self, key: str, values: dict[str, Any]) -> None:
        """Keep one cell; on disk when this returns.

        Raises:
            ConfigError: If the file cannot be written.
        """
        line = json.dumps({"cell": key, "values": values}, allow_nan=False)
        with writable(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                # A line cut off before must not swallow this one.
                file.write(f"\n{line}\n")
                file.flush()
                os.fsync(file.fileno())
