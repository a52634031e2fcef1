"""The devices served: the package's fake devices under the names of real ones, as the service's JSON."""

from __future__ import annotations

import functools
import importlib.util
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DEVICES = {
    "ibm_manila": "manila",
    "ibm_nairobi": "nairobi",
    "ibm_fez": "fez",
    "ibm_torino": "torino",
    "ibm_kingston": "kingston",
}
"""Name served -> fake device: 5, 7, 156, 133 and 156 qubits."""


@dataclass(frozen=True)
class Device:
    """One device as the service's JSON."""

    name: str
    configuration: dict[str, Any]
    properties: dict[str, Any]

    @property
    def qubits(self) -> int:
        """Number of qubits."""
        return int(self.configuration["n_qubits"])


@functools.cache
def load_device(name: str) -> Device:
    """Read the device that is served under a name."""
    folder = _package() / "fake_provider" / "backends" / DEVICES[name]
    configuration = json.loads((folder / f"conf_{DEVICES[name]}.json").read_text())
    properties = json.loads((folder / f"props_{DEVICES[name]}.json").read_text())
    configuration = {
        "online_date": "2021-01-01T00:00:00Z",
        **configuration,
        "backend_name": name,
        "simulator": False,
    }
    # The cloud writes UTC, and the client takes every time for it.
    updated = datetime.fromisoformat(properties["last_update_date"]).astimezone(UTC).isoformat()
    properties |= {"backend_name": name, "last_update_date": updated}
    return Device(name, configuration, properties)


def _package() -> Path:
    """Folder of the client package, found without importing it: that takes seconds."""
    spec = importlib.util.find_spec("qiskit_ibm_runtime")
    return Path(spec.submodule_search_locations[0])
