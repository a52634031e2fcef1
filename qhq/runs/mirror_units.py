"""What can be mirrored below the runs folder, and what is remembered of it in ``mlflow.json``.

::

    runs/NAME/run.json                        train
    runs/NAME/studies/noise-DIGEST.json       noise
    runs/studies/NAME/study.json              ablation
    runs/sweeps/NAME/sweep.json               sweep
    runs/sweeps/NAME/trials/DIGEST/run.json   trial
"""

from __future__ import annotations

import hashlib
import json
import platform
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qhq.errors import ConfigError
from qhq.files import own_file, read_json
from qhq.runs.run_folder import RunFolder

MEMORY = "mlflow.json"
PATTERNS = {
    "*/run.json": "train",
    "*/studies/noise-*.json": "noise",
    "studies/*/study.json": "ablation",
    "sweeps/*/sweep.json": "sweep",
    "sweeps/*/trials/*/run.json": "trial",
}
FILES = ("config.yaml", "run.json", "study.json", "sweep.json", "history.csv", "predictions.csv",
         "circuit.qasm", "report.html", "*.png", "figures/*", "evals/*.json", "variants/*.yaml")  # fmt: skip
LARGEST_BYTES = 16 * 2**20
"""A larger file stays in the folder alone."""


@dataclass(frozen=True)
class Unit:
    """One run or study to be mirrored: its folder, the file that holds its record, and its kind."""

    folder: Path
    record: str
    kind: str
    given: dict[str, Any] | None = field(default=None, compare=False)
    """What a caller knows of it besides the file."""

    @property
    def name(self) -> str:
        """What the mirror calls it: its folder; for a noise study its run and file."""
        if self.kind == "noise":
            return f"{self.folder.parent.name}/{self.record.removesuffix('.json')}"
        return self.folder.name

    @property
    def identity(self) -> str:
        """A tag to find it by when ``mlflow.json`` is lost: machine, folder and file."""
        text = f"{platform.node()}:{self.folder.resolve()}:{self.record}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def read(self) -> dict[str, Any]:
        """The record.

        Raises:
            ValueError: If the file holds none.
            OSError: If it cannot be read.
        """
        path = self.folder / self.record
        if self.given is not None and not path.exists():
            return self.given
        content = read_json(own_file(self.folder, self.record))
        if not isinstance(content, dict):
            raise ValueError(f"{self.record} holds no object")
        return {**(self.given or {}), **content}

    def written(self) -> int:
        """When its record was written, in milliseconds since 1970; 0 where there is no file."""
        path = self.folder / self.record
        return path.stat().st_mtime_ns // 1_000_000 if path.exists() else 0

    def files(self) -> list[Path]:
        """The files to be mirrored, each below `LARGEST_BYTES`.

        A store may be a server, and a run folder somebody else's: only regular files inside the folder go
        there, found by their names. A link, or a path that a record names, could point at anything.
        """
        if self.kind == "noise":
            figures = self.folder.parent / "figures"
            found = [self.folder / self.record, *sorted(figures.glob("noise-*.png"))]
            drawn = f"noise-{self._backend()}.png"
            found = [path for path in found if path.name in (self.record, drawn)]
        else:
            found = [path for pattern in FILES for path in sorted(self.folder.glob(pattern))]
        return [path for path in found if self._is_own(path)]

    def _backend(self) -> object:
        try:
            return self.read().get("backend")
        except (OSError, ValueError, ConfigError):
            return None

    def _is_own(self, path: Path) -> bool:
        """Whether a path is a regular file of its own below the folder, neither a link nor behind one."""
        top = self.folder.parent if self.kind == "noise" else self.folder
        # A hidden file is one that is being written, or was when its writer was killed.
        if any(part.startswith(".") for part in path.relative_to(top).parts):
            return False
        steps = [path, *path.parents]
        if any(step.is_symlink() for step in steps[: steps.index(top)]):
            return False
        found = path.lstat() if path.exists() else None
        # A second name of one file (a hard link) may be that of a file elsewhere.
        return (
            found is not None
            and stat.S_ISREG(found.st_mode)
            and found.st_nlink == 1
            and found.st_size <= LARGEST_BYTES
        )

    def state(self) -> str:
        """A digest that changes whenever one of the files does."""
        stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self.files()]
        return hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:16]


def all_units(root: Path) -> Iterator[Unit]:
    """Every run, trial and study below the runs folder, the oldest run first."""
    for pattern, kind in PATTERNS.items():
        for path in sorted(root.glob(pattern)):
            if not any(part.startswith(".") for part in path.relative_to(root).parts):
                yield Unit(path.parent, path.name, kind)


@dataclass(frozen=True)
class Memory:
    """What a store has of a unit: the id of its run there, and the state that was mirrored."""

    run_id: str | None = None
    state: str | None = None


def recall(unit: Unit, store: str) -> Memory:
    """Read ``mlflow.json``; a lost or damaged one remembers nothing."""
    entry = _memories(unit.folder).get(unit.record, {})
    known = entry.get(store) if isinstance(entry, dict) else None
    if not isinstance(known, dict):
        return Memory()
    run_id, state = known.get("run_id"), known.get("state")
    return Memory(run_id if isinstance(run_id, str) else None, state if isinstance(state, str) else None)


def remember(unit: Unit, store: str, memory: Memory) -> None:
    """Write ``mlflow.json``, keeping what other stores have.

    Raises:
        ConfigError: If the folder cannot be written.
    """
    memories = _memories(unit.folder)
    entry = memories.get(unit.record)
    stores = entry if isinstance(entry, dict) else {}
    stores[store] = {"run_id": memory.run_id, "state": memory.state}
    RunFolder(unit.folder).write_json(MEMORY, {**memories, unit.record: stores})


def _memories(folder: Path) -> dict[str, Any]:
    try:
        content = read_json(own_file(folder, MEMORY))
    except (OSError, ValueError, ConfigError):
        return {}
    return content if isinstance(content, dict) else {}
