"""Prices of many kinds, honest and not, and the doubts that they raise."""

import numpy as np
import pandas as pd

from qhq.data.checks.options import check_options
from qhq.data.checks.stocks import check_panel
from qhq.data.columns import columns_to_read
from qhq.data.formulas import complete_market, compute_columns
from qhq.data.plausibility import LeakDoubt, find_leaks
from qhq.data.spec import DataSpec
from qhq.data.split import split_panel
from qhq.data.windows import arrange_rows

SESSIONS = 1200


def days(count=SESSIONS, freq="B", start="2010-01-04"):
    return pd.date_range(start, periods=count, freq=freq)


def walk(rng, count=SESSIONS, step=0.01, first=100.0):
    return first * np.exp(np.cumsum(rng.normal(0, step, count)))


def returns(prices):
    return np.diff(np.log(prices), prepend=np.log(prices[0]))


def frame(symbol, dates, **columns):
    return pd.DataFrame({"symbol": symbol, "date": dates, **columns})


def joined(*frames):
    return pd.concat(frames, ignore_index=True)


def bars(rng, symbol="A", count=SESSIONS, step=0.01, freq="B"):
    """Open, high, low, close and volume of twenty moves a session."""
    moves = walk(rng, count * 20, step / np.sqrt(20)).reshape(count, 20)
    prices = {"open": moves[:, 0], "high": moves.max(1), "low": moves.min(1), "close": moves[:, -1]}
    return frame(symbol, days(count, freq), **prices, volume=np.round(1e6 * rng.lognormal(0, 0.4, count)))


def prepared(table: pd.DataFrame, *features: str, **keys):
    """Panel, splits and config of a table; the targets are ``close`` unless named."""
    given = {"source": "csv", "path": "x", "symbols": None, "scaling": "standard", "targets": ("close",)}
    spec = DataSpec(**(given | {"features": features or ("close",)} | keys))
    names = columns_to_read(spec.columns)
    panel = check_panel(table, "test", symbols=None, columns=names, policy=spec.row_policy)
    panel = arrange_rows(compute_columns(panel, "stocks", spec.columns), spec)
    return panel, split_panel(panel, spec), spec


def doubts(table: pd.DataFrame, *features: str, **keys) -> tuple[LeakDoubt, ...]:
    """What a table raises."""
    return find_leaks(*prepared(table, *features, **keys))


def option_doubts(table: pd.DataFrame, **keys) -> tuple[LeakDoubt, ...]:
    """The same of option quotes, priced from the quotes of the day before."""
    given = {"source": "csv", "path": "x", "panel": "options", "symbols": None, "task": "price", "window": 4}
    given |= {"features": ("mid", "spot", "iv"), "static": ("moneyness", "years"), "targets": ("mid",)}
    spec = DataSpec(**(given | {"scaling": "residual"} | keys))
    panel = complete_market(check_options(table, "test", columns=spec.columns), 0.0)
    panel = arrange_rows(compute_columns(panel, "options", spec.columns), spec)
    return find_leaks(panel, split_panel(panel, spec), spec)


def codes(found) -> list[str]:
    return [doubt.code for doubt in found]
