"""The results of a run for people: tables with every baseline beside the model, and a verdict."""

from __future__ import annotations

from typing import Any

from qhq.cli.output import metrics_table, plain_table
from qhq.tracking.summary import run_skill

LABELS = {
    "test": "model",
    "naive": "last-value forecast",
    "har": "HAR",
    "black_scholes": "Black-Scholes, volatility of the day before",
}
NAMES = {
    "last_value": "the last value",
    "black_scholes": "Black-Scholes with the volatility of the day before",
}


def result_tables(record: dict[str, Any]) -> list[Any]:
    """Metrics on the test part: in all, of what was trained on and held out, and over the strike."""
    metrics, task = record["metrics"], record["task"]
    whole = {"test": metrics["test"], "naive": metrics["naive"], **metrics["baselines"]}
    # The skill that the verdict and `qhq compare` tell, of a run of an earlier version too.
    whole = {
        name: {**each, "skill": run_skill({"metrics": {**metrics, **whole}}, name)}
        for name, each in whole.items()
    }
    tables = [_table(f"Test part, task {task}", whole)]
    for part, title in (("seen", "Trained on"), ("held_out", "Held out")):
        if metrics.get(part):
            tables.append(_table(title, metrics[part]))
    if metrics.get("mape_reason"):
        tables.append(f"{metrics['mape_reason']}.")
    if "options" in metrics:
        tables.append(_option_table(metrics["options"]))
    return tables


def verdict(record: dict[str, Any]) -> str:
    """One sentence: the model's error against the baseline of its task.

    What is compared is the error over that of the last value, averaged over symbols and targets, so that no
    symbol decides by the size of its prices. MASE weighs windows another way: where the two do not agree,
    the model is not called better.
    """
    metrics = record["metrics"]
    name = metrics["baseline"]
    rival = "naive" if name == "last_value" else name
    rivals = metrics["naive"] if name == "last_value" else metrics["baselines"][name]
    own, other = (_relative(record, each) for each in ("test", rival))
    if own is None or other is None or other <= 1e-9 * own:
        return f"No better than {NAMES[name]}, which does not err here at all."
    change = 100 * (1 - own / other)
    count = len(metrics.get("symbols") or ())
    over = f", averaged over {count} symbols" if count > 1 else ""
    if change < 1e-7:  # a sum over symbols is never exact, and equal errors are no better
        return f"No better than {NAMES[name]}: the model's error is {max(-change, 0):.2f} % above it{over}."
    mase, against = metrics["test"]["mase"], rivals["mase"]
    if mase is not None and against is not None and mase >= against:
        return (
            f"No better than {NAMES[name]}: MASE {mase:.4g} against {against:.4g}, though each symbol's error"
            f" over that of the last value is {change:.2f} % less on average."
        )
    return f"The model's error is {change:.2f} % below that of {NAMES[name]}{over} (one seed, not tested)."


def _relative(record: dict[str, Any], forecast: str) -> float | None:
    """Error of a forecast over that of the last value; None where that never errs."""
    metrics = record["metrics"]
    known = {"test": metrics["test"], "naive": metrics["naive"], **metrics["baselines"]}
    skill = run_skill({"metrics": {**metrics, **known}}, forecast)
    return None if skill is None else 1 - skill


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
    table = plain_table(["", "", "MAE / strike, bp", "RMSE / strike, bp", "MAE of iv, points"], rows)
    table.title = "Over the strike (1 bp = 0.01 %), and in implied volatility"
    return table


def _option_cells(metrics: dict[str, Any]) -> list[str]:
    volatility = metrics["iv_mae"]
    return [
        f"{1e4 * metrics['mae_over_strike']:.2f}",
        f"{1e4 * metrics['rmse_over_strike']:.2f}",
        "-" if volatility is None else f"{100 * volatility:.2f}",
    ]
