"""Errors of options by strike and expiry: each forecast in one cell, by what was known when it was made."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from qhq.api.run import open_run
from qhq.report.moneyness import by_moneyness, draw_moneyness, expiry_names, moneyness_names
from tests.report.pages import read_page


def predictions(count: int = 400) -> pd.DataFrame:
    """Contracts all over the surface; the model errs by 1 % of the strike, the last value by 2 %."""
    draw = np.random.default_rng(7)
    strike, spot = draw.uniform(60, 150, count), np.full(count, 100.0)
    actual = draw.uniform(1, 9, count)
    return pd.DataFrame({
        "symbol": [f"C{n}" for n in range(count)], "underlying": "U", "date": "2020-01-02",
        "horizon": 1, "actual": actual, "forecast": actual + 0.01 * strike, "naive": actual - 0.02 * strike,
        "black_scholes": actual, "strike": strike, "spot": spot, "years": draw.uniform(0, 2, count),
    })  # fmt: skip


def test_every_forecast_is_in_one_cell_and_errors_are_over_the_strike():
    rows = predictions()
    cells = by_moneyness(rows)
    assert cells["forecasts"].sum() <= len(rows)
    np.testing.assert_allclose(cells["model"], 0.01)
    np.testing.assert_allclose(cells["last_value"], 0.02)
    np.testing.assert_allclose(cells["black_scholes"], 0, atol=1e-12)
    np.testing.assert_allclose(cells["skill"], 0.5)
    assert cells["expiry"].between(0, len(expiry_names()) - 1).all()
    assert cells["moneyness"].between(0, len(moneyness_names()) - 1).all()


def test_a_cell_of_few_contracts_a_later_horizon_and_what_is_not_finite_count_for_nothing():
    rows = predictions()
    at_the_money = rows.assign(strike=100.0, spot=100.0, years=0.5)
    few = by_moneyness(at_the_money.head(9))
    assert few is None
    ten = at_the_money.head(10)
    (cell,) = by_moneyness(ten).itertuples()
    assert (moneyness_names()[cell.moneyness], expiry_names()[cell.expiry]) == (
        "-3 % to +3 %",
        "180 days to 365 days",
    )
    more = pd.concat([ten, ten.assign(horizon=2, forecast=99.0), ten.assign(forecast=np.inf)])
    pd.testing.assert_frame_equal(by_moneyness(more), by_moneyness(ten))


def test_stocks_and_runs_of_earlier_versions_have_none():
    assert by_moneyness(predictions().drop(columns="strike")) is None


def test_the_figure_writes_each_cell_where_its_names_stand():
    cells = by_moneyness(predictions())
    errors, skill = draw_moneyness(cells).axes
    assert {text.get_text() for text in errors.texts} == {"100"}
    assert {text.get_text() for text in skill.texts} == {"50"}
    assert len(errors.texts) == len(cells)
    assert [label.get_text() for label in errors.get_xticklabels()] == moneyness_names()
    assert [label.get_text() for label in errors.get_yticklabels()] == expiry_names()[1:]  # none of the first


def test_the_figure_has_no_empty_rows_or_columns_at_its_ends():
    cells = by_moneyness(predictions())
    some = cells.head(2).assign(expiry=[1, 3], moneyness=1)
    left, right = draw_moneyness(some).axes
    assert [label.get_text() for label in left.get_yticklabels()] == expiry_names()[1:4]
    for axes in (left, right):
        assert [label.get_text() for label in axes.get_xticklabels()] == moneyness_names()[1:2]
        assert {text.get_position() for text in axes.texts} == {(0, 0), (0, 2)}


@pytest.fixture
def of_options(a_runs_folder, study):
    """A run whose table of forecasts is one of options."""
    (run,) = (folder for folder in a_runs_folder.iterdir() if (folder / "run.json").exists())
    folder = study / "runs" / run.name
    shutil.copytree(run, folder)
    predictions().to_csv(folder / "predictions.csv", index=False)
    return open_run(str(folder))


def test_the_report_has_it_as_a_figure_and_as_a_table(of_options):
    text = of_options.report().read_text()
    page = read_page(text)
    assert "could not be drawn" not in text
    (table,) = [each for each in page.tables if "moneyness" in each.caption]
    assert table.columns == ["time to expiry", "strike over spot", "forecasts", "model, bp",
                             "last-value forecast, bp", "Black-Scholes, volatility of the day before, bp",
                             "skill"]  # fmt: skip
    assert {(row[3], row[4], row[6]) for row in table.rows} == {("100", "200", "+50.00 %")}
    assert any("lowest and the highest skill are +50.00 %" in each["alt"] for each in page.of("img"))
    assert json.loads((of_options.folder / "run.json").read_text())["status"] == "finished"
