"""Losses of distributions: minimal at the truth, equal to the library's, and quantiles that are quantiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from qhq.training.losses import Gaussian, PointObjective, Quantiles, StudentT, mean_loss, open_objective
from qhq.training.spec import LOSSES, TrainingSpec

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def draws(seed: int, *shape: int) -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize("name", LOSSES)
def test_outputs_have_the_shape_that_the_objective_says(name):
    objective = open_objective(TrainingSpec(loss=name, quantiles=LEVELS))
    targets = draws(0, 7, 3, 2)
    outputs = draws(1, 7, 3, 2, *([objective.values] if objective.values > 1 else []))
    start = objective.start(targets)
    assert objective.losses(outputs, targets, start).shape == targets.shape
    assert objective.point(outputs, start).shape == targets.shape
    found = objective.quantiles(outputs, start)
    if isinstance(objective, PointObjective):
        assert found is None
    else:
        assert found.shape == (7, 3, 2, len(LEVELS))
        assert (found.diff(dim=-1) >= 0).all()
        torch.testing.assert_close(found[..., 2], objective.point(outputs, start))


def test_likelihoods_are_those_of_scipy():
    outputs, targets = draws(1, 6, 2, 1, 3), draws(2, 6, 2, 1)
    spread = torch.tensor([[0.3], [2.0]], dtype=torch.float64)
    gaussian, student = Gaussian(LEVELS), StudentT(LEVELS)
    scale = gaussian._spread(outputs, spread).numpy()
    at = {"loc": outputs[..., 0].numpy(), "scale": scale}
    np.testing.assert_allclose(
        gaussian.losses(outputs[..., :2], targets, spread), -stats.norm.logpdf(targets.numpy(), **at)
    )
    freedom = student._freedom(outputs).numpy()
    assert (freedom > 2).all()
    np.testing.assert_allclose(
        student.losses(outputs, targets, spread), -stats.t.logpdf(targets.numpy(), freedom, **at)
    )
    for objective, quantile in (
        (gaussian, stats.norm.ppf),
        (student, lambda p, **k: stats.t.ppf(p, freedom, **k)),
    ):
        found = objective.quantiles(outputs, spread)
        for place, level in enumerate(LEVELS):
            np.testing.assert_allclose(found[..., place], quantile(level, **at))


@pytest.mark.parametrize("kind", [Quantiles, Gaussian, StudentT])
def test_outputs_of_zero_have_the_spread_of_the_training_targets(kind):
    """A model that starts at its baseline starts with a sensible spread, at any scale of the targets."""
    targets = 0.01 * draws(3, 4000, 2, 1) * torch.tensor([[1.0], [5.0]])
    objective = kind(LEVELS)
    start = objective.start(targets)
    shape = (4000, 2, 1, objective.values)
    found = objective.quantiles(torch.zeros(shape, dtype=torch.float64), start)
    held = ((targets > found[..., 0]) & (targets < found[..., -1])).double().mean(dim=(0, 2))
    np.testing.assert_allclose(held, 0.9, atol=0.03)
    np.testing.assert_array_equal(objective.point(torch.zeros(shape), start), np.zeros((4000, 2, 1)))


@given(st.integers(0, 50), st.sampled_from(LEVELS))
def test_the_pinball_loss_is_least_at_the_quantile(seed, level):
    targets = draws(seed, 101, 1, 1)
    levels = tuple(sorted({level, 0.5}))
    objective, place = Quantiles(levels), levels.index(level)

    def loss(value: float) -> float:
        outputs = torch.zeros(101, 1, 1, len(levels), dtype=torch.float64)
        outputs[..., place] = value
        return float(objective.losses(outputs, targets, None).mean())

    best = float(np.quantile(targets.numpy(), level, method="inverted_cdf"))
    assert all(loss(best) <= loss(best + step) + 1e-12 for step in (-0.5, -0.01, 0.01, 0.5))


def test_the_median_alone_is_the_absolute_error():
    outputs, targets = draws(1, 9, 2, 1), draws(2, 9, 2, 1)
    whole = mean_loss(Quantiles((0.5,)), outputs[..., None], targets, None, None)
    torch.testing.assert_close(whole, torch.nn.functional.l1_loss(outputs, targets))


@pytest.mark.parametrize("name", LOSSES)
def test_weights_of_horizons_share_the_loss_out(name):
    objective = open_objective(TrainingSpec(loss=name))
    targets = draws(0, 7, 3, 2)
    outputs = draws(1, 7, 3, 2, *([objective.values] if objective.values > 1 else []))
    each = [float(objective.losses(outputs, targets, None)[:, step].mean()) for step in range(3)]
    found = mean_loss(objective, outputs, targets, None, (1.0, 0.0, 3.0))
    np.testing.assert_allclose(float(found), (each[0] + 3 * each[2]) / 4)
    plain = mean_loss(objective, outputs, targets, None, None)
    np.testing.assert_allclose(float(plain), float(mean_loss(objective, outputs, targets, None, (2.0,) * 3)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantiles": [0.1, 0.9]}, "0.5 must be among them"),
        ({"quantiles": [0.5, 0.1]}, "must ascend"),
        ({"quantiles": [0.5, 1.0]}, "less than 1"),
        ({"horizon_weights": [0.0, 0.0]}, "one above 0"),
        ({"horizon_weights": [-1.0]}, "greater than or equal to 0"),
        ({"loss": "pinball"}, "'quantile', 'gaussian' or 'student_t'"),
    ],
)
def test_levels_and_weights_are_checked(changes, message):
    with pytest.raises(ValidationError, match=message):
        TrainingSpec.model_validate(changes)
