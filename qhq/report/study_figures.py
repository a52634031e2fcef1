"""The figures of studies: an ablation, portability, noise, a walk-forward, and the stages of a sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from qhq.data.caveat import Caveat
from qhq.data.panel import FloatArray
from qhq.evaluation.bootstrap import LEAST_SEEDS, median_interval
from qhq.evaluation.losses import TITLES as LOSS_TITLES
from qhq.evaluation.significance import say_p_value
from qhq.report.colours import AMBER, COLOURS, MAGENTA, OLIVE, TEAL, shade
from qhq.report.figures import Note, save_figure, try_figure
from qhq.runs.answers import BackendResult, EvaluationRecord
from qhq.runs.record import WalkRecord
from qhq.runs.run_folder import RunFolder, read_walk
from qhq.runs.studies import (
    BUDGET_TITLES,
    AblationRecord,
    AblationRow,
    BudgetPart,
    NoiseRecord,
    NoiseRow,
    PointRow,
    StageRecord,
    StageTrend,
)

_End = Literal["skill_low", "skill_high", "expectation_error_low", "expectation_error_high"]

_VARIANT_COLOURS = {
    "hybrid": "tab:purple",
    "mlp": "tab:blue",
    "mlp_tuned": OLIVE,
    # What records of earlier versions call the MLP.
    "twin": "tab:blue",
    "frozen": TEAL,
    "unentangled": MAGENTA,
    "no_middle": "tab:green",
}
_BASELINE_COLOUR = "tab:gray"
# A baseline so far below zero and all models, or below models far above zero, would squeeze the others.
_TOO_FAR = 0.1


def draw_ablation(record: AblationRecord) -> Figure:
    """Gain over the last value: a dot a seed, the median and its interval of each variant, the baselines.

    The gain is by the loss that decides; in a record of an earlier version, which has none, it is the skill.

    Args:
        record: What `run_ablation` returns.
    """
    gains = _gains_of_variants(record)
    rows = [row for row in record.rows if row.variant != "last_value"]
    middle = {row.variant: float(np.median(gains[row.variant])) for row in rows}
    worst = min(middle[row.variant] for row in rows if row.kind == "model")
    models = [middle[row.variant] for row in rows if row.kind == "model"]
    # Three times the spread of the models below the worst of them: there a baseline still leaves them a
    # quarter of the axis.
    far = worst - max(_TOO_FAR, 3 * (max(models) - worst))
    # Where all models are far better than the last value, that is what would squeeze them.
    lowest = far if far > 0 else min(worst, -_TOO_FAR)
    shown = [row for row in rows if middle[row.variant] >= lowest]
    figure = Figure(figsize=(9, 1.8 + 0.36 * len(shown)), layout="constrained")
    axes = figure.subplots()
    for row in shown:
        _draw_variant(axes, row, gains[row.variant])
    if any(row.kind == "baseline" for row in shown):
        axes.plot([], [], "D", color=_BASELINE_COLOUR, markersize=6, label="classical baseline")
    if lowest <= 0:
        axes.axvline(0, color="black", linestyle=":", label="last value")
    # The first row on top, as in the table.
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_locator(MaxNLocator(7))
    what = f"{LOSS_TITLES[record.loss]}, below" if record.loss is not None else "skill over"
    axes.set(xlabel=f"{what} that of the last value, test split ({record.target}); right is better")
    axes.grid(alpha=0.3, axis="x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(_title(record, len(rows) - len(shown), naive=lowest <= 0), fontsize=10)
    return figure


def _gains_of_variants(record: AblationRecord) -> dict[str, list[float]]:
    """Gain over the last value of each seed, by variant."""
    if not record.seed_loss:
        # A last value that never errs leaves no skill.
        return {name: [each or 0.0 for each in skills] for name, skills in record.seed_skill.items()}
    naive = record.seed_loss["last_value"][0]
    return {
        name: [1 - loss / naive if naive > 0 else 0.0 for loss in losses]
        for name, losses in record.seed_loss.items()
    }


def _draw_variant(axes: Axes, row: AblationRow, gains: list[float]) -> None:
    name, colour = row.variant.replace("_", " "), _VARIANT_COLOURS.get(row.variant, _BASELINE_COLOUR)
    if row.kind == "baseline":
        axes.plot(gains, [name], "D", color=colour, markersize=6)
        return
    first, median = name == "hybrid", median_interval(gains)
    axes.plot(gains, [name] * len(gains), "o", color=colour, markerfacecolor=to_rgba(colour, 0.5),
              markersize=5, label="one seed" if first else None)  # fmt: skip
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


def draw_portability(record: EvaluationRecord) -> Figure:
    """Skill beside the last value, and error of the expectation values, backend by backend.

    Args:
        record: What `run_evaluation` returns.
    """
    results = record.results
    names = [_backend_label(result) for result in results]
    figure = Figure(figsize=(11, 1.4 + 0.5 * len(results)), layout="constrained")
    forecast, circuit = figure.subplots(1, 2, sharey=True)
    # Not the MAE: of several symbols that of the dearest would be all there is to see.
    skills = [_percent(result.metrics.skill) for result in results]
    forecast.plot(skills, names, "o", color="tab:blue", label="model")
    # The record has no exact skill of its own: each result has its distance from it.
    exact = skills[0] - _percent(results[0].delta_skill)
    forecast.axvline(exact, color="tab:green", label="model on the exact simulator")
    forecast.axvline(0, color="black", linestyle=":", label="last value")
    forecast.set(xlabel="skill over the last value, %; right is better")
    figure.legend(*forecast.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    errors = [result.expectation_error or 0.0 for result in results]
    # Of entries whose service works standard errors out.
    stds = [result.expectation_std or 0.0 for result in results]
    circuit.barh(names, errors, color="tab:purple")
    if any(stds):
        circuit.errorbar(errors, names, xerr=stds, fmt="none", color="black", capsize=3)
    bars = "; bars: standard error of one value" if any(stds) else ""
    circuit.set(xlabel=f"mean |<O> - exact|{bars}")
    # Nothing but zeros would be an empty panel on an axis of negative errors.
    if not any(errors):
        circuit.set_xlim(0, 1)
        circuit.set_xticks([0])
        for name in names:
            circuit.annotate("equal to the exact simulator", (0, name), xytext=(6, 0), va="center",
                             textcoords="offset points", fontsize=8)  # fmt: skip
    forecast.invert_yaxis()
    forecast.xaxis.set_major_locator(MaxNLocator(5))
    for axes in (forecast, circuit):
        axes.grid(alpha=0.3, axis="x")
    figure.suptitle(f"{record.run}: {results[0].samples} windows", fontsize=10)
    return figure


def _percent(value: float | None) -> float:
    """In percent; NaN, which is not drawn, where the last value never errs."""
    return math.nan if value is None else 100 * value


def _backend_label(result: BackendResult) -> str:
    return f"{result.label} ({result.said_shots} shots)" + (", best case" if result.note else "")


def draw_walk_figure(folder: RunFolder, note: Note) -> Path | None:
    """Draw the figure of a finished walk-forward into its ``figures/``; one that fails is noted."""
    record = read_walk(folder)
    return try_figure(
        lambda path: save_figure(draw_walk(record), path, Caveat(tuple(record.leaks))),
        folder.file("figures/walk.png"),
        note,
    )


def draw_walk(record: WalkRecord) -> Figure:
    """Skill beside the last value, fold by fold at the dates that each forecasts, and by regime.

    Args:
        record: Of a finished walk-forward.
    """
    folds = record.folds or []
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    by_fold, by_regime = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
    begins, ends = (
        [np.datetime64(getattr(fold, name)).astype("datetime64[D]") for fold in folds]
        for name in ("first", "last")
    )
    skills = [_percent(fold.skill) for fold in folds]
    widths = [(end - begin) / np.timedelta64(1, "D") + 1 for begin, end in zip(begins, ends, strict=True)]
    colours = ["tab:blue" if skill > 0 else AMBER for skill in skills]
    # From the first to the last date of a fold, so that gaps between the blocks are gaps.
    by_fold.bar(begins, skills, widths, align="edge", color=colours, edgecolor="white")
    # A fold that keeps its start has a skill of 0, and a bar that cannot be seen.
    middles = [begin + (end - begin) / 2 for begin, end in zip(begins, ends, strict=True)]
    by_fold.plot(middles, skills, "o", color="black", markersize=4, label="a fold")
    whole = _percent(record.tested().test.skill)
    by_fold.axhline(whole, color="tab:green", linestyle="--", label="all folds")
    by_fold.set(title=f"{len(folds)} folds, each at the dates that it forecasts", ylabel="skill, %")
    by_fold.legend(fontsize=8)
    regimes = record.regimes
    names = [f"{each.regime}\n{each.windows}" for each in regimes]
    by_regime.bar(names, [_percent(each.skill) for each in regimes], color="tab:purple")
    by_regime.set(title="Regime, windows")
    for axes in (by_fold, by_regime):
        # Bars would hold the frame at 0, which would cut the dots that lie there in half.
        axes.use_sticky_edges = False
        axes.margins(y=0.08)
        axes.axhline(0, color="black", linestyle=":")
        axes.grid(alpha=0.3, axis="y")
    figure.suptitle(f"{record.run}: skill over the last value; above zero is better", fontsize=10)
    return figure


def draw_noise(record: NoiseRecord) -> Figure:
    """Skill and expectation error against noise scale, and expectation error against shots.

    Args:
        record: What `run_noise_study` returns.
    """
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    forecast, expectation, shots = figure.subplots(1, 3)
    # Not the MAE: of several symbols that of the dearest would be all there is to see.
    _draw_against_scale(forecast, record, "skill")
    forecast.axhline(0, color="black", linestyle=":", label="last value")
    forecast.yaxis.set_major_formatter(PercentFormatter(1.0))
    limits = [scale for scale in record.limits.values() if scale is not None]
    if limits:
        # A cross where a line meets that of the last value.
        forecast.plot(limits, [0.0] * len(limits), "kx", markersize=8, label="falls behind the last value")
    forecast.set(title="Forecast", xlabel="noise scale", ylabel="skill over the last value")
    _draw_against_scale(expectation, record, "expectation_error")
    expectation.set(title="Circuit", xlabel="noise scale", ylabel="mean |<O> - exact|")
    _draw_against_shots(shots, record)
    figure.legend(*forecast.get_legend_handles_labels(), loc="outside lower left", ncols=6, fontsize=8)
    for axes in (forecast, expectation, shots):
        axes.grid(alpha=0.3)
    figure.suptitle(
        f"{record.backend}: {record.samples} windows, intervals over {record.seeds} seeds of shots",
        fontsize=10,
    )
    return figure


def draw_budget(record: NoiseRecord) -> Figure:
    """The error budget: a bar a part, with its interval over dates, and the last value for comparison.

    Args:
        record: What `run_noise_study` returns, with a budget.
    """
    budget = record.budget
    assert budget is not None
    model, *noise = budget.components
    figure = Figure(figsize=(11, 1.6 + 0.5 * max(3, len(noise))), layout="constrained")
    whole, parts = figure.subplots(1, 2, width_ratios=[2, 3])
    total = budget.total
    heights = {
        "last value": budget.naive,
        "exact simulator": model.value,
        record.backend: total.value,
    }
    whole.barh(list(heights), list(heights.values()), color=["gray", "tab:green", "tab:blue"])
    _draw_ends(whole, (model, total), list(heights)[1:])
    whole.set(xlabel=f"{LOSS_TITLES.get(budget.loss, budget.loss)}; left is better")
    # On a scale of their own: beside the whole error parts of a hundredth of it could not be seen.
    names = [BUDGET_TITLES.get(part.component, part.component) for part in noise]
    values = [part.value for part in noise]
    parts.barh(names, values, color=["tab:red" if value > 0 else "tab:green" for value in values])
    _draw_ends(parts, noise, names)
    parts.axvline(0, color="black", linewidth=0.8)
    parts.set(xlabel="what it adds to the loss, with its 95 % interval over dates")
    for axes in (whole, parts):
        axes.invert_yaxis()
        axes.grid(alpha=0.3, axis="x")
        axes.xaxis.set_major_locator(MaxNLocator(5))
    figure.suptitle(f"{record.backend}: {record.samples} windows. {budget.verdict}", fontsize=9, wrap=True)
    return figure


def _draw_ends(axes: Axes, parts: Sequence[BudgetPart], names: Sequence[str]) -> None:
    """Intervals of bars, where they have some."""
    for part, name in zip(parts, names, strict=True):
        if part.low is not None and part.high is not None:
            # A mean may lie a little outside an interval of percentiles.
            ends = np.maximum([[part.value - part.low], [part.high - part.value]], 0.0)
            axes.errorbar([part.value], [name], xerr=ends, fmt="none", color="black", capsize=3)


def _draw_against_scale(axes: Axes, record: NoiseRecord, key: Literal["skill", "expectation_error"]) -> None:
    for colour, shots in zip(cycle(COLOURS), _all_shots(record), strict=False):
        rows = sorted((row for row in _own(record) if row.shots == shots), key=lambda row: row.scale)
        scales = [row.scale for row in rows]
        axes.plot(
            scales,
            [getattr(row, key) for row in rows],
            marker="o",
            markersize=3,
            color=colour,
            label="exact" if shots is None else f"{shots} shots",
        )
        ends: tuple[_End, _End] = ("skill_low", "skill_high")
        if key == "expectation_error":
            ends = ("expectation_error_low", "expectation_error_high")
        low, high = ([getattr(row, end) for row in rows] for end in ends)
        if len(rows) > 1:
            shade(axes, scales, (low, high), colour, 0.2)
        else:  # between two scales alone there is a band
            axes.vlines(scales, low, high, color=colour)


def _draw_against_shots(axes: Axes, record: NoiseRecord) -> None:
    sampled = sorted(shots for shots in _all_shots(record) if shots is not None)
    axes.set(title="Shots", xlabel="shots", ylabel="mean |<O> - exact|")
    if not sampled:
        axes.text(0.5, 0.5, "exact values only", ha="center", transform=axes.transAxes)
        return
    for colour, scale in zip(cycle(COLOURS), sorted({row.scale for row in _own(record)}), strict=False):
        rows = {row.shots: row for row in _own(record) if row.scale == scale}
        axes.plot(
            sampled, [rows[shots].expectation_error for shots in sampled], marker="o", markersize=3,
            color=colour, label=f"scale {scale:g}",
        )  # fmt: skip
    if len(sampled) > 1:  # of a single number of shots it would be a line without a length
        first = min(row.expectation_error for row in _own(record) if row.shots == sampled[0])
        # From the lowest error at the fewest shots: what shots alone would make of it.
        guide = [first * (sampled[0] / shots) ** 0.5 for shots in sampled]
        axes.plot(sampled, guide, color="gray", linestyle="--", label="1/sqrt(shots)")
    axes.set(xscale="log", yscale="log")
    # The shots that were asked for, and not the powers of ten between them.
    axes.set_xticks(sampled, labels=[str(shots) for shots in sampled])
    axes.xaxis.minorticks_off()
    axes.legend(fontsize=8)


def _all_shots(record: NoiseRecord) -> list[int | None]:
    return list(dict.fromkeys(row.shots for row in record.rows))


def _own(record: NoiseRecord) -> list[NoiseRow]:
    """Rows of the backend whose noise was scaled; others were measured as they are."""
    return [row for row in record.rows if row.backend == record.backend]


_PANELS_A_ROW = 3
_DOT = "a point, median of its seeds"
# More labels, or longer ones, are turned to be read.
_MOST_LEVEL = 8


def draw_stage(record: StageRecord, metric: str) -> Figure:
    """Error over the last value's against each key of the stage: a dot a point, the median and its interval.

    Args:
        record: A stage, as `run_sweep` keeps it.
        metric: What was ranked.
    """
    rows = [row for row in record.rows if row.value is not None]
    varied = len({row.parameters for row in rows}) > 1
    keys = [*record.keys, *(["parameters"] if varied else [])]
    columns = min(_PANELS_A_ROW, len(keys))
    lines = math.ceil(len(keys) / columns)
    figure = Figure(figsize=(1 + 4.2 * columns, 1.3 + 3.2 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    trends = {trend.key: trend for trend in record.trends}
    for axes, key in zip(grid, keys, strict=False):
        _draw_key(axes, rows, key, record.value, trends.get(key) or trends.get(f"length of {key}"))
    # What is left over of the last line.
    for axes in grid[len(keys) :]:
        axes.remove()
    for axes in grid[: len(keys) : columns]:
        axes.set_ylabel(f"validation {metric.upper()} / last value's")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(f"Stage {record.stage}: {record.noise.sentence}", fontsize=10)
    return figure


def _draw_key(
    axes: Axes, rows: Sequence[PointRow], key: str, chosen: float, trend: StageTrend | None
) -> None:
    values = np.array([row.value for row in rows])
    labels = [row.to_dict()[key] for row in rows]
    if _is_continuous(labels):
        numbers = np.array(labels, dtype=float)
        axes.plot(numbers, values, "o", color="tab:blue", markerfacecolor=to_rgba("tab:blue", 0.6),
                  markersize=4, label=_DOT)  # fmt: skip
        # Learning rates and widths are tried over decades; on a linear axis all but the last would be one
        # dot.
        if numbers.min() > 0 and numbers.max() > 20 * numbers.min():
            axes.set_xscale("log")
        else:
            axes.xaxis.set_major_locator(MaxNLocator(4))
    else:
        _by_label(axes, labels, values)
    axes.axhline(chosen, color="tab:green", linestyle="--", linewidth=1,
                 label="chosen: the simplest that ties with the lowest")  # fmt: skip
    margin = 0.08 * (np.ptp(values) or 0.01)
    low, high = values.min() - margin, values.max() + margin
    # Far from it all points would lie in one line at the edge.
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
    return len(set(labels)) > _MOST_LEVEL or any(isinstance(label, float) for label in labels)


def _by_label(axes: Axes, labels: list[Any], values: FloatArray) -> None:
    """A column a label, in the order of their numbers if they are numbers."""
    distinct = sorted(dict.fromkeys(labels), key=_order)
    for place, label in enumerate(distinct):
        own = values[[each == label for each in labels]]
        axes.plot([place] * len(own), own, "o", color="tab:blue", markerfacecolor=to_rgba("tab:blue", 0.35),
                  markersize=4, label=_DOT if place == 0 else None)  # fmt: skip
        median = median_interval(own)
        if median.low is not None and median.high is not None:
            ends = [[median.value - median.low], [median.high - median.value]]
            axes.errorbar([place], [median.value], yerr=ends, fmt="_", color="tab:blue", capsize=4,
                          markersize=14, label="median, 95 % interval" if place == 0 else None)  # fmt: skip
    turned = len(distinct) > _MOST_LEVEL or any(len(str(label)) > _MOST_LEVEL for label in distinct)
    axes.set_xticks(range(len(distinct)), [str(label) for label in distinct])
    axes.tick_params(axis="x", rotation=90 if turned else 0, labelsize=7 if turned else 9)


def _order(label: Any) -> tuple[int, float, str]:
    try:
        return (0, float(label), "")
    except (TypeError, ValueError):
        return (1, 0.0, str(label))


def _say_trend(trend: StageTrend | None) -> str:
    if trend is None:
        return "no trend to tell: unordered, or few points"
    what = "rank correlation"
    if trend.key.startswith("length of"):
        what += " with length"
    interval = f"{trend.low:+.2f} to {trend.high:+.2f}"
    return f"{what} {trend.rho:+.2f} ({interval}), p {say_p_value(trend.p_value)}"
