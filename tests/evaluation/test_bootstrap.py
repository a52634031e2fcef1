from itertools import product

import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap, optimal_block_length
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from statsmodels.stats.proportion import proportion_confint

from qhq.errors import DataError
from qhq.evaluation.bootstrap import (
    block_length,
    date_interval,
    hits_by_date,
    median_interval,
    paired_interval,
    share_over_dates,
)
from qhq.seeding import child_generator

figures = st.lists(st.floats(-1e3, 1e3), min_size=5, max_size=9)


@given(figures)
@settings(max_examples=25)
def test_the_interval_lies_about_the_median_and_in_the_range(values):
    found = median_interval(values)
    assert min(values) <= found.low <= found.value <= found.high <= max(values)
    assert (found.value, found.count) == (np.median(values), len(values))
    assert median_interval(values) == found


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_it_is_that_of_all_samples_there_are(level):
    values = np.array([0.3, 1.1, 1.4, 2.9, 7.0])
    medians = np.median(list(product(values, repeat=5)), axis=1)
    expected = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2])
    found = median_interval(values, level)
    assert_allclose([found.low, found.high], expected)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_fewer_than_five_seeds_have_values_and_no_interval(count):
    found = median_interval(np.arange(count))
    assert (found.value, found.low, found.high, found.count) == ((count - 1) / 2, None, None, count)
    assert found.values == tuple(range(count))
    assert found.reason.endswith("an interval needs 5")
    assert median_interval(np.arange(5)).reason == ""


@given(figures, st.floats(-100, 100))
@settings(max_examples=25)
def test_paired_differences_forget_what_both_have(values, shift):
    second = np.array(values)
    found = paired_interval(second + shift, second)
    assert_allclose([found.low, found.value, found.high], shift, atol=1e-9)


def test_the_interval_holds_the_median_nearly_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = [median_interval(rng.normal(size=25)) for _ in range(60)]
    assert 0.85 < np.mean([each.low <= 0 <= each.high for each in found]) <= 0.99


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [[1.0, 2.0]]])
def test_what_is_no_figure_of_each_seed_is_refused(values):
    with pytest.raises(DataError, match="one finite figure of each seed"):
        median_interval(values)


def test_pairs_must_be_of_the_same_seeds():
    with pytest.raises(DataError, match=r"same seeds. Got shapes \(2,\) and \(3,\)"):
        paired_interval([1, 2], [1, 2, 3])


# Dates


def moving(rng, count, memory=0.0):
    shocks = rng.normal(size=count)
    for t in range(1, count):
        shocks[t] += memory * shocks[t - 1]
    return shocks


def test_an_interval_over_dates_is_that_of_arch():
    losses = moving(np.random.default_rng(0), 150, 0.6)
    found = date_interval(losses, seed=3)
    block = int(np.ceil(optimal_block_length(losses)["stationary"].iloc[0]))
    drawn = StationaryBootstrap(block, losses, seed=child_generator(3, "dates"))
    expected = drawn.conf_int(np.mean, reps=2000, method="percentile", size=0.95)[:, 0]
    assert_allclose([found.low, found.high], expected, rtol=1e-10)
    assert (found.value, found.block, found.dates) == (losses.mean(), block, 150)
    assert date_interval(losses, seed=3) == found != date_interval(losses, seed=4)


def test_windows_of_a_date_that_move_together_are_no_more_evidence_than_one():
    """Hits of 36 windows a date, all or none: the rate is that of the dates, and so is the interval."""
    hits = (np.random.default_rng(0).uniform(size=60) < 0.88).astype(float)
    alone = date_interval(np.column_stack([hits, np.ones(60)]))
    together = date_interval(np.column_stack([36 * hits, np.full(60, 36.0)]))
    assert_allclose([together.value, together.low, together.high], [alone.value, alone.low, alone.high])
    naive = 1.96 * np.sqrt(hits.mean() * (1 - hits.mean()) / (60 * 36))
    assert together.high - together.low > 5 * naive


