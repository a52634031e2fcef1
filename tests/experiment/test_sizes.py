"""Multiply the prices of one symbol by a million: nothing that is called better or best may move."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from qhq.cli.train import verdict
from qhq.data.load import load_panel
from qhq.data.prepare import prepare
from qhq.data.spec import DataSpec
from qhq.experiment.config import load_config
from qhq.experiment.run import train_run
from qhq.experiment.trial import run_trial
from qhq.runs.run_folder import RunFolder
from qhq.studies.ablation.cells import measure_ablation_cell, plan_cells
from qhq.studies.ablation.study import _best
from qhq.studies.ablation.verdict import table_rows
from qhq.studies.comparisons import compare_all
from qhq.studies.sweep.ranking import relative_error
from qhq.training.loop import Watcher

FACTORS = (1.0, 2.0**20)
"""A power of two changes no digit, so that every number without a unit must be the same to the last one."""


@pytest.fixture
def configs(study):
    """The same recipe on the same prices, those of one of three symbols in another unit."""
    panel = load_panel(DataSpec(start="2012-01-01"))
    symbol = np.asarray(panel.symbols)[panel.code]
    found = []
    for factor in FACTORS:
        values = panel.column("adj_close") * np.where(symbol == "GOOG", factor, 1.0)
        path = study / f"prices-{factor:g}.csv"
        frame = pd.DataFrame({"date": panel.dates, "symbol": symbol, "adj_close": values})
        frame.to_csv(path, index=False)
        changes = ["data.source=csv", f"data.path={path}", "data.symbols=null", "training.epochs=1"]
        found.append(load_config("tiny.yaml", [*changes, "backend=statevector"]))
    return found


def test_the_verdict_of_a_training_and_the_rank_of_a_trial_do_not_move(configs, study):
    records = [train_run(config, Watcher()).read_record() for config in configs]
    plain, dear = (record.metrics.to_dict() for record in records)
    assert dear["test"]["mae"] > 1e4 * plain["test"]["mae"]
    for key in ("mase", "skill", "mape"):
        np.testing.assert_allclose(dear["test"][key], plain["test"][key], rtol=1e-9)
    assert dear["relative"]["test"] == pytest.approx(plain["relative"]["test"])
    assert verdict(records[0]) == verdict(records[1])
    assert (records[0].collapse is None) is (records[1].collapse is None)
    trials = [RunFolder(study / f"trial-{place}") for place in range(2)]
    for trial, config in zip(trials, configs, strict=True):
        trial.path.mkdir()
        run_trial(trial, config, prepare(config.data))
    for metric in ("mae", "rmse", "mape", "mase"):
        one, other = (relative_error(trial.read_record(), metric) for trial in trials)
        np.testing.assert_allclose(other, one, rtol=1e-9)
    losses = [record.validation_loss for record in records]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)


def test_what_an_ablation_calls_best_and_better_does_not_move(configs):
    tables = []
    for config in configs:
        data = prepare(config.data)
        measured = {
            cell.name: [measure_ablation_cell(cell, data)]
            for cell in plan_cells({"hybrid": config}, data, range(0))
            if cell.name != "gradient_boosting"
        }
        tables.append(table_rows(measured, compare_all(measured, 1, ("last_value",))))
    assert _best(tables[0]) == _best(tables[1])
    for plain, dear in zip(*tables, strict=True):
        assert (plain["variant"], plain["vs_naive"]) == (dear["variant"], dear["vs_naive"])
        np.testing.assert_allclose(dear["skill"], plain["skill"], atol=1e-6)


def test_a_symbol_that_makes_up_the_loss_is_reported_before_the_training(configs):
    notes: list[str] = []
    watcher = Watcher()
    watcher.note = notes.append
    raw = configs[1].data.model_copy(update={"scaling": "raw"})
    train_run(configs[1].model_copy(update={"data": raw}), watcher)
    assert any("GOOG makes up 100.0 % of the validation loss" in note for note in notes)
    notes.clear()
    train_run(configs[1], watcher)
    assert not any("makes up" in note for note in notes)
