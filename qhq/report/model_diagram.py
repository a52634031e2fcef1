"""The model as a row of boxes, drawn from its config and sizes; no model is built for it."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from qhq.experiment.config import ExperimentConfig
from qhq.runs.record import Quantum

QUANTUM, CLASSICAL, DATA = "#e7d9f5", "#dbe9f6", "#eeeeee"
WIDTH, GAP, HEIGHT = 1.7, 0.45, 1.0


@dataclass(frozen=True)
class Box:
    """One stage of the model: a title, what it is made of, and its colour."""

    title: str
    detail: str
    colour: str


def draw_model(config: ExperimentConfig, quantum: Quantum | None) -> Figure:
    """Draw the stages from window to forecast, the skip connection as an arc over the middle.

    Args:
        config: The run's config.
        quantum: Sizes of the circuit, as the run's record has them; None without one.
    """
    boxes = model_boxes(config, quantum)
    width = len(boxes) * (WIDTH + GAP) + GAP
    figure = Figure(figsize=(1.05 * width, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(-0.3, 2.1), aspect="equal")
    for index, box in enumerate(boxes):
        _draw_box(axes, index, box, arrow=index < len(boxes) - 1)
    if config.model.skip != "none":
        _draw_skip(axes, boxes, f"skip: {config.model.skip}")
    return figure


def model_boxes(config: ExperimentConfig, quantum: Quantum | None) -> list[Box]:
    """Stages of the model in the order of the data."""
    model, data = config.model, config.data
    latent = quantum.inputs if quantum else model.latent
    scaling = data.scaling if isinstance(data.scaling, str) else "mixed"
    middle = []
    if quantum:
        angles = Box("angles", str(quantum.angle_scaling), CLASSICAL)
        name = config.quantum.ansatz if config.quantum else ""
        detail = f"{name}\n{quantum.qubits} qubits, {quantum.weights} weights"
        middle = [angles, Box("quantum layer", detail, QUANTUM)]
    after = [
        word for word in (model.activation_after, "layer norm" * model.layer_norm) if word not in ("none", "")
    ]
    if after:
        middle.append(Box("after", "\n".join(after), CLASSICAL))
    return [
        Box("window", f"{data.window} x {len(data.features)}\n{scaling} scaling", DATA),
        *(Box(layer.unit.upper(), f"hidden {layer.hidden}", CLASSICAL) for layer in model.recurrent),
        Box("linear", f"{latent} features" + _after(model.activation_before), CLASSICAL),
        *middle,
        Box("head", "linear" + _after(model.output_activation), CLASSICAL),
        Box("forecast", f"{data.horizon} x {', '.join(data.targets)}", DATA),
    ]


def _after(activation: str) -> str:
    return "" if activation == "none" else f"\n{activation}"


def _draw_box(axes: Axes, index: int, box: Box, *, arrow: bool) -> None:
    left = GAP + index * (WIDTH + GAP)
    patch = FancyBboxPatch(
        (left, 0), WIDTH, HEIGHT, boxstyle="round,pad=0.02", facecolor=box.colour, edgecolor="#444444"
    )
    axes.add_patch(patch)
    axes.text(left + WIDTH / 2, 0.74, box.title, ha="center", va="center", fontsize=9, weight="bold")
    axes.text(left + WIDTH / 2, 0.32, box.detail, ha="center", va="center", fontsize=7)
    if arrow:
        start, end = (left + WIDTH + 0.03, HEIGHT / 2), (left + WIDTH + GAP - 0.03, HEIGHT / 2)
        axes.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "-|>", "color": "#444444"})


def _draw_skip(axes: Axes, boxes: list[Box], label: str) -> None:
    titles = [box.title for box in boxes]
    start, end = titles.index("linear"), titles.index("head")
    left, right = (GAP + place * (WIDTH + GAP) + WIDTH / 2 for place in (start, end))
    axes.plot([left, left, right], [HEIGHT, 1.5, 1.5], color="#444444", linewidth=1)
    axes.annotate(
        "",
        xy=(right, HEIGHT + 0.03),
        xytext=(right, 1.5),
        arrowprops={"arrowstyle": "-|>", "color": "#444444"},
    )
    axes.text((left + right) / 2, 1.6, label, ha="center", va="bottom", fontsize=8)
