"""The diagram of a model: one figure from the window to the forecast, with shapes at every arrow.

Data run from top to bottom, so that a long model gets longer and not smaller; a circuit is opened up into its
encoding, its gates and what is read of it. The figure is drawn from a `ModelDiagram`, which is data: no model
is there to be run.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from qhq.ansatz.stored import load_built
from qhq.errors import QHQError
from qhq.experiment.config import ExperimentConfig, load_config
from qhq.experiment.record import stages_of
from qhq.models.own_forecaster import OwnForecaster
from qhq.report.model_steps import CircuitPart, ModelDiagram, ModelFacts, ModelStep, lay_out_model
from qhq.runs.record import RunRecord, WalkRecord
from qhq.runs.run_folder import RunFolder
from qhq.training.checkpoint import read_shapes

if TYPE_CHECKING:
    from qhq.experiment.opening import Experiment

_FACES = {"data": "#eeeeee", "classical": "#dbe9f6", "quantum": "#ece2f7", "fixed": "#ffffff"}
_EDGES = {"data": "#666666", "classical": "#1f5f99", "quantum": "#5b3a96", "fixed": "#888888"}
_INK, _SOFT = "#111111", "#444444"

# All in inches: a figure of any length has letters of one size.
_WIDTH, _MIDDLE = 7.4, 3.7
_BOX, _PANEL = 3.9, 6.3
_LINE, _TITLE, _PAD, _GAP = 0.165, 0.24, 0.09, 0.40
_LETTERS, _PART_LETTERS = 56, 29
"""Letters of a line in a box, and in one of the three parts of a circuit."""


def diagram_of_run(folder: RunFolder, record: RunRecord | WalkRecord) -> ModelDiagram:
    """The model of a run as its folder has it; nothing of it is opened.

    Raises:
        ConfigError: If the config cannot be read.
    """
    if isinstance(record, WalkRecord):
        # A model a fold, all of one design: the newest stands for them.
        folds = sorted(folder.path.glob("fold-*/run.json"))
        if folds:
            newest = RunFolder(folds[-1].parent)
            return diagram_of_run(newest, newest.read_record())
    config = load_config(str(folder.config))
    own = record if isinstance(record, RunRecord) else None
    parameters = {} if own is None else own.parameters
    circuit = None
    try:
        circuit = load_built(folder.circuit) if folder.circuit.is_file() else None
    except QHQError:
        circuit = None  # the rest of the model can be drawn
    return lay_out_model(
        ModelFacts(
            config,
            *_sizes(config),
            tensors=_tensors(folder, parameters),
            circuit=circuit,
            stages=None if own is None else own.stages,
            called=record.data.called,
            parameters=parameters,
            quantum=record.quantum,
        )
    )


def diagram_of(experiment: Experiment) -> ModelDiagram:
    """A model that is open: its config, and the names and sizes of its parameters."""
    model, config = experiment.model, experiment.config
    shape = model.shape
    stages = None
    if isinstance(model, OwnForecaster):
        stages = stages_of(model)
    panel = experiment.data.panel
    return lay_out_model(
        ModelFacts(
            config,
            shape.features,
            shape.window,
            shape.static,
            tensors={name: each.numel() for name, each in model.named_parameters()},
            circuit=experiment.ansatz,
            stages=stages,
            called={} if panel is None else panel.called,
            parameters={part: sum(each.numel() for each in own) for part, own in model.parts().items()},
        )
    )


def _sizes(config: ExperimentConfig) -> tuple[int, int, int]:
    """Features, steps and static features of a window as the model sees it."""
    data = config.data
    return len(data.features) + (data.gaps == "mask"), data.window, len(data.static)


# Tensors of a checkpoint that are no parameters.
_KEPT_BESIDE = ("start", "gain", "centre", "projection")


def _tensors(folder: RunFolder, parameters: dict[str, int]) -> dict[str, int]:
    """Sizes of a checkpoint's parameters by name; none where it holds others than the record counted."""
    try:
        shapes = read_shapes(folder.weights)
    except QHQError:
        return {}
    found = {name: size for name, size in shapes.items() if name not in _KEPT_BESIDE}
    # A unit of another package may keep more than parameters, and what is no parameter is not called one.
    return found if not parameters or sum(found.values()) == sum(parameters.values()) else {}


