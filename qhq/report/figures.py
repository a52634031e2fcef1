"""The figures of a run: training curves, forecasts beside what came and the last value, circuit, model.

Every figure of qhq is written by `save_figure`, which gives it the caveat of its data.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text
from matplotlib.ticker import Formatter, FuncFormatter, LogFormatter, ScalarFormatter

from qhq.ansatz.draw import draw_circuit
from qhq.ansatz.stored import load_built
from qhq.data.caveat import NO_CAVEAT, Caveat
from qhq.evaluation.probabilistic import column_of, level_of, pairs
from qhq.experiment.config import ExperimentConfig, load_config
from qhq.files import MOST_TABLE_BYTES, read_regular, replacing
from qhq.models.spec import FeaturesSpec, ModelSpec
from qhq.runs.record import Quantum, Stage
from qhq.runs.run_folder import RunFolder, writable
from qhq.training.spec import DISTRIBUTIONS

Note = Callable[[str], None]
"""Tells a person something by the way."""

_SESSIONS_SHOWN = 60
SERIES_SHOWN = 12
_CIRCUITS = ("QuantumLayer", "GateCircuits")
_MOST_STAGES = 12
"""Modules of a model of one's own that are drawn."""


def draw_run_figures(folder: RunFolder, note: Note) -> list[Path]:
    """Draw every figure of a finished run into its ``figures/``, and say which; one that fails is noted."""
    config = load_config(str(folder.config))
    drawings: dict[str, Callable[[], Figure]] = {
        "history": lambda: draw_history(read_table(folder.file("history.csv")), _untrained(folder)),
        "forecast": lambda: draw_forecasts(read_table(folder.file("predictions.csv"))),
        "model": lambda: _model_of(config, folder),
    }
    if isinstance(config.model, FeaturesSpec):
        del drawings["history"]  # a head is fitted once, and a curve of one point shows nothing

    def saving(draw: Callable[[], Figure]) -> Callable[[Path], object]:
        return lambda path: save_figure(draw(), path, config.data.caveat)

    paths = [
        try_figure(saving(draw), folder.file(f"figures/{name}.png"), note) for name, draw in drawings.items()
    ]
    if folder.circuit.exists():
        paths.append(
            try_figure(lambda path: _save_circuit(folder, path), folder.file("figures/circuit.png"), note)
        )
    return [path for path in paths if path is not None]


def _model_of(config: ExperimentConfig, folder: RunFolder) -> Figure:
    record = folder.read_record()
    return draw_model(config, record.quantum, record.stages)


def _untrained(folder: RunFolder) -> float | None:
    """Validation loss of the untrained model; None in a run that an earlier version began."""
    validation = folder.read_record().validation
    return None if validation is None else validation.untrained_loss


_WORDS = ("symbol", "underlying", "target", "leaks")
"""Columns of a CSV that are texts, whatever is written there."""


def read_table(path: Path) -> pd.DataFrame:
    """A CSV of a run: texts stay texts (``NA`` is a ticker), dates are dates, all else are numbers.

    Raises:
        ConfigError, OSError, ValueError, KeyError: If it is missing, too large, or no such table.
    """
    content = read_regular(path, most=MOST_TABLE_BYTES, what="table of a run")
    frame = pd.read_csv(io.BytesIO(content), dtype=dict.fromkeys(_WORDS, str), keep_default_na=False)
    if "date" in frame:
        frame["date"] = pd.to_datetime(frame["date"], format="%Y-%m-%d")
    for name in frame.columns.difference([*_WORDS, "date"]):
        frame[name] = pd.to_numeric(frame[name].replace("", None))
    return frame


def _save_circuit(folder: RunFolder, path: Path) -> None:
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    draw_circuit(load_built(folder.circuit), path)


def try_figure(save: Callable[[Path], object], path: Path, note: Note) -> Path | None:
    """Draw a figure that only illustrates a result: where it fails, the result must not be lost with it.

    Args:
        save: Draws, and writes to the path that it is given.
        path: Where to.
        note: Called with a sentence about a figure that could not be drawn.

    Returns:
        The path, or None where there is no figure.
    """
    try:
        save(path)
    except Exception as error:  # matplotlib raises whatever a font, a glyph or a full disk makes it raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        note(f"The figure {path} could not be drawn: {reason}")
        return None
    return path


