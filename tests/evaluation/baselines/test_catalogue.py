import numpy as np
import pytest
from numpy.testing import assert_allclose

from qhq.evaluation.baselines.catalogue import BASELINES, fit_baselines, task_baseline
from tests.evaluation.panels import option_windows, random_walks, stock_windows


def make_cases():
    volatility = {"A": np.random.default_rng(0).normal(1, 0.1, 80)}
    return {
        "prices": (stock_windows({"close": random_walks()}), {"last_value"}),
        "volatility": (stock_windows({"parkinson": volatility}, window=22), {"last_value", "har"}),
        "options": (option_windows(), {"last_value", "black_scholes"}),
        "iv": (option_windows(targets=("iv",), window=22), {"last_value", "har", "black_scholes"}),
        "spot": (option_windows(targets=("spot",), task="forecast"), {"last_value"}),
    }


@pytest.mark.parametrize("case", make_cases())
def test_what_suits_the_data_is_fitted_and_forecasts(case):
    windows, names = make_cases()[case]
    fitted = fit_baselines(windows)
    assert set(fitted) == names
    for forecaster in fitted.values():
        forecast = forecaster(windows)
        assert forecast.shape == windows.targets.shape
        assert np.isfinite(forecast).all()


@pytest.mark.parametrize(("task", "name"), [("price", "black_scholes"), ("forecast", "last_value")])
def test_each_task_has_its_baseline_and_it_is_fitted(task, name):
    windows = option_windows(targets=("bid", "ask"), task=task)
    assert task_baseline(windows.cut) == name
    assert name in fit_baselines(windows)


def test_a_quote_that_no_volatility_gives_is_judged_by_its_last_value():
    cut = option_windows(targets=("spot",)).cut
    assert task_baseline(cut) == "last_value"


def test_every_baseline_says_what_it_is():
    assert all(baseline.meaning for baseline in BASELINES.values())
    assert_allclose(len({baseline.meaning for baseline in BASELINES.values()}), len(BASELINES))
