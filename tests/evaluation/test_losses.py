"""The losses of each task: the formulas, the dates, and the bounds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from qhq.errors import DataError
from qhq.evaluation.losses import FURTHEST, loss_names, task_losses
from qhq.evaluation.significance import date_losses, loss_unit
from tests.evaluation.panels import option_panel, option_windows, random_walks, stock_windows


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
    assert_allclose(found.by_name["squared_log"]["bad"].sum() * 2, FURTHEST**2)  # two symbols a date
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
        assert forecast[own] > 2 * FURTHEST / 2 - 1
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
