"""Heads on features: what scikit-learn fitted, as tensors, and chosen by the validation split alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import Ridge

from qhq.models.heads import build_head, fit_head
from qhq.models.spec import BoostingSpec, LassoSpec, RidgeSpec
from qhq.seeding import child_seed

SPECS = (RidgeSpec(), LassoSpec(kind="lasso"), BoostingSpec(kind="boosting", trees=12, depth=2))


def squared(forecasts: np.ndarray, targets: np.ndarray) -> float:
    return float(np.mean((forecasts - targets) ** 2))


def problem(seed: int = 0, rows: int = 90, features: int = 6, outputs: int = 2):
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(rows, features)) * generator.uniform(0.1, 9.0, features) + 3.0
    targets = inputs @ generator.normal(size=(features, outputs)) + generator.normal(size=(rows, outputs))
    half = 2 * rows // 3
    return (inputs[:half], targets[:half]), (inputs[half:], targets[half:])


def fitted(spec, train, validation, seed: int = 0):
    head = build_head(spec, train[0].shape[1], train[1].shape[1])
    return head, fit_head(head, spec, train, validation, loss=squared, seed=seed)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_head_forecasts_zero_until_it_is_fitted(spec):
    assert not build_head(spec, 3, 2)(torch.ones(5, 3)).any()


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_the_head_is_the_candidate_of_the_lowest_validation_loss(spec):
    train, validation = problem()
    head, found = fitted(spec, train, validation)
    assert found.best.validation_loss == min(each.validation_loss for each in found.candidates)
    for (inputs, targets), loss in ((train, found.best.train_loss), (validation, found.best.validation_loss)):
        forecast = head(torch.as_tensor(inputs)).numpy()
        np.testing.assert_allclose(squared(forecast, targets), loss, rtol=1e-9)


def test_ridge_is_that_of_scikit_learn_on_standardised_features():
    train, validation = problem()
    spec = RidgeSpec(strengths=(0.03,))
    head, _ = fitted(spec, train, validation)
    centre, scale = train[0].mean(axis=0), train[0].std(axis=0)
    known = Ridge(alpha=0.03 * len(train[0])).fit((train[0] - centre) / scale, train[1])
    wanted = known.predict((validation[0] - centre) / scale)
    np.testing.assert_allclose(head(torch.as_tensor(validation[0])).numpy(), wanted, rtol=1e-9)


def test_boosting_is_that_of_scikit_learn_tree_by_tree():
    train, validation = problem(outputs=1)
    spec = BoostingSpec(kind="boosting", trees=15, depth=3, subsample=0.7)
    head, found = fitted(spec, train, validation, seed=4)
    known = GradientBoostingRegressor(
        n_estimators=15, learning_rate=0.05, max_depth=3, subsample=0.7, max_features="sqrt",
        random_state=child_seed(4, "boosting/0") % 2**32,
    ).fit(train[0], train[1][:, 0])  # fmt: skip
    stages = list(known.staged_predict(validation[0]))
    wanted = stages[int(found.best.strength) - 1]
    np.testing.assert_allclose(head(torch.as_tensor(validation[0])).numpy()[:, 0], wanted, rtol=1e-12)


def test_strongest_lasso_leaves_every_feature_out():
    train, validation = problem()
    head, _ = fitted(LassoSpec(kind="lasso", strengths=(1.0,)), train, validation)
    assert not head.weight.any()
    np.testing.assert_allclose(head.bias.numpy(), train[1].mean(axis=0))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_validation_rows_choose_the_strength_and_nothing_else(spec):
    train, validation = problem()
    spec = spec.model_copy(update={"trees": 1} if spec.kind == "boosting" else {"strengths": (0.1,)})
    one, _ = fitted(spec, train, validation)
    other, _ = fitted(spec, train, (validation[0], -validation[1]))
    for name, tensor in one.state_dict().items():
        np.testing.assert_array_equal(tensor, other.state_dict()[name])


def test_a_feature_that_does_not_move_has_no_weight():
    train, validation = problem()
    train[0][:, 2] = 1.0
    head, _ = fitted(RidgeSpec(strengths=(1e-6,)), train, validation)
    assert not head.weight[2].any()
    assert torch.isfinite(head.weight).all()


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_head_comes_back_from_safetensors_to_the_last_bit(spec, tmp_path):
    train, validation = problem()
    head, _ = fitted(spec, train, validation)
    save_file(head.state_dict(), tmp_path / "head.safetensors")
    other = build_head(spec, 6, 2)
    other.load_state_dict(load_file(tmp_path / "head.safetensors"))
    rows = torch.as_tensor(validation[0])
    np.testing.assert_array_equal(head(rows), other(rows))


@pytest.mark.parametrize(("name", "value"), [("below", 10**6), ("above", -1), ("feature", 6), ("output", 2)])
def test_trees_that_lead_nowhere_are_refused(name, value):
    spec = SPECS[2]
    head, _ = fitted(spec, *problem())
    tensors = head.state_dict()
    tensors[name] = torch.full_like(tensors[name], value)
    with pytest.raises(RuntimeError, match="not there"):
        build_head(spec, 6, 2).load_state_dict(tensors)


def test_head_stays_in_double_precision_when_a_model_is_cast():
    head, _ = fitted(RidgeSpec(), *problem())
    assert torch.nn.Sequential(head).to(torch.float32)[0].weight.dtype == torch.float64
