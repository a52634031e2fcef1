import numpy as np
from numpy.testing import assert_allclose

from qhq.evaluation.baselines.univariate import Drift
from tests.evaluation.panels import random_walks, stock_windows


def test_a_price_goes_on_at_the_rate_of_the_training_part():
    steps = 0.001 * np.arange(1, 200)
    windows = stock_windows({"close": {"A": 50 * np.exp(steps), "B": 80 * np.exp(-2 * steps)}}, horizon=3)
    assert_allclose(Drift.fit(windows)(windows), windows.targets, rtol=1e-10)


def test_the_drift_is_the_mean_log_return_of_each_symbol():
    walks = random_walks(sessions=150)
    windows = stock_windows({"close": walks}, window=5, horizon=2)
    forecast = Drift.fit(windows)(windows)
    for symbol, walk in walks.items():
        own = windows.symbol == symbol
        # The last row is the second target of the last window, never a first one.
        step = np.diff(np.log(walk[4:-1])).mean()
        expected = windows.last[own] * np.exp(step * np.array([1, 2]))
        assert_allclose(forecast[own, :, 0], expected, rtol=1e-10)


def test_of_a_return_the_drift_is_its_mean_at_every_horizon():
    returns = np.random.default_rng(0).normal(0.1, 1, 150)
    windows = stock_windows({"log_return": {"A": returns}}, window=5, horizon=3)
    assert_allclose(Drift.fit(windows)(windows), windows.targets[:, 0].mean(), rtol=1e-10)
