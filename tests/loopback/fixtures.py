"""Fixtures for tests that need an IBM Quantum service: ``from tests.loopback.fixtures import *``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from .server import Loopback
from .service import INSTANCE, KEY, Service

__all__ = ["connect", "loopback", "no_backoff", "noiseless"]


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A service with the noise of its devices, and the environment that points at it."""
    yield from _serve(Service(), monkeypatch)


@pytest.fixture
def noiseless(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A service whose devices are perfect."""
    yield from _serve(Service(noise="none"), monkeypatch)


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client tries again as often as ever, but at once."""
    monkeypatch.setattr("urllib3.util.retry.Retry.get_backoff_time", lambda retry: 0.0)


@pytest.fixture
def connect() -> Callable:
    """Open the real client on a service."""
    from qiskit_ibm_runtime import QiskitRuntimeService

    def open_client(url: str, *, token: str = KEY, instance: str = INSTANCE) -> QiskitRuntimeService:
        return QiskitRuntimeService(
            channel="ibm_quantum_platform",
            token=token,
            instance=instance,
            url=url,
            url_resolver=lambda address, *_: f"{address}/api/v1",
        )

    return open_client


def _serve(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    loopback = Loopback(service).start()
    for name, value in loopback.environment().items():
        monkeypatch.setenv(name, value)
    yield loopback
    loopback.close()
