"""Figures of a panel: a chart of each symbol over time, and the smile of a day's options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from qhq.data.columns import unit_of
from qhq.data.panel import Mask, Panel

_Days = tuple[np.datetime64, np.datetime64]
_SPLIT_COLOURS = {"train": "tab:blue", "validation": "tab:orange", "test": "tab:green"}
# A range of prices this many times its low is drawn on a logarithmic axis.
_WIDE = 8.0
# So few sessions are each named on the axis.
_FEW = 10


@dataclass(frozen=True)
class Surroundings:
    """What stands around the chart of a symbol.

    Attributes:
        facts: Its entry of ``qhq.data.panel.describe_panel``.
        spans: First and last day of each split; empty draws none.
    """

    facts: Mapping[str, Any]
    spans: Mapping[str, _Days]


def draw_stock(panel: Panel, frame: Surroundings, column: str) -> Figure:
    """One column of a stock over time, with its share splits, gaps and the splits of the data.

    Args:
        panel: A panel of stocks.
        frame: What stands around it.
        column: Which column: ``close``, unless the panel has none.
    """
    symbol = str(frame.facts["symbol"])
    rows = panel.code == panel.symbols.index(symbol)
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    axes = figure.subplots()
    _draw_line(axes, panel.dates[rows], panel.column(column)[rows], column)
    _surround(axes, frame)
    _finish(figure, axes, f"{symbol}: {column.replace('_', ' ')}", frame.facts)
    return figure


def draw_underlying(panel: Panel, frame: Surroundings) -> Figure:
    """Spot of an underlying over time, and below it how many of its contracts have a quote."""
    name = str(frame.facts["symbol"])
    rows = np.asarray(panel.groups)[panel.code] == name
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    spot, count = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    # All contracts of a day have the same spot.
    days, first = np.unique(panel.dates[rows], return_index=True)
    _draw_line(spot, days, panel.column("spot")[rows][first], "spot")
    _surround(spot, frame)
    # Summed by date as weights, as bincount counts rows and not what is in them.
    quoted = np.isfinite(panel.column("mid")[rows]).astype(np.float64)
    numbers = np.bincount(np.searchsorted(days, panel.dates[rows]), weights=quoted, minlength=len(days))
    count.plot(days, numbers, color="black", linewidth=1, marker="." if len(days) < 30 else "")
    count.set(ylabel="contracts quoted", ylim=(0, None))
    count.grid(alpha=0.3)
    _finish(
        figure, spot, f"{name}: {frame.facts['contracts']:,} contracts, {panel.label} quotes", frame.facts
    )
    return figure


def draw_smile(panel: Panel, underlying: str, day: np.datetime64) -> Figure:
    """Implied volatility against log-moneyness on one day, a line for each expiry, a mark for each right."""
    rows = (np.asarray(panel.groups)[panel.code] == underlying) & (panel.dates == day)
    rows &= np.isfinite(panel.column("iv"))
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    axes = figure.subplots()
    expiries = np.unique(panel.column("expiry")[rows])
    # The lightest end of the map is not readable on white.
    colors = colormaps["viridis"](np.linspace(0, 0.9, len(expiries)))
    for expiry, color in zip(expiries, colors, strict=True):
        _draw_expiry(axes, panel, rows & (panel.column("expiry") == expiry), color)
    if len(expiries):
        # So many lines of a legend are as high as the figure.
        ncols = 1 + len(expiries) // 24
        figure.legend(
            loc="outside right upper", title="expiry (days)", title_fontsize=8, fontsize=8, ncols=ncols
        )
    else:
        axes.text(0.5, 0.5, "no implied volatility on this day", ha="center", transform=axes.transAxes)
    axes.axvline(0, color="gray", linewidth=0.8, linestyle=":")
    axes.set(xlabel="log-moneyness ln(strike / forward)", ylabel="implied volatility (% a year)")
    axes.set_title(f"{underlying} on {day}: implied volatility of {panel.label} quotes (▲ calls, ▼ puts)")
    axes.grid(alpha=0.3)
    return figure


def _draw_expiry(axes: Axes, panel: Panel, rows: Mask, color: npt.NDArray[np.float64]) -> None:
    moneyness = np.log(panel.column("strike") / panel.column("forward"))[rows]
    iv, right = 100 * panel.column("iv")[rows], panel.column("right")[rows]
    expiry = np.datetime64(int(panel.column("expiry")[rows][0]), "D")
    label = f"{expiry} ({round(365 * panel.column('years')[rows][0])})"
    for side, marker in ((1, "^"), (-1, "v")):
        order = np.flatnonzero(right == side)
        order = order[np.argsort(moneyness[order])]
        if len(order):
            axes.plot(
                moneyness[order],
                iv[order],
                color=color,
                marker=marker,
                markersize=4,
                linewidth=0.8,
                label=label,
            )
            label = "_nolegend_"


def _draw_line(
    axes: Axes, days: npt.NDArray[np.datetime64], values: npt.NDArray[np.float64], name: str
) -> None:
    axes.plot(days, values, color="black", linewidth=1, marker="." if len(days) < 30 else "")
    low, high = (np.nanmin(values), np.nanmax(values)) if np.isfinite(values).any() else (1.0, 1.0)
    if 0 < _WIDE * low < high:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    if len(days) < _FEW:  # or the axis would count hours
        axes.set_xticks(
            [_place(day) for day in days], labels=[str(day.astype("datetime64[D]")) for day in days]
        )
    axes.set(ylabel=f"{name.replace('_', ' ')} ({unit_of(name)})")
    axes.grid(alpha=0.3)


def _surround(axes: Axes, frame: Surroundings) -> None:
    """Shade the splits of the data, hatch the gaps, mark the share splits."""
    for split, (first, last) in frame.spans.items():
        axes.axvspan(
            _place(first), _place(last), color=_SPLIT_COLOURS[split], alpha=0.12, linewidth=0, label=split
        )
    for number, gap in enumerate(frame.facts["gaps"]):
        days = [_place(np.datetime64(gap[end])) for end in ("after", "before")]
        label = "gap" if number == 0 else "_nolegend_"
        axes.axvspan(*days, facecolor="none", edgecolor="gray", hatch="////", linewidth=0, label=label)
    for number, split in enumerate(frame.facts["splits"]):
        day = _place(np.datetime64(split["date"]))
        axes.axvline(day, color="tab:red", linestyle="--", linewidth=1, label="" if number else "split")
        axes.annotate(
            _ratio(split["ratio"]), (day, 0.97), xycoords=("data", "axes fraction"), xytext=(3, 0),
            textcoords="offset points", va="top", color="tab:red", fontsize=8,
        )  # fmt: skip


def _place(day: np.datetime64) -> float:
    """Where a day lies on an axis of dates: days since 1970-01-01."""
    return float(day.astype("datetime64[D]").astype(np.float64))


def _ratio(ratio: float) -> str:
    """New shares for old ones, as brokers write it: 2:1, 3:2, 1:10."""
    # Ratios of brokers are of small whole numbers; a file may have 0.6667 for 2:3.
    for old in range(1, 51):
        if abs(ratio * old - round(ratio * old)) < 1e-2 * old and round(ratio * old) > 0:
            return f"{round(ratio * old)}:{old}"
    return f"{ratio:g}:1"


def _finish(figure: Figure, axes: Axes, title: str, facts: Mapping[str, Any]) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(handles), fontsize=9)
    figure.suptitle(
        f"{title}, {facts['first']} to {facts['last']}, {facts['sessions']:,} sessions", fontsize=11
    )


def latest_day(panel: Panel, underlying: str, days: Sequence[np.datetime64] = ()) -> np.datetime64 | None:
    """Newest day with an implied volatility of an underlying, of ``days`` if some are given; None without."""
    rows = (np.asarray(panel.groups)[panel.code] == underlying) & np.isfinite(panel.column("iv"))
    found = panel.dates[rows]
    found = found[np.isin(found, list(days))] if len(days) else found
    return found.max() if len(found) else None
