"""The metrics of a run as its record has them: the model, the naive forecast and the other baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from qhq.evaluation.baselines.catalogue import task_baseline
from qhq.evaluation.detail import error_histograms, score_detail, score_table
from qhq.evaluation.groups import score_by_group, score_held_out, why_no_percent
from qhq.evaluation.metrics import relative_errors
from qhq.evaluation.options import has_option_prices, score_options, score_options_by_group
from qhq.evaluation.significance import loss_unit
from qhq.experiment.evaluate import Array, Evaluation


def metrics_record(evaluation: Evaluation, held_out: tuple[str, ...]) -> dict[str, Any]:
    """Metrics of model and baselines, in all, by symbol, and by what was held out.

    ``test`` and ``naive`` are of the model and the last value; ``baseline`` names what the task is judged
    against. ``relative`` has each forecast's errors over those of the last value, symbol by symbol and then
    averaged. Errors over the strike stand under ``options``, for option prices.
    """
    return {
        "test": asdict(evaluation.metrics()),
        "naive": asdict(evaluation.naive_metrics()),
        "baselines": {name: asdict(evaluation.score(each)) for name, each in evaluation.baselines.items()},
        "mape_reason": why_no_percent(evaluation.windows),
        "baseline": task_baseline(evaluation.windows.cut),
        "relative": _relative(evaluation),
        "symbols": _by_symbol(evaluation),
        "detail": _detail(evaluation),
        "histogram": _histogram(evaluation),
        **_held_out(evaluation, held_out),
        **_options(evaluation),
    }


def _forecasts(evaluation: Evaluation) -> dict[str, Array]:
    """Every forecast under the name that the record has for it."""
    return {"test": evaluation.forecast, "naive": evaluation.naive, **evaluation.baselines}


def _relative(evaluation: Evaluation) -> dict[str, Any]:
    windows, naive = evaluation.windows, evaluation.naive
    return {
        name: asdict(relative_errors(windows.targets, forecast, naive, windows.group))
        for name, forecast in _forecasts(evaluation).items()
    }


def _detail(evaluation: Evaluation) -> dict[str, Any]:
    """Further measures of the model and of each baseline, and of the model by symbol and horizon."""
    windows, naive = evaluation.windows, evaluation.naive
    whole = {
        name: asdict(score_detail(windows, each, naive)) for name, each in _forecasts(evaluation).items()
    }
    rows = score_table(windows, evaluation.forecast, naive, evaluation.scale)
    return {**whole, "rows": [asdict(row) for row in rows]}


def _histogram(evaluation: Evaluation) -> dict[str, Any]:
    """Errors of every forecast, each window's over its unit, counted in the same bins."""
    unit = loss_unit(evaluation.windows, evaluation.scale)
    found = error_histograms(evaluation.windows.targets, _forecasts(evaluation), unit)
    counts = {name: each.tolist() for name, each in found.counts.items()}
    return {"edges": found.edges.tolist(), "counts": counts, "outside": found.outside}


def _by_symbol(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    return _turned(
        evaluation,
        lambda forecast: score_by_group(evaluation.windows, forecast, evaluation.naive, evaluation.scale),
    )


def _held_out(evaluation: Evaluation, names: tuple[str, ...]) -> dict[str, Any]:
    if not names:
        return {}
    windows, naive, scale = evaluation.windows, evaluation.naive, evaluation.scale
    return _turned(evaluation, lambda forecast: score_held_out(windows, forecast, naive, scale, names))


def _options(evaluation: Evaluation) -> dict[str, Any]:
    windows = evaluation.windows
    if not has_option_prices(windows):
        return {}
    forecasts = _forecasts(evaluation)
    whole = {name: asdict(score_options(windows, forecast)) for name, forecast in forecasts.items()}
    groups = _turned(evaluation, lambda forecast: score_options_by_group(windows, forecast))
    return {"options": {**whole, "symbols": groups}}


def _turned(evaluation: Evaluation, measure: Callable[[Array], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Measure every forecast by group, and sort by group first: ``{group: {forecast: metrics}}``."""
    found = {name: measure(forecast) for name, forecast in _forecasts(evaluation).items()}
    groups = next(iter(found.values()))
    return {
        group: {name: asdict(each[group]) for name, each in found.items() if each[group] is not None}
        for group in groups
    }
