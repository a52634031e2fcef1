import numpy as np
import pytest
from numpy.testing import assert_allclose
from statsmodels.stats.proportion import proportion_confint

from qhq.evaluation.direction import directional_accuracy, hits_by_date, share

DAYS = np.arange(200).astype("datetime64[D]")


def test_windows_of_a_date_count_as_one():
    """Ten times the same windows on each date say no more than those once."""
    hits = np.random.default_rng(0).integers(0, 2, 60)
    once, often = (share(np.column_stack([each * hits, np.full(60, each)])) for each in (1, 10))
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
        found = share(counts)
        wilson = proportion_confint(counts[:, 0].sum(), counts[:, 1].sum(), method="wilson")
        held["dates"].append(found.low <= truth <= found.high)
        held["windows"].append(wilson[0] <= truth <= wilson[1])
    assert np.mean(held["dates"]) > 0.8
    assert np.mean(held["windows"]) < 0.3


@pytest.mark.parametrize("hits", [0, 50])
def test_where_all_dates_agree_the_interval_is_wilsons_of_the_dates(hits):
    found = share(np.column_stack([np.full(30, hits), np.full(30, 50)]))
    expected = proportion_confint(hits // 50 * 30, 30, method="wilson")
    assert_allclose((found.low, found.high), expected, atol=1e-12)


def test_too_few_dates_have_no_interval_and_say_so():
    found = share(np.full((5, 2), 1000))
    assert (found.low, found.high, found.count) == (None, None, 5000)
    assert "5 dates" in found.reason


def test_hits_are_counted_on_their_own_dates():
    dates = DAYS[[2, 0, 2, 1]]
    hits, cases = (
        np.array([[True, False]] * 4),
        np.array([[True, True], [True, False], [True, True], [False] * 2]),
    )
    assert hits_by_date(hits, cases, dates).tolist() == [[1, 1], [2, 4]]


def test_right_and_wrong_directions_are_counted():
    start = np.array([10.0, 10, 10, 10, 10, 10])
    actual = np.array([11.0, 9, 11, 9, 10, 12])
    forecast = np.array([12.0, 8, 9, 9.9, 11, 10])
    found = directional_accuracy(actual, forecast, start, DAYS[:6])
    assert (found.right.value, found.right.count) == (0.75, 4)
    assert (found.still, found.undecided) == (1, 1)


def test_the_last_value_has_no_direction():
    start = np.zeros((20, 1, 1))
    actual = np.random.default_rng(0).normal(size=start.shape)
    found = directional_accuracy(actual, start, start, DAYS[:20])
    assert (found.right, found.still, found.undecided) == (None, 0, 20)


def test_the_opposite_forecast_is_right_where_this_one_is_wrong():
    rng = np.random.default_rng(0)
    actual, forecast, start = (rng.normal(size=(50, 2, 1)) for _ in range(3))
    one, other = (
        directional_accuracy(actual, each, start, DAYS[:50]).right
        for each in (forecast, 2 * start - forecast)
    )
    assert_allclose([one.value, one.low, one.high], [1 - other.value, 1 - other.high, 1 - other.low])
