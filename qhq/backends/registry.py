"""Kind of backend -> what opens it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qhq.ansatz.program import Ansatz
from qhq.backends.devices.calibration import Calibration
from qhq.backends.devices.device import load_calibration
from qhq.backends.executor import Executor
from qhq.backends.noise.executor import open_noisy
from qhq.backends.simulators.aer import open_aer
from qhq.backends.simulators.statevector import StatevectorExecutor, open_statevector
from qhq.backends.spec import AerSpec, BackendSpec, FakeSpec, IBMSpec, find_backend
from qhq.errors import ConfigError


def _open_aer(spec: AerSpec, ansatz: Ansatz, *, seed: int) -> Executor:
    if spec.noise is None:
        return open_aer(spec, ansatz, seed=seed)
    return open_noisy(spec, spec.noise, ansatz, seed=seed)


def _open_fake(spec: FakeSpec, ansatz: Ansatz, *, seed: int) -> Executor:
    return open_noisy(spec, spec.noise, ansatz, seed=seed)


def _open_ibm(spec: IBMSpec, ansatz: Ansatz, *, seed: int) -> Executor:
    # The client takes two seconds to import.
    from qhq.backends.ibm.executor import open_ibm

    return open_ibm(spec, ansatz, seed=seed)


OPENERS: dict[str, Callable[..., Executor]] = {
    "aer": _open_aer,
    "fake": _open_fake,
    "ibm": _open_ibm,
    "statevector": open_statevector,
}
"""Kind of an entry -> what opens it."""


def open_backend(backend: str | BackendSpec, ansatz: Ansatz, *, seed: int = 0) -> Executor:
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
        BackendError: If the backend cannot run the ansatz, or a device's entry does not allow training.
    """
    spec: Any = _spec(backend)
    if spec.gradient == "adjoint":
        return StatevectorExecutor(ansatz, threads=spec.threads)
    executor: Any = open_backend(spec, ansatz, seed=seed)
    if isinstance(spec, IBMSpec) and not spec.training:
        raise executor.training_refusal(batch=1)
    return executor  # type: ignore[no-any-return]


def open_parity_reference(backend: str | BackendSpec, ansatz: Ansatz, *, seed: int) -> Executor | None:
    """Open the backend that a training on the exact engine must agree with, its gradients by its own means.

    Returns:
        None where training runs on the backend itself, or where the engine is the backend.
    """
    spec = _spec(backend)
    if spec.gradient != "adjoint" or spec.kind == "statevector":
        return None
    return open_backend(spec.model_copy(update={"gradient": "parameter_shift"}), ansatz, seed=seed)


def read_calibration(backend: str | BackendSpec) -> Calibration:
    """Read the calibration that an entry runs under, a device's from its service.

    Raises:
        ConfigError: If the entry has none.
        BackendError: If the service cannot be asked.
    """
    spec: Any = _spec(backend)
    if isinstance(spec, IBMSpec):
        from qhq.backends.ibm.opening import open_client, read_device

        return read_device(open_client(spec), spec).calibration
    noise = getattr(spec, "noise", None)
    if noise is None or noise.parameters is not None:
        raise ConfigError(
            "A calibration belongs to a device, fake or real, or to a snapshot of one",
            got=f"'{spec.name}', which has none",
            fix="Name a fake device or one of your account, such as fake_fez or ibm_fez",
        )
    return load_calibration(noise)


def _spec(backend: str | BackendSpec) -> BackendSpec:
    return find_backend(backend) if isinstance(backend, str) else backend
