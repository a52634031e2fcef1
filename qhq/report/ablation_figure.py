"""The figure of an ablation: the error of every seed, its median and interval, beside the baselines."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

COLOURS = {
    "hybrid": "tab:purple",
    "twin": "tab:blue",
    "frozen": "tab:cyan",
    "unentangled": "tab:pink",
    "no_middle": "tab:green",
}
BASELINE = "tab:gray"
LEFT_OUT = -0.1
"""A baseline of less skill than this, and than all models, would squeeze the others together."""


LEAST_SEEDS = 5
"""Of fewer, no interval holds the median with 95 % confidence."""


def draw_ablation(record: dict[str, Any]) -> Figure:
    """Skill over the last value: a dot a seed, the median and its interval of each variant, the baselines.

    Args:
        record: What `run_ablation` returns.
    """
    rows = [row for row in record["rows"] if row["variant"] != "last_value"]
    worst = min(row["skill"] for row in rows if row["kind"] == "model")
    shown = [row for row in rows if row["skill"] >= min(worst, LEFT_OUT)]
    figure = Figure(figsize=(9, 1.8 + 0.36 * len(shown)), layout="constrained")
    axes = figure.subplots()
    seeds = len(record["seeds"])
    for row in shown:
        _draw_row(axes, row, record["seed_skill"][row["variant"]], whole=seeds >= LEAST_SEEDS)
    if any(row["kind"] == "baseline" for row in shown):
        axes.plot([], [], "D", color=BASELINE, markersize=6, label="classical baseline")
    axes.axvline(0, color="black", linestyle=":", label="last value")
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.set(xlabel=f"skill over the last value, test part ({record['target']}); right is better")
    axes.grid(alpha=0.3, axis="x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(_title(record, len(rows) - len(shown)), fontsize=10)
    return figure


def _draw_row(axes: Axes, row: dict[str, Any], skills: list[float], *, whole: bool) -> None:
    name, colour = row["variant"].replace("_", " "), COLOURS.get(row["variant"], BASELINE)
    if row["kind"] == "baseline":
        axes.plot(skills, [name], "D", color=colour, markersize=6)
        return
    first = name == "hybrid"
    axes.plot(skills, [name] * len(skills), "o", color=colour, alpha=0.5, markersize=5,
              label="one seed" if first else None)  # fmt: skip
    if row["skill_low"] is not None and whole:
        ends = [[row["skill"] - row["skill_low"]], [row["skill_high"] - row["skill"]]]
        axes.errorbar([row["skill"]], [name], xerr=ends, color=colour, capsize=4,
                      label="95 % interval of the median" if first else None)  # fmt: skip
    axes.plot([row["skill"]], [name], "|", color=colour, markersize=16, markeredgewidth=2.5,
              label="median" if first else None)  # fmt: skip


def _title(record: dict[str, Any], hidden: int) -> str:
    beyond = f"; {hidden} baseline{'s' if hidden > 1 else ''} far to the left not shown" if hidden else ""
    return f"{record['config']}: {len(record['seeds'])} seeds, {record['dates']} test dates{beyond}"
