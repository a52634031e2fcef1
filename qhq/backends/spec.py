"""An entry of ``backends.yaml``. No Qiskit here: listing backends costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from qhq.documents import Spec, read_mapping, validate
from qhq.errors import ConfigError, nearest
from qhq.paths import study_roots


class BackendSpec(Spec):
    """What the entries of every kind have in common.

    Attributes:
        kind: What stands behind it; a key of :data:`KINDS`.
        name: Key of the entry; never written inside it.
        description: One line for lists.
        shots: Measurements a value is estimated from; null means exact.
        gradient: How gradients are found.
    """

    kind: str
    name: str = ""
    description: str = ""
    shots: int | None = Field(default=None, ge=1)
    gradient: str


class AerSpec(BackendSpec):
    """Qiskit Aer in this process, without noise.

    Attributes:
        method: Aer's simulation method.
        threads: Threads that Aer may use; 0 means all cores.
    """

    kind: Literal["aer"]
    gradient: Literal["parameter_shift"] = "parameter_shift"
    method: Literal["statevector"] = "statevector"
    threads: int = Field(default=0, ge=0)


KINDS: dict[str, type[BackendSpec]] = {"aer": AerSpec}
"""Kind of an entry -> what it may say."""


def load_backends(path: Path | None = None) -> dict[str, BackendSpec]:
    """Read all entries, by name.

    Args:
        path: The file; by default ``backends.yaml`` of the current folder, else the shipped one.

    Raises:
        ConfigError: If the file cannot be read or an entry breaks a rule.
    """
    path = path or _registry_file()
    content = read_mapping(path)
    return {str(name): _read_entry(str(name), entry, path) for name, entry in content.items()}


def find_backend(name: str, path: Path | None = None) -> BackendSpec:
    """Read one entry by its name.

    Raises:
        ConfigError: If there is none, with the nearest name, or the file cannot be read.
    """
    entries = load_backends(path)
    if name not in entries:
        raise ConfigError(
            "A backend must be an entry of backends.yaml", got=f"'{name}'", fix=nearest(name, entries)
        )
    return entries[name]


def _registry_file() -> Path:
    files = [root / "backends.yaml" for root in study_roots()]
    return next((file for file in files if file.is_file()), files[-1])


def _read_entry(name: str, entry: Any, path: Path) -> BackendSpec:
    kind = entry.get("kind") if isinstance(entry, Mapping) else None
    if kind not in KINDS:
        raise ConfigError(
            "Each entry of backends.yaml must have a known kind",
            got=f"kind '{kind}' in entry '{name}' of {path}",
            fix=nearest(str(kind), KINDS),
        )
    return validate(KINDS[kind], entry, str(path)).model_copy(update={"name": name})
