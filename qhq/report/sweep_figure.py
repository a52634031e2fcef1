"""The figure of a sweep's stage: how the error goes with each key, and whether that is a trend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qhq.data.panel import FloatArray
from qhq.evaluation.bootstrap import median_interval
from qhq.evaluation.significance import say_p_value

PANELS_A_ROW = 3
DOT = "a point, median of its seeds"
MOST_LEVEL = 8
"""More labels, or longer ones, are turned to be read."""


def draw_stage(record: dict[str, Any], metric: str) -> Figure:
    """Error over the last value's against each key of the stage: a dot a point, the median and its interval.

    Args:
        record: A stage, as `run_sweep` keeps it.
        metric: What was ranked.
    """
    rows = [row for row in record["rows"] if row["value"] is not None]
    varied = len({row["parameters"] for row in rows}) > 1
    keys = [*record["keys"], *(["parameters"] if varied else [])]
    columns = min(PANELS_A_ROW, len(keys))
    lines = math.ceil(len(keys) / columns)
    figure = Figure(figsize=(1 + 4.2 * columns, 1.3 + 3.2 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    trends = {trend["key"]: trend for trend in record["trends"]}
    for axes, key in zip(grid, keys, strict=False):
        _draw_key(axes, rows, key, trends.get(key) or trends.get(f"length of {key}"))
    for axes in grid[len(keys) :]:
        axes.remove()
    for axes in grid[: len(keys) : columns]:
        axes.set_ylabel(f"validation {metric.upper()} / last value's")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(f"Stage {record['stage']}: {record['noise']['sentence']}", fontsize=10)
    return figure


def _draw_key(axes: Axes, rows: Sequence[dict[str, Any]], key: str, trend: dict[str, Any] | None) -> None:
    values = np.array([row["value"] for row in rows])
    labels = [row[key] for row in rows]
    if _is_continuous(labels):
        _scatter(axes, np.array(labels, dtype=float), values)
    else:
        _by_label(axes, labels, values)
    chosen = next(row for row in rows if row["chosen"])
    axes.axhline(chosen["value"], color="tab:green", linestyle="--", linewidth=1,
                 label="chosen: the simplest that ties with the lowest")  # fmt: skip
    margin = 0.08 * (np.ptp(values) or 0.01)
    low, high = values.min() - margin, values.max() + margin
    if low <= 1 <= high:
        axes.axhline(1, color="black", linestyle=":", linewidth=1, label="last value")
    axes.set_ylim(low, high)
    axes.set_xlabel(key)
    axes.set_title(_say_trend(trend), fontsize=9)
    axes.grid(alpha=0.3)


def _is_continuous(labels: list[Any]) -> bool:
    """Whether labels are numbers for an axis, and not a few to stand side by side."""
    if not all(isinstance(label, int | float) for label in labels):
        return False
    return len(set(labels)) > MOST_LEVEL or any(isinstance(label, float) for label in labels)


def _scatter(axes: Axes, numbers: FloatArray, values: FloatArray) -> None:
    axes.plot(numbers, values, "o", color="tab:blue", alpha=0.6, markersize=4, label=DOT)
    if numbers.min() > 0 and numbers.max() > 20 * numbers.min():
        axes.set_xscale("log")


def _by_label(axes: Axes, labels: list[Any], values: FloatArray) -> None:
    """A column a label, in the order of their numbers if they are numbers."""
    distinct = sorted(dict.fromkeys(labels), key=_order)
    for place, label in enumerate(distinct):
        own = values[[each == label for each in labels]]
        _column(axes, place, own, named=place == 0)
    turned = len(distinct) > MOST_LEVEL or any(len(str(label)) > MOST_LEVEL for label in distinct)
    axes.set_xticks(range(len(distinct)), [str(label) for label in distinct])
    axes.tick_params(axis="x", rotation=90 if turned else 0, labelsize=7 if turned else 9)


def _column(axes: Axes, place: int, values: FloatArray, *, named: bool) -> None:
    axes.plot([place] * len(values), values, "o", color="tab:blue", alpha=0.35, markersize=4,
              label=DOT if named else None)  # fmt: skip
    median = median_interval(values)
    if median.low is not None and median.high is not None:
        ends = [[median.value - median.low], [median.high - median.value]]
        axes.errorbar([place], [median.value], yerr=ends, fmt="_", color="tab:blue", capsize=4, markersize=14,
                      label="median, 95 % interval" if named else None)  # fmt: skip


def _order(label: Any) -> tuple[int, float, str]:
    try:
        return (0, float(label), "")
    except (TypeError, ValueError):
        return (1, 0.0, str(label))


def _say_trend(trend: dict[str, Any] | None) -> str:
    if trend is None:
        return "no trend to tell: unordered, or few points"
    what = "rank correlation"
    if trend["key"].startswith("length of"):
        what += " with length"
    interval = f"{trend['low']:+.2f} to {trend['high']:+.2f}"
    return f"{what} {trend['rho']:+.2f} ({interval}), p {say_p_value(trend['p_value'])}"
