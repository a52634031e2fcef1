"""Which backends an evaluation runs on: names, templates and globs; and devices, reached side by side.

What takes seconds for a device (a token, a list of devices, a calibration) is done at once for all of them,
while the run that is evaluated is still being opened. No PyTorch is needed for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Generic, TypeVar

from qhq.backends.backend import BackendSpec, ListedDevice
from qhq.backends.registry import find_backend, kind_of, load_backends
from qhq.errors import BackendError, ConfigError

# The devices of the account that a template stands for.
_Devices = Callable[[BackendSpec], Sequence[ListedDevice]]


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
        skipped: _Devices that a glob matched and that take no jobs now.
    """

    entries: tuple[BackendSpec, ...]
    globbed: frozenset[str]
    qubits: dict[str, int]
    skipped: tuple[Skipped, ...]


def select_backends(wanted: Sequence[str], devices: _Devices) -> Selection:
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
            # A backend that two of the words match is measured once, in the place of the first.
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


def _expand(glob: str, devices: _Devices, qubits: dict[str, int], skipped: dict[str, Skipped]) -> list[str]:
    """Names that a glob stands for; adds widths of devices, and those that take no jobs, to the others."""
    names: list[str] = []
    for name, entry in load_backends().items():
        # A template stands for the devices of an account, which only the service can list; so it is asked
        # only for a glob that could match one.
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


_K = TypeVar("_K")
_T = TypeVar("_T")

# How late the end of a thread may be seen.
_LOOK_SECONDS = 0.1

# Devices that are reached at the same time: a service refuses whoever asks too much at once.
_REACHED_AT_ONCE = 8


class Pending(Generic[_T]):
    """Something that a thread of its own does, which is called as its maker is.

    The thread is a daemon: an interrupt ends the command at once, as ``kill -9`` would, and the journal
    knows what had been sent.
    """

    def __init__(self, act: Callable[[], _T]) -> None:
        self._found: list[_T] = []
        self._error: BaseException | None = None
        # What the command set for itself (where it talks to, the run's name in the journal) holds in the
        # thread too.
        context = copy_context()

        def run() -> None:
            try:
                self._found.append(context.run(act))
            except BaseException as error:  # raised again where the result is asked for
                self._error = error

        self._thread = threading.Thread(target=run, name="qhq-device", daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether it has come to its end."""
        return not self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Wait until it is done, so long at most."""
        self._thread.join(seconds)

    def result(self) -> _T:
        """What came of it, once it is done; an error is raised as it was."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._found[0]


def side_by_side(acts: Iterable[Callable[[], _T]]) -> list[_T]:
    """Do several things at once; their results in the same order, or the first error."""
    pending = [Pending(act) for act in acts]
    return [each.result() for each in pending]


def as_they_end(pending: Mapping[_K, Pending[_T]]) -> Iterator[tuple[_K, _T]]:
    """Results of several things, each as soon as it is there; an error is raised in its turn."""
    left = dict(pending)
    while left:
        done = [key for key, each in left.items() if each.is_done]
        for key in done:
            yield key, left.pop(key).result()
        if not done:
            # Threads have no wait for the first of several. A short look at one of them costs nothing beside
            # a queue.
            next(iter(left.values())).wait(_LOOK_SECONDS)


class Connections:
    """Backends that were asked for, and those of them that are devices of an account, being reached.

    Args:
        selection: What names and globs stand for.
        entries: Its entries, with the shots asked for.
    """

    def __init__(self, selection: Selection, entries: Sequence[BackendSpec]) -> None:
        self.selection, self.entries = selection, tuple(entries)
        devices = [(entry, kind_of(entry)) for entry in entries if kind_of(entry).is_hardware]
        connectors = {entry.name: partial(kind.connector(), entry) for entry, kind in devices}
        free = threading.BoundedSemaphore(_REACHED_AT_ONCE)

        def reach(connect: Callable[[], Any]) -> Any:
            with free:
                return connect()

        self._reached = {name: Pending(partial(reach, connect)) for name, connect in connectors.items()}

    def reached(self, name: str) -> Any:
        """The connection to a device.

        Raises:
            BackendError: If it cannot be reached or read.
        """
        return self._reached[name].result()


def reach_backends(backends: Sequence[str], shots: int | None = None) -> Connections:
    """Begin to reach what an evaluation is to run on.

    Args:
        backends: Entries of ``backends.yaml``, devices or globs.
        shots: Shots instead of those of sampling entries.

    Raises:
        ConfigError: If one stands for none.
        BackendError: If the account has to be asked and cannot be, or none of its devices takes jobs.
    """
    selection = select_backends(backends, lambda template: kind_of(template).devices(template))
    return Connections(selection, with_shots(selection.entries, shots))
