"""The losses of each task: the formulas, the dates, and the bounds."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from numpy.testing import assert_allclose

from qhq.errors import DataError
from qhq.evaluation.losses import (
    _FURTHEST,
    _HIGHEST_VOLATILITY,
    date_losses,
    has_option_prices,
    loss_names,
    loss_unit,
    score_options,
    score_options_by_group,
    task_losses,
    volatility_errors,
)
from tests.evaluation.panels import black, option_panel, option_windows, random_walks, stock_windows


def volatilities(sessions=60, seed=0):
    rng = np.random.default_rng(seed)
    return {symbol: 0.02 * np.exp(rng.normal(0, 0.4, sessions)) for symbol in ("A", "B")}


def losses_of(windows, **forecasts):
    scale = np.ones((len(windows), len(windows.cut.targets)))
    return task_losses(windows, forecasts, scale)


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        (("garman_klass", "log_parkinson"), ("qlike", "squared_log")),
        (("log_garman_klass",), ("qlike", "squared_log")),
        (("log_garman_klass", "close"), ("absolute",)),
        (("close",), ("absolute",)),
        (("log_return",), ("absolute",)),
    ],
)
def test_a_task_has_its_losses(targets, names):
    windows = stock_windows({name: volatilities() for name in targets})
    assert loss_names(windows) == names
    assert tuple(losses_of(windows, a=windows.targets).by_name) == names


def test_prices_of_options_are_judged_over_the_strike_first():
    assert loss_names(option_windows(targets=("bid", "ask"))) == ("over_strike", "implied_volatility")
    assert loss_names(option_windows(targets=("iv",))) == ("absolute",)


def test_qlike_is_of_variances_by_its_formula():
    values = volatilities()
    windows = stock_windows({"parkinson": values}, horizon=2)
    forecast = windows.targets * np.exp(np.random.default_rng(1).normal(0, 0.5, windows.targets.shape))
    found = losses_of(windows, a=forecast)
    ratio = windows.targets**2 / forecast**2
    for name, each in (("qlike", ratio - np.log(ratio) - 1), ("squared_log", np.log(ratio) ** 2 / 4)):
        dates = np.unique(windows.dates[:, 0])
        expected = [each[windows.dates[:, 0] == date].mean() for date in dates]
        assert_allclose(found.by_name[name]["a"], expected, rtol=1e-12)
    assert (found.primary, found.bounded, found.rows["qlike"]) == ("qlike", {}, windows.targets.size)


def test_a_volatility_and_its_logarithm_are_judged_alike():
    values = volatilities()
    level = stock_windows({"garman_klass": values})
    log = stock_windows({"log_garman_klass": {name: np.log(each) for name, each in values.items()}})
    forecast = level.targets * 1.3
    one, other = losses_of(level, a=forecast), losses_of(log, a=np.log(forecast))
    for name in ("qlike", "squared_log"):
        assert_allclose(one.by_name[name]["a"], other.by_name[name]["a"], rtol=1e-10)


def test_qlike_charges_more_for_too_low_than_for_too_high():
    windows = stock_windows({"parkinson": volatilities()})
    found = losses_of(windows, low=windows.targets / 1.5, high=windows.targets * 1.5).by_name["qlike"]
    assert (found["low"] > found["high"]).all()


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-12, 1e9])
def test_a_volatility_that_cannot_be_has_a_finite_loss_and_is_counted(value):
    windows = stock_windows({"parkinson": volatilities()})
    forecast = windows.targets.copy()
    forecast[3] = value
    found = losses_of(windows, bad=forecast, good=windows.targets)
    assert found.bounded == {"bad": 1}
    assert np.isfinite(found.by_name["qlike"]["bad"]).all()
    assert_allclose(found.by_name["squared_log"]["bad"].sum() * 2, _FURTHEST**2)  # two symbols a date
    assert_allclose(found.by_name["qlike"]["good"], 0, atol=1e-12)


def test_a_session_that_did_not_move_costs_every_forecast_the_same():
    values = volatilities()
    values["A"][30] = 0.0
    windows = stock_windows({"parkinson": values}, window=5)
    own = np.unique(windows.dates[:, 0]) == np.datetime64(30, "D")
    found = losses_of(windows, one=windows.at_last("parkinson")[:, None, None] + 0.01,
                      other=np.full_like(windows.targets, 0.05))  # fmt: skip
    for forecast in found.by_name["qlike"].values():
        assert np.isfinite(forecast).all()
        assert forecast[own] > 2 * _FURTHEST / 2 - 1
    assert found.bounded == {}


def test_every_other_target_is_judged_by_its_error_over_the_unit_of_its_symbol():
    windows = stock_windows({"close": random_walks()}, horizon=2)
    scale = np.where(windows.code == 0, 0.5, 3.0)[:, None]
    forecast = windows.targets + 1.0
    found = task_losses(windows, {"a": forecast}, scale)
    assert_allclose(found.by_name["absolute"]["a"],
                    date_losses(windows, forecast, loss_unit(windows, scale)), rtol=1e-12)  # fmt: skip


def test_all_forecasts_of_options_are_judged_on_the_same_rows():
    """Case 8 of the issue: a forecast below the intrinsic value must not be rid of its bad rows."""
    panel = option_panel(sessions=90)
    panel.values[40, panel.columns.index("mid")] = 0.0  # no actual volatility: out for all
    windows = option_windows(panel)
    good, bad = windows.targets * 1.02, windows.targets * 1.02
    bad[5:25] = -1.0
    found = losses_of(windows, good=good, bad=bad)
    volatility = found.by_name["implied_volatility"]
    assert volatility["good"].shape == volatility["bad"].shape
    assert volatility["bad"].mean() > 2 * volatility["good"].mean()
    assert found.bounded == {"bad": 20}
    assert found.rows == {"over_strike": len(windows), "implied_volatility": len(windows) - 1}


def test_a_date_without_any_volatility_is_no_date_of_that_loss():
    panel = option_panel()
    day = panel.dates == np.datetime64("2020-02-01")
    panel.values[day, panel.columns.index("mid")] = 0.0
    windows = option_windows(panel)
    found = losses_of(windows, a=windows.targets + 0.1).by_name
    assert len(found["implied_volatility"]["a"]) == len(found["over_strike"]["a"]) - 1


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_forecast_that_is_not_finite_is_refused(wrong):
    """Left out, it would be judged by its good rows alone."""
    windows = stock_windows({"log_parkinson": volatilities()})
    forecast = windows.targets.copy()
    forecast[2] = wrong
    with pytest.raises(DataError, match="must be finite.*'a' of shape .* 1 of its values"):
        losses_of(windows, a=forecast)
    with pytest.raises(DataError, match="must be finite"):
        losses_of(windows, a=windows.targets[:3])


def shifted(windows, by):
    """Prices of the targets' own rows at a volatility that is wrong ``by``."""
    rows = windows.starts[:, None] + windows.cut.window + np.arange(windows.cut.horizon)
    names = ("forward", "strike", "years", "rate", "right", "iv")
    forward, strike, years, rate, right, iv = (windows.panel.column(name)[rows] for name in names)
    return black(forward, strike, years, iv + by, np.exp(-rate * years), right)[:, :, None]


