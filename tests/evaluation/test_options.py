import json
from dataclasses import asdict

import numpy as np
import pytest
from numpy.testing import assert_allclose

from qhq.errors import DataError
from qhq.evaluation.options import (
    HIGHEST_VOLATILITY,
    has_option_prices,
    score_options,
    score_options_by_group,
    volatility_errors,
)
from tests.evaluation.panels import black, option_panel, option_windows, random_walks, stock_windows


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
    for forecast, error in ((low, actual[0]), (high, HIGHEST_VOLATILITY - actual[1])):
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
