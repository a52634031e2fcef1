"""Parts by date: first the sessions are shared out, then each part is cut into windows of its own rows.

With S sessions (dates on which any symbol has a row) and the borders ``b1 < b2``, the parts hold the sessions

    train [0, b1)    validation [b1 + H - 1, b2)    test [b2 + H - 1, S)

so a part's first target lies at least T + H sessions after the last target of the part before, and no
window has a row of another part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from qhq.data.panel import DateArray, Panel
from qhq.data.spec import DataSpec, SplitSpec
from qhq.data.windows import Cut, Windows, cut_windows
from qhq.errors import DataError


@dataclass(frozen=True, eq=False)
class Part:
    """The rows of some consecutive sessions, and the windows cut from them."""

    kind: ClassVar[str] = "part"
    panel: Panel
    windows: Windows

    @property
    def first(self) -> np.datetime64:
        """Date of the oldest row."""
        day: np.datetime64 = self.panel.dates.min()
        return day

    @property
    def last(self) -> np.datetime64:
        """Date of the newest row."""
        day: np.datetime64 = self.panel.dates.max()
        return day


PartT = TypeVar("PartT", bound=Part)


class TrainingPart(Part):
    """What weights and scalers may be fitted on."""

    kind = "train"


class ValidationPart(Part):
    """What early stopping may look at."""

    kind = "validation"


class TestPart(Part):
    """What nothing may be fitted on or chosen by."""

    __test__ = False  # pytest would take the name for a test
    kind = "test"


@dataclass(frozen=True, eq=False)
class Parts:
    """The three parts, oldest first.

    Raises:
        DataError: If they are not in the order of their dates.
    """

    train: TrainingPart
    validation: ValidationPart
    test: TestPart

    def __post_init__(self) -> None:
        if not (self.train.last < self.validation.first and self.validation.last < self.test.first):
            raise DataError(
                "Parts must follow each other in time",
                got=f"train to {self.train.last}, validation {self.validation.first} to "
                f"{self.validation.last}, test from {self.test.first}",
                fix="Make them with split_panel",
            )


def split_panel(panel: Panel, spec: DataSpec) -> Parts:
    """Share out the sessions of a panel, purge, and cut each part into windows.

    Raises:
        DataError: If a part has no session, or too few rows of a symbol for one window.
    """
    cut = Cut.of(spec)
    _check_length(panel, cut)
    sessions = panel.sessions
    validation, test = _borders(sessions, spec.split)
    purge = spec.horizon - 1
    return Parts(
        _make_part(TrainingPart, panel, sessions[:validation], cut),
        _make_part(ValidationPart, panel, sessions[validation + purge : test], cut),
        _make_part(TestPart, panel, sessions[test + purge :], cut),
    )


def _borders(sessions: DateArray, split: SplitSpec) -> tuple[int, int]:
    """First session of the validation part and of the test part, before the purge."""
    if split.validation_from is not None and split.test_from is not None:
        dates = np.array([split.validation_from, split.test_from], dtype="datetime64[D]")
        validation, test = np.searchsorted(sessions, dates)
        return int(validation), int(test)
    count = len(sessions)
    return round(split.train * count), count - round(split.test * count)


def _make_part(kind: type[PartT], panel: Panel, sessions: DateArray, cut: Cut) -> PartT:
    if len(sessions) == 0:
        raise DataError(
            f"The {kind.kind} part must have sessions",
            got=f"0 of the {len(panel.sessions)} from {panel.dates.min()} to {panel.dates.max()}",
            fix=f"Give it more in data.split.{kind.kind}, or move data.split.validation_from and test_from",
        )
    rows = panel.between(sessions[0], sessions[-1])
    for symbol, count in zip(rows.symbols, rows.counts, strict=True):
        if count < cut.rows:
            raise DataError(
                f"The {kind.kind} part must hold window + horizon rows of every symbol",
                got=f"{cut.window} + {cut.horizon} > {count} rows of {symbol} "
                f"from {sessions[0]} to {sessions[-1]}",
                fix=f"Lengthen the part (data.split), shorten data.window or drop {symbol}",
            )
    return kind(rows, cut_windows(rows, cut))


def _check_length(panel: Panel, cut: Cut) -> None:
    for symbol, count in zip(panel.symbols, panel.counts, strict=True):
        if count < cut.rows:
            raise DataError(
                "window + horizon must not exceed the series",
                got=f"{cut.window} + {cut.horizon} > {count} rows of {symbol}",
                fix="Shorten data.window or drop the symbol",
            )
