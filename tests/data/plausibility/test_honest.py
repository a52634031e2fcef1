"""Honest data of many kinds raise no doubt: a warning that is often wrong is soon not read."""

import numpy as np
import pandas as pd
import pytest

from qhq.data.plausibility import find_leaks
from qhq.data.prepare import prepare
from qhq.experiment.config import load_config
from tests.data.panels import option_frame

from .panels import SESSIONS, bars, codes, days, doubts, frame, joined, option_doubts, walk


def garch(rng, count=SESSIONS, degrees=4.0):
    variance, found = 1e-4, np.empty(count)
    for place, shock in enumerate(rng.standard_t(degrees, count) / np.sqrt(degrees / (degrees - 2))):
        found[place] = np.sqrt(variance) * shock
        variance = 2e-6 + 0.08 * found[place] ** 2 + 0.9 * variance
    return found


def autoregression(rng, again, step=0.01, count=SESSIONS):
    found = rng.normal(0, step, count)
    for place in range(1, count):
        found[place] += again * found[place - 1]
    return found


def prices(moves, first=100.0):
    return first * np.exp(np.cumsum(moves))


def indicators(table):
    """Technical indicators as everybody computes them, from the row and those before it."""
    close, by = table["close"], table.groupby("symbol")["close"]
    moves = np.log(close) - np.log(by.shift())
    gain = moves.clip(lower=0).ewm(alpha=1 / 14).mean()
    loss = (-moves).clip(lower=0).ewm(alpha=1 / 14).mean()
    low = by.transform(lambda each: each.rolling(14, 2).min())
    high = by.transform(lambda each: each.rolling(14, 2).max())
    return table.assign(
        sma=by.transform(lambda each: each.rolling(20, 1).mean()),
        ema=by.transform(lambda each: each.ewm(span=12).mean()),
        macd=by.transform(lambda each: each.ewm(span=12).mean() - each.ewm(span=26).mean()),
        rsi=100 * gain / (gain + loss),
        oscillator=(close - low) / (high - low),
        band=by.transform(lambda each: each.rolling(20, 2).std()),
        rank=by.transform(lambda each: each.expanding().rank(pct=True)),
        lag=moves.groupby(table["symbol"]).shift(1),
        yesterday=by.shift(1).fillna(close),
    ).fillna(0.0)


def random_walks(rng):
    return joined(*(frame(s, days(), close=walk(rng)) for s in "ABC")), (), {}


def garch_with_fat_tails(rng):
    return joined(*(frame(s, days(), close=prices(garch(rng))) for s in "AB")), (), {"horizon": 5}


def weak_autoregression(rng):
    return frame("A", days(), close=prices(autoregression(rng, 0.1))), (), {}


def strong_autoregression(rng):
    return (
        frame("A", days(), close=prices(autoregression(rng, 0.4)), noise=rng.normal(size=1200)),
        ("noise",),
        {},
    )


def trend_with_noise(rng):
    return frame("A", days(), close=100 + 0.05 * np.arange(1200) + rng.normal(0, 1, 1200)), (), {}


def seasons(rng):
    t = 2 * np.pi * np.arange(1200)
    year, week = np.sin(t / 252), np.sin(t / 5)
    table = frame(
        "A", days(), close=prices(0.02 * np.diff(week + 9 * year, prepend=0) + rng.normal(0, 0.01, 1200))
    )
    table = table.assign(year=year, month=days().month, weekly=np.arange(1200) % 5)
    return table, ("year", "month", "weekly"), {}


def volatility(rng):
    table = bars(rng).assign(adj_close=lambda each: each["close"])
    features = ("log_garman_klass", "log_parkinson", "log_return", "volume")
    return table, features, {"targets": ("log_garman_klass",), "window": 22}


def volatility_and_its_index(rng):
    level = autoregression(rng, 0.97, 0.15) - 4.5
    measured, index = level + rng.normal(0, 0.35, 1200), np.exp(level + rng.normal(0, 0.08, 1200))
    table = frame("A", days(), close=prices(np.exp(level) * rng.normal(size=1200)), rv=measured, vix=index)
    return table, ("rv", "vix"), {"targets": ("rv",), "window": 22}


