"""How often Yahoo is asked: a pause between requests, and longer ones after a refusal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import TypeVar

import numpy as np

from qhq.errors import DataError

Answer = TypeVar("Answer")


class PassingError(DataError):
    """A failure that may pass when the same is asked again: a rate limit, a server error, a cut line."""


@dataclass
class Pacing:
    """When the next request may go out.

    Attributes:
        interval_seconds: Least time between two requests; Yahoo publishes no limit, this is a browser's pace.
        attempts: How often one question is asked at most.
        backoff_seconds: Longest pause after the first failure; it doubles with each further one.
        clock: Monotonic seconds.
        sleep: Waits for so many seconds.
        rng: Of the jitter, which must differ between processes: hence no seed.
    """

    interval_seconds: float = 0.5
    attempts: int = 5
    backoff_seconds: float = 1.0
    clock: Callable[[], float] = field(default_factory=lambda: monotonic)
    sleep: Callable[[float], None] = field(default_factory=lambda: sleep)
    rng: np.random.Generator = field(default_factory=np.random.default_rng)
    _free_at: float | None = field(default=None, init=False)

    def wait(self) -> None:
        """Wait until the next request may go out."""
        now = self.clock()
        if self._free_at is not None and now < self._free_at:
            self.sleep(self._free_at - now)
            now = self._free_at
        self._free_at = now + self.interval_seconds

    def keep_trying(self, ask: Callable[[], Answer]) -> Answer:
        """Ask until there is an answer, ``attempts`` times at most, with growing pauses.

        Raises:
            DataError: Any but a PassingError at once; the last one when all attempts are spent.
        """
        for failures in range(1, self.attempts):
            try:
                return ask()
            except PassingError:
                self.sleep(self._pause(failures))
        try:
            return ask()
        except PassingError as error:
            raise DataError(error.must, got=f"{error.got}, {self.attempts} times", fix=error.fix) from error

    def _pause(self, failures: int) -> float:
        """Seconds to wait after so many failures: the upper half of a span that doubles."""
        return self.backoff_seconds * 2.0 ** (failures - 1) * float(self.rng.uniform(0.5, 1.0))
