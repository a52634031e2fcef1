"""Windows whose targets are still to come: the sessions after the last row, of every series that has it.

A trained run forecasts them as it forecasts any other window. The panel gets a row of NaN for each session
that follows, so a target has a date and no value, and what comes before it is read as it always is: a
forecast made from rows to day D is the one that an evaluation makes for the session after D once its row is
there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from qhq.data.checks.stocks import LARGEST_MOVE
from qhq.data.columns import unit_of
from qhq.data.panel import DateArray, Panel
from qhq.data.prepare import PreparedData, assemble
from qhq.data.prepare_other import (
    Known,
    check_frequency,
    check_unit,
    describe_other,
    find_overlap,
    own_training,
    splits_by_date,
)
from qhq.data.protocol import protocol_of
from qhq.data.scaling.affine import Scaler
from qhq.data.scaling.fit import StaticScaler, check_scalable
from qhq.data.sessions import Calendar, find_calendar, suggest_calendars
from qhq.data.spec import DataSpec
from qhq.data.split import TestSplit, split_panel
from qhq.data.windows import Cut, Windows, arrange_rows, cut_windows, has_inputs
from qhq.errors import DataError


@dataclass(frozen=True)
class LeftOut:
    """A series that gets no forecast.

    Attributes:
        symbol: Its name.
        last: Date of its newest row.
        reason: Why, as the rest of a sentence that begins with its name.
    """

    symbol: str
    last: str
    reason: str


@dataclass(frozen=True, eq=False)
class Ahead:
    """What a run is to forecast, and what was left out.

    Attributes:
        data: ``test`` has every window that is wanted, oldest first; ``train`` and ``validation`` are the
            run's.
        own: Whether ``validation`` is the run's own, to the last value.
        history: Windows after the run's validation split whose targets have all come, oldest first: what
            adaptive intervals follow.
        sessions: The H sessions after the last row, datetime64[D].
        calendar: What says which they are.
        last: Date of the newest row.
        left_out: Series that have rows near the end and get no forecast.
        expired: Contracts that had expired by the last row.
        called: What columns are to be called before people (`Panel.called`).
    """

    data: PreparedData
    own: bool
    history: Windows
    sessions: DateArray
    calendar: Calendar
    last: np.datetime64
    left_out: tuple[LeftOut, ...]
    expired: int
    called: Mapping[str, str]

    @property
    def windows(self) -> Windows:
        """Every window that is wanted."""
        return self.data.test


def prepare_ahead(
    panel: Panel,
    spec: DataSpec,
    known: Known,
    scalers: tuple[Scaler, StaticScaler | None],
    *,
    since: date | None = None,
    until: date | None = None,
) -> Ahead:
    """Lay rows out with the sessions that follow them, for a run whose scalers are given.

    Args:
        panel: What `load_panel` gave for ``spec``.
        spec: The run's data config, but for where the rows come from.
        known: What is known of the run's own data.
        scalers: The run's, of the windows and of the static features.
        since: First date of a target of the sessions behind; None asks for those after the last row alone.
        until: Last session that is asked for; None is the run's horizon.

    Raises:
        DataError: If the rows do not fit the run or ``data.calendar``, or no series has what a forecast
            takes.
    """
    origin, cut = spec.path or f"source {spec.source}", Cut.of(spec)
    if cut.task == "price":
        raise DataError(
            "Only a run of data.task forecast says what comes next",
            got="task price, which prices the options of a day from the same day's spot",
            fix="Train with data.task=forecast; 'qhq eval RUN --data FILE' prices the days that a file has",
        )
    laid_out = arrange_rows(panel, spec)
    last = laid_out.dates.max()
    calendar = find_calendar(laid_out.dates, spec.calendar, spec.every)
    sessions = calendar.after(cut.horizon)
    if until is not None:
        _check_until(np.datetime64(until, "D"), last, sessions)
    longer = _with_sessions(laid_out, sessions)
    ahead = _cut_ahead(longer, cut, sessions)
    border = known.splits["validation"][1]
    behind = cut_windows(longer, cut)
    wanted = ahead.select(np.asarray(ahead.input_dates[:, -1] == last))
    left_out, expired = _left_out(laid_out, cut, wanted, sessions)
    if not len(wanted):
        raise _nothing(origin, laid_out, cut, left_out)
    if since is not None:
        first = np.datetime64(since, "D")
        some = [each.starts[each.dates[:, 0] >= first] for each in (behind, ahead)]
        wanted = replace(wanted, starts=np.sort(np.concatenate(some)))
        # Stable, so that the symbols of one session stay in the order of the panel.
        wanted = wanted.select(np.argsort(wanted.dates[:, 0], kind="stable"))
        if not len(wanted):
            raise DataError(
                "--since must name a session whose forecast the rows allow",
                got=f"{since}, where the rows end on {last} and the sessions after that are {sessions[0]} to"
                f" {sessions[-1]}",
                fix="Give an earlier date, or newer rows with --data FILE",
            )
    overlap = find_overlap(panel, (own := known.own_panel(panel)), known)
    check_unit(overlap, spec, origin, panel, known)
    check_frequency(wanted, own, known, origin)
    data = _prepared(laid_out, wanted, own, known, (spec, *scalers))
    seen = np.unique(wanted.dates[np.isfinite(wanted.targets).all(axis=(1, 2))])
    other = describe_other(panel, spec, known, overlap, wanted, seen=seen)
    data = replace(
        data, fingerprint=other.fingerprint, other=other, quarantine=panel.quarantine, doubts=panel.doubts
    )
    # Intervals go by these errors. Those of windows that the model was trained or chosen on are too small.
    history = behind.select(np.asarray((behind.dates > border).all(axis=1)))
    history = history.select(np.argsort(history.dates[:, 0], kind="stable"))
    return Ahead(data, own is not None, history, sessions, calendar, last, left_out, expired, panel.called)


def say_calendar(ahead: Ahead) -> str | None:
    """What ought to be said where the symbols look like those of another calendar; None if nothing."""
    symbols = dict.fromkeys(ahead.windows.panel.group_names)
    fitting = suggest_calendars([*symbols])
    used = ahead.calendar.name
    if not fitting or fitting == [used] or (used is None and fitting == ["24/7"]):
        return None
    plain = any(not suggest_calendars([name]) for name in symbols)
    if len(fitting) == 1 and not plain:
        return f"The symbols end like those of {fitting[0]}: data.calendar={fitting[0]} knows its holidays"
    several = [*(["the US"] if plain else []), *fitting]
    return (
        f"The symbols end like those of {' and '.join(several)}, which close on different days: a symbol"
        " without a row on the last day of another is left out; forecast those of one exchange at a time"
    )


def say_jumps(ahead: Ahead) -> list[str]:
    """Stocks whose newest rows hold a move that a split explains, and no split is known.

    A split that is known has ended the series before it (`LeftOut`). Here prices on both sides of one are
    read as if they were of the same share.
    """
    windows = ahead.windows.select(np.asarray(ahead.windows.input_dates[:, -1] == ahead.last))
    if windows.panel.groups:  # an option may well lose half its value
        return []
    found: dict[tuple[str, np.datetime64], str] = {}  # once for the open, high, low and close of a day
    for column, name in enumerate(windows.cut.features):
        if unit_of(name) != "price":
            continue
        prices = windows.inputs[:, :, column]  # (N, T)
        with np.errstate(all="ignore"):  # signed prices have no relative move
            moves = np.where(prices[:, :-1] > 0, prices[:, 1:] / prices[:, :-1] - 1, 0.0)
        for number, row in zip(*np.nonzero(np.abs(moves) > LARGEST_MOVE), strict=True):
            symbol, day = str(windows.symbol[number]), windows.input_dates[number, row + 1]
            column_name = ahead.called.get(name, name)
            sentence = (
                f"{column_name} of {symbol} moves by {moves[number, row]:+.0%} on {day}, in the rows that its"
                " forecast reads: if its shares were split, write the ratio into a column 'split', or give"
                " adjusted prices"
            )
            found.setdefault((symbol, day), sentence)
    return list(found.values())


def _check_until(until: np.datetime64, last: np.datetime64, sessions: DateArray) -> None:
    if sessions[0] <= until <= sessions[-1]:
        return
    raise DataError(
        f"--horizon-end must be one of the {len(sessions)} sessions that follow the last row",
        got=f"{until}, where the rows end on {last} and these are {sessions[0]} to {sessions[-1]}",
        fix="Give newer rows with --data, or train with a longer data.horizon",
    )


def _with_sessions(panel: Panel, sessions: DateArray) -> Panel:
    """Add a row of NaN for each following session to each series that has a row on the last one."""
    newest = np.flatnonzero(np.append(panel.code[1:] != panel.code[:-1], True))
    newest = newest[panel.dates[newest] == panel.dates.max()]
    if panel.groups:
        # A contract that expires on the way has no price on the last of the sessions.
        expiry = panel.column("expiry")[newest]
        newest = newest[expiry >= sessions[-1].astype("datetime64[D]").astype(np.int64)]
    count = len(sessions)
    source = np.concatenate([np.arange(len(panel.code)), np.repeat(newest, count)])
    added = np.concatenate([np.zeros(len(panel.code), dtype=bool), np.ones(count * len(newest), dtype=bool)])
    dates = np.concatenate([panel.dates, np.tile(sessions, len(newest)).astype(panel.dates.dtype)])
    # By series, then by date, as every panel is: lexsort takes its last key first.
    order = np.lexsort((dates, panel.code[source]))
    source, added = source[order], added[order]
    values = np.where(added[:, None], np.nan, panel.values[source])
    return replace(
        panel, code=panel.code[source], dates=dates[order], values=values, segment=panel.segment[source]
    )


def _cut_ahead(panel: Panel, cut: Cut, sessions: DateArray) -> Windows:
    """Windows that have all of their inputs, and a target or more among the sessions to come."""
    starts = np.arange(max(0, len(panel.code) - cut.rows + 1), dtype=np.intp)
    starts = starts[panel.segment[starts] == panel.segment[starts + cut.rows - 1]]
    windows = Windows(panel, starts, cut)
    if not len(starts):
        return windows
    days = windows.dates
    windows = windows.select((days[:, -1] >= sessions[0]) & (windows.input_dates[:, -1] < sessions[0]))
    return windows.select(has_inputs(windows)) if len(windows) else windows


def _prepared(
    panel: Panel,
    wanted: Windows,
    own: Panel | None,
    known: Known,
    given: tuple[DataSpec, Scaler, StaticScaler | None],
) -> PreparedData:
    """The run's own training and validation split, where its rows are at hand, and what is to be forecast."""
    (spec, scaler, static), longer = given, wanted.panel
    test = TestSplit(panel, wanted)
    check_scalable(spec.scaling, test)
    # For its refusals alone, such as a symbol that the scaler was not fitted on: before the model is opened.
    scaler.inputs(wanted)
    if own is None:
        train, validation = own_training(longer, cut_windows(longer, Cut.of(spec)), known)
        return assemble(longer, splits_by_date(train, validation, test), known.spec, scaler, static)
    splits = split_panel(arrange_rows(own, known.spec), known.spec)
    data = assemble(longer, splits_by_date(splits.train, splits.validation, test), known.spec, scaler, static)
    # A published protocol may have stopped its training on other windows than those of its validation split.
    return replace(data, validation=protocol_of(known.spec).chosen_by(splits))


