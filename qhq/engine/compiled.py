"""How the kernels are compiled: once a machine, cached on disk, releasing the interpreter lock."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import config, event

from qhq.paths import cache_dir

Function = TypeVar("Function", bound=Callable[..., Any])


def _fingerprint() -> str:
    """Digest of all kernel sources: Numba watches the file of a function, not those of its callees."""
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        if source.stem in {"compiled", "lanes", "program"} or source.stem.startswith("kernels"):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


_CACHE = str(cache_dir() / "kernels" / _fingerprint())


_njit: Any = numba.njit  # its stubs know only some of its options
_config: Any = config
_OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False, "no_cfunc_wrapper": True}


def inner(function: Function) -> Function:
    """Compile as a part of the entry points that call it."""
    options = {**_OPTIONS, "no_cpython_wrapper": True}  # unboxing a program costs more than most kernels
    return cast(Function, _njit(**options)(function))


def entry(function: Function) -> Function:
    """Compile for calls from Python, cached in the user's cache folder (the package's may be read-only)."""
    before, _config.CACHE_DIR = _config.CACHE_DIR, _CACHE
    try:
        made = _njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # no folder can be written: compile in each process
        made = _njit(**_OPTIONS)(function)
    finally:
        _config.CACHE_DIR = before
    return cast(Function, made)


class _Announce(event.Listener):  # type: ignore[misc, unused-ignore]  # Numba may be untyped
    """Says why the first call of an installation takes seconds."""

    def __init__(self) -> None:
        self._told = False

    def on_start(self, event: Any) -> None:  # noqa: ARG002
        if not self._told:
            self._told = True
            sys.stderr.write(
                "qhq: compiling the exact engine, once for this machine and precision (about 20 s) ...\n"
            )

    def on_end(self, event: Any) -> None:
        """Nothing to say."""


@contextmanager
def announced() -> Iterator[None]:
    """Within this context, tell standard error when a kernel has to be compiled."""
    with event.install_listener("numba:compile", _Announce()):
        yield
