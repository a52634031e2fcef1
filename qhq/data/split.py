"""Splits by date: first the sessions are shared out, then each split is cut into windows.

With S sessions (dates on which any symbol has a row), an embargo of E sessions and the borders
``a < b1 < b2 < c``, there are two rules. Where windows look back (``data.split.lookback``, every
walk-forward), a split holds the windows whose *targets* lie in the sessions

    train [a, b1 - E)    validation [b1, b2 - E)    test [b2, c)

and the inputs of validation and test may lie in the split before: they are known by then, which is no leak.
A window of training or validation has all of its H targets inside, so the H - 1 windows whose targets would
cross a border are purged; one of test belongs to the block that its first target lies in, and its later
targets may lie beyond. So the test blocks of a walk-forward tile the calendar: however many folds there are,
the same dates are forecast, each once at each horizon.

Where they do not look back (a single split, by default), a split holds whole windows, inputs too:

    train [a, b1)    validation [b1 + H - 1 + E, b2)    test [b2 + H - 1 + E, c)

so a split's first target lies at least T + H + E sessions after the last target of the split before, and no
window has a row of another split. A single split has a = 0 and c = S; in a walk-forward every fold has
borders of its own (see ``SplitSpec``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

import numpy as np

from qhq.data.panel import DateArray, Panel
from qhq.data.spec import DataSpec
from qhq.data.split_spec import SplitSpec
from qhq.data.windows import Cut, Windows, cut_windows
from qhq.errors import DataError, nearest


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of some consecutive sessions, and the windows that are forecast there.

    Attributes:
        panel: The rows of the sessions.
        windows: Their own panel is the same one, or, where they look back, also holds all rows before.
    """

    kind: ClassVar[str] = "split"
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


_SplitT = TypeVar("_SplitT", bound=Split)


class TrainingSplit(Split):
    """What weights and scalers may be fitted on."""

    kind = "train"


class ValidationSplit(Split):
    """What early stopping may look at."""

    kind = "validation"


class TestSplit(Split):
    """What nothing may be fitted on or chosen by."""

    __test__ = False  # pytest would take the name for a test
    kind = "test"


