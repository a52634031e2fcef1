"""Seeded price panels whose best forecast is known: what a method claims on them is right or wrong.

With e standard normal and s = 1 % a session, the log returns r of each symbol are

    random_walk   r(t) = s e(t)                  the last value is the best forecast there is
    planted       r(t) = 0.5 r(t-1) + s e(t)     the best forecast takes half of the last return again

Of small returns, the mean absolute error of the best forecast is that of s e, and the last value's that of r,
which is wider by 1 / sqrt(1 - 0.5^2): the best skill on ``planted`` is 1 - sqrt(0.75) = 13.4 %.

Sessions are the weekdays from 2000 to 2009. A session opens at the close before it, and its high and low are
the larger and the smaller of the two. Each symbol has a random stream of its own name, so fewer symbols or a
shorter span give the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from qhq.seeding import child_generator

Control = Literal["random_walk", "planted"]
Floats = npt.NDArray[np.float64]

_PERSISTENCE: dict[Control, float] = {"random_walk": 0.0, "planted": 0.5}
"""Part of a return that comes again in the next session."""

_SYMBOLS = ("A", "B", "C")
SPAN = ("2000-01-03", "2010-01-01")
STEP = 0.01
"""Standard deviation of what is new in a session's log return."""
_FIRST_PRICE = 100.0


def best_skill(control: Control) -> float:
    """Skill of the best forecast one session ahead against the last value, in the limit of small returns.

    >>> best_skill("random_walk"), round(best_skill("planted"), 3)
    (0.0, 0.134)
    """
    return 1 - math.sqrt(1 - _PERSISTENCE[control] ** 2)


def make_control(control: Control, symbols: Sequence[str] | None = None, *, seed: int = 0) -> pd.DataFrame:
    """Make the panel: columns symbol, date, open, high, low, close, adj_close.

    Args:
        control: Which of the two.
        symbols: Any names; None is A, B and C.
        seed: Of all returns.
    """
    dates = pd.bdate_range(*SPAN, inclusive="left")
    tables = [_prices(control, name, dates, seed) for name in symbols or _SYMBOLS]
    return pd.concat(tables, ignore_index=True)


def log_returns(control: Control, symbol: str, sessions: int, *, seed: int = 0) -> Floats:
    """Log returns of one symbol, shape (sessions,); the first comes from their stationary distribution."""
    new = child_generator(seed, f"{control} {symbol}").standard_normal(sessions)
    persistence = _PERSISTENCE[control]
    new[0] /= math.sqrt(1 - persistence**2)
    # scipy.signal takes a second to import, and few runs make data up.
    from scipy.signal import lfilter

    returns: Floats = STEP * lfilter([1.0], [1.0, -persistence], new)
    return returns


def _prices(control: Control, symbol: str, dates: pd.DatetimeIndex, seed: int) -> pd.DataFrame:
    close = _FIRST_PRICE * np.exp(np.cumsum(log_returns(control, symbol, len(dates), seed=seed)))
    before = np.concatenate([[_FIRST_PRICE], close[:-1]])
    columns = {
        "open": before,
        "high": np.maximum(before, close),
        "low": np.minimum(before, close),
        "close": close,
        "adj_close": close,
    }
    return pd.DataFrame({"symbol": symbol, "date": dates, **columns})
