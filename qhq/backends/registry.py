"""Kind of backend -> what opens it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qhq.ansatz.program import Ansatz
from qhq.backends.aer import open_aer
from qhq.backends.executor import Executor
from qhq.backends.noisy import open_noisy
from qhq.backends.spec import AerSpec, BackendSpec, FakeSpec, find_backend
from qhq.backends.statevector import StatevectorExecutor, open_statevector


def _open_aer(spec: AerSpec, ansatz: Ansatz, *, seed: int) -> Executor:
    if spec.noise is None:
        return open_aer(spec, ansatz, seed=seed)
    return open_noisy(spec, spec.noise, ansatz, seed=seed)


def _open_fake(spec: FakeSpec, ansatz: Ansatz, *, seed: int) -> Executor:
    return open_noisy(spec, spec.noise, ansatz, seed=seed)


OPENERS: dict[str, Callable[..., Executor]] = {
    "aer": _open_aer,
    "fake": _open_fake,
    "statevector": open_statevector,
}
"""Kind of an entry -> what opens it."""


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
    spec = _spec(backend)
    return OPENERS[spec.kind](spec, ansatz, seed=seed)


def open_training_backend(backend: str | BackendSpec, ansatz: Ansatz, *, seed: int) -> Executor:
    """Open what a training on a backend runs on: the exact engine where its gradient is ``adjoint``.

    Args:
        backend: As for `open_backend`.
        ansatz: The program to run.
        seed: Where whatever is drawn comes from.

    Raises:
        ConfigError: If there is no such entry.
        BackendError: If the backend cannot run the ansatz.
    """
    spec: Any = _spec(backend)
    if spec.gradient == "adjoint":
        return StatevectorExecutor(ansatz, threads=spec.threads)
    return open_backend(spec, ansatz, seed=seed)


def open_parity_reference(backend: str | BackendSpec, ansatz: Ansatz, *, seed: int) -> Executor | None:
    """Open the backend that a training on the exact engine must agree with, its gradients by its own means.

    Returns:
        None where training runs on the backend itself, or where the engine is the backend.
    """
    spec = _spec(backend)
    if spec.gradient != "adjoint" or spec.kind == "statevector":
        return None
    return open_backend(spec.model_copy(update={"gradient": "parameter_shift"}), ansatz, seed=seed)


def _spec(backend: str | BackendSpec) -> BackendSpec:
    return find_backend(backend) if isinstance(backend, str) else backend
