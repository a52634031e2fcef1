"""Quantile forecasts: the CRPS is that of the distribution, and quantiles hold what they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from qhq.evaluation.probabilistic import column_of, crps, level_of, pairs, pinball

DENSE = np.arange(1, 200) / 200


@pytest.mark.parametrize(("mean", "spread"), [(0.0, 1.0), (0.7, 0.4), (-2.0, 1.5)])
def test_the_crps_of_a_normal_distribution_is_its_closed_form(mean, spread):
    """Gneiting and Raftery, JASA 2007, equation 21."""
    actual = np.array([[[0.3]], [[-1.2]]])
    quantiles = np.broadcast_to(stats.norm.ppf(DENSE, mean, spread), (2, 1, 1, len(DENSE)))
    at = (actual - mean) / spread
    exact = spread * (at * (2 * stats.norm.cdf(at) - 1) + 2 * stats.norm.pdf(at) - 1 / np.sqrt(np.pi))
    np.testing.assert_allclose(crps(actual, quantiles, DENSE), exact, rtol=0.01)


def test_the_crps_of_a_point_is_its_absolute_error():
    actual = np.random.default_rng(1).normal(size=(5, 2, 1))
    for levels in ([0.5], [0.05, 0.5, 0.9], DENSE):
        points = np.zeros((5, 2, 1, len(levels)))
        np.testing.assert_allclose(crps(actual, points, levels), np.abs(actual))


def test_the_pinball_loss_of_a_level_is_least_at_its_quantile():
    actual = np.random.default_rng(2).normal(size=(999, 1, 1))
    at = np.linspace(-2, 2, 401)
    for level in (0.1, 0.5, 0.8):
        losses = [pinball(actual, np.full((999, 1, 1, 1), each), [level]).mean() for each in at]
        np.testing.assert_allclose(at[np.argmin(losses)], np.quantile(actual, level), atol=0.02)


def test_pairs_lie_symmetrically_widest_first():
    assert pairs([0.05, 0.1, 0.5, 0.7, 0.9, 0.95]) == [(0, 5), (1, 4)]


@pytest.mark.parametrize("level", [0.05, 0.5, 0.975])
def test_a_column_names_its_level(level):
    assert level_of(column_of(level)) == level
    assert level_of("naive") is level_of("q_hat") is None
