import numpy as np
import pytest
from numpy.testing import assert_allclose

from qhq.data.prepare import prepare
from qhq.data.spec import DataSpec
from qhq.errors import DataError
from qhq.evaluation.baselines.har import fit_har, suits_har
from qhq.evaluation.baselines.last_value import last_value
from tests.evaluation.panels import stock_windows


def make_volatilities(sessions=150, seed=0):
    """Two log volatilities that come back to their means, of two symbols and two columns."""
    rng = np.random.default_rng(seed)
    columns = {}
    for name, start in (("garman_klass", 2.0), ("log_garman_klass", -4.0)):
        columns[name] = {}
        for symbol in ("A", "B"):
            shocks, level = rng.normal(0, 0.2, sessions), [start]
            for shock in shocks[1:]:
                level.append(start + 0.8 * (level[-1] - start) + shock)
            columns[name][symbol] = np.array(level)
    return columns


def make_windows(columns=None, window=25, horizon=3):
    return stock_windows(columns or make_volatilities(), window=window, horizon=horizon)


def test_har_equals_least_squares_by_the_normal_equations():
    windows = make_windows()
    forecast = fit_har(windows)(windows)
    assert forecast.shape == windows.targets.shape
    for column in range(2):
        past = windows.inputs[:, :, column]
        design = np.array([[1, row[-1], sum(row[-5:]) / 5, sum(row[-22:]) / 22] for row in past])
        for step in range(3):
            actual = windows.targets[:, step, column]
            weights = np.linalg.solve(design.T @ design, design.T @ actual)
            assert_allclose(forecast[:, step, column], design @ weights, rtol=1e-10)


def test_har_finds_the_truth_where_the_truth_is_har():
    truth, values = np.array([0.1, 0.3, 0.2, 0.1]), list(np.random.default_rng(0).normal(0, 1, 22))
    while len(values) < 60:
        values.append(truth @ [1, values[-1], np.mean(values[-5:]), np.mean(values[-22:])])
    windows = stock_windows({"parkinson": {"A": np.array(values)}}, window=22)
    assert_allclose(fit_har(windows).coefficients, truth[None, None], rtol=1e-6)


def test_har_knows_nothing_of_what_comes_after_training():
    spec = DataSpec(features=("log_parkinson",), targets=("log_parkinson",), window=22, scaling="standard")
    parts = prepare(spec).parts
    for part in (parts.validation, parts.test):
        part.panel.values[:] = np.random.default_rng(0).normal(0, 9, part.panel.values.shape)
    changed = fit_har(parts.train.windows).coefficients
    assert_allclose(changed, fit_har(prepare(spec).train).coefficients, rtol=0, atol=0)


def test_the_forecast_reads_the_inputs_alone():
    windows = make_windows()
    har = fit_har(windows)
    own = windows.select([40])
    before = har(own)
    past = int(own.starts[0]) + own.cut.window
    own.panel.values[past:] = 1e6
    own.panel.values[: int(own.starts[0])] = 1e6
    assert_allclose(har(own), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("column", "window", "suits"),
    [
        ("log_garman_klass", 22, True),
        ("parkinson", 30, True),
        ("iv", 22, True),
        ("log_garman_klass", 21, False),
        ("close", 22, False),
        ("log_return", 22, False),
    ],
)
def test_har_is_for_volatility_and_windows_of_a_month(column, window, suits):
    walk = {"A": np.random.default_rng(0).normal(1, 0.1, 60)}
    assert suits_har(stock_windows({column: walk}, window=window)) is suits


def test_windows_that_are_too_short_are_refused():
    with pytest.raises(DataError, match="at least 22 rows. Got data.window 10"):
        fit_har(make_windows(window=10))


def test_har_beats_the_last_value_of_the_bundled_volatility_by_what_is_known():
    # Share and span of the figures on record: AAPL, MSFT, GOOG, 70/10/20 by date, window 22.
    names = ("log_garman_klass",)
    data = prepare(DataSpec(features=names, targets=names, window=22, scaling="standard"))
    error = {
        name: np.abs(forecaster(data.test) - data.test.targets).mean()
        for name, forecaster in (("har", fit_har(data.train)), ("naive", last_value))
    }
    assert_allclose([error["har"], error["naive"]], [0.2955, 0.3641], atol=2e-3)