def bounce_between_bid_and_ask(rng):
    middle = walk(rng, step=5e-4)
    table = frame("A", days(), close=middle + rng.choice([-0.05, 0.05], 1200), mid=middle, bid=middle - 0.05)
    return table, ("mid", "bid"), {}


def penny_stocks(rng):
    def penny():
        traded = rng.normal(0, 0.03, 1200) * (rng.random(1200) < 0.6)
        return np.maximum(0.01, np.round(0.4 * np.exp(np.cumsum(traded)), 2))

    return (
        joined(*(frame(s, days(), close=penny(), volume=rng.integers(0, 9, 1200)) for s in "ABC")),
        ("volume",),
        {},
    )


def etf_with_dividends(rng):
    close, paid = walk(rng), np.where(np.arange(1200) % 63 == 30, 0.5, 0.0)
    factor = np.append(np.cumprod((1 - paid / close)[::-1])[::-1][1:], 1.0)
    table = frame("A", days(), close=close, adj_close=close * factor, dividend=paid)
    return table, ("adj_close", "dividend"), {"targets": ("adj_close",)}


def currencies(rng):
    pairs = {"EURUSD": 1.1, "GBPUSD": 1.3, "USDJPY": 110.0}
    return (
        joined(
            *(frame(s, days(), close=np.round(walk(rng, step=0.005, first=p), 4)) for s, p in pairs.items())
        ),
        (),
        {},
    )


def crypto_with_weekends(rng):
    return joined(*(bars(rng, s, step=0.04, freq="D") for s in ("BTC", "ETH"))), ("volume", "high", "low"), {}


def commodity_that_returns_to_its_mean(rng):
    return frame("PW", days(), close=np.round(np.exp(4 + autoregression(rng, 0.7, 0.1)), 2)), (), {}


def oil_below_zero(rng):
    level = np.cumsum(rng.normal(0, 0.8, 1200))
    return frame("CL", days(), close=level - level.min() - 5), (), {"scaling": "window_mean"}


def sector_of_correlation_95(rng):
    market = rng.normal(0, 0.01, 1200)
    own = [prices(0.95**0.5 * market + 0.05**0.5 * rng.normal(0, 0.01, 1200)) for _ in range(5)]
    return (
        joined(*(frame(s, days(), close=x) for s, x in zip("ABCDE", own, strict=True))),
        (),
        {"split": {"held_out": ("E",)}},
    )


def index_and_its_constituents(rng):
    market = rng.normal(0, 0.01, 1200)
    own = [prices(0.7 * market + 0.7 * rng.normal(0, 0.01, 1200)) for _ in range(6)]
    index = np.mean(own, axis=0)
    tables = [frame(f"S{place}", days(), close=x, index=index) for place, x in enumerate([*own, index])]
    return joined(*tables), ("index",), {"split": {"held_out": ("S6",)}}


def months(rng):
    dates = days(300, "ME", "1990-01-31")
    table = joined(*(frame(s, dates, close=walk(rng, 300, 0.04), yield_=walk(rng, 300, 0.05)) for s in "AB"))
    return table, ("yield_",), {"window": 6, "max_gap": 100}


def two_hundred_rows_with_indicators(rng):
    return indicators(bars(rng, count=200)), (*INDICATORS, "volume"), {"window": 5}


def many_indicators(rng):
    return indicators(joined(*(bars(rng, s) for s in "AB"))), (*INDICATORS, "volume", "high", "low"), {}


def forty_columns_of_nothing(rng):
    names = [f"c{place}" for place in range(40)]
    noise = {
        name: rng.standard_t(3, 250) if place % 2 else walk(rng, 250) for place, name in enumerate(names)
    }
    return frame("A", days(250), close=walk(rng, 250), **noise), names, {"window": 5}


def the_month_before(rng):
    x = pd.Series(walk(rng), index=days())
    month = x.index.to_period("M")
    last = x.groupby(month).last().shift(1).bfill().reindex(month).to_numpy()
    first = x.groupby(month).transform("first").to_numpy()
    return frame("A", days(), close=x.to_numpy(), last=last, first=first), ("last", "first"), {}


