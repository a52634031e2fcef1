"""What the leaks of a config do (`qhq.data.leak_spec` names them); a config without any never comes here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qhq.data.panel import Panel
from qhq.data.scaling.symbol import SymbolScaler
from qhq.data.split import TrainingPart
from qhq.data.windows import Cut, cut_windows


def seen_by_scaler(panel: Panel, cut: Cut) -> TrainingPart:
    """``scaler_sees_test``: a training part that is all of the panel."""
    return TrainingPart(panel, cut_windows(panel, cut))


def in_last_scale(panel: Panel, scaler: SymbolScaler) -> tuple[Panel, SymbolScaler]:
    """``last_symbol_inverts``: every symbol's features as the last symbol's scaler would invert them.

    Scaled, they are what they were, so the weights learn the same; but forecasts, actual and naive values,
    and every error between them, are those of the last symbol's scale.

    Args:
        panel: Rows of S symbols.
        scaler: Fitted on them, or on a part of them.

    Returns:
        The panel in the other scale, and the scaler that brings it back to the same scaled values.
    """
    columns = panel.positions(scaler.columns)
    rows = np.array([scaler.symbols.index(name) for name in panel.symbols])[panel.code]
    scaled = (panel.values[:, columns] - scaler.offset[rows]) / scaler.unit[rows]
    values = panel.values.copy()
    values[:, columns] = scaled * scaler.unit[-1] + scaler.offset[-1]
    same = np.ones(len(scaler.symbols))[:, None]
    scale = replace(scaler, offset=same * scaler.offset[-1], unit=same * scaler.unit[-1])
    return replace(panel, values=values), scale
