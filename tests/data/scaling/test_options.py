import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.scaling.fit import check_scalable, fit_scaler, fit_static, scaler_from_dict
from qhq.data.scaling.option import black_scholes_reference
from qhq.data.split import split_panel
from qhq.errors import DataError
from qhq.pricing import black_scholes
from tests.data.panels import make_panel, make_spec
from tests.data.scaling.contracts import (
    CONTRACT_KINDS,
    OPTION_KINDS,
    PRICED,
    QUOTED,
    contract_cut,
    contract_panel,
    train_and_test,
    with_values,
)

each_kind = pytest.mark.parametrize("kind", CONTRACT_KINDS)
each_task = pytest.mark.parametrize("cut", [contract_cut(), contract_cut(task="forecast", horizon=3)])


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(CONTRACT_KINDS),
    task=st.sampled_from((("price", 1), ("forecast", 1), ("forecast", 3))),
    targets=st.sampled_from((("bid", "ask"), ("mid",), ("iv", "mid"), ("last", "iv", "ask"))),
    seed=st.integers(0, 2**32 - 1),
)
def test_scaling_then_inverting_is_the_identity(kind, task, targets, seed):
    features = ("mid", "last", "iv", "bid", "ask", "volume")
    cut = contract_cut(features=features, targets=targets, task=task[0], horizon=task[1])
    train, test = train_and_test(contract_panel(seed), cut)
    scaler = fit_scaler(kind, train)
    for windows in (train.windows, test.windows):
        scaled = scaler.targets(windows)
        back = scaler.to_raw_units(scaled, windows)
        known = np.isfinite(scaled)
        # Against the last spot, what was in the money may lie below what exercise was worth.
        assert known.mean() > 0.5 if kind == "implied_volatility" else known.all()
        assert_allclose(back[known], windows.targets[known], rtol=1e-7, atol=1e-7)


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from(CONTRACT_KINDS),
    task=st.sampled_from((("price", 1), ("forecast", 2))),
    row=st.integers(0, 200),
    factor=st.floats(0.01, 100),
)
def test_the_future_moves_nothing_before_it(kind, task, row, factor):
    cut = contract_cut(task=task[0], horizon=task[1], static=("log_moneyness", "years"))
    panel = contract_panel()
    train, test = train_and_test(panel, cut)
    row %= len(test.windows)
    last = test.windows.input_dates[row, -1]
    target = test.windows.dates[row, 0]

    def change(name, values):
        seen = target if cut.task == "price" and name not in QUOTED else last
        return np.where(panel.dates > seen, values * factor + 0.1, values)

    moved = train_and_test(with_values(panel, change), cut)[1]
    scaler, static = fit_scaler(kind, train), fit_static(kind, train)
    (one,), (two,) = (
        np.flatnonzero((split.windows.input_dates[:, -1] == last) & (split.windows.code == code))
        for split, code in ((each, test.windows.code[row]) for each in (test, moved))
    )
    before, after = test.windows.select(np.array([one])), moved.windows.select(np.array([two]))
    assert_array_equal(scaler.inputs(before), scaler.inputs(after))
    assert_array_equal(static.scale(before), static.scale(after))
    assert_array_equal(black_scholes_reference(before), black_scholes_reference(after))
    zero = np.zeros(before.targets.shape)
    assert_array_equal(scaler.to_raw_units(zero, before), scaler.to_raw_units(zero, after))


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(("contract_minmax", *OPTION_KINDS)),
    task=st.sampled_from(("price", "forecast")),
    factors=st.tuples(st.floats(0.01, 1000), st.floats(0.01, 1000)),
)
def test_a_split_of_shares_or_another_currency_moves_nothing(kind, task, factors):
    cut, panel = contract_cut(task=task, targets=("bid", "ask", "iv")), contract_panel()
    of_row = np.where(np.char.startswith(np.asarray(panel.symbols)[panel.code], "AAA"), *factors)
    moved = with_values(panel, lambda name, values: values * of_row if name in PRICED else values)
    both = [train_and_test(each, cut) for each in (panel, moved)]
    scalers = [fit_scaler(kind, train) for train, _ in both]
    for split in (0, 1):
        windows = [splits[split].windows for splits in both]
        for scaled in ("inputs", "targets"):
            values = [getattr(each, scaled)(own) for each, own in zip(scalers, windows, strict=True)]
            assert_allclose(*values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["contract_minmax", *OPTION_KINDS])
