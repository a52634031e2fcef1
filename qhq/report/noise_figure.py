"""The figure of a noise study."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter


def draw_noise(record: dict[str, Any]) -> Figure:
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
    _mark_limits(forecast, record)
    forecast.set(title="Forecast", xlabel="noise scale", ylabel="skill over the last value")
    _draw_against_scale(expectation, record, "expectation_error")
    expectation.set(title="Circuit", xlabel="noise scale", ylabel="mean |<O> - exact|")
    _draw_against_shots(shots, record)
    figure.legend(*forecast.get_legend_handles_labels(), loc="outside lower left", ncols=6, fontsize=8)
    for axes in (forecast, expectation, shots):
        axes.grid(alpha=0.3)
    figure.suptitle(
        f"{record['backend']}: {record['samples']} windows, intervals over {record['seeds']} seeds of shots",
        fontsize=10,
    )
    return figure


def _draw_against_scale(axes: Axes, record: dict[str, Any], key: str) -> None:
    for shots in _all_shots(record):
        rows = sorted((row for row in record["rows"] if row["shots"] == shots), key=lambda row: row["scale"])
        scales = [row["scale"] for row in rows]
        axes.plot(scales, [row[key] for row in rows], marker="o", markersize=3, label=_word(shots))
        low, high = ([row[f"{key}_{end}"] for row in rows] for end in ("low", "high"))
        axes.fill_between(scales, low, high, alpha=0.2)


def _mark_limits(axes: Axes, record: dict[str, Any]) -> None:
    """A cross where a line meets that of the last value."""
    limits = [scale for scale in record["limits"].values() if scale is not None]
    if limits:
        axes.plot(limits, [0.0] * len(limits), "kx", markersize=8, label="falls behind the last value")


def _draw_against_shots(axes: Axes, record: dict[str, Any]) -> None:
    sampled = sorted(shots for shots in _all_shots(record) if shots is not None)
    axes.set(title="Shots", xlabel="shots", ylabel="mean |<O> - exact|")
    if not sampled:
        axes.text(0.5, 0.5, "exact values only", ha="center", transform=axes.transAxes)
        return
    for scale in sorted({row["scale"] for row in record["rows"]}):
        rows = {row["shots"]: row for row in record["rows"] if row["scale"] == scale}
        axes.plot(
            sampled, [rows[shots]["expectation_error"] for shots in sampled], marker="o", markersize=3,
            label=f"scale {scale:g}",
        )  # fmt: skip
    first = min(row["expectation_error"] for row in record["rows"] if row["shots"] == sampled[0])
    guide = [first * (sampled[0] / shots) ** 0.5 for shots in sampled]
    axes.plot(sampled, guide, color="gray", linestyle="--", label="1/sqrt(shots)")
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(sampled, labels=[str(shots) for shots in sampled])
    axes.xaxis.minorticks_off()
    axes.legend(fontsize=8)


def _all_shots(record: dict[str, Any]) -> list[int | None]:
    return list(dict.fromkeys(row["shots"] for row in record["rows"]))


def _word(shots: int | None) -> str:
    return "exact" if shots is None else f"{shots} shots"
