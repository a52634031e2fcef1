"""The figure of a prediction: newest rows of each series, its forecast with intervals, the last value."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_SERIES_SHOWN = 12


def draw_prediction(record: dict[str, Any], history: pd.DataFrame) -> Figure:
    """Draw each series and target in a panel of its own, twelve at most.

    Args:
        record: What `qhq.experiment.predict.describe` returns.
        history: Columns symbol, date, target, value: the newest values that are known.
    """
    rows = pd.DataFrame(record["rows"])
    rows["date"] = pd.to_datetime(rows["date"])
    shown = list(rows.groupby(["symbol", "target"], sort=False))[:_SERIES_SHOWN]
    columns = min(3, len(shown))
    lines = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(4.2 * columns, 0.7 + 2.8 * lines), layout="constrained")
    every = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, ((symbol, target), own) in zip(every, shown, strict=False):
        known = history[(history["symbol"] == symbol) & (history["target"] == target)]
        _draw_series(axes, known, own[own["date"] >= known["date"].min()])
        axes.set_title(f"{symbol}, {target}", fontsize=9)
    for axes in every[len(shown) :]:
        axes.set_visible(False)
    figure.legend(*every[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    figure.suptitle(f"{record['run']} on {record['backend']}: after {record['last_row']}", fontsize=10)
    return figure


def _draw_series(axes: Axes, known: pd.DataFrame, own: pd.DataFrame) -> None:
    axes.plot(known["date"], known["value"], color="black", linewidth=1, label="came")
    newest = own[own["made_after"] == own["made_after"].max()]
    many = own["made_after"].nunique() > 1
    for level, one in own[own["horizon"] == 1 if many else own["horizon"] > 0].groupby("level", sort=True):
        label = f"{100 * float(str(level)):g} % interval"
        if len(one) > 1:
            axes.fill_between(one["date"], one["low"], one["high"], alpha=0.2, label=label)
        else:
            half = [one["forecast"] - one["low"], one["high"] - one["forecast"]]
            axes.errorbar(one["date"], one["forecast"], yerr=half, capsize=4, alpha=0.6, label=label)
    axes.plot(newest["date"], newest["forecast"], "o", markersize=4, color="tab:red", label="forecast")
    axes.plot(newest["date"], newest["last_value"], ":", marker="_", color="tab:gray", label="last value")
    axes.tick_params(axis="x", labelrotation=30, labelsize=7)
    axes.grid(alpha=0.3)