def draw_diagram(diagram: ModelDiagram) -> Figure:
    """Draw a diagram.

    Args:
        diagram: From `diagram_of_run` or `diagram_of`.
    """
    heights = [_height(step) for step in diagram.steps]
    tops, place, group = list[float](), 0.62, ""
    for step, height in zip(diagram.steps, heights, strict=True):
        # Room for the title of a frame, and for its lower edge.
        place += 0.30 if step.group and step.group != group else 0.12 if group and not step.group else 0.0
        group = step.group
        tops.append(place)
        place += height + _GAP
    tall = place - _GAP + 0.42
    figure = Figure(figsize=(_WIDTH, tall))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set(xlim=(0, _WIDTH), ylim=(tall, 0))
    title = "\n".join(textwrap.wrap(diagram.title, 70)[:2])
    axes.text(_MIDDLE, 0.26, title, ha="center", va="center", fontsize=10.5, weight="bold", color=_INK)
    _draw_groups(axes, diagram.steps, tops, heights)
    for number, (step, top, height) in enumerate(zip(diagram.steps, tops, heights, strict=True)):
        _draw_step(axes, step, top, height)
        if number + 1 < len(diagram.steps):
            _arrow(axes, (_MIDDLE, top + height), (_MIDDLE, tops[number + 1]))
            # Below the edge of a frame, which the arrow leaves there.
            below = 0.24 if step.group and step.group != diagram.steps[number + 1].group else 0.17
            axes.text(_MIDDLE + 0.1, top + height + below, step.shape_text, ha="left", va="center",
                      fontsize=8, color=_INK)  # fmt: skip
    for number, link in enumerate(diagram.links):
        x = 0.22 + 0.12 * number
        leave, enter = tops[link.start] + heights[link.start] / 2, tops[link.end] + heights[link.end] / 2
        axes.plot([_left(diagram.steps[link.start]), x, x], [leave, leave, enter], color=_SOFT, linewidth=1.1)
        _arrow(axes, (x, enter), (_left(diagram.steps[link.end]), enter))
        axes.text(x - 0.09, (leave + enter) / 2, link.title, ha="center", va="center", rotation=90,
                  fontsize=8, color=_SOFT)  # fmt: skip
    if diagram.beside is not None:
        at, name, said = diagram.beside
        _draw_beside(axes, tops[at] + heights[at] / 2, name, said)
    total = "B: windows at a time."
    if diagram.weights is not None:
        total = f"{diagram.weights:,} trained weights in all. {total}"
    axes.text(_MIDDLE, tall - 0.16, total, ha="center", va="center", fontsize=8, color=_SOFT)
    return figure


def _left(step: ModelStep) -> float:
    return _MIDDLE - (_PANEL if step.parts else _BOX) / 2


def _wrapped(lines: Sequence[str], letters: int, most: int) -> list[str]:
    """Lines of a box: each of a length that fits, and at most so many."""
    found = [piece for line in lines for piece in textwrap.wrap(line, letters) or [""]]
    return found if len(found) <= most else [*found[: most - 1], f"{found[most - 1][: letters - 1]}…"]


def _box_lines(step: ModelStep) -> list[str]:
    return _wrapped(step.lines, 88 if step.parts else _LETTERS, 3)


def _part_lines(part: CircuitPart) -> list[str]:
    return _wrapped(part.lines, _PART_LETTERS, 9)


def _height(step: ModelStep) -> float:
    height = _TITLE + _LINE * len(_box_lines(step)) + 2 * _PAD
    if step.parts:
        height += _TITLE + _LINE * max(len(_part_lines(part)) for part in step.parts) + 2 * _PAD
    return height


