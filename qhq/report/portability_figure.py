"""The figure of a portability report: what each step away from the exact simulator cost."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


def draw_portability(record: dict[str, Any]) -> Figure:
    """Skill beside the last value, and error of the expectation values, backend by backend.

    Args:
        record: What `run_evaluation` returns.
    """
    results = record["results"]
    names = [_label(result) for result in results]
    figure = Figure(figsize=(11, 1.4 + 0.5 * len(results)), layout="constrained")
    forecast, circuit = figure.subplots(1, 2, sharey=True)
    # Not the MAE: of several symbols that of the dearest would be all there is to see.
    skills = [_percent(result["metrics"]["skill"]) for result in results]
    forecast.plot(skills, names, "o", color="tab:blue", label="model")
    exact = skills[0] - _percent(results[0]["delta_skill"])
    forecast.axvline(exact, color="tab:green", label="model on the exact simulator")
    forecast.axvline(0, color="black", linestyle=":", label="last value")
    forecast.set(xlabel="skill over the last value, %; right is better")
    figure.legend(*forecast.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    errors = [result["expectation_error"] or 0.0 for result in results]
    # Of entries whose service works standard errors out.
    stds = [result.get("expectation_std") or 0.0 for result in results]
    circuit.barh(names, errors, color="tab:purple")
    if any(stds):
        circuit.errorbar(errors, names, xerr=stds, fmt="none", color="black", capsize=3)
    bars = "; bars: standard error of one value" if any(stds) else ""
    circuit.set(xlabel=f"mean |<O> - exact|{bars}")
    forecast.invert_yaxis()
    forecast.xaxis.set_major_locator(MaxNLocator(5))
    for axes in (forecast, circuit):
        axes.grid(alpha=0.3, axis="x")
    figure.suptitle(f"{record['run']}: {results[0]['samples']} windows", fontsize=10)
    return figure


def _percent(value: float | None) -> float:
    """In percent; NaN, which is not drawn, where the last value never errs."""
    return math.nan if value is None else 100 * value


def _label(result: dict[str, Any]) -> str:
    shots = "exact" if result["shots"] is None else f"{result['shots']} shots"
    return f"{result['backend']} ({shots})" + (", best case" if result["note"] else "")
