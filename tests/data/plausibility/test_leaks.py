"""Each leak, planted in data of its own kind, is named by its column, its symbol or its rows."""

import numpy as np
import pandas as pd
import pytest
from scipy.signal import butter, filtfilt, savgol_filter

from tests.data.panels import option_frame

from .panels import bars, codes, days, doubts, frame, joined, option_doubts, returns, walk


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def ahead(values, by=1):
    return np.concatenate([values[by:], np.repeat(values[-1], by)])


FUTURE = {
    "the next return": lambda rng, x: ahead(returns(x)),
    "the next return with twice its size in noise": lambda rng, x: (
        ahead(returns(x)) + rng.normal(0, 0.02, len(x))
    ),
    "the next price, standardised": lambda rng, x: (ahead(x) - 90) / 7,
    "the next price with noise": lambda rng, x: ahead(x) * np.exp(rng.normal(0, 0.01, len(x))),
    "the next direction as a label": lambda rng, x: np.sign(ahead(returns(x))),
    "a return of the next 10 sessions": lambda rng, x: np.log(ahead(x, 10) / x),
    "a centred mean of 3": lambda rng, x: pd.Series(x).rolling(3, center=True, min_periods=1).mean(),
    "a centred mean of 5": lambda rng, x: pd.Series(x).rolling(5, center=True, min_periods=1).mean(),
    "a centred mean of 21": lambda rng, x: pd.Series(x).rolling(21, center=True, min_periods=1).mean(),
    "a Savitzky-Golay filter": lambda rng, x: savgol_filter(x, 11, 3),
    "a filter run forwards and backwards": lambda rng, x: filtfilt(*butter(2, 0.2), x),
    "a rank of the next return": lambda rng, x: pd.Series(ahead(returns(x))).rank(),
}


@pytest.mark.parametrize("how", FUTURE)
def test_a_column_that_knows_the_next_value_is_named(how, rng):
    tables = []
    for symbol in "AB":
        x = walk(rng)
        tables.append(frame(symbol, days(), close=x, other=walk(rng), tip=np.asarray(FUTURE[how](rng, x))))
    found = doubts(joined(*tables), "close", "other", "tip")
    assert codes(found) == ["future_column:tip"]
    assert found[0].statistic > found[0].threshold
    assert "'tip'" in found[0].got


def test_a_column_that_knows_the_future_of_one_symbol_alone_is_named_with_it(rng):
    tables = [frame(s, days(), close=walk(rng), tip=rng.normal(size=1200)) for s in "ABCDEFGH"]
    tables[3]["tip"] = ahead(returns(tables[3]["close"].to_numpy())) * 100
    (found,) = doubts(joined(*tables), "close", "tip")
    assert found.code == "future_column:tip"
    assert "for D" in found.got


@pytest.mark.parametrize("target", ["log_garman_klass", "log_return", "volume", "open"])
def test_the_future_of_other_kinds_of_target_is_known_too(target, rng):
    table = bars(rng).assign(adj_close=lambda each: each["close"])
    measured = {
        "log_return": lambda each: returns(each["close"].to_numpy()),
        "log_garman_klass": lambda each: np.log(each["high"] / each["low"]).to_numpy(),
    }.get(target, lambda each: each[target].to_numpy())
    table["tip"] = ahead(np.asarray(measured(table), dtype=float))
    features = tuple(dict.fromkeys((target, "close", "tip")))
    assert "future_column:tip" in codes(doubts(table, *features, targets=(target,)))


def test_a_target_that_is_a_centred_mean_is_no_price(rng):
    smooth = pd.Series(walk(rng)).rolling(5, center=True, min_periods=1).mean()
    assert codes(doubts(frame("A", days(), close=smooth))) == ["smooth_target:close"]


