"""The history of one option contract. Yahoo serves it until the contract expires, and not afterwards."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pandas as pd

from qhq.data.yahoo.history import cut_history, fetch_bars
from qhq.data.yahoo.symbols import parse_occ

if TYPE_CHECKING:
    from qhq.data.yahoo.client import Yahoo

CONTRACT_COLUMNS = (
    *("contract_id", "underlying", "date", "expiry", "strike", "right", "style"),
    *("open", "high", "low", "last", "volume", "kind"),
)


def fetch_contract(
    occ_symbol: str, start: date | None = None, end: date | None = None, *, yahoo: Yahoo | None = None
) -> pd.DataFrame:
    """Ask for the daily trades of one contract.

    Args:
        occ_symbol: See ``parse_occ``.
        start: First day, None is the oldest there is.
        end: Last day, itself included; None is the last finished session.
        yahoo: An open session.

    Returns:
        Columns ``CONTRACT_COLUMNS``, one row for each session with a price, oldest first. Prices are of
        trades, per share; quotes, spot and volatility are only in a recorded chain. ``underlying`` is the
        root of the symbol.

    Raises:
        DataError: If the symbol is malformed, the contract is not known (or has expired), or the answer is
            empty, broken or refused.
    """
    option = parse_occ(occ_symbol)
    contract_id = occ_symbol.replace(" ", "")
    bars = cut_history(fetch_bars(contract_id, start, yahoo=yahoo).frame, start, end)
    frame = bars.rename(columns={"symbol": "contract_id", "close": "last"}).assign(
        underlying=option.root,
        expiry=pd.Timestamp(option.expiry).as_unit("ms"),
        strike=option.strike,
        right=option.right,
        style="american",
        kind="traded",
    )
    return frame[list(CONTRACT_COLUMNS)]
