"""Which rows stand beside each other: gaps closed up or masked, and segments that no window leaves.

A new segment begins with each series, after more than ``max_gap`` missing sessions, and on the day of a
split where a column in use is not adjusted for it. Sessions are the dates on which any series has a row.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qhq.data.panel import IntArray, Panel
from qhq.data.schema import UNADJUSTED
from qhq.data.spec import DataSpec
from qhq.errors import DataError


def lay_out(panel: Panel, spec: DataSpec) -> Panel:
    """Lay the rows of a panel out as windows will read them, with their segments.

    With gaps closed up, rows without a target are left out. Masked, a row of NaN stands for each session that
    a series misses between its first and its last.
    """
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
    session = np.searchsorted(panel.sessions, panel.dates)
    panel = replace(panel, segment=_segments(panel, session, spec.max_gap, splits))
    return panel if spec.gaps == "close" else _on_sessions(panel, session)


def _splits(panel: Panel, spec: DataSpec) -> list[tuple[str, np.datetime64]]:
    """Symbol and day of each split of shares, where a column in use is not adjusted for it.

    One row of an underlying tells for all of its contracts, those without a row that day too.
    """
    if "split" not in panel.columns or UNADJUSTED.isdisjoint((*spec.features, *spec.targets)):
        return []
    ratio = np.nan_to_num(panel.column("split"))
    rows = np.flatnonzero((ratio > 0) & (ratio != 1))
    return sorted({(panel.group_names[panel.code[row]], panel.dates[row]) for row in rows})


def _segments(
    panel: Panel, session: IntArray, max_gap: int, splits: list[tuple[str, np.datetime64]]
) -> IntArray:
    """Number of each row's segment, ascending, shape (R,)."""
    new = np.ones(len(panel.code), dtype=bool)
    same = panel.code[1:] == panel.code[:-1]
    new[1:] = ~same | (np.diff(session) - 1 > max_gap)
    names = np.asarray(panel.group_names, dtype=np.str_)[panel.code]
    for name, day in splits:
        after = (names == name) & (panel.dates >= day)
        new[1:] |= after[1:] & ~after[:-1]
    return np.cumsum(new) - 1


def _on_sessions(panel: Panel, session: IntArray) -> Panel:
    """Insert a row of NaN for each missing session inside a segment."""
    step = np.ones(len(session), dtype=np.intp)
    inside = panel.segment[1:] == panel.segment[:-1]
    step[1:][inside] = np.diff(session)[inside]
    place = np.cumsum(step) - 1
    count = int(place[-1]) + 1 if len(place) else 0
    # The row at or before each place; a missing session belongs to the segment of the row before it.
    source = np.searchsorted(place, np.arange(count), side="right") - 1
    values = np.full((count, panel.values.shape[1]), np.nan)
    values[place] = panel.values
    sessions = panel.sessions[session[source] + np.arange(count) - place[source]]
    return replace(
        panel, code=panel.code[source], dates=sessions, values=values, segment=panel.segment[source]
    )
