"""Kind of backend -> what opens it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qhq.ansatz.program import Ansatz
from qhq.backends.aer import open_aer
from qhq.backends.executor import Executor
from qhq.backends.spec import BackendSpec, find_backend

OPENERS: dict[str, Callable[..., Executor]] = {"aer": open_aer}


def open_backend(backend: str | BackendSpec, ansatz: Ansatz, *, seed: int) -> Executor:
    """Open a backend for an ansatz.

    Args:
        backend: Name of an entry of ``backends.yaml``, or the entry.
        ansatz: The program to run.
        seed: Where whatever is drawn comes from; the same seed and calls give the same values.

    Raises:
        ConfigError: If there is no such entry.
        BackendError: If the backend cannot run the ansatz.
    """
    spec: Any = find_backend(backend) if isinstance(backend, str) else backend
    return OPENERS[spec.kind](spec, ansatz, seed=seed)
