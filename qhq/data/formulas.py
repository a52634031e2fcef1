"""What qhq computes: columns of the table from others, and what a file leaves out of markets and splits.

A computed column of the table (``qhq.data.columns``) is the function here that has its name. Each row is made
of itself and the rows before it in its series; nothing looks ahead. Moneyness and greeks take volatility and
dividend yield of the row before, so they are known before the day's option quotes are, and may stand beside
a window of task ``price``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from qhq.data.columns import COMPUTED, TABLES, PanelKind
from qhq.data.panel import FloatArray, Panel
from qhq.errors import DataError, nearest
from qhq.pricing import black_scholes
from qhq.pricing.black_scholes import implied_volatility

# Actual/365, as the rates are: calendar days and not sessions.
_DAYS_A_YEAR = 365.0

_Formula = Callable[[Panel], FloatArray]


def _previous(panel: Panel, values: FloatArray) -> FloatArray:
    """Value of the row before in the same series, NaN at its first, shape (R,)."""
    before = np.full(len(values), np.nan)
    same = panel.code[1:] == panel.code[:-1]
    before[1:][same] = values[:-1][same]
    return before


def _last_finite(panel: Panel, values: FloatArray) -> FloatArray:
    """Newest finite value at or before each row in its series, NaN where there is none, shape (R,)."""
    newest = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), -1))
    # A row further back than the first of the series is another one's.
    own = newest >= np.searchsorted(panel.code, panel.code)
    return np.where(own, values[np.maximum(newest, 0)], np.nan)


# Columns of stocks, and of both panels


def log_return(panel: Panel) -> FloatArray:
    """ln(adj_close / the row before's), per session, shape (R,)."""
    logs = np.log(panel.column("adj_close"))
    return logs - _previous(panel, logs)


def garman_klass(panel: Panel) -> FloatArray:
    """Volatility of the session, sqrt(ln(H/L)^2 / 2 - (2 ln 2 - 1) ln(C/O)^2), shape (R,).

    Garman and Klass, "On the estimation of security price volatilities from historical data" (1980).
    """
    span = np.log(panel.column("high") / panel.column("low"))
    move = np.log(panel.column("close") / panel.column("open"))
    volatility: FloatArray = np.sqrt(span**2 / 2 - (2 * np.log(2) - 1) * move**2)
    return volatility


def parkinson(panel: Panel) -> FloatArray:
    """Volatility of the session, ln(H/L) / sqrt(4 ln 2), shape (R,).

    Parkinson, "The extreme value method for estimating the variance of the rate of return" (1980).
    """
    # Rounding can put a low above its high by a hair.
    span = np.maximum(np.log(panel.column("high") / panel.column("low")), 0)
    volatility: FloatArray = span / np.sqrt(4 * np.log(2))
    return volatility


def realised_volatility(panel: Panel) -> FloatArray:
    """Absolute log return of the session; of weeks and months `qhq.data.periods` makes it, shape (R,)."""
    return np.abs(log_return(panel))


def log_realised_volatility(panel: Panel) -> FloatArray:
    """Logarithm of `realised_volatility`, NaN on a session that did not move, shape (R,)."""
    return logarithm(realised_volatility(panel))


def log_garman_klass(panel: Panel) -> FloatArray:
    """Logarithm of `garman_klass`, NaN on a session that did not move, shape (R,)."""
    return logarithm(garman_klass(panel))


def log_parkinson(panel: Panel) -> FloatArray:
    """Logarithm of `parkinson`, NaN on a session that did not move, shape (R,)."""
    return logarithm(parkinson(panel))


def weekday(panel: Panel) -> FloatArray:
    """Day of the week, Monday 0 to Sunday 6, shape (R,)."""
    # 1970-01-01 was a Thursday.
    return ((panel.dates.astype("datetime64[D]").astype(np.int64) + 3) % 7).astype(np.float64)


def days_since(panel: Panel) -> FloatArray:
    """Calendar days since the row before of the same series, NaN at its first, shape (R,)."""
    days = panel.dates.astype("datetime64[D]").astype(np.float64)
    return days - _previous(panel, days)


def logarithm(volatility: FloatArray) -> FloatArray:
    """Logarithm of a volatility, NaN where nothing moved, shape (R,)."""
    moved = volatility > 0
    return np.where(moved, np.log(np.where(moved, volatility, 1.0)), np.nan)


# What pricing takes of every option


def complete_market(panel: Panel, rate: float) -> Panel:
    """Add ``years`` and complete ``rate``, ``forward``, ``mid`` and ``iv``, row by row.

    An empty rate is ``rate``; an empty forward is spot / discount: no dividend. The mid is the file's, else
    that of bid and ask, and the iv is found from it, so that both price the same: a file's own may have been
    made with another rate or forward. Only where a file has no quote at all, its iv stands and gives the mid.
    """
    with np.errstate(all="ignore"):  # a missing quote gives a missing value
        # Calendar days, not sessions: rates accrue over weekends too.
        days = panel.column("expiry") - panel.dates.astype("datetime64[D]").astype(np.float64)
        panel = _with(panel, "years", days / _DAYS_A_YEAR)
        panel = _with(panel, "rate", _filled(panel, "rate", np.full(len(panel.code), rate)))
        panel = _with(panel, "forward", _filled(panel, "forward", panel.column("spot") / discount(panel)))
        # The file's mid, else that of bid and ask.
        quoted = _filled(panel, "mid", (_own(panel, "bid") + _own(panel, "ask")) / 2)
        given = _own(panel, "iv")
        contract = (panel.column("forward"), panel.column("strike"), panel.column("years"))
        money = (discount(panel), panel.column("right"))
        if np.isfinite(quoted).any():
            mid, iv = quoted, implied_volatility(quoted, *contract, *money)
        else:
            mid, iv = black_scholes.price(*contract, given, *money), given
        return _with(_with(panel, "mid", mid), "iv", iv)


def discount(panel: Panel) -> FloatArray:
    """exp(-rate years), shape (R,)."""
    return np.exp(-panel.column("rate") * panel.column("years"))


def _own(panel: Panel, name: str) -> FloatArray:
    """The file's column, NaN without one, shape (R,)."""
    return panel.column(name) if name in panel.columns else np.full(len(panel.code), np.nan)


def _filled(panel: Panel, name: str, instead: FloatArray) -> FloatArray:
    own = _own(panel, name)
    return np.where(np.isfinite(own), own, instead)


def _with(panel: Panel, name: str, values: FloatArray) -> Panel:
    """Add a column, or put it in the place of the file's."""
    if name not in panel.columns:
        return panel.with_columns({name: values})
    # A panel may be shared with whoever read it: it is never written to.
    changed = panel.values.copy()
    changed[:, panel.columns.index(name)] = values
    return replace(panel, values=changed)


# Columns of options


def spot_return(panel: Panel) -> FloatArray:
    """ln(spot / the row before's): what the underlying did since the last quotes, shape (R,)."""
    # Against the row before, not the day before: what is known at a row is what came since the last quotes.
    logs = np.log(panel.column("spot"))
    return logs - _previous(panel, logs)


def spread(panel: Panel) -> FloatArray:
    """Ask - bid, shape (R,)."""
    return panel.column("ask") - panel.column("bid")


def log_moneyness(panel: Panel) -> FloatArray:
    """ln(strike / forward), the forward by the dividend yield of the row before, shape (R,)."""
    return np.log(panel.column("strike") / _known_forward(panel))


def moneyness(panel: Panel) -> FloatArray:
    """Log-moneyness over iv sqrt(years), with the row before's iv: in standard deviations, shape (R,)."""
    scale = _earlier_volatility(panel) * np.sqrt(np.maximum(panel.column("years"), 0))
    return _divide(log_moneyness(panel), scale)


def delta(panel: Panel) -> FloatArray:
    """Change of price for a unit of spot, shape (R,)."""
    return black_scholes.delta(*_greek_inputs(panel))


def gamma(panel: Panel) -> FloatArray:
    """Change of delta for a unit of spot, shape (R,)."""
    return black_scholes.gamma(*_greek_inputs(panel))


def vega(panel: Panel) -> FloatArray:
    """Change of price for a unit of volatility, shape (R,)."""
    return black_scholes.vega(*_greek_inputs(panel))


def theta(panel: Panel) -> FloatArray:
    """Change of price for a year that passes, shape (R,)."""
    return black_scholes.theta(*_greek_inputs(panel))


def _known_forward(panel: Panel) -> FloatArray:
    """Spot exp((rate - q) years), q the dividend yield in the row before's forward, at first 0, shape (R,).

    The day's own forward is often taken from the day's option quotes.
    """
    rate, years, spot = panel.column("rate"), panel.column("years"), panel.column("spot")
    growth = np.log(panel.column("forward") / spot)
    # From forward = spot exp((rate - q) years), solved for q.
    before = _previous(panel, rate - _divide(growth, years))
    known = np.nan_to_num(before, nan=0.0)
    return spot * np.exp((rate - known) * years)


def _earlier_volatility(panel: Panel) -> FloatArray:
    """Newest implied volatility of the series before the row, shape (R,)."""
    return _previous(panel, _last_finite(panel, panel.column("iv")))


def _greek_inputs(panel: Panel) -> tuple[FloatArray, ...]:
    contract = (_known_forward(panel), panel.column("strike"), panel.column("years"))
    return (*contract, _earlier_volatility(panel), discount(panel), panel.column("right"))


def _divide(values: FloatArray, by: FloatArray) -> FloatArray:
    # The inner where keeps the division itself away from zero: numpy divides everywhere first and chooses
    # afterwards.
    positive = by > 0
    return np.where(positive, values / np.where(positive, by, 1.0), np.nan)


# What a stock file does not say

# A split of 5 for 4, the smallest that is common; the largest dividends move the adjustment by less.
_LEAST_RATIO = 1.2


def infer_splits(panel: Panel) -> Panel:
    """Add the column ``split`` (new shares for an old one, 0 without a split) where it can be found.

    A panel that has the column keeps it; one without both ``close`` and ``adj_close`` stays as it is.
    """
    if "split" in panel.columns or not {"close", "adj_close"} <= set(panel.columns):
        return panel
    # A split multiplies the adjustment by its ratio on one day; dividends move it by a few percent.
    adjustment = panel.column("adj_close") / panel.column("close")
    ratio = np.nan_to_num(adjustment / _previous(panel, _last_finite(panel, adjustment)), nan=1.0)
    # In both directions: a reverse split lowers it as much as a split raises it.
    jump = np.maximum(ratio, 1 / ratio) >= _LEAST_RATIO
    return panel.with_columns({"split": np.where(jump, ratio, 0.0)})


# All of them


def compute_columns(panel: Panel, kind: PanelKind, names: Iterable[str]) -> Panel:
    """Add the computed columns among ``names``; a file's own column of such a name gives way.

    Nobody knows what a file's delta was made of: of the same day's quotes, as a rule.

    Raises:
        DataError: If a name is neither in the data nor computed.
    """
    known = COMPUTED[kind]
    names = tuple(dict.fromkeys(names))
    for name in names:
        if name not in panel.columns and name not in known:
            raise DataError(
                f"A column of a panel of {kind} must be in the data, or be one that qhq computes",
                got=f"'{name}'",
                fix=nearest(name, sorted({*panel.columns, *known, *TABLES[kind]})),
            )
    # All of them go before the first is computed: one formula must not read another's column from the file.
    panel = panel.without_columns(name for name in names if name in known)
    with np.errstate(all="ignore"):  # a missing quote gives a missing value
        return panel.with_columns({name: _compute(panel, kind, name) for name in names if name in known})


def _compute(panel: Panel, kind: PanelKind, name: str) -> FloatArray:
    needs = COMPUTED[kind][name]
    for needed in needs:
        if needed not in panel.columns:
            raise DataError(
                f"'{name}' is computed from the columns {', '.join(needs)}",
                got=f"data without '{needed}'",
                fix="Add the column, or choose another feature",
            )
    # A formula has the name of its column, so that no second list has to be kept in step with the table;
    # tests/data/test_columns.py holds the two together.
    formula: _Formula = globals()[name]
    return formula(panel)
