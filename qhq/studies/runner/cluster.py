"""Workers of a Dask cluster: the only file that imports distributed (extra ``cluster``)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from qhq.errors import BackendError, ConfigError
from qhq.studies.runner.local import PIECES_AHEAD, Item, Note, Result

try:
    import distributed
except ImportError as missing:
    raise ConfigError(
        "--cluster needs Dask distributed",
        got="an installation without it",
        fix="Run: pip install 'qhq[cluster]'",
    ) from missing

# How long a scheduler may take to answer at first.
_PATIENCE = "15s"
# Workers that one piece of work may take with it.
_MOST_DEATHS = 10
# Pieces of work that are handed to a cluster at least, however few workers it has yet.
_LEAST_ROOM = 16


class ClusterWorkers:
    """Whoever serves a Dask scheduler; workers may come and go.

    Args:
        address: Of the scheduler, such as ``tcp://host:8786``.
        note: Called when work is done again, or waits for workers.

    Raises:
        BackendError: If the scheduler does not answer.
    """

    def __init__(self, address: str, note: Note) -> None:
        self.address, self.note = address, note
        try:
            # Not the default client: one of the user's own in the same notebook stays what it is.
            self.client = distributed.Client(address, timeout=_PATIENCE, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise BackendError(
                "--cluster must be the address of a running Dask scheduler",
                got=f"'{address}': {str(error).splitlines()[0] if str(error) else 'no answer'}",
                fix="Start 'dask scheduler' and 'dask worker ADDRESS --nthreads 1', and give that address",
            ) from error
        if not self.client.scheduler_info()["workers"]:
            note(f"No worker at {address} yet; start 'dask worker {address} --nthreads 1'. Waiting.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()

    def run(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """See `Workers.run`."""
        coming, running = iter(items), dict[Any, tuple[Item, int]]()
        finished = distributed.as_completed(loop=self.client.loop)
        try:
            while True:
                for item in itertools.islice(coming, max(0, self._room() - len(running))):
                    self._submit(function, item, 0, running, finished)
                if not running:
                    return
                future = next(finished)
                item, deaths = running.pop(future)
                try:
                    result = self._result(future)
                # Dask itself tries again a few times first; only then is it a death of ours to count.
                except distributed.KilledWorker:
                    self._mourn(deaths + 1)
                    self._submit(function, item, deaths + 1, running, finished)
                else:
                    yield item, result
        finally:
            # A client whose scheduler is gone refuses to cancel anything; what ended the work is the error.
            with suppress(Exception):
                self.client.cancel(list(running))

    def _room(self) -> int:
        """Pieces of work that the scheduler has at a time: for whoever serves it now, and who may come."""
        # A scheduler that is gone says nothing of its workers; that it is gone shows in the work.
        workers = self.client.scheduler_info(n_workers=-1).get("workers", {})
        threads: int = sum(each["nthreads"] for each in workers.values())
        return max(_LEAST_ROOM, PIECES_AHEAD * threads)

    def _submit(
        self,
        function: Callable[[Item], Result],
        item: Item,
        deaths: int,
        running: dict[Any, tuple[Item, int]],
        finished: Any,
    ) -> None:
        # Pure work would be named by its arguments: two equal items would be one, and an old result served
        # again.
        future = self.client.submit(function, item, pure=False)
        running[future] = (item, deaths)
        finished.add(future)

    def _mourn(self, deaths: int) -> None:
        if deaths == _MOST_DEATHS:
            raise BackendError(
                "Workers must live long enough for one piece of work",
                got=f"one that was given up {deaths} times, its workers dead",
                fix="Look at the memory of the workers; then call it again, it goes on",
            )
        self.note("A piece of work was lost with its workers, and is done again.")

    def _result(self, future: Any) -> Any:
        """What the work gave; waits for it to be done again if it was lost with the worker that kept it.

        Raises:
            KilledWorker: If Dask gave it up because of the workers that died over it.
            BackendError: If the scheduler is gone.
        """
        try:
            return future.result()
        except distributed.CancelledError as error:
            raise BackendError(
                "The Dask scheduler must stay up while it has work",
                got=f"{self.address}, which is gone",
                fix="Start it again and call the same command: what is done is kept",
            ) from error
