"""The results of a run for people: tables with every baseline beside the model, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qhq.cli.output import metrics_table, plain_table
from qhq.runs.summary import run_skill

if TYPE_CHECKING:
    from rich.table import Table

    from qhq.runs.record import Errors, OptionErrors, OptionMetrics, RunRecord, WalkRecord

LABELS = {
    "test": "model",
    "naive": "last-value forecast",
    "har": "HAR",
    "black_scholes": "Black-Scholes, volatility of the day before",
}


def result_tables(record: RunRecord | WalkRecord) -> list[str | Table]:
    """Metrics on the test split: in all, of what was trained on and held out, and over the strike."""
    metrics = record.tested()
    # The skill that the verdict and `qhq compare` tell, of a run of an earlier version too.
    whole = {name: each.updated(skill=run_skill(metrics, name)) for name, each in metrics.forecasts.items()}
    tables: list[str | Table] = [_table(f"Test split, task {record.task}", whole)]
    for forecasts, title in ((metrics.seen, "Trained on"), (metrics.held_out, "Held out")):
        if forecasts:
            tables.append(_table(title, forecasts))
    if metrics.mape_reason:
        tables.append(f"{metrics.mape_reason}.")
    if metrics.options is not None:
        tables += [_option_table(metrics.options), *_bounded(metrics.options)]
    held = None if metrics.intervals is None else metrics.intervals.verdict
    return [*tables, held] if held else tables


def verdict(record: RunRecord) -> str:
    """One sentence: the model's error beside that of its task's baseline, and that one seed tests nothing."""
    from qhq.experiment.words import say_test  # it imports pandas, and `qhq --help` must not

    return say_test(record.tested())


def chosen(record: RunRecord) -> list[str]:
    """What the validation split says of the kept weights; nothing of a run of an earlier version."""
    from qhq.experiment.words import say_validation

    return [] if record.validation is None else [say_validation(record.validation)]


def plausibility_lines(record: RunRecord | WalkRecord) -> list[str]:
    """What stands against being glad of a run: each doubt that is open, and each that somebody accepted."""
    from qhq.experiment.plausibility import read_doubts

    doubts = read_doubts(record.plausibility)
    waiting = [doubt for doubt in doubts if doubt.accepted is None]
    if not waiting:
        return [doubt.sentence() for doubt in doubts]
    many = f"{len(waiting)} doubts are" if len(waiting) > 1 else "1 doubt is"
    head = f"Do not trust this result yet: {many} open ({', '.join(doubt.code for doubt in waiting)})."
    return [head, *(doubt.sentence() for doubt in doubts)]


def _table(title: str, forecasts: Mapping[str, Errors]) -> Table:
    return metrics_table(
        title, [(LABELS.get(name, name), each.model_dump()) for name, each in forecasts.items()]
    )


def _option_table(options: OptionMetrics) -> Table:
    """Errors over the strike, in basis points of it, in all and by underlying."""
    groups = {"all": options.forecasts, **options.symbols}
    rows = [
        [group, LABELS.get(name, name), *_option_cells(each)]
        for group, forecasts in groups.items()
        for name, each in forecasts.items()
    ]
    table = plain_table(
        ["", "", "MAE / strike, bp", "RMSE / strike, bp", "MAE of iv, points", "values"], rows
    )
    table.title = "Over the strike (1 bp = 0.01 %), and in implied volatility"
    return table


def _bounded(options: OptionMetrics) -> list[str]:
    """Which forecasts have no implied volatility; a run of an earlier version did not count them."""
    impossible = [
        f"{LABELS.get(name, name)} {each.iv_bounded:,}"
        for name, each in options.forecasts.items()
        if each.iv_bounded
    ]
    if not impossible:
        return []
    rows = max(each.iv_rows for each in options.forecasts.values())  # the same for all forecasts
    return [
        f"Forecasts outside what any volatility gives, such as below intrinsic value, of {rows:,}:"
        f" {', '.join(impossible)}. They count with a volatility of 0 or of 500 %."
    ]


def _option_cells(metrics: OptionErrors) -> list[str]:
    volatility = metrics.iv_mae
    return [
        f"{1e4 * metrics.mae_over_strike:.2f}",
        f"{1e4 * metrics.rmse_over_strike:.2f}",
        "-" if volatility is None else f"{100 * volatility:.2f}",
        f"{metrics.iv_rows:,}",
    ]
