"""The kinds of backends, the entries of ``backends.yaml``, and how one is opened.

No Qiskit here: listing backends costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic.json_schema import models_json_schema

from qhq.backends.backend import Backend, BackendSpec, Method, mitigation_error, registry_file
from qhq.backends.ibm import IBMBackend, IBMSpec
from qhq.backends.local import StatevectorBackend, StatevectorSpec
from qhq.backends.noisy import AerBackend, AerSpec, FakeSpec
from qhq.documents import read_mapping, validate
from qhq.errors import ConfigError, nearest
from qhq.files import Json
from qhq.plugins import all_names, find_point, load_point

if TYPE_CHECKING:
    from qhq.ansatz.program import Ansatz
    from qhq.backends.devices.calibration import Calibration
    from qhq.backends.devices.placement import Placement
    from qhq.backends.executor import CostForecast, Executor, HardwareExecutor, Report

GROUP = "qhq.backends"
"""Entry points by which another package adds kinds: the name of the kind, and its `Backend` object."""

# A table, not a decorator that registers on import: what there is can be read here, and listing it imports
# no backend.
KINDS: dict[str, Backend[Any]] = {
    "aer": AerBackend(AerSpec),
    "fake": AerBackend(FakeSpec, note="best case: one past day's calibration, no crosstalk, no drift"),
    "ibm": IBMBackend(IBMSpec, is_hardware=True),
    "statevector": StatevectorBackend(StatevectorSpec),
}
"""Kind of an entry -> what can be done with it."""


def _find_kind(kind: object) -> Backend[Any] | None:
    """The kind of a name: qhq's own, or that of another package; None if there is none.

    Other packages are looked at only for a name that is not qhq's own: all that are installed have to be
    searched, and none of them can stand in for a kind of qhq.

    Raises:
        ConfigError: If another package has a kind of the name that cannot be used.
    """
    if not isinstance(kind, str):
        return None
    if kind in KINDS:
        return KINDS[kind]
    # To load one runs code of its package: only for a kind that an entry names.
    point = find_point(GROUP, kind)
    if point is None:
        return None
    found: Backend[Any] = load_point(
        point,
        lambda found: isinstance(found, Backend),
        must=f"A kind of backend from another package must be an object of {Backend.__module__}.Backend",
        otherwise="take the entry of that kind out of backends.yaml",
    )
    return found


def kind_names() -> list[str]:
    """Names of all kinds, those of other packages after qhq's own."""
    return all_names(GROUP, KINDS)


def kind_of(spec: BackendSpec) -> Backend[Any]:
    """What can be done with an entry."""
    kind = _find_kind(spec.kind)
    assert kind is not None, f"an entry of kind {spec.kind!r} was made by something else than the registry"
    return kind


def load_backends(path: Path | None = None) -> dict[str, BackendSpec]:
    """Read all entries, by name.

    Args:
        path: The file; by default ``backends.yaml`` of the current folder, else the shipped one.

    Raises:
        ConfigError: If the file cannot be read or an entry breaks a rule.

    >>> load_backends()["aer_shots"].shots
    1024
    """
    path = path or registry_file()
    content = read_mapping(path)
    return {str(name): _read_entry(str(name), entry, path) for name, entry in content.items()}


def _read_entry(name: str, entry: Any, path: Path) -> BackendSpec:
    wanted = entry.get("kind") if isinstance(entry, Mapping) else None
    kind = _find_kind(wanted)
    if kind is None:
        raise ConfigError(
            "Each entry of backends.yaml must have a known kind",
            got=f"kind '{wanted}' in entry '{name}' of {path}",
            fix=nearest(str(wanted), kind_names()),
        )
    spec: BackendSpec = validate(kind.spec, entry, str(path))
    return spec.model_copy(update={"name": name}).beside(path)


