"""The results of a run for people: tables with every baseline beside the model, and a verdict."""

from __future__ import annotations

from typing import Any

from qhq.cli.output import metrics_table, plain_table
from qhq.runs.summary import run_skill

LABELS = {
    "test": "model",
    "naive": "last-value forecast",
    "har": "HAR",
    "black_scholes": "Black-Scholes, volatility of the day before",
}


def result_tables(record: dict[str, Any]) -> list[Any]:
    """Metrics on the test split: in all, of what was trained on and held out, and over the strike."""
    metrics, task = record["metrics"], record["task"]
    whole = {"test": metrics["test"], "naive": metrics["naive"], **metrics["baselines"]}
    # The skill that the verdict and `qhq compare` tell, of a run of an earlier version too.
    whole = {
        name: {**each, "skill": run_skill({"metrics": {**metrics, **whole}}, name)}
        for name, each in whole.items()
    }
    tables = [_table(f"Test split, task {task}", whole)]
    for part, title in (("seen", "Trained on"), ("held_out", "Held out")):
        if metrics.get(part):
            tables.append(_table(title, metrics[part]))
    if metrics.get("mape_reason"):
        tables.append(f"{metrics['mape_reason']}.")
    if "options" in metrics:
        tables += [_option_table(metrics["options"]), *_bounded(metrics["options"])]
    held = (metrics.get("intervals") or {}).get("verdict")
    return [*tables, held] if held else tables


def verdict(record: dict[str, Any]) -> str:
    """One sentence: the model's error beside that of its task's baseline, and that one seed tests nothing."""
    from qhq.experiment.words import say_test  # it imports pandas, and `qhq --help` must not

    return say_test(record)


def chosen(record: dict[str, Any]) -> list[str]:
    """What the validation split says of the kept weights; nothing of a run of an earlier version."""
    validation = record.get("validation")
    from qhq.experiment.words import say_validation

    return [] if validation is None else [say_validation(validation)]


def plausibility_lines(record: dict[str, Any]) -> list[str]:
    """What stands against being glad of a run: each doubt that is open, and each that somebody accepted."""
    from qhq.experiment.plausibility import read_doubts

    doubts = read_doubts(record)
    waiting = [doubt for doubt in doubts if doubt.accepted is None]
    if not waiting:
        return [doubt.sentence() for doubt in doubts]
    many = f"{len(waiting)} doubts are" if len(waiting) > 1 else "1 doubt is"
    head = f"Do not trust this result yet: {many} open ({', '.join(doubt.code for doubt in waiting)})."
    return [head, *(doubt.sentence() for doubt in doubts)]


def _table(title: str, forecasts: dict[str, dict[str, Any]]) -> Any:
    return metrics_table(title, [(LABELS.get(name, name), each) for name, each in forecasts.items()])


def _option_table(options: dict[str, Any]) -> Any:
    """Errors over the strike, in basis points of it, in all and by underlying."""
    parts = {"all": {name: each for name, each in options.items() if name != "symbols"}, **options["symbols"]}
    rows = [
        [part, LABELS.get(name, name), *_option_cells(each)]
        for part, forecasts in parts.items()
        for name, each in forecasts.items()
    ]
    table = plain_table(
        ["", "", "MAE / strike, bp", "RMSE / strike, bp", "MAE of iv, points", "values"], rows
    )
    table.title = "Over the strike (1 bp = 0.01 %), and in implied volatility"
    return table


def _bounded(options: dict[str, Any]) -> list[str]:
    """Which forecasts have no implied volatility; a run of an earlier version did not count them."""
    told = [
        f"{LABELS.get(name, name)} {each['iv_bounded']:,}"
        for name, each in options.items()
        if name != "symbols" and each.get("iv_bounded")
    ]
    if not told:
        return []
    rows = options["test"]["iv_rows"]
    return [
        f"Forecasts outside what any volatility gives, such as below intrinsic value, of {rows:,}:"
        f" {', '.join(told)}. They count with a volatility of 0 or of 500 %."
    ]


def _option_cells(metrics: dict[str, Any]) -> list[str]:
    volatility = metrics["iv_mae"]
    return [
        f"{1e4 * metrics['mae_over_strike']:.2f}",
        f"{1e4 * metrics['rmse_over_strike']:.2f}",
        "-" if volatility is None else f"{100 * volatility:.2f}",
        f"{metrics['iv_rows']:,}",
    ]
