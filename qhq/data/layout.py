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


def lay_out(panel: Panel, spec: DataSpec) -> Panel:
    """Lay the rows of a panel out as windows will read them, with their segments.

    With gaps closed up, rows without a value of a feature or target are left out. Masked, a row of NaN
    stands for each session that a series misses between its first and its last.
    """
    if spec.gaps == "close":
        used = panel.values[:, panel.positions(dict.fromkeys([*spec.features, *spec.targets]))]
        panel = panel.keep(np.asarray(np.isfinite(used).all(axis=1)))
    session = np.searchsorted(panel.sessions, panel.dates)
    panel = replace(panel, segment=_segments(panel, session, spec))
    return panel if spec.gaps == "close" else _on_sessions(panel, session)


def _segments(panel: Panel, session: IntArray, spec: DataSpec) -> IntArray:
    """Number of each row's segment, ascending, shape (R,)."""
    new = np.ones(len(panel.code), dtype=bool)
    same = panel.code[1:] == panel.code[:-1]
    new[1:] = ~same | (np.diff(session) - 1 > spec.max_gap)
    if "split" in panel.columns and not UNADJUSTED.isdisjoint((*spec.features, *spec.targets)):
        ratio = np.nan_to_num(panel.column("split"))
        new |= (ratio > 0) & (ratio != 1)
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
