"""What every live display on standard error has in common."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.progress import Progress

from qhq.cli.heartbeat import count_bars


class Live:
    """A bar that is shown while a ``with`` block lasts."""

    bar: Progress

    def __enter__(self) -> Self:
        self.bar.start()
        count_bars(+1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        count_bars(-1)
