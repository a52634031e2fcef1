import numpy as np
import pytest
from numpy.testing import assert_allclose

from qhq.data.prepare import prepare
from qhq.data.spec import DataSpec
from qhq.errors import DataError
from qhq.evaluation.baselines.har import fit_har, fit_log_har, suits_har, suits_log_har
from qhq.evaluation.baselines.persistence import last_value
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
    splits = prepare(spec).splits
    for split in (splits.validation, splits.test):
        split.panel.values[:] = np.random.default_rng(0).normal(0, 9, split.panel.values.shape)
    changed = fit_har(splits.train.windows).coefficients
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


# log-HAR


def planted_log_har(sessions=400, noise=0.0, seed=0):
    """Volatilities of which log-HAR is the truth: the logarithm on those of the three means."""
    rng = np.random.default_rng(seed)
    truth, values = np.array([-0.4, 0.4, 0.3, 0.2]), list(0.02 * np.exp(rng.normal(0, 0.5, 22)))
    while len(values) < sessions:
        means = [values[-1], np.mean(values[-5:]), np.mean(values[-22:])]
        values.append(np.exp(truth @ [1, *np.log(means)] + noise * rng.normal()))
    return truth, np.array(values)


@pytest.mark.parametrize("name", ["garman_klass", "log_parkinson"])
def test_log_har_finds_the_truth_where_the_truth_is_log_har(name):
    truth, values = planted_log_har(60)
    column = np.log(values) if name.startswith("log") else values
    windows = stock_windows({name: {"A": column}}, window=22)
    fitted = fit_log_har(windows)
    assert_allclose(fitted.coefficients, truth[None, None], rtol=1e-5)
    assert_allclose(fitted(windows), windows.targets, rtol=1e-6)


def test_log_har_of_a_volatility_forecasts_its_mean_and_of_a_logarithm_its_own():
    """Of log-normal errors the mean of the volatility is above the exponential of the mean logarithm."""
    _, values = planted_log_har(2000, noise=0.6)
    level = stock_windows({"parkinson": {"A": values}}, window=22)
    log = stock_windows({"log_parkinson": {"A": np.log(values)}}, window=22)
    of_level, of_log = (fit_log_har(each)(each) for each in (level, log))
    assert_allclose(np.log(of_level) - of_log, 0.6**2 / 2, rtol=0.1)
    assert_allclose(of_level.mean(), level.targets.mean(), rtol=0.03)
    assert_allclose(of_log.mean(), log.targets.mean(), rtol=1e-6)


def test_a_session_that_did_not_move_has_a_logarithm_all_the_same():
    _, values = planted_log_har(200, noise=0.3)
    values[[30, 31, 199]] = 0.0
    windows = stock_windows({"parkinson": {"A": values}}, window=22, horizon=2)
    forecast = fit_log_har(windows.select(slice(0, 100)))(windows)
    assert np.isfinite(forecast).all()
    assert (forecast > 0).all()


@pytest.mark.parametrize(("column", "suits"), [("log_garman_klass", True), ("parkinson", True), ("iv", False),
                                               ("log_moneyness", False), ("close", False)])  # fmt: skip
def test_log_har_is_for_realised_volatility(column, suits):
    walk = {"A": np.random.default_rng(0).normal(1, 0.1, 60)}
    assert suits_log_har(stock_windows({column: walk}, window=22)) is suits


def test_windows_that_are_too_short_for_log_har_are_refused():
    with pytest.raises(DataError, match="at least 22 rows. Got data.window 10"):
        fit_log_har(make_windows(window=10))
