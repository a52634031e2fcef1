"""The figures of a run's forecasts: over time, their errors, their changes, and the skill as time goes by.

The figure of a prediction (`draw_prediction`) shows what has not come yet. All others read
``predictions.csv`` alone, one step ahead, and of several targets the first. Where symbols are put together,
errors are over those of the last value in the symbol's own test split, so that no symbol decides by the size
of its prices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from qhq.evaluation.metrics import relative_errors
from qhq.report.colours import COLOURS, shade
from qhq.report.figures import SERIES_SHOWN, first_target, longest_series, set_dates, short_name
from qhq.runs.answers import PredictionRecord

# Newest rows of each symbol that are drawn: a year of sessions; more would be a black band.
_ROWS_SHOWN = 250

# Points of a cloud; of more, as many are drawn that are spread evenly.
_MOST_POINTS = 4000

ROLLING_SHARE, LEAST_ROLLING = 10, 20
"""The skill over time is over a tenth of all dates, and over 20 at least."""


def _one_step(predictions: pd.DataFrame) -> pd.DataFrame:
    """Rows one step ahead of the first target, in the order of dates (``date`` as of `read_run_table`)."""
    rows = first_target(predictions[predictions["horizon"] == 1])
    finite = np.isfinite(rows[["actual", "forecast", "naive"]].to_numpy(dtype=float)).all(axis=1)
    known: pd.DataFrame = rows[finite].sort_values("date", kind="stable")
    return known


def part_shown(predictions: pd.DataFrame) -> str:
    """What the figures show of a run that forecasts more; empty where one step of one target is all there is.

    >>> rows = pd.DataFrame({"horizon": [1, 1, 2, 2], "target": ["close", "high"] * 2})
    >>> part_shown(rows), part_shown(rows[["horizon"]]), part_shown(rows[["horizon"]][:2])
    ('close one step ahead', 'one step ahead', '')
    """
    steps, targets = _parts(predictions)
    if len(steps) < 2 and len(targets) < 2:
        return ""
    return " ".join([*targets[:1], "one step ahead"])


def say_parts(predictions: pd.DataFrame) -> str:
    """What the errors of a run are the mean of, step by step and target by target; empty where it is nothing.

    >>> say_parts(pd.DataFrame({"horizon": [1, 2, 3]}))
    'steps 1 to 3'
    >>> say_parts(pd.DataFrame({"horizon": [1, 1], "target": ["close", "high"]}))
    'the targets close, high'
    """
    steps, targets = _parts(predictions)
    said = [f"steps {steps[0]} to {steps[-1]}"] if len(steps) > 1 else []
    said += [f"the targets {', '.join(targets)}"] if len(targets) > 1 else []
    return " and ".join(said)


def errors_by_part(predictions: pd.DataFrame, forecasts: Sequence[str]) -> list[PartErrors]:
    """Errors of each step and target alone; none where there is one of each, of which all is said already.

    Args:
        predictions: As `read_run_table` gives them.
        forecasts: Columns of forecasts, the model's first.
    """
    steps, targets = _parts(predictions)
    if len(steps) < 2 and len(targets) < 2:
        return []
    finite = np.isfinite(predictions[["actual", "naive", *forecasts]].to_numpy(dtype=float)).all(axis=1)
    rows = predictions[finite]
    group = rows["underlying"] if "underlying" in rows else rows["symbol"]
    found = []
    names: list[str | None] = [*targets] or [None]
    for target in names:
        for step in steps:
            here = rows["horizon"] == step
            own = here if target is None else here & (rows["target"] == target)
            if not own.any():
                continue
            # As (N, 1, 1): one step and one target, measured by the same rule as all of them together.
            cells = {
                name: rows.loc[own, name].to_numpy(dtype=float)[:, None, None]
                for name in ("actual", "naive", *forecasts)
            }
            each = {
                name: float(np.abs(cells[name] - cells["actual"]).mean()) for name in (*forecasts, "naive")
            }
            relative = relative_errors(
                cells["actual"], cells[forecasts[0]], cells["naive"], group[own].to_numpy(dtype=str)
            )
            skill = None if relative.mae is None else 1 - relative.mae
            found.append(PartErrors(target, step, int(own.sum()), each, skill))
    return found


@dataclass(frozen=True)
class PartErrors:
    """Errors of one step of one target: MAE by forecast, and the model's skill over the last value."""

    target: str | None
    step: int
    forecasts: int
    mae: Mapping[str, float]
    skill: float | None


