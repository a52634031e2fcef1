"""Small panels of stocks and of option chains, made by hand, for the tests of this package."""

from math import erf

import numpy as np

from qhq.data.panel import Panel
from qhq.data.windows import Cut, cut_windows

OPTION_COLUMNS = ("spot", "strike", "years", "right", "rate", "forward", "iv", "mid", "bid", "ask")


def black(forward, strike, years, volatility, discount, right):
    """Black (1976) once more, from the error function: the tests' own oracle."""
    deviation = volatility * np.sqrt(years)
    upper = np.log(forward / strike) / deviation + deviation / 2
    normal = np.vectorize(lambda x: (1 + erf(x / np.sqrt(2))) / 2)
    lower = upper - deviation
    return discount * right * (forward * normal(right * upper) - strike * normal(right * lower))


def option_panel(underlyings=("AAA", "BBB"), sessions=60, seed=0):
    """A call and a put of each underlying, at the money; Black-Scholes at a wandering volatility."""
    rng = np.random.default_rng(seed)
    days = np.datetime64("2020-01-01") + np.arange(sessions)
    rows, names, groups = [], [], []
    for place, underlying in enumerate(underlyings):
        spot = 100 * (place + 1) * np.exp(np.cumsum(rng.normal(0, 0.01, sessions)))
        for right in (1.0, -1.0):
            rows.append(_contract(spot, spot[0], right, rng))
            names.append(f"{underlying}{'C' if right > 0 else 'P'}")
            groups.append(underlying)
    code = np.repeat(np.arange(len(rows)), sessions)
    dates = np.tile(days, len(rows)).astype("datetime64[D]")
    return Panel(tuple(names), OPTION_COLUMNS, code, dates, np.concatenate(rows), groups=tuple(groups))


def _contract(spot, strike, right, rng):
    sessions, rate = len(spot), 0.02
    years = (sessions + 100 - np.arange(sessions)) / 365
    volatility = 0.25 * np.exp(0.1 * np.cumsum(rng.normal(0, 0.1, sessions)))
    forward = spot * np.exp(rate * years)
    mid = black(forward, strike, years, volatility, np.exp(-rate * years), right)
    level = np.ones(sessions)
    columns = (spot, strike * level, years, right * level, rate * level, forward, volatility, mid)
    return np.column_stack([*columns, mid - 0.05, mid + 0.05])


def option_windows(
    panel=None, *, window=5, horizon=1, targets=("mid",), features=None, task="price", **kwargs
):
    """Windows of `option_panel`; the features are the targets unless others are given."""
    panel = option_panel() if panel is None else panel
    return cut_windows(panel, Cut(window, horizon, features or targets, targets, task=task, **kwargs))


def stock_windows(columns, *, window=5, horizon=1, targets=None):
    """Windows over symbols that share their columns, ``{column: {symbol: values}}``."""
    symbols = tuple(next(iter(columns.values())))
    lengths = [len(values) for values in next(iter(columns.values())).values()]
    code = np.repeat(np.arange(len(symbols)), lengths)
    dates = np.concatenate([np.arange(length) for length in lengths]).astype("datetime64[D]")
    values = np.column_stack([np.concatenate(list(column.values())) for column in columns.values()])
    panel = Panel(symbols, tuple(columns), code, dates, values.astype(float))
    return cut_windows(panel, Cut(window, horizon, tuple(columns), targets or tuple(columns)))


def random_walks(symbols=("AAA", "BBB"), sessions=80, seed=0, start=50.0):
    """Prices by symbol, each five times as high as the one before."""
    rng = np.random.default_rng(seed)
    return {
        symbol: start * 5**place * np.exp(np.cumsum(rng.normal(0, 0.01, sessions)))
        for place, symbol in enumerate(symbols)
    }
