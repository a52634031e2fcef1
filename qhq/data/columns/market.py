"""What pricing takes of every option row, completed where a file leaves it out: rate, forward, mid, iv."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qhq.data.panel import FloatArray, Panel
from qhq.pricing import black_scholes
from qhq.pricing.implied_volatility import implied_volatility

DAYS_A_YEAR = 365.0


def complete_market(panel: Panel, rate: float) -> Panel:
    """Add ``years`` and complete ``rate``, ``forward``, ``mid`` and ``iv``, row by row.

    An empty rate is ``rate``; an empty forward is spot / discount: no dividend. The mid is the file's, else
    that of bid and ask, and the iv is found from it, so that both price the same: a file's own may have been
    made with another rate or forward. Only where a file has no quote at all, its iv stands and gives the mid.
    """
    with np.errstate(all="ignore"):  # a missing quote gives a missing value
        panel = _with(panel, "years", _years(panel))
        panel = _with(panel, "rate", _filled(panel, "rate", np.full(len(panel.code), rate)))
        panel = _with(panel, "forward", _filled(panel, "forward", panel.column("spot") / discount(panel)))
        quoted, given = _quoted_mid(panel), _own(panel, "iv")
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


def _years(panel: Panel) -> FloatArray:
    """Calendar days to expiry over 365, shape (R,)."""
    return (panel.column("expiry") - panel.dates.astype("datetime64[D]").astype(np.float64)) / DAYS_A_YEAR


def _quoted_mid(panel: Panel) -> FloatArray:
    """The file's mid, else that of bid and ask, NaN without either, shape (R,)."""
    return _filled(panel, "mid", (_own(panel, "bid") + _own(panel, "ask")) / 2)


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
    changed = panel.values.copy()
    changed[:, panel.columns.index(name)] = values
    return replace(panel, values=changed)
