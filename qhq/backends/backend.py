"""A kind of backend: the fields of its entries, and what can be done with one of them. No Qiskit here.

To add a kind, write a :class:`BackendSpec` with its fields and a :class:`Backend` that opens it, and register
it: one line in :data:`qhq.backends.registry.KINDS`, or in another package an entry point of the group
``qhq.backends``. No other code decides by the kind of an entry; it calls the object of the kind.

Slow imports (Qiskit, Aer, a vendor's client) belong inside the methods of a kind, because
``qhq backends list`` looks at every kind and opens none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar

from pydantic import Field, field_validator

from qhq.documents import Spec, read_mapping
from qhq.errors import ConfigError
from qhq.limits import MOST_COUNT, MOST_FACTOR, MOST_SEED, MOST_SHOTS
from qhq.paths import report_hidden, study_roots

if TYPE_CHECKING:
    from qhq.ansatz.program import Ansatz
    from qhq.backends.devices.calibration import Calibration
    from qhq.backends.devices.isa import IsaProgram
    from qhq.backends.executor import Executor, FloatArray


Method = Literal["none", "trex", "zne", "pec"]
"""Error mitigation that changes what a backend runs; ``none`` is the absence of all of them."""

_METHODS: dict[Method, str] = {
    "none": "no error mitigation",
    "trex": "twirled readout (TREX)",
    "zne": "zero-noise extrapolation (ZNE)",
    "pec": "probabilistic error cancellation (PEC)",
}


class BackendSpec(Spec):
    """What the entries of every kind have in common.

    The order of the fields of a kind is part of the key under which paid results are found again: add new
    ones at the end.

    Attributes:
        kind: What stands behind it; a key of :data:`qhq.backends.registry.KINDS`.
        name: Key of the entry; never written inside it.
        description: One line for lists.
        shots: Measurements a value is estimated from; null means exact.
        gradient: How gradients are found.
    """

    kind: str
    # Filled in by the registry: in the file it is the key, and a second one inside could differ from it.
    name: str = ""
    description: str = ""
    shots: int | None = Field(default=None, ge=1, le=MOST_SHOTS)
    gradient: str

    @property
    def is_template(self) -> bool:
        """Whether its name is a pattern for devices, and not the name of one."""
        return False

    @property
    def is_noisy(self) -> bool:
        """Whether it simulates noise, of the strength given by its field ``noise_scale``."""
        return False

    @property
    def can_sample(self) -> bool:
        """Whether it draws shots, or would if it were given a number of them."""
        return self.shots is not None or self.is_noisy

    @property
    def is_exact_without_shots(self) -> bool:
        """Whether it gives exact values, with its noise, where it is given no shots."""
        return True

    def at_layout(self, layout: tuple[int, ...]) -> Self | None:  # noqa: ARG002
        """The same entry with its circuit starting on these physical qubits.

        None where it has no say in that, or names other qubits itself.
        """
        return None

    @property
    def files(self) -> tuple[str, ...]:
        """Files that it reads. An entry stored with a run may only name those of the user's own entry."""
        return ()

    def beside(self, registry: Path) -> Self:  # noqa: ARG002
        """The same entry, with relative file names resolved beside the registry file."""
        return self


class SpsaSpec(Spec):
    """Gradients by simultaneous perturbation, see :class:`qhq.backends.gradients.Spsa`.

    Attributes:
        perturbations: Random directions averaged a sample; each takes two circuits.
        step: How far to go along one, radians.
    """

    perturbations: int = Field(default=4, ge=1, le=MOST_COUNT)
    step: float = Field(default=0.1, gt=0, le=MOST_FACTOR)


