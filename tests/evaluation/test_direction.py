import numpy as np
import pytest
from numpy.testing import assert_allclose
from statsmodels.stats.proportion import proportion_confint

from qhq.evaluation.direction import directional_accuracy, share


@pytest.mark.parametrize(("hits", "count"), [(0, 7), (1, 1), (3, 10), (540, 1000)])
def test_the_interval_is_wilsons(hits, count):
    found = share(hits, count)
    expected = proportion_confint(hits, count, method="wilson")
    assert_allclose((found.low, found.high), expected, atol=1e-12)
    assert (found.value, found.count) == (hits / count, count)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    truth, repeats = 0.53, 4000
    hits = np.random.default_rng(0).binomial(200, truth, repeats)
    intervals = {count: share(count, 200) for count in set(hits.tolist())}
    held = np.mean([intervals[count].low <= truth <= intervals[count].high for count in hits.tolist()])
    assert abs(held - 0.95) < 0.015


def test_right_and_wrong_directions_are_counted():
    start = np.array([10.0, 10, 10, 10, 10, 10])
    actual = np.array([11.0, 9, 11, 9, 10, 12])
    forecast = np.array([12.0, 8, 9, 9.9, 11, 10])
    found = directional_accuracy(actual, forecast, start)
    assert (found.right.value, found.right.count) == (0.75, 4)
    assert (found.still, found.undecided) == (1, 1)


def test_the_last_value_has_no_direction():
    start = np.zeros((20, 1, 1))
    found = directional_accuracy(np.random.default_rng(0).normal(size=start.shape), start, start)
    assert (found.right, found.still, found.undecided) == (None, 0, 20)


def test_the_opposite_forecast_is_right_where_this_one_is_wrong():
    rng = np.random.default_rng(0)
    actual, forecast, start = (rng.normal(size=(50, 2, 1)) for _ in range(3))
    one, other = (
        directional_accuracy(actual, each, start).right for each in (forecast, 2 * start - forecast)
    )
    assert_allclose([one.value, one.low, one.high], [1 - other.value, 1 - other.high, 1 - other.low])