@pytest.mark.parametrize("task", ["price", "forecast"])
@pytest.mark.parametrize("quiet", [1, 10])
def test_quiet_contracts_do_not_blow_up(kind, task, quiet):
    panel = contract_panel()

    def change(name, values):
        if name in ("bid", "ask", "mid", "last", "volume"):
            values[panel.code < quiet] = {"bid": 0.1, "ask": 0.12, "mid": 0.11}.get(name, 0.0)
        return values

    for split in (splits := train_and_test(with_values(panel, change), contract_cut(task=task))):
        scaler = fit_scaler(kind, splits[0])
        assert np.abs(scaler.inputs(split.windows)).max() < 100
        targets = scaler.targets(split.windows)
        assert np.abs(targets[np.isfinite(targets)]).max() < 100
        assert kind == "implied_volatility" or np.isfinite(targets).all()


@each_kind
@each_task
def test_a_scaler_survives_json_exactly(kind, cut):
    train, test = train_and_test(contract_panel(), cut)
    scaler = fit_scaler(kind, train)
    read = scaler_from_dict(json.loads(json.dumps(scaler.to_dict(), allow_nan=False)))
    assert (read.kind, read.columns, read.level) == (kind, cut.features, scaler.level)
    assert_array_equal(read.inputs(test.windows), scaler.inputs(test.windows))
    assert_array_equal(read.targets(test.windows), scaler.targets(test.windows))


@each_kind
def test_contracts_and_tickers_never_seen_can_be_scaled(kind):
    train, _ = train_and_test(contract_panel(spots=(("AAA", 100.0),)), contract_cut())
    _, test = train_and_test(contract_panel(spots=(("NEW", 7.0),)), contract_cut())
    scaler = fit_scaler(kind, train)
    assert np.isfinite(scaler.inputs(test.windows)).all()
    assert np.isfinite(scaler.targets(test.windows)).mean() > (0.9 if kind == "implied_volatility" else 0.999)


@each_kind
def test_gaps_that_are_masked_are_no_trouble(kind):
    panel = contract_panel()
    holes = np.random.default_rng(1).random(len(panel.code)) < 0.1
    broken = with_values(panel, lambda _, values: np.where(holes, np.nan, values))
    train, test = train_and_test(broken, contract_cut(masked=True))
    scaler = fit_scaler(kind, train)
    for windows in (train.windows, test.windows):
        assert np.isfinite(scaler.inputs(windows)).all()
        assert np.isfinite(scaler.targets(windows)).mean() > 0.9


@pytest.mark.parametrize("kind", OPTION_KINDS)
def test_windows_of_other_targets_are_refused(kind):
    scaler = fit_scaler(kind, train_and_test(contract_panel(), contract_cut())[0])
    other = train_and_test(contract_panel(), contract_cut(targets=("ask",)))[1].windows
    with pytest.raises(DataError, match="fitted on the targets bid, ask. Got windows of ask"):
        scaler.targets(other)


def test_over_strike_is_the_change_over_the_strike():
    cut = contract_cut(task="forecast", targets=("bid",))
    train = train_and_test(contract_panel(), cut)[0]
    scaler, windows = fit_scaler("over_strike", train), train.windows
    changes = (windows.targets - windows.last[:, None]) / windows.at_last("strike")[:, None, None]
    assert_allclose(scaler.targets(windows) * scaler.spread, changes, rtol=1e-10, atol=1e-15)
    assert 0.5 < scaler.spread[0] / changes.std() <= 1.5


@pytest.mark.parametrize("kind", OPTION_KINDS)
def test_an_output_of_zero_is_the_baseline(kind):
    cut = contract_cut(targets=("mid", "iv"), features=("mid", "iv"))
    windows = (splits := train_and_test(contract_panel(), cut))[1].windows
    flat = fit_scaler(kind, splits[0]).to_raw_units(np.zeros(windows.targets.shape), windows)
    by_model = kind in ("residual", "implied_volatility")
    assert_array_equal(flat, black_scholes_reference(windows) if by_model else windows.last[:, None])


