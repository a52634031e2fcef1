import numpy as np
import pytest

from qhq.diagnostics.estimate import Estimate, mean_of, positive_mean_of, spread_of
from qhq.errors import ConfigError


def test_the_interval_of_a_mean_covers_it_as_often_as_it_says():
    generator = np.random.default_rng(0)
    held = [mean_of(generator.normal(3.0, 2.0, 20), 0.9).holds(3.0) for _ in range(2000)]
    assert abs(np.mean(held) - 0.9) < 3 * np.sqrt(0.09 / 2000)


def test_the_mean_lies_in_its_interval_and_the_interval_narrows_with_the_root_of_the_samples():
    values = np.random.default_rng(1).exponential(size=40_000)
    few, many = mean_of(values[:400], 0.95), mean_of(values, 0.95)
    assert few.holds(few.value)
    np.testing.assert_allclose((few.high - few.low) / (many.high - many.low), 10, rtol=0.15)


def test_an_interval_of_what_is_never_negative_is_not_either():
    assert positive_mean_of([0.0, 0.0, 0.0, 1.0], 0.99).low == 0
    assert spread_of(0.1, np.array([0.0, 1.0]), 2, 0.95).low == 0


def test_resampled_figures_give_the_interval_that_the_formula_gives():
    generator = np.random.default_rng(2)
    values = generator.exponential(size=500)
    means = values[generator.integers(500, size=(4000, 500))].mean(axis=1)
    found, expected = spread_of(values.mean(), means, 500, 0.95), mean_of(values, 0.95)
    np.testing.assert_allclose([found.low, found.high], [expected.low, expected.high], rtol=0.01)


def test_scaling_an_estimate_scales_its_interval():
    assert Estimate(2.0, 1.0, 4.0, 9).scaled(0.5) == Estimate(1.0, 0.5, 2.0, 9)


def test_one_sample_has_no_interval():
    with pytest.raises(ConfigError, match="at least two samples"):
        mean_of([1.0], 0.95)
