import json
from dataclasses import asdict, astuple, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from qhq.errors import DataError
from qhq.evaluation.baselines.persistence import in_sample_naive_mae, last_value, symbol_scale
from qhq.evaluation.losses import date_losses, loss_unit
from qhq.evaluation.metrics import (
    NearZero,
    has_percent,
    largest_share,
    near_zero,
    relative_errors,
    score,
    score_by_group,
    score_by_symbol,
    score_held_out,
    score_windows,
)
from tests.evaluation.panels import option_panel, option_windows, random_walks, stock_windows


def make_case(seed=0, shape=(12, 3, 1)):
    rng = np.random.default_rng(seed)
    actual = rng.uniform(50, 150, shape)
    forecast, naive = (actual + rng.normal(0, 5, shape) for _ in range(2))
    return actual, forecast, naive, rng.uniform(1, 3, shape[0])


def test_measures_are_their_formulas():
    actual, forecast, naive, scale = make_case()
    error = actual - forecast
    metrics = score(actual, forecast, naive, scale)
    assert_allclose(metrics.mae, np.abs(error).mean())
    assert_allclose(metrics.rmse, np.sqrt((error**2).mean()))
    assert_allclose(metrics.mape, 100 * np.abs(error / actual).mean())
    assert_allclose(metrics.mase, np.mean([np.abs(error[i]).mean() / scale[i] for i in range(12)]))
    assert_allclose(metrics.skill, 1 - np.abs(error).mean() / np.abs(actual - naive).mean())


def test_the_last_value_has_no_skill_and_the_truth_has_all():
    actual, _, naive, scale = make_case()
    assert score(actual, naive, naive, scale).skill == 0
    perfect = score(actual, actual, naive, scale)
    assert (perfect.mae, perfect.rmse, perfect.mape, perfect.mase, perfect.skill) == (0, 0, 0, 0, 1)


@given(st.floats(1e-6, 1e6), st.sampled_from(["A", "B", "C"]), st.integers(0, 2**32 - 1))
def test_no_symbol_and_no_target_decides_by_its_size(factor, name, seed):
    actual, forecast, naive, _ = make_case(seed, (12, 3, 2))
    group = np.array(["A", "B", "C"] * 4)
    scale = np.abs(actual - naive).mean(axis=1)
    plain = score(actual, forecast, naive, scale, group=group)
    unit = np.ones((12, 1, 2))
    unit[group == name] = factor
    unit[:, :, 1] *= factor
    sized = score(actual * unit, forecast * unit, naive * unit, scale * unit[:, 0], group=group)
    assert_allclose([sized.mase, sized.skill, sized.mape], [plain.mase, plain.skill, plain.mape])
    assert_allclose(
        astuple(relative_errors(actual * unit, forecast * unit, naive * unit, group)),
        astuple(relative_errors(actual, forecast, naive, group)),
    )


def test_the_skill_is_the_mean_over_symbols_and_targets():
    actual, forecast, naive, scale = make_case(shape=(12, 3, 2))
    group = np.array(["A", "B", "B"] * 4)
    skills = [
        1 - np.abs(forecast - actual)[own, :, k].mean() / np.abs(naive - actual)[own, :, k].mean()
        for own in (group == "A", group == "B")
        for k in range(2)
    ]
    assert_allclose(score(actual, forecast, naive, scale, group=group).skill, np.mean(skills))
    assert score(actual, naive, naive, scale, group=group).skill == 0


def test_a_symbol_whose_last_value_errs_by_rounding_alone_is_left_out_of_the_skill_and_not_of_mase():
    actual, forecast, naive, scale = make_case()
    group = np.array(["A", "B", "B"] * 4)
    still = np.where((group == "A")[:, None, None], actual * (1 + 1e-16), naive)
    own = group == "B"
    found = score(actual, forecast, still, scale, group=group)
    assert_allclose(found.skill, score(actual[own], forecast[own], naive[own], scale[own]).skill)
    assert_allclose(found.mase, score(actual, forecast, naive, scale).mase)


