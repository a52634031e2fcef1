"""Daily prices of several symbols, from the cache where it has them and from Yahoo where it does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from qhq.data.yahoo.cache import Entry, entry_path, lock_entry, read_entry, write_entry
from qhq.data.yahoo.history import EARLIEST, RAW, Bars, cut_history, fetch_bars
from qhq.data.yahoo.symbols import check_symbol
from qhq.errors import DataError

if TYPE_CHECKING:
    from qhq.data.yahoo.client import Yahoo

Progress = Callable[[int, int, str], None]
"""Called with (symbols done, symbols in all, the one just done)."""

OVERLAP = 5
"""Sessions that are held and asked for again, to see whether Yahoo still says the same."""

_TOLERANCE = 1e-5
"""Relative; Yahoo rounds anew after each split, to single precision or six decimals."""


def load_history(
    symbols: Sequence[str],
    start: date | None = None,
    end: date | None = None,
    *,
    offline: bool = False,
    progress: Progress | None = None,
    yahoo: Yahoo | None = None,
) -> pd.DataFrame:
    """Load daily prices. A span that the cache holds is served from it; of a longer one the rest is fetched.

    Args:
        symbols: Yahoo's, without regard to case; one named twice counts once.
        start: First day, None is the oldest there is.
        end: Last day, itself included; None is the last finished session.
        offline: Ask nothing.
        progress: Told after each symbol.
        yahoo: An open session; None opens one once something has to be asked.

    Returns:
        Columns ``history.COLUMNS`` (see ``cut_history``), by symbol in the order given, oldest first.

    Raises:
        DataError: If a symbol is not known, an answer is empty, broken or refused; offline, if the cache does
            not hold the span. The symbols before that one are in the cache by then.
        ConfigError: If ``QHQ_YAHOO_URL`` is not safe.
    """
    names = tuple(dict.fromkeys(symbol.strip().upper() for symbol in symbols))
    _check_request(names, start, end)
    desk = _Desk(start, end, offline=offline, yahoo=yahoo)
    frames = []
    for done, symbol in enumerate(names, start=1):
        frames.append(desk.serve(symbol))
        if progress is not None:
            progress(done, len(names), symbol)
    return pd.concat(frames, ignore_index=True)


def _check_request(symbols: tuple[str, ...], start: date | None, end: date | None) -> None:
    if not symbols:
        raise DataError("There must be a symbol to load", got="none", fix="Name one, such as AAPL")
    for symbol in symbols:
        check_symbol(symbol)
    if start is not None and end is not None and start > end:
        raise DataError("start must not lie after end", got=f"{start} and {end}", fix="Correct the span")


class _Desk:
    """Serves one span of any symbol."""

    def __init__(self, start: date | None, end: date | None, *, offline: bool, yahoo: Yahoo | None) -> None:
        self._start, self._end = start, end
        self._offline, self._yahoo = offline, yahoo

    def serve(self, symbol: str) -> pd.DataFrame:
        with lock_entry(symbol) as path:
            held = read_entry(path)
            if held is None or not held.covers(self._start, self._end, offline=self._offline):
                if self._offline:
                    raise self._not_held(symbol, held)
                held = self._update(symbol, held)
                write_entry(path, symbol, held)
        return cut_history(held.frame, self._start, self._end)

    def _update(self, symbol: str, held: Entry | None) -> Entry:
        """Bring an entry up to now: the rows that are missing, or all of them."""
        start = min(self._start or EARLIEST, held.start if held else date.max)
        yahoo = self._open()
        bars = None
        if held is not None and start == held.start:
            fresh = fetch_bars(symbol, held.frame["date"].iloc[-OVERLAP:].iloc[0].date(), yahoo=yahoo)
            bars = _joined(held, fresh)
        if bars is None:
            bars = fetch_bars(symbol, start, yahoo=yahoo)
            _check_nothing_lost(held, bars, entry_path(symbol))
        end = max(self._end or bars.through, held.end if held else date.min)
        return Entry(bars.frame, start, end, bars.through, fetched_at=yahoo.now())

    def _open(self) -> Yahoo:
        from qhq.data.yahoo.client import open_yahoo

        if self._yahoo is None:
            self._yahoo = open_yahoo()
        return self._yahoo

    def _not_held(self, symbol: str, held: Entry | None) -> DataError:
        span = "".join(
            f" --{key} {day}" for key, day in (("start", self._start), ("end", self._end)) if day is not None
        )
        return DataError(
            f"Offline, the cache must hold {symbol} from {self._start or 'its first day'} "
            f"to {self._end or 'its last'}",
            got="nothing, or a damaged file" if held is None else f"{held.start} to {held.through}",
            fix=f"Run once with a network: qhq data fetch {symbol}{span}",
        )


def _joined(held: Entry, fresh: Bars) -> Bars | None:
    """Append fresh rows to held ones; None if Yahoo now tells the past otherwise or an action is new."""
    first = fresh.frame["date"].iloc[0]
    old = held.frame[held.frame["date"] >= first]
    again, new = fresh.frame.iloc[: len(old)], fresh.frame.iloc[len(old) :]
    if len(old) != min(OVERLAP, len(held.frame)) or not _same(old, again) or _has_action(new):
        return None
    kept = held.frame[held.frame["date"] < first]
    return Bars(pd.concat([kept, fresh.frame], ignore_index=True), max(held.through, fresh.through))


def _same(old: pd.DataFrame, again: pd.DataFrame) -> bool:
    if not np.array_equal(old["date"], again["date"]):
        return False
    numbers = list(RAW[2:])
    return np.allclose(old[numbers], again[numbers], rtol=_TOLERANCE, atol=0, equal_nan=True)


def _has_action(rows: pd.DataFrame) -> bool:
    return bool(((rows["dividend"] != 0) | (rows["split"] != 0)).any())


def _check_nothing_lost(held: Entry | None, bars: Bars, path: Path) -> None:
    """A reply that is well formed and yet lacks sessions told before is half a reply."""
    if held is None:
        return
    lost = held.frame.loc[~held.frame["date"].isin(bars.frame["date"]), "date"]
    if len(lost):
        raise DataError(
            f"Yahoo must still have every session of {held.frame['symbol'].iloc[0]} that it had before",
            got=f"{len(lost)} fewer, {lost.iloc[0].date()} among them",
            fix=f"Run the command again later; if it stays, delete {path} to start afresh",
        )