def draw_history(history: pd.DataFrame, untrained: float | None = None) -> Figure:
    """Losses on the left, gradient norms of encoder, circuit and head on the right, by epoch.

    Args:
        history: One row an epoch.
        untrained: Validation loss before the first epoch, drawn as a line; None leaves it out.
    """
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    losses, norms = figure.subplots(1, 2)
    epochs = history["epoch"]
    for column, label in (("train_loss", "training"), ("validation_loss", "validation")):
        losses.plot(epochs, history[column], marker="o", markersize=3, label=label)
    if untrained is not None:
        losses.axhline(untrained, color="tab:gray", linestyle=":", label="validation, untrained")
    losses.set(xlabel="epoch", ylabel="loss (scaled units)", title="Loss")
    for part in ("encoder", "circuit", "head"):
        norm = history[f"grad_{part}"]
        # A logarithmic axis has no place for zeros, as of a frozen circuit or a model without one.
        if (norm > 0).any():
            norms.plot(epochs, norm, marker="o", markersize=3, label=part)
    norms.set(xlabel="epoch", ylabel="mean L2 norm", yscale="log", title="Gradient norms")
    for axes in (losses, norms):
        axes.legend()
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def draw_forecasts(predictions: pd.DataFrame) -> Figure:
    """What came, the forecast and the last value of each symbol over the last rows of the test split.

    Of options, the contract with the most rows stands for each underlying; of several targets, the first.
    """
    shown = first_target(predictions[predictions["horizon"] == 1])
    series = longest_series(shown)
    figure = Figure(figsize=(10, 2.6 * len(series)), layout="constrained")
    grid = figure.subplots(len(series), 1, squeeze=False)[:, 0]
    for axes, name in zip(grid, series, strict=True):
        _draw_series(axes, shown[shown["symbol"] == name].tail(_SESSIONS_SHOWN), name)
    figure.suptitle(f"Last {_SESSIONS_SHOWN} rows of the test split at most, one step ahead{_target(shown)}")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def first_target(predictions: pd.DataFrame) -> pd.DataFrame:
    """Rows of the first target alone."""
    if "target" not in predictions:
        return predictions
    first: pd.DataFrame = predictions[predictions["target"] == predictions["target"].iloc[0]]
    return first


def _target(predictions: pd.DataFrame) -> str:
    return f": {predictions['target'].iloc[0]}" if "target" in predictions else ""


def longest_series(predictions: pd.DataFrame) -> list[str]:
    """The symbols; of options the longest contract of each underlying."""
    if "underlying" not in predictions:
        return sorted(predictions["symbol"].unique())[:SERIES_SHOWN]
    rows = predictions.groupby(["underlying", "symbol"]).size()
    return [str(name) for _, name in rows.groupby("underlying").idxmax()][:SERIES_SHOWN]


def _draw_series(axes: Axes, rows: pd.DataFrame, name: str) -> None:
    dates = pd.to_datetime(rows["date"])
    axes.plot(dates, rows["actual"], color="black", linewidth=1.6, label="actual")
    axes.plot(dates, rows["naive"], color="tab:gray", linestyle=":", label="last value")
    if "black_scholes" in rows:
        axes.plot(dates, rows["black_scholes"], color="tab:orange", linewidth=1, label="Black-Scholes")
    axes.plot(dates, rows["forecast"], color="tab:blue", linewidth=1.2, label="forecast")
    levels = [level for name in rows if (level := level_of(str(name))) is not None]
    for low, high in pairs(levels):
        lower, upper = (rows[column_of(levels[place])] for place in (low, high))
        label = f"{100 * (levels[high] - levels[low]):.3g} %, by the model"
        axes.fill_between(dates, lower, upper, color="tab:blue", alpha=0.12, linewidth=0, label=label)
    if levels and {"low", "high"} <= set(rows):
        axes.plot(dates, rows["low"], color="tab:gray", linewidth=0.7, label="conformal interval")
        axes.plot(dates, rows["high"], color="tab:gray", linewidth=0.7)
    axes.set(ylabel=name)
    axes.grid(alpha=0.3)


def save_figure(figure: Figure, path: Path, caveat: Caveat = NO_CAVEAT) -> Path:
    """Write a figure whole, in the format of its ending, and give the path back.

    Args:
        figure: What was drawn.
        path: Where to.
        caveat: Of the data, written above the figure.

    Raises:
        ConfigError: If it cannot be written.
    """
    finish_figure(figure, caveat)
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: a page or a viewer may have the old one open.
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=150)
    return path