class TranspileSpec(Spec):
    """How a circuit is rewritten for a device.

    Attributes:
        optimization_level: Qiskit's, 0 to 3.
        seed: Of its random search, so that the same device gives the same circuit.
        layout: Physical qubit that each logical one starts on; null leaves it to the transpiler.
    """

    # The slowest level: a circuit is transpiled once and kept, and each two-qubit gate less is noise less.
    optimization_level: Literal[0, 1, 2, 3] = 3
    seed: int = Field(default=0, ge=0, le=MOST_SEED)
    layout: tuple[int, ...] | None = None

    @field_validator("layout")
    @classmethod
    def _names_each_once(cls, layout: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if layout is not None and (len(set(layout)) != len(layout) or min(layout, default=0) < 0):
            raise ValueError("a layout must name physical qubits, each once")
        return layout


@dataclass(frozen=True)
class DeviceState:
    """Whether a device runs jobs, how many wait before it, and what it says of itself."""

    online: bool
    queue: int
    message: str


@dataclass(frozen=True)
class ListedDevice:
    """A device that a template stands for.

    Attributes:
        name: Its name.
        qubits: Its width; None where the service does not say.
        state: Its state; None where the service could not say.
        fault: Why the service could not say its state, or what is wrong with what it said.
    """

    name: str
    qubits: int | None
    state: DeviceState | None
    fault: str = ""


_SpecT = TypeVar("_SpecT", bound=BackendSpec)


class Backend(ABC, Generic[_SpecT]):
    """One kind of backend. A subclass must implement `open`; the defaults of the rest say what it lacks.

    Args:
        spec: What an entry of the kind may say.
        note: A caveat for every result on it; empty if there is none.
        is_hardware: Whether running costs money or time in a queue. Costs are then forecast first, jobs are
            sent and waited for, and executors are :class:`qhq.backends.executor.HardwareExecutor`.
    """

    def __init__(self, spec: type[_SpecT], *, note: str = "", is_hardware: bool = False) -> None:
        self.spec, self.note, self.is_hardware = spec, note, is_hardware

    @abstractmethod
    # Any: what a connector gives, and `open` takes, is the affair of one kind alone.
    def open(self, spec: _SpecT, ansatz: Ansatz, *, seed: int, connection: Any = None) -> Executor:
        """Open an entry for an ansatz; nothing is run or sent yet.

        Args:
            spec: The entry.
            ansatz: The program to run.
            seed: Where whatever is drawn comes from; the same seed and calls give the same values.
            connection: What :meth:`connector` gave, where the entry was reached before.

        Raises:
            ConfigError: If the entry names a device or file that is not there.
            BackendError: If the backend cannot run the ansatz.
        """

    def why_not(self, spec: _SpecT, method: Method) -> str | None:
        """Why an entry cannot carry out a method of error mitigation; None if it can.

        A kind that does not say that it can would run as if nothing had been asked, so by default none can.
        """
        return None if method == "none" else f"kind '{spec.kind}' would ignore it"

    def open_mitigated(
        self,
        spec: _SpecT,
        ansatz: Ansatz,
        method: Method,  # noqa: ARG002
        *,
        seed: int,
        connection: Any = None,
    ) -> Executor:
        """Open an entry with one method of error mitigation, and none of its own; see `open`.

        It is called with a method that :meth:`why_not` has nothing against.
        """
        return self.open(spec, ansatz, seed=seed, connection=connection)

    def train_on(self, spec: _SpecT, ansatz: Ansatz, *, seed: int) -> Executor:
        """Open the executor that a training runs on; by default the entry itself.

        Raises:
            ConfigError: If the entry names a device or file that is not there.
            BackendError: If the backend cannot run the ansatz, or does not allow training.
        """
        return self.open(spec, ansatz, seed=seed)

    def parity_reference(self, spec: _SpecT, ansatz: Ansatz, *, seed: int) -> Executor | None:  # noqa: ARG002
        """Open the executor that the one of :meth:`train_on` must agree with before a training starts.

        Returns:
            None where training runs on the backend itself.
        """
        return None

    def connector(self) -> Callable[[_SpecT], Any]:
        """A function that connects to the device of an entry, for `open`; it gives None if none is needed.

        It is called in one thread per device and raises BackendError if a device cannot be reached. Import
        what it needs here, before it is called: threads that import at the same time disturb each other.
        """
        # A function all the same, so that nobody has to ask which kinds need a connection.
        return lambda _: None

    def devices(self, template: _SpecT) -> Sequence[ListedDevice]:  # noqa: ARG002
        """The devices that a template stands for, including those that take no jobs.

        Raises:
            BackendError: If the service cannot be asked.
        """
        return ()

    def calibration(self, spec: _SpecT) -> Calibration:
        """The calibration that an entry runs under; a device's from its service.

        Raises:
            ConfigError: If the entry has none.
            BackendError: If the service cannot be asked.
        """
        raise ConfigError(
            "A calibration belongs to a device, fake or real, or to a snapshot of one",
            got=f"'{spec.name}', which has none",
            fix="Name a fake device or one of your account, such as fake_fez or ibm_fez",
        )

    def affine_errors(self, spec: _SpecT, ansatz: Ansatz) -> tuple[FloatArray, FloatArray]:  # noqa: ARG002
        """Slopes (O,) and offsets (O,) that an entry's mean errors give exact values, from its calibration.

        Raises:
            ConfigError: If it has no noise that is known without asking a service.
            BackendError: If the ansatz does not fit its device.
        """
        raise ConfigError(
            "training.injection must name an entry whose noise is known",
            got=f"'{spec.name}', of kind {spec.kind}",
            fix="Name a fake device, a snapshot of a real one, or an entry with noise parameters",
        )

    def lay_out(self, spec: _SpecT, ansatz: Ansatz) -> IsaProgram:  # noqa: ARG002
        """Write an ansatz in the gates of an entry's device and on its qubits; nothing is run.

        Raises:
            ConfigError: If the entry has no device.
            BackendError: If the ansatz does not fit the device.
        """
        raise ConfigError(
            "--isa needs a backend with a device",
            got=f"'{spec.name}', which runs the circuit as it stands",
            fix="Name a device, such as fake_fez or ibm_fez",
        )


def mitigation_error(spec: BackendSpec, method: Method, reason: str) -> ConfigError:
    """The error that an entry cannot carry out a method of error mitigation."""
    return ConfigError(
        f"A backend must carry out {_METHODS[method]} where it is asked for",
        got=f"{method} on '{spec.name}': {reason}",
        fix="Name affine or head, which every backend can do, or leave --mitigation out",
    )


def registry_file() -> Path:
    """The ``backends.yaml`` of the current folder, else the shipped one."""
    files = [root / "backends.yaml" for root in study_roots()]
    found = next((file for file in files if file.is_file()), files[-1])
    report_hidden(found, "backends.yaml")
    return found


def entries_of(kind: str) -> list[str]:
    """Names of the entries of a kind, for a hint; none of a broken file.

    A kind cannot ask the registry, which knows the kinds, so the file is read as it stands.
    """
    try:
        content = read_mapping(registry_file())
    except ConfigError:
        return []
    # What an entry holds has not been checked here: it may be a number or a list.
    return sorted(
        str(name)
        for name, entry in content.items()
        if isinstance(entry, Mapping) and entry.get("kind") == kind
    )