def find_backend(name: str, path: Path | None = None) -> BackendSpec:
    """Read one entry by its name, or the template (``ibm_*``) that stands for it; an exact name wins.

    Raises:
        ConfigError: If there is none, with the nearest name, or the file cannot be read.
    """
    entries = load_backends(path)
    entry = entries.get(name)
    if entry is None:
        # In the order of the file: the first template whose pattern fits.
        template = next(
            (each for key, each in entries.items() if each.is_template and fnmatchcase(name, key)), None
        )
        entry = template and template.model_copy(update={"name": name})
    if entry is None:
        raise ConfigError(
            "A backend must be an entry of backends.yaml",
            got=f"'{name}', not in {path or registry_file()}",
            fix=nearest(name, entries),
        )
    return entry


def backend_from_record(entry: Mapping[str, Any], source: str) -> BackendSpec:
    """Read an entry back that was stored with a run, its name inside it; ``source`` names the run."""
    kind = _find_kind(entry.get("kind"))
    if kind is None:
        raise ConfigError(
            "A stored backend entry must have a known kind",
            got=f"'{entry.get('kind')}' in {source}",
            fix=nearest(str(entry.get("kind")), kind_names()),
        )
    spec: BackendSpec = validate(kind.spec, entry, source)
    # The run may be somebody else's: a file that it names would be read, and shown, on its word alone.
    # Only where it names files: a run can be opened where there is no registry at all.
    own = load_backends().get(spec.name) if spec.files else None
    unknown = [file for file in spec.files if own is None or file not in own.files]
    if unknown:
        raise ConfigError(
            "A snapshot must be named by your own backends.yaml before it is read",
            got=f"{unknown[0]}, which {source} names for '{spec.name}'",
            fix="Add that entry to backends.yaml if you trust it",
        )
    return spec


def registry_schema() -> Json:
    """JSON Schema of ``backends.yaml``, for editors: every kind with its fields, types and words.

    Raises:
        ConfigError: If a kind of another package cannot be used.
    """
    specs = [kind.spec for kind in map(_find_kind, kind_names()) if kind is not None]
    references, schema = models_json_schema([(spec, "validation") for spec in specs])
    definitions = schema["$defs"]
    for spec in specs:
        # The key of an entry is its name; it is never written inside.
        definitions[spec.__name__]["properties"].pop("name")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "backends.yaml of qhq",
        "type": "object",
        "additionalProperties": {"oneOf": list(references.values())},
        "$defs": definitions,
    }


def open_backend(
    backend: str | BackendSpec, ansatz: Ansatz, *, seed: int = 0, connection: Any = None
) -> Executor:
    """Open a backend for an ansatz.

    Args:
        backend: Name of an entry of ``backends.yaml``, or the entry.
        ansatz: The program to run.
        seed: Where whatever is drawn comes from; the same seed and calls give the same values.
        connection: What `Backend.connector` gave, where a device was reached before.

    Raises:
        ConfigError: If there is no such entry.
        BackendError: If the backend cannot run the ansatz.
    """
    spec = _spec(backend)
    return kind_of(spec).open(spec, ansatz, seed=seed, connection=connection)


def check_mitigation(backend: str | BackendSpec, method: Method) -> None:
    """Refuse a method of error mitigation that a backend would silently ignore.

    Raises:
        ConfigError: If it would, and why.
    """
    spec = _spec(backend)
    reason = kind_of(spec).why_not(spec, method)
    if reason is not None:
        raise mitigation_error(spec, method, reason)


def open_mitigated(
    backend: str | BackendSpec, ansatz: Ansatz, method: Method, *, seed: int = 0, connection: Any = None
) -> Executor:
    """Open a backend for an ansatz with one method of error mitigation, and none of the entry's own.

    Args:
        backend: As for `open_backend`.
        ansatz: The program to run.
        method: What is done against noise.
        seed: Where whatever is drawn comes from.
        connection: What `Backend.connector` gave, where a device was reached before.

    Raises:
        ConfigError: If there is no such entry, or it would ignore the method.
        BackendError: If the backend cannot run the ansatz.
    """
    spec = _spec(backend)
    check_mitigation(spec, method)
    return kind_of(spec).open_mitigated(spec, ansatz, method, seed=seed, connection=connection)


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
    spec = _spec(backend)
    return kind_of(spec).train_on(spec, ansatz, seed=seed)


