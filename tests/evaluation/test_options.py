import json
from dataclasses import asdict

import numpy as np
import pytest
from numpy.testing import assert_allclose

from qhq.errors import DataError
from qhq.evaluation.options import has_option_prices, score_options, score_options_by_group
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


def test_prices_without_a_volatility_are_left_out_and_counted():
    windows = option_windows()
    forecast = windows.targets.copy()
    forecast[0] = -1.0
    assert score_options(windows, forecast).iv_rows == len(windows) - 1
    nothing = score_options(windows, np.full_like(forecast, -1.0))
    assert (nothing.iv_mae, nothing.iv_rows) == (None, 0)
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
