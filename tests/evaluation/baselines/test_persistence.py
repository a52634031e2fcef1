from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from qhq.data.load import load_panel
from qhq.data.prepare import prepare
from qhq.data.spec import DataSpec
from qhq.data.windows import Cut, cut_windows
from qhq.errors import DataError
from qhq.evaluation.baselines.persistence import (
    black_scholes,
    in_sample_naive_mae,
    is_priced,
    last_value,
    suits_black_scholes,
    symbol_scale,
)
from qhq.evaluation.metrics import score
from tests.evaluation.panels import black, option_panel, option_windows, stock_windows


def make_windows_of(first, second, horizon=2):
    return stock_windows({"close": {"A": first, "B": second}}, window=2, horizon=horizon)


def test_the_last_value_is_the_last_input_at_every_horizon():
    windows = prepare(DataSpec(horizon=3)).test
    forecast = last_value(windows)
    assert forecast.shape == windows.targets.shape
    for step in range(3):
        assert_allclose(forecast[:, step, 0], windows.inputs[:, -1, 0], rtol=0)


def test_of_a_return_the_last_value_is_that_the_price_stays():
    rng = np.random.default_rng(0)
    columns = {name: {"A": rng.normal(0, 1, 12)} for name in ("close", "log_return")}
    windows = stock_windows(columns, window=3, horizon=2)
    forecast = last_value(windows)
    assert_allclose(forecast[:, :, 1], np.zeros((len(windows), 2)), rtol=0)
    assert_allclose(forecast[:, 1, 0], windows.last[:, 0], rtol=0)
    change = np.abs(windows.targets[:, 0] - [[0, 0]] - np.stack([windows.last[:, 0], np.zeros(8)], 1))
    assert_allclose(in_sample_naive_mae(windows)["A"], change.mean(axis=0))


def test_the_scale_is_of_the_underlying_and_unknown_where_it_was_not_trained_on():
    windows = option_windows()
    scale = in_sample_naive_mae(windows)
    assert list(scale) == ["AAA", "BBB"]
    own = windows.group == "BBB"
    assert_allclose(scale["BBB"], np.abs(windows.targets - windows.last[:, None])[own].mean())
    unseen = symbol_scale(windows, {"AAA": 2.0})
    assert_allclose(unseen, np.where(windows.group == "AAA", 2.0, np.nan)[:, None])


def test_in_sample_naive_mae_is_the_mean_one_step_change_of_each_symbol():
    windows = make_windows_of([1, 2, 4, 7, 11], [100, 90, 110, 90, 110])
    scale = in_sample_naive_mae(windows)
    assert scale == {"A": 2.5, "B": 20.0}
    assert_allclose(symbol_scale(windows, scale), [[2.5], [2.5], [20], [20]])


def test_each_target_has_a_scale_of_its_own_and_one_that_stays_beside_others_has_none():
    walk = np.array([1.0, 2, 4, 7, 11])
    columns = {"close": {"A": walk, "B": walk}, "volume": {"A": 1e6 * walk, "B": np.full(5, 3.0)}}
    scale = in_sample_naive_mae(stock_windows(columns, window=2))
    assert_allclose(scale["A"], [3, 3e6])
    assert_allclose(scale["B"], [3, np.nan])


def test_a_target_that_never_moves_has_no_scale():
    with pytest.raises(DataError, match="one value in all windows of B"):
        in_sample_naive_mae(make_windows_of([1, 2, 4, 7, 11], [5, 5, 5, 5, 5]))


@pytest.mark.parametrize(
    ("symbol", "mape"), [("AAPL", 1.275), ("GOOG", 1.182), ("MSFT", 1.010), ("IBM", 0.833)]
)
def test_naive_error_on_the_last_fifth_of_the_bundled_prices_is_the_known_one(symbol, mape):
    windows = cut_windows(load_panel(DataSpec(symbols=(symbol,))), Cut.of(DataSpec()))
    fifth = round(0.2 * len(windows.panel.dates))
    newest = windows.select(slice(-(fifth - 1), None))  # both days of a change lie in the last fifth
    naive = last_value(newest)
    # The figures on record divide by the last value; MAPE divides by what came, a few thousandths less.
    assert_allclose(100 * np.mean(np.abs(newest.targets - naive) / naive), mape, atol=5.1e-4)
    scale = symbol_scale(newest, in_sample_naive_mae(windows))
    assert_allclose(score(newest.targets, naive, naive, scale).mape, mape, atol=3e-3)


@pytest.mark.parametrize("task", ["price", "forecast"])
def test_it_is_the_price_at_the_volatility_of_the_row_before(task):
    windows = option_windows(task=task)
    rows = windows.starts + windows.cut.window - (task == "forecast")
    forward, strike, years, rate, right = (
        windows.panel.column(name)[rows] for name in ("forward", "strike", "years", "rate", "right")
    )
    expected = black(forward, strike, years, windows.at_last("iv"), np.exp(-rate * years), right)
    assert_allclose(black_scholes(windows)[:, 0, 0], expected, rtol=1e-10)


def test_pricing_with_todays_spot_beats_the_last_value():
    windows = option_windows()
    errors = [np.abs(each(windows) - windows.targets).mean() for each in (black_scholes, last_value)]
    assert errors[0] < 0.5 * errors[1]


def test_it_sees_no_quote_of_the_day():
    panel = option_panel()
    windows = option_windows(panel)
    own = windows.select(np.array([17]))
    before = black_scholes(own)
    row = int(own.starts[0]) + own.cut.window
    for name in ("iv", "mid", "bid", "ask"):
        panel.values[row, panel.columns.index(name)] = 1e6
    assert_allclose(black_scholes(own), before, rtol=0, atol=0)


def test_without_a_volatility_it_is_the_last_value():
    panel = option_panel()
    panel.values[20, panel.columns.index("iv")] = np.nan
    windows = option_windows(panel)
    lacking = np.isnan(windows.at_last("iv"))
    assert lacking.sum() == 1
    assert_allclose(black_scholes(windows)[lacking], last_value(windows)[lacking], rtol=0)
    assert np.all(black_scholes(windows)[~lacking] != last_value(windows)[~lacking])


@pytest.mark.parametrize(
    ("targets", "task", "priced"),
    [(("bid", "ask"), "price", True), (("mid", "iv"), "price", True), (("mid", "volume"), "price", False),
     (("iv",), "price", False), (("mid",), "forecast", False)],
)  # fmt: skip
def test_it_stands_where_it_says_more_than_the_last_value(targets, task, priced):
    panel = option_panel()
    volume = np.random.default_rng(0).integers(1, 9, (len(panel.values), 1))
    panel = replace(panel, columns=(*panel.columns, "volume"), values=np.hstack([panel.values, volume]))
    windows = option_windows(panel, targets=targets, task=task)
    assert is_priced(windows.cut) is suits_black_scholes(windows) is priced
    same = np.allclose(black_scholes(windows), last_value(windows), rtol=1e-9)
    assert same is (not priced and "volume" not in targets)
