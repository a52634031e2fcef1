"""Scalers of each kind: fitted on the training split alone, and exact on the way back."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.checks.stocks import check_panel
from qhq.data.scaling.affine import input_rows, input_values, robust_spread, standard_deviation
from qhq.data.scaling.fit import fit_scaler, scaler_from_dict
from qhq.data.scaling.option import count_logs, price_powers
from qhq.data.split import split_panel
from qhq.data.windows import Cut, cut_windows
from qhq.errors import DataError
from tests.data.panels import KINDS, make_frame, make_panel, make_spec, ragged_cases
from tests.data.scaling.contracts import contract_cut, contract_panel, train_and_test


def test_the_robust_spread_of_a_normal_column_is_its_deviation():
    values = np.random.default_rng(0).normal(5, 2, (20000, 1))
    assert_allclose(robust_spread(values), 2, rtol=0.05)


def test_few_far_values_do_not_widen_the_robust_spread():
    values = np.random.default_rng(0).normal(0, 1, (2000, 1))
    values[:5] = 50
    assert robust_spread(values)[0] < 1.2
    assert standard_deviation(values)[0] > 2


def test_a_mostly_quiet_column_has_a_floor():
    values = np.zeros((1000, 1))
    values[:50, 0] = 1.0
    assert_allclose(robust_spread(values), values.std() / 4, rtol=1e-12)


@pytest.mark.parametrize("spread", [robust_spread, standard_deviation])
@pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 1e9])
def test_a_column_that_does_not_move_is_divided_by_one(spread, value):
    values = np.full((999, 2), value)
    values[:, 1] *= 1 + 1e-15 * np.arange(999)
    assert_array_equal(spread(values), [1, 1])


def test_missing_values_are_left_out():
    values = np.random.default_rng(0).normal(0, 1, (500, 1))
    holes = np.full((100, 1), np.nan)
    assert_allclose(robust_spread(np.concatenate([values, holes])), robust_spread(values), rtol=1e-12)


def test_each_input_row_counts_once():
    train, _ = train_and_test(contract_panel(), contract_cut(where={"log_moneyness": (-0.1, 0.1)}))
    windows = train.windows
    rows = np.unique(windows.starts[:, None] + np.arange(5))
    assert_array_equal(np.flatnonzero(input_rows(windows)), rows)
    assert_array_equal(input_values(windows, ("bid",))[:, 0], train.panel.column("bid")[rows])
    assert len(rows) < len(train.panel.code)


def test_prices_counts_and_greeks_are_distinguished():
    names = ("bid", "iv", "gamma", "vega", "theta", "delta", "own")
    assert_array_equal(price_powers(names), [1, 0, -1, 1, 1, 0, 0])
    values = np.array([[-0.5, 3.0, np.e - 1]])
    assert_allclose(count_logs(values, ("log_moneyness", "iv", "volume")), [[-0.5, 3.0, 1.0]], rtol=1e-12)


STOCK_KINDS = (*KINDS, "window_mean", "raw", "panel_minmax")
each_kind = pytest.mark.parametrize("kind", STOCK_KINDS)


@settings(max_examples=60, deadline=None)
@given(ragged_cases(), st.sampled_from(STOCK_KINDS))
def test_scaling_then_inverting_is_the_identity(case, kind):
    panel, spec = case
    splits = split_panel(panel, spec)
    scaler = fit_scaler(kind, splits.train)
    for split in (splits.train, splits.validation, splits.test):
        back = scaler.to_raw_units(scaler.targets(split.windows), split.windows)
        assert_allclose(back, split.windows.targets, rtol=1e-12)


@each_kind
@pytest.mark.parametrize("target", ["close", "adj_close"])
def test_outputs_then_prices_then_outputs_is_the_identity(kind, target):
    train = split_panel(make_panel(), make_spec(horizon=3, targets=(target,))).train
    scaler = fit_scaler(kind, train)
    outputs = np.random.default_rng(1).normal(0, 0.5, train.windows.targets.shape)
    prices = scaler.to_raw_units(outputs, train.windows)
    values = train.panel.values.copy()
    column = train.panel.columns.index(target)
    windows = train.windows.select(np.array([4]))
    rows = windows.starts[0] + 5 + np.arange(3)
    values[rows, column] = prices[4, :, 0]
    moved = replace(windows, panel=replace(train.panel, values=values))
    assert_allclose(scaler.targets(moved)[0], outputs[4], rtol=1e-10)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STOCK_KINDS), st.sampled_from((0, 200)), st.integers(140, 199), st.floats(0.01, 1e6))
def test_a_price_after_the_training_part_moves_no_scaler_and_no_training_window(kind, first, day, price):
    frame, spec, row = make_frame(), make_spec(), first + day
    moved = frame.copy()
    moved.loc[row, ["close", "adj_close"]] = price
    one, two = (split_panel(check_panel(each, "", columns=spec.features), spec) for each in (frame, moved))
    assert np.datetime64(frame["date"][row], "D") > one.train.last
    assert fit_scaler(kind, one.train).to_dict() == fit_scaler(kind, two.train).to_dict()
    for name in ("inputs", "targets", "last", "dates", "symbol"):
        assert_array_equal(getattr(one.train.windows, name), getattr(two.train.windows, name))


@each_kind
def test_a_scaler_cannot_be_made_from_anything_but_a_training_part(kind):
    splits = split_panel(make_panel(), make_spec())
    for other in (splits.validation, splits.test, splits.train.windows, splits.train.panel, None):
        with pytest.raises(DataError, match="must be fitted on the training split"):
            fit_scaler(kind, other)


@each_kind
def test_a_scaler_survives_json_exactly(kind):
    splits = split_panel(make_panel(), make_spec())
    scaler = fit_scaler(kind, splits.train)
    read = scaler_from_dict(json.loads(json.dumps(scaler.to_dict(), allow_nan=False)))
    assert (read.kind, read.columns) == (kind, ("adj_close", "close"))
    assert_array_equal(read.inputs(splits.test.windows), scaler.inputs(splits.test.windows))
    assert_array_equal(read.targets(splits.test.windows), scaler.targets(splits.test.windows))


@pytest.mark.parametrize(
    "content", [{}, {"kind": "none"}, {"kind": "window"}, {"kind": "minmax", "columns": 3}]
)
def test_a_stored_scaler_that_is_none_is_refused(content):
    with pytest.raises(DataError, match="content that to_dict wrote"):
        scaler_from_dict(content)


def test_window_scaling_starts_from_the_last_value():
    windows = split_panel(make_panel(), make_spec()).train
    scaler = fit_scaler("window", windows)
    assert_allclose(scaler.inputs(windows.windows)[:, -1], 0, atol=0)
    zero = np.zeros_like(windows.windows.targets)
    assert_allclose(scaler.to_raw_units(zero, windows.windows)[:, 0], windows.windows.last, rtol=0)


@pytest.mark.parametrize("kind", ["window", "log_return"])
def test_the_unit_of_the_prices_does_not_matter(kind):
    spec, frame = make_spec(), make_frame()
    prices = ["close", "adj_close"]
    scaled = frame.assign(**{name: frame[name] * 1000 for name in prices})
    splits = [split_panel(check_panel(each, "", columns=prices), spec).test for each in (frame, scaled)]
    trains = [split_panel(check_panel(each, "", columns=prices), spec).train for each in (frame, scaled)]
    outputs = [
        fit_scaler(kind, train).inputs(split.windows) for train, split in zip(trains, splits, strict=True)
    ]
    assert_allclose(*outputs, rtol=1e-7, atol=1e-9)


def test_minmax_and_standard_are_of_each_symbols_training_rows():
    train = split_panel(make_panel(), make_spec()).train
    flat = {kind: fit_scaler(kind, train) for kind in ("minmax", "standard")}
    whole = cut_windows(
        train.panel, Cut(window=139, horizon=1, features=train.panel.columns, targets=("close",))
    )
    for symbol in range(2):
        rows = train.panel.values[train.panel.code == symbol]
        own = whole.select(np.array([symbol]))
        low, high = rows.min(axis=0), rows.max(axis=0)
        assert_allclose(flat["minmax"].inputs(own)[0], (rows[:139] - low) / (high - low), rtol=1e-12)
        expected = (rows[:139] - rows.mean(axis=0)) / rows.std(axis=0)
        assert_allclose(flat["standard"].inputs(own)[0], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [kind for kind in STOCK_KINDS if kind != "raw"])
def test_quiet_prices_do_not_blow_up(kind):
    frame = make_frame()
    frame.loc[frame["symbol"] == "AAA", ["close", "adj_close"]] = 0.1
    frame.loc[50:60, "close"] = 0.11
    splits = split_panel(check_panel(frame, "", columns=("adj_close", "close")), make_spec())
    scaler = fit_scaler(kind, splits.train)
    for split in (splits.train, splits.test):
        assert np.abs(scaler.inputs(split.windows)).max() < 100
        assert np.abs(scaler.targets(split.windows)).max() < 100


@pytest.mark.parametrize("kind", ["window", "log_return"])
def test_values_without_a_logarithm_are_refused(kind):
    frame = make_frame()
    frame.loc[7, "volume"] = 0
    panel = check_panel(frame, "", columns=("adj_close", "volume"))
    spec = make_spec(features=("adj_close", "volume"))
    with pytest.raises(DataError, match=r"needs values above zero. Got 0 in 'volume' of AAA on 2015-01-12"):
        fit_scaler(kind, split_panel(panel, spec).train)


@pytest.mark.parametrize("kind", ["minmax", "standard", "log_return"])
def test_a_symbol_never_seen_is_refused(kind):
    scaler = fit_scaler(kind, split_panel(make_panel(), make_spec()).train)
    other = split_panel(make_panel(symbols=("AAC",)), make_spec(symbols=("AAC",))).test
    with pytest.raises(DataError, match=r"must have seen every symbol in training. Got 'AAC'"):
        scaler.inputs(other.windows)


def test_window_scaling_carries_over_to_a_symbol_never_seen():
    scaler = fit_scaler("window", split_panel(make_panel(), make_spec()).train)
    other = split_panel(make_panel(symbols=("AAC",)), make_spec(symbols=("AAC",))).test
    assert np.isfinite(scaler.inputs(other.windows)).all()


@each_kind
def test_windows_of_other_features_are_refused(kind):
    scaler = fit_scaler(kind, split_panel(make_panel(), make_spec()).train)
    other = split_panel(make_panel(), make_spec(features=("adj_close",))).test
    with pytest.raises(DataError, match=r"fitted on the features adj_close, close. Got windows of adj_close"):
        scaler.inputs(other.windows)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KINDS), st.integers(141, 199), st.floats(0.5, 0.999))
def test_a_later_dividend_moves_nothing_before_it(kind, day, factor):
    """It lowers every adjusted close before its day, which a scaling must not show."""
    frame, spec = make_frame(), make_spec()
    moved = frame.copy()
    before = (frame["symbol"] == "AAA") & (frame["date"] < frame["date"][day])
    moved.loc[before, "adj_close"] *= factor
    one, two = (split_panel(check_panel(each, "", columns=spec.features), spec) for each in (frame, moved))
    scalers = [fit_scaler(kind, splits.train) for splits in (one, two)]
    for split in ("train", "validation", "test"):
        windows = [getattr(splits, split).windows for splits in (one, two)]
        earlier = windows[0].dates[:, -1] < np.datetime64(frame["date"][day], "D")
        for scaled in ("inputs", "targets"):
            both = [getattr(scaler, scaled)(own) for scaler, own in zip(scalers, windows, strict=True)]
            assert_allclose(both[0][earlier], both[1][earlier], rtol=1e-7, atol=1e-9)


def test_window_mean_is_about_the_mean_of_the_targets_own_column():
    frame = make_frame()
    frame["signal"] = np.random.default_rng(3).normal(-3, 0.5, len(frame))
    spec = make_spec(features=("close", "signal"), targets=("signal",), window=8)
    splits = split_panel(check_panel(frame, "", columns=spec.features), spec)
    scaler, windows = fit_scaler("window_mean", splits.train), splits.train.windows
    inputs = scaler.inputs(windows)
    assert_allclose(inputs.mean(axis=1), 0, atol=1e-9)
    assert_allclose(np.sqrt((inputs**2).mean(axis=(0, 1))), 1, rtol=1e-9)
    zero = np.zeros(windows.targets.shape)
    assert_allclose(
        scaler.to_raw_units(zero, windows)[:, 0, 0], windows.inputs[:, :, 1].mean(axis=1), rtol=1e-12
    )


def test_panel_minmax_is_of_all_symbols_together():
    train = split_panel(make_panel(), make_spec()).train
    scaler, values = fit_scaler("panel_minmax", train), train.panel.values
    low, high = values.min(axis=0), values.max(axis=0)
    expected = (train.windows.inputs - low) / (high - low)
    assert_allclose(scaler.inputs(train.windows), expected, rtol=1e-12, atol=1e-12)


@each_kind
def test_which_outputs_are_levels(kind):
    scaler = fit_scaler(kind, split_panel(make_panel(), make_spec()).train)
    assert scaler.level == (kind in ("raw", "minmax", "standard", "panel_minmax"))


@pytest.mark.parametrize("kind", KINDS)
def test_gaps_that_are_masked_are_no_trouble(kind):
    panel = make_panel()
    values = panel.values.copy()
    values[np.random.default_rng(1).random(len(values)) < 0.1] = np.nan
    splits = split_panel(replace(panel, values=values), make_spec(gaps="mask"))
    scaler = fit_scaler(kind, splits.train)
    for split in (splits.train, splits.test):
        assert np.isfinite(scaler.inputs(split.windows)).all()
        assert np.isfinite(scaler.targets(split.windows)).all()


@pytest.mark.parametrize("kind", ["minmax", "standard", "log_return"])
def test_a_symbol_without_rows_in_training_is_refused(kind):
    train = split_panel(make_panel(), make_spec()).train
    values = np.where(train.panel.code[:, None] == 1, np.nan, train.panel.values)
    panel = replace(train.panel, values=values)
    split = replace(train, panel=panel, windows=cut_windows(panel, train.windows.cut))
    with pytest.raises(DataError, match="two rows of every symbol.*Got 0 of BBB"):
        fit_scaler(kind, split)
