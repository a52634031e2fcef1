"""The synthetic panel: a known truth in every quote, nothing of the future, the same rows however asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from qhq.data.prepare import prepare
from qhq.data.sources.synthetic import (
    _STEP,
    Stock,
    best_skill,
    log_returns,
    make_control,
    quote_options,
    read_stocks,
    synthesise,
)
from qhq.data.spec import DataSpec
from qhq.errors import ConfigError, DataError
from qhq.pricing.black_scholes import implied_volatility, price

COLUMNS = [
    *("contract_id", "underlying", "date", "expiry", "strike", "right", "style", "bid", "ask", "volume"),
    *("open_interest", "spot", "rate", "forward", "kind"),
]
YEAR = {"start": date(2005, 1, 1), "end": date(2005, 12, 31)}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return synthesise(("AAPL", "MSFT", "GOOG"), **YEAR, truth=True)


@pytest.fixture(scope="module")
def stock() -> Stock:
    """A year and a half of AAPL, with its split of 2005-02-28."""
    (whole,) = read_stocks(["AAPL"], date(2005, 6, 30))
    return cut(whole, -380, None)


def cut(stock: Stock, first: int, last: int | None) -> Stock:
    names = ("dates", "close", "adj_close", "volume")
    return replace(stock, **{name: getattr(stock, name)[first:last] for name in names})


def right(rows: pd.DataFrame) -> np.ndarray:
    return np.where(rows["right"] == "call", 1.0, -1.0)


def arguments(rows: pd.DataFrame) -> tuple[np.ndarray, ...]:
    """Years and discount of each row."""
    years = ((rows["expiry"] - rows["date"]).dt.days / 365).to_numpy()
    return years, np.exp(-rows["rate"].to_numpy() * years)


def true_price(rows: pd.DataFrame) -> np.ndarray:
    years, discount = arguments(rows)
    return price(rows["forward"], rows["strike"], years, rows["true_iv"], discount, right(rows))


def implied(rows: pd.DataFrame, quote: pd.Series) -> np.ndarray:
    years, discount = arguments(rows)
    table = [rows[name].to_numpy() for name in ("forward", "strike")]
    return implied_volatility(quote.to_numpy(), *table, years, discount, right(rows))


def test_columns_are_those_of_the_schema(rows: pd.DataFrame) -> None:
    assert rows.columns.to_list() == [*COLUMNS, "true_iv"]
    assert synthesise(("FB",)).columns.to_list() == COLUMNS
    assert not rows.isna().any().any()
    assert not rows.duplicated(["contract_id", "date"]).any()
    assert set(rows["kind"]) == {"model"}
    assert set(rows["style"]) == {"european"}


def test_the_true_price_lies_between_bid_and_ask(rows: pd.DataFrame) -> None:
    truth = true_price(rows)
    assert (rows["bid"] >= 0).all()
    assert (rows["bid"] < rows["ask"]).all()
    assert (rows["bid"] <= truth + 1e-9).all()
    assert (truth <= rows["ask"] + 1e-9).all()
    assert_allclose(rows[["bid", "ask"]] * 100, np.rint(rows[["bid", "ask"]] * 100), atol=1e-8)


def test_the_mid_is_within_the_bounds_of_no_arbitrage(rows: pd.DataFrame) -> None:
    _, discount = arguments(rows)
    mid = (rows["bid"] + rows["ask"]) / 2
    forward, strike = discount * rows["forward"], discount * rows["strike"]
    intrinsic = np.maximum(right(rows) * (forward - strike), 0)
    assert (mid >= intrinsic).all()
    assert (mid <= np.where(rows["right"] == "call", forward, strike)).all()


def test_the_truth_is_free_of_arbitrage_across_strikes(rows: pd.DataFrame) -> None:
    """Call prices fall with the strike, less and less."""
    calls = rows.assign(value=true_price(rows))[rows["right"] == "call"].sort_values("strike")
    for _, smile in calls.groupby(["underlying", "date", "expiry"]):
        slope = np.diff(smile["value"]) / np.diff(smile["strike"])
        assert (slope <= 1e-12).all()
        assert (slope >= -1).all()
        assert (np.diff(slope) >= -1e-10).all()


def test_the_true_volatility_is_recovered_within_the_spread(rows: pd.DataFrame) -> None:
    sample = rows.sample(20_000, random_state=0)
    low, high = implied(sample, sample["bid"]), implied(sample, sample["ask"])
    error = np.abs(implied(sample, (sample["bid"] + sample["ask"]) / 2) - sample["true_iv"])
    known = np.isfinite(low) & np.isfinite(high)
    assert known.mean() > 0.7
    assert (low[known] - 1e-7 <= sample["true_iv"][known]).all()
    assert (sample["true_iv"][known] <= high[known] + 1e-7).all()
    assert (error[known] <= (high - low)[known] + 1e-7).all()
    near = known & (np.abs(np.log(sample["strike"] / sample["forward"])) < 0.05)
    assert np.median(error[near]) < 0.005


def test_put_and_call_share_one_volatility(rows: pd.DataFrame) -> None:
    pairs = rows.pivot_table(
        index=["underlying", "date", "expiry", "strike"], columns="right", values="true_iv"
    )
    assert_allclose(pairs["call"], pairs["put"])


def test_a_seed_decides_every_row(stock: Stock) -> None:
    first, again, other = (quote_options(stock, seed=seed, strikes=3) for seed in (7, 7, 8))
    pd.testing.assert_frame_equal(first, again)
    assert (first["contract_id"] == other["contract_id"]).all()
    assert (first["bid"] != other["bid"]).mean() > 0.5


@pytest.mark.parametrize("symbols", [("MSFT",), ("GOOG", "AAPL")])
def test_fewer_symbols_give_the_same_rows(rows: pd.DataFrame, symbols: tuple[str, ...]) -> None:
    alone = synthesise(symbols, **YEAR, truth=True)
    expected = pd.concat([rows[rows["underlying"] == symbol] for symbol in symbols], ignore_index=True)
    pd.testing.assert_frame_equal(alone, expected)


def test_a_shorter_span_gives_the_same_rows(rows: pd.DataFrame) -> None:
    short = synthesise(("AAPL", "MSFT", "GOOG"), date(2005, 2, 10), date(2005, 8, 3), truth=True)
    expected = rows[(rows["date"] >= "2005-02-10") & (rows["date"] <= "2005-08-03")]
    pd.testing.assert_frame_equal(short, expected.reset_index(drop=True))


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_the_future_moves_nothing_before_it(stock: Stock, data: st.DataObject) -> None:
    """Whatever the stock does from a session on, splits included, the rows before stay as they were."""
    border = data.draw(st.integers(30, len(stock.dates)))
    factors = data.draw(st.lists(st.floats(0.2, 5), min_size=3, max_size=3))
    closes = [np.where(np.arange(len(stock.dates)) < border, 1, factor) for factor in factors]
    names = ("close", "adj_close", "volume")
    changed = replace(stock, **{n: getattr(stock, n) * f for n, f in zip(names, closes, strict=True)})
    before = stock.dates[border - 1]
    tables = [quote_options(each, seed=0, strikes=3) for each in (stock, changed, cut(stock, 0, border))]
    expected, *others = [t[t["date"] <= before].reset_index(drop=True) for t in tables]
    for other in others:
        pd.testing.assert_frame_equal(other, expected)


def test_open_interest_counts_the_trades_before_today(rows: pd.DataFrame) -> None:
    contract = (
        synthesise(("AAPL",), end=date(2005, 12, 31)).groupby("contract_id").get_group("AAPL-2005-07-15-C40")
    )
    assert_allclose(contract["open_interest"], (contract["volume"].cumsum() - contract["volume"]) // 3)
    assert contract["open_interest"].iloc[0] == 0
    assert contract["open_interest"].iloc[-1] > 100


def test_expiries_are_third_fridays_and_lives_at_most_91_days(rows: pd.DataFrame) -> None:
    expiry = rows["expiry"].dt
    assert (expiry.day_of_week == 4).all()
    assert expiry.day.between(15, 21).all()
    days = (rows["expiry"] - rows["date"]).dt.days
    assert days.between(1, 91).all()
    assert days.max() > 88


def test_strikes_follow_the_spot(rows: pd.DataFrame) -> None:
    """Every session has the asked number of strikes on each side, on one grid scaled to the price."""
    ratio = rows["strike"] / rows["spot"]
    for _, day in ratio.groupby([rows["underlying"], rows["date"], rows["expiry"]]):
        assert (day < 1.06).sum() >= 2 * 5
        assert (day > 0.94).sum() >= 2 * 5
    assert rows["strike"][rows["underlying"] == "GOOG"].max() > 400
    assert rows["strike"][rows["underlying"] == "MSFT"].max() < 40


def test_a_strike_once_listed_is_quoted_until_its_end(rows: pd.DataFrame) -> None:
    sessions = np.sort(rows["date"].unique())
    place = pd.Series(np.searchsorted(sessions, rows["date"]), index=rows.index)
    assert place.groupby(rows["contract_id"]).diff().dropna().eq(1).all()


def test_no_contract_crosses_a_split() -> None:
    split = pd.Timestamp("2005-02-28")
    rows = synthesise(("AAPL",), date(2005, 1, 3), date(2005, 4, 15))
    later = rows["date"] >= split
    assert not set(rows["contract_id"][later]) & set(rows["contract_id"][~later])
    anew = rows["contract_id"].str.endswith("-2")
    assert (anew[rows["expiry"] <= "2005-05-20"] == later[rows["expiry"] <= "2005-05-20"]).all()
    assert rows["strike"][~later].max() > 90
    assert rows["strike"][later].max() < 70


def test_a_large_dividend_is_no_split() -> None:
    """Microsoft paid a tenth of its price on 2004-11-15."""
    rows = synthesise(("MSFT",), date(2004, 11, 12), date(2004, 11, 15))
    first, second = (set(day["contract_id"]) for _, day in rows.groupby("date"))
    assert first <= second


def test_more_strikes_make_a_larger_panel() -> None:
    sizes = [len(synthesise(("GOOG",), **YEAR, strikes=strikes)) for strikes in (1, 6, 12)]
    assert sizes == sorted(sizes)
    assert sizes[2] > 1.5 * sizes[1]


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="strikes must be at least 1. Got 0"):
        synthesise(strikes=0)
    with pytest.raises(DataError, match="no row of 'GOOGL'.*'GOOG'"):
        synthesise(("GOOGL",))
    with pytest.raises(
        DataError, match="must hold rows. Got none of FB from 2001-01-01 to 2001-12-31. Widen"
    ):
        synthesise(("FB",), date(2001, 1, 1), date(2001, 12, 31))


# --- The controls: nothing but the last value to know on the one, a signal of known size in the other ---

CONTROLS = ("random_walk", "planted")


@pytest.mark.parametrize("control", CONTROLS)
def test_the_same_seed_gives_the_same_rows_and_another_does_not(control):
    one, same, other = (make_control(control, seed=seed) for seed in (1, 1, 2))
    assert one.equals(same)
    assert not np.array_equal(one["close"], other["close"])


@pytest.mark.parametrize("control", CONTROLS)
def test_a_symbol_has_the_same_rows_whatever_stands_beside_it(control):
    three = make_control(control)
    alone = make_control(control, ["B"])
    np.testing.assert_array_equal(three.loc[three["symbol"] == "B", "close"], alone["close"])


@given(st.sampled_from(CONTROLS), st.integers(1, 50), st.integers(1, 50), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_later_sessions_change_none_before(control, sessions, more, seed):
    short = log_returns(control, "A", sessions, seed=seed)
    long = log_returns(control, "A", sessions + more, seed=seed)
    np.testing.assert_allclose(long[:sessions], short, rtol=1e-12)


@pytest.mark.parametrize(("control", "persistence"), [("random_walk", 0.0), ("planted", 0.5)])
def test_a_return_comes_again_by_its_persistence(control, persistence):
    returns = log_returns(control, "A", 100_000)
    now, before = returns[1:], returns[:-1]
    np.testing.assert_allclose(now @ before / (before @ before), persistence, atol=5 / np.sqrt(100_000))
    np.testing.assert_allclose((now - persistence * before).std(), _STEP, rtol=0.02)


@pytest.mark.parametrize(("control", "persistence"), [("random_walk", 0.0), ("planted", 0.5)])
def test_best_skill_is_that_of_the_best_forecast(control, persistence):
    returns = log_returns(control, "A", 200_000, seed=3)
    now, before = returns[1:], returns[:-1]
    skill = 1 - np.abs(now - persistence * before).mean() / np.abs(now).mean()
    np.testing.assert_allclose(best_skill(control), skill, atol=5e-3)


@pytest.mark.parametrize("control", CONTROLS)
def test_a_config_names_it_and_its_seed(control):
    spec = DataSpec(source=control, symbols=None, end="2001-12-31", panel_seed=4)
    data = prepare(spec)
    assert data.test.panel.symbols == ("A", "B", "C")
    rows = make_control(control, seed=4)
    first = rows.loc[rows["symbol"] == "A", "adj_close"].to_numpy()[:20]
    np.testing.assert_allclose(data.train.inputs[0, :, 0], first)
    assert data.fingerprint != prepare(spec.model_copy(update={"panel_seed": 5})).fingerprint


@pytest.mark.parametrize("control", CONTROLS)
def test_the_rows_keep_every_rule_of_a_stock_panel(control):
    spec = DataSpec(source=control, symbols=("X",), features=("adj_close", "open", "high", "low", "close"))
    assert len(prepare(spec).train)
