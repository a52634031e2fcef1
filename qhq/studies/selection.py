"""Which backends an evaluation runs on: names, templates and globs of ``backends.yaml``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from qhq.backends.ibm.spec import IBMSpec
from qhq.backends.spec import BackendSpec, find_backend, load_backends
from qhq.errors import ConfigError

Devices = Callable[[IBMSpec], Sequence[str]]
"""Names of the devices of the account that a template stands for."""


def select_backends(wanted: Sequence[str], devices: Devices) -> list[BackendSpec]:
    """Entries that names and globs stand for, each once, in the order asked for.

    A name is looked up as it stands, and may be a device that a template (``ibm_*``) stands for. A glob
    stands for every entry it matches; a template among them for all devices of the account that the glob
    matches.

    Raises:
        ConfigError: If one stands for none.
        BackendError: If the account has to be asked and cannot be.
    """
    chosen: dict[str, BackendSpec] = {}
    for word in wanted:
        names = _expand(word, devices) if set(word) & set("*?[") else [word]
        for name in names:
            chosen.setdefault(name, find_backend(name))
    return list(chosen.values())


def with_shots(entries: Sequence[BackendSpec], shots: int | None) -> list[BackendSpec]:
    """Give every entry that samples, or has noise to sample, another number of shots; None leaves them.

    Raises:
        ConfigError: If there is none among them.
    """
    if shots is None:
        return list(entries)
    if not any(map(_can_sample, entries)):
        names = ", ".join(entry.name for entry in entries)
        raise ConfigError(
            "--shots needs a sampling backend",
            got=f"--shots {shots} with {names}, exact",
            fix="Add --backend aer_shots, or leave --shots out",
        )
    return [entry.model_copy(update={"shots": shots}) if _can_sample(entry) else entry for entry in entries]


def _can_sample(entry: BackendSpec) -> bool:
    return entry.shots is not None or getattr(entry, "noise", None) is not None


def _expand(glob: str, devices: Devices) -> list[str]:
    names: list[str] = []
    for name, entry in load_backends().items():
        if isinstance(entry, IBMSpec) and entry.is_template:
            # The part before the first wildcard tells whether glob and template can meet.
            if _may_meet(glob, name):
                names += [device for device in devices(entry) if fnmatchcase(device, glob)]
        elif fnmatchcase(name, glob):
            names.append(name)
    if not names:
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
