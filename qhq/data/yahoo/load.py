"""Daily prices of several symbols, from the cache where it has them and from Yahoo where it does not.

The cache is a Parquet file a symbol, and beside it a JSON sidecar that vouches for it. Both lie under
``cache_dir()/yahoo``, named after the symbol, the interval and the columns' version. Each is written beside
and then moved into place, the sidecar last. A file that its sidecar's sha256 does not fit, or a sidecar that
cannot be read, counts as not there. A lock makes two processes take turns.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa
from filelock import FileLock, Timeout

from qhq.data.yahoo.history import EARLIEST, RAW, Bars, check_symbol, cut_history, fetch_bars
from qhq.errors import DataError
from qhq.files import write_atomically
from qhq.paths import cache_dir

if TYPE_CHECKING:
    from qhq.data.yahoo.client import Yahoo

# Version of the columns; a file of another one is not looked at.
_SCHEMA = 1

_INTERVAL = "1d"
# Whoever holds it may be asking Yahoo again and again, with growing pauses.
_LOCK_SECONDS = 600.0
_VERSIONS = ("qhq", "yfinance", "curl_cffi", "pandas", "pyarrow")


@dataclass(frozen=True, eq=False)
class CachedHistory:
    """What is held of one symbol.

    Attributes:
        frame: Columns ``history.RAW``, prices as traded, all sessions from ``start`` to ``through``.
        start: Earliest day asked for.
        end: Latest day asked for.
        through: Last day that can have no further row.
        fetched_at: When the last row came, aware.
    """

    frame: pd.DataFrame
    start: date
    end: date
    through: date
    fetched_at: datetime

    def covers(self, start: date | None, end: date | None, *, offline: bool) -> bool:
        """Whether a request can be answered from here.

        Offline, a day that was asked for before and had not come then is not missed.
        """
        if (start or EARLIEST) < self.start:
            return False
        if offline and (end is None or end <= self.end):
            return True
        return end is not None and end <= self.through


def entry_path(symbol: str) -> Path:
    """The Parquet file of a symbol; what is odd in a file name is written as %XX.

    >>> entry_path("^GSPC").name
    '%5EGSPC-1d-v1.parquet'
    """
    return cache_dir() / "yahoo" / f"{quote(symbol, safe='')}-{_INTERVAL}-v{_SCHEMA}.parquet"


@contextmanager
def lock_entry(symbol: str) -> Iterator[Path]:
    """Keep other processes from a symbol's files; gives the Parquet file's path.

    Raises:
        DataError: If the folder is not writable, or the lock does not come free.
    """
    path = entry_path(symbol)
    lock = FileLock(path.with_suffix(".lock"), timeout=_LOCK_SECONDS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, Timeout) as error:
        raise DataError(
            "The cache folder must be writable, and no other process may hold it for long",
            got=f"{type(error).__name__} for {path.parent}",
            fix="Set QHQ_CACHE_DIR, or end the process that fetches the same symbol",
        ) from error
    try:
        yield path
    finally:
        lock.release()


def read_entry(path: Path) -> CachedHistory | None:
    """Read what is held; None if there is nothing, or it is damaged."""
    try:
        note = json.loads(path.with_suffix(".json").read_bytes())
        # Read whole, then hashed, then parsed from memory: what was checked is what is used.
        data = path.read_bytes()
        if note["schema"] != _SCHEMA or hashlib.sha256(data).hexdigest() != note["sha256"]:
            return None
        frame = pd.read_parquet(io.BytesIO(data))
        entry = CachedHistory(
            frame,
            start=date.fromisoformat(note["asked"]["start"]),
            end=date.fromisoformat(note["asked"]["end"]),
            through=date.fromisoformat(note["held"]["through"]),
            fetched_at=datetime.fromisoformat(note["fetched_at"]),
        )
    # Whatever is wrong with a cache, fetching again mends it.
    except (OSError, ValueError, KeyError, TypeError, RecursionError, pa.ArrowException):
        return None
    return entry if tuple(frame.columns) == RAW and len(frame) else None


def write_entry(path: Path, symbol: str, entry: CachedHistory) -> None:
    """Write the file, then its sidecar, each whole or not at all."""
    buffer = io.BytesIO()
    entry.frame.to_parquet(buffer, index=False)
    data = buffer.getvalue()
    note = {**_describe(symbol, entry), "sha256": hashlib.sha256(data).hexdigest()}
    # The sidecar last: with its hash it vouches for the file, and a kill in between leaves a pair that does
    # not.
    write_atomically(path, data)
    write_atomically(path.with_suffix(".json"), json.dumps(note, indent=2))


def _describe(symbol: str, entry: CachedHistory) -> dict[str, object]:
    held = entry.frame["date"]
    return {
        "source": "yahoo",
        "symbol": symbol,
        "interval": _INTERVAL,
        "schema": _SCHEMA,
        "fetched_at": entry.fetched_at.astimezone(UTC).isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in _VERSIONS},
        "asked": {"start": entry.start.isoformat(), "end": entry.end.isoformat()},
        "held": {
            "first": str(held.iloc[0].date()),
            "last": str(held.iloc[-1].date()),
            "through": entry.through.isoformat(),
        },
        "rows": len(entry.frame),
    }


# Called with (symbols done, symbols in all, the one just done, or the one that is next).
_Progress = Callable[[int, int, str], None]

# Sessions that are held and asked for again, to see whether Yahoo still says the same.
_OVERLAP = 5

# Relative; Yahoo rounds anew after each split, to single precision or six decimals.
_TOLERANCE = 1e-5


def load_history(
    symbols: Sequence[str],
    start: date | None = None,
    end: date | None = None,
    *,
    offline: bool = False,
    progress: _Progress | None = None,
    yahoo: Yahoo | None = None,
) -> pd.DataFrame:
    """Load daily prices. A span that the cache holds is served from it; of a longer one the rest is fetched.

    Args:
        symbols: Yahoo's, without regard to case; one named twice counts once.
        start: First day, None is the oldest there is.
        end: Last day, itself included; None is the last finished session.
        offline: Ask nothing.
        progress: Called after each symbol.
        yahoo: An open session; None opens one once something has to be asked.

    Returns:
        Columns ``history.HISTORY_COLUMNS`` (see ``cut_history``), by symbol in the order given, oldest first.

    Raises:
        DataError: If a symbol is not known, an answer is empty, broken or refused; offline, if the cache does
            not hold the span. The symbols before that one are in the cache by then.
        ConfigError: If ``QHQ_YAHOO_URL`` is not safe.
    """
    names = tuple(dict.fromkeys(symbol.strip().upper() for symbol in symbols))
    _check_request(names, start, end)
    span = _Span(start, end, offline=offline, yahoo=yahoo)
    frames = []
    for done, symbol in enumerate(names, start=1):
        frames.append(span.load(symbol))
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
    symbols: Sequence[str], start: date | None, end: date | None, *, refresh: bool, progress: _Progress
) -> list[Fetched]:
    """Bring the cache up to a span of days.

    Args:
        symbols: Yahoo's, without regard to case.
        start: First day, None is the oldest there is.
        end: Last day, itself included; None is the last finished session.
        refresh: Fetch what is held again too, whole.
        progress: Called with (symbols done, symbols in all, the one that is next).

    Returns:
        One entry a symbol, failed or not, in their order.

    Raises:
        ConfigError: If ``QHQ_YAHOO_URL`` is not safe.
    """
    names = list(dict.fromkeys(symbol.strip().upper() for symbol in symbols))
    span = _Span(start, end, offline=False, yahoo=None)
    done = []
    for number, symbol in enumerate(names):
        progress(number, len(names), symbol)
        try:
            done.append(span.account(symbol, refresh=refresh))
        except DataError as error:
            done.append(Fetched(symbol, error=str(error)))
    return done


class _Span:
    """One span of any symbol's prices, through one session that opens only when something is asked."""

    def __init__(self, start: date | None, end: date | None, *, offline: bool, yahoo: Yahoo | None) -> None:
        self._start, self._end = start, end
        self._offline, self._yahoo = offline, yahoo

    def load(self, symbol: str) -> pd.DataFrame:
        """From the cache, brought up to the span first where it does not hold it."""
        with lock_entry(symbol) as path:
            held = read_entry(path)
            if held is None or not held.covers(self._start, self._end, offline=self._offline):
                if self._offline:
                    raise self._not_held(symbol, held)
                held = self._update(symbol, held)
                write_entry(path, symbol, held)
        return cut_history(held.frame, self._start, self._end)

    def account(self, symbol: str, *, refresh: bool) -> Fetched:
        """Bring the cache up to the span, fetching again with ``refresh`` what is held; and say what came."""
        held = read_entry(entry_path(symbol))
        at_hand = held is not None and held.covers(self._start, self._end, offline=False)
        asks = refresh or not at_hand
        if asks:
            self._open()
        if held is not None and refresh:
            self._refetch(symbol, held)
        _check_request((symbol,), self._start, self._end)
        return _account(symbol, self.load(symbol), "fetched" if asks else "cached")

    def _refetch(self, symbol: str, held: CachedHistory) -> None:
        """Fetch a held span again; the old rows stay until the new ones are there."""
        yahoo = self._open()
        with lock_entry(symbol) as path:
            bars = fetch_bars(symbol, held.start, yahoo=yahoo)
            write_entry(
                path, symbol, CachedHistory(bars.frame, held.start, held.end, bars.through, yahoo.now())
            )

    def _update(self, symbol: str, held: CachedHistory | None) -> CachedHistory:
        """Bring an entry up to now: the rows that are missing, or all of them."""
        start = min(self._start or EARLIEST, held.start if held else date.max)
        yahoo = self._open()
        bars = None
        # Rows from before those that are held cannot be appended: then all of them are fetched.
        if held is not None and start == held.start:
            fresh = fetch_bars(symbol, held.frame["date"].iloc[-_OVERLAP:].iloc[0].date(), yahoo=yahoo)
            bars = _joined(held, fresh)
        if bars is None:
            bars = fetch_bars(symbol, start, yahoo=yahoo)
            _check_nothing_lost(held, bars, entry_path(symbol))
        end = max(self._end or bars.through, held.end if held else date.min)
        return CachedHistory(bars.frame, start, end, bars.through, fetched_at=yahoo.now())

    def _open(self) -> Yahoo:
        from qhq.data.yahoo.client import open_yahoo

        if self._yahoo is None:
            self._yahoo = open_yahoo()
        return self._yahoo

    def _not_held(self, symbol: str, held: CachedHistory | None) -> DataError:
        span = "".join(
            f" --{key} {day}" for key, day in (("start", self._start), ("end", self._end)) if day is not None
        )
        return DataError(
            f"Offline, the cache must hold {symbol} from {self._start or 'its first day'} "
            f"to {self._end or 'its last'}",
            got="nothing, or a damaged file" if held is None else f"{held.start} to {held.through}",
            fix=f"Run once with a network: qhq data fetch {symbol}{span}",
        )


