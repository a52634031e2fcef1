import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from qhq.data.prepare import prepare
from qhq.data.scaling.fit import fit_scaler
from qhq.data.spec import DataSpec
from qhq.data.split import TrainingSplit
from qhq.data.windows import Cut
from qhq.errors import ConfigError
from qhq.evaluation.baselines.catalogue import (
    BASELINES,
    fit_all_baselines,
    fit_baselines,
    suited_baselines,
    task_baseline,
)
from qhq.evaluation.baselines.regression import Setting
from tests.evaluation.panels import option_panel, option_windows, random_walks, stock_windows

HEAVY = {
    "drift",
    "moving_average",
    "exponential_smoothing",
    "ar",
    "ridge",
    "gradient_boosting",
}


def make_cases():
    volatility = {"A": np.random.default_rng(0).normal(1, 0.1, 80)}
    return {
        "prices": (stock_windows({"close": random_walks()}), {"last_value"}),
        "volatility": (stock_windows({"parkinson": volatility}, window=22), {"last_value", "har"}),
        "options": (option_windows(), {"last_value", "black_scholes"}),
        "iv": (option_windows(targets=("iv",), window=22), {"last_value", "har"}),
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


@pytest.mark.parametrize(("target", "window", "name"), [
    ("log_garman_klass", 22, "har"), ("parkinson", 30, "har"),
    ("log_garman_klass", 21, "last_value"), ("log_close", 22, "last_value"),
])  # fmt: skip
def test_a_volatility_is_judged_by_har_where_the_windows_reach_back_a_month(target, window, name):
    assert task_baseline(Cut(window=window, horizon=1, features=(target,), targets=(target,))) == name


def test_a_quote_that_no_volatility_gives_is_judged_by_its_last_value():
    cut = option_windows(targets=("spot",)).cut
    assert task_baseline(cut) == "last_value"


def test_every_baseline_says_what_it_is():
    assert all(baseline.meaning for baseline in BASELINES.values())
    assert_allclose(len({baseline.meaning for baseline in BASELINES.values()}), len(BASELINES))


def make_setting(windows, kind="window_mean"):
    return Setting(windows, fit_scaler(kind, TrainingSplit(windows.panel, windows)))


@pytest.mark.parametrize("case", make_cases())
def test_the_others_come_when_they_are_asked_for(case):
    windows, light = make_cases()[case]
    setting = make_setting(windows)
    fitted = fit_all_baselines(setting)
    heavy = HEAVY | ({"log_har"} if case == "volatility" else set())
    assert set(fitted) == set(suited_baselines(windows)) == light | heavy
    for name, forecaster in fitted.items():
        forecast = forecaster(windows)
        assert forecast.shape == windows.targets.shape, name
        assert np.isfinite(forecast).all(), name


def test_some_are_fitted_by_their_names():
    setting = make_setting(make_cases()["prices"][0])
    assert list(fit_all_baselines(setting, ["ar", "drift"])) == ["ar", "drift"]
    with pytest.raises(ConfigError, match="suits the data. Got 'har'"):
        fit_all_baselines(setting, ["har"])


def make_data(name):
    volatility = {"features": ("log_parkinson",), "targets": ("log_parkinson",), "scaling": "window_mean"}
    spec = {
        "price": {"horizon": 2},
        "volatility": {**volatility, "window": 22},
        "return": {"features": ("log_return",), "targets": ("log_return",), "scaling": "standard"},
    }[name]
    return prepare(DataSpec(symbols=("AAPL", "MSFT"), start="2010-01-01", **spec))


@pytest.mark.parametrize("name", ["price", "volatility", "return"])
def test_nothing_is_known_of_what_comes_after_training(name):
    data, changed = make_data(name), make_data(name)
    for split in (changed.splits.validation, changed.splits.test):
        values = split.panel.values
        values[:] = values * np.random.default_rng(0).uniform(0.2, 5, values.shape)
    fits = [fit_all_baselines(Setting.of(each)) for each in (data, changed)]
    for baseline, forecaster in fits[0].items():
        assert_allclose(fits[1][baseline](data.test), forecaster(data.test), rtol=0, atol=0, err_msg=baseline)


@pytest.mark.parametrize("name", ["price", "volatility"])
def test_a_forecast_reads_its_own_inputs_alone(name):
    data = make_data(name)
    fitted = fit_all_baselines(Setting.of(data))
    own = data.test.select(np.array([60]))
    before = {baseline: forecaster(own) for baseline, forecaster in fitted.items()}
    first, past = int(own.starts[0]), int(own.starts[0]) + own.cut.window
    own.panel.values[past:] *= 3
    own.panel.values[:first] *= 3
    for baseline, forecaster in fitted.items():
        assert_allclose(forecaster(own), before[baseline], rtol=0, atol=0, err_msg=baseline)


@pytest.mark.parametrize("unit", [0.01, 7.0])
def test_prices_in_another_currency_give_the_same_forecasts_in_it(unit):
    walks = random_walks(sessions=150)
    windows = stock_windows({"close": walks}, horizon=2)
    other = stock_windows({"close": {symbol: unit * walk for symbol, walk in walks.items()}}, horizon=2)
    fits = [fit_all_baselines(make_setting(each, "window")) for each in (windows, other)]
    for name in fits[0]:
        # Rounding moves a split between two values now and then, so trees are only nearly the same.
        tolerance = 1e-3 if name == "gradient_boosting" else 1e-6
        assert_allclose(fits[1][name](other), unit * fits[0][name](windows), rtol=tolerance, err_msg=name)


def test_a_larger_share_changes_no_forecast_over_the_strike():
    panel, names = option_panel(sessions=130), ("spot", "strike", "forward", "mid", "bid", "ask")
    scaled = replace(panel, values=panel.values.copy())
    for name in names:
        scaled.values[:, panel.columns.index(name)] *= 5
    windows, other = option_windows(panel), option_windows(scaled)
    fits = [fit_all_baselines(make_setting(each, "over_strike")) for each in (windows, other)]
    for name in set(fits[0]) - {"gradient_boosting"}:
        assert_allclose(fits[1][name](other), 5 * fits[0][name](windows), rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", sorted(HEAVY - {"gradient_boosting"} | {"har", "log_har"}))
def test_a_logarithm_that_is_shifted_shifts_its_forecast(name):
    noise = np.cumsum(np.random.default_rng(0).normal(0, 1, (150, 1)), axis=0)[:, 0]
    windows, other = (
        stock_windows({"log_parkinson": {"A": noise + shift}}, window=22, horizon=2) for shift in (0, 3)
    )
    forecasts = [fit_all_baselines(make_setting(each), [name])[name](each) for each in (windows, other)]
    assert_allclose(forecasts[1], forecasts[0] + 3, atol=2e-4)


def test_training_loads_neither_statsmodels_nor_scikit_learn():
    code = (
        "import sys\n"
        "from tests.evaluation.baselines.test_catalogue import make_cases\n"
        "from qhq.evaluation.baselines.catalogue import fit_baselines\n"
        "fit_baselines(make_cases()['volatility'][0])\n"
        "print({'statsmodels', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
