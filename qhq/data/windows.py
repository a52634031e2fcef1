"""From a panel to windows: which rows stand beside each other, then T input rows and the H that follow.

A new segment, which no window leaves, begins with each series, after more than ``max_gap`` missing sessions,
and on the day of a split where a column in use is not adjusted for it. Sessions are the dates on which any
series has a row. A window is a row number into the panel: cutting and selecting copy no values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from qhq.data.columns import KNOWN_TODAY, UNADJUSTED
from qhq.data.panel import DateArray, FloatArray, IntArray, Mask, Panel
from qhq.data.spec import Bounds, DataSpec, Task
from qhq.errors import DataError
from qhq.seeding import child_generator

# Share of its input rows that a window with masked gaps must really have.
_LEAST_OBSERVED = 0.5


@dataclass(frozen=True)
class Cut:
    """How windows are cut.

    Attributes:
        window: Input rows, T.
        horizon: Target rows, H.
        features: Names of the F features.
        targets: Names of the K targets.
        static: Names of the S static features.
        task: What is an input and what is not (see ``DataSpec.task``).
        masked: Whether missing input rows are filled from before.
        needed: Columns that the last input row must have.
        where: Limits that the last input row must keep.
    """

    window: int
    horizon: int
    features: tuple[str, ...]
    targets: tuple[str, ...]
    static: tuple[str, ...] = ()
    task: Task = "forecast"
    masked: bool = False
    needed: tuple[str, ...] = ()
    where: Mapping[str, Bounds] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: DataSpec) -> Cut:
        """Take from a config what concerns the cut."""
        return cls(
            spec.window,
            spec.horizon,
            spec.features,
            spec.targets,
            static=spec.static,
            task=spec.task,
            masked=spec.gaps == "mask",
            needed=_needed(spec),
            where=spec.where,
        )

    @property
    def rows(self) -> int:
        """Rows of one window, T + H."""
        return self.window + self.horizon

    @property
    def target_positions(self) -> IntArray:
        """Where each target stands among the features, shape (K,)."""
        return np.array([self.features.index(name) for name in self.targets], dtype=np.intp)


def _needed(spec: DataSpec) -> tuple[str, ...]:
    """Columns that pricing from the last input row takes."""
    if spec.kind != "options":
        return ()
    # Rows without a volatility are refused only where one is used: files without quotes still forecast
    # prices.
    kinds = {*spec.scalings.values()}
    by_volatility = spec.task == "price" or not kinds.isdisjoint(("residual", "implied_volatility"))
    return ("spot", "strike", *(("iv", "mid") if by_volatility else ()))


@dataclass(frozen=True, eq=False)
class Windows:
    """N windows over any number of series, raw, in the unit of the file.

    Only the number of each window's first row is kept, so cutting and selecting copy no values; the arrays
    below are gathered when asked for.

    Attributes:
        panel: The rows that the windows lie in: those of one split, or, where windows look back, also all
            that come before them; never a later one.
        starts: First input row of each window, shape (N,).
        cut: How they were cut.
    """

    panel: Panel
    starts: IntArray
    cut: Cut

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def inputs(self) -> FloatArray:
        """Features, shape (N, T, F), oldest first; a masked gap holds the last value before it."""
        return self._past(self.panel.filled if self.cut.masked else self.panel.values, self.cut.features)

    @property
    def targets(self) -> FloatArray:
        """What followed, shape (N, H, K), never filled."""
        # From `values`, never from `filled`: a target that was filled forward would be a forecast already
        # made.
        columns = self.panel.values[:, self.panel.positions(self.cut.targets)]
        future: FloatArray = columns[self._target_rows]
        return future

    @property
    def last(self) -> FloatArray:
        """Last known value of each target, shape (N, K)."""
        return self.panel.values[np.ix_(self._last_rows, self.panel.positions(self.cut.targets))]

    @property
    def static(self) -> FloatArray:
        """Static features, shape (N, S): of the last input row, or of the target's own (task ``price``)."""
        columns = [self.known(name) for name in self.cut.static]
        return np.column_stack(columns) if columns else np.empty((len(self), 0))

    @property
    def mask(self) -> FloatArray:
        """1 where an input row is real, 0 where it was filled, shape (N, T)."""
        rows = self.starts[:, None] + np.arange(self.cut.window)
        # Of `values`, not of `filled`, in which nothing is missing.
        real: FloatArray = _observed(self.panel, self.cut.features)[rows].astype(np.float64)
        return real

    @property
    def code(self) -> IntArray:
        """Index into ``panel.symbols``, shape (N,)."""
        return self.panel.code[self.starts]

    @property
    def symbol(self) -> npt.NDArray[np.str_]:
        """Name of each window's series, shape (N,)."""
        return np.asarray(self.panel.symbols, dtype=np.str_)[self.code]

    @property
    def group(self) -> npt.NDArray[np.str_]:
        """Name of each window's underlying (of a stock: its symbol), shape (N,)."""
        return np.asarray(self.panel.group_names, dtype=np.str_)[self.code]

    @property
    def dates(self) -> DateArray:
        """Dates of the targets, datetime64[D], shape (N, H)."""
        days: DateArray = self.panel.dates[self._target_rows]
        return days

    @property
    def input_dates(self) -> DateArray:
        """Dates of the inputs, datetime64[D], shape (N, T)."""
        days: DateArray = self.panel.dates[self.starts[:, None] + np.arange(self.cut.window)]
        return days

    def at_last(self, name: str) -> FloatArray:
        """Look up any column of the panel at the last input row, shape (N,)."""
        values: FloatArray = self.panel.column(name)[self._last_rows]
        return values

    def known(self, name: str) -> FloatArray:
        """Look up the newest value of a column that a forecast may know, shape (N,).

        That of the last input row; for task ``price`` that of the target's own row.

        Raises:
            DataError: If the task is ``price`` and the column may come from the day's option quotes.
        """
        if self.cut.task == "forecast":
            return self.at_last(name)
        if name not in KNOWN_TODAY:
            raise DataError(
                "Task price must not see the day's option quotes",
                got=f"'{name}' of the target's own row",
                fix="Take it at the last input row",
            )
        return self.panel.column(name)[self._target_rows[:, 0]]

    def along(self, name: str) -> FloatArray:
        """Look up any column of the panel along the input rows, gaps filled from before, shape (N, T)."""
        values = self.panel.filled if self.cut.masked else self.panel.values
        return self._past(values, (name,))[:, :, 0]

    def select(self, rows: slice | IntArray | Mask) -> Windows:
        """Keep some windows: a slice, numbers (in their order) or a mask of shape (N,)."""
        # The panel is shared: a thousand selections of a split cost a thousand small arrays of numbers.
        return replace(self, starts=self.starts[rows])

    @property
    def _last_rows(self) -> IntArray:
        return self.starts + self.cut.window - 1

    @property
    def _target_rows(self) -> IntArray:
        return self.starts[:, None] + self.cut.window + np.arange(self.cut.horizon)

    def _past(self, values: FloatArray, names: tuple[str, ...]) -> FloatArray:
        """Gather the input rows from views, also of pairs that would straddle symbols."""
        columns = values[:, self.panel.positions(names)]
        # One view over all series at once: the pairs that straddle two of them are never picked by `starts`.
        past, _ = make_windows(columns, length=self.cut.window, horizon=self.cut.horizon)
        # Indexing may keep the swapped axes of the view in memory, which each later pass would read across.
        return np.ascontiguousarray(past[self.starts])


