"""The figure of a portability report: what each step away from the exact simulator cost."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


def draw_portability(record: dict[str, Any]) -> Figure:
    """Forecast error beside the naive forecast, and error of the expectation values, backend by backend.

    Args:
        record: What `run_evaluation` returns.
    """
    results = record["results"]
    names = [_label(result) for result in results]
    figure = Figure(figsize=(11, 1.4 + 0.5 * len(results)), layout="constrained")
    forecast, circuit = figure.subplots(1, 2, sharey=True)
    exact = results[0]["metrics"]["mae"] - results[0]["delta_mae"]
    forecast.plot([result["delta_mae"] for result in results], names, "o", color="tab:blue", label="model")
    forecast.axvline(0, color="tab:green", label="model on the exact simulator")
    naive = results[0]["naive"]["mae"] - exact
    forecast.axvline(naive, color="black", linestyle=":", label="naive (last value)")
    forecast.set(xlabel="change of MAE against the exact simulator (price)")
    figure.legend(*forecast.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    circuit.barh(names, [result["expectation_error"] or 0.0 for result in results], color="tab:purple")
    circuit.set(xlabel="mean |<O> - exact|")
    forecast.invert_yaxis()
    forecast.xaxis.set_major_locator(MaxNLocator(5))
    for axes in (forecast, circuit):
        axes.grid(alpha=0.3, axis="x")
    figure.suptitle(f"{record['run']}: {results[0]['samples']} windows", fontsize=10)
    return figure


def _label(result: dict[str, Any]) -> str:
    shots = "exact" if result["shots"] is None else f"{result['shots']} shots"
    return f"{result['backend']} ({shots})" + (", best case" if result["note"] else "")
