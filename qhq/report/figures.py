"""The figures of a run: training curves, forecasts beside what came and the last value, circuit, model.

Every figure of qhq is written by `save_figure`, which gives it the caveat of its data.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.dates import AutoDateLocator, DateFormatter
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import Formatter, FuncFormatter, LogFormatter, ScalarFormatter

from qhq.ansatz.draw import draw_circuit
from qhq.ansatz.roles import PICTURE_FORMS
from qhq.ansatz.stored import load_built
from qhq.data.caveat import NO_CAVEAT, Caveat
from qhq.data.columns import OPTION_PRICES
from qhq.errors import ConfigError, DataError, nearest, visible
from qhq.evaluation.baselines.catalogue import label_of
from qhq.evaluation.probabilistic import column_of, level_of, pairs
from qhq.experiment.config import load_config
from qhq.files import MOST_TABLE_BYTES, read_regular, replacing
from qhq.models.spec import FeaturesSpec
from qhq.report.colours import AMBER, shade
from qhq.report.model_diagram import diagram_of_run, draw_diagram
from qhq.report.moneyness import LEAST_OPTIONS, by_moneyness, draw_moneyness
from qhq.report.training_figures import draw_history
from qhq.runs.run_folder import RunFolder, writable

Note = Callable[[str], None]
"""Tells a person something by the way."""

_SESSIONS_SHOWN = 60
SERIES_SHOWN = 12


def draw_run_figures(folder: RunFolder, note: Note) -> list[Path]:
    """Draw every figure of a finished run into its ``figures/``, and say which; one that fails is noted."""
    config = load_config(str(folder.config))
    drawings: dict[str, Callable[[], Figure]] = {
        "history": lambda: draw_history(read_run_table(folder.file("history.csv")), _untrained(folder)),
        "forecast": lambda: draw_forecasts(read_run_table(folder.file("predictions.csv"))),
        "model": lambda: draw_diagram(diagram_of_run(folder, folder.read_record())),
    }
    if config.data.kind == "options" and set(config.data.targets) <= set(OPTION_PRICES):
        drawings["moneyness"] = lambda: _moneyness_of(folder)
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


def _moneyness_of(folder: RunFolder) -> Figure:
    cells = by_moneyness(first_target(read_run_table(folder.file("predictions.csv"))))
    if cells is None:
        raise DataError(
            f"Errors by moneyness need {LEAST_OPTIONS} forecasts of about the same strike and expiry",
            got="fewer, or a run of an earlier version",
            fix="Choose a longer test split, or train it again",
        )
    return draw_moneyness(cells)


def _untrained(folder: RunFolder) -> float | None:
    """Validation loss of the untrained model; None in a run that an earlier version began."""
    validation = folder.read_record().validation
    return None if validation is None else validation.untrained_loss


# Columns of a CSV that are texts, whatever is written there.
_WORDS = ("symbol", "underlying", "target", "leaks")


def read_run_table(path: Path) -> pd.DataFrame:
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
    target = f": {shown['target'].iloc[0]}" if "target" in shown else ""
    figure.suptitle(f"Last {_SESSIONS_SHOWN} rows of the test split at most, one step ahead{target}")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def first_target(predictions: pd.DataFrame) -> pd.DataFrame:
    """Rows of the first target alone."""
    if "target" not in predictions:
        return predictions
    first: pd.DataFrame = predictions[predictions["target"] == predictions["target"].iloc[0]]
    return first


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
        axes.plot(dates, rows["black_scholes"], color=AMBER, linewidth=1, label=label_of("black_scholes"))
    axes.plot(dates, rows["forecast"], color="tab:blue", linewidth=1.2, label="forecast")
    levels = [level for name in rows if (level := level_of(str(name))) is not None]
    for low, high in pairs(levels):
        lower, upper = (rows[column_of(levels[place])] for place in (low, high))
        label = f"{100 * (levels[high] - levels[low]):.3g} %, by the model"
        shade(axes, dates, (lower, upper), "tab:blue", 0.12, label=label)
    if levels and {"low", "high"} <= set(rows):
        axes.plot(dates, rows["low"], color="tab:gray", linewidth=0.7, label="conformal interval")
        axes.plot(dates, rows["high"], color="tab:gray", linewidth=0.7)
    axes.set_title(short_name(name), fontsize=10, loc="left")
    axes.grid(alpha=0.3)


# Characters of a name above a figure: a longer one would make the figure as wide as itself.
_LONGEST_NAME = 60


def short_name(name: str) -> str:
    """A name as a figure has it: one line, no longer than the figure is wide.

    >>> short_name("AAPL"), len(short_name("A" * 200))
    ('AAPL', 60)
    """
    shown = visible(name, cell=True)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 1]}…"


def set_dates(axes: Axes) -> None:
    """Label an axis of dates so that no label runs into another, however short or long the span is."""
    # Not matplotlib's concise labels, which need the text beside the axis that `finish_figure` cannot keep.
    axes.xaxis.set_major_locator(AutoDateLocator(minticks=2, maxticks=6, interval_multiples=False))  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(DateFormatter("%Y-%m-%d"))  # type: ignore[no-untyped-call]


def save_figure(figure: Figure, path: Path, caveat: Caveat = NO_CAVEAT) -> Path:
    """Write a figure whole, in the format of its ending, and give the path back.

    Args:
        figure: What was drawn.
        path: Where to.
        caveat: Of the data, written above the figure.

    Raises:
        ConfigError: If it cannot be written, or the ending is none of a picture.
    """
    form = path.suffix.removeprefix(".").lower()
    if form not in PICTURE_FORMS:
        raise ConfigError(
            "A figure must end in .png, .svg or .pdf", got=f"'{path}'", fix=nearest(form, PICTURE_FORMS)
        )
    finish_figure(figure, caveat)
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form)
        # Whole or not at all: a page or a viewer may have the old one open. Without a salt and with a date
        # the same figure would have other bytes each time.
        with (
            mpl.rc_context({"svg.hashsalt": "qhq"}),
            warnings.catch_warnings(),
            replacing(path) as temporary,
        ):
            # A character that the font does not have is drawn as a box.
            warnings.filterwarnings("ignore", "Glyph .* missing from")
            figure.savefig(temporary, dpi=150, format=form, metadata=metadata)
    return path


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
    for text in _texts_beside_ticks(figure):
        text.set_parse_math(False)
        # A mark of direction would turn a name round, and a control character be drawn as an empty box.
        if (shown := visible(text.get_text())) != text.get_text():
            text.set_text(shown)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            formatter = axis.get_major_formatter()
            if isinstance(formatter, ScalarFormatter):
                # "+1" in a corner is overlooked, and 1.0002 read as 0.0002.
                formatter.set_useOffset(False)
            if not isinstance(formatter, ScalarFormatter | LogFormatter):
                # Ticks are made while they are drawn, so their labels are escaped on the way there.
                axis.set_major_formatter(FuncFormatter(_escaping(formatter)))


def _texts_beside_ticks(artist: Artist) -> Iterator[Text]:
    if isinstance(artist, Text):
        yield artist
    # To ask an axis for its children makes all its ticks, which drawing makes again: half of a figure's time.
    children = [artist.label, artist.offsetText] if isinstance(artist, Axis) else artist.get_children()
    for child in children:
        yield from _texts_beside_ticks(child)


def _escaping(formatter: Formatter) -> Callable[[float, int | None], str]:
    return lambda value, position: visible(str(formatter(value, position))).replace("$", r"\$")
