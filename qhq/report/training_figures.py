"""Figures of a training: losses, gradients, drift of the weights, outputs of the circuit, and its angles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from qiskit.circuit import ParameterExpression

from qhq.ansatz.program import Ansatz
from qhq.data.panel import FloatArray
from qhq.report.colours import AMBER, shade
from qhq.runs.answers import Landscape
from qhq.runs.record import AngleCounts
from qhq.training.traces import OUTPUTS

PARTS = ("encoder", "circuit", "head")
"""Parts of a model in a history, each with a colour of its own that stays the same in all figures."""

_COLOURS = dict(zip(PARTS, ("tab:blue", "tab:purple", "tab:green"), strict=True))


def draw_history(history: pd.DataFrame, untrained: float | None = None) -> Figure:
    """Losses, gradient norms, distances of the weights from their start and outputs of the circuit, by epoch.

    Args:
        history: One row an epoch; one of an earlier version has the losses and norms alone.
        untrained: Validation loss before the first epoch, drawn as a line; None leaves it out.
    """
    shown = [_draw_losses]
    if has_gradients(history):
        shown.append(_draw_gradients)
    if has_drift(history):
        shown.append(_draw_drift)
    if has_outputs(history):
        shown.append(_draw_outputs)
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(5 * columns, 3.4 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for draw, axes in zip(shown, grid, strict=False):
        draw(axes, history)
        axes.grid(alpha=0.3)
        set_epochs(axes, history["epoch"])
    if untrained is not None:
        grid[0].axhline(untrained, color="tab:gray", linestyle=":", label="validation, untrained")
    for axes in grid[: len(shown)]:
        if axes.get_legend_handles_labels()[1]:
            # Below the axes: matplotlib's best place within looks at the points alone, and lies on lines.
            axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    return figure


def set_epochs(axes: Axes, *histories: pd.Series) -> None:
    """Label an axis of epochs with whole numbers, also where there is a single one.

    Args:
        axes: Whose x-axis it is.
        *histories: Epochs of the curves on it.
    """
    first = min(int(epochs.min()) for epochs in histories)
    last = max(int(epochs.max()) for epochs in histories)
    axes.set(xlabel="epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if first == last:
        axes.set(xlim=(first - 1, first + 1), xticks=[first])


def has_gradients(history: pd.DataFrame) -> bool:
    """Whether a part of the model had any: a head that is fitted at once has none."""
    return any((history[f"grad_{part}"] > 0).any() for part in PARTS)


def has_drift(history: pd.DataFrame) -> bool:
    """Whether it says how far the weights came."""
    return all(f"drift_{part}" in history for part in PARTS) and bool(history["drift_head"].notna().any())


def has_outputs(history: pd.DataFrame) -> bool:
    """Whether it has the band of a circuit's outputs."""
    return all(name in history for name in OUTPUTS) and bool(history[OUTPUTS[2]].notna().any())


def _draw_losses(axes: Axes, history: pd.DataFrame) -> None:
    for column, label, colour in (
        ("train_loss", "training", "tab:blue"),
        ("validation_loss", "validation", AMBER),
    ):
        axes.plot(history["epoch"], history[column], marker="o", markersize=3, label=label, color=colour)
    axes.set(ylabel="loss (scaled units)", title="Loss")


def _draw_gradients(axes: Axes, history: pd.DataFrame) -> None:
    _draw_parts(axes, history, "grad")
    axes.set(ylabel="mean L2 norm", title="Gradient norms", yscale="log")


def _draw_drift(axes: Axes, history: pd.DataFrame) -> None:
    _draw_parts(axes, history, "drift")
    axes.set(ylabel="L2 distance", title="Weights: distance from the start")
    axes.set_ylim(bottom=0)


def _draw_parts(axes: Axes, history: pd.DataFrame, what: str) -> None:
    for part in PARTS:
        values = history[f"{what}_{part}"]
        # A logarithmic axis has no place for zeros, as of a frozen circuit or a model without one.
        if (values > 0).any():
            axes.plot(history["epoch"], values, marker="o", markersize=3, label=part, color=_COLOURS[part])


def _draw_outputs(axes: Axes, history: pd.DataFrame) -> None:
    colour = _COLOURS["circuit"]
    if len(history) == 1:  # a band between two epochs needs two of them
        history = pd.concat([history.assign(epoch=history["epoch"] + each) for each in (-0.2, 0, 0.2)])
    epochs = history["epoch"]
    low, lower, middle, upper, high = (history[name] for name in OUTPUTS)
    shade(axes, epochs, (low, high), colour, 0.15, label="5 % to 95 %")
    shade(axes, epochs, (lower, upper), colour, 0.3, label="25 % to 75 %")
    axes.plot(epochs, middle, color=colour, marker="o", markersize=3, label="median")
    axes.set(ylabel="expectation value", title="Outputs of the circuit, validation split", ylim=(-1.05, 1.05))


