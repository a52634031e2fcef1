"""What a study is, where its cells are kept, and the one runner that measures them.

Each finished cell is appended to the store as one line, so a kill loses only the cell in progress. A line
carries a checksum of its values: one that was cut off or edited is measured again. Lines are only added.
A cell that makes files besides (a trial of a sweep) has its own folder: a subclass of `Store` says where.
"""

from __future__ import annotations

import json
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar

from qhq.files import MOST_TABLE_BYTES, HeldError, Json, append_line, held_alone, read_regular
from qhq.runs.run_folder import writable
from qhq.runs.studies import StageRecord
from qhq.studies.runner.local import LocalWorkers, Workers

Values = Json
"""What a cell gives, as plain JSON."""


class Cell(Protocol):
    """One measurement of a study; it is sent to workers, so it must be picklable and need nothing else."""

    @property
    def key(self) -> str:
        """Its name in the store."""


AnyCell = TypeVar("AnyCell", bound=Cell)


@dataclass(frozen=True)
class Outcome:
    """What measuring a cell gave.

    Attributes:
        values: Kept in the store's line.
        files: Of a folder of the cell's own, by their relative path; empty for most studies.
    """

    values: Values
    files: dict[str, bytes] = field(default_factory=dict)


class Store(Generic[AnyCell]):
    """A JSON Lines file of ``{"cell": key, "values": {...}, "crc32": checksum}``.

    Args:
        path: The file; it and its folder need not be there.
        shared: Whether several processes measure into it at once. Else whoever opens it holds its folder.
    """

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        self.path, self.shared = path, shared
        self._parsed, self._cells = 0, dict[str, Values]()

    def read(self) -> dict[str, Values]:
        """Cells by key; a line that is damaged is passed over."""
        try:
            content = read_regular(self.path, most=MOST_TABLE_BYTES, what="store of cells")
        except FileNotFoundError:
            content = b""
        if len(content) < self._parsed:  # it is only added to, unless somebody took it away
            self._parsed, self._cells = 0, {}
        # A sweep reads its store once a round: what was parsed before is not parsed again.
        self._cells.update(_cells_of(content[self._parsed :]))
        # A last line that is not whole yet is read again next time: another process may be in the middle of
        # it.
        self._parsed = content.rfind(b"\n") + 1
        return dict(self._cells)

    def find(self, cells: Mapping[str, AnyCell]) -> dict[str, Values]:
        """Values of those of the cells that are there."""
        there = self.read()
        return {key: there[key] for key in cells if key in there}

    def hand_out(self, cell: AnyCell) -> AnyCell:
        """Called as a cell is given to a worker; returns what the worker gets."""
        return cell

    def keep(self, cell: AnyCell, outcome: Outcome) -> Values:
        """Keep what a cell gave; on disk when this returns.

        Raises:
            ConfigError: If it cannot be written.
        """
        self.append(cell.key, outcome.values)
        return outcome.values

    def append(self, key: str, values: Values) -> None:
        """Add a line.

        Raises:
            ConfigError: If the file cannot be written.
        """
        content = {"cell": key, "values": values, "crc32": _checksum(key, values)}
        # JSON has no NaN: a store that held one could be read by Python alone.
        line = json.dumps(content, allow_nan=False)
        with writable(self.path):
            append_line(self.path, line)

    @contextmanager
    def claim(self, key: str, *, seconds: float = 0.0) -> Iterator[None]:
        """Hold a cell alone, across processes, so that two never measure the same one.

        Args:
            key: Of the cell.
            seconds: How long to wait for another process that holds it.

        Raises:
            HeldError: If another process still holds it then; says which.
            ConfigError: If the store cannot be written.
        """
        # One lock a cell, named by a checksum: a key may hold slashes, and be longer than a file name may be.
        # Two keys of one checksum would do no worse than wait for each other.
        lock = self.path.with_name(f".{self.path.stem}-{zlib.crc32(key.encode()):08x}.lock")
        held = held_alone(
            lock,
            must="A cell of a study must be measured by one process at a time",
            fix="Wait for it to end, or end it; then call this again, and it goes on",
            seconds=seconds,
        )
        with ExitStack() as stack:
            with writable(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(held)
            try:
                yield
            finally:
                # Whoever waits for this file looks into the store once it has it, and finds the cell there.
                with suppress(OSError):
                    lock.unlink()


class MemoryStore(Store[AnyCell]):
    """Keeps cells in this process alone, for a study that is made anew each time."""

    def __init__(self) -> None:
        super().__init__(Path())
        self.cells = dict[str, Values]()

    def read(self) -> dict[str, Values]:
        """See `Store.read`."""
        return dict(self.cells)

    def append(self, key: str, values: Values) -> None:
        """See `Store.append`."""
        self.cells[key] = values


def _cells_of(content: bytes) -> Iterator[tuple[str, Values]]:
    """Cells of the whole lines, the last one of a key counting."""
    for text in content.splitlines():
        try:
            line = json.loads(text)
            key, values = line["cell"], line["values"]
        # A hand may have written anything here: a number for a line, or ten thousand brackets, at which json
        # runs out of stack.
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        # Over the values as they were parsed, not over the text: these are what would be computed with.
        if line.get("crc32") == _checksum(key, values):
            yield key, values


def _checksum(key: str, values: Values) -> int:
    return zlib.crc32(json.dumps([key, values]).encode())


_Record = TypeVar("_Record")

# Cells that are measured together.
# More would gain little, and a kill cost more.
_MOST_TOGETHER = 5

# How long a process waits for a cell that another one measures, while no cell at all is kept.
_MOST_SECONDS = 600.0


class StudyEvents:
    """What a study reports to its caller; each verb does nothing unless overridden."""

    def note(self, text: str) -> None:
        """Something a person should know."""

    def started(self, title: str, cells: int) -> None:
        """A study, or a stage of one, begins; it has so many cells at most."""

    def measuring(self, what: str) -> None:
        """This is being measured now, or waited for."""

    def done(self, key: str, *, fresh: bool) -> None:
        """A cell is kept: measured now, or before."""

    def pruned(self, keys: Sequence[str]) -> None:
        """Cells that were given up."""

    def best_so_far(self, label: str, value: float) -> None:
        """The best of the stage so far: its point, and its error over that of the last value."""

    def ended(self, record: StageRecord) -> None:
        """A stage is through; its record."""


class Study(ABC, Generic[AnyCell, _Record]):
    """Many measurements for one question: which cells, how one is measured, and what they mean.

    Attributes:
        store: Where the cells are kept.
        title: What `Progress.started` gets; empty for a piece of a stage, which has been announced.
        counted: Whether each cell counts as done for `StudyEvents`; the first epochs of a training do not.
        measure_together: Measures cells that `group` says belong together, as `measure` does each, for less
            than their number costs; None where there is no such way.
    """

    store: Store[AnyCell]
    title: str = ""
    counted: bool = True
    measure_together: ClassVar[Callable[..., list[Outcome]] | None] = None

    @abstractmethod
    def plan(self) -> Sequence[AnyCell]:
        """Every cell that the study needs, those that are in the store among them."""

    @staticmethod
    @abstractmethod
    def measure(cell: AnyCell) -> Outcome:
        """Measure one cell, on a worker that shares nothing with the driver, not even a disk.

        Raises:
            QHQError: If it cannot be measured; the rest of the study is given up.
        """

    @abstractmethod
    def summarise(self, done: Mapping[str, Values]) -> _Record:
        """What the cells' values mean, all of them by key."""

    def group(self, cell: AnyCell) -> str:  # noqa: ARG002
        """What cells that are measured together have in common; empty for one that is measured alone."""
        return ""

    def say(self, key: str) -> str:
        """What a person is shown of a cell while it is measured: its key, unless overridden."""
        return key

    def follow(self, key: str, done: Mapping[str, Values]) -> None:
        """Called with each cell as it is kept, and all that are; does nothing unless overridden."""


class Runner:
    """Measures what is not in a study's store yet, and keeps it as it comes.

    A study that was cut off is run again and goes on: a kill, of the driver or of a worker, costs no more
    than the cells in hand. The values do not depend on who works, so neither does the record.

    Args:
        workers: Who measures; by default this process.
        progress: Where progress goes.
    """

    def __init__(self, workers: Workers | None = None, progress: StudyEvents | None = None) -> None:
        self.progress = progress or StudyEvents()
        # One worker is this process itself, so that a study of a few cells spawns nothing.
        self.workers = workers or LocalWorkers(1, self.progress.note)

    def run(self, study: Study[AnyCell, _Record]) -> _Record:
        """Measure every cell of a study that is not there, and sum up.

        Processes that do so at once in one shared store share the work: each cell is measured by one of them.
        The others pass it over and wait for it at the end; where its process is killed, another measures it.

        Raises:
            QHQError: If a cell cannot be measured or kept, workers keep dying, or another process holds a
                cell and keeps none.
        """
        cells = {cell.key: cell for cell in study.plan()}
        if study.title:
            self.progress.started(study.title, len(cells))
        done = self._found(study, cells, {})
        # As long as any is missing, not once: of a shared store others may hold some, and may die over them.
        while missing := {key: cell for key, cell in cells.items() if key not in done}:
            before = len(done)
            self._measure(study, cells, missing, done)
            if len(done) < len(cells):  # the others are those that another process measures
                done = self._found(study, cells, done)
            # Nothing was free and nothing came: all that is missing is in the hands of other processes.
            if len(done) == before:
                done = self._wait(study, next(key for key in missing if key not in done), cells, done)
        # In the order of the plan, not of arrival: a record must not depend on which worker was the first.
        return study.summarise({key: done[key] for key in cells})

    def _found(
        self, study: Study[AnyCell, _Record], cells: Mapping[str, AnyCell], known: dict[str, Values]
    ) -> dict[str, Values]:
        """All that is there; those that are new here are reported."""
        found = study.store.find({key: cell for key, cell in cells.items() if key not in known})
        done = dict(known)
        for key, values in found.items():
            done[key] = values
            self._tell(study, key, done, fresh=False)
        return done

    def _measure(
        self,
        study: Study[AnyCell, _Record],
        cells: Mapping[str, AnyCell],
        missing: Mapping[str, AnyCell],
        done: dict[str, Values],
    ) -> None:
        """Measure what no other process has in hand, and add it to what is done."""
        if study.measure_together is not None and not study.store.shared:
            self._measure_groups(study, cells, missing, done)
            return
        claims = dict[str, ExitStack]()
        try:
            for cell, outcome in self.workers.run(study.measure, self._free(study, missing, claims)):
                done[cell.key] = study.store.keep(cell, outcome)
                # Given back only once the cell is on disk: whoever waits for it finds it there.
                claims.pop(cell.key, ExitStack()).close()
                self._tell(study, cell.key, done, fresh=True)
        finally:
            for claim in claims.values():
                claim.close()

    def _measure_groups(
        self,
        study: Study[AnyCell, _Record],
        cells: Mapping[str, AnyCell],
        missing: Mapping[str, AnyCell],
        done: dict[str, Values],
    ) -> None:
        """The same, group by group, of a store that nobody else measures into."""

        # A group is measured as the plan has it, whatever is there of it already: how a value is rounded may
        # depend on those beside it, and must not on when a study was cut off, nor on who works.
        def pieces() -> Iterator[list[AnyCell]]:
            for group in _groups(study, cells.values()):
                if any(cell.key in missing for cell in group):
                    others = f" and {len(group) - 1} more at once" if len(group) > 1 else ""
                    self.progress.measuring(study.say(group[0].key) + others)
                    yield [study.store.hand_out(cell) if cell.key in missing else cell for cell in group]

        assert study.measure_together is not None
        for group, outcomes in self.workers.run(study.measure_together, pieces()):
            for cell, outcome in zip(group, outcomes, strict=True):
                if cell.key in missing:
                    done[cell.key] = study.store.keep(cell, outcome)
                    self._tell(study, cell.key, done, fresh=True)

    def _tell(
        self, study: Study[AnyCell, _Record], key: str, done: Mapping[str, Values], *, fresh: bool
    ) -> None:
        if study.counted:
            self.progress.done(study.say(key), fresh=fresh)
        study.follow(key, done)

    def _free(
        self, study: Study[AnyCell, _Record], missing: Mapping[str, AnyCell], claims: dict[str, ExitStack]
    ) -> Iterator[AnyCell]:
        """The cells, each claimed at the moment that a worker is ready for it."""
        for key, cell in missing.items():
            if study.store.shared:
                claim = ExitStack()
                try:
                    claim.enter_context(study.store.claim(key))
                except HeldError:
                    continue
                if key in study.store.read():  # kept by another process since it was looked for
                    claim.close()
                    continue
                claims[key] = claim
            self.progress.measuring(study.say(key))
            yield study.store.hand_out(cell)

    def _wait(
        self,
        study: Study[AnyCell, _Record],
        key: str,
        cells: Mapping[str, AnyCell],
        done: dict[str, Values],
    ) -> dict[str, Values]:
        """Wait until another process has kept a cell, or is gone."""
        try:
            with study.store.claim(key, seconds=_MOST_SECONDS):
                return done
        except HeldError:
            found = self._found(study, cells, done)
            # As long as others keep cells the wait goes on; one that holds a cell and keeps none is stuck.
            if len(found) == len(done):
                raise
            return found


def _groups(study: Study[AnyCell, _Record], cells: Iterable[AnyCell]) -> list[list[AnyCell]]:
    """Cells in groups of a few, in the order of their first ones."""
    groups: list[list[AnyCell]] = []
    last = dict[str, list[AnyCell]]()
    for cell in cells:
        name = study.group(cell)
        if name and len(last.get(name, ())) % _MOST_TOGETHER:
            last[name].append(cell)
        else:
            groups.append([cell])
            last[name] = groups[-1]
    return groups