@pytest.mark.parametrize(("task", "horizon"), [("price", 1), ("forecast", 3)])
def test_a_volatility_that_is_a_point_too_high_is_found_so(task, horizon):
    windows = option_windows(task=task, horizon=horizon)
    metrics = score_options(windows, shifted(windows, 0.01))
    assert_allclose(metrics.iv_mae, 0.01, rtol=1e-6)
    assert metrics.iv_rows == len(windows) * horizon


def test_errors_are_over_the_strike():
    windows = option_windows(targets=("bid", "ask"))
    strike = windows.known("strike")[:, None, None]
    error = np.random.default_rng(0).normal(0, 1e-3, windows.targets.shape)
    metrics = score_options(windows, windows.targets + error * strike)
    assert_allclose(metrics.mae_over_strike, np.abs(error).mean())
    assert_allclose(metrics.rmse_over_strike, np.sqrt((error**2).mean()))


def test_a_larger_share_changes_no_error():
    panel = option_panel()
    windows = option_windows(panel)
    before = score_options(windows, shifted(windows, 0.02))
    for name in ("spot", "strike", "forward", "mid"):
        panel.values[:, panel.columns.index(name)] *= 7
    after = score_options(windows, shifted(windows, 0.02))
    assert_allclose(list(asdict(after).values()), list(asdict(before).values()), rtol=1e-6)


