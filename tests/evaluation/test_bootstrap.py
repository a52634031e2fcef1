from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from qhq.errors import DataError
from qhq.evaluation.bootstrap import median_interval, paired_interval

figures = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9)


@given(figures)
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


def test_one_seed_has_no_interval():
    found = median_interval([2.5])
    assert (found.value, found.low, found.high, found.count) == (2.5, None, None, 1)


@given(figures, st.floats(-100, 100))
def test_paired_differences_forget_what_both_have(values, shift):
    second = np.array(values)
    found = paired_interval(second + shift, second)
    assert_allclose([found.low, found.value, found.high], shift, atol=1e-9)


def test_the_interval_holds_the_median_nearly_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = [median_interval(rng.normal(size=25)) for _ in range(150)]
    assert 0.90 < np.mean([each.low <= 0 <= each.high for each in found]) <= 0.99


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [[1.0, 2.0]]])
def test_what_is_no_figure_of_each_seed_is_refused(values):
    with pytest.raises(DataError, match="one finite figure of each seed"):
        median_interval(values)


def test_pairs_must_be_of_the_same_seeds():
    with pytest.raises(DataError, match=r"same seeds. Got shapes \(2,\) and \(3,\)"):
        paired_interval([1, 2], [1, 2, 3])
