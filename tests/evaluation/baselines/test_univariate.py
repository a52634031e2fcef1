import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from statsmodels.tsa.ar_model import AutoReg, ar_select_order
from statsmodels.tsa.holtwinters import SimpleExpSmoothing

from qhq.evaluation.baselines.univariate import (
    _LEAST_WINDOWS,
    _LENGTHS,
    _MOST_LAGS,
    Autoregression,
    ByGroup,
    Drift,
    ExponentialSmoothing,
    MovingAverage,
    tracks,
)
from tests.evaluation.panels import option_panel, option_windows, random_walks, stock_windows


def make_windows(name, horizon=2):
    if name in ("mid", "iv", "spot"):
        return option_windows(targets=(name,), task="forecast", horizon=horizon)
    return stock_windows({name: random_walks()}, horizon=horizon)


@pytest.mark.parametrize(
    ("name", "kind", "differenced"),
    [
        ("close", "log", True),
        ("spot", "log", True),
        ("mid", "strike", True),
        ("iv", "plain", False),
        ("volume", "count", False),
        ("log_return", "plain", False),
        ("log_garman_klass", "plain", False),
        ("sentiment", "plain", False),
    ],
)
def test_each_unit_has_its_scale_and_the_way_back_is_exact(name, kind, differenced):
    windows = make_windows(name)
    (track,) = tracks(windows)
    assert (track.kind, track.differenced) == (kind, differenced)
    assert_allclose(track.back(track.future(windows), windows), windows.targets[:, :, 0], rtol=1e-12)
    assert_allclose(track.back(track.past(windows), windows), windows.inputs[:, :, 0], rtol=1e-12)
    rows = slice(int(windows.starts[3]), int(windows.starts[3]) + windows.cut.window)
    assert_allclose(track.series(windows, rows), track.past(windows)[3], rtol=1e-12)


@pytest.mark.parametrize("name", ["close", "mid", "volume", "iv"])
def test_the_slope_is_the_derivative_of_the_way_back(name):
    windows = make_windows(name)
    (track,) = tracks(windows)
    last = track.past(windows)[:, -1:]
    finite = (track.back(last + 1e-6, windows) - track.back(last - 1e-6, windows)) / 2e-6
    assert_allclose(track.slope(windows), finite[:, 0], rtol=1e-5)


def test_a_quote_is_not_forecast_below_zero():
    windows = make_windows("mid")
    (track,) = tracks(windows)
    assert_allclose(track.back(np.full((len(windows), 2), -0.1), windows), 0)


def test_numbers_are_of_the_group_or_of_all_where_it_was_not_trained_on():
    windows = stock_windows({"close": random_walks(("A", "B"), sessions=_LEAST_WINDOWS + 5)})
    windows = windows.select(np.flatnonzero((windows.code == 0) | (windows.starts % 2 == 0)))
    found = ByGroup.fit(windows, lambda mask: np.array([mask.sum()]))
    assert found.names == ("A",)
    expected = np.where(windows.symbol == "A", _LEAST_WINDOWS, len(windows))
    assert_allclose(found.of(windows)[:, 0], expected)
    assert_allclose(found.of(stock_windows({"close": random_walks(("C",))})), len(windows))


def test_all_contracts_of_an_underlying_are_one_group():
    windows = option_windows(option_panel(sessions=120))
    found = ByGroup.fit(windows, lambda mask: np.array(mask.sum()))
    assert found.names == ("AAA", "BBB")
    assert_allclose(found.values, [len(windows) / 2, len(windows) / 2, len(windows)])


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
    tried = {*(each for each in _LENGTHS if each < 30), 30}
    errors = {
        each: np.abs(windows.inputs[:, -each:, 0].mean(axis=1) - windows.targets[:, 0, 0]).mean()
        for each in tried
    }
    assert rows == min(errors, key=errors.get)
    assert (rows >= 10) if memory == "none" else (rows == 2)


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


WINDOW, HORIZON = 15, 3


def autoregressive_series(length=300, seed=0):
    """AR(2) about 5."""
    rng = np.random.default_rng(seed)
    values = [5.0, 5.0]
    while len(values) < length:
        values.append(5 + 0.5 * (values[-1] - 5) + 0.3 * (values[-2] - 5) + rng.normal())
    return np.array(values)


def train_rows(series):
    """Rows that are an input, or a first target: the fit looks no further ahead."""
    return series[: len(series) - HORIZON + 1]


def test_autoregression_of_one_series_is_the_librarys():
    series = autoregressive_series()
    windows = stock_windows({"sentiment": {"A": series}}, window=WINDOW, horizon=HORIZON)
    fitted = Autoregression.fit(windows)
    (found,) = fitted.fitted
    chosen = ar_select_order(train_rows(series)[WINDOW - _MOST_LAGS :], _MOST_LAGS, ic="bic").ar_lags
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
    returns = 0.01 * (autoregressive_series() - 5)
    price = 50 * np.exp(np.cumsum(returns))
    windows = stock_windows({"close": {"A": price}}, window=WINDOW, horizon=HORIZON)
    fitted = Autoregression.fit(windows)
    model = AutoReg(np.diff(np.log(train_rows(price))), 2, hold_back=WINDOW - 1).fit()
    assert_allclose(fitted.fitted[0].values[0][:3], model.params, rtol=1e-8, atol=1e-12)
    past = np.log(windows.inputs[40, :, 0])
    steps = AutoReg(np.diff(past), 2).predict(model.params, WINDOW - 1, WINDOW + HORIZON - 2)
    assert_allclose(fitted(windows)[40, :, 0], np.exp(past[-1] + np.cumsum(steps)), rtol=1e-10)


def test_each_symbol_has_coefficients_of_its_own():
    series = {"A": autoregressive_series(seed=1), "B": autoregressive_series(seed=2) + 40}
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
