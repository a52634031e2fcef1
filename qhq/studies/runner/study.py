"""What a study is, and the one runner that measures its cells: see `Study` and `Runner`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Generic, TypeVar

from qhq.files import HeldError
from qhq.studies.runner.local import LocalWorkers, Workers
from qhq.studies.runner.store import AnyCell, Outcome, Store, Values

Record = TypeVar("Record")

MOST_SECONDS = 600.0
"""How long a process waits for a cell that another one measures, while no cell at all is kept."""


class Progress:
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

    def ended(self, record: Values) -> None:
        """A stage is through; its record."""


class Study(ABC, Generic[AnyCell, Record]):
    """Many measurements for one question: which cells, how one is measured, and what they mean.

    Attributes:
        store: Where the cells are kept.
        title: What `Progress.started` gets; empty for a piece of a stage, which has been announced.
        counted: Whether each cell counts as done for `Progress`; the first epochs of a training do not.
    """

    store: Store[AnyCell]
    title: str = ""
    counted: bool = True

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
    def summarise(self, done: Mapping[str, Values]) -> Record:
        """What the cells' values mean, all of them by key."""

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

    def __init__(self, workers: Workers | None = None, progress: Progress | None = None) -> None:
        self.progress = progress or Progress()
        self.workers = workers or LocalWorkers(1, self.progress.note)

    def run(self, study: Study[AnyCell, Record]) -> Record:
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
        while missing := {key: cell for key, cell in cells.items() if key not in done}:
            before = len(done)
            self._measure(study, missing, done)
            if len(done) < len(cells):  # the others are those that another process measures
                done = self._found(study, cells, done)
            if len(done) == before:
                done = self._wait(study, next(key for key in missing if key not in done), cells, done)
        return study.summarise({key: done[key] for key in cells})

    def _found(
        self, study: Study[AnyCell, Record], cells: Mapping[str, AnyCell], known: dict[str, Values]
    ) -> dict[str, Values]:
        """All that is there; those that are new here are reported."""
        found = study.store.find({key: cell for key, cell in cells.items() if key not in known})
        done = dict(known)
        for key, values in found.items():
            done[key] = values
            self._tell(study, key, done, fresh=False)
        return done

    def _measure(
        self, study: Study[AnyCell, Record], missing: Mapping[str, AnyCell], done: dict[str, Values]
    ) -> None:
        """Measure what no other process has in hand, and add it to what is done."""
        claims = dict[str, ExitStack]()
        try:
            for cell, outcome in self.workers.run(study.measure, self._free(study, missing, claims)):
                done[cell.key] = study.store.keep(cell, outcome)
                claims.pop(cell.key, ExitStack()).close()
                self._tell(study, cell.key, done, fresh=True)
        finally:
            for claim in claims.values():
                claim.close()

    def _tell(
        self, study: Study[AnyCell, Record], key: str, done: Mapping[str, Values], *, fresh: bool
    ) -> None:
        if study.counted:
            self.progress.done(key, fresh=fresh)
        study.follow(key, done)

    def _free(
        self, study: Study[AnyCell, Record], missing: Mapping[str, AnyCell], claims: dict[str, ExitStack]
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
            self.progress.measuring(key)
            yield study.store.hand_out(cell)

    def _wait(
        self,
        study: Study[AnyCell, Record],
        key: str,
        cells: Mapping[str, AnyCell],
        done: dict[str, Values],
    ) -> dict[str, Values]:
        """Wait until another process has kept a cell, or is gone."""
        try:
            with study.store.claim(key, seconds=MOST_SECONDS):
                return done
        except HeldError:
            found = self._found(study, cells, done)
            if len(found) == len(done):
                raise
            return found
