from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from qhq.evaluation.baselines.black_scholes import black_scholes, is_priced, suits_black_scholes
from qhq.evaluation.baselines.last_value import last_value
from tests.evaluation.panels import black, option_panel, option_windows


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
