"""Small panels with known faults, and random ones with holes, for the tests of this package."""

from datetime import date

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from scipy.special import ndtr

from qhq.data.checks.stocks import check_panel
from qhq.data.panel import Panel
from qhq.data.spec import DataSpec

KINDS = ("window", "minmax", "standard", "log_return")


def make_frame(symbols=("AAA", "BBB"), rows=200, seed=0):
    """Random walks of OHLC prices on business days, the schema's own column names."""
    rng = np.random.default_rng(seed)
    days = pd.bdate_range("2015-01-01", periods=rows).strftime("%Y-%m-%d")
    return pd.concat([_one(symbol, days, rng) for symbol in symbols], ignore_index=True)


def _one(symbol, days, rng):
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, len(days))))
    open_ = close * np.exp(rng.normal(0, 0.01, len(days)))
    return pd.DataFrame(
        {
            "symbol": symbol,
            "date": days,
            "open": open_,
            "high": np.maximum(open_, close) * 1.01,
            "low": np.minimum(open_, close) * 0.99,
            "close": close,
            "volume": rng.integers(1, 1000, len(days)),
            "adj_close": close / 2,
        }
    )


def make_panel(columns=("adj_close", "close"), **kwargs) -> Panel:
    return check_panel(make_frame(**kwargs), "test", columns=columns)


def make_spec(**kwargs) -> DataSpec:
    defaults = {"symbols": ("AAA", "BBB"), "features": ("adj_close", "close"), "window": 5}
    return DataSpec(**(defaults | kwargs))


@st.composite
def ragged_cases(draw):
    """A panel whose symbols miss sessions and have own spans, and a spec that it is long enough for."""
    horizon = draw(st.integers(1, 4))
    spec = make_spec(
        symbols=("AAA", "BBB", "CCC"),
        features=("adj_close",),
        window=draw(st.integers(2, 7)),
        horizon=horizon,
        split={"train": 0.5, "validation": 0.2, "test": 0.3},
        scaling=draw(st.sampled_from(KINDS)),
    )
    frame = make_frame(symbols=spec.symbols, rows=160, seed=draw(st.integers(0, 2**32 - 1)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    keep = rng.random(len(frame)) > 0.1
    late = (frame["symbol"] == "CCC") & (frame["date"] < str(date(2015, 2, draw(st.integers(1, 28)))))
    return check_panel(frame[keep & ~late], "test", columns=spec.features), spec


def option_frame(underlyings=("AAA", "BBB"), sessions=40, strikes=2, seed=0):
    """Traded American-style calls and puts on random walks: two expiries, quotes around Black-Scholes prices.

    Every documented column of an option file is there. ``strikes`` lie each way of 100, 5 % apart;
    ``mid`` is exactly (bid + ask) / 2 and ``iv`` the volatility of the price behind it.
    """
    rng = np.random.default_rng(seed)
    days = pd.bdate_range("2020-01-01", periods=sessions)
    parts = [_options_on(name, days, strikes, rng) for name in underlyings]
    return pd.concat(parts, ignore_index=True)


def _options_on(underlying, days, strikes, rng):
    spot = pd.Series(100 * np.exp(np.cumsum(rng.normal(0, 0.01, len(days)))), index=days)
    level = pd.Series(0.3 * np.exp(np.cumsum(rng.normal(0, 0.02, len(days)))), index=days)
    expiries = [days[len(days) // 2] + pd.Timedelta(days=5), days[-1] + pd.Timedelta(days=30)]
    grid = np.round(100 * 1.05 ** np.arange(-strikes, strikes + 1), 2)
    rows = pd.MultiIndex.from_product([expiries, grid, ["call", "put"], days]).to_frame(index=False)
    rows = rows.set_axis(["expiry", "strike", "right", "date"], axis=1).query("date < expiry")
    rows = rows.assign(spot=spot[rows["date"]].to_numpy(), rate=0.02, underlying=underlying)
    years = (rows["expiry"] - rows["date"]).dt.days / 365
    rows["iv"] = level[rows["date"]].to_numpy() + 0.1 * np.log(rows["strike"] / rows["spot"]) ** 2
    value = _black_scholes(rows, np.maximum(years, 1e-6))
    half = np.minimum(np.maximum(0.02 * value, 0.01), value)
    return rows.assign(
        contract_id=rows["underlying"]
        + rows["expiry"].dt.strftime("%y%m%d")
        + rows["right"].str[0].str.upper()
        + rows["strike"].map("{:g}".format),
        style="american",
        bid=value - half,
        ask=value + half,
        mid=value,
        last=value,
        volume=rng.integers(1, 100, len(rows)),
        open_interest=rng.integers(0, 1000, len(rows)),
        forward=rows["spot"] * np.exp(rows["rate"] * years),
        quote_time=rows["date"].dt.strftime("%Y-%m-%dT21:00:00Z"),
        last_trade=rows["date"].dt.strftime("%Y-%m-%d 15:59:59"),
        kind="traded",
        date=rows["date"].dt.strftime("%Y-%m-%d"),
        expiry=rows["expiry"].dt.strftime("%Y-%m-%d"),
    )


def _black_scholes(rows, years):
    spread = rows["iv"] * np.sqrt(years)
    high = (np.log(rows["spot"] / rows["strike"]) + rows["rate"] * years) / spread + spread / 2
    sign = np.where(rows["right"] == "call", 1.0, -1.0)
    discount = np.exp(-rows["rate"] * years)
    value = rows["spot"] * ndtr(sign * high) - rows["strike"] * discount * ndtr(sign * (high - spread))
    return np.maximum(sign * value, 0.01)