def make_windows(series: FloatArray, *, length: int, horizon: int) -> tuple[FloatArray, FloatArray]:
    """Cut one series into overlapping (past, future) pairs, as views.

    Window ``i`` pairs ``series[i : i + length]`` with the ``horizon`` rows that follow, so no input lies at
    or after its target.

    Args:
        series: Values, shape (T, F), oldest first.
        length: Input rows per window.
        horizon: Target rows per window.

    Returns:
        Inputs (N, length, F) and targets (N, horizon, F), N = T - length - horizon + 1; read-only views.

    Raises:
        DataError: If T < length + horizon.

    >>> inputs, targets = make_windows(np.arange(5.0)[:, None], length=2, horizon=1)
    >>> inputs[:, :, 0].tolist(), targets[:, 0, 0].tolist()
    ([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]], [2.0, 3.0, 4.0])
    """
    if len(series) < length + horizon:
        raise DataError(
            "window + horizon must not exceed the series",
            got=f"{length} + {horizon} > {len(series)} rows",
            fix="Shorten data.window or data.horizon, or give a longer series",
        )
    # Inputs and targets in one view: of two, an off-by-one between them could not be seen from their shapes.
    views = np.lib.stride_tricks.sliding_window_view(series, length + horizon, axis=0).swapaxes(1, 2)
    return views[:, :length], views[:, length:]