def _left_out(
    panel: Panel, cut: Cut, wanted: Windows, sessions: DateArray
) -> tuple[tuple[LeftOut, ...], int]:
    """Every series that gets no forecast, and why; contracts that are past their expiry are counted."""
    given, last = set(wanted.code.tolist()), panel.dates.max()
    expiry: Mapping[int, np.datetime64] = _expiries(panel)
    found, expired = [], 0
    ends = np.searchsorted(panel.code, np.arange(len(panel.symbols)), side="right")
    for code, end in enumerate(ends):
        if code in given or end == 0 or panel.code[end - 1] != code:
            continue
        newest = panel.dates[end - 1]
        expires = expiry.get(code)
        # A chain of some years holds thousands of these, and that they get no forecast surprises nobody.
        if expires is not None and expires <= last:
            expired += 1
            continue
        # Only the newest segment counts: a window never reaches over a gap or a split.
        rows = int(np.count_nonzero(panel.segment[:end] == panel.segment[end - 1]))
        begins = panel.dates[end - rows]
        if newest < last:
            reason = f"has no row after {newest}, where the data go on to {last}"
        elif expires is not None and expires < sessions[-1]:
            reason = f"expires on {expires}, before the last session to be forecast, {sessions[-1]}"
        elif rows < cut.window:
            reason = (
                f"has {rows} rows since {begins}, where a forecast takes {cut.window} that follow one another"
                " (listed since then, or split, or interrupted)"
            )
        else:
            reason = "lacks a value in its newest rows, or is beyond the limits of data.where"
        found.append(LeftOut(panel.symbols[code], str(newest), reason))
    return tuple(found), expired


def _expiries(panel: Panel) -> dict[int, np.datetime64]:
    """Expiry of each contract, none of stocks."""
    if not panel.groups:
        return {}
    firsts = np.searchsorted(panel.code, np.arange(len(panel.symbols)))
    days = panel.column("expiry")
    return {
        code: np.datetime64(int(days[row]), "D")
        for code, row in enumerate(firsts)
        if row < len(days) and np.isfinite(days[row])
    }


def _nothing(origin: str, panel: Panel, cut: Cut, left_out: tuple[LeftOut, ...]) -> DataError:
    some = "; ".join(f"{each.symbol} {each.reason}" for each in left_out[:3])
    more = f", and {len(left_out) - 3} more" if len(left_out) > 3 else ""
    return DataError(
        f"A forecast takes {cut.window} rows of a series that end with the newest session",
        got=f"{origin} with rows to {panel.dates.max()}: {some or 'no series'}{more}",
        fix="Give more or newer rows with --data, or drop what has none with --set data.symbols=[...]",
    )