def _parts(predictions: pd.DataFrame) -> tuple[list[int], list[str]]:
    """Steps ahead in their order, and names of the targets, of which one alone has no column."""
    steps = sorted(int(step) for step in predictions["horizon"].dropna().unique())
    return steps, list(map(str, predictions["target"].unique())) if "target" in predictions else []


def draw_series(predictions: pd.DataFrame, names: Sequence[str] | None = None) -> Figure:
    """What came, the forecast with its interval, and the last value of each symbol over time.

    Args:
        predictions: As `read_run_table` gives them.
        names: The symbols; those of `series_shown` if left out.
    """
    rows = _one_step(predictions)
    names = longest_series(rows) if names is None else names
    figure = Figure(figsize=(9, 2.5 * len(names) + 0.5), layout="constrained")
    grid = figure.subplots(len(names), 1, squeeze=False)[:, 0]
    for axes, name in zip(grid, names, strict=True):
        own = rows[rows["symbol"] == name].tail(_ROWS_SHOWN)
        if {"low", "high"} <= {*own.columns}:
            shade(axes, own["date"], (own["low"], own["high"]), "tab:blue", 0.18, label="interval")
        axes.plot(own["date"], own["actual"], color="black", linewidth=1.3, label="actual")
        axes.plot(own["date"], own["naive"], color="dimgray", linestyle=":", linewidth=1, label="last value")
        axes.plot(own["date"], own["forecast"], color="tab:blue", linewidth=1.1, label="forecast")
        axes.set_title(short_name(name), fontsize=10, loc="left")
        set_dates(axes)
        axes.grid(alpha=0.3)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    return figure


def series_shown(predictions: pd.DataFrame) -> tuple[list[str], int]:
    """Names of the symbols that are drawn, and how many there are in all."""
    rows = _one_step(predictions)
    names = longest_series(rows)
    key = "underlying" if "underlying" in rows else "symbol"
    return names[:SERIES_SHOWN], int(rows[key].nunique())


def say_series(predictions: pd.DataFrame, names: Sequence[str]) -> str:
    """What `draw_series` shows, in words: of each symbol the range of what came, and both mean errors."""
    rows, said = _one_step(predictions), []
    for name in names:
        own = rows[rows["symbol"] == name].tail(_ROWS_SHOWN)
        model, naive = ((own[each] - own["actual"]).abs().mean() for each in ("forecast", "naive"))
        said.append(
            f"{name} was between {own['actual'].min():.4g} and {own['actual'].max():.4g}; the forecast erred"
            f" by {model:.3g} on average, the last value by {naive:.3g}"
        )
    return "; ".join(said) + "."


def has_shares(predictions: pd.DataFrame) -> bool:
    """Whether every value that came is above zero, so that an error is a share of it."""
    return bool((_one_step(predictions)["actual"] > 0).all())


def say_errors(predictions: pd.DataFrame, *, shares: bool = True) -> str:
    """What `draw_errors` shows, in words."""
    rows = _one_step(predictions)
    said = []
    for column, label in (("forecast", "model"), ("naive", "last value")):
        above = (rows[column] > rows["actual"]).mean()
        half = ""
        if shares:
            middle = ((rows[column] - rows["actual"]) / rows["actual"]).abs().median()
            half = f"half of its absolute percentage errors are below {middle:.2%}, "
        said.append(f"{label}: {half}{above:.0%} of its forecasts are above what came")
    return f"Of {len(rows):,} forecasts: {'; '.join(said)}."


