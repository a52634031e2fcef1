"""The ten leaks, each planted and seen refused or impossible."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.checks import find_breaches
from qhq.data.checks.options import check_options
from qhq.data.checks.stocks import check_panel
from qhq.data.formulas import complete_market, compute_columns
from qhq.data.load import load_panel
from qhq.data.scaling.fit import fit_scaler
from qhq.data.spec import DataSpec
from qhq.data.split import split_panel
from qhq.data.windows import Cut, arrange_rows, cut_windows
from qhq.errors import DataError
from qhq.training.loop import Samples, Trainer

from .panels import make_frame, make_spec, option_frame

SEEDS = st.integers(0, 10_000)
QUOTES = ("bid", "ask", "mid", "last", "iv", "volume", "open_interest")
PRICE = {
    "source": "synthetic",
    "symbols": None,
    "task": "price",
    "features": ("mid", "spot", "iv"),
    "static": ("moneyness", "years", "right", "delta"),
    "targets": ("mid",),
    "window": 4,
    "scaling": "residual",
}


def stocks(frame, spec):
    panel = check_panel(frame, "test", symbols=spec.symbols, columns=spec.columns)
    return split_panel(arrange_rows(panel, spec), spec)


def options(frame, spec):
    panel = check_options(frame, "test", columns=spec.columns)
    panel = compute_columns(complete_market(panel, 0.0), "options", spec.columns)
    return arrange_rows(panel, spec)


def later_changed(frame, day, columns, seed):
    """The same table with other values from a day on."""
    factor = np.random.default_rng(seed).uniform(0.9, 1.1)
    late = frame["date"].astype(str) >= str(day)
    changed = frame.copy()
    for name in set(columns) & set(frame):
        changed[name] = changed[name].astype(float)
        changed.loc[late, name] *= factor
    return changed


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.sampled_from(["window", "window_mean", "minmax", "standard", "log_return"]))
def test_1_no_scaler_sees_anything_after_the_training_split(seed, kind):
    spec = make_spec(features=("close",), targets=("close",), scaling=kind)
    frame = make_frame(seed=seed % 9)
    splits = stocks(frame, spec)
    changed = later_changed(frame, splits.validation.first, ["close"], seed)
    assert fit_scaler(kind, stocks(changed, spec).train).to_dict() == fit_scaler(kind, splits.train).to_dict()
    for split in (splits.validation, splits.test):
        with pytest.raises(DataError, match="must be fitted on the training split"):
            fit_scaler(kind, split)


def test_2_early_stopping_is_given_no_test_split():
    # That no weight moves with it: tests/experiment/test_run.py and, for options, tests/cli/test_options.py.
    accepted = set(Trainer.__init__.__annotations__)
    assert accepted == {"model", "train", "validation", "spec", "seed", "return"}
    assert set(Samples.__annotations__) == {"inputs", "targets", "static"}


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(2, 8), st.integers(1, 4), st.integers(0, 3), st.sampled_from(["close", "mask"]))
def test_3_no_window_straddles_a_split_date(seed, window, horizon, embargo, gaps):
    frame = make_frame(rows=300, seed=seed % 9)
    frame = frame[np.random.default_rng(seed).random(len(frame)) > 0.1]
    spec = make_spec(window=window, horizon=horizon, gaps=gaps, split={"embargo": embargo})
    splits = stocks(frame, spec)
    sessions = np.unique(frame["date"]).astype("datetime64[D]")
    for before, after in ((splits.train, splits.validation), (splits.validation, splits.test)):
        last = np.searchsorted(sessions, before.windows.dates.max())
        assert np.searchsorted(sessions, after.windows.input_dates.min()) > last
        first = np.searchsorted(sessions, after.windows.dates.min())
        assert first - last >= window + horizon + embargo


def test_4_one_date_is_on_one_side_and_so_is_a_contracts_every_row():
    spec = DataSpec(**PRICE)
    splits = split_panel(options(option_frame(sessions=120), spec), spec)
    sides = [set(split.panel.dates.tolist()) for split in (splits.train, splits.validation, splits.test)]
    assert max(sides[0]) < min(sides[1])
    assert max(sides[1]) < min(sides[2])
    rows = [
        {(name, day) for name, days in zip(w.symbol, w.dates.tolist(), strict=True) for day in days}
        for w in (splits.train.windows, splits.validation.windows, splits.test.windows)
    ]
    assert len(set.union(*rows)) == sum(len(each) for each in rows)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_5_a_forecast_knows_nothing_of_its_targets_day_and_pricing_none_of_its_quotes(seed):
    frame = option_frame(sessions=60)
    day = np.unique(frame["date"])[40]
    forecast = DataSpec(**PRICE | {"task": "forecast"})
    market = (*QUOTES, "spot", "forward")
    for spec, columns in ((forecast, market), (DataSpec(**PRICE), QUOTES)):
        seen = []
        for each in (frame, later_changed(frame, day, columns, seed)):
            windows = cut_windows(options(each, spec), Cut.of(spec))
            windows = windows.select(windows.dates[:, 0] == np.datetime64(str(day)[:10], "D"))
            seen.append([windows.inputs, windows.static, windows.last, windows.known("spot")])
        assert len(seen[0][0]) > 0
        for before, after in zip(*seen, strict=True):
            assert_array_equal(before, after)


def test_5_a_files_own_greeks_and_forward_of_the_day_do_not_get_in():
    frame = option_frame(sessions=60)
    planted = frame.assign(delta=frame["mid"], moneyness=frame["mid"], forward=frame["mid"] + frame["spot"])
    known = frame.assign(delta=0.5, moneyness=0.0, forward=frame["spot"])
    day = np.unique(frame["date"])[40]
    late = frame["date"] >= day
    planted.loc[~late] = known.loc[~late]
    seen = []
    for each in (known, planted):
        windows = cut_windows(options(each, DataSpec(**PRICE)), Cut.of(DataSpec(**PRICE)))
        windows = windows.select(windows.dates[:, 0] == np.datetime64(str(day)[:10], "D"))
        seen.append(windows.static)
    assert len(seen[0]) > 0
    assert_array_equal(*seen)
    with pytest.raises(ValueError, match="static 'forward' may come from"):
        DataSpec(**PRICE | {"static": ("forward",)})
    with pytest.raises(ValueError, match="static 'own_signal' may come from"):
        DataSpec(**PRICE | {"static": ("own_signal",)})


def test_5_a_quote_of_the_day_cannot_be_asked_for():
    with pytest.raises(ValueError, match="static .iv. may come from the day's option quotes"):
        DataSpec(**PRICE | {"static": ("iv",)})
    windows = cut_windows(options(option_frame(), DataSpec(**PRICE)), Cut.of(DataSpec(**PRICE)))
    with pytest.raises(DataError, match="must not see the day's option quotes"):
        windows.known("mid")


def test_5_a_contract_of_fixed_delta_would_tell_the_days_volatility():
    frame = option_frame(sessions=60)
    moving = frame.assign(kind="surface", strike=frame["strike"] * (1 + 0.001 * (frame.index % 7)))
    spec = DataSpec(**PRICE)
    with pytest.raises(DataError, match="strike and expiry must stay"):
        split_panel(options(moving, spec), spec)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.floats(0.5, 0.99), st.sampled_from(["window", "log_return", "minmax", "standard"]))
def test_6_a_later_dividend_moves_no_scaled_value_before_it(seed, factor, kind):
    spec = make_spec(features=("adj_close",), scaling=kind)
    frame = make_frame(seed=seed % 9)
    day = np.unique(frame["date"])[170]
    paid = frame.copy()
    paid.loc[frame["date"] < day, "adj_close"] *= factor
    seen = []
    for each in (frame, paid):
        splits = stocks(each, spec)
        windows = splits.test.windows
        windows = windows.select(windows.dates.max(axis=1) < np.datetime64(day, "D"))
        scaler = fit_scaler(kind, splits.train)
        seen.append((scaler.inputs(windows), scaler.targets(windows)))
    assert len(seen[0][0]) > 0
    for before, after in zip(*seen, strict=True):
        assert_allclose(before, after, rtol=1e-9, atol=1e-9)


def test_6_a_filter_on_adjusted_prices_is_refused():
    with pytest.raises(ValueError, match="adj_close must not be in where"):
        make_spec(where={"adj_close": (20, None)})


@pytest.mark.parametrize("kind", ["raw", "panel_minmax", "window_mean"])
def test_6_a_scaling_that_would_tell_of_later_dividends_is_refused(kind):
    with pytest.raises(ValueError, match="tell of later dividends"):
        make_spec(features=("adj_close",), scaling=kind)


def test_7_a_stale_last_price_is_no_price():
    frame = option_frame()
    quiet = frame.index % 3 == 0
    stale = frame.assign(volume=np.where(quiet, 0, 5)).drop(columns=["last_trade"], errors="ignore")
    panel = check_options(stale, "test")
    order = np.lexsort((panel.dates, panel.code))
    assert_array_equal(order, np.arange(len(order)))
    assert_array_equal(np.isnan(panel.column("last")), panel.column("volume") == 0)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_8_no_filter_looks_at_future_volume(seed):
    spec = DataSpec(**PRICE | {"where": {"volume": (5, None)}})
    frame = option_frame(sessions=60)
    day = np.unique(frame["date"])[30]
    kept = []
    rng = np.random.default_rng(seed)
    late = frame["date"] >= day
    changed = frame.copy()
    changed.loc[late, "volume"] = rng.integers(0, 50, late.sum())
    for each in (frame, changed):
        windows = cut_windows(options(each, spec), Cut.of(spec))
        # The last input row lies before the day, the target may be on it.
        early = windows.input_dates[:, -1] < np.datetime64(str(day)[:10], "D")
        chosen = windows.select(early)
        kept.append(set(zip(chosen.symbol.tolist(), chosen.dates[:, 0].tolist(), strict=True)))
    assert kept[0] == kept[1]
    assert kept[0]


def test_9_todays_bar_is_left_out_and_a_later_one_refused(tmp_path):
    today = pd.Timestamp.now(tz="UTC").normalize().tz_localize(None)
    frame = make_frame(rows=30)
    spec = make_spec(source="csv", path=str(tmp_path / "a.csv"))
    for day, match in ((today, None), (today + pd.Timedelta(days=2), "must not lie after today")):
        frame.loc[frame.index[-1], "date"] = str(day.date())
        frame.to_csv(tmp_path / "a.csv", index=False)
        if match is None:
            assert load_panel(spec).dates.max() < np.datetime64(today, "D")
        else:
            with pytest.raises(DataError, match=match):
                load_panel(spec)


def test_9_todays_bar_may_not_be_finished():
    today = pd.Timestamp.now(tz="UTC").normalize().tz_localize(None)
    frame = make_frame(rows=30)
    frame.loc[frame.index[-1], "date"] = str(today.date())
    found = {breach.rule for breach in find_breaches(frame, "test", "stocks")}
    assert "today" in found
    # What Yahoo serves of a session that is still open is dropped: tests/data/yahoo.


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_10_no_target_is_filled_forward(seed):
    spec = DataSpec(**PRICE | {"gaps": "mask"})
    frame = option_frame(sessions=60)
    frame = frame[np.random.default_rng(seed).random(len(frame)) > 0.2]
    panel = check_options(frame, "test")
    held = {
        (panel.symbols[code], day): mid
        for code, day, mid in zip(panel.code, panel.dates.tolist(), panel.column("mid"), strict=True)
    }
    windows = cut_windows(options(frame, spec), Cut.of(spec))
    assert (windows.mask == 0).any()
    for name, day, target in zip(windows.symbol, windows.dates[:, 0].tolist(), windows.targets, strict=True):
        assert held[str(name), day] == target[0, 0]


def test_10_a_filled_file_is_noticed():
    frame = make_frame(rows=60).assign(volume=0)
    frame.loc[20:30, ["open", "high", "low", "close"]] = 42.0
    assert any(
        "fill" in breach.rule or "fill" in breach.must for breach in find_breaches(frame, "t", "stocks")
    )
