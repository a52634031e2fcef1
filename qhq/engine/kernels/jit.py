"""How the kernels are compiled: once a machine, cached on disk, releasing the interpreter lock.

The cache only saves time, so nothing about it may stop a command. What cannot be read, such as the empty
files that a power cut leaves, is dropped and compiled anew; what cannot be written, on a full disk, stays in
memory. Numba keeps pickles there, and a pickle is a program: only a folder of the user's own is read.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba import extending
from numba.core import caching, config, event

from qhq.paths import cache_dir

Function = TypeVar("Function", bound=Callable[..., Any])


def _fingerprint() -> str:
    """Digest of all kernel sources: Numba watches the file of a function, not those of its callees."""
    # Compiled objects of another Numba cannot be loaded, or worse, can.
    digest = hashlib.sha256(numba.__version__.encode())
    kernels = Path(__file__).parent
    for source in (
        kernels.parent / "program.py",
        kernels.parent / "density" / "kernels.py",
        *sorted(kernels.glob("*.py")),
    ):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


_FINGERPRINT = _fingerprint()
# In the folder's name, so that two versions of qhq on one machine, or a branch and its parent, do not
# overwrite each other's kernels and compile in turns.
_CACHE = str(cache_dir() / "kernels" / _FINGERPRINT)


_njit: Any = numba.njit  # its stubs know only some of its options
_config: Any = config
_caching: Any = caching
# Threads run side by side only without the interpreter lock; Python's error model would need it to raise. No
# index is checked here, since ``compile.tape`` has checked all of them once, when the program was made.
# Not ``fastmath``, which would let LLVM assume that there is no NaN; ``lanes`` asks for contraction alone.
_OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False, "no_cfunc_wrapper": True}


CONTRACTED: Any = {"fastmath": {"contract"}}
"""For `inner` and `entry`: products and sums of plain numbers may become fused multiply-adds."""


def inner(function: Function, **more: Any) -> Function:
    """Compile as a part of the entry points that call it."""
    # Unboxing a program costs more than most kernels, so only the entry point can be called from Python; and
    # without a cache of its own, a kernel is compiled again with whatever calls it, never stale.
    options = {**_OPTIONS, "no_cpython_wrapper": True, **more}
    return cast(Function, _njit(**options)(function))


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Teach Numba a function that gives its types, and what builds its machine code."""
    made: Callable[..., Any] = extending.intrinsic(function)
    return made


def entry(function: Function, **more: Any) -> Function:
    """Compile for calls from Python, cached in the user's cache folder (the package's may be read-only)."""
    made = _njit(**_OPTIONS, **more)(function)
    # Numba reads its folder when a cache is made, and the user's other code may have asked for another one.
    before, _config.CACHE_DIR = _config.CACHE_DIR, _CACHE
    try:
        _check_owner(Path(_CACHE))
        made._cache = _KernelCache(function)
    except OSError as error:
        _say_once(
            f"the folder {_CACHE} cannot keep compiled kernels ({error}); they are compiled in each process"
        )
    except RuntimeError:  # Numba finds no place for a cache: compile in each process
        pass
    finally:
        _config.CACHE_DIR = before
    return cast(Function, made)


class _CheckedFiles(_caching.IndexDataCacheFile):  # type: ignore[misc]
    """Numba's files of one kernel, each compiled object behind a digest of its bytes."""

    def _save_data(self, name: str, data: Any) -> None:
        content = self._dump(data)
        # A file that a full disk cut off would be loaded as machine code.
        super()._save_data(name, (hashlib.sha256(content).digest(), content))

    def _load_data(self, name: str) -> Any:
        digest, content = super()._load_data(name)
        # A flipped bit in machine code is no error that Python could catch: it is a wrong number or a crash.
        if hashlib.sha256(content).digest() != digest:
            raise ValueError(f"{name} has changed since it was written")
        # The digest finds damage, not malice; against that the folder is its owner's (``_check_owner``).
        return pickle.loads(content)

    def drop(self) -> None:
        """Remove the index and what it points to."""
        folder = Path(self._cache_path)
        stem = self._index_name.removesuffix("nbi")
        for path in [folder / self._index_name, *folder.glob(f"{stem}*.nbc")]:
            with suppress(OSError):
                path.unlink(missing_ok=True)


class _KernelCache(_caching.FunctionCache):  # type: ignore[misc]
    """Numba's cache of one kernel, which costs time where it fails and nothing else."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        plain = vars(self)["_cache_file"]
        # Numba goes by where the source lies and when it was written, so that each environment and each clone
        # would compile for half a minute what another has compiled. The fingerprint says what it is.
        name = f"{function.__module__}.{plain._index_name.removesuffix('.nbi')}"
        self._cache_file = _CheckedFiles(_CACHE, name, _FINGERPRINT)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled kernel, or None where it has to be compiled."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # pickle and LLVM raise whatever they stumble over
            _say_once(f"dropped damaged files from the kernel cache ({_short(error)}); compiling anew")
            self._cache_file.drop()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled kernel on disk where that is possible."""
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _say_once(f"the kernel cache cannot be written ({_short(error)}); the kernels stay in memory")
            # An index written before the disk was full would point to nothing.
            self._cache_file.drop()


def _check_owner(folder: Path) -> None:
    """Make the cache folder, for its owner alone.

    Raises:
        OSError: If it cannot be made, is another user's, or others may have written to it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Looked at after it is made, not before: a folder that was there keeps its mode, whatever ``mkdir`` got.
    found = folder.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError("not a folder")
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        raise PermissionError(f"it belongs to user {found.st_uid}")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"others may write to it (mode {stat.S_IMODE(found.st_mode):o}, not 700)")


_said: set[str] = set()


def _say_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        with suppress(OSError, ValueError):  # standard error may be closed
            sys.stderr.write(f"qhq: {text}\n")


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:80]}"


class _Announce(event.Listener):  # type: ignore[misc, unused-ignore]  # Numba may be untyped
    """Says why the first call of an installation takes seconds."""

    def __init__(self, engine: str) -> None:
        self._engine = engine

    def on_start(self, event: Any) -> None:  # noqa: ARG002
        # Each precision is compiled when it is first used, and a training uses one or two.
        _say_once(
            f"compiling the {self._engine} engine, once for this machine and precision (about 20 s) ..."
        )

    def on_end(self, event: Any) -> None:
        """Nothing to say."""


@contextmanager
def announced(engine: str = "exact") -> Iterator[None]:
    """Within this context, tell standard error when a kernel of an engine has to be compiled."""
    with event.install_listener("numba:compile", _Announce(engine)):
        yield
