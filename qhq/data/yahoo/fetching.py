"""Fill the cache of daily prices, with an account of each symbol; one that fails costs no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import pandas as pd

from qhq.data.yahoo.cache import Entry, entry_path, lock_entry, read_entry, write_entry
from qhq.data.yahoo.history import fetch_bars
from qhq.data.yahoo.load import load_history
from qhq.errors import DataError

if TYPE_CHECKING:
    from qhq.data.yahoo.client import Yahoo

Told = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Fetched:
    """What is at hand of one symbol.

    Attributes:
        symbol: As Yahoo writes it.
        rows: Sessions in the span asked for.
        first: The oldest of them.
        last: The newest of them.
        dividends: Sessions with a dividend.
        splits: Sessions with a split.
        source: ``cached`` if nothing had to be asked, else ``fetched``; None where it failed.
        error: Why there is nothing; None where there is.
    """

    symbol: str
    rows: int = 0
    first: date | None = None
    last: date | None = None
    dividends: int = 0
    splits: int = 0
    source: str | None = None
    error: str | None = None


def fetch_prices(
    symbols: Sequence[str], start: date | None, end: date | None, *, refresh: bool, told: Told
) -> list[Fetched]:
    """Bring the cache up to a span of days.

    Args:
        symbols: Yahoo's, without regard to case.
        start: First day, None is the oldest there is.
        end: Last day, itself included; None is the last finished session.
        refresh: Fetch what is held again too, whole.
        told: Called with (symbols done, symbols in all, the one that is next).

    Returns:
        One entry a symbol, failed or not, in their order.

    Raises:
        ConfigError: If ``QHQ_YAHOO_URL`` is not safe.
    """
    names = list(dict.fromkeys(symbol.strip().upper() for symbol in symbols))
    desk = _Desk(start, end, refresh=refresh)
    done = []
    for number, symbol in enumerate(names):
        told(number, len(names), symbol)
        try:
            done.append(desk.serve(symbol))
        except DataError as error:
            done.append(Fetched(symbol, error=str(error)))
    return done


class _Desk:
    """Serves one span of any symbol, through one session that opens only when something is asked."""

    def __init__(self, start: date | None, end: date | None, *, refresh: bool) -> None:
        self._start, self._end, self._refresh = start, end, refresh
        self._yahoo: Yahoo | None = None

    def serve(self, symbol: str) -> Fetched:
        held = read_entry(entry_path(symbol))
        at_hand = held is not None and held.covers(self._start, self._end, offline=False)
        if at_hand and not self._refresh:
            return _account(symbol, load_history([symbol], self._start, self._end), "cached")
        yahoo = self._open()
        if held is not None and self._refresh:
            _refetch(symbol, held, yahoo)
        frame = load_history([symbol], self._start, self._end, yahoo=yahoo)
        return _account(symbol, frame, "fetched")

    def _open(self) -> Yahoo:
        from qhq.data.yahoo.client import open_yahoo

        self._yahoo = self._yahoo or open_yahoo()
        return self._yahoo


def _refetch(symbol: str, held: Entry, yahoo: Yahoo) -> None:
    """Fetch a held span again; the old rows stay until the new ones are there."""
    with lock_entry(symbol) as path:
        bars = fetch_bars(symbol, held.start, yahoo=yahoo)
        write_entry(path, symbol, Entry(bars.frame, held.start, held.end, bars.through, yahoo.now()))


def _account(symbol: str, frame: pd.DataFrame, source: str) -> Fetched:
    days = frame["date"]
    return Fetched(
        symbol,
        rows=len(frame),
        first=days.min().date() if len(frame) else None,
        last=days.max().date() if len(frame) else None,
        dividends=int((frame["dividend"] > 0).sum()),
        splits=int(((frame["split"] > 0) & (frame["split"] != 1)).sum()),
        source=source,
    )
