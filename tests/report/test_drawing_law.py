"""The law of drawings: whatever is drawn, nothing runs, and nothing but the picture is other than before."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import qhq.report
from qhq.ansatz.assemble import build
from qhq.ansatz.spec import AnsatzSpec
from qhq.backends.devices.placement import Placement
from qhq.backends.registry import place_on
from qhq.data.panel import describe_panel
from qhq.quantum.layer import QuantumLayer
from qhq.report import (
    calibrations,
    data_figures,
    device_figures,
    figures,
    forecast_figures,
    moneyness,
    study_figures,
    training_figures,
)
from qhq.report.model_diagram import draw_diagram
from qhq.report.model_steps import ModelDiagram, ModelStep
from qhq.runs.answers import BackendResult, EvaluationRecord, Landscape, PredictionRecord
from qhq.runs.record import AngleCounts, WalkRecord
from qhq.runs.studies import NoiseRecord, StageRecord
from tests.ansatz.circuits import built
from tests.data.test_panel import options, stocks
from tests.no_trace import no_trace
from tests.report.test_moneyness import predictions as option_forecasts
from tests.report.test_study_figures import NEAR, record_of
from tests.report.test_training_figures import BAND, DRIFT, EARLIER
from tests.runs.records import record

ERRORS = {"mae": 1.0, "skill": 0.1}
SPANS = {"train": (np.datetime64("2020-01-01"), np.datetime64("2020-03-01"))}
FOLD = {"run": "one", "trained_to": "2020-01-01", "from": "2020-01-02", "to": "2020-02-01", "windows": 9,
        "skill": 0.1, "mae": 1.0, "naive_mae": 1.1}  # fmt: skip
ROW = {"symbol": "A", "made_after": "2020-02-10", "target": "close", "forecast": 101.0, "low": 99.0,
       "high": 103.0, "level": 0.9, "last_value": 100.0}  # fmt: skip
RESULT = {"backend": "fake_nairobi", "samples": 8, "shots": 64, "expectation_error": 0.02, "metrics": ERRORS,
          "naive": ERRORS}  # fmt: skip
POINT = {"status": "done", "low": 0.8, "high": 1.1, "parameters": 9, "healthy": 1, "seeds": 1, "epochs": 2,
         "tied": False, "chosen": False}  # fmt: skip


def forecasts() -> pd.DataFrame:
    actual = 100 + np.sin(np.arange(30.0))
    days = pd.bdate_range("2020-01-01", periods=30).astype(str)
    named = {"symbol": "A", "date": days, "horizon": 1, "low": actual - 1, "high": actual + 1}
    return pd.DataFrame({**named, "actual": actual, "forecast": actual + 0.1, "naive": actual - 0.2})


def noise() -> NoiseRecord:
    measured = {"mae": 1.0, "skill": 0.1, "delta_mae": 0.0, "expectation_error": 0.01}
    whole = {f"{name}{end}": value for name, value in measured.items() for end in ("", "_low", "_high")}
    row = {"backend": "fake_fez", "seeds": 2, "naive_mae": 1.1, "against_naive": "better", **whole}
    part = {"value": 0.1, "low": 0.05, "high": 0.15, "share": 0.5}
    parts = [{"component": name, **part} for name in ("model", "gate_noise", "shots")]
    return NoiseRecord.model_validate({
        "backend": "fake_fez", "samples": 8, "seeds": 2, "exact_mae": 1.0, "exact_skill": 0.1,
        "naive_mae": 1.1, "limits": {"100": 0.7}, "verdict": "So.",
        "rows": [{**row, "scale": scale, "shots": shots} for scale in (0.5, 1) for shots in (100, 900, None)],
        "budget": {"loss": "absolute", "components": parts, "total": {"component": "total", **part},
                   "naive": 1.1, "left_out": {}, "verdict": "So."},
    })  # fmt: skip


def stage() -> StageRecord:
    spread = {"points": 2, "seeds": 1, "seed_sd": 0.1, "point_sd": 0.1, "p_value": 0.5, "margin": 0.1}
    return StageRecord.model_validate({
        "stage": "one", "search": "grid", "keys": ["rate"], "points": 2, "pruned": 0, "failed": 0,
        "best": "a", "value": 0.9, "lowest": "a", "lowest_value": 0.9, "tied": 1,
        "noise": {**spread, "is_ranking": None},
        "rows": [{**POINT, "value": value, "rate": value / 10} for value in (0.9, 1.1)],
    })  # fmt: skip


def walk() -> WalkRecord:
    content = record(fold_numbers=[0, 1], folds=[{**FOLD, "fold": number} for number in (0, 1)])
    return WalkRecord.model_validate({**content, "run": "one"})


def prediction() -> Figure:
    rows = [{**ROW, "date": f"2020-02-1{day}", "horizon": day} for day in (1, 2)]
    content = {"run": "one", "backend": "aer", "last_row": "2020-02-10", "rows": rows}
    known = forecasts().rename(columns={"actual": "value"}).assign(target="close")
    known["date"] = pd.to_datetime(known["date"])
    return forecast_figures.draw_prediction(PredictionRecord.model_validate(content), known)


def trends() -> list[list[calibrations.DeviceDay]]:
    result = BackendResult.model_validate(RESULT)
    return [[calibrations.DeviceDay("nairobi", datetime(2025, 1, day, tzinfo=UTC), result) for day in (1, 2)]]


def landscape() -> Figure:
    rows = [[2.0, 1.5, None], [1.5, 1.0, 1.5], [2.0, 1.5, 2.0]]
    sizes = {"part": "all", "weights": "kept", "parameters": 3, "samples": 8, "seed": 0, "span": 1.0}
    return training_figures.draw_landscape(Landscape.model_validate({**sizes, "loss": 1.0, "losses": rows}))


def circles() -> Figure:
    ansatz = built("rot")
    found = training_figures.rotations_of(ansatz, np.linspace(-3, 3, ansatz.num_weights).tolist())
    return training_figures.draw_circles(AngleCounts(windows=4, counts=[[1, 3, 0, 0]] * 3), found)


def stock() -> Figure:
    panel = stocks()
    return data_figures.draw_stock(panel, data_figures.Surroundings(describe_panel(panel)[0], SPANS), "close")


def underlying() -> Figure:
    panel = options()
    return data_figures.draw_underlying(panel, data_figures.Surroundings(describe_panel(panel)[0], {}))


@cache
def placement() -> Placement:
    return place_on(build(AnsatzSpec(qubits=2)), "fake_nairobi")


LAW: dict[str, Callable[[], object]] = {
    "draw_trends": lambda: calibrations.draw_trends(trends()),
    "draw_stock": stock,
    "draw_underlying": underlying,
    "draw_smile": lambda: data_figures.draw_smile(options(), "AAPL", np.datetime64("2026-11-20")),
    "draw_placement": lambda: device_figures.draw_placement(placement()),
    "draw_forecasts": lambda: figures.draw_forecasts(forecasts()),
    "draw_series": lambda: forecast_figures.draw_series(forecasts()),
    "draw_errors": lambda: forecast_figures.draw_errors(forecasts()),
    "draw_changes": lambda: forecast_figures.draw_changes(forecasts()),
    "draw_rolling_skill": lambda: forecast_figures.draw_rolling_skill(forecasts()),
    "draw_prediction": prediction,
    "draw_moneyness": lambda: moneyness.draw_moneyness(moneyness.by_moneyness(option_forecasts())),
    "draw_ablation": lambda: study_figures.draw_ablation(record_of(NEAR)),
    "draw_portability": lambda: study_figures.draw_portability(
        EvaluationRecord.model_validate({"run": "one", "results": [RESULT, RESULT]})
    ),
    "draw_walk": lambda: study_figures.draw_walk(walk()),
    "draw_noise": lambda: study_figures.draw_noise(noise()),
    "draw_budget": lambda: study_figures.draw_budget(noise()),
    "draw_stage": lambda: study_figures.draw_stage(stage(), "mase"),
    "draw_history": lambda: training_figures.draw_history(pd.DataFrame({**EARLIER, **DRIFT, **BAND}), 1.2),
    "draw_circles": circles,
    "draw_landscape": landscape,
    "draw_diagram": lambda: draw_diagram(
        ModelDiagram("one", (ModelStep("window", (5, 1)), ModelStep("linear", (2,), weights=12)))
    ),
}
ELSEWHERE = {"draw_run_figures": "test_figures", "draw_walk_figure": "draw_walk, and save_figure"}
"""Held to the law by other tests: they draw into the folder of a run."""


def test_the_law_knows_every_figure():
    modules = [import_module(f"qhq.report.{each.name}") for each in iter_modules(qhq.report.__path__)]
    found = {
        name
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if name.startswith("draw_") and function.__module__ == module.__name__
    }
    assert found == {*LAW, *ELSEWHERE}


@pytest.mark.parametrize("name", LAW)
def test_a_figure_leaves_no_trace(name, tmp_path):
    """Law: generators, settings of matplotlib and torch, open figures, warnings, and a layer beside it."""
    placement()  # which imports what adds filters of warnings
    layer = QuantumLayer("reference", qubits=2, depth=1)
    for path in (tmp_path / "other.txt", tmp_path / "pictures" / "one.svg"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("as it was")
    with no_trace(layer, folder=tmp_path / "pictures"):
        figure = LAW[name]()
        assert isinstance(figure, Figure)
        figures.save_figure(figure, tmp_path / "new.svg")
    assert {path.name for path in Path(tmp_path).iterdir()} == {"other.txt", "pictures", "new.svg"}
