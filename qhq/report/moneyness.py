"""Errors of option prices by moneyness and time to expiry: the cells, and their figure.

A mean over all contracts is one over the many near the money; a smile is lost at its ends.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

MONEYNESS_EDGES = (-0.2, -0.1, -0.03, 0.03, 0.1, 0.2)
"""Borders of ln(strike / spot): at the money within 3 %."""
EXPIRY_EDGES = (30, 90, 180, 365)
"""Borders of the days to expiry."""
# Fewer would show single contracts.
LEAST_OPTIONS = 10
"""Forecasts below which a cell of the table and the figure is left empty."""


def by_moneyness(predictions: pd.DataFrame) -> pd.DataFrame | None:
    """Errors of option prices by where the contract stood when it was forecast, one step ahead.

    Args:
        predictions: Rows of ``predictions.csv``, of one target.

    Returns:
        A row a cell, by ``expiry`` and ``moneyness`` (numbers of the bins): ``forecasts``, the mean absolute
        errors over the strike ``model``, ``last_value`` and, where there is one, ``black_scholes``, and
        ``skill``. None of anything but option prices, and of runs of earlier versions.
    """
    if not {"strike", "spot", "years"} <= {*predictions.columns}:
        return None
    values = predictions[["actual", "forecast", "naive"]].to_numpy(dtype=float)
    rows = predictions[(predictions["horizon"] == 1) & np.isfinite(values).all(axis=1)]
    names = {"model": "forecast", "last_value": "naive", "black_scholes": "black_scholes"}
    names = {name: column for name, column in names.items() if column in rows}
    errors = {name: (rows[column] - rows["actual"]).abs() / rows["strike"] for name, column in names.items()}
    table = pd.DataFrame({
        "expiry": np.digitize(365 * rows["years"], EXPIRY_EDGES),
        "moneyness": np.digitize(np.log(rows["strike"] / rows["spot"]), MONEYNESS_EDGES),
        **errors,
    })  # fmt: skip
    groups = table.groupby(["expiry", "moneyness"])
    cells = groups[[*errors]].mean()
    cells.insert(0, "forecasts", groups.size())
    cells["skill"] = 1 - cells["model"] / cells["last_value"].where(cells["last_value"] > 0)
    found: pd.DataFrame = cells[cells["forecasts"] >= LEAST_OPTIONS].reset_index()
    return found if len(found) else None


def bin_names(edges: Sequence[float], form: Callable[[float], str]) -> list[str]:
    """Names of the bins that some borders make.

    >>> bin_names((30, 90), "{:.0f} days".format)
    ['below 30 days', '30 days to 90 days', 'from 90 days on']
    """
    texts = [form(edge) for edge in edges]
    between = [f"{low} to {high}" for low, high in itertools.pairwise(texts)]
    return [f"below {texts[0]}", *between, f"from {texts[-1]} on"]


def moneyness_names() -> list[str]:
    """Names of the bins of moneyness: strikes over the spot, in percent."""
    return bin_names(MONEYNESS_EDGES, lambda edge: f"{100 * math.expm1(edge):+.0f} %")


def expiry_names() -> list[str]:
    """Names of the bins of expiry."""
    return bin_names(EXPIRY_EDGES, lambda edge: f"{edge:.0f} days")


def draw_moneyness(cells: pd.DataFrame) -> Figure:
    """Errors over the strike, and skill over the last value, by moneyness and time to expiry.

    Args:
        cells: From `by_moneyness`.
    """
    # From the first to the last that holds a cell: most chains end well before the last bins.
    first_row, first_column = int(cells["expiry"].min()), int(cells["moneyness"].min())
    expiries = expiry_names()[first_row : int(cells["expiry"].max()) + 1]
    strikes = moneyness_names()[first_column : int(cells["moneyness"].max()) + 1]
    shape = (len(expiries), len(strikes))
    figure = Figure(figsize=(9, 2.1 + 0.35 * len(expiries)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    ways = (("model", 1e4, "error / strike, bp", "viridis"), ("skill", 100.0, "skill, %", "RdBu"))
    for axes, (column, factor, title, colours) in zip(panels, ways, strict=True):
        grid = np.full(shape, np.nan)
        grid[cells["expiry"] - first_row, cells["moneyness"] - first_column] = factor * cells[column]
        known = grid[np.isfinite(grid)]
        # A skill of 0 is white, and one cell of a skill of -1000 % must not bleach all others.
        reach = float(np.clip(np.abs(known).max(initial=0.0), 1.0, 100.0))
        limits = {"vmin": -reach, "vmax": reach} if column == "skill" else {}
        image = axes.imshow(grid, cmap=colours, aspect="auto", **limits)
        for row, place in np.argwhere(np.isfinite(grid)):
            red, green, blue, _ = image.to_rgba(grid[row, place])
            # Black on light and white on dark cells (relative luminance, ITU-R BT.709).
            light = 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.45
            axes.text(place, row, f"{grid[row, place]:.3g}", ha="center", va="center", fontsize=8,
                      color="black" if light else "white")  # fmt: skip
        axes.set_title(title, fontsize=10)
        axes.set_xticks(range(shape[1]), strikes, rotation=40, ha="right", fontsize=8)
        axes.set_xlabel("strike over spot")
    panels[0].set_yticks(range(shape[0]), expiries, fontsize=8)
    panels[0].set_ylabel("time to expiry")
    return figure