def cut_windows(panel: Panel, cut: Cut) -> Windows:
    """Cut every window that lies in one segment and has what it needs; none where a series is too short.

    The first and last input row and every target row must be real, and so must half of the input rows, or
    all of them where gaps are not masked. Selection uses only what is known at a window's last
    input row, except that its targets must exist.
    """
    # One vector over all series instead of a loop over them: options have tens of thousands of series.
    starts = np.arange(max(0, len(panel.code) - cut.rows + 1), dtype=np.intp)
    # Segments ascend along the rows, so that equal ends mean one segment in between.
    starts = starts[panel.segment[starts] == panel.segment[starts + cut.rows - 1]]
    windows = Windows(panel, starts, cut)
    return windows.select(has_inputs(windows) & _has_targets(windows)) if len(starts) else windows


def join_blocks(panel: Panel, blocks: Sequence[Windows]) -> tuple[Windows, IntArray]:
    """Windows of several blocks of sessions as windows of the panel that all of them were cut from.

    Args:
        panel: Laid out, with the rows of every block.
        blocks: Cut alike, such as the test blocks of a walk-forward; no window is in two of them.

    Returns:
        All windows in the order of the panel, and the order that sorts the blocks, one after another, so.
    """
    first = panel.dates.min()

    def place(code: IntArray, dates: DateArray) -> IntArray:
        # One number a symbol and day: a million days are 2,700 years.
        days: IntArray = (dates - first).astype(np.int64)
        return code.astype(np.int64) * 10**6 + days

    rows = place(panel.code, panel.dates)
    asked = np.concatenate([place(each.code, each.dates[:, 0]) for each in blocks])
    # By series and date: row numbers of a fold mean nothing in the panel of all.
    starts = np.searchsorted(rows, asked) - blocks[0].cut.window
    order = np.argsort(starts, kind="stable")
    return Windows(panel, starts[order], blocks[0].cut), order


def has_inputs(windows: Windows) -> Mask:
    """Whether windows have the input rows that a forecast takes, whatever their targets, shape (N,)."""
    panel, cut, last = windows.panel, windows.cut, windows._last_rows
    real = _observed(panel, cut.features)
    # Counts by differences of a running sum: a gather of (N, T) masks would cost T times as much memory.
    count = np.concatenate([[0], np.cumsum(real)])
    share = (count[last + 1] - count[windows.starts]) / cut.window
    # The first must be real because a filled row needs one before it, the last because forecasts start there.
    good = real[windows.starts] & real[last] & (share >= (_LEAST_OBSERVED if cut.masked else 1))
    good &= _observed(panel, cut.needed)[last]
    for name, (low, high) in cut.where.items():
        # At the last input row: chosen by the target's own row, windows would tell of the target.
        value = panel.column(name)[last]
        good &= (value >= (-np.inf if low is None else low)) & (value <= (np.inf if high is None else high))
    return np.asarray(good & np.isfinite(windows.static).all(axis=1))


def _has_targets(windows: Windows) -> Mask:
    rows = windows._target_rows
    good = _observed(windows.panel, windows.cut.targets)[rows].all(axis=1)
    if windows.cut.task == "price":
        # Today's price needs today's market, apart from what the day's quotes would tell.
        good &= _observed(windows.panel, ("spot", "strike", "years", "rate"))[rows[:, 0]]
    return np.asarray(good)


def _observed(panel: Panel, names: tuple[str, ...]) -> Mask:
    """Whether a row has all of some columns, shape (R,)."""
    return np.asarray(np.isfinite(panel.values[:, panel.positions(names)]).all(axis=1))


