"""A cheap slice of ``python -m benchmarks.verdicts``: the claims that are made where the truth is known."""

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.verdicts import (
    DATES,
    SIZES,
    TESTS,
    claims,
    differences,
    equal_losses,
    filtered,
    fitted_losses,
    measure_power,
)


@pytest.mark.parametrize("kind", ["GARCH(1,1)", "AR(.98) errors", "overlapping, H = 5"])
def test_of_equal_forecasts_few_are_called_better(kind):
    _, errors, horizon = SIZES[kind]
    rng, repeats = np.random.default_rng(0), 8
    found = [claims(equal_losses(errors(rng, DATES)), horizon) for _ in range(repeats)]
    assert np.sum(found, axis=0).max() <= binom.ppf(1 - 1e-3, repeats, 0.05)


def test_planted_skill_is_claimed_about_as_often_as_an_oracle_claims_it():
    found = measure_power(0.4, 500, 8, 150)
    assert found["qhq"]["rate"] >= 0.5
    assert abs(found["behind"]) <= 0.4


def test_forecasts_are_of_the_past_alone():
    """Another future after a date leaves the losses before it as they are."""
    rng = np.random.default_rng(0)
    returns = filtered(rng.normal(size=600), 0.3)
    other = np.concatenate([returns[:560], rng.normal(size=40)])
    one, two = fitted_losses(returns, 2), fitted_losses(other, 2)
    for name, losses in one.items():
        np.testing.assert_array_equal(losses[:58], two[name][:58])
        assert not np.array_equal(losses[59:], two[name][59:])


def test_every_test_of_a_mean_sees_one_that_is_there_and_the_cut_one_sees_more():
    rng = np.random.default_rng(0)
    shifted = 1 + rng.normal(size=130)
    assert all(test(shifted, 1) < 0.05 for test in TESTS.values())
    drawn = [differences("AR(.98) errors", rng, 130) for _ in range(12)]
    calls = {name: sum(TESTS[name](*each) < 0.05 for each in drawn) for name in TESTS}
    assert calls["cut at the horizon, HLN"] > 5 > calls["qhq"] + 1