def scaled_by_what_was_known(rng):
    x = pd.Series(walk(rng))
    train = x[:840]
    table = frame(
        "A", days(), close=x, mood=np.clip(rng.normal(0.5, 0.3, 1200), 0, 1), flag=rng.random(1200) < 0.1
    )
    table["so_far"] = ((x - x.expanding().mean()) / x.expanding().std()).fillna(0).to_numpy()
    table["train"] = ((x - train.mean()) / train.std()).to_numpy()
    table["range"] = ((x - train.min()) / np.ptp(train)).to_numpy()
    return table.astype({"flag": float}), ("mood", "flag", "so_far", "train", "range"), {}


def session_prices(rng):
    return bars(rng), ("open", "high", "low", "volume"), {"targets": ("open", "high")}


def opens_where_they_closed(rng):
    close = walk(rng)
    before = np.concatenate([[100.0], close[:-1]])
    return frame("A", days(), open=before, close=close), ("open",), {"targets": ("open",)}


def jumps(rng):
    moves = rng.normal(0, 0.01, 1200) + (rng.random(1200) < 0.01) * rng.normal(0, 0.15, 1200)
    return frame("A", days(), close=prices(moves), volume=rng.integers(1, 99, 1200)), ("volume",), {}


def holes(rng):
    return frame("A", days(), close=walk(rng))[rng.random(1200) > 0.1], (), {"gaps": "mask"}


INDICATORS = ("sma", "ema", "macd", "rsi", "oscillator", "band", "rank", "lag", "yesterday")
HONEST = (
    random_walks, garch_with_fat_tails, weak_autoregression, strong_autoregression,
    trend_with_noise, seasons, volatility, volatility_and_its_index, bounce_between_bid_and_ask,
    penny_stocks, etf_with_dividends, currencies, crypto_with_weekends,
    commodity_that_returns_to_its_mean, oil_below_zero, sector_of_correlation_95,
    index_and_its_constituents, months, two_hundred_rows_with_indicators, many_indicators,
    forty_columns_of_nothing, the_month_before, scaled_by_what_was_known, session_prices,
    opens_where_they_closed, jumps, holes,
)  # fmt: skip


@pytest.mark.parametrize("make", HONEST)
def test_honest_data_raise_no_doubt(make):
    table, features, keys = make(np.random.default_rng(5))
    targets = keys.get("targets", ("close",))
    assert codes(doubts(table, *dict.fromkeys((*targets, *features)), **keys)) == []


@pytest.mark.parametrize("seed", range(2))
def test_prices_that_move_by_a_tick_or_not_at_all_resemble_one_another_by_chance(seed):
    rng = np.random.default_rng(seed)
    steps = rng.choice([-1, 0, 0, 0, 1], (20, SESSIONS))
    ticks = [frame(f"S{k}", days(), close=5 + np.abs(0.01 * np.cumsum(each))) for k, each in enumerate(steps)]
    fading = np.exp(-np.arange(SESSIONS) / 300) * np.exp(
        np.cumsum(rng.normal(0, 0.01, (8, SESSIONS)), axis=1)
    )
    cheap = [frame(f"S{k}", days(), close=np.maximum(0.1, np.round(20 * x, 1))) for k, x in enumerate(fading)]
    for tables in (ticks, cheap):
        found = codes(doubts(joined(*tables)))
        assert [code for code in found if code.startswith("repeated_block")] == []


def test_honest_option_chains_raise_none():
    table = option_frame(sessions=80)
    assert option_doubts(table) == ()
    assert (
        option_doubts(table, task="forecast", features=("bid", "ask", "mid", "spot", "iv"), targets=("bid",))
        == ()
    )


@pytest.mark.parametrize("config", ["quickstart", "volatility", "options/synthetic.yaml"])
def test_no_shipped_config_raises_a_doubt(config):
    spec = load_config(f"experiments/{config}").data
    data = prepare(spec)
    assert find_leaks(data.panel, data.splits, spec) == ()