@given(st.floats(1e-3, 1e3))
def test_percent_mase_and_skill_have_no_unit(unit):
    actual, forecast, naive, scale = make_case()
    plain = score(actual, forecast, naive, scale)
    scaled = score(actual * unit, forecast * unit, naive * unit, scale * unit)
    assert_allclose([scaled.mape, scaled.mase, scaled.skill], [plain.mape, plain.mase, plain.skill])
    assert_allclose([scaled.mae, scaled.rmse], [plain.mae * unit, plain.rmse * unit])


def test_each_symbol_is_measured_alone():
    actual, forecast, naive, scale = make_case()
    symbol = np.array(["B", "A", "A"] * 4)
    rows = score_by_symbol(symbol, actual, forecast, naive, scale)
    assert list(rows) == ["B", "A"]
    for name, metrics in rows.items():
        own = symbol == name
        assert metrics == score(actual[own], forecast[own], naive[own], scale[own])


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({}, set()),
        ({"actual": np.zeros((12, 3, 1))}, {"mape"}),
        ({"actual": np.full((12, 3, 1), 5e-324)}, {"mape"}),
        ({"percent": False}, {"mape"}),
        ({"actual": make_case()[2]}, {"skill"}),
        ({"symbol_scale": np.array([1.0] * 11 + [np.nan])}, {"mase"}),
    ],
)
def test_what_is_not_defined_is_none_and_the_rest_is_plain_json(change, missing):
    names = ("actual", "forecast", "naive", "symbol_scale")
    metrics = asdict(score(**(dict(zip(names, make_case(), strict=True)) | change)))
    assert {name for name, value in metrics.items() if value is None} == missing
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_only_a_symbol_without_a_scale_has_no_mase():
    actual, forecast, naive, scale = make_case()
    symbol = np.array(["B", "A", "A"] * 4)
    rows = score_by_symbol(symbol, actual, forecast, naive, np.where(symbol == "A", np.nan, scale))
    assert rows["A"].mase is None
    assert rows["B"].mase == score_by_symbol(symbol, actual, forecast, naive, scale)["B"].mase


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"forecast": np.ones((12, 3))}, r"one shape \(N, H, K\).* Got \(12, 3, 1\), \(12, 3\)"),
        ({"symbol_scale": np.ones(3)}, r"one shape .* \(3,\)"),
        ({name: np.ones((0, 3, 1)) for name in ("actual", "forecast", "naive")}, "N > 0"),
        ({"forecast": np.full((12, 3, 1), np.nan)}, "A forecast must be finite. Got 36 of 36"),
        ({"symbol_scale": np.zeros(12)}, "Got targets that never move"),
    ],
)
def test_what_cannot_be_measured_is_refused(change, match):
    names = ("actual", "forecast", "naive", "symbol_scale")
    with pytest.raises(DataError, match=match):
        score(**(dict(zip(names, make_case(), strict=True)) | change))


@pytest.mark.parametrize(
    ("values", "defined"),
    [
        ([100.0, 90.0, 30.0], True),
        ([100.0, 90.0, 4.0], False),  # one cent beside dollars is all of the mean
        ([100.0, 90.0, -100.0], False),
        ([-100.0, -90.0, -80.0], False),
        ([100.0, 90.0, 0.0], False),
        ([1e-9, 2e-9, 3e-9], True),  # a small unit is not near zero
    ],
)
def test_errors_in_percent_are_reported_of_what_is_above_zero_and_far_from_it(values, defined):
    actual = np.array(values).reshape(-1, 1, 1)
    metrics = score(actual, 1.01 * actual, 1.02 * actual, np.ones(3))
    assert (metrics.mape is not None) == defined
    assert metrics.skill is not None


def test_each_symbol_has_its_own_scale_of_percent():
    """A penny share beside a dear one is no value near zero; a collapse of either is."""
    actual = np.array([0.5, 0.6, 900.0, 800.0]).reshape(-1, 1, 1)
    group = np.array(["penny", "penny", "dear", "dear"])
    assert near_zero(actual, group) is None
    assert near_zero(actual) is not None
    actual[3] = 20.0
    assert near_zero(actual, group) == NearZero(1, 0, 20.0, 460.0)


