"""Parts by date: first the sessions are shared out, then each part is cut into windows of its own rows.

With S sessions (dates on which any symbol has a row), an embargo of E sessions and the borders
``a < b1 < b2 < c``, the parts hold the sessions

    train [a, b1)    validation [b1 + H - 1 + E, b2)    test [b2 + H - 1 + E, c)

so a part's first target lies at least T + H + E sessions after the last target of the part before, and no
window has a row of another part. A single split has a = 0 and c = S; in a walk-forward every fold has
borders of its own (see ``SplitSpec``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from qhq.data.panel import DateArray, Panel
from qhq.data.spec import DataSpec
from qhq.data.split_spec import SplitSpec
from qhq.data.windows import Cut, Windows, cut_windows
from qhq.errors import DataError, nearest


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


@dataclass(frozen=True)
class _Borders:
    """First session of train, validation and test, and the first after test, before the purge."""

    train: int
    validation: int
    test: int
    end: int


def split_panel(panel: Panel, spec: DataSpec) -> Parts:
    """Share out the sessions of a panel, purge, and cut each part into windows.

    Held-out symbols are in the test part alone.

    Raises:
        DataError: If a part has no session, or too few rows for one window.
    """
    cut = Cut.of(spec)
    _check_length(panel, cut)
    if spec.task == "price":
        _check_contracts(panel)
    sessions = panel.sessions
    borders = _borders(sessions, spec.split)
    gap = spec.horizon - 1 + spec.split.embargo
    known = _without(panel, spec.split.held_out)
    return Parts(
        _make_part(TrainingPart, known, sessions[borders.train : borders.validation], cut),
        _make_part(ValidationPart, known, sessions[borders.validation + gap : borders.test], cut),
        _make_part(TestPart, panel, sessions[borders.test + gap : borders.end], cut),
    )


def walk_forward(panel: Panel, spec: DataSpec) -> Iterator[Parts]:
    """Split a panel into the parts of one fold after another, oldest first."""
    for fold in range(spec.split.folds):
        split = spec.split.model_copy(update={"fold": fold})
        yield split_panel(panel, spec.model_copy(update={"split": split}))


def _borders(sessions: DateArray, split: SplitSpec) -> _Borders:
    count = len(sessions)
    if split.validation_from is not None and split.test_from is not None:
        dates = np.array([split.validation_from, split.test_from], dtype="datetime64[D]")
        validation, test = np.searchsorted(sessions, dates)
        return _Borders(0, int(validation), int(test), count)
    if split.scheme == "single":
        return _Borders(0, round(split.train * count), count - round(split.test * count), count)
    block = split.test * count / split.folds
    first = count - round(split.test * count)
    test, end = first + round(split.fold * block), first + round((split.fold + 1) * block)
    validation = test - round(split.validation * count)
    train = max(0, validation - round(split.train * count)) if split.scheme == "rolling" else 0
    return _Borders(train, validation, test, end)


def _without(panel: Panel, held_out: tuple[str, ...]) -> Panel:
    for name in held_out:
        if name not in panel.group_names:
            raise DataError(
                "data.split.held_out must name symbols of the data",
                got=f"'{name}'",
                fix=nearest(name, set(panel.group_names)),
            )
    return panel.without_groups(held_out) if held_out else panel


def _make_part(kind: type[PartT], panel: Panel, sessions: DateArray, cut: Cut) -> PartT:
    if len(sessions) == 0:
        raise DataError(
            f"The {kind.kind} part must have sessions",
            got=f"0 of the {len(panel.sessions)} from {panel.dates.min()} to {panel.dates.max()}",
            fix=f"Give it more in data.split.{kind.kind}, or move data.split.validation_from and test_from",
        )
    rows = panel.between(sessions[0], sessions[-1])
    if not panel.groups:
        _check_symbols(kind.kind, rows, cut)
    part = kind(rows, cut_windows(rows, cut))
    if not len(part.windows):
        raise DataError(
            f"The {kind.kind} part must hold at least one window",
            got=f"none in {len(rows.code)} rows from {sessions[0]} to {sessions[-1]}",
            fix="Shorten data.window or data.horizon, loosen data.where, data.max_gap or data.features,"
            " or lengthen the part (data.split)",
        )
    return part


def _check_symbols(part: str, rows: Panel, cut: Cut) -> None:
    """Every stock must be in every part; an option lives where it lives."""
    for symbol, count in zip(rows.symbols, rows.counts, strict=True):
        if count < cut.rows:
            raise DataError(
                f"The {part} part must hold window + horizon rows of every symbol",
                got=f"{cut.window} + {cut.horizon} > {count} rows of {symbol} "
                f"from {rows.dates.min()} to {rows.dates.max()}",
                fix=f"Lengthen the part (data.split), shorten data.window or drop {symbol}",
            )


def _check_contracts(panel: Panel) -> None:
    """A strike that follows a fixed delta tells the day's volatility before its quotes do."""
    same = panel.code[1:] == panel.code[:-1]
    for name in ("strike", "expiry"):
        before, after = (panel.column(name)[rows] for rows in (slice(None, -1), slice(1, None)))
        moved = same & (before != after) & np.isfinite(before) & np.isfinite(after)
        if moved.any():
            row = int(np.argmax(moved)) + 1
            raise DataError(
                "For task price a contract's strike and expiry must stay",
                got=f"another {name} for {panel.symbols[panel.code[row]]} on {panel.dates[row]}",
                fix="Price contracts instead of points of a fixed delta or maturity, or take task forecast",
            )


def _check_length(panel: Panel, cut: Cut) -> None:
    if panel.groups:
        return
    for symbol, count in zip(panel.symbols, panel.counts, strict=True):
        if count < cut.rows:
            raise DataError(
                "window + horizon must not exceed the series",
                got=f"{cut.window} + {cut.horizon} > {count} rows of {symbol}",
                fix="Shorten data.window or drop the symbol",
            )