def test_what_black_scholes_explains_is_no_residual():
    panel = contract_panel()
    calm = {"iv": np.full(len(panel.code), 0.2)}
    market = [panel.column(name) for name in ("forward", "strike", "years")]
    discount = np.exp(-panel.column("rate") * panel.column("years"))
    calm["mid"] = black_scholes.price(*market, calm["iv"], discount, panel.column("right"))
    cut = contract_cut(targets=("mid",), features=("mid", "spot"))
    splits = train_and_test(with_values(panel, calm.get), cut)
    assert_allclose(fit_scaler("residual", splits[0]).targets(splits[1].windows), 0, atol=1e-9)


def test_a_quote_without_an_implied_volatility_has_no_scaled_target():
    panel = contract_panel()
    row = 7 + np.flatnonzero(panel.code == 2)[0]  # a call out of the money

    def change(name, values):
        if name == "bid":
            values[row] = 0.0
        return values

    train, _ = train_and_test(with_values(panel, change), contract_cut())
    scaled = fit_scaler("implied_volatility", train).targets(train.windows)
    own = train.windows.code == 2
    assert_array_equal(np.isnan(scaled[own, 0, 0]), train.windows.dates[own, 0] == panel.dates[row])
    assert np.isfinite(scaled[own, 0, 1]).all()


@pytest.mark.parametrize(("output", "volatility"), [(-1e9, 1e-4), (1e9, 5.0)])
def test_wild_outputs_are_kept_within_volatilities_that_exist(output, volatility):
    cut = contract_cut(targets=("iv", "mid"), features=("iv", "mid"))
    train, _ = train_and_test(contract_panel(), cut)
    scaler = fit_scaler("implied_volatility", train)
    prices = scaler.to_raw_units(np.full(train.windows.targets.shape, output), train.windows)
    assert_allclose(prices[:, :, 0], volatility, rtol=0)
    assert np.isfinite(prices).all()


def test_a_training_part_without_implied_volatilities_is_refused():
    broken = with_values(
        contract_panel(), lambda name, values: np.zeros_like(values) if name == "bid" else values
    )
    train, _ = train_and_test(broken, contract_cut())
    with pytest.raises(DataError, match=r"have an implied volatility. Got none of 'bid' in \d+ windows"):
        fit_scaler("implied_volatility", train)


def test_each_contract_by_its_own_range_until_the_last_input_row():
    cut = contract_cut(task="forecast")
    train, _ = train_and_test(contract_panel(), cut)
    windows, scaler = train.windows, fit_scaler("contract_minmax", train)
    scaled = scaler.inputs(windows)
    assert scaled.min() == 0
    assert scaled.max() == 1
    row = 30
    own = (windows.panel.code == windows.code[row]) & (windows.panel.dates <= windows.input_dates[row, -1])
    bids = windows.panel.column("bid")[own]
    assert_allclose(scaled[row, :, 1], (bids[-5:] - bids.min()) / np.ptp(bids), rtol=1e-9)


def test_panel_minmax_is_of_all_contracts_together():
    train, _ = train_and_test(contract_panel(), contract_cut())
    scaled = fit_scaler("panel_minmax", train).inputs(train.windows)
    assert_allclose(scaled.min(axis=(0, 1)), 0, atol=1e-12)
    assert_allclose(scaled.max(axis=(0, 1)), 1, rtol=1e-12)


def test_raw_leaves_values_as_they_are():
    train, test = train_and_test(contract_panel(), contract_cut())
    scaler = fit_scaler("raw", train)
    assert_array_equal(scaler.inputs(test.windows), test.windows.inputs)
    assert_array_equal(scaler.targets(test.windows), test.windows.targets)


@pytest.mark.parametrize("kind", ["minmax", "standard", "log_return"])
def test_statistics_of_each_contract_are_refused(kind):
    train, _ = train_and_test(contract_panel(), contract_cut())
    with pytest.raises(DataError, match="there in every split. Got option contracts.*over_strike"):
        fit_scaler(kind, train)


@pytest.mark.parametrize("kind", ["contract_minmax", *OPTION_KINDS])
def test_option_scalings_of_stocks_are_refused(kind):
    train = split_panel(make_panel(), make_spec()).train
    with pytest.raises(DataError, match=f"Scaling '{kind}' needs options. Got no strike"):
        check_scalable(kind, train)


def test_only_quotes_have_an_implied_volatility():
    train, _ = train_and_test(contract_panel(), contract_cut(targets=("volume",)))
    with pytest.raises(DataError, match="needs targets among mid, bid, ask, last, iv. Got 'volume'"):
        check_scalable("implied_volatility", train)
