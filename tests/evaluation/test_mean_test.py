"""The test of a mean: laws, and its size on series that remember their past."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.fft import dct
from scipy.signal import lfilter
from scipy.stats import binom, t, ttest_1samp

from qhq.evaluation import mean_test as module
from qhq.evaluation.mean_test import mean_test


def autoregression(rng, count, memory):
    return lfilter([1.0], [1.0, -memory], rng.normal(size=count + 400))[400:]


def swinging(rng, count):
    """A series without memory, or with less than none: the test then takes the dates as independent."""
    shocks = rng.normal(size=count + 1)
    return shocks[1:] - 0.3 * shocks[:-1]


def test_the_variance_is_the_mean_square_of_the_cosine_transforms():
    series = 0.3 + autoregression(np.random.default_rng(0), 130, 0.5)
    found = mean_test(series)
    time = np.arange(1, 131)
    cosines = [np.sqrt(2 / 130) * np.cos(np.pi * j * (time - 0.5) / 130) @ series
               for j in range(1, found.cosines + 1)]  # fmt: skip
    assert_allclose(found.error, np.sqrt(np.mean(np.square(cosines)) / 130), rtol=1e-10)
    assert_allclose(found.statistic, series.mean() / found.error, rtol=1e-12)


def test_without_memory_it_is_students_distribution():
    found = mean_test(swinging(np.random.default_rng(0), 100) + 0.2)
    assert (found.persistence, found.cosines) == (0.0, 21)
    assert_allclose(found.p_value, 2 * t.sf(abs(found.statistic), 21), rtol=1e-10)
    assert_allclose(found.critical(0.01), t.isf(0.005, 21), rtol=1e-8)
    assert_allclose(found.detectable(0.05), (t.isf(0.025, 21) + t.isf(0.2, 21)) * found.error, rtol=1e-8)


def test_with_all_cosines_it_is_the_t_test_of_a_mean(monkeypatch):
    monkeypatch.setattr(module, "_choose_cosines", lambda count, persistence, horizon: count - 1)
    series = swinging(np.random.default_rng(1), 40) + 0.2
    found = mean_test(series)
    assert_allclose((found.statistic, found.p_value), ttest_1samp(series, 0), rtol=1e-10)


@pytest.mark.parametrize("memory", [0.3, 0.9])
def test_the_p_value_is_how_often_a_series_of_that_memory_goes_as_far(memory, monkeypatch):
    """By simulation, with the memory known: what is estimated then is the variance alone."""
    monkeypatch.setattr(module, "_persistence", lambda series: memory)
    rng, repeats = np.random.default_rng(2), 4000
    found = mean_test(1.0 + autoregression(rng, 80, memory))
    draws = lfilter([1.0], [1.0, -memory], rng.normal(size=(repeats, 480)), axis=1)[:, 400:]
    transforms = dct(draws, type=2, norm="ortho", axis=1)
    variance = np.mean(transforms[:, 1 : found.cosines + 1] ** 2, axis=1)
    hits = np.count_nonzero(np.abs(transforms[:, 0] / np.sqrt(variance)) > abs(found.statistic))
    low, high = binom.ppf([1e-4, 1 - 1e-4], repeats, found.p_value)
    assert low <= hits <= high


@pytest.mark.parametrize(("memory", "most"), [(0.0, 0.05), (0.98, 0.16)])
def test_of_a_mean_of_zero_it_calls_as_few_unequal_as_the_level_says(memory, most):
    rng, repeats = np.random.default_rng(3), 100
    calls = sum(mean_test(autoregression(rng, 130, memory)).p_value < 0.05 for _ in range(repeats))
    assert calls <= binom.ppf(1 - 1e-3, repeats, most)


@pytest.mark.parametrize("unit", [-1e-8, 1e8])
def test_the_test_has_no_unit_and_no_side(unit):
    series = 0.2 + autoregression(np.random.default_rng(0), 60, 0.4)
    one, other = mean_test(series), mean_test(unit * series)
    assert_allclose((other.p_value, abs(other.statistic)), (one.p_value, abs(one.statistic)), rtol=1e-9)
    assert_allclose(other.detectable(0.05), abs(unit) * one.detectable(0.05), rtol=1e-9)


def test_more_memory_asks_for_more_and_so_does_a_longer_horizon():
    rng = np.random.default_rng(4)
    series = [autoregression(rng, 300, memory) for memory in (0.0, 0.5, 0.9, 0.98)]
    found = [mean_test(each) for each in series]
    assert sorted(each.cosines for each in found)[::-1] == [each.cosines for each in found]
    assert sorted(each.critical(0.05) for each in found) == [each.critical(0.05) for each in found]
    assert mean_test(series[0], horizon=10).cosines == 15


def test_a_trend_shows_nothing_of_its_mean():
    """Dates that are one long drift are worth one or two: t far above 2 is no evidence."""
    series = np.linspace(-1.0, 3.0, 120) + 0.01 * np.random.default_rng(0).normal(size=120)
    assert ttest_1samp(series, 0).pvalue < 1e-10
    assert mean_test(series).p_value > 0.2


def test_a_forecast_that_leans_to_one_side_for_weeks_has_a_t_of_tens_and_is_not_so_sure():
    """As prices that have left the range a min-max scaler knows: t is 68, with 37 lags 13."""
    series = 3 + autoregression(np.random.default_rng(0), 630, 0.97) * np.sqrt(1 - 0.97**2)
    found = mean_test(series)
    assert ttest_1samp(series, 0).statistic > 50
    assert found.statistic < 15
    assert 1e-4 < found.p_value < 0.05  # it is worse all the same


def test_targets_that_overlap_in_a_month_are_not_found_unequal_at_horizon_one():
    """Volatility over 22 sessions, asked for each one: as independent dates two of three sets differ."""
    calls = [0, 0]
    for seed in range(60):
        shocks = np.random.default_rng(seed).normal(size=321)
        series = np.convolve(shocks, np.ones(22) / 22, "valid")
        for place, p_value in enumerate((ttest_1samp(series, 0).pvalue, mean_test(series).p_value)):
            calls[place] += p_value < 0.05
    assert calls[0] > 30
    assert calls[1] <= binom.ppf(1 - 1e-3, 60, 0.05)
