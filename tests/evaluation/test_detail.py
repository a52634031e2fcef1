import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from qhq.errors import DataError
from qhq.evaluation.baselines.persistence import last_value
from qhq.evaluation.detail import (
    directional_accuracy,
    error_histograms,
    mean_qlike,
    score_detail,
    score_table,
    smape,
)
from qhq.evaluation.metrics import score_by_group, score_windows
from tests.evaluation.panels import option_windows, random_walks, stock_windows

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20)
positive = st.floats(1e-3, 1e3)


def make_case(name="close", horizon=3, **kwargs):
    windows = stock_windows({name: random_walks(**kwargs)}, horizon=horizon)
    noise = np.random.default_rng(1).normal(0, 0.02, windows.targets.shape)
    return windows, windows.targets * (1 + noise), last_value(windows), np.ones(len(windows))


@given(numbers)
def test_smape_is_between_0_and_200_and_knows_no_side(values):
    forecast = np.array(values)
    actual = np.roll(forecast, 1) + 1
    found = smape(actual, forecast)
    assert 0 <= found <= 200 * (1 + 1e-12)
    assert_allclose(smape(forecast, actual), found)
    assert smape(actual, actual) == 0


def test_smape_is_its_formula():
    actual, forecast = np.array([100.0, 50, 0]), np.array([110.0, 25, 3])
    assert_allclose(smape(actual, forecast), 200 * np.mean([10 / 210, 25 / 75, 1]))


@given(positive, positive, positive)
def test_qlike_is_its_formula_has_no_unit_and_is_least_at_the_truth(actual, forecast, unit):
    one, other = np.array([actual]), np.array([forecast])
    ratio = (actual / forecast) ** 2
    assert_allclose(mean_qlike(one, other), ratio - np.log(ratio) - 1, rtol=1e-9, atol=1e-12)
    assert_allclose(mean_qlike(unit * one, unit * other), mean_qlike(one, other), rtol=1e-6, atol=1e-12)
    assert mean_qlike(one, other) >= mean_qlike(one, one) == 0


def test_an_underestimate_costs_more_and_what_is_not_above_zero_has_no_qlike():
    one = np.ones(3)
    assert mean_qlike(one, 0.5 * one) > mean_qlike(one, 2 * one)
    assert mean_qlike(one, np.array([1.0, 0, 1])) is None
    assert mean_qlike(np.array([1.0, 0, 1]), one) is None
    assert mean_qlike(1e200 * one, 1e-200 * one) is None


def test_the_logarithm_of_a_volatility_is_judged_as_a_volatility():
    rng = np.random.default_rng(0)
    values = {"A": rng.uniform(0.01, 0.03, 60)}
    plain = stock_windows({"parkinson": values, "close": values})
    logs = stock_windows({"log_parkinson": {"A": np.log(values["A"])}})
    forecast = plain.targets * rng.uniform(0.8, 1.2, plain.targets.shape)
    found = score_detail(logs, np.log(forecast[:, :, :1]), last_value(logs))
    assert_allclose(found.qlike, mean_qlike(plain.targets[:, :, 0], forecast[:, :, 0]))
    # Of several targets only the volatilities are judged.
    assert_allclose(score_detail(plain, forecast, last_value(plain)).qlike, found.qlike)
    assert found.smape is None


def test_prices_have_no_qlike_and_their_direction_starts_at_the_last_value():
    windows, forecast, naive, _ = make_case()
    found = score_detail(windows, forecast, naive)
    assert found.qlike is None
    dates, horizon = windows.dates[:, 0], windows.cut.horizon
    assert found.direction == directional_accuracy(windows.targets, forecast, naive, dates, horizon=horizon)
    assert_allclose(found.smape, smape(windows.targets, forecast))


def test_the_table_has_all_by_horizon_by_symbol_and_both():
    windows, forecast, naive, scale = make_case()
    rows = {(row.group, row.horizon): row for row in score_table(windows, forecast, naive, scale)}
    assert list(rows) == [(group, step) for group in (None, "AAA", "BBB") for step in (None, 1, 2, 3)]
    assert rows[None, None].metrics == score_windows(windows, forecast, naive, scale)
    for name, metrics in score_by_group(windows, forecast, naive, scale).items():
        assert rows[name, None].metrics == metrics
        assert rows[name, None].windows == np.count_nonzero(windows.group == name)
    error = np.abs(forecast - windows.targets)
    for step in (1, 2, 3):
        assert_allclose(rows[None, step].metrics.mae, error[:, step - 1].mean())
        own = windows.group == "BBB"
        assert_allclose(rows["BBB", step].metrics.mae, error[own, step - 1].mean())
        counts = [rows[name, step].detail.direction.right.count for name in (None, "AAA", "BBB")]
        assert counts[0] == counts[1] + counts[2]
    json.dumps([asdict(row) for row in rows.values()], allow_nan=False)


def test_nothing_stands_in_the_table_twice():
    case = make_case(horizon=1, symbols=("AAA",))
    (row,) = score_table(*case)
    assert (row.group, row.horizon) == (None, None)


def test_contracts_are_gathered_by_their_underlying():
    windows = option_windows()
    rows = score_table(windows, windows.targets + 0.1, last_value(windows), np.ones(len(windows)))
    assert [row.group for row in rows] == [None, "AAA", "BBB"]


@pytest.mark.parametrize("bins", [40, 41])
def test_every_error_is_counted_once_and_in_the_same_bins(bins):
    windows, forecast, naive, _ = make_case()
    forecasts = {"model": forecast, "naive": naive, "wild": forecast * 3}
    found = error_histograms(windows.targets, forecasts, bins=bins)
    assert_allclose(found.edges, -found.edges[::-1])
    assert len(found.edges) == bins + 1
    for name, counts in found.counts.items():
        assert counts.sum() + sum(found.outside[name]) == windows.targets.size
    assert found.outside["wild"][1] > 0.9 * windows.targets.size
    assert json.loads(json.dumps(found.to_dict()))["counts"]["model"] == found.counts["model"].tolist()


def test_errors_are_counted_over_their_unit():
    actual = np.zeros((40, 1, 1))
    error = np.random.default_rng(0).normal(0, 1, (40, 1, 1))
    unit = np.repeat([1.0, 100.0], 20)
    one = error_histograms(actual, {"a": error})
    other = error_histograms(actual, {"a": error * unit[:, None, None]}, unit)
    assert_allclose(other.edges, one.edges)
    assert_allclose(other.counts["a"], one.counts["a"])
    with pytest.raises(DataError, match="unit above zero. Got 20 windows without one"):
        error_histograms(actual, {"a": error}, np.where(unit > 1, np.nan, unit))


def test_a_perfect_forecast_has_a_histogram_too():
    found = error_histograms(np.ones((9, 1, 1)), {"a": np.ones((9, 1, 1))})
    assert (found.counts["a"].sum(), found.counts["a"][20]) == (9, 9)


DAYS = np.arange(200).astype("datetime64[D]")


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
