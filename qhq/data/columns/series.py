"""Looking back along each series of a panel; nothing here looks ahead."""

from __future__ import annotations

import numpy as np

from qhq.data.panel import FloatArray, IntArray, Panel


def previous(panel: Panel, values: FloatArray) -> FloatArray:
    """Value of the row before in the same series, NaN at its first, shape (R,)."""
    before = np.full(len(values), np.nan)
    same = panel.code[1:] == panel.code[:-1]
    before[1:][same] = values[:-1][same]
    return before


def last_finite(panel: Panel, values: FloatArray) -> FloatArray:
    """Newest finite value at or before each row in its series, NaN where there is none, shape (R,)."""
    rows = newest_finite_row(panel.code, values)
    return np.where(rows >= 0, values[np.maximum(rows, 0)], np.nan)


def newest_finite_row(code: IntArray, values: FloatArray) -> IntArray:
    """Row of the newest finite value at or before each row in its series, -1 where there is none, (R,)."""
    rows = np.arange(len(values))
    newest = np.maximum.accumulate(np.where(np.isfinite(values), rows, -1))
    first = np.searchsorted(code, code)
    return np.where(newest >= first, newest, -1)