@dataclass(frozen=True)
class TrainedAngle:
    """A trained angle: its place among the weights, the gate that it turns, and its value in radians.

    ``begun`` is its value before training; None where that is not known.
    """

    number: int
    gate: str
    angle: float
    begun: float | None = None


def rotations_of(ansatz: Ansatz, weights: Sequence[float], begun: Sequence[float] = ()) -> list[TrainedAngle]:
    """Trained weights with the gates that they are in; of several circuits of one ansatz, all of them.

    Args:
        ansatz: The circuit.
        weights: As they are.
        begun: The same before training; others than as many say nothing.
    """
    gates: dict[str, str] = {}
    for step in ansatz.circuit.data:
        for value in step.operation.params:
            if isinstance(value, ParameterExpression):
                for parameter in value.parameters:
                    gates.setdefault(parameter.name, step.operation.name.upper())
    names = [gates.get(each.name, "?") for each in ansatz.weights]
    before = [float(each) for each in begun] if len(begun) == len(weights) else [None] * len(weights)
    return [
        TrainedAngle(number, names[number % len(names)], float(value), before[number])
        for number, value in enumerate(weights)
    ]


_TICKS = {0.0: "0", 0.5: "π/2", 1.0: "±π", 1.5: "-π/2"}
# Inputs that have a line of their own.
_MOST_INPUTS = 6
_GATES = {"RX": AMBER, "RY": "tab:blue", "RZ": "tab:green"}


def draw_circles(
    angles: AngleCounts | None, rotations: Sequence[TrainedAngle], *, untrained: bool = False
) -> Figure:
    """Angles on the circle: how data are spread on it on the left, and the trained weights on the right.

    Seen along the axis of a rotation: RY by an angle carries the state up (|0>) to that angle, so that |1> is
    at the bottom. Where it is known, a hollow mark is an angle before training.

    Args:
        angles: Of the data, as the run has them; None leaves their circle out.
        rotations: Trained angles; none leaves theirs out.
        untrained: Whether they are those of an untrained model that was kept.
    """
    count = (angles is not None) + bool(rotations)
    figure = Figure(figsize=(5.2 * max(count, 1), 5.2), layout="constrained")
    place = 0
    if angles is not None:
        place += 1
        _draw_data_angles(_circle(figure, count, place, "Angles of the data"), angles)
    if rotations:
        title = "Angles of the kept, untrained model" if untrained else "Trained angles"
        _draw_rotations(_circle(figure, count, place + 1, title), rotations)
    return figure


def _circle(figure: Figure, count: int, place: int, title: str) -> Axes:
    axes: Axes = figure.add_subplot(1, count, place, projection="polar")
    axes.set_theta_zero_location("N")  # type: ignore[attr-defined]
    axes.set_theta_direction(-1)  # type: ignore[attr-defined]
    axes.set_xticks([math.pi * each for each in _TICKS], labels=list(_TICKS.values()))
    axes.set_yticks([])
    axes.set_ylim(0, 1.15)
    axes.set_title(title)
    axes.grid(alpha=0.4)
    return axes


def _draw_data_angles(axes: Axes, angles: AngleCounts) -> None:
    counts = np.asarray(angles.counts, dtype=np.float64)
    bins = counts.shape[1]
    edges = np.linspace(-np.pi, np.pi, bins + 1)
    # By area, as an eye reads a rose; the fullest bin of all reaches the rim.
    radius = np.sqrt(counts / max(counts.max(), 1.0))
    if len(counts) <= _MOST_INPUTS:
        for number, row in enumerate(radius):
            axes.stairs(row, edges, linewidth=1.4, label=f"input {number}")
    else:
        pooled = np.sqrt(counts.sum(axis=0) / max(counts.sum(axis=0).max(), 1.0))
        axes.stairs(pooled, edges, fill=True, alpha=0.35, color="tab:blue", label=f"all {len(counts)} inputs")
        for row in radius:
            axes.stairs(row, edges, linewidth=0.5, color="tab:blue", alpha=0.5)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=3, frameon=False)