def _joined(held: CachedHistory, fresh: Bars) -> Bars | None:
    """Append fresh rows to held ones; None if Yahoo now tells the past otherwise or an action is new."""
    first = fresh.frame["date"].iloc[0]
    old = held.frame[held.frame["date"] >= first]
    again, new = fresh.frame.iloc[: len(old)], fresh.frame.iloc[len(old) :]
    acted = ((new["dividend"] != 0) | (new["split"] != 0)).any()
    if len(old) != min(_OVERLAP, len(held.frame)) or not _same(old, again) or acted:
        return None
    kept = held.frame[held.frame["date"] < first]
    return Bars(pd.concat([kept, fresh.frame], ignore_index=True), max(held.through, fresh.through))


def _same(old: pd.DataFrame, again: pd.DataFrame) -> bool:
    if not np.array_equal(old["date"], again["date"]):
        return False
    numbers = list(RAW[2:])
    return np.allclose(old[numbers], again[numbers], rtol=_TOLERANCE, atol=0, equal_nan=True)


def _check_nothing_lost(held: CachedHistory | None, bars: Bars, path: Path) -> None:
    """A reply that is well formed and yet lacks sessions that it had before is half a reply."""
    if held is None:
        return
    lost = held.frame.loc[~held.frame["date"].isin(bars.frame["date"]), "date"]
    if len(lost):
        raise DataError(
            f"Yahoo must still have every session of {held.frame['symbol'].iloc[0]} that it had before",
            got=f"{len(lost)} fewer, {lost.iloc[0].date()} among them",
            fix=f"Run the command again later; if it stays, delete {path} to start afresh",
        )


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
