import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.checks.options import check_options
from qhq.errors import DataError
from tests.data.panels import option_frame

NAMES = {
    "contract_id": "contractSymbol",
    "underlying": "Ticker",
    "date": "Quote Date",
    "expiry": "Expiration",
    "right": "Type",
    "bid": "BEST_BID",
    "ask": "Best Offer",
    "last": "lastPrice",
    "iv": "impliedVolatility",
    "open_interest": "openInterest",
    "spot": "underlying_price",
    "last_trade": "lastTradeDate",
}
SMALL = option_frame()


def changed(row=3, **cells):
    """The small panel with some cells of one row changed."""
    frame = option_frame().astype({name: object for name in cells})
    for name, value in cells.items():
        frame.loc[row, name] = value
    return frame


def assert_same(panel, other):
    for name in ("symbols", "columns", "groups", "label"):
        assert getattr(panel, name) == getattr(other, name)
    assert_array_equal(panel.code, other.code)
    assert_array_equal(panel.dates, other.dates)
    assert_allclose(panel.values, other.values, rtol=0)


def test_series_are_contracts_and_groups_their_underlyings():
    panel = check_options(SMALL, "test")
    assert panel.symbols == tuple(SMALL["contract_id"].unique())
    assert panel.groups == panel.group_names == tuple(name[:3] for name in panel.symbols)
    assert (panel.label, len(panel.code)) == ("traded", len(SMALL))
    assert_array_equal(panel.segment, panel.code)


def test_text_is_coded():
    panel = check_options(SMALL, "test")
    put = np.array(["P" in name for name in panel.symbols])[panel.code]
    assert_array_equal(panel.column("right"), np.where(put, -1.0, 1.0))
    assert_array_equal(panel.column("style"), 1.0)
    expiry = panel.column("expiry").astype("datetime64[D]")
    assert set(expiry.astype(str)) == set(SMALL["expiry"])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_rows_and_the_index_do_not_matter(seed):
    panel = check_options(SMALL, "test", underlyings=("AAA", "BBB"))
    order = np.random.default_rng(seed).permutation(len(SMALL))
    shuffled = check_options(SMALL.iloc[order], "test", underlyings=("AAA", "BBB"))
    assert sorted(shuffled.symbols) == sorted(panel.symbols)
    assert shuffled.groups == panel.groups
    for name in panel.symbols[::7]:
        rows, others = (each.code == each.symbols.index(name) for each in (panel, shuffled))
        assert_array_equal(panel.dates[rows], shuffled.dates[others])
        assert_allclose(panel.values[rows], shuffled.values[others], rtol=0)


@pytest.mark.parametrize(
    "frame",
    [
        SMALL.astype(str),
        SMALL.rename(columns=NAMES),
        SMALL.rename(columns=str.upper).assign(RIGHT=SMALL["right"].str[0].str.upper()),
        SMALL.assign(right=SMALL["right"].map({"call": 1, "put": -1})),
        SMALL.assign(right=SMALL["right"].map({"call": "+1", "put": "-1"}), style="A"),
        SMALL.assign(date=pd.to_datetime(SMALL["date"]), expiry=pd.to_datetime(SMALL["expiry"]).dt.date),
        SMALL.astype({name: "category" for name in ("contract_id", "underlying", "right", "kind")}),
        SMALL.drop(columns=["kind", "quote_time"]),
    ],
    ids=["text", "aliases", "upper", "signs", "signed text", "dates", "categories", "optional"],
)
def test_every_way_to_write_a_file_gives_the_same_panel(frame):
    assert_same(check_options(frame, "test"), check_options(SMALL, "test"))


def test_underlyings_are_chosen_in_their_order():
    panel = check_options(SMALL, "test", underlyings=("BBB",))
    assert set(panel.groups) == {"BBB"}
    assert check_options(SMALL, "test", underlyings=("BBB", "AAA")).groups[0] == "BBB"
    with pytest.raises(DataError, match=r"no row of 'AAB'\. Did you mean 'AAA'"):
        check_options(SMALL, "test", underlyings=("AAB",))


@pytest.mark.parametrize("quotes", [("bid", "ask"), ("mid",), ("iv",)])
def test_one_kind_of_quote_is_enough(quotes):
    others = {"bid", "ask", "last", "mid", "iv"} - set(quotes)
    panel = check_options(SMALL.drop(columns=list(others)), "test")
    assert set(quotes) <= set(panel.columns)


def test_own_columns_are_read_when_asked_for_and_computed_ones_need_not_be_there():
    frame = SMALL.assign(Sentiment="0.5")
    assert "sentiment" not in check_options(frame, "test").columns
    panel = check_options(frame, "test", columns=("sentiment", "moneyness", "rate"))
    assert_array_equal(panel.column("sentiment"), 0.5)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda frame: frame.rename(columns={"expiry": "expry", "spot": "undl_price"}),
            r"no 'expiry' \(nearest: 'expry'\); no 'spot' \(nearest: 'undl_price'\)\. .*file has: expry",
        ),
        (
            lambda frame: frame.drop(columns=["bid", "ask", "mid"]).rename(columns={"iv": "volatility"}),
            r"none of 'bid', 'ask', 'mid', 'iv' \(nearest: 'volatility'\)",
        ),
        (lambda frame: frame.drop(columns=["bid", "mid", "iv"]), r"Got no 'bid' \("),
        (lambda frame: frame.assign(Ticker="AAA"), "both 'underlying' and 'Ticker'"),
        (lambda frame: frame.iloc[:0], "must have rows"),
    ],
)
def test_missing_columns_are_all_named_with_the_nearest(change, match):
    with pytest.raises(DataError, match=match):
        check_options(change(option_frame()), "test")