def say_changes(predictions: pd.DataFrame) -> str:
    """What `draw_changes` shows, in words."""
    rows = _one_step(predictions)
    came, said = rows["actual"] - rows["naive"], rows["forecast"] - rows["naive"]
    moved = (came != 0) & (said != 0)
    if not moved.any():
        return "No change was forecast, or none came."
    right = (np.sign(came[moved]) == np.sign(said[moved])).mean()
    size = said.abs().mean() / came.abs().mean()
    return (
        f"{right:.0%} of {int(moved.sum()):,} have the sign of what came; on average the forecast change is"
        f" {size:.2g} times as large as the one that came."
    )


def draw_errors(predictions: pd.DataFrame, *, shares: bool = True) -> Figure:
    """Histograms of the errors, and of the absolute percentage errors, beside the last value's.

    Args:
        predictions: As `read_run_table` gives them.
        shares: Whether to draw the percentage errors, for which every value that came must be above zero
            (`has_shares`); they say nothing where MAPE is refused.
    """
    rows = _scaled(_one_step(predictions))
    figure = Figure(figsize=(9, 3.6) if shares else (6, 3.6), layout="constrained")
    signed, *others = figure.subplots(1, 1 + shares, squeeze=False)[0]
    pairs = (("error", "model", "tab:blue", "solid"), ("naive_error", "last value", "dimgray", "dashed"))
    edges = _edges(np.concatenate([rows["error"], rows["naive_error"]]), signed=True)
    for column, label, colour, line in pairs:
        # Outlines, told apart by their dashes too: two filled histograms hide one another.
        signed.hist(
            rows[column].clip(edges[0], edges[-1]), bins=edges, histtype="step", color=colour, linestyle=line,
            linewidth=1.6, label=label,
        )  # fmt: skip
    signed.axvline(0, color="black", linewidth=0.8)
    signed.set(xlabel="error over the last value's mean absolute error", ylabel="forecasts")
    for percent in others:
        sizes = {column: (rows[column] * rows["unit"] / rows["actual"]).abs() for column, *_ in pairs}
        edges = _edges(np.concatenate(list(sizes.values())), signed=False)
        for column, label, colour, line in pairs:
            percent.hist(
                sizes[column].clip(upper=edges[-1]), bins=edges, histtype="step", color=colour,
                linestyle=line, linewidth=1.6, label=label,
            )  # fmt: skip
        percent.set(xlabel="absolute percentage error")
        percent.xaxis.set_major_formatter(PercentFormatter(1.0))
    for axes in (signed, *others):
        axes.grid(alpha=0.3)
    figure.legend(*signed.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)
    return figure


