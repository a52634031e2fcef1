"""Splits that a file does not name, found where the adjusted price leaves the unadjusted one at a stroke."""

from __future__ import annotations

import numpy as np

from qhq.data.columns.series import last_finite, previous
from qhq.data.panel import Panel

LEAST_RATIO = 1.2
"""A split of 5 for 4, the smallest that is common; the largest dividends move the adjustment by less."""


def infer_splits(panel: Panel) -> Panel:
    """Add the column ``split`` (new shares for an old one, 0 without a split) where it can be told.

    A panel that has the column keeps it; one without both ``close`` and ``adj_close`` stays as it is.
    """
    if "split" in panel.columns or not {"close", "adj_close"} <= set(panel.columns):
        return panel
    adjustment = panel.column("adj_close") / panel.column("close")
    ratio = np.nan_to_num(adjustment / previous(panel, last_finite(panel, adjustment)), nan=1.0)
    jump = np.maximum(ratio, 1 / ratio) >= LEAST_RATIO
    return panel.with_columns({"split": np.where(jump, ratio, 0.0)})
