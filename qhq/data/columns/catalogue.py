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


_MARKET = ("spot", "forward", "strike", "years", "right", "rate", "iv")
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
    "spot_return": Computed(options.spot_return, ("spot",)),
    "spread": Computed(options.spread, ("bid", "ask")),
    "log_moneyness": Computed(options.log_moneyness, _MARKET),
    "moneyness": Computed(options.moneyness, _MARKET),
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
    """Add the computed columns among ``names``; a file's own column of such a name gives way.

    Nobody knows what a file's delta was made of: of the same day's quotes, as a rule.

    Raises:
        DataError: If a name is neither in the data nor computed.
    """
    known = COMPUTED[kind]
    names = tuple(dict.fromkeys(names))
    for name in names:
        if name not in panel.columns and name not in known:
            raise _unknown_column(name, (*panel.columns, *known, *TABLES[kind]), kind)
    panel = panel.without_columns(name for name in names if name in known)
    with np.errstate(all="ignore"):  # a missing quote gives a missing value
        return panel.with_columns({name: _compute(panel, kind, name) for name in names if name in known})


def _compute(panel: Panel, kind: PanelKind, name: str) -> FloatArray:
    computed = COMPUTED[kind][name]
    for needed in computed.needs:
        if needed not in panel.columns:
            raise DataError(
                f"'{name}' is computed from the columns {', '.join(computed.needs)}",
                got=f"data without '{needed}'",
                fix="Add the column, or choose another feature",
            )
    return computed.compute(panel)


def _unknown_column(name: str, known: Iterable[str], kind: PanelKind) -> DataError:
    return DataError(
        f"A column of a panel of {kind} must be in the data, or be one that qhq computes",
        got=f"'{name}'",
        fix=nearest(name, sorted(set(known))),
    )
