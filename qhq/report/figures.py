"""The figures of a run: training curves, forecasts beside what came and the last value, circuit, model."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qhq.ansatz.draw import draw_circuit
from qhq.ansatz.stored import load_built
from qhq.data.caveat import NO_CAVEAT, Caveat
from qhq.experiment.config import load_config
from qhq.files import MOST_TABLE_BYTES, read_regular, replacing
from qhq.report.finish import finish_figure
from qhq.report.model_diagram import draw_model
from qhq.runs.run_folder import RunFolder, writable

Note = Callable[[str], None]
"""Tells a person something by the way."""

SESSIONS_SHOWN = 60
SERIES_SHOWN = 12


def draw_run_figures(folder: RunFolder, note: Note) -> list[Path]:
    """Draw every figure of a finished run into its ``figures/``, and say which; one that fails is noted."""
    config = load_config(str(folder.config))
    drawings: dict[str, Callable[[], Figure]] = {
        "history": lambda: draw_history(_table(folder.file("history.csv")), _untrained(folder)),
        "forecast": lambda: draw_forecasts(_table(folder.file("predictions.csv"))),
        "model": lambda: draw_model(config, folder.read_record().quantum),
    }

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


def _untrained(folder: RunFolder) -> float | None:
    """Validation loss of the untrained model; None in a run that an earlier version began."""
    validation = folder.read_record().validation
    return None if validation is None else validation.untrained_loss


def _table(path: Path) -> pd.DataFrame:
    frame: pd.DataFrame = pd.read_csv(io.BytesIO(read_regular(path, most=MOST_TABLE_BYTES)))
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
    shown = _first_target(predictions[predictions["horizon"] == 1])
    series = _longest_series(shown)
    figure = Figure(figsize=(10, 2.6 * len(series)), layout="constrained")
    grid = figure.subplots(len(series), 1, squeeze=False)[:, 0]
    for axes, name in zip(grid, series, strict=True):
        _draw_series(axes, shown[shown["symbol"] == name].tail(SESSIONS_SHOWN), name)
    figure.suptitle(f"Last {SESSIONS_SHOWN} rows of the test split at most, one step ahead{_target(shown)}")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _first_target(predictions: pd.DataFrame) -> pd.DataFrame:
    if "target" not in predictions:
        return predictions
    first: pd.DataFrame = predictions[predictions["target"] == predictions["target"].iloc[0]]
    return first


def _target(predictions: pd.DataFrame) -> str:
    return f": {predictions['target'].iloc[0]}" if "target" in predictions else ""


def _longest_series(predictions: pd.DataFrame) -> list[str]:
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
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=150)
    return path