def open_parity_reference(backend: str | BackendSpec, ansatz: Ansatz, *, seed: int) -> Executor | None:
    """Open the backend that a training on the exact engine must agree with, its gradients by its own means.

    Returns:
        None where training runs on the backend itself, or where the engine is the backend.
    """
    spec = _spec(backend)
    return kind_of(spec).parity_reference(spec, ansatz, seed=seed)


def read_calibration(backend: str | BackendSpec) -> Calibration:
    """Read the calibration that an entry runs under, a device's from its service.

    Raises:
        ConfigError: If the entry has none.
        BackendError: If the service cannot be asked.
    """
    spec = _spec(backend)
    return kind_of(spec).calibration(spec)


def as_run(ansatz: Ansatz, backend: str) -> tuple[Ansatz, tuple[int, ...]]:
    """Write an ansatz in the gates of a device, on the physical qubits in use; nothing is run.

    Args:
        ansatz: What to write.
        backend: An entry with a device: fake, of an account, a snapshot, or noise parameters.

    Returns:
        The ansatz, whose qubit k is the k-th physical qubit in use, and the physical qubit that each
        logical one is read from.

    Raises:
        ConfigError: If the entry has no device.
        BackendError: If the ansatz does not fit the device.
    """
    spec = find_backend(backend)
    isa = kind_of(spec).lay_out(spec, ansatz)
    return isa.as_ansatz(ansatz), isa.layout


def errors_as_run(ansatz: Ansatz, backend: str) -> tuple[float | None, ...]:
    """Error of each gate of the circuit that `as_run` gives, as the device's calibration has it.

    Raises:
        ConfigError, BackendError: As `as_run`.
    """
    spec = find_backend(backend)
    return kind_of(spec).lay_out(spec, ansatz).errors


def place_on(ansatz: Ansatz, backend: str) -> Placement:
    """Where an ansatz would lie on a device: qubits and gates used, their errors, and when each is at work.

    Raises:
        ConfigError, BackendError: As `as_run`.
    """
    from qhq.backends.devices.placement import place

    spec = find_backend(backend)
    isa = kind_of(spec).lay_out(spec, ansatz)
    try:
        # A map has its broken pairs, too: without them the rows of a device would fall apart.
        coupling = kind_of(spec).calibration(spec).configuration.get("coupling_map")
    except ConfigError:
        coupling = None  # known by parameters alone
    return place(isa, spec.name, coupling)


@dataclass(frozen=True)
class EntryCheck:
    """What opening an entry showed.

    Attributes:
        report: The executor's.
        values_at_zero: Expectation values (O,) where all inputs and weights are zero; None on a device.
        forecast: On a device, what one sample would cost; None elsewhere.
    """

    report: Report
    values_at_zero: tuple[float, ...] | None = None
    forecast: CostForecast | None = None

    def facts(self) -> dict[str, object]:
        """All of it on one level, as a table and JSON have it."""
        known = asdict(self.report)
        if self.forecast is not None:
            return {**known, **asdict(self.forecast)}
        return {**known, "values_at_zero": list(self.values_at_zero or ())}


def check_entry(name: str, ansatz: str) -> EntryCheck:
    """Open an entry for an ansatz, and run it once; on a device only forecast what that would cost.

    Raises:
        ConfigError: If there is no such entry or ansatz.
        BackendError: If it cannot be opened, fails the correctness gate, or gives what is no value.
    """
    from qhq.ansatz.assemble import build
    from qhq.ansatz.spec import load_ansatz

    spec, program = find_backend(name), build(load_ansatz(ansatz))
    executor = open_backend(spec, program, seed=0)
    if kind_of(spec).is_hardware:
        return EntryCheck(executor.report(), forecast=cast("HardwareExecutor", executor).forecast(1))
    values = executor.expectations([[0.0] * program.num_inputs], [0.0] * program.num_weights)
    return EntryCheck(executor.report(), tuple(values[0].tolist()))


def _spec(backend: str | BackendSpec) -> BackendSpec:
    return find_backend(backend) if isinstance(backend, str) else backend
