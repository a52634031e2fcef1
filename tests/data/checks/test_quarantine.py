"""Rows that break a rule are set aside with reason and count, up to a limit, never by what comes later."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.checks import find_breaches, rows_aside
from qhq.data.checks.options import check_options
from qhq.data.checks.stocks import check_panel
from qhq.data.load import load_panel
from qhq.data.quarantine import STRICT, RowPolicy, percent_of
from qhq.data.recording import ChainStore
from qhq.data.spec import DataSpec
from qhq.data.windows import Cut, arrange_rows, cut_windows
from qhq.errors import DataError
from tests.data.panels import make_frame, make_spec, option_frame

OWN = RowPolicy(None)
OTHERS = RowPolicy(None, editable=False)
ASIDE = RowPolicy("quarantine")
STOCKS = ("open", "high", "low", "close", "volume", "adj_close")


def changed(frame, row, **cells):
    frame = frame.astype({name: object for name in cells})
    for name, value in cells.items():
        frame.loc[row, name] = value
    return frame


# --- Stocks: bad, doubtful, fine ---


@pytest.mark.parametrize(
    ("cells", "rule"),
    [
        ({"close": 0.0}, "price"),
        ({"close": np.nan}, "number"),
        ({"adj_close": ""}, "number"),
        ({"adj_close": np.inf}, "number"),
        ({"adj_close": -3.0}, "price"),
        ({"volume": np.nan}, "number"),
        ({"volume": -1}, "amount"),
        ({"high": 1.0}, "range"),
        ({"close": 9000.0}, "range"),
        ({"low": 9000.0}, "range"),
    ],
)
def test_one_bad_row_of_a_stock_is_set_aside_and_the_others_stay(cells, rule):
    frame = changed(make_frame(), 3, **cells)
    panel = check_panel(frame, "test", columns=STOCKS, policy=OWN)
    assert [(each.rule, each.count, each.rows) for each in panel.quarantine.reasons] == [(rule, 1, (4,))]
    assert_array_equal(panel.counts, [199, 200])
    assert np.datetime64("2015-01-06") not in panel.dates[panel.code == 0]
    with pytest.raises(DataError):
        check_panel(frame, "test", columns=STOCKS)


@pytest.mark.parametrize(
    "cells",
    [
        {"volume": 0},
        {"split": 0.0},
        {"split": ""},
        {"split": 1.0},
        {"dividend": ""},
        {"dividend": 0.0},
    ],
)
def test_what_is_no_fault_stays(cells):
    frame = changed(make_frame().assign(split=0.0, dividend=0.0), 3, **cells)
    assert check_panel(frame, "test", policy=OWN).quarantine.count == 0


@pytest.mark.parametrize(
    ("above", "below"), [("high", "low"), ("high", "close"), ("high", "open"), ("open", "low")]
)
def test_a_day_may_be_out_of_order_by_rounding(above, below):
    frame = make_frame()
    frame.loc[3, ["open", "high", "low", "close"]] = 10.0
    frame.loc[3, [above, below]] = [10.0, 10.005]
    panel = check_panel(frame, "test", columns=STOCKS, policy=OWN)
    assert panel.quarantine.count == 0
    frame.loc[3, [above, below]] = [10.0, 10.5]
    assert check_panel(frame, "test", columns=STOCKS, policy=OWN).quarantine.count == 1


def test_a_column_that_nothing_uses_costs_no_row():
    frame = changed(make_frame(), 3, volume=np.nan, high=0.0)
    assert check_panel(frame, "test", columns=("close",), policy=OWN).quarantine.count == 0


def test_of_equal_doubles_one_stays_and_of_different_ones_none():
    frame = make_frame()
    again = frame.iloc[[5]]
    equal = check_panel(pd.concat([frame, again]), "test", policy=OWN)
    assert_array_equal(equal.counts, [200, 200])
    assert (equal.quarantine.count, equal.quarantine.counted) == (1, 0)
    torn = check_panel(pd.concat([frame, again.assign(close=again["close"] * 1.001)]), "test", policy=OWN)
    assert_array_equal(torn.counts, [199, 200])
    assert (torn.quarantine.count, torn.quarantine.counted) == (2, 2)


def test_a_file_written_twice_is_one():
    frame = make_frame()
    panel = check_panel(pd.concat([frame, frame]), "test", policy=OWN)
    assert_array_equal(panel.counts, [200, 200])
    assert panel.quarantine.count == 400


# --- The policy ---


@pytest.mark.parametrize(
    "cells", [{"close": "1.34.1"}, {"close": "n.a.?"}, {"date": "someday"}, {"date": "2100-01-01"}]
)
def test_what_points_at_a_wrong_reading_refuses_an_own_file_only(cells):
    frame = changed(make_frame(), 3, **cells)
    with pytest.raises(DataError):
        check_panel(frame, "test", policy=OWN)
    for policy in (OTHERS, ASIDE):
        assert check_panel(frame, "test", policy=policy).quarantine.count == 1


def test_the_limit_is_rounded_up_to_whole_rows():
    policy = RowPolicy(None, limit=0.01)
    assert policy.allows(1, 18)
    assert not policy.allows(2, 18)
    assert policy.allows(10, 1000)
    assert not policy.allows(11, 1000)
    assert RowPolicy(None, limit=0.0).allows(0, 10)
    assert not RowPolicy(None, limit=0.0).allows(1, 10)


def test_above_the_limit_all_are_refused_with_counts_and_an_example():
    frame = make_frame(symbols=("AAA",))
    frame.loc[:4, "close"] = 0.0
    frame.loc[10:11, "volume"] = -1
    with pytest.raises(DataError) as raised:
        check_panel(frame, "test", columns=("close", "volume"), policy=OWN)
    text = str(raised.value)
    assert "'close' must be above zero. Got 0 for AAA on 2015-01-01 (row 1 of test)" in text
    assert "In all 7 of 200 rows of test break a rule (3.5 %: 5 'price', 2 'amount')" in text
    assert "data.bad_rows_limit: 0.035" in text
    panel = check_panel(frame, "test", columns=("close", "volume"), policy=RowPolicy(None, limit=0.035))
    assert panel.quarantine.count == 7
    assert panel.quarantine.to_dict()["of"] == 200


def test_of_a_source_that_nobody_can_edit_no_message_says_to_drop_a_row():
    frame = changed(make_frame(), 3, close=0.0)
    for policy in (RowPolicy("refuse", editable=False), RowPolicy(None, limit=0.0, editable=False)):
        with pytest.raises(DataError) as raised:
            check_panel(frame, "test", policy=policy)
        assert "drop that row" not in str(raised.value)
        assert "data.bad_rows" in str(raised.value)


def test_a_share_is_never_reported_as_nothing():
    assert [percent_of(0, 10), percent_of(1, 10**6), percent_of(1, 3)] == ["0 %", "< 0.01 %", "33.3 %"]


@pytest.mark.parametrize(
    ("cells", "exit_severity"),
    [({"close": -1.0, "high": 0.0}, "error"), ({"close": 0.0}, "aside"), ({"close": "x"}, "error")],
)
def test_a_check_tells_what_training_would_do(cells, exit_severity):
    found = find_breaches(changed(make_frame(), 3, **cells), "test", "stocks", OWN)
    assert {breach.severity for breach in found} == {exit_severity}
    assert [breach.severity for breach in find_breaches(make_frame(), "test", "stocks", OWN)] == []


def test_a_row_that_breaks_several_rules_is_left_out_once():
    frame = changed(make_frame(), 3, close=0.0, open=0.0, volume=-1.0)
    found = find_breaches(frame, "test", "stocks", OWN, read=("adj_close",))
    assert sum(breach.severity == "aside" for breach in found) > 1
    assert rows_aside(found) == 1
    assert rows_aside(find_breaches(make_frame(), "test", "stocks", OWN)) == 0
    assert all("every" not in breach.to_dict() for breach in found)


def test_a_config_decides(tmp_path):
    path = tmp_path / "own.csv"
    changed(make_frame(), 3, close=0.0).to_csv(path, index=False)
    chosen = {
        "source": "csv",
        "path": str(path),
        "symbols": None,
        "features": ("close",),
        "targets": ("close",),
    }
    assert load_panel(DataSpec(**chosen)).quarantine.origin == str(path)
    with pytest.raises(DataError, match=r"'close' must be above zero"):
        load_panel(DataSpec(**chosen, bad_rows="refuse"))
    with pytest.raises(DataError, match=r"bad_rows_limit"):
        load_panel(DataSpec(**chosen, bad_rows_limit=0.0))


def test_a_config_that_says_nothing_of_rows_is_called_what_it_was():
    assert {"bad_rows", "bad_rows_limit", "format"}.isdisjoint(DataSpec().model_dump())


# --- The gap that is left ---


def test_the_gap_of_a_row_set_aside_is_that_of_a_missing_session():
    """Of a file with one symbol too, where no other row tells that the day was a session."""
    frame = make_frame(symbols=("AAA",), rows=60)
    hole = changed(frame, slice(30, 33), close=0.0)
    spec = make_spec(symbols=None, features=("close",), targets=("close",), gaps="mask")
    bad = arrange_rows(check_panel(hole, "", columns=("close",), policy=RowPolicy(None, limit=0.1)), spec)
    assert_array_equal(np.flatnonzero(np.isnan(bad.values[:, 0])), range(30, 34))
    # Beside a symbol that has the days, the same rows are missing in the same way.
    other = make_frame(symbols=("AAA", "BBB"), rows=60)
    missing = arrange_rows(check_panel(other.drop(index=range(30, 34)), "", columns=("close",)), spec)
    assert_array_equal(bad.dates, missing.dates[missing.code == 0])


def test_no_window_spans_more_than_max_gap_of_rows_set_aside():
    frame = changed(make_frame(symbols=("AAA",), rows=60), slice(30, 33), close=0.0)
    policy = RowPolicy(None, limit=0.1)
    for gap, straddles in ((3, False), (4, True)):
        spec = make_spec(symbols=None, features=("close",), targets=("close",), max_gap=gap)
        panel = arrange_rows(check_panel(frame, "", columns=("close",), policy=policy), spec)
        windows = cut_windows(panel, Cut.of(spec))
        days = np.concatenate([windows.input_dates, windows.dates], axis=1)
        spans = (days[:, 0] <= np.datetime64("2015-02-11")) & (days[:, -1] > np.datetime64("2015-02-17"))
        assert spans.any() == straddles


# --- Leaks ---

FAULTS = st.lists(
    st.tuples(
        st.integers(0, 199), st.sampled_from(["close", "high", "low", "open"]), st.sampled_from([0.0, 9e9])
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(FAULTS, st.integers(20, 180), st.integers(0, 2**32 - 1))
def test_a_change_of_the_future_sets_nothing_aside_before_it(faults, today, seed):
    frame = make_frame(symbols=("AAA",), seed=1)
    for row, name, value in faults:
        frame.loc[row, name] = value
    later = frame.copy()
    rng = np.random.default_rng(seed)
    prices = ["open", "high", "low", "close", "adj_close"]
    later.loc[today:, prices] = rng.choice([0.0, 5.0, 9e9], size=(200 - today, 5))
    policy = RowPolicy("quarantine", limit=1.0)
    one, two = (check_panel(each, "", columns=STOCKS, policy=policy) for each in (frame, later))
    before = np.datetime64(frame.loc[today, "date"])
    for panel, other in ((one, two), (two, one)):
        past, same = panel.dates < before, other.dates < before
        assert_array_equal(panel.dates[past], other.dates[same])
        assert_allclose(panel.values[past], other.values[same], rtol=0)
    assert_array_equal(one.missed[one.missed < before], two.missed[two.missed < before])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(5, 30))
def test_a_change_of_future_quotes_sets_no_contract_aside_before_it(seed, today):
    frame, rng = option_frame(underlyings=("AAA",)), np.random.default_rng(seed)
    days = np.unique(frame["date"])
    late = (frame["date"] >= days[today]).to_numpy()
    other = frame.copy()
    broken = late & (rng.random(len(frame)) < 0.3)
    other.loc[broken, "bid"] = 99.0
    other.loc[late & (rng.random(len(frame)) < 0.1), "strike"] = 101.0
    policy = RowPolicy("quarantine", limit=1.0)
    one, two = (check_options(each, "", policy=policy) for each in (frame, other))
    for name in one.symbols:
        rows = [
            (panel.code == panel.symbols.index(name)) & (panel.dates < np.datetime64(days[today]))
            for panel in (one, two)
            if name in panel.symbols
        ]
        assert_allclose(one.values[rows[0]], two.values[rows[-1]], rtol=0)


# --- Options ---


@pytest.mark.parametrize(
    ("cells", "rule"),
    [
        ({"bid": 99.0}, "crossed"),
        ({"spot": 0.0}, "price"),
        ({"spot": np.nan}, "number"),
        ({"strike": -1.0}, "price"),
        ({"expiry": "2019-12-31"}, "expiry"),
        ({"bid": "", "ask": "", "mid": 250.0}, "bound"),
        ({"volume": -1}, "amount"),
        ({"iv": 35.0}, "fraction"),
        ({"quote_time": "2020-01-12 09:00"}, "quote_time"),
        ({"right": "put"}, "contract"),
    ],
)
def test_one_bad_quote_is_set_aside_and_the_others_stay(cells, rule):
    panel = check_options(changed(option_frame(), 3, **cells), "test", policy=OTHERS)
    assert [(each.rule, each.count, each.rows) for each in panel.quarantine.reasons] == [(rule, 1, (4,))]
    assert len(panel.code) == len(option_frame()) - 1


def chain(day, **cells):
    stamp = pd.Timestamp(f"{day} 20:30", tz="UTC")
    count = 6
    frame = pd.DataFrame(
        {
            "contract_id": [f"SPY230616C00{410 + 5 * i}000" for i in range(count)],
            "underlying": "SPY",
            "date": pd.Timestamp(day),
            "expiry": pd.Timestamp("2023-06-16"),
            "strike": [410.0 + 5 * i for i in range(count)],
            "right": "call",
            "style": "american",
            "bid": [12, 8, 5.3, 3, 1.5, 0.7],
            "ask": [12.2, 8.2, 5.4, 3.1, 1.6, 0.8],
            "last": np.nan,
            "iv": 0.2,
            "volume": 100.0,
            "open_interest": 1000.0,
            "spot": 421.82,
            "quote_time": stamp,
            "last_trade": stamp,
            "contract_size": "REGULAR",
            "kind": "traded",
        }
    )
    for name, value in cells.items():
        frame.loc[2, name] = value
    return frame


RECORDED = {"source": "recorded", "symbols": ("SPY",), "features": ("mid",), "targets": ("mid",)}


@pytest.mark.parametrize(
    "cells",
    [
        {"bid": 5.5},
        {"bid": 900.0, "ask": 901.0},
        {"spot": np.nan},
        {"spot": 0.0},
        {"strike": 421.0},
        {"expiry": pd.Timestamp("2022-06-16")},
        {"volume": -5.0},
        {"right": "put"},
        {"contract_size": "ADJUSTED", "contract_id": "SPY1230616C00420000"},
    ],
    ids=[
        "crossed",
        "dearer than the share",
        "no spot",
        "spot 0",
        "strike",
        "expired",
        "volume",
        "right",
        "adjusted",
    ],
)
def test_one_bad_row_never_refuses_a_recording(tmp_path, cells):
    store = ChainStore(tmp_path)
    for day in ("2023-06-01", "2023-06-02", "2023-06-05"):
        store.append([chain(day, **(cells if day == "2023-06-02" else {}))])
    spec = DataSpec(**RECORDED, path=str(tmp_path), scaling="over_strike")
    panel = load_panel(spec)
    assert (len(panel.code), panel.quarantine.count) == (17, 1)
    assert "drop that row" not in panel.quarantine.note()


def test_a_recording_of_crossed_quotes_is_refused_in_words_that_can_be_followed(tmp_path):
    for day in ("2023-06-01", "2023-06-02", "2023-06-05"):
        ChainStore(tmp_path).append([chain(day, bid=6.0)])
    with pytest.raises(DataError, match=r"3 of 18 rows .* \(16.7 %: 3 'crossed'\)") as raised:
        load_panel(DataSpec(**RECORDED, path=str(tmp_path), scaling="over_strike"))
    assert "drop" not in raised.value.fix


# --- Prices below zero ---

OIL = pd.DataFrame(
    {
        "symbol": "CL=F",
        "date": ["2020-04-16", "2020-04-17", "2020-04-20", "2020-04-21", "2020-04-22"],
        "close": [19.87, 18.27, -37.63, 10.01, 13.78],
    }
)


@pytest.mark.parametrize("policy", [OWN, OTHERS, STRICT])
def test_a_real_price_below_zero_is_refused_in_words_where_logarithms_are_taken(policy):
    with pytest.raises(
        DataError, match=r"above zero\. Got -37.63 for CL=F on 2020-04-20 \(row 3 of test\)\. .*minmax"
    ):
        check_panel(OIL, "test", columns=("close",), policy=policy)


@pytest.mark.parametrize("scaling", ["window_mean", "minmax", "standard", "raw", "panel_minmax"])
def test_a_real_price_below_zero_is_used_where_the_scaling_allows(tmp_path, scaling):
    path = tmp_path / "oil.csv"
    OIL.to_csv(path, index=False)
    spec = DataSpec(
        source="csv", path=str(path), symbols=None, features=("close",), targets=("close",), scaling=scaling
    )
    panel = load_panel(spec)
    assert_allclose(panel.column("close"), OIL["close"], rtol=0)
    assert panel.quarantine.count == 0


@pytest.mark.parametrize("feature", ["log_return", "parkinson"])
def test_a_column_of_returns_takes_logarithms_whatever_the_scaling(feature):
    spec = DataSpec(features=("close", feature), targets=("close",), scaling="window_mean")
    assert spec.takes_logs


def test_an_adjusted_close_below_zero_of_a_close_above_it_is_no_price():
    frame = OIL.assign(close=20.0, adj_close=[1.0, 2.0, -0.5, 2.0, 2.0])
    panel = check_panel(frame, "test", columns=("close", "adj_close"), policy=RowPolicy(None, signed=True))
    assert [reason.rule for reason in panel.quarantine.reasons] == ["price"]


def test_a_row_outside_the_span_asked_for_costs_nothing(tmp_path):
    path = tmp_path / "own.csv"
    frame = make_frame(symbols=("AAA",))
    frame.loc[:9, "close"] = 0.0
    frame.to_csv(path, index=False)
    chosen = {
        "source": "csv",
        "path": str(path),
        "symbols": None,
        "features": ("close",),
        "targets": ("close",),
    }
    with pytest.raises(DataError, match="10 of 200 rows"):
        load_panel(DataSpec(**chosen))
    panel = load_panel(DataSpec(**chosen, start="2015-01-15", bad_rows="refuse"))
    assert (len(panel.code), panel.quarantine.count) == (190, 0)


@pytest.mark.parametrize(
    "cells", [{"adj_close": np.nan}, {"adj_close": 0.0}, {"split": -2.0}, {"split": "?"}]
)
def test_columns_that_only_tell_of_splits_cost_no_row(tmp_path, cells):
    path = tmp_path / "own.csv"
    frame = make_frame(symbols=("AAA",)).assign(split=0.0)
    changed(frame, slice(3, 60), **cells).to_csv(path, index=False)
    spec = DataSpec(source="csv", path=str(path), symbols=None, features=("close",), targets=("close",))
    panel = load_panel(spec)
    assert (len(panel.code), panel.quarantine.count) == (200, 0)
    assert (panel.column("split") == 0).all()


@pytest.mark.parametrize("dividend", [3.0, 15.0, 45.0], ids=["special", "spin-off", "return of capital"])
def test_a_large_dividend_is_at_most_doubted(dividend):
    frame = make_frame(symbols=("AAA",)).assign(dividend=0.0)
    frame.loc[5, "dividend"] = dividend
    found = find_breaches(frame, "test", "stocks", OWN)
    assert {breach.rule for breach in found} <= {"large_dividend"}
    assert bool(found) == (dividend > 0.25 * frame.loc[4, "close"])


def test_the_better_of_two_quotes_of_a_session_is_read(tmp_path):
    evening = pd.Timestamp("2023-06-02 23:00", tz="UTC")
    store = ChainStore(tmp_path)
    store.append([chain("2023-06-01")])
    store.append([chain("2023-06-02")])
    store.append([chain("2023-06-02", bid=6.0).assign(quote_time=evening)])
    panel = load_panel(DataSpec(**RECORDED, path=str(tmp_path), scaling="over_strike"))
    assert panel.quarantine.count == 0
    assert_allclose(panel.column("bid")[panel.column("strike") == 420.0], 5.3)


def test_an_adjusted_close_below_zero_is_advised_to_be_left_for_the_close():
    frame = make_frame(symbols=("AAA",))
    frame.loc[:99, "adj_close"] = -1.0
    with pytest.raises(DataError, match="take close, as it was traded"):
        check_panel(frame, "test", columns=("adj_close",), policy=OWN)
