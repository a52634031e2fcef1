"""An entry of ``backends.yaml``. No Qiskit here: listing backends costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic.json_schema import models_json_schema

from qhq.backends.entry import BackendSpec, SpsaSpec, TranspileSpec
from qhq.backends.ibm.spec import IBMSpec
from qhq.backends.noise.spec import NoiseSpec
from qhq.documents import read_mapping, validate
from qhq.errors import ConfigError, nearest
from qhq.limits import MOST_FACTOR, MOST_THREADS
from qhq.paths import beside, study_roots, tell_of_hidden

__all__ = [
    "KINDS",
    "AerSpec",
    "BackendSpec",
    "FakeSpec",
    "IBMSpec",
    "SimulatedSpec",
    "SpsaSpec",
    "StatevectorSpec",
    "TranspileSpec",
    "backend_from_record",
    "find_backend",
    "load_backends",
]


class SimulatedSpec(BackendSpec):
    """What entries have in common that Aer simulates in this process.

    Attributes:
        method: Aer's simulation method; exact values with noise need ``density_matrix``.
        threads: Threads that Aer may use; 0 means all cores.
        noise_scale: How strong the noise is: 0 none, 1 as given.
        readout: How readout errors meet shots: ``sampled`` flips bits one by one, ``exact`` turns the
            average as they would on average. Exact values have them exactly in any case.
        transpile: How the circuit is rewritten for the device.
        spsa: How gradients are estimated with gradient ``spsa``.
    """

    method: Literal["statevector", "density_matrix", "matrix_product_state"]
    threads: int = Field(default=0, ge=0, le=MOST_THREADS)
    noise_scale: float = Field(default=1.0, ge=0, le=MOST_FACTOR)
    readout: Literal["sampled", "exact"] = "sampled"
    transpile: TranspileSpec = TranspileSpec()
    spsa: SpsaSpec = SpsaSpec()


class AerSpec(SimulatedSpec):
    """Qiskit Aer in this process; with gradient ``adjoint`` training runs on the exact engine.

    Attributes:
        noise: Where noise comes from; null or ``none`` is none.
    """

    kind: Literal["aer"]
    gradient: Literal["adjoint", "parameter_shift", "spsa"] = "parameter_shift"
    method: Literal["statevector", "density_matrix", "matrix_product_state"] = "statevector"
    noise: NoiseSpec | None = None

    @field_validator("noise", mode="before")
    @classmethod
    def _none_is_a_word(cls, noise: Any) -> Any:
        return None if noise == "none" else noise

    @model_validator(mode="after")
    def _adjoint_is_exact(self) -> AerSpec:
        if self.gradient == "adjoint" and (self.shots is not None or self.noise is not None):
            raise ValueError(
                "gradient adjoint needs exact values; drop shots and noise or use parameter_shift"
            )
        return self

    @model_validator(mode="after")
    def _noise_fits(self) -> AerSpec:
        if self.noise is None and (self.noise_scale != 1 or self.transpile != TranspileSpec()):
            raise ValueError("noise_scale and transpile need noise")
        if self.noise is not None:
            _check_method(self)
        return self


class FakeSpec(SimulatedSpec):
    """One of IBM's fake devices, cut to the qubits in use: no account, no network, and a best case.

    Attributes:
        device: Its name, such as ``fake_fez``.
    """

    kind: Literal["fake"]
    description: str = "IBM's fake device: its noise on one past day, without crosstalk or drift; a best case"
    gradient: Literal["parameter_shift", "spsa"] = "parameter_shift"
    method: Literal["statevector", "density_matrix", "matrix_product_state"] = "density_matrix"
    device: str

    @property
    def noise(self) -> NoiseSpec:
        """Where its noise comes from, as an ``aer`` entry says it."""
        return NoiseSpec(device=self.device)

    @model_validator(mode="after")
    def _noise_fits(self) -> FakeSpec:
        _check_method(self)
        return self


class StatevectorSpec(BackendSpec):
    """qhq's exact engine in this process: statevector values, adjoint gradients.

    Attributes:
        threads: Threads that the engine may use; 0 means all cores.
    """

    kind: Literal["statevector"]
    shots: None = None
    gradient: Literal["adjoint"] = "adjoint"
    threads: int = Field(default=0, ge=0, le=MOST_THREADS)


KINDS: dict[str, type[BackendSpec]] = {
    "aer": AerSpec,
    "fake": FakeSpec,
    "ibm": IBMSpec,
    "statevector": StatevectorSpec,
}
"""Kind of an entry -> what it may say."""


def _check_method(spec: SimulatedSpec) -> None:
    if spec.shots is None and spec.method != "density_matrix":
        raise ValueError("exact values with noise need method density_matrix; or give shots")


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
    """Read one entry by its name, or the template (``ibm_*``) that stands for it; an exact name wins.

    Raises:
        ConfigError: If there is none, with the nearest name, or the file cannot be read.
    """
    entries = load_backends(path)
    entry = entries.get(name) or _from_template(name, entries)
    if entry is None:
        raise ConfigError(
            "A backend must be an entry of backends.yaml",
            got=f"'{name}', not in {path or _registry_file()}",
            fix=nearest(name, entries),
        )
    return entry


def registry_schema() -> dict[str, Any]:
    """JSON Schema of ``backends.yaml``, for editors: every kind with its fields, types and words."""
    references, schema = models_json_schema([(kind, "validation") for kind in KINDS.values()])
    definitions = schema["$defs"]
    for kind in KINDS.values():
        # The key of an entry is its name; it is never written inside.
        definitions[kind.__name__]["properties"].pop("name")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "backends.yaml of qhq",
        "type": "object",
        "additionalProperties": {"oneOf": list(references.values())},
        "$defs": definitions,
    }


def backend_from_record(entry: Mapping[str, Any], source: str) -> BackendSpec:
    """Read an entry back that was stored with a run, its name inside it; ``source`` names the run."""
    if not isinstance(entry.get("kind"), str) or entry["kind"] not in KINDS:
        raise ConfigError(
            "A stored backend entry must have a known kind",
            got=f"'{entry.get('kind')}' in {source}",
            fix=nearest(str(entry.get("kind")), KINDS),
        )
    spec = validate(KINDS[entry["kind"]], entry, source)
    noise = getattr(spec, "noise", None)
    if noise is not None and noise.snapshot is not None and noise.snapshot != _known_snapshot(spec.name):
        raise ConfigError(
            "A snapshot must be named by your own backends.yaml before it is read",
            got=f"{noise.snapshot}, which {source} names for '{spec.name}'",
            fix="Add that entry to backends.yaml if you trust it",
        )
    return spec


def _known_snapshot(name: str) -> str | None:
    """The snapshot that the user's own entry of a name replays."""
    entry = load_backends().get(name)
    noise = getattr(entry, "noise", None)
    return None if noise is None else noise.snapshot


def _from_template(name: str, entries: Mapping[str, BackendSpec]) -> BackendSpec | None:
    for pattern, entry in entries.items():
        if isinstance(entry, IBMSpec) and fnmatchcase(name, pattern):
            return entry.model_copy(update={"name": name})
    return None


def _registry_file() -> Path:
    files = [root / "backends.yaml" for root in study_roots()]
    found = next((file for file in files if file.is_file()), files[-1])
    tell_of_hidden(found, "backends.yaml")
    return found


def _read_entry(name: str, entry: Any, path: Path) -> BackendSpec:
    kind = entry.get("kind") if isinstance(entry, Mapping) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(
            "Each entry of backends.yaml must have a known kind",
            got=f"kind '{kind}' in entry '{name}' of {path}",
            fix=nearest(str(kind), KINDS),
        )
    spec = validate(KINDS[kind], entry, str(path))
    noise = getattr(spec, "noise", None)
    changes: dict[str, Any] = {"name": name}
    if noise is not None and noise.snapshot is not None:
        changes["noise"] = noise.model_copy(update={"snapshot": beside(noise.snapshot, path)})
    return spec.model_copy(update=changes)
