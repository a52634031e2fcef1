import numpy as np
import pytest
from numpy.testing import assert_allclose

from qhq.evaluation.baselines.univariate import LENGTHS, MovingAverage
from tests.evaluation.panels import random_walks, stock_windows


def test_it_is_the_mean_of_the_last_rows_at_every_horizon():
    windows = stock_windows({"log_parkinson": random_walks()}, window=12, horizon=3)
    fitted = MovingAverage.fit(windows)
    (rows,) = fitted.fitted
    expected = windows.inputs[:, -rows:].mean(axis=1, keepdims=True)
    assert_allclose(fitted(windows), np.repeat(expected, 3, axis=1))


def test_of_prices_it_is_the_mean_of_their_logarithms():
    windows = stock_windows({"close": random_walks()}, window=12)
    fitted = MovingAverage.fit(windows)
    expected = np.exp(np.log(windows.inputs[:, -fitted.fitted[0] :, 0]).mean(axis=1))
    assert_allclose(fitted(windows)[:, 0, 0], expected)


@pytest.mark.parametrize("memory", ["none", "all"])
def test_the_number_of_rows_is_that_of_the_least_error_in_training(memory):
    noise = np.random.default_rng(0).normal(0, 1, 300)
    series = noise if memory == "none" else np.cumsum(noise)
    windows = stock_windows({"sentiment": {"A": series}}, window=30)
    (rows,) = MovingAverage.fit(windows).fitted
    tried = {*(each for each in LENGTHS if each < 30), 30}
    errors = {
        each: np.abs(windows.inputs[:, -each:, 0].mean(axis=1) - windows.targets[:, 0, 0]).mean()
        for each in tried
    }
    assert rows == min(errors, key=errors.get)
    assert (rows >= 10) if memory == "none" else (rows == 2)
