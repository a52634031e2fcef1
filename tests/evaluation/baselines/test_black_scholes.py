from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from qhq.evaluation.baselines.black_scholes import black_scholes, has_priced_targets
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
    ("targets", "priced"), [(("bid", "ask"), True), (("iv",), True), (("mid", "volume"), False)]
)
def test_only_what_follows_from_a_volatility_is_priced(targets, priced):
    cut = replace(option_windows().cut, targets=targets, features=targets)
    assert has_priced_targets(cut) is priced
