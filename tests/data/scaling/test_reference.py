import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.scaling.option import black_scholes_reference, known_market
from qhq.pricing import black_scholes
from tests.data.scaling.contracts import contract_cut, contract_panel, train_and_test, with_values

FEATURES = ("mid", "bid", "ask", "last", "iv")


def windows_of(panel=None, **kwargs):
    cut = contract_cut(**({"features": FEATURES, "targets": FEATURES} | kwargs))
    return train_and_test(panel or contract_panel(), cut)[0].windows


def test_a_forecast_starts_from_the_last_row():
    windows = windows_of(task="forecast", horizon=3)
    reference = black_scholes_reference(windows)
    assert reference.shape == windows.targets.shape
    assert_allclose(reference, np.repeat(windows.last[:, None], 3, axis=1), rtol=1e-6, atol=1e-7)


def test_todays_price_is_black_scholes_with_yesterdays_volatility():
    windows = windows_of()
    spot, strike, years, rate, right = (
        windows.known(name) for name in ("spot", "strike", "years", "rate", "right")
    )
    discount = np.exp(-rate * years)
    mid = black_scholes.price(spot / discount, strike, years, windows.at_last("iv"), discount, right)
    reference = black_scholes_reference(windows)[:, 0]
    assert_allclose(reference[:, 0], mid, rtol=1e-9, atol=1e-9)
    for column in (1, 2, 3):
        aside = windows.last[:, column] - windows.at_last("mid")
        assert_allclose(reference[:, column], np.maximum(mid + aside, 0), rtol=1e-9, atol=1e-9)
    assert_array_equal(reference[:, 4], windows.at_last("iv"))


def test_no_quote_is_below_zero():
    low = with_values(contract_panel(), lambda name, values: values * 0 if name == "bid" else values)
    assert black_scholes_reference(windows_of(low))[:, 0, 1].min() == 0


@pytest.mark.parametrize("task", ["price", "forecast"])
def test_a_dividend_yield_in_the_forward_is_kept(task):
    panel = contract_panel()
    yields = np.exp(-0.02 * panel.column("years"))
    moved = with_values(panel, lambda name, values: values * yields if name == "forward" else values)
    windows = windows_of(moved, task=task)
    rows = windows.starts + windows.cut.window - (task == "forecast")
    years, forward = (windows.panel.column(name)[rows] for name in ("years", "forward"))
    market = known_market(windows)
    assert_allclose(market.forward[:, 0], forward, rtol=1e-12)
    assert_allclose(market.years[:, 0], years, rtol=0)


def test_other_targets_keep_their_last_value():
    windows = windows_of(task="forecast", horizon=2, features=("volume",), targets=("volume",))
    assert_array_equal(black_scholes_reference(windows), np.repeat(windows.last[:, None], 2, axis=1))