def test_each_underlying_is_measured_alone():
    windows = option_windows()
    forecast = shifted(windows, np.where(windows.group == "AAA", 0.01, 0.03)[:, None])
    rows = score_options_by_group(windows, forecast)
    assert list(rows) == ["AAA", "BBB"]
    assert_allclose([rows["AAA"].iv_mae, rows["BBB"].iv_mae], [0.01, 0.03], rtol=1e-6)
    own = windows.group == "BBB"
    assert rows["BBB"] == score_options(windows.select(own), forecast[own])


def test_a_forecast_without_a_volatility_counts_at_the_bound_and_is_counted():
    """The worst rows of a forecast are not left out, and all forecasts are judged by the same ones."""
    windows = option_windows()
    actual = windows.panel.column("iv")[windows.starts + windows.cut.window]
    low, high = windows.targets.copy(), windows.targets.copy()
    low[0], high[1] = -1.0, 1e6
    for forecast, error in ((low, actual[0]), (high, _HIGHEST_VOLATILITY - actual[1])):
        found = score_options(windows, forecast)
        assert (found.iv_rows, found.iv_bounded) == (len(windows), 1)
        assert_allclose(found.iv_mae, error / len(windows), rtol=1e-6)
    assert score_options(windows, windows.targets).iv_bounded == 0
    everywhere = score_options(windows, np.full_like(low, -1.0))
    assert everywhere.iv_bounded == everywhere.iv_rows == len(windows)
    assert_allclose(everywhere.iv_mae, actual.mean(), rtol=1e-6)


def test_a_worse_price_never_has_the_smaller_volatility_error():
    """Also where it leaves the prices that an option can have."""
    windows = option_windows()
    span = windows.known("strike")[:, None, None] * np.linspace(0, 2, 60)
    for prices in (windows.targets + span, windows.targets - span):
        errors = np.stack([volatility_errors(windows, each[:, None, None])[0] for each in prices[:, 0].T])
        assert np.isfinite(errors).all()
        assert (np.diff(np.abs(errors), axis=0) >= -1e-6).all()


def test_actual_prices_without_a_volatility_are_left_out_of_every_forecast():
    panel = option_panel()
    panel.values[30, panel.columns.index("mid")] = 0.0
    windows = option_windows(panel, targets=("mid", "bid"), features=("mid", "bid"))
    forecasts = (windows.targets, windows.targets + 1.0, np.full_like(windows.targets, -1.0))
    rows = [score_options(windows, each).iv_rows for each in forecasts]
    assert rows == [2 * len(windows) - 1] * 3
    nothing = score_options(windows.select(windows.targets[:, 0, 0] == 0).select([0]), np.zeros((1, 1, 2)))
    assert nothing.iv_rows == 1  # the bid has one
    assert json.loads(json.dumps(asdict(nothing), allow_nan=False)) == asdict(nothing)


def test_a_target_row_without_a_market_is_left_out():
    panel = option_panel()
    panel.values[20, panel.columns.index("forward")] = np.nan
    windows = option_windows(panel, task="forecast")
    assert score_options(windows, shifted(option_windows(task="forecast"), 0.01)).iv_rows == len(windows) - 1


def test_what_is_no_price_of_an_option_is_refused():
    stocks = stock_windows({"close": random_walks()})
    volatilities = option_windows(targets=("mid", "iv"))
    for windows in (stocks, volatilities):
        assert not has_option_prices(windows)
        with pytest.raises(DataError, match="need prices of options .* Got (close|mid, iv) with"):
            score_options(windows, windows.targets)
    prices = option_windows()
    with pytest.raises(DataError, match=r"shape \(3, 1, 1\)"):
        score_options(prices, prices.targets[:3])