def _draw_rotations(axes: Axes, rotations: Sequence[TrainedAngle]) -> None:
    # Each on a ring of its own, the first innermost: angles that are near each other stay apart.
    rings = np.linspace(0.35, 1.0, len(rotations)) if len(rotations) > 1 else np.ones(1)
    axes.plot(np.linspace(0, 2 * np.pi, 200), np.ones(200), color="#888888", linewidth=0.9)
    for each, ring in zip(rotations, rings, strict=True):
        if each.begun is not None:
            # Along the ring, the way that the training went, more than once round if it did.
            way = np.linspace(each.begun, each.angle, 40)
            colour = _GATES.get(each.gate, "tab:purple")
            axes.plot(way, np.full(40, ring), color=colour, linewidth=0.9, alpha=0.7)
            axes.plot(each.begun, ring, "o", markersize=5, fillstyle="none", color=colour, alpha=0.7)
    for gate in dict.fromkeys(each.gate for each in rotations):
        own = [place for place, each in enumerate(rotations) if each.gate == gate]
        axes.plot(
            [rotations[place].angle for place in own], rings[own], "o", markersize=5, alpha=0.85,
            color=_GATES.get(gate, "tab:purple"), label=f"{gate}, {len(own)}",
        )  # fmt: skip
    if len(rotations) <= _NUMBERED:
        away = _free_places([each.angle for each in rotations], rings)
        for each, ring, place in zip(rotations, rings, away, strict=True):
            axes.annotate(f"w{each.number}", (each.angle, ring), xytext=place, textcoords="offset points",
                          fontsize=7, ha="center", va="center")  # fmt: skip
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=3, frameon=False)


# Angles whose numbers stand beside them.
_NUMBERED = 16
# Points from the middle of the circle to a ring of radius 1, and from a mark to its label, about.
_RADIUS, _APART = 140.0, 9.0


def _free_places(angles: Sequence[float], rings: FloatArray) -> list[tuple[float, float]]:
    """Where each label stands beside its mark, in points: where other marks and labels are farthest away."""
    marks = _RADIUS * rings[:, None] * np.column_stack([np.sin(angles), np.cos(angles)])
    ways = np.pi / 4 * (1 + np.arange(8))
    steps = _APART * np.column_stack([np.sin(ways), np.cos(ways)])
    taken, places = marks, []
    for number, mark in enumerate(marks):
        others = np.delete(taken, number, axis=0)
        distances = np.linalg.norm(mark + steps[:, None] - others, axis=2).min(axis=1, initial=3 * _APART)
        best = int(distances.argmax())
        taken = np.concatenate([taken, [mark + steps[best]]])
        places.append((float(steps[best][0]), float(steps[best][1])))
    return places


# Contours of a landscape.
_LEVELS = 15


def draw_landscape(landscape: Landscape) -> Figure:
    """The loss around the weights as contours on the left, and along both directions alone on the right."""
    losses = np.array([[np.nan if each is None else each for each in row] for row in landscape.losses])
    steps = np.linspace(-landscape.span, landscape.span, len(losses))
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    plane, cuts = figure.subplots(1, 2)
    low, high = float(np.nanmin(losses)), float(np.nanmax(losses))
    # Closer to each other near the lowest loss: far away it may be a hundred times that.
    levels = low + max(high - low, 1e-9 * abs(low) + 1e-12) * np.linspace(0, 1, _LEVELS) ** 2
    colours = {"levels": levels, "norm": BoundaryNorm(levels, 256), "cmap": "viridis"}
    filled = plane.contourf(steps, steps, losses, **colours)
    plane.contour(steps, steps, losses, levels=levels, colors="#ffffff", linewidths=0.4)
    for colour, width in (("#ffffff", 5), ("tab:red", 2)):  # on any colour, light or dark
        plane.plot([0], [0], marker="+", markersize=12, markeredgewidth=width, color=colour)
    bar = figure.colorbar(filled, ax=plane)
    bar.set_label("training loss (scaled units)")
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    plane.set(
        xlabel="first direction",
        ylabel="second direction",
        title="Loss around the weights (+)",
        aspect="equal",
    )
    ticks = np.linspace(-landscape.span, landscape.span, 5)
    plane.set(xticks=ticks, yticks=ticks)
    cuts.set(xticks=ticks)
    middle = len(losses) // 2
    for values, label in ((losses[middle], "first direction"), (losses[:, middle], "second direction")):
        cuts.plot(steps, values, marker="o", markersize=3, label=label)
    cuts.axhline(landscape.loss, color="tab:gray", linestyle=":", label="at the weights")
    cuts.set(xlabel="step, in lengths of the weights", ylabel="training loss", title="Along each alone")
    cuts.grid(alpha=0.3)
    cuts.legend(fontsize=8)
    return figure