_QUANTUM, _CLASSICAL, _DATA = "#e7d9f5", "#dbe9f6", "#eeeeee"
_WIDTH, _GAP, _HEIGHT = 1.7, 0.45, 1.0


@dataclass(frozen=True)
class Box:
    """One stage of the model: a title, what it is made of, and its colour."""

    title: str
    detail: str
    colour: str


def draw_model(
    config: ExperimentConfig, quantum: Quantum | None, stages: Sequence[Stage] | None = None
) -> Figure:
    """Draw the stages from window to forecast, the skip connection as an arc over the middle.

    Args:
        config: The run's config.
        quantum: Sizes of the circuit, as the run's record has them; None without one.
        stages: Of a module of one's own, as the record has them; nothing is run for a drawing.
    """
    boxes = model_boxes(config, quantum) if stages is None else _own_boxes(config, quantum, stages)
    width = len(boxes) * (_WIDTH + _GAP) + _GAP
    figure = Figure(figsize=(1.05 * width, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(-0.3, 2.1), aspect="equal")
    for index, box in enumerate(boxes):
        _draw_box(axes, index, box, arrow=index < len(boxes) - 1)
    model = config.model
    if not isinstance(model, FeaturesSpec) and model.skip != "none" and stages is None:
        _draw_skip(axes, boxes, f"skip: {model.skip}")
    return figure


def model_boxes(config: ExperimentConfig, quantum: Quantum | None) -> list[Box]:
    """Stages of the model in the order of the data."""
    if isinstance(config.model, FeaturesSpec):
        return _feature_boxes(config, config.model, quantum)
    model, data = config.model, config.data
    latent = quantum.inputs if quantum else model.latent
    scaling = data.scaling if isinstance(data.scaling, str) else "mixed"
    middle = []
    if quantum:
        angles = Box("angles", str(quantum.angle_scaling), _CLASSICAL)
        name = config.quantum.ansatz if config.quantum else ""
        detail = f"{name}\n{quantum.qubits} qubits, {quantum.weights} weights"
        middle = [angles, Box("quantum layer", detail, _QUANTUM)]
    after = [
        word for word in (model.activation_after, "layer norm" * model.layer_norm) if word not in ("none", "")
    ]
    if after:
        middle.append(Box("after", "\n".join(after), _CLASSICAL))
    return [
        Box("window", f"{data.window} x {len(data.features)}\n{scaling} scaling", _DATA),
        *_encoder_boxes(model, data.window),
        Box("linear", f"{latent} features" + _after(model.activation_before), _CLASSICAL),
        *middle,
        Box("head", _head(model, config.training.loss) + _after(model.output_activation), _CLASSICAL),
        Box("forecast", f"{data.horizon} x {', '.join(data.targets)}", _DATA),
    ]


def _encoder_boxes(model: ModelSpec, steps: int) -> list[Box]:
    """A box a layer with the shape of its outputs, then the pooling; none without an encoder."""
    if model.encoder == "none":
        return []
    boxes = []
    for layer in model.recurrent:
        words = [
            word
            for word, has in (
                ("both directions", layer.bidirectional),
                ("residual", layer.residual),
                ("layer norm", layer.layer_norm),
            )
            if has
        ]
        size = f"hidden {layer.width}" if not words else f"{steps} x {layer.width}"
        boxes.append(Box(layer.unit.upper(), "\n".join([size, *words]), _CLASSICAL))
    if model.pooling != "last":
        boxes.append(Box(model.pooling, f"over steps\n{model.recurrent[-1].width}", _CLASSICAL))
    return boxes


def _head(model: ModelSpec, loss: str) -> str:
    """The sizes of the head's hidden layers, and the distribution that its outputs are the parameters of."""
    hidden = (
        f"{', '.join(map(str, model.head_layers))} {model.head_activation}\n" if model.head_layers else ""
    )
    return f"{hidden}linear" + (f", {loss}" if loss in DISTRIBUTIONS else "")


def _own_boxes(config: ExperimentConfig, quantum: Quantum | None, stages: Sequence[Stage]) -> list[Box]:
    """Stages of a module of one's own in the order in which they were at work; of many the first and last."""
    data, found = config.data, list(stages)
    if len(found) > _MOST_STAGES:
        half = _MOST_STAGES // 2
        between = Box("...", f"{len(found) - 2 * half} more modules", _CLASSICAL)
        parts = [*map(_own_box, found[:half]), between, *map(_own_box, found[-half:])]
    else:
        parts = list(map(_own_box, found))
    if quantum:
        size = f"{quantum.qubits} qubits, {quantum.weights} weights"
        parts = [
            Box(each.title, f"{each.detail}\n{size}", _QUANTUM) if each.title in _CIRCUITS else each
            for each in parts
        ]
    return [
        Box("window", f"{data.window} x {len(data.features)}", _DATA),
        *parts,
        Box("forecast", f"{data.horizon} x {', '.join(data.targets)}", _DATA),
    ]


def _own_box(stage: Stage) -> Box:
    return Box(stage.kind, f"{stage.name}\n{' x '.join(map(str, stage.shape))}", _CLASSICAL)


def _feature_boxes(config: ExperimentConfig, model: FeaturesSpec, quantum: Quantum | None) -> list[Box]:
    """Stages of a model of frozen features; nothing of it trains but the head."""
    data, middle = config.data, []
    scaling = data.scaling if isinstance(data.scaling, str) else "mixed"
    if quantum:
        name = config.quantum.ansatz if config.quantum else ""
        middle = [
            Box("angles", f"{model.projection}\n{quantum.angle_scaling}", _CLASSICAL),
            Box("frozen circuit", f"{name}\n{quantum.qubits} qubits, {quantum.outputs} features", _QUANTUM),
        ]
    elif model.middle is not None:
        middle = [Box("frozen MLP", f"{model.middle.outputs} features", _CLASSICAL)]
    return [
        Box("window", f"{data.window} x {len(data.features)}\n{scaling} scaling", _DATA),
        *middle,
        Box("head", model.head.kind, _CLASSICAL),
        Box("forecast", f"{data.horizon} x {', '.join(data.targets)}", _DATA),
    ]


def _after(activation: str) -> str:
    return "" if activation == "none" else f"\n{activation}"


def _draw_box(axes: Axes, index: int, box: Box, *, arrow: bool) -> None:
    left = _GAP + index * (_WIDTH + _GAP)
    patch = FancyBboxPatch(
        (left, 0), _WIDTH, _HEIGHT, boxstyle="round,pad=0.02", facecolor=box.colour, edgecolor="#444444"
    )
    axes.add_patch(patch)
    axes.text(left + _WIDTH / 2, 0.74, box.title, ha="center", va="center", fontsize=9, weight="bold")
    axes.text(left + _WIDTH / 2, 0.32, box.detail, ha="center", va="center", fontsize=7)
    if arrow:
        start, end = (left + _WIDTH + 0.03, _HEIGHT / 2), (left + _WIDTH + _GAP - 0.03, _HEIGHT / 2)
        axes.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "-|>", "color": "#444444"})


