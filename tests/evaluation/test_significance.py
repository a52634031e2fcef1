import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import binom, ttest_1samp
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.multitest import multipletests

from qhq.errors import DataError
from qhq.evaluation.baselines.last_value import in_sample_naive_mae, last_value, symbol_scale
from qhq.evaluation.significance import (
    Comparison,
    compare,
    date_losses,
    diebold_mariano,
    holm,
    loss_unit,
)
from tests.evaluation.panels import option_windows, random_walks, stock_windows


def obvious(difference, horizon):
    """The formulas of the paper, summed one by one."""
    n = len(difference)
    mean = sum(difference) / n
    covariance = [
        sum((difference[t] - mean) * (difference[t - lag] - mean) for t in range(lag, n)) / n
        for lag in range(horizon)
    ]
    variance = (covariance[0] + 2 * sum(covariance[1:])) / n
    factor = (n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n
    return mean / variance**0.5 * factor**0.5


def moving_average(rng, count, order):
    """Differences of forecasts ``order`` + 1 rows ahead: MA(order) of mean 0."""
    shocks = rng.normal(size=count + order)
    return np.convolve(shocks, np.ones(order + 1), mode="valid")


@pytest.mark.parametrize("horizon", [1, 2, 5])
@pytest.mark.parametrize("count", [12, 60])
def test_the_statistic_is_the_obvious_formula(horizon, count):
    rng = np.random.default_rng(count + horizon)
    difference = moving_average(rng, count, horizon - 1) + 0.3
    second = rng.exponential(size=count)
    statistic, _ = diebold_mariano(second + difference, second, horizon)
    assert_allclose(statistic, obvious(difference, horizon), rtol=1e-10)


def test_one_row_ahead_it_is_students_t_test():
    # With h = 1, V = g_0 and the factor (n - 1) / n make it the t-test of a mean, to the last digit.
    difference = np.random.default_rng(0).normal(0.2, 1, 40)
    expected = ttest_1samp(difference, 0)
    assert_allclose(diebold_mariano(difference, np.zeros(40)), expected, rtol=1e-10)


@pytest.mark.parametrize("horizon", [2, 4])
def test_the_variance_is_that_of_statsmodels_with_the_same_lags(horizon):
    difference = moving_average(np.random.default_rng(1), 80, horizon - 1) + 0.5

    def uniform(lags):
        return np.ones(lags + 1)

    fit = OLS(difference, np.ones(80)).fit(
        cov_type="HAC", cov_kwds={"maxlags": horizon - 1, "weights_func": uniform, "use_correction": False}
    )
    factor = (81 - 2 * horizon + horizon * (horizon - 1) / 80) / 80
    statistic, _ = diebold_mariano(difference, np.zeros(80), horizon)
    assert_allclose(statistic, fit.tvalues[0] * factor**0.5, rtol=1e-8)


def test_differences_that_swing_have_a_variance_above_zero_all_the_same():
    difference = np.tile([1.0, -1.0], 20) + 0.01 * np.arange(40)
    centred = difference - difference.mean()
    plain = centred @ centred + 2 * centred[1:] @ centred[:-1]
    assert plain < 0
    bartlett = (centred @ centred + centred[1:] @ centred[:-1]) / 40
    expected = difference.mean() / np.sqrt(bartlett / 40) * np.sqrt((41 - 4 + 2 / 40) / 40)
    assert_allclose(diebold_mariano(difference, np.zeros(40), 2)[0], expected)


@pytest.mark.parametrize(("count", "horizon"), [(12, 1), (40, 1), (80, 3)])
def test_of_equal_forecasts_it_calls_as_many_different_as_the_level_says(count, horizon):
    rng, repeats, level = np.random.default_rng(count), 1500, 0.05
    calls = 0
    for _ in range(repeats):
        difference = moving_average(rng, count, horizon - 1)
        calls += diebold_mariano(difference, np.zeros(count), horizon)[1] < level
    if horizon == 1:
        low, high = binom.ppf([1e-3, 1 - 1e-3], repeats, level)
        assert low <= calls <= high
    else:
        # The correction is made for h > 1 in small samples, and leaves a few percent (their table 1).
        assert 0.03 <= calls / repeats <= 0.09


def test_a_difference_that_is_there_is_found():
    rng = np.random.default_rng(0)
    first, second = rng.exponential(1.0, 400), rng.exponential(1.5, 400)
    statistic, p_value = diebold_mariano(first, second)
    assert statistic < 0
    assert p_value < 1e-3
    assert_allclose(diebold_mariano(second, first), (-statistic, p_value))


@pytest.mark.parametrize("unit", [1e-8, 1e8])
def test_the_statistic_has_no_unit(unit):
    first, second = np.random.default_rng(0).exponential(size=(2, 30))
    assert_allclose(diebold_mariano(unit * first, unit * second, 2), diebold_mariano(first, second, 2))


@pytest.mark.parametrize(
    ("first", "horizon", "reason"),
    [
        (np.arange(9.0), 1, "9 dates, fewer than 10"),
        (np.arange(15.0), 8, "15 dates, fewer than 16"),
        (np.ones(20), 1, "the same losses on all dates"),
        (np.ones(20) * (1 + 1e-14 * np.arange(20)), 1, "the same losses on all dates"),
        (np.full(20, 3.0), 1, "differ by the same on all dates"),
        (np.append(np.ones(19), np.nan), 1, "not finite"),
        (np.ones((20, 2)), 1, r"shapes \(20, 2\)"),
    ],
)
def test_what_cannot_be_tested_is_said(first, horizon, reason):
    second = np.ones(len(first))
    with pytest.raises(DataError, match=reason):
        diebold_mariano(first, second, horizon)
    if first.ndim == 1:
        (found,) = compare({"a": first, "b": second}, horizon)
        assert (found.statistic, found.p_value, found.adjusted) == (None, None, None)
        assert found.verdict() == "not tested"


probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@pytest.mark.parametrize("seed", range(20))
def test_holm_is_that_of_statsmodels(seed):
    rng = np.random.default_rng(seed)
    p_values = rng.uniform(size=rng.integers(1, 12)) ** 4
    p_values = rng.choice([0, 1, *p_values], len(p_values))  # ties, and both borders
    assert_allclose(holm(p_values), multipletests(p_values, method="holm")[1], atol=1e-15)


@given(probabilities, st.data())
def test_what_was_not_tested_does_not_count(p_values, data):
    place = data.draw(st.integers(0, len(p_values)))
    found = holm(np.insert(np.array(p_values), place, np.nan))
    assert np.isnan(found[place])
    assert_allclose(np.delete(found, place), holm(p_values))


def test_holm_of_nothing_is_nothing():
    assert holm([]).shape == (0,)
    assert np.isnan(holm([np.nan, np.nan])).all()


def test_over_all_pairs_of_equal_forecasts_few_tables_call_any_unequal():
    rng, repeats = np.random.default_rng(0), 300
    calls = 0
    for _ in range(repeats):
        losses = dict(zip("abcd", rng.exponential(size=(4, 60)), strict=True))
        calls += any(each.verdict() != "no different" for each in compare(losses, 1))
    assert calls <= binom.ppf(1 - 1e-3, repeats, 0.05)


def make_losses():
    rng = np.random.default_rng(0)
    common = rng.exponential(size=120)
    return {name: common + rng.normal(shift, 0.1, 120) for name, shift in (("a", 1), ("b", 1.2), ("c", 1.0))}


def test_every_pair_is_compared_and_adjusted_over_all():
    losses = make_losses()
    found = compare(losses, 1)
    assert [(each.first, each.second) for each in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert_allclose([each.adjusted for each in found], holm([each.p_value for each in found]))
    assert [each.verdict() for each in found] == ["better", "no different", "worse"]
    for each in found:
        expected = diebold_mariano(losses[each.first], losses[each.second])
        assert_allclose((each.statistic, each.p_value), expected)
        assert_allclose(each.gain, 1 - losses[each.first].mean() / losses[each.second].mean())
        assert (each.dates, each.reason) == (120, "")
    json.dumps([asdict(each) for each in found], allow_nan=False)


def test_only_the_pairs_that_are_asked_for_are_counted():
    (found,) = compare(make_losses(), 1, [("c", "b")])
    assert (found.first, found.second, found.adjusted) == ("c", "b", found.p_value)
    with pytest.raises(DataError, match="name forecasts. Got 'd'"):
        compare(make_losses(), 1, [("a", "d")])


def test_a_forecast_that_never_errs_leaves_no_gain_to_tell():
    found = compare({"a": np.arange(20.0), "b": np.zeros(20)}, 1)[0]
    assert (found.gain, found.verdict()) == (None, "worse")


def test_a_verdict_is_at_its_level():
    found = Comparison("a", "b", 0.1, 50, -2.1, 0.03, 0.06)
    assert (found.verdict(), found.verdict(0.1)) == ("no different", "better")


def test_losses_are_averaged_by_date_over_symbols_horizons_and_targets():
    windows = stock_windows({"close": random_walks(), "open": random_walks(seed=1)}, horizon=2)
    forecast = last_value(windows)
    unit = np.where(windows.code == 0, 1.0, 5.0)
    for loss, power in (("absolute", 1), ("squared", 2)):
        found = date_losses(windows, forecast, unit, loss)
        dates = np.unique(windows.dates[:, 0])
        assert found.shape == dates.shape
        for date in (0, 31, len(dates) - 1):
            own = windows.dates[:, 0] == dates[date]
            assert np.count_nonzero(own) == 2
            errors = np.abs(forecast - windows.targets)[own] / unit[own, None, None]
            assert_allclose(found[date], (errors**power).mean())


def test_a_symbol_that_stands_there_twice_gives_no_more_evidence():
    walk, rng = random_walks(("A",), sessions=60)["A"], np.random.default_rng(0)
    alone, twice = (stock_windows({"close": dict.fromkeys(names, walk)}) for names in ("A", "AB"))
    noise = rng.normal(0, 0.5, alone.targets.shape)
    found = []
    for windows in (alone, twice):
        errors = np.tile(noise, (len(windows) // len(alone), 1, 1))
        forecasts = {"naive": last_value(windows), "model": windows.targets + errors}
        unit = np.ones(len(windows))
        found.append(compare({name: date_losses(windows, each, unit) for name, each in forecasts.items()}, 1))
    assert_allclose(found[1][0].p_value, found[0][0].p_value)
    assert found[0][0].dates == found[1][0].dates == len(alone)


def test_every_group_weighs_alike():
    windows = stock_windows({"close": random_walks()})
    scale = symbol_scale(windows, in_sample_naive_mae(windows))
    assert_allclose(loss_unit(windows, scale), scale)
    # Of the same windows, a group never trained on gets the unit that it would have had.
    assert_allclose(loss_unit(windows, np.where(windows.code[:, None] == 0, scale, np.nan)), scale)
    assert_allclose(loss_unit(option_windows(), np.full(len(option_windows()), np.nan)),
                    option_windows().known("strike")[:, None])  # fmt: skip


@given(st.floats(1e-6, 1e6), st.sampled_from(["symbol", "target"]))
def test_the_losses_of_a_date_do_not_know_the_unit_of_a_symbol_or_target(factor, which):
    columns = {"close": random_walks(), "volume": random_walks(seed=1)}
    if which == "symbol":
        other = {name: {**each, "BBB": factor * each["BBB"]} for name, each in columns.items()}
    else:
        other = {**columns, "volume": {name: factor * each for name, each in columns["volume"].items()}}
    found = []
    for each in (columns, other):
        windows = stock_windows(each)
        scale = symbol_scale(windows, in_sample_naive_mae(windows))
        forecast = windows.targets + 0.3 * (windows.last[:, None] - windows.targets)
        held_out = np.where(windows.code[:, None] == 1, np.nan, scale)
        found.append(
            [date_losses(windows, forecast, loss_unit(windows, known)) for known in (scale, held_out)]
        )
    assert_allclose(found[1], found[0])
