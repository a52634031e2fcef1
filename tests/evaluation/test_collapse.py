import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from qhq.evaluation.baselines.persistence import last_value
from qhq.evaluation.collapse import _LEAST_RATIO, find_collapse
from tests.evaluation.panels import option_windows, random_walks, stock_windows

seeds = st.integers(0, 2**32 - 1)


def make_windows(seed=0, horizon=1, **kwargs):
    return stock_windows({"close": random_walks(seed=seed, **kwargs)}, horizon=horizon)


@given(seeds, st.floats(-1e6, 1e6), st.integers(1, 3))
def test_a_constant_is_always_found(seed, value, horizon):
    windows = make_windows(seed, horizon)
    found = find_collapse(windows, np.full(windows.targets.shape, value))
    assert (found.target, found.measure) == ("close", "windows")
    assert_allclose(found.ratio, 0, atol=1e-9)


@given(seeds, st.integers(1, 3), st.sampled_from(["close", "log_return", "log_parkinson"]))
def test_the_last_value_is_never_found(seed, horizon, column):
    rng = np.random.default_rng(seed)
    series = {"A": rng.standard_t(2, 60), "B": np.repeat(rng.normal(0, 1, 3), 20)}
    windows = stock_windows({column: series}, horizon=horizon)
    forecast = last_value(windows)
    assert find_collapse(windows, forecast, forecast, windows.targets, level=True) is None


@given(seeds)
def test_a_model_that_tracks_the_last_value_is_not_found(seed):
    windows = make_windows(seed)
    forecast = last_value(windows) * (1 + np.random.default_rng(seed).normal(0, 1e-3, windows.targets.shape))
    # Scaled by the window, its outputs hardly move: that is what tracking the last value looks like.
    scaled = (forecast - last_value(windows)) / windows.last[:, None]
    assert find_collapse(windows, forecast, scaled, windows.targets / windows.last[:, None] - 1) is None


@given(st.floats(1e-6, 1e6), st.sampled_from(["good", "still for most", "good for most", "constant"]))
def test_no_symbol_decides_by_the_size_of_its_prices(factor, kind):
    names = ("AAA", "BBB", "CCC", "DDD", "EEE")
    found = []
    for size in (1.0, factor):
        walks = random_walks(names)
        windows = stock_windows({"close": {**walks, "EEE": size * walks["EEE"]}})
        code, targets = windows.code[:, None, None], windows.targets
        unit = np.where(code == 4, size, 1.0)
        means = np.array([targets[windows.code == place].mean() for place in range(5)])[windows.code]
        still = np.broadcast_to(means[:, None, None], targets.shape)
        forecast = {
            "good": 0.5 * (targets + still),
            "still for most": np.where(code == 4, targets, still),
            "good for most": np.where(code == 4, still, targets + 1e-3 * targets),
            "constant": 70.0 * unit * np.ones_like(targets),
        }[kind]
        found.append(find_collapse(windows, forecast) is not None)
    assert found == [kind in ("still for most", "constant")] * 2


@given(seeds)
def test_one_value_for_each_series_is_found(seed):
    windows = make_windows(seed)
    value = np.array([windows.targets[windows.code == code].mean() for code in range(2)])
    found = find_collapse(windows, value[windows.code][:, None, None])
    assert found.measure == "series"
    assert (found.count, found.ratio < 1e-9) == (2, True)
    assert "within a series (median of 2)" in found.message


def test_one_scaled_value_for_all_is_found_where_the_scaling_is_of_levels():
    windows = make_windows()
    # Short of 20 windows in each series nothing can be said of a series, and over all the levels differ.
    keep = np.concatenate([np.flatnonzero(windows.code == code)[:15] for code in range(2)])
    windows = windows.select(keep)
    offset, unit = np.array([40.0, 200.0])[windows.code], np.array([20.0, 100.0])[windows.code]
    scaled = np.full(windows.targets.shape, 0.4)
    forecast = scaled * unit[:, None, None] + offset[:, None, None]
    targets = (windows.targets - offset[:, None, None]) / unit[:, None, None]
    found = find_collapse(windows, forecast, scaled, targets, level=True)
    assert found.measure == "scaled"
    assert "before scaling back" in found.message
    assert find_collapse(windows, forecast, scaled, targets, level=False) is None


def test_the_target_that_collapsed_is_named():
    windows = option_windows(targets=("bid", "ask"))
    forecast = windows.targets.copy()
    forecast[:, :, 1] = 3.0
    found = find_collapse(windows, forecast)
    assert found.target == "ask"
    assert found.message.startswith("Constant forecast of ask: the forecasts' standard deviation is 0 % of")
    assert "data.scaling" in found.message


def test_a_value_for_each_horizon_is_a_constant_too():
    windows = make_windows(horizon=3)
    forecast = np.broadcast_to(np.array([1.0, 60.0, 900.0])[None, :, None], windows.targets.shape)
    assert find_collapse(windows, forecast).measure == "windows"


@pytest.mark.parametrize(("ratio", "is_found"), [(0.01, True), (0.049, True), (0.051, False), (0.5, False)])
def test_the_border_is_at_five_percent(ratio, is_found):
    windows = make_windows(symbols=("AAA",))
    mean = windows.targets.mean()
    found = find_collapse(windows, mean + ratio * (windows.targets - mean))
    assert (found is not None) is is_found
    if found is not None:
        assert_allclose(found.ratio, ratio)
    assert _LEAST_RATIO == 0.05


def test_of_returns_a_constant_is_named_and_zero_is_the_last_value():
    returns = np.random.default_rng(0).normal(0, 0.01, 100)
    windows = stock_windows({"log_return": {"A": returns}})
    found = find_collapse(windows, np.full(windows.targets.shape, 0.004))
    assert "judge by the skill" in found.message
    assert find_collapse(windows, np.zeros(windows.targets.shape)) is None


def test_few_windows_and_targets_that_do_not_move_tell_nothing():
    windows = make_windows().select(slice(19))
    assert find_collapse(windows, np.ones(windows.targets.shape)) is None
    still = stock_windows({"close": {"A": np.full(60, 0.1)}})
    assert find_collapse(still, np.ones(still.targets.shape)) is None


def test_what_is_found_is_plain_json():
    windows = make_windows()
    found = find_collapse(windows, np.ones(windows.targets.shape)).to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found) == {"target", "measure", "ratio", "count", "message"}
