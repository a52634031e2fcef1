"""A small option panel without the checks of a file: two underlyings, six contracts each."""

from dataclasses import replace

import numpy as np

from qhq.data.panel import Panel
from qhq.data.split import TestSplit, TrainingSplit
from qhq.data.windows import Cut, cut_windows
from qhq.pricing import black_scholes
from qhq.pricing.black_scholes import implied_volatility

OPTION_KINDS = ("over_strike", "over_spot", "residual", "implied_volatility")
CONTRACT_KINDS = ("window_mean", "raw", "panel_minmax", "contract_minmax", *OPTION_KINDS)
QUOTED = ("bid", "ask", "mid", "last", "iv", "volume", "open_interest")
PRICED = ("spot", "strike", "forward", "bid", "ask", "mid", "last")
FEATURES = ("spot", "bid", "ask", "iv", "volume", "log_moneyness")
NAMES = (*QUOTED, "spot", "strike", "years", "right", "rate", "forward", "log_moneyness")
BORDER = np.datetime64("2015-04-15")


def contract_panel(seed=0, rows=110, spots=(("AAA", 100.0), ("BBB", 20.0))) -> Panel:
    """Quotes around Black-Scholes with a volatility that moves; expiry 30 days after the last row."""
    rng = np.random.default_rng(seed)
    dates = np.busday_offset("2015-01-01", np.arange(rows), roll="forward").astype("datetime64[D]")
    blocks, symbols, groups = [], [], []
    for group, start in spots:
        spot = start * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
        sigma = 0.25 * np.exp(np.cumsum(rng.normal(0, 0.02, rows)))
        for right in (1.0, -1.0):
            for strike in start * np.array([0.9, 1.0, 1.1]):
                blocks.append(_rows(rng, spot, sigma, strike, right, dates))
                symbols.append(f"{group}{'C' if right > 0 else 'P'}{strike:g}")
                groups.append(group)
    code = np.repeat(np.arange(len(blocks)), rows)
    return Panel(
        tuple(symbols), NAMES, code, np.tile(dates, len(blocks)), np.concatenate(blocks), tuple(groups)
    )


def _rows(rng, spot, sigma, strike, right, dates):
    years = ((dates[-1] - dates).astype(float) + 30) / 365
    rate = np.full(len(spot), 0.03)
    discount = np.exp(-rate * years)
    forward = spot / discount
    market = (forward, np.full(len(spot), strike), years)
    mid = black_scholes.price(*market, sigma * np.exp(rng.normal(0, 0.03, len(spot))), discount, right)
    columns = {
        "bid": mid * 0.999,
        "ask": mid * 1.001,
        "mid": mid,
        "last": mid * np.exp(rng.normal(0, 0.01, len(spot))),
        "iv": implied_volatility(mid, *market, discount, right),
        "volume": np.floor(np.exp(rng.normal(2, 2, len(spot)))),
        "open_interest": rng.integers(0, 5000, len(spot)).astype(float),
        "spot": spot,
        "strike": market[1],
        "years": years,
        "right": np.full(len(spot), right),
        "rate": rate,
        "forward": forward,
        "log_moneyness": np.log(strike / forward),
    }
    return np.column_stack([columns[name] for name in NAMES])


def contract_cut(**kwargs) -> Cut:
    needed = {"features": FEATURES, "targets": ("bid", "ask"), "needed": ("spot", "strike", "iv", "mid")}
    return Cut(
        **({"window": 5, "horizon": 1, "task": "price", "static": ("log_moneyness",)} | needed | kwargs)
    )


def train_and_test(panel, cut):
    """The splits before and after ``BORDER``, some sessions apart."""
    old = panel.between(panel.dates.min(), BORDER)
    new = panel.between(BORDER + np.timedelta64(10, "D"), panel.dates.max())
    return TrainingSplit(old, cut_windows(old, cut)), TestSplit(new, cut_windows(new, cut))


def with_values(panel, change):
    """A copy of the panel, changed by ``change(column name, values (R,)) -> values``."""
    columns = [change(name, panel.column(name).copy()) for name in panel.columns]
    return replace(panel, values=np.column_stack(columns))
