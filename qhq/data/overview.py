"""What a panel holds, in figures: spans, rows, gaps, splits; of options also contracts and quotes."""

from __future__ import annotations

from typing import Any

import numpy as np

from qhq.data.panel import DateArray, FloatArray, IntArray, Panel

CLOSED = 3
"""Weekdays without a row that are a gap even where no other series has a row."""


def describe_panel(panel: Panel) -> list[dict[str, Any]]:
    """Describe each symbol, or each underlying of an option panel, in the order of the panel.

    Returns:
        Flat objects, but for ``gaps`` (after, before, sessions that others have, weekdays) and ``splits``
        (date, ratio).
    """
    names = list(dict.fromkeys(panel.group_names))
    number = np.array([names.index(name) for name in panel.group_names], dtype=np.intp)
    group = number[panel.code]
    return [_describe(panel, name, np.flatnonzero(group == code)) for code, name in enumerate(names)]


def _describe(panel: Panel, name: str, rows: IntArray) -> dict[str, Any]:
    days = np.unique(panel.dates[rows])
    facts: dict[str, Any] = {
        "symbol": name,
        "rows": len(rows),
        "first": str(days[0]) if len(days) else None,
        "last": str(days[-1]) if len(days) else None,
        "sessions": len(days),
    }
    if panel.groups:
        facts |= _describe_contracts(panel, rows)
    return facts | {"gaps": find_gaps(days, panel.sessions), "splits": _find_splits(panel, rows)}


def _describe_contracts(panel: Panel, rows: IntArray) -> dict[str, Any]:
    quoted = np.isfinite(_column(panel, "mid")[rows])
    volatile = np.isfinite(_column(panel, "iv")[rows])
    return {
        "contracts": len(np.unique(panel.code[rows])),
        "expiries": len(np.unique(_column(panel, "expiry")[rows])),
        "without_quote": int(np.count_nonzero(~quoted)),
        "without_iv": int(np.count_nonzero(quoted & ~volatile)),
        "kind": panel.label,
    }


def find_gaps(days: DateArray, sessions: DateArray) -> list[dict[str, Any]]:
    """Find where a series stops for a while.

    Args:
        days: Its dates, ascending, each once.
        sessions: Dates on which any series has a row, ascending.

    Returns:
        A gap for each pair of neighbours between which another series has a row, or ``CLOSED`` weekdays lie.
    """
    missed = np.diff(np.searchsorted(sessions, days)) - 1
    weekdays = np.busday_count(days[:-1], days[1:]) - 1
    return [
        {
            "after": str(days[place]),
            "before": str(days[place + 1]),
            "sessions": int(missed[place]),
            "weekdays": int(weekdays[place]),
        }
        for place in np.flatnonzero((missed > 0) | (weekdays >= CLOSED))
    ]


def _find_splits(panel: Panel, rows: IntArray) -> list[dict[str, Any]]:
    """Find the splits that some rows tell of, each day once: date, and new shares for an old one."""
    ratio = _column(panel, "split")[rows]
    split = np.flatnonzero((ratio > 0) & (ratio != 1))
    ratios = {str(panel.dates[rows[row]]): round(float(ratio[row]), 6) for row in split}
    return [{"date": day, "ratio": ratios[day]} for day in sorted(ratios)]


def _column(panel: Panel, name: str) -> FloatArray:
    return panel.column(name) if name in panel.columns else np.full(len(panel.code), np.nan)
