"""Fetch today's chains and keep them: one symbol that fails costs no other symbol anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Protocol

import pandas as pd

from qhq.data.recording.store import Appended, ChainStore

Told = Callable[[int, int, str], None]


class Chains(Protocol):
    """Where chains come from."""

    def expiries(self, symbol: str) -> Iterable[date]:
        """Give the expiries that are listed now."""

    def chain(self, symbol: str, expiry: date) -> pd.DataFrame:
        """Give every contract of one expiry, stamped; columns of an option panel."""


class YahooChains:
    """Chains of Yahoo, one session for all of them."""

    def __init__(self) -> None:
        from qhq.data.yahoo.client import open_yahoo

        self._yahoo = open_yahoo()

    def expiries(self, symbol: str) -> Iterable[date]:
        """Ask Yahoo which expiries are listed."""
        from qhq.data.yahoo.chain import fetch_expiries

        return fetch_expiries(symbol, yahoo=self._yahoo)

    def chain(self, symbol: str, expiry: date) -> pd.DataFrame:
        """Ask Yahoo for one expiry."""
        from qhq.data.yahoo.chain import fetch_chain

        return fetch_chain(symbol, expiry, yahoo=self._yahoo)


@dataclass
class Recorded:
    """What came of one symbol.

    Attributes:
        symbol: The underlying.
        expiries: Expiries recorded.
        contracts: Quotes fetched, one a contract.
        files: What was appended to which file.
        error: Why some or all of it is missing; None where all was recorded.
    """

    symbol: str
    expiries: int = 0
    contracts: int = 0
    files: list[Appended] = field(default_factory=list)
    error: str | None = None


def record_chains(
    symbols: Iterable[str],
    root: Path,
    *,
    source: Chains,
    expiries: int | None = None,
    told: Told,
) -> list[Recorded]:
    """Fetch the chains of some symbols and append them to the panel below ``root``.

    What was fetched of a symbol before its failure is kept too.

    Args:
        symbols: Underlyings.
        root: Folder of the recording.
        source: Where chains come from.
        expiries: How many of the nearest expiries to record; None is all.
        told: Called with (expiries done, expiries in all, what is fetched next).

    Returns:
        One entry a symbol, failed or not, in their order.
    """
    return [_record(symbol, ChainStore(root), source, expiries, told) for symbol in symbols]


def _record(symbol: str, store: ChainStore, source: Chains, limit: int | None, told: Told) -> Recorded:
    outcome, frames = Recorded(symbol), list[pd.DataFrame]()
    # Whatever goes wrong with one symbol, the others' quotes of today cannot be had tomorrow.
    try:
        try:
            _fetch(symbol, source, limit, told, frames)
        finally:
            _keep(frames, store, outcome)
    except Exception as error:
        outcome.error = str(error) or type(error).__name__
    return outcome


def _fetch(symbol: str, source: Chains, limit: int | None, told: Told, frames: list[pd.DataFrame]) -> None:
    """Add one chain after another to ``frames``, so that what came before a failure is at hand."""
    listed = sorted(source.expiries(symbol))[:limit]
    for number, expiry in enumerate(listed):
        told(number, len(listed), f"{symbol} {expiry}")
        frames.append(source.chain(symbol, expiry))


def _keep(frames: list[pd.DataFrame], store: ChainStore, outcome: Recorded) -> None:
    if frames:
        outcome.files = store.append(frames)
        outcome.expiries, outcome.contracts = len(frames), sum(map(len, frames))