def test_it_holds_the_mean_nearly_as_often_as_it_says():
    rng = np.random.default_rng(5)
    found = [date_interval(moving(rng, 200, 0.6)) for _ in range(25)]
    assert np.mean([each.low <= 0 <= each.high for each in found]) >= 0.8


def test_any_statistic_has_an_interval_and_no_block_is_shorter_than_the_horizon():
    losses = np.random.default_rng(0).exponential(size=80)
    found = date_interval(losses, lambda drawn: float(np.quantile(drawn, 0.9)), horizon=5)
    assert found.low <= found.value == np.quantile(losses, 0.9) <= found.high
    assert found.block >= 5
    assert block_length(np.ones(40)) == 1
    both = block_length(np.column_stack([losses, np.cumsum(losses)]))
    assert both == block_length(np.cumsum(losses)) > block_length(losses)
    assert block_length(np.cumsum(losses), horizon=30) == 20


def test_few_dates_have_no_interval_and_say_why():
    found = date_interval(np.arange(9.0))
    assert (found.value, found.low, found.block, found.reason) == (4.0, None, None, "9 dates, fewer than 10")
    assert date_interval(np.arange(12.0), horizon=8).reason == "12 dates, fewer than 16"
    for losses in (np.array([]), np.array([1.0, np.nan] * 10), np.ones((12, 2, 2))):
        with pytest.raises(DataError, match="one finite figure"):
            date_interval(losses)


DAYS = np.arange(200).astype("datetime64[D]")


def test_windows_of_a_date_count_as_one():
    """Ten times the same windows on each date say no more than those once."""
    hits = np.random.default_rng(0).integers(0, 2, 60)
    once, often = (share_over_dates(np.column_stack([each * hits, np.full(60, each)])) for each in (1, 10))
    assert (often.low, often.high, often.dates) == (once.low, once.high, 60)
    assert (once.count, often.count) == (60, 600)


def test_the_interval_over_dates_holds_the_truth_where_that_of_windows_does_not():
    """Each date holds or fails nearly as a whole, and bad dates come in runs."""
    generator, held = np.random.default_rng(1), {"dates": [], "windows": []}
    for _ in range(25):
        level = np.zeros(150)
        for day in range(1, 150):
            level[day] = 0.6 * level[day - 1] + generator.normal()
        rate = 1 / (1 + np.exp(-(2.2 + 1.2 * level)))
        truth = 0.8337  # the mean of that over the stationary level, N(0, 1 / (1 - 0.36))
        counts = np.column_stack([generator.binomial(300, rate), np.full(150, 300)])
        found = share_over_dates(counts)
        wilson = proportion_confint(counts[:, 0].sum(), counts[:, 1].sum(), method="wilson")
        held["dates"].append(found.low <= truth <= found.high)
        held["windows"].append(wilson[0] <= truth <= wilson[1])
    assert np.mean(held["dates"]) > 0.8
    assert np.mean(held["windows"]) < 0.3


@pytest.mark.parametrize("hits", [0, 50])
def test_where_all_dates_agree_the_interval_is_wilsons_of_the_dates(hits):
    found = share_over_dates(np.column_stack([np.full(30, hits), np.full(30, 50)]))
    expected = proportion_confint(hits // 50 * 30, 30, method="wilson")
    assert_allclose((found.low, found.high), expected, atol=1e-12)


def test_too_few_dates_have_no_interval_and_say_so():
    found = share_over_dates(np.full((5, 2), 1000))
    assert (found.low, found.high, found.count) == (None, None, 5000)
    assert "5 dates" in found.reason


def test_hits_are_counted_on_their_own_dates():
    dates = DAYS[[2, 0, 2, 1]]
    hits, cases = (
        np.array([[True, False]] * 4),
        np.array([[True, True], [True, False], [True, True], [False] * 2]),
    )
    assert hits_by_date(hits, cases, dates).tolist() == [[1, 1], [2, 4]]


def test_the_fewest_dates_have_an_interval_and_no_warning():
    """Of ten dates the longest lag of Politis and White's rule leaves none."""
    found = date_interval(np.random.default_rng(0).normal(size=10))
    assert found.low < found.value < found.high
