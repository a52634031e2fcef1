"""A module of one's own: the Python file that builds it, or one that lives in memory, and when it may run.

A file is a program, and can do whatever its user can. It runs when a command or config of the user's own
names it. A run carries a copy, ``model.py``, which is run only where its digest is known: that of a file
which this user has named before. A run that somebody else made is refused until its file has been read and
named. A module in memory (`qhq.wrap`) is no file: runs that were made of it open where it is wrapped again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import stat
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from qhq.errors import ConfigError, QHQError
from qhq.files import MEBIBYTE, append_line, own_file, read_regular
from qhq.models.spec import COPY, MODULE_IN_MEMORY, AnyModelSpec
from qhq.paths import as_argument, cache_dir

if TYPE_CHECKING:
    from torch import nn

# Of a file that builds a module.
_MOST_BYTES = MEBIBYTE

WRAPPED: dict[str, nn.Module] = {}
"""Name of a module in memory (``memory:`` and its digest) -> the module as it was wrapped."""

# Digests of the files that commands of this process have named; kept on disk as well, see `_ledger`.
_NAMED: set[str] = set()


@dataclass(frozen=True, eq=False)
class ModuleSource:
    """What builds a module.

    Attributes:
        name: What errors call it: the path of the file, or the name of what is in memory.
        digest: SHA-256 of the file, or the name of what is in memory: weights belong to it.
        content: The file; empty of what is in memory.
        module: The module in memory; None of a file.
    """

    name: str
    digest: str
    content: bytes = b""
    module: nn.Module | None = None


def read_source(spec: AnyModelSpec) -> ModuleSource | None:
    """Read what builds the module of a config; None where it names none. Nothing of it is run.

    Raises:
        ConfigError: If it is not there, or a run alone names it and it is not known here.
    """
    if spec.file is None:
        return None
    if spec.file.startswith(MODULE_IN_MEMORY):
        return _wrapped(spec.file)
    if spec.carrier is not None:
        path = own_file(spec.carrier.folder, COPY)
        source = _read(path)
        if source.digest not in _NAMED | _ledger():
            raise ConfigError(
                "The module of a run must be one that you have run yourself: it is a program, and can do"
                " whatever you can",
                got=f"{path}, which no command or config of yours has named (SHA-256 {source.digest[:12]})",
                fix="Read it; if you trust it, name it once:"
                f" qhq doctor {as_argument(spec.carrier.folder)} --set {shlex.quote(f'model.file={path}')}",
            )
        return source
    source = _read(Path(spec.file))
    trust_digest(source.digest, keep=True)
    return source


def trust_digest(digest: str, *, keep: bool = False) -> None:
    """Know a file from now on, by its digest; ``keep`` it for later processes of this user as well."""
    if keep and digest not in _NAMED | _ledger():
        # A cache that cannot be written costs a hint later, and no training now.
        with contextlib.suppress(OSError):
            path = _ledger_path()
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            append_line(path, digest)
            # Whoever may write here may say which programs this user is taken to have run.
            path.chmod(0o600)
    _NAMED.add(digest)


def trust_sent(files: Mapping[str, bytes]) -> None:
    """Know the module among files that a driver sent to this worker: it has opened it, and asks to run it."""
    if COPY in files:
        trust_digest(hashlib.sha256(files[COPY]).hexdigest())


def _ledger_path() -> Path:
    return cache_dir() / "modules" / "named"


def _ledger() -> set[str]:
    """Digests that this user named to earlier processes; none where others could have written them."""
    try:
        found = _ledger_path().stat()
        foreign = hasattr(os, "geteuid") and found.st_uid != os.geteuid()
        if foreign or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return set()
        return set(read_regular(_ledger_path()).decode("ascii", "replace").split())
    except (OSError, ConfigError):
        return set()


def _wrapped(name: str) -> ModuleSource:
    if name not in WRAPPED:
        raise ConfigError(
            "A run of a module in memory must be opened where the module is",
            got=f"{name}, which this process has not wrapped",
            fix="Build the module again as it was and call qhq.wrap(module) first, or write it down as a file"
            " (docs/models.md)",
        )
    return ModuleSource(name, name, module=WRAPPED[name])


def _read(path: Path) -> ModuleSource:
    if path.suffix != ".py" or not path.is_file():
        missing = (
            "a folder" if path.is_dir() else "which does not exist" if path.suffix == ".py" else "no Python"
        )
        raise ConfigError(
            "model.file must be a Python file", got=f"{path}, {missing}", fix="Correct the path"
        )
    try:
        content = read_regular(path, most=_MOST_BYTES, what="module's file")
    except OSError as error:
        raise ConfigError(
            "model.file must be readable", got=f"{path}: {error.strerror}", fix="Check its permissions"
        ) from error
    return ModuleSource(str(path), hashlib.sha256(content).hexdigest(), content)


def load_build(source: ModuleSource) -> Callable[..., Any]:
    """Run a file and give its ``build``.

    Raises:
        ConfigError: If it cannot be run, or has none.
    """
    # From the bytes whose digest was taken, not from the path: the file may be another one by now. A private
    # name, neither in ``sys.modules`` nor on ``sys.path``, so that it shadows no package.
    module = ModuleType(f"_qhq_module_{source.digest[:8]}")
    module.__file__ = source.name

    def run() -> None:
        exec(compile(source.content, source.name, "exec"), module.__dict__)

    guarded(run, source, "run without an error")
    build = getattr(module, "build", None)
    if not callable(build):
        others = [name for name in vars(module) if callable(vars(module)[name]) and not name.startswith("_")]
        raise wrong(
            source,
            "define build(shape, circuit)",
            "no such function" + (f", but {', '.join(sorted(others)[:5])}" if others else ""),
            "Define build(shape, circuit), which returns a torch module with the circuit in it",
        )
    return build  # type: ignore[no-any-return]


def guarded(act: Callable[[], Any], source: ModuleSource, must: str) -> Any:
    """Let a user's code act: whatever it raises is an error of its own, and what it prints is no output.

    Raises:
        ConfigError: If it raises anything, with the line of the user's file.
    """
    try:
        # What it prints must not mix with a command's JSON on standard output.
        with contextlib.redirect_stdout(sys.stderr):
            return act()
    except (Exception, SystemExit) as error:
        if isinstance(error, ConfigError):  # of qhq's own, such as a layer that it was given a wrong number
            raise
        raise _failed(source, must, error) from error


def at_work(act: Callable[[], Any], source: ModuleSource) -> Any:
    """Let a module forecast: as `guarded`, but an error of a backend that it asks stays what it is.

    Raises:
        ConfigError: If the module itself raises anything.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return act()
    except QHQError:
        raise
    except (Exception, SystemExit) as error:
        raise _failed(source, "run on any number of windows, in training too", error) from error


def _failed(source: ModuleSource, must: str, error: BaseException) -> ConfigError:
    """What a user's code raised, with its line."""
    first = (str(error).strip().splitlines() or ["without a message"])[0][:300].rstrip(".")
    line = _line(source, error)
    fix = "Mend that line" if line else f"Mend {source.name}"
    if "more than 1 value per channel" in first:  # torch's words of a batch norm
        fix = "Take torch.nn.LayerNorm, which needs no second window"
    return wrong(source, must, f"{type(error).__name__}: {first}{line}", fix)


def _line(source: ModuleSource, error: BaseException) -> str:
    """`` at path:line`` of the last frame that lies in the user's file; empty where none does."""
    if isinstance(error, SyntaxError) and error.lineno is not None and error.filename == source.name:
        return f" at {source.name}:{error.lineno}"
    # Where torch raised deep inside says less than the line that called it.
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == source.name and frame.lineno is not None
    ]
    return f" at {source.name}:{lines[-1]}" if lines else ""


def wrong(source: ModuleSource, must: str, got: str, fix: str) -> ConfigError:
    """Error that a module of one's own is not what it must be."""
    return ConfigError(f"The module of {source.name} must {must}", got=got, fix=fix)