def draw_changes(predictions: pd.DataFrame) -> Figure:
    """The change that was forecast against the one that came; the last value forecasts none.

    Not the values themselves: any forecast of a price lies on the diagonal, the last value's too.
    """
    rows = _scaled(_one_step(predictions))
    came = (rows["actual"] - rows["naive"]) / rows["unit"]
    said = (rows["forecast"] - rows["naive"]) / rows["unit"]
    step = max(1, len(rows) // _MOST_POINTS)
    figure = Figure(figsize=(6, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(came[::step], said[::step], "o", markersize=2.5, alpha=0.75, color="tab:blue", rasterized=True)
    reach = float(np.nanquantile(came.abs(), 0.995)) or 1.0
    axes.plot([-reach, reach], [-reach, reach], color="black", linewidth=1, label="what came")
    axes.axhline(0, color="dimgray", linestyle=":", label="last value")
    axes.set(xlim=(-reach, reach), xlabel="change that came", ylabel="change that was forecast")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    return figure


def draw_rolling_skill(predictions: pd.DataFrame) -> Figure:
    """Skill over the last value over a rolling part of the test split."""
    dates, skill, width = rolling_skill(predictions)
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(dates, skill, color="tab:blue", linewidth=1.4, label=f"model, over {width} dates")
    axes.axhline(0, color="dimgray", linestyle=":", label="last value")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(ylabel="skill")
    set_dates(axes)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    return figure


def rolling_skill(
    predictions: pd.DataFrame,
) -> tuple[pd.DatetimeIndex, np.typing.NDArray[np.float64], int]:
    """Dates, the skill over the dates up to each, and how many these are."""
    rows = _scaled(_one_step(predictions))
    errors = rows.assign(error=rows["error"].abs(), naive_error=rows["naive_error"].abs())
    daily = errors.groupby("date")[["error", "naive_error"]].mean()
    width = min(len(daily), max(LEAST_ROLLING, len(daily) // ROLLING_SHARE))
    means = daily.rolling(width).mean().dropna()
    means = means[means["naive_error"] > 0]
    return pd.DatetimeIndex(means.index), np.asarray(1 - means["error"] / means["naive_error"]), width


def _scaled(rows: pd.DataFrame) -> pd.DataFrame:
    """Errors over the mean absolute error of the last value of the same symbol (of the same underlying)."""
    key = rows["underlying"] if "underlying" in rows else rows["symbol"]
    naive = (rows["naive"] - rows["actual"]).abs().groupby(key).transform("mean")
    unit = naive.where(naive > 0, 1.0)
    return rows.assign(
        unit=unit,
        error=(rows["forecast"] - rows["actual"]) / unit,
        naive_error=(rows["naive"] - rows["actual"]) / unit,
    )


def _edges(values: np.typing.NDArray[np.float64], *, signed: bool) -> np.typing.NDArray[np.float64]:
    """Edges of forty bins that hold all but one in two hundred values; the outermost hold those, too."""
    reach = float(np.nanquantile(np.abs(values), 0.995)) or 1.0
    return np.linspace(-reach if signed else 0.0, reach, 41)


_SERIES_SHOWN = 12


def draw_prediction(record: PredictionRecord, history: pd.DataFrame) -> Figure:
    """Draw each series and target in a panel of its own, twelve at most.

    Args:
        record: What `qhq.experiment.predict.prediction_record` returns.
        history: Columns symbol, date, target, value: the newest values that are known.
    """
    rows = pd.DataFrame([row.to_dict() for row in record.rows])
    rows["date"] = pd.to_datetime(rows["date"])
    shown = list(rows.groupby(["symbol", "target"], sort=False))[:_SERIES_SHOWN]
    columns = min(3, len(shown))
    lines = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(4.2 * columns, 0.7 + 2.8 * lines), layout="constrained")
    every = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, ((symbol, target), own) in zip(every, shown, strict=False):
        known = history[(history["symbol"] == symbol) & (history["target"] == target)]
        _draw_series(axes, known, own[own["date"] >= known["date"].min()])
        axes.set_title(short_name(f"{symbol}, {record.called.get(str(target), target)}"), fontsize=9)
    for axes in every[len(shown) :]:
        axes.set_visible(False)
    figure.legend(*every[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    figure.suptitle(f"{record.run} on {record.backend}: after {record.last_row}", fontsize=10)
    return figure


def _draw_series(axes: Axes, known: pd.DataFrame, own: pd.DataFrame) -> None:
    axes.plot(known["date"], known["value"], color="black", linewidth=1, label="came")
    newest = own[own["made_after"] == own["made_after"].max()]
    many = own["made_after"].nunique() > 1
    levels = own[own["horizon"] == 1 if many else own["horizon"] > 0].groupby("level", sort=True)
    for colour, (level, one) in zip(cycle(COLOURS), levels, strict=False):
        label = f"{100 * float(str(level)):g} % interval"
        if len(one) > 1:
            shade(axes, one["date"], (one["low"], one["high"]), colour, 0.2, label=label)
        else:
            half = [one["forecast"] - one["low"], one["high"] - one["forecast"]]
            axes.errorbar(one["date"], one["forecast"], yerr=half, capsize=4, color=colour, label=label)
    axes.plot(newest["date"], newest["forecast"], "o", markersize=4, color="tab:red", label="forecast")
    axes.plot(newest["date"], newest["last_value"], ":", marker="_", color="tab:gray", label="last value")
    axes.tick_params(axis="x", labelrotation=30, labelsize=7)
    axes.grid(alpha=0.3)
