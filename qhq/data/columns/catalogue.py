"""Every computed column: what it needs, and how it is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from qhq.data.columns import options, stocks
from qhq.data.panel import FloatArray, Panel
from qhq.data.schema import TABLES, PanelKind
from qhq.errors import DataError, nearest

Compute = Callable[[Panel], FloatArray]


@dataclass(frozen=True)
class Computed:
    """A computed column and the columns that it is computed from."""

    compute: Compute
    needs: tuple[str, ...]


_MARKET = ("forward", "strike", "years", "right", "rate", "iv")
_SESSION = {
    "weekday": Computed(stocks.weekday, ()),
    "days_since": Computed(stocks.days_since, ()),
}
_STOCKS = {
    "log_return": Computed(stocks.log_return, ("adj_close",)),
    "garman_klass": Computed(stocks.garman_klass, ("open", "high", "low", "close")),
    "log_garman_klass": Computed(stocks.log_garman_klass, ("open", "high", "low", "close")),
    "parkinson": Computed(stocks.parkinson, ("high", "low")),
    "log_parkinson": Computed(stocks.log_parkinson, ("high", "low")),
    **_SESSION,
}
_OPTIONS = {
    "years": Computed(options.years, ("expiry",)),
    "forward": Computed(options.forward, ("spot", "rate", "years")),
    "mid": Computed(options.mid, ("forward", "strike", "years", "right", "rate")),
    "iv": Computed(options.iv, ("mid", "forward", "strike", "years", "right", "rate")),
    "spot_return": Computed(options.spot_return, ("spot",)),
    "spread": Computed(options.spread, ("bid", "ask")),
    "log_moneyness": Computed(options.log_moneyness, ("strike", "forward")),
    "moneyness": Computed(options.moneyness, ("strike", "forward", "years", "iv")),
    "delta": Computed(options.delta, _MARKET),
    "gamma": Computed(options.gamma, _MARKET),
    "vega": Computed(options.vega, _MARKET),
    "theta": Computed(options.theta, _MARKET),
    **_SESSION,
}
COMPUTED: dict[PanelKind, dict[str, Computed]] = {"stocks": _STOCKS, "options": _OPTIONS}


def raw_columns(names: Iterable[str]) -> tuple[str, ...]:
    """Columns that a stock file must have for ``names``, computed or not, each once."""
    raw: dict[str, None] = {}
    for name in names:
        raw.update(dict.fromkeys(_STOCKS[name].needs if name in _STOCKS else (name,)))
    return tuple(raw)


def compute_columns(panel: Panel, kind: PanelKind, names: Iterable[str]) -> Panel:
    """Add the computed columns that a panel lacks of ``names``; what a file has, it keeps.

    Raises:
        DataError: If a name is neither there nor computed.
    """
    for name in names:
        panel = _with(panel, kind, name, ())
    return panel


def _with(panel: Panel, kind: PanelKind, name: str, asked: tuple[str, ...]) -> Panel:
    if name in panel.columns:
        return panel
    known = COMPUTED[kind]
    if name not in known or name in asked:
        raise DataError(
            f"A column of a {kind} panel must be in the data, or be one that qhq computes",
            got=f"'{name}'",
            fix=nearest(name, [*panel.columns, *known, *TABLES[kind]]),
        )
    for needed in known[name].needs:
        panel = _with(panel, kind, needed, (*asked, name))
    with np.errstate(all="ignore"):  # a missing quote gives a missing value
        values = known[name].compute(panel)
    return panel.with_columns({name: values})
