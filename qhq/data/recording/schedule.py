"""When to record: after each session's close, again the same evening for what failed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

EXCHANGE = ZoneInfo("America/New_York")
CLOSE = time(16, 0)
DELAYS = (timedelta(minutes=20), timedelta(hours=2), timedelta(hours=4))
"""From the close to each slot of a day. Free quotes lag by a quarter of an hour; the later slots are for
symbols that failed at the slots before."""

NAP_SECONDS = 600.0
"""Longest single sleep: a laptop that was shut in between wakes up late by no more than this."""

Clock = Callable[[], datetime]
Sleep = Callable[[float], None]
Record = Callable[[Collection[str]], Collection[str]]


def utc_now() -> datetime:
    """Tell the time, with its zone."""
    return datetime.now(tz=UTC)


def slots_of(moment: datetime) -> tuple[datetime, ...]:
    """Slots of the day that it is at the exchange, ascending, in UTC; none at a weekend."""
    day = moment.astimezone(EXCHANGE).date()
    if day.weekday() >= 5:
        return ()
    return tuple((datetime.combine(day, CLOSE, EXCHANGE) + delay).astimezone(UTC) for delay in DELAYS)


def first_slot(moment: datetime) -> datetime:
    """Slot at which a loop that starts now records first: now, if today's session has closed."""
    slots = slots_of(moment)
    return moment if slots and slots[0] <= moment else next_slot(moment, retry=False)


def next_slot(moment: datetime, *, retry: bool) -> datetime:
    """First slot after a moment: a day's first, or any of them if something is to be tried again."""
    day = moment
    while True:
        slots = slots_of(day) if retry else slots_of(day)[:1]
        for slot in slots:
            if slot > moment:
                return slot
        day += timedelta(days=1)


def record_daily(
    symbols: Collection[str],
    record: Record,
    *,
    clock: Clock,
    sleep: Sleep,
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
        wait_until(slot, clock, sleep)
        # Woken up on a later day, this is that day's first slot.
        again = failed and slot in slots_of(clock())[1:]
        failed = record(failed if again else symbols)
        slot = next_slot(clock(), retry=bool(failed))


def wait_until(moment: datetime, clock: Clock, sleep: Sleep) -> None:
    """Sleep in naps until it is time."""
    while (seconds := (moment - clock()).total_seconds()) > 0:
        sleep(min(seconds, NAP_SECONDS))
