import numpy as np
import pytest
from numpy.testing import assert_allclose
from statsmodels.tsa.ar_model import AutoReg, ar_select_order

from qhq.evaluation.baselines.univariate import MOST_LAGS, Autoregression, Drift
from tests.evaluation.panels import random_walks, stock_windows

WINDOW, HORIZON = 15, 3


def make_series(length=300, seed=0):
    """AR(2) about 5."""
    rng = np.random.default_rng(seed)
    values = [5.0, 5.0]
    while len(values) < length:
        values.append(5 + 0.5 * (values[-1] - 5) + 0.3 * (values[-2] - 5) + rng.normal())
    return np.array(values)


def train_rows(series):
    """Rows that are an input, or a first target: the fit looks no further ahead."""
    return series[: len(series) - HORIZON + 1]


def test_on_one_series_it_is_the_librarys():
    series = make_series()
    windows = stock_windows({"sentiment": {"A": series}}, window=WINDOW, horizon=HORIZON)
    fitted = Autoregression.fit(windows)
    (found,) = fitted.fitted
    chosen = ar_select_order(train_rows(series)[WINDOW - MOST_LAGS :], MOST_LAGS, ic="bic").ar_lags
    model = AutoReg(train_rows(series), len(chosen), hold_back=WINDOW).fit()
    assert len(chosen) == 2
    assert_allclose(found.values[0][:3], model.params, rtol=1e-8)
    assert_allclose(found.values[0][3:], 0)
    forecast = fitted(windows)
    for number in (0, 77, len(windows) - 1):
        past = windows.inputs[number, :, 0]
        expected = AutoReg(past, 2).predict(model.params, start=WINDOW, end=WINDOW + HORIZON - 1)
        assert_allclose(forecast[number, :, 0], expected, rtol=1e-8)


def test_of_prices_it_is_the_librarys_on_log_returns():
    returns = 0.01 * (make_series() - 5)
    price = 50 * np.exp(np.cumsum(returns))
    windows = stock_windows({"close": {"A": price}}, window=WINDOW, horizon=HORIZON)
    fitted = Autoregression.fit(windows)
    model = AutoReg(np.diff(np.log(train_rows(price))), 2, hold_back=WINDOW - 1).fit()
    assert_allclose(fitted.fitted[0].values[0][:3], model.params, rtol=1e-8, atol=1e-12)
    past = np.log(windows.inputs[40, :, 0])
    steps = AutoReg(np.diff(past), 2).predict(model.params, WINDOW - 1, WINDOW + HORIZON - 2)
    assert_allclose(fitted(windows)[40, :, 0], np.exp(past[-1] + np.cumsum(steps)), rtol=1e-10)


def test_each_symbol_has_coefficients_of_its_own():
    series = {"A": make_series(seed=1), "B": make_series(seed=2) + 40}
    windows = stock_windows({"sentiment": series}, window=WINDOW)
    both = Autoregression.fit(windows)(windows)
    for symbol, values in series.items():
        own = windows.symbol == symbol
        alone = stock_windows({"sentiment": {symbol: values}}, window=WINDOW)
        assert_allclose(both[own], Autoregression.fit(alone)(alone), rtol=1e-8)


def test_of_a_random_walk_it_is_the_drift():
    windows = stock_windows({"close": random_walks(sessions=400, seed=3)}, horizon=2)
    assert_allclose(Autoregression.fit(windows)(windows), Drift.fit(windows)(windows), rtol=1e-10)


def test_it_reaches_no_further_back_than_the_window():
    windows = stock_windows({"close": random_walks(sessions=120)}, window=4)
    (found,) = Autoregression.fit(windows).fitted
    assert found.values.shape[1] == 4  # a constant and three changes


@pytest.mark.parametrize("level", [0.0, 7.0])
def test_what_never_moves_stays(level):
    windows = stock_windows({"sentiment": {"A": np.full(150, level)}}, horizon=2)
    assert_allclose(Autoregression.fit(windows)(windows), level, atol=1e-9)
