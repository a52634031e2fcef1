"""Recording: when to come (after each close, again the same evening for what failed), and what to keep.

One symbol that fails costs no other symbol anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

import pandas as pd

from qhq.data.recording import Appended, ChainStore
from qhq.data.sessions import session_close

_EXCHANGE = ZoneInfo("America/New_York")
# From the close to each slot of a day. Free quotes lag by a quarter of an hour; the later slots are for
# symbols that failed at the slots before.
_DELAYS = (timedelta(minutes=20), timedelta(hours=2), timedelta(hours=4))

# Longest single sleep.
# A laptop that was shut in between wakes up late by no more than this.
_NAP_SECONDS = 600.0

_Clock = Callable[[], datetime]
_Sleep = Callable[[float], None]
_Record = Callable[[Collection[str]], Collection[str]]


def utc_now() -> datetime:
    """Tell the time, with its zone."""
    return datetime.now(tz=UTC)


def slots_of(moment: datetime) -> tuple[datetime, ...]:
    """Slots of the day that it is at the exchange, ascending, in UTC; none without a session."""
    close = session_close(moment.astimezone(_EXCHANGE).date())
    return () if close is None else tuple(close + delay for delay in _DELAYS)


def first_slot(moment: datetime) -> datetime:
    """Slot at which a loop that starts now records first: now, if today's session has closed."""
    slots = slots_of(moment)
    return moment if slots and slots[0] <= moment else next_slot(moment, retry=False)


def next_slot(moment: datetime, *, retry: bool) -> datetime:
    """First slot after a moment: a day's first, or any of them if something is to be tried again."""
    # By days of the exchange, not of this machine, whose date may be another one in the evening.
    day = moment
    while True:
        slots = slots_of(day) if retry else slots_of(day)[:1]
        for slot in slots:
            if slot > moment:
                return slot
        day += timedelta(days=1)


def record_daily(
    symbols: Collection[str],
    record: _Record,
    *,
    clock: _Clock,
    sleep: _Sleep,
    waiting: Callable[[datetime], None],
) -> None:
    """Record at every slot, until it is interrupted.

    Args:
        symbols: What is recorded at the first slot of each day.
        record: Records some symbols and gives back those that failed.
        clock: Tells the time, with a zone.
        sleep: Waits some seconds.
        waiting: Called with the next slot, before it is waited for.
    """
    failed: Collection[str] = ()
    slot = first_slot(clock())
    while True:
        waiting(slot)
        while (seconds := (slot - clock()).total_seconds()) > 0:
            sleep(min(seconds, _NAP_SECONDS))
        # Woken up on a later day, this is that day's first slot.
        again = failed and slot in slots_of(clock())[1:]
        failed = record(failed if again else symbols)
        slot = next_slot(clock(), retry=bool(failed))


_Progress = Callable[[int, int, str], None]


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
        from qhq.data.yahoo.options import fetch_expiries

        return fetch_expiries(symbol, yahoo=self._yahoo)

    def chain(self, symbol: str, expiry: date) -> pd.DataFrame:
        """Ask Yahoo for one expiry."""
        from qhq.data.yahoo.options import fetch_chain

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
    progress: _Progress,
) -> list[Recorded]:
    """Fetch the chains of some symbols and append them to the panel below ``root``.

    What was fetched of a symbol before its failure is kept too.

    Args:
        symbols: Underlyings.
        root: Folder of the recording.
        source: Where chains come from.
        expiries: How many of the nearest expiries to record; None is all.
        progress: Called with (expiries done, expiries in all, what is fetched next).

    Returns:
        One entry a symbol, failed or not, in their order.
    """
    return [_record(symbol, ChainStore(root), source, expiries, progress) for symbol in symbols]


def _record(
    symbol: str, store: ChainStore, source: Chains, limit: int | None, progress: _Progress
) -> Recorded:
    outcome, frames = Recorded(symbol), list[pd.DataFrame]()
    # Whatever goes wrong with one symbol, the others' quotes of today cannot be had tomorrow.
    try:
        try:
            _fetch(symbol, source, limit, progress, frames)
        finally:
            if frames:
                # In a finally: expiries that were fetched before a failure, or before Ctrl-C, cannot be had
                # tomorrow.
                outcome.files = store.append(frames)
                outcome.expiries, outcome.contracts = len(frames), sum(map(len, frames))
    except Exception as error:
        outcome.error = str(error) or type(error).__name__
    return outcome


def _fetch(
    symbol: str, source: Chains, limit: int | None, progress: _Progress, frames: list[pd.DataFrame]
) -> None:
    """Add one chain after another to ``frames``, so that what came before a failure is at hand."""
    listed = sorted(source.expiries(symbol))[:limit]
    for number, expiry in enumerate(listed):
        progress(number, len(listed), f"{symbol} {expiry}")
        frames.append(source.chain(symbol, expiry))