def _draw_skip(axes: Axes, boxes: list[Box], label: str) -> None:
    titles = [box.title for box in boxes]
    start, end = titles.index("linear"), titles.index("head")
    left, right = (_GAP + place * (_WIDTH + _GAP) + _WIDTH / 2 for place in (start, end))
    axes.plot([left, left, right], [_HEIGHT, 1.5, 1.5], color="#444444", linewidth=1)
    axes.annotate(
        "",
        xy=(right, _HEIGHT + 0.03),
        xytext=(right, 1.5),
        arrowprops={"arrowstyle": "-|>", "color": "#444444"},
    )
    axes.text((left + right) / 2, 1.6, label, ha="center", va="bottom", fontsize=8)


def finish_figure(figure: Figure, caveat: Caveat) -> None:
    """Write the caveat above a figure, if there is one, and let no name in it be read as mathematics."""
    if caveat:
        title = figure.get_suptitle()
        figure.suptitle(f"{caveat.mark}\n{title}" if title else caveat.mark, color="tab:red", fontsize=10)
    _take_text_literally(figure)


def _take_text_literally(figure: Figure) -> None:
    """Let no text be parsed as mathematics: a symbol such as ``A$B$`` is a name, not a formula.

    Tick labels of numbers stay as they are, since matplotlib itself writes powers of ten as mathematics.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            formatter = axis.get_major_formatter()
            if not isinstance(formatter, ScalarFormatter | LogFormatter):
                # Ticks are made while they are drawn, so their labels are escaped on the way there.
                axis.set_major_formatter(FuncFormatter(_escaping(formatter)))
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                tick.label1.set_parse_math(True)
                tick.label2.set_parse_math(True)


def _escaping(formatter: Formatter) -> Callable[[float, int | None], str]:
    return lambda value, position: str(formatter(value, position)).replace("$", r"\$")