COPIES = {
    "multiple": lambda rng, x: 3.7 * x,
    "near duplicate": lambda rng, x: 0.2 * x * np.exp(rng.normal(0, 4e-4, len(x))),
    "affine": lambda rng, x: 0.3 * x + 400,
    "logarithm": lambda rng, x: np.log(x),
    "three sessions later": lambda rng, x: np.concatenate([x[:3], x[:-3]]),
    "reciprocal": lambda rng, x: 1 / x,
    "rounded": lambda rng, x: np.round(x / 3, 2),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_held_out_copy_of_a_trained_symbol_is_named_with_it(how, rng):
    x = walk(rng)
    table = joined(
        frame("A", days(), close=x),
        frame("B", days(), close=walk(rng)),
        frame("C", days(), close=COPIES[how](rng, x)),
    )
    found = doubts(table, split={"held_out": ("C",)})
    assert codes(found) == ["copy_held_out:C"]
    assert "of A" in found[0].got


BLOCKS = {
    "as they were": lambda block: block,
    "scaled": lambda block: 0.37 * block,
    "shifted": lambda block: block + 50,
    "backwards": lambda block: block[::-1],
    "upside down": lambda block: 1e4 / block,
    "scaled and rounded": lambda block: np.round(1.7 * block, 2),
}


@pytest.mark.parametrize("how", BLOCKS)
def test_training_prices_that_come_again_in_the_test_split_are_named_by_their_days(how, rng):
    table = frame("A", days(), close=walk(rng)), frame("B", days(), close=walk(rng))
    prices = table[1]["close"].to_numpy().copy()
    prices[1000:1150] = BLOCKS[how](table[0]["close"].to_numpy()[100:250])
    found = doubts(joined(table[0], table[1].assign(close=prices)))
    assert codes(found) == ["repeated_block:B"]
    first, last = (each.removeprefix("B ") for each in found[0].rows)
    assert str(days()[1000].date()) <= first <= last <= str(days()[1150].date())
    assert found[0].count > 60


def test_repeated_prices_of_a_penny_stock_are_found_between_those_that_stand_still(rng):
    prices = np.round(walk(rng, first=1.0), 2)
    prices[1000:1180] = prices[100:280]
    assert codes(doubts(frame("A", days(), close=prices))) == ["repeated_block:A"]


def test_quotes_of_one_contract_that_come_again_in_a_chain_are_found():
    chain = option_frame(sessions=300, strikes=1, seed=3)
    contract = chain["contract_id"].iloc[-1]
    rows, quotes = chain.index[chain["contract_id"] == contract], ["bid", "ask", "mid", "last"]
    chain.loc[rows[-30:], quotes] = chain.loc[rows[20:50], quotes].to_numpy()
    found = codes(option_doubts(chain, targets=("mid",)))
    assert [code for code in found if code.startswith("repeated_block")] == [f"repeated_block:{contract}"]


def test_weekends_and_holidays_that_were_filled_forward_are_named_by_their_days(rng):
    prices = pd.Series(walk(rng), index=days())
    daily = prices.asfreq("D").ffill()
    (found,) = doubts(frame("A", daily.index, close=daily.to_numpy()))
    assert (found.code, found.rows[0]) == ("filled_rows:weekends", "A 2010-01-09")
    backwards = prices.asfreq("D").bfill()
    assert codes(doubts(frame("A", backwards.index, close=backwards.to_numpy()))) == ["filled_rows:weekends"]
    closed = days()[(days().day_of_year % 61) == 7]  # of no country in particular
    tables = []
    for symbol in "ABC":
        filled = pd.Series(walk(rng), index=days())
        filled[closed] = np.nan
        tables.append(frame(symbol, days(), close=filled.ffill().bfill().to_numpy()))
    (found,) = doubts(joined(*tables))
    assert found.code == "filled_rows:holidays"
    christmas = prices.copy()
    christmas[(days().month == 12) & (days().day == 25) | (days().day_of_year == 1)] = np.nan
    (found,) = doubts(frame("A", days(), close=christmas.ffill().to_numpy()))
    assert found.code == "filled_rows:holidays"


WHOLE = {
    "mean and spread": lambda x: (x - x.mean()) / x.std(),
    "range": lambda x: (x - x.min()) / np.ptp(x),
    "median and quartiles": lambda x: (x - np.median(x)) / np.subtract(*np.quantile(x, (0.75, 0.25))),
    "rank": lambda x: pd.Series(x).rank(pct=True).to_numpy(),
    "range of -1 to 1": lambda x: 2 * (x - x.min()) / np.ptp(x) - 1,
}


@pytest.mark.parametrize("how", WHOLE)
def test_a_column_scaled_with_all_of_its_rows_is_named(how, rng):
    x, tip = walk(rng), np.cumsum(rng.normal(0.1, 1, 1200))  # whose extremes lie late
    found = doubts(frame("A", days(), close=x, tip=WHOLE[how](tip)), "close", "tip")
    assert codes(found) == ["whole_sample_scale:tip"]


GROUPS = {
    "close of its own month": lambda x, log: x.groupby(x.index.to_period("M")).transform("last"),
    "mean of its own quarter": lambda x, log: x.groupby(x.index.to_period("Q")).transform("mean"),
    "high of its own year": lambda x, log: x.groupby(x.index.to_period("M")).transform("max"),
    "mean next return of its category": lambda x, log: (
        log.shift(-1).groupby(np.arange(len(x)) ** 2 % 13).transform("mean")
    ),
}


@pytest.mark.parametrize("how", GROUPS)
def test_a_value_that_its_whole_group_has_is_named(how, rng):
    x = pd.Series(walk(rng), index=days())
    tip = GROUPS[how](x, np.log(x).diff()).to_numpy()
    found = doubts(frame("A", days(), close=x.to_numpy(), tip=tip), "close", "tip")
    assert "group_value:tip" in codes(found)


def test_values_on_the_straight_line_to_later_ones_are_named(rng):
    x = pd.Series(walk(rng))
    weekly = x.where(np.arange(len(x)) % 5 == 0).interpolate()
    assert "interpolated:tip" in codes(
        doubts(frame("A", days(), close=x, tip=np.round(weekly * 50, 1)), "close", "tip")
    )
    holes = x.where(rng.random(len(x)) > 0.4).interpolate().bfill()
    assert codes(doubts(frame("A", days(), close=holes))) == ["interpolated:close"]


def test_a_rate_or_a_spot_that_follows_the_quote_is_named_by_its_days():
    table = option_frame(sessions=60)
    assert option_doubts(table) == ()
    found = option_doubts(table.assign(rate=0.02 + 0.001 * table["mid"] / table["strike"]))
    assert codes(found) == ["rate_differs:AAA", "rate_differs:BBB"]
    assert found[0].rows[0].startswith("AAA 2020-01-0")
    moved = table["spot"] * (1 + 1e-5 * table["mid"] * (table["underlying"] == "BBB"))
    assert codes(option_doubts(table.assign(spot=moved))) == ["spot_differs:BBB"]


def test_an_option_file_whose_feature_is_the_next_quote_is_found_out():
    table = option_frame(sessions=120, strikes=1)
    later = table.groupby("contract_id")["iv"].shift(-1).fillna(table["iv"])
    found = option_doubts(table.assign(tip=later), features=("mid", "spot", "iv", "tip"))
    assert codes(found) == ["future_column:tip"]


def test_the_test_split_is_not_asked_what_a_column_explains(rng):
    x = walk(rng)
    tip = rng.normal(size=1200)
    tip[970:] = ahead(returns(x))[970:] * 100  # the test split alone
    assert doubts(frame("A", days(), close=x, tip=tip), "close", "tip") == ()
