"""Where things lie: the user's folder first, then the defaults that the project or the wheel carries."""

from __future__ import annotations

import filecmp
import multiprocessing
import os
import shlex
import sys
from pathlib import Path

from qhq.errors import visible

PACKAGE = Path(__file__).parent
# Top-level YAML as a wheel carries it (see pyproject.toml).
_SHIPPED = PACKAGE / "shipped"


def shipped_root() -> Path:
    """Folder that holds the shipped ``circuits/``, ``experiments/`` and ``backends.yaml``."""
    return _SHIPPED if _SHIPPED.is_dir() else PACKAGE.parent


def study_roots() -> tuple[Path, ...]:
    """Folders in which a study's files are looked up, the first that has one wins."""
    return (Path.cwd(), shipped_root())


def find_study_file(wanted: str | Path) -> Path | None:
    """A YAML file, or the ``config.yaml`` of a folder, in the first of the `study_roots` that has it."""
    for root in study_roots():
        found = root / wanted
        if found.is_dir():
            found = found / "config.yaml"
        if found.is_file():
            report_hidden(found, wanted)
            return found
    return None


# Files that this process has reported.
_REPORTED: set[Path] = set()


def report_hidden(found: Path, wanted: str | Path) -> bool:
    """Say once, on standard error, that a file of the current folder stands in for one that qhq ships.

    A folder that somebody else made may hold a ``circuits/reference.yaml`` of its own, and whoever trains in
    it would not know. An equal copy, as a clone of qhq has it, hides nothing.

    Args:
        found: The file in use.
        wanted: What was looked up, below the `study_roots`.

    Returns:
        Whether it hides another one.
    """
    shipped = shipped_root() / wanted
    if shipped.is_dir():
        shipped = shipped / "config.yaml"
    if not shipped.is_file() or found.samefile(shipped) or filecmp.cmp(found, shipped, shallow=False):
        return False
    # A worker process would say it again for each command.
    if found not in _REPORTED and multiprocessing.parent_process() is None:
        _REPORTED.add(found)
        sys.stderr.write(f"Using {visible(str(found))}, which stands in for the one that qhq ships.\n")
    return True


def beside(path: str | Path, file: Path) -> str:
    """A path that a config file names, absolute: taken beside that file, as every path in a file is.

    Where nothing is there but something in the current folder, that is meant: older configs were written so.
    """
    wanted = Path(path).expanduser()
    found = file.absolute().parent / wanted
    found = wanted.absolute() if not found.exists() and wanted.exists() else found
    # '..' goes by what a link points to, and a path without it is the one that people know again.
    return str(found.resolve() if ".." in found.parts else found)


def runs_dir() -> Path:
    """Folder of the run folders: ``QHQ_RUNS_DIR``, else ``runs/`` in the current folder."""
    return Path(os.environ.get("QHQ_RUNS_DIR") or "runs").absolute()


def as_argument(path: str | Path) -> str:
    """A path as a command takes it, for whoever copies that from a message: quoted where a shell needs it.

    A folder of the runs folder goes by its name alone.

    >>> as_argument("my prices.csv"), as_argument("-out"), as_argument(runs_dir() / "tiny-s1")
    ("'my prices.csv'", './-out', 'tiny-s1')
    """
    whole = Path(path).absolute()
    text = whole.name if whole.parent == runs_dir() else str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def cache_dir() -> Path:
    """Folder for what can be made again: ``QHQ_CACHE_DIR``, else the user's cache folder."""
    named = os.environ.get("QHQ_CACHE_DIR")
    if named:
        return Path(named).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qhq"