def arrange_rows(panel: Panel, spec: DataSpec) -> Panel:
    """Lay the rows of a panel out as windows will read them, with their segments.

    With gaps closed up, rows without a target are left out. Masked, a row of NaN stands for each session that
    a series misses between its first and its last.
    """
    # Before rows without a target go: one of them may hold the split.
    splits = _splits(panel, spec)
    if spec.gaps == "close":
        targets = panel.values[:, panel.positions(spec.targets)]
        panel = panel.keep(np.asarray(np.isfinite(targets).all(axis=1)))
    if not len(panel.code):
        raise DataError(
            "The data must have rows with every target",
            got="none",
            fix=f"Check the columns {', '.join(spec.targets)}",
        )
    # Sessions are those of the panel itself, so that no exchange has to be known: a day is missed where
    # another series of the panel has a row.
    session = np.searchsorted(panel.sessions, panel.dates)
    panel = replace(panel, segment=_segments(panel, session, spec.max_gap, splits))
    return panel if spec.gaps == "close" else _on_sessions(panel, session)


def _splits(panel: Panel, spec: DataSpec) -> list[tuple[str, np.datetime64]]:
    """Symbol and day of each split of shares, where a column in use is not adjusted for it.

    One row of an underlying tells for all of its contracts, those without a row that day too.
    """
    if "split" not in panel.columns or UNADJUSTED.isdisjoint((*spec.features, *spec.targets)):
        return []
    # NaN is no split; comparing it would warn.
    ratio = np.nan_to_num(panel.column("split"))
    rows = np.flatnonzero((ratio > 0) & (ratio != 1))
    return sorted({(panel.group_names[panel.code[row]], panel.dates[row]) for row in rows})


def _segments(
    panel: Panel, session: IntArray, max_gap: int, splits: list[tuple[str, np.datetime64]]
) -> IntArray:
    """Number of each row's segment, ascending, shape (R,)."""
    new = np.ones(len(panel.code), dtype=bool)
    same = panel.code[1:] == panel.code[:-1]
    # Consecutive sessions differ by 1, so a difference of 3 has 2 sessions missing.
    new[1:] = ~same | (np.diff(session) - 1 > max_gap)
    names = np.asarray(panel.group_names, dtype=np.str_)[panel.code]
    for name, day in splits:
        # From the day of the split on, also for contracts that have no row on that very day.
        after = (names == name) & (panel.dates >= day)
        new[1:] |= after[1:] & ~after[:-1]
    return np.cumsum(new) - 1


def _on_sessions(panel: Panel, session: IntArray) -> Panel:
    """Insert a row of NaN for each missing session inside a segment."""
    step = np.ones(len(session), dtype=np.intp)
    inside = panel.segment[1:] == panel.segment[:-1]
    step[1:][inside] = np.diff(session)[inside]
    # Where each row goes: as many places on as sessions have passed.
    place = np.cumsum(step) - 1
    count = int(place[-1]) + 1 if len(place) else 0
    # The row at or before each place; a missing session belongs to the segment of the row before it.
    source = np.searchsorted(place, np.arange(count), side="right") - 1
    # NaN, and not the row before: whether a gap is filled, and with what, is decided by who reads it.
    values = np.full((count, panel.values.shape[1]), np.nan)
    values[place] = panel.values
    sessions = panel.sessions[session[source] + np.arange(count) - place[source]]
    return replace(
        panel, code=panel.code[source], dates=sessions, values=values, segment=panel.segment[source]
    )


def spread_subset(windows: Windows, count: int, seed: int) -> Windows:
    """Draw a seeded subset of windows, stratified by symbol, in their order.

    Args:
        windows: N of them.
        count: How many, N at most.
        seed: Of the draw.
    """
    order = child_generator(seed, "samples").permutation(len(windows))
    code = windows.code[order]
    # Rank within its symbol, as a share of the symbol: taking the smallest takes equal shares of each.
    share = np.empty(len(windows))
    for symbol in np.unique(code):
        places = np.flatnonzero(code == symbol)
        share[places] = (np.arange(len(places)) + 0.5) / len(places)
    # Equal ranks stay in the drawn order, so that the subset depends on the seed alone.
    chosen = order[np.argsort(share, kind="stable")[:count]]
    return windows.select(np.sort(chosen))
