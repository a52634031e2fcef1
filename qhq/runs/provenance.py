"""Where a record comes from: when it was made, by which versions, from which commit."""

from __future__ import annotations

import datetime
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from qhq import __version__

PACKAGES = ("qiskit", "qiskit-aer", "qiskit-machine-learning", "torch", "numpy", "pandas")
"""Packages whose versions decide numbers."""


def provenance() -> dict[str, Any]:
    """``created``, ``versions`` and ``git``: what a record says of itself, be it of a run or a study.

    ``git`` has the commit of the current folder's repository and whether it has changes; None outside of one.
    The folder is the user's, whose configs and circuits it is that change; qhq has its version.
    """
    commit, status = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return {
        "created": now(),
        "versions": {"python": platform.python_version(), "qhq": __version__}
        | {each: _version(each) for each in PACKAGES},
        "git": None if commit is None else {"commit": commit, "changed": bool(status)},
    }


def now() -> str:
    """Now, in UTC, as ISO 8601."""
    return datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
