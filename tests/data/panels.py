"""Small panels with known faults, and random ones with holes, for the tests of this room."""

from datetime import date

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from qhq.data.panel import Panel, check_panel
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