@dataclass(frozen=True, eq=False)
class Splits:
    """The three splits, oldest first.

    Raises:
        DataError: If they are not in the order of their dates.
    """

    train: TrainingSplit
    validation: ValidationSplit
    test: TestSplit

    def __post_init__(self) -> None:
        # Checked on the rows themselves, whatever made the splits: this is what all statements about leaks
        # rest on.
        if not (self.train.last < self.validation.first and self.validation.last < self.test.first):
            raise DataError(
                "Splits must follow each other in time",
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


def split_panel(panel: Panel, spec: DataSpec) -> Splits:
    """Share out the sessions of a panel, purge, and cut each split into windows.

    Held-out symbols are in the test split alone.

    Raises:
        DataError: If a split has no session, or too few rows for one window.
    """
    cut = Cut.of(spec)
    # Before the borders: of a series that is shorter than one window, no border would be worth naming.
    _check_length(panel, cut)
    # A contract that changes under its name would carry the day's quotes into its strike; see
    # `_check_contracts`.
    if spec.task == "price":
        _check_contracts(panel)
    sessions = panel.sessions
    borders = _borders(sessions, spec.split)
    # Borders come from all rows, held-out symbols too: leaving one out must not move the dates of the others.
    known = _without(panel, spec.split.held_out)
    if spec.split.lookback:
        return _looking_back(panel, known, sessions, borders, spec)
    # H - 1: the targets of the last window before the border reach that far beyond its first one.
    gap = spec.horizon - 1 + spec.split.embargo
    return Splits(
        _make_split(TrainingSplit, known, sessions[borders.train : borders.validation], cut),
        _make_split(ValidationSplit, known, sessions[borders.validation + gap : borders.test], cut),
        _make_split(TestSplit, panel, sessions[borders.test + gap : borders.end], cut),
    )


def folds_of(panel: Panel, spec: DataSpec) -> list[int]:
    """Number the folds of a walk-forward, oldest first, without those in which nothing is to be forecast.

    At the end of the data a block may have no window, since the targets of a long horizon are still to come.

    Raises:
        DataError: If there are more folds than sessions to test.
    """
    split = spec.split
    if split.refit is None:
        count = split.folds
    else:
        # Rounded up: the last block may be shorter, but the newest sessions must not be left out of the
        # test.
        count = max(1, math.ceil(round(split.test * len(panel.sessions)) / split.refit))
    if not split.lookback:
        return list(range(count))
    # A block counts by the first target of its windows, as `_split_that_looks_back` gives windows to blocks.
    begins = np.unique(cut_windows(panel, Cut.of(spec)).dates[:, 0])
    places = np.searchsorted(panel.sessions, begins)
    found = []
    for fold in range(count):
        borders = _borders(panel.sessions, split.model_copy(update={"fold": fold}))
        if ((places >= borders.test) & (places < borders.end)).any():
            found.append(fold)
    return found


def _looking_back(
    panel: Panel, known: Panel, sessions: DateArray, borders: _Borders, spec: DataSpec
) -> Splits:
    cut, embargo = Cut.of(spec), spec.split.embargo
    # max: an embargo longer than the split empties it, where a negative length would take sessions from its
    # end.
    train = sessions[borders.train : max(borders.train, borders.validation - embargo)]
    validation = sessions[borders.validation : max(borders.validation, borders.test - embargo)]
    test = sessions[borders.test : borders.end]
    every = spec.split.scheme == "single"  # in a walk-forward symbols come and go
    return Splits(
        _make_split(TrainingSplit, known, train, cut),
        _split_that_looks_back(ValidationSplit, known, validation, cut, every=every),
        _split_that_looks_back(TestSplit, panel, test, cut, every=every),
    )


def _borders(sessions: DateArray, split: SplitSpec) -> _Borders:
    count = len(sessions)
    if split.validation_from is not None and split.test_from is not None:
        # Dates win over fractions: a border that is a date stays where it is when more rows come.
        dates = np.array([split.validation_from, split.test_from], dtype="datetime64[D]")
        validation, test = np.searchsorted(sessions, dates)
        return _Borders(0, int(validation), int(test), count)
    if split.scheme == "single":
        # Test is counted from the end, so that what rounding leaves over falls to validation, never to test.
        return _Borders(0, round(split.train * count), count - round(split.test * count), count)
    tested, fold = round(split.test * count), split.fold or 0
    first = count - tested
    if split.refit is None:
        block = split.test * count / split.folds
        # Rounding each border, not the length of a block, lets the blocks tile the sessions without a rest.
        test, end = (first + round(each * block) for each in (fold, fold + 1))
    else:
        test, end = first + fold * split.refit, min(first + (fold + 1) * split.refit, count)
    if test >= end:
        raise DataError(
            "Every fold of a walk-forward must have a session to test",
            got=f"none in fold {fold} of {tested} test sessions",
            fix="Take fewer data.split.folds, a larger data.split.test, or an earlier data.split.fold",
        )
    validation = test - round(split.validation * count)
    # A rolling history may begin before the data do in the first folds; then it is what there is.
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


def _make_split(kind: type[_SplitT], panel: Panel, sessions: DateArray, cut: Cut) -> _SplitT:
    _check_sessions(kind.kind, panel, sessions)
    # The rows are cut off before windows are cut: what a split does not hold, no window of it can reach.
    rows = panel.between(sessions[0], sessions[-1])
    if not panel.groups:
        # Contracts of an option live for weeks: few are in every split, and none has to be.
        _check_symbols(kind.kind, rows, cut)
    split = kind(rows, cut_windows(rows, cut))
    _check_windows(split, sessions)
    return split


def _split_that_looks_back(
    kind: type[_SplitT], panel: Panel, sessions: DateArray, cut: Cut, *, every: bool
) -> _SplitT:
    """The windows whose targets lie in some sessions, their inputs wherever they lie.

    Args:
        kind: Validation or test.
        panel: Rows of all sessions.
        sessions: Those of the split.
        cut: How windows are cut.
        every: Whether every stock must have a window here.
    """
    _check_sessions(kind.kind, panel, sessions)
    windows = cut_windows(panel, cut)
    dates = windows.dates
    # Later targets of a test window may lie beyond its block: so each date is forecast at every horizon.
    first, last = dates[:, 0], dates[:, 0 if kind is TestSplit else -1]
    chosen = windows.select((first >= sessions[0]) & (last <= sessions[-1]))
    end = max(chosen.dates.max(), sessions[-1]) if len(chosen) else sessions[-1]
    # Rows after the last target are taken away, and the windows numbered among the rows that are left: what
    # a split does not hold, nothing that is handed the split can look at.
    stays = panel.dates <= end
    history = replace(panel.keep(stays), missed=panel.missed[panel.missed <= end])
    number = np.cumsum(stays) - 1
    split = kind(
        panel.between(sessions[0], sessions[-1]), replace(chosen, panel=history, starts=number[chosen.starts])
    )
    _check_windows(split, sessions)
    if every and not panel.groups:
        for code in np.setdiff1d(np.arange(len(panel.symbols)), split.windows.code)[:1]:
            symbol = panel.symbols[code]
            raise DataError(
                f"The {kind.kind} split must hold a window of every symbol",
                got=f"none of {symbol} from {sessions[0]} to {sessions[-1]}",
                fix=f"Lengthen the split (data.split), shorten data.window or drop {symbol}",
            )
    return split


def _check_sessions(kind: str, panel: Panel, sessions: DateArray) -> None:
    if len(sessions) == 0:
        raise DataError(
            f"The {kind} split must have sessions",
            got=f"0 of the {len(panel.sessions)} from {panel.dates.min()} to {panel.dates.max()}",
            fix=f"Give it more in data.split.{kind}, or move data.split.validation_from and test_from",
        )


def _check_windows(split: Split, sessions: DateArray) -> None:
    if not len(split.windows):
        raise DataError(
            f"The {split.kind} split must hold at least one window",
            got=f"none in {len(split.panel.code)} rows from {sessions[0]} to {sessions[-1]}",
            fix="Shorten data.window or data.horizon, loosen data.where, data.max_gap or data.features,"
            " or lengthen the split (data.split)",
        )


def _check_symbols(split: str, rows: Panel, cut: Cut) -> None:
    """Every stock must be in every split; an option lives where it lives."""
    for symbol, count in zip(rows.symbols, rows.counts, strict=True):
        if count < cut.rows:
            raise DataError(
                f"The {split} split must hold window + horizon rows of every symbol",
                got=f"{cut.window} + {cut.horizon} > {count} rows of {symbol} "
                f"from {rows.dates.min()} to {rows.dates.max()}",
                fix=f"Lengthen the split (data.split), shorten data.window or drop {symbol}",
            )


def _check_contracts(panel: Panel) -> None:
    """A strike that follows a fixed delta tells the day's volatility before its quotes do."""
    # Neighbouring rows of one series: where the next contract begins, another strike is no change.
    same = panel.code[1:] == panel.code[:-1]
    # Both: a constant maturity moves the expiry from day to day, as a fixed delta moves the strike.
    for name in ("strike", "expiry"):
        before, after = (panel.column(name)[rows] for rows in (slice(None, -1), slice(1, None)))
        # NaN differs from everything, itself included; a missing strike is a matter for other rules.
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