def test_a_column_that_a_config_asks_for_must_be_there():
    frame = option_frame().drop(columns="open_interest")
    with pytest.raises(DataError, match=r"no 'open_interest' .*; no 'sentiment' \(nearest: 'sentimant'\)"):
        check_options(frame.assign(sentimant=1.0), "test", columns=("open_interest", "sentiment"))


@pytest.mark.parametrize(
    ("cells", "match"),
    [
        ({"contract_id": ""}, r"its contract_id\. Got none in row 4 of test"),
        ({"underlying": None}, r"its underlying\. Got none in row 4 of test"),
        ({"date": "06/01/2020"}, r"a date.*Got '06/01/2020' in column 'date' for AAA.*\(row 4 of test\)"),
        ({"expiry": "soon"}, r"'expiry' must be a date .* AAA\S+ on 2020-01-06 \(row 4 of test\)"),
        ({"strike": "abc"}, "'strike' must be a finite number"),
        ({"strike": np.nan}, r"'strike' must be a finite number in every row\. Got none for AAA"),
        ({"bid": np.inf}, "'bid' must be a finite number"),
        ({"strike": 0.0}, r"'strike' must be above zero\. Got 0"),
        ({"spot": -1.0}, r"'spot' must be above zero\. Got -1 for AAA\S+ on 2020-01-06 \(row 4"),
        ({"volume": -1}, r"'volume' must be zero or more\. Got -1"),
        ({"right": "straddle"}, "'right' must be call or put"),
        ({"style": ""}, "'style' must be european or american"),
        ({"kind": "guess"}, "'kind' must be traded, surface or model"),
        (
            {"iv": 35.0},
            r"'iv' must be a fraction between 0 and 20\. Got 35 .* set data.format.volatility: percent",
        ),
        ({"rate": 2.0}, "'rate' must be a fraction between -1 and 1"),
        ({"expiry": "2019-12-31"}, r"'date' must not lie after 'expiry'\. Got expiry 2019-12-31 for AAA"),
        ({"bid": 99.0}, r"'bid' must not exceed 'ask'\. Got 99 > "),
        ({"date": "2020-01-01"}, r"A contract must have one row a date\. Got AAA.* again in row 4"),
        ({"underlying": "BBB"}, r"A contract_id must have one underlying\. Got another for AAA"),
        ({"right": "put"}, "A contract_id must have one right"),
        ({"style": "european"}, "A contract_id must have one style"),
        ({"kind": "model"}, "A contract_id must have one kind"),
        ({"expiry": "2020-02-02"}, "A contract_id must have one expiry"),
        ({"strike": 77.0}, r"A contract_id must have one strike.* \(kind surface lets"),
        ({"quote_time": "2020-01-12 09:00"}, r"'quote_time' must not lie more than 4 days after 'date'"),
        ({"quote_time": "noon"}, "'quote_time' must be written"),
    ],
)
def test_a_broken_rule_names_contract_date_and_row(cells, match):
    with pytest.raises(DataError, match=match):
        check_options(changed(**cells), "test")


def test_a_row_after_today_is_refused():
    day = str(np.datetime64("today") + 2)
    with pytest.raises(DataError, match=r"'date' must not lie after today\. Got .* with today "):
        check_options(option_frame().tail(1).assign(date=day, expiry=day, quote_time=day), "test")


def test_a_quote_of_the_evening_may_lie_on_the_next_day_by_utc():
    check_options(changed(quote_time="2020-01-07T00:30:00Z"), "test")


@pytest.mark.parametrize(
    ("cells", "missing"),
    [
        ({"bid": ""}, {"bid"}),
        ({"iv": "n/a", "mid": None}, {"iv", "mid"}),
        ({"bid": -1.0}, {"bid"}),
        ({"ask": 0.0}, {"ask"}),
        ({"bid": 0.0, "ask": 0.0}, {"bid", "ask"}),
        ({"bid": 0.0}, set()),
        ({"iv": 1e-5, "mid": 0.0}, {"iv", "mid"}),
        ({"volume": ""}, {"volume", "last"}),
        ({"rate": "", "forward": "", "open_interest": ""}, {"rate", "forward", "open_interest"}),
    ],
)
def test_what_is_no_quote_is_missing(cells, missing):
    panel = check_options(changed(**cells), "test")
    assert {panel.columns[column] for column in np.flatnonzero(np.isnan(panel.values[3]))} == missing
    assert np.isnan(panel.values).sum() == len(missing)


@pytest.mark.parametrize("cells", [{"volume": 0}, {"last_trade": "2020-01-03 15:59"}, {"last_trade": ""}])
def test_a_stale_last_price_is_missing(cells):
    assert_array_equal(np.flatnonzero(np.isnan(check_options(changed(**cells), "test").column("last"))), [3])


def test_a_last_price_that_nothing_proves_is_missing():
    frame = option_frame().drop(columns=["volume", "last_trade"])
    assert np.isnan(check_options(frame, "test").column("last")).all()


def test_splits_are_zero_where_the_cell_is_empty():
    frame = option_frame().assign(split="")
    frame.loc[5, "split"] = "2"
    assert check_options(frame, "test").column("split").sum() == 2


def test_the_points_of_a_surface_may_move():
    frame = option_frame().assign(kind="surface")
    frame["strike"] = frame["strike"] * frame["spot"] / 100
    assert check_options(frame, "test").label == "surface"


def test_several_kinds_are_labelled_mixed():
    kind = np.where(SMALL["underlying"] == "AAA", "traded", "model")
    assert check_options(SMALL.assign(kind=kind), "test").label == "mixed"
