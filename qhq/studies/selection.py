"""Which backends an evaluation runs on: names, templates and globs of ``backends.yaml``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from qhq.backends.backend import BackendSpec, ListedDevice
from qhq.backends.registry import find_backend, load_backends
from qhq.errors import BackendError, ConfigError

Devices = Callable[[BackendSpec], Sequence[ListedDevice]]
"""The devices of the account that a template stands for."""


@dataclass(frozen=True)
class Skipped:
    """A backend that a glob matched and that is left out, and why."""

    backend: str
    reason: str


@dataclass(frozen=True)
class Selection:
    """What names and globs stand for.

    Attributes:
        entries: Each once, in the order asked for.
        globbed: Names of those that a glob alone stands for: one that cannot be used is left out, with a
            word, where one that was named would be an error.
        qubits: Widths of the devices of an account among them, where the service says them.
        skipped: Devices that a glob matched and that take no jobs now.
    """

    entries: tuple[BackendSpec, ...]
    globbed: frozenset[str]
    qubits: dict[str, int]
    skipped: tuple[Skipped, ...]


def select_backends(wanted: Sequence[str], devices: Devices) -> Selection:
    """Entries that names and globs stand for.

    A name is looked up as it stands, and may be a device that a template (``ibm_*``) stands for. A glob
    stands for every entry it matches; a template among them for all devices of the account that the glob
    matches.

    Raises:
        ConfigError: If one stands for none.
        BackendError: If the account has to be asked and cannot be, or none of its devices takes jobs.
    """
    chosen: dict[str, BackendSpec] = {}
    named = [word for word in wanted if not set(word) & set("*?[")]
    qubits, skipped = dict[str, int](), dict[str, Skipped]()
    for word in wanted:
        names = [word] if word in named else _expand(word, devices, qubits, skipped)
        for name in names:
            chosen.setdefault(name, find_backend(name))
    left_out = [each for name, each in skipped.items() if name not in chosen]
    if not chosen:
        raise nothing_left(left_out)
    return Selection(tuple(chosen.values()), frozenset(chosen.keys() - set(named)), qubits, tuple(left_out))


def nothing_left(skipped: Sequence[Skipped]) -> BackendError:
    """The error that every backend that a glob matched had to be left out."""
    return BackendError(
        "Of the backends that a glob matches one at least must be usable",
        got="; ".join(f"{each.backend}: {each.reason}" for each in skipped),
        fix="Wait, or name others with --backend; nothing was sent",
    )


def with_shots(entries: Sequence[BackendSpec], shots: int | None) -> list[BackendSpec]:
    """Give every entry that samples, or has noise to sample, another number of shots; None leaves them.

    Raises:
        ConfigError: If there is none among them.
    """
    if shots is None:
        return list(entries)
    if not any(entry.can_sample for entry in entries):
        names = ", ".join(entry.name for entry in entries)
        raise ConfigError(
            "--shots needs a sampling backend",
            got=f"--shots {shots} with {names}, exact",
            fix="Add --backend aer_shots, or leave --shots out",
        )
    return [entry.model_copy(update={"shots": shots}) if entry.can_sample else entry for entry in entries]


def _expand(glob: str, devices: Devices, qubits: dict[str, int], skipped: dict[str, Skipped]) -> list[str]:
    """Names that a glob stands for; adds widths of devices, and those that take no jobs, to the others."""
    names: list[str] = []
    for name, entry in load_backends().items():
        if entry.is_template:
            # The part before the first wildcard tells whether glob and template can meet.
            for device in devices(entry) if _may_meet(glob, name) else ():
                if not fnmatchcase(device.name, glob):
                    continue
                if device.qubits is not None:
                    qubits[device.name] = device.qubits
                if device.state is None:
                    why = f": {device.fault}" if device.fault else ""
                    skipped[device.name] = Skipped(device.name, f"it does not say its state{why}")
                elif not device.state.online:
                    skipped[device.name] = Skipped(device.name, device.state.message or "offline")
                else:
                    names.append(device.name)
        elif fnmatchcase(name, glob):
            names.append(name)
    if not names and not any(fnmatchcase(name, glob) for name in skipped):
        raise ConfigError(
            "--backend must be an entry of backends.yaml, or a glob that matches one",
            got=f"'{glob}'",
            fix="See 'qhq backends list'",
        )
    return names


def _may_meet(glob: str, template: str) -> bool:
    """Whether some name could match both; a bare ``*`` is meant for what needs no account."""
    fixed = glob.partition("*")[0]
    return fixed != "" and (fixed.startswith(template.partition("*")[0]) or template.startswith(fixed))