def grouped_case(targets=("mid",)):
    windows = option_windows(targets=targets)
    forecast = windows.targets + np.random.default_rng(0).normal(0, 0.1, windows.targets.shape)
    scale = symbol_scale(windows, {"AAA": in_sample_naive_mae(windows)["AAA"]})
    return windows, forecast, last_value(windows), scale


def test_each_underlying_is_measured_with_all_of_its_contracts():
    windows, forecast, naive, scale = grouped_case()
    rows = score_by_group(windows, forecast, naive, scale)
    assert list(rows) == ["AAA", "BBB"]
    own = windows.group == "AAA"
    assert rows["AAA"] == score(windows.targets[own], forecast[own], naive[own], scale[own])


def test_held_out_underlyings_are_measured_apart_and_have_no_mase():
    windows, forecast, naive, scale = grouped_case(("bid", "ask"))
    both = score_held_out(windows, forecast, naive, scale, ("BBB",))
    by_group = score_by_group(windows, forecast, naive, scale)
    assert both == {"seen": by_group["AAA"], "held_out": by_group["BBB"]}
    assert both["held_out"].mase is None
    assert both["seen"].mase is not None
    json.dumps({name: asdict(metrics) for name, metrics in both.items()}, allow_nan=False)


def test_without_held_out_underlyings_all_is_seen():
    case = grouped_case()
    assert score_held_out(*case, ()) == {"seen": score_windows(*case), "held_out": None}


@pytest.mark.parametrize(
    ("targets", "defined"),
    [
        (("adj_close",), True),
        (("garman_klass",), True),
        (("mid", "iv"), True),
        (("log_return",), False),
        (("garman_klass", "log_garman_klass"), False),
    ],
)
def test_errors_in_percent_are_reported_where_zero_means_nothing_left(targets, defined):
    assert has_percent(targets) is defined


@pytest.mark.parametrize(("factor", "least"), [(1.0, 0.0), (1e3, 0.999)])
def test_the_symbol_or_target_that_makes_up_the_loss_is_named(factor, least):
    walks = random_walks(("AAA", "BBB", "CCC"))
    dear = stock_windows({"close": {**walks, "BBB": 25 * factor * walks["BBB"]}})
    name, share = largest_share(dear, dear.targets)
    assert (name == "BBB" or factor == 1, share > least, share <= 1) == (True, True, True)
    two = stock_windows({"close": walks, "volume": {key: 1e6 * factor * each for key, each in walks.items()}})
    assert largest_share(two, two.targets)[0] == "volume"
    # Over its own last value a symbol's size is gone.
    same = (dear.targets / dear.last[:, None]) - 1
    assert largest_share(dear, same)[1] < 0.6
    alone = stock_windows({"close": {"AAA": walks["AAA"]}})
    assert largest_share(alone, alone.targets) is None


@pytest.mark.parametrize("targets", [("mid",), ("bid", "ask"), ("mid", "iv")])
def test_no_underlying_decides_by_the_size_of_its_prices(targets):
    found = []
    for factor in (1.0, 2.0**20):
        panel = option_panel()
        dear = np.array(panel.groups)[panel.code] == "BBB"
        prices = panel.positions(("spot", "strike", "forward", "mid", "bid", "ask"))
        values = panel.values.copy()
        values[np.ix_(dear, prices)] *= factor
        windows = option_windows(replace(panel, values=values), targets=targets)
        noise = np.random.default_rng(0).normal(0, 0.5, windows.targets.shape)
        forecast = windows.targets + noise * (windows.targets - windows.last[:, None])
        scale = symbol_scale(windows, in_sample_naive_mae(windows))
        metrics = score_windows(windows, forecast, last_value(windows), scale)
        losses = date_losses(windows, forecast, loss_unit(windows, scale))
        found.append([metrics.mase, metrics.skill, metrics.mape, *losses])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9)