def _draw_step(axes: Axes, step: ModelStep, top: float, height: float) -> None:
    wide, left = _PANEL if step.parts else _BOX, _left(step)
    _box(axes, (left, top, wide, height), step.kind, dashed=step.kind == "fixed")
    y = top + _PAD + _TITLE / 2
    axes.text(left + 0.12, y, step.title, ha="left", va="center", fontsize=9.5, weight="bold", color=_INK)
    axes.text(left + wide - 0.12, y, step.weights_text, ha="right", va="center", fontsize=8.5, color=_INK)
    y += _TITLE / 2 + _LINE / 2
    for line in _box_lines(step):
        axes.text(left + 0.12, y, line, ha="left", va="center", fontsize=8, color=_SOFT)
        y += _LINE
    if not step.parts:
        return
    y += _PAD - _LINE / 2
    gap = 0.26
    part_wide = (wide - 0.24 - gap * (len(step.parts) - 1)) / len(step.parts)
    part_tall = top + height - _PAD - y
    for number, part in enumerate(step.parts):
        x = left + 0.12 + number * (part_wide + gap)
        axes.add_patch(
            FancyBboxPatch(
                (x, y),
                part_wide,
                part_tall,
                boxstyle="round,pad=0,rounding_size=0.05",
                facecolor="#ffffff",
                edgecolor=_EDGES["quantum"],
                linewidth=0.9,
            )
        )
        axes.text(x + part_wide / 2, y + _TITLE / 2 + 0.02, part.title, ha="center", va="center",
                  fontsize=8.5, weight="bold", color=_INK)  # fmt: skip
        for row, line in enumerate(_part_lines(part)):
            at = y + _TITLE + _LINE * (row + 0.5)
            axes.text(x + 0.08, at, line, ha="left", va="center", fontsize=7.5, color=_INK)
        if number:
            _arrow(axes, (x - gap + 0.02, y + part_tall / 2), (x - 0.02, y + part_tall / 2))


def _box(axes: Axes, place: tuple[float, float, float, float], kind: str, *, dashed: bool) -> None:
    left, top, wide, tall = place
    axes.add_patch(
        FancyBboxPatch(
            (left, top),
            wide,
            tall,
            boxstyle="round,pad=0,rounding_size=0.07",
            facecolor=_FACES[kind],
            edgecolor=_EDGES[kind],
            linewidth=1.2,
            linestyle="--" if dashed else "-",
        )
    )


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>", "color": _SOFT, "shrinkA": 0, "shrinkB": 0, "linewidth": 1.1}
    axes.annotate("", xy=end, xytext=start, arrowprops=style)


def _draw_groups(
    axes: Axes, steps: Sequence[ModelStep], tops: Sequence[float], heights: Sequence[float]
) -> None:
    """A frame around neighbours of one group, with its title at the upper left."""
    begin = 0
    while begin < len(steps):
        end, group = begin, steps[begin].group
        while end + 1 < len(steps) and steps[end + 1].group == group:
            end += 1
        if group:
            top, bottom = tops[begin] - 0.27, tops[end] + heights[end] + 0.1
            axes.add_patch(
                FancyBboxPatch(
                    (0.3, top),
                    _WIDTH - 0.6,
                    bottom - top,
                    boxstyle="round,pad=0,rounding_size=0.1",
                    facecolor="none",
                    edgecolor="#1f5f99",
                    linewidth=1.2,
                    linestyle=(0, (6, 3)),
                )
            )
            axes.text(0.42, top + 0.14, group, ha="left", va="center", fontsize=8.5, weight="bold",
                      color="#1f5f99")  # fmt: skip
        begin = end + 1


def _draw_beside(axes: Axes, y: float, name: str, said: str) -> None:
    lines = _wrapped([name, *said.split("\n")], 19, 7)
    right = _MIDDLE + _BOX / 2
    tall, left = 0.14 + _LINE * len(lines), right + 0.26
    _box(axes, (left, y - tall / 2, _WIDTH - left - 0.08, tall), "data", dashed=False)
    for row, line in enumerate(lines):
        axes.text(left + 0.07, y - tall / 2 + 0.07 + _LINE * (row + 0.5), line, ha="left", va="center",
                  fontsize=7.5, color=_INK, weight="bold" if not row else "normal")  # fmt: skip
    _arrow(axes, (left, y), (right, y))
