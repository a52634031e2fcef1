"""The figure of an ablation."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from qhq.evaluation.bootstrap import LEAST_SEEDS, median_interval
from qhq.evaluation.losses import TITLES
from qhq.runs.studies import AblationRecord, AblationRow

_COLOURS = {
    "hybrid": "tab:purple",
    "mlp": "tab:blue",
    "mlp_tuned": "tab:olive",
    "twin": "tab:blue",
    "frozen": "tab:cyan",
    "unentangled": "tab:pink",
    "no_middle": "tab:green",
}
_BASELINE = "tab:gray"
# A baseline so far below zero and all models, or below models far above zero, would squeeze the others.
_LEFT_OUT = 0.1


def draw_ablation(record: AblationRecord) -> Figure:
    """Gain over the last value: a dot a seed, the median and its interval of each variant, the baselines.

    The gain is by the loss that decides; in a record of an earlier version, which has none, it is the skill.

    Args:
        record: What `run_ablation` returns.
    """
    gains = _gains(record)
    rows = [row for row in record.rows if row.variant != "last_value"]
    middle = {row.variant: float(np.median(gains[row.variant])) for row in rows}
    worst = min(middle[row.variant] for row in rows if row.kind == "model")
    models = [middle[row.variant] for row in rows if row.kind == "model"]
    far = worst - max(_LEFT_OUT, 3 * (max(models) - worst))
    # Where all models are far better than the last value, that is what would squeeze them.
    lowest = far if far > 0 else min(worst, -_LEFT_OUT)
    shown = [row for row in rows if middle[row.variant] >= lowest]
    figure = Figure(figsize=(9, 1.8 + 0.36 * len(shown)), layout="constrained")
    axes = figure.subplots()
    for row in shown:
        _draw_row(axes, row, gains[row.variant])
    if any(row.kind == "baseline" for row in shown):
        axes.plot([], [], "D", color=_BASELINE, markersize=6, label="classical baseline")
    if lowest <= 0:
        axes.axvline(0, color="black", linestyle=":", label="last value")
    # The first row on top, as in the table.
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_locator(MaxNLocator(7))
    what = f"{TITLES[record.loss]}, below" if record.loss is not None else "skill over"
    axes.set(xlabel=f"{what} that of the last value, test split ({record.target}); right is better")
    axes.grid(alpha=0.3, axis="x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(_title(record, len(rows) - len(shown), naive=lowest <= 0), fontsize=10)
    return figure


def _gains(record: AblationRecord) -> dict[str, list[float]]:
    """Gain over the last value of each seed, by variant."""
    if not record.seed_loss:
        # A last value that never errs leaves no skill.
        return {name: [each or 0.0 for each in skills] for name, skills in record.seed_skill.items()}
    naive = record.seed_loss["last_value"][0]
    return {
        name: [1 - loss / naive if naive > 0 else 0.0 for loss in losses]
        for name, losses in record.seed_loss.items()
    }


def _draw_row(axes: Axes, row: AblationRow, gains: list[float]) -> None:
    name, colour = row.variant.replace("_", " "), _COLOURS.get(row.variant, _BASELINE)
    if row.kind == "baseline":
        axes.plot(gains, [name], "D", color=colour, markersize=6)
        return
    first, median = name == "hybrid", median_interval(gains)
    axes.plot(gains, [name] * len(gains), "o", color=colour, alpha=0.5, markersize=5,
              label="one seed" if first else None)  # fmt: skip
    # Of fewer than five seeds no interval holds the median with 95 % confidence.
    if median.low is not None and median.high is not None and len(gains) >= LEAST_SEEDS:
        ends = [[median.value - median.low], [median.high - median.value]]
        axes.errorbar([median.value], [name], xerr=ends, color=colour, capsize=4,
                      label="95 % interval of the median" if first else None)  # fmt: skip
    axes.plot([median.value], [name], "|", color=colour, markersize=16, markeredgewidth=2.5,
              label="median" if first else None)  # fmt: skip


def _title(record: AblationRecord, hidden: int, *, naive: bool) -> str:
    away = [f"{hidden} baseline{'s' if hidden > 1 else ''}"] if hidden else []
    away += [] if naive else ["the last value"]
    beyond = f"; {' and '.join(away)} far to the left not shown" if away else ""
    return f"{record.config}: {len(record.seeds)} seeds, {record.dates} test dates{beyond}"
