"""The devices served: the package's fake devices under the names of real ones, as the service's JSON."""

from __future__ import annotations

import copy
import functools
import importlib.util
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DEVICES = {
    "ibm_armonk": "armonk",
    "ibm_manila": "manila",
    "ibm_nairobi": "nairobi",
    "ibm_rzz": "fractional",
    "ibm_fez": "fez",
    "ibm_torino": "torino",
    "ibm_kingston": "kingston",
}
"""Name served -> fake device: 1, 5, 7, 5, 156, 133 and 156 qubits."""


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


def changed_device(
    device: Device, *, updated: str, without: tuple[int, ...] = (), times: float = 1.0
) -> Device:
    """A device as it is after a calibration: gates on some qubits gone, all gate errors multiplied.

    Args:
        device: As it was.
        updated: When it was calibrated, ISO 8601.
        without: Qubits that no longer work.
        times: What gate errors are multiplied by.
    """
    configuration, properties = copy.deepcopy((device.configuration, device.properties))
    dead = {"name": "operational", "value": 0, "unit": "", "date": updated}
    for qubit in without:
        properties["qubits"][qubit].append(dead)
    for gate in properties["gates"]:
        for entry in gate["parameters"]:
            if entry["name"] == "gate_error" and 0 < entry["value"] * times < 1:
                entry["value"] *= times
    properties["last_update_date"] = updated
    return Device(device.name, configuration, properties)


def _package() -> Path:
    """Folder of the client package, found without importing it: that takes seconds."""
    spec = importlib.util.find_spec("qiskit_ibm_runtime")
    return Path(spec.submodule_search_locations[0])
