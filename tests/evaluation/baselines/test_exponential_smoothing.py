import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from statsmodels.tsa.holtwinters import SimpleExpSmoothing

from qhq.evaluation.baselines.univariate import ExponentialSmoothing
from tests.evaluation.panels import option_panel, option_windows, random_walks, stock_windows


def make_series(length=200, seed=0):
    """A level that wanders, seen with noise."""
    rng = np.random.default_rng(seed)
    return 10 + np.cumsum(rng.normal(0, 0.3, length)) + rng.normal(0, 1, length)


def library(series, **kwargs):
    return SimpleExpSmoothing(series, initialization_method="known", initial_level=series[0]).fit(**kwargs)


def test_on_one_series_it_is_the_librarys():
    series = make_series()
    windows = stock_windows({"sentiment": {"A": series}}, window=20, horizon=3)
    fitted = ExponentialSmoothing.fit(windows)
    weight = library(series).params["smoothing_level"]
    assert 0.1 < weight < 0.7
    assert_allclose(fitted.fitted[0].values, weight)
    forecast = fitted(windows)
    for number in (0, 90):
        past = windows.inputs[number, :, 0]
        expected = library(past, smoothing_level=weight, optimized=False).forecast(3)
        assert_allclose(forecast[number, :, 0], expected, rtol=1e-10)


def test_of_a_random_walk_little_but_the_last_value_counts():
    windows = stock_windows({"close": random_walks(sessions=400)})
    fitted = ExponentialSmoothing.fit(windows)
    assert np.all(fitted.fitted[0].values > 0.9)
    assert_allclose(fitted(windows)[:, 0], windows.last, rtol=5e-3)


@pytest.mark.parametrize("series", [np.full(80, 3.0), make_series(20)])
def test_what_tells_no_weight_keeps_its_last_value(series):
    windows = stock_windows({"sentiment": {"A": series}})
    assert_allclose(ExponentialSmoothing.fit(windows)(windows)[:, 0], windows.last)


def test_a_group_of_contracts_has_the_median_of_theirs():
    windows = option_windows(option_panel(sessions=130), targets=("iv",))
    fitted = ExponentialSmoothing.fit(windows).fitted[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        iv = windows.panel.column("iv").reshape(4, -1)
        each = [library(series).params["smoothing_level"] for series in iv]
    assert fitted.names == ("AAA", "BBB")
    expected = [np.median(each[:2]), np.median(each[2:]), np.median(each)]
    assert_allclose(fitted.values, expected)
