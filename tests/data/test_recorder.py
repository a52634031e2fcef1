"""The recorder: each symbol for itself, whatever can be had is kept.

The schedule: one slot after each close, later ones for what failed; a clock that only naps move.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qhq.data.recorder import (
    _NAP_SECONDS,
    first_slot,
    next_slot,
    record_chains,
    record_daily,
    slots_of,
)
from qhq.data.recording import read_recorded
from tests.data.chains import EXPIRIES, Source

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Time:
    """A clock that sleeping moves; ends the loop when ``until`` is past."""

    def __init__(self, now: str, until: str) -> None:
        self.now, self.until = at(now), at(until)
        self.naps: list[float] = []

    def clock(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += timedelta(seconds=seconds)
        if self.now > self.until:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("now", "retry", "slot"),
    [
        ("2026-11-20 12:00", False, "2026-11-20 21:20"),  # winter: New York is 5 hours behind
        ("2026-07-20 12:00", False, "2026-07-20 20:20"),
        ("2026-11-20 21:20", False, "2026-11-23 21:20"),  # Friday to Monday
        ("2026-11-20 21:20", True, "2026-11-20 23:00"),
        ("2026-11-21 01:30", True, "2026-11-23 21:20"),  # still Friday's evening, after the last slot
        ("2026-11-22 15:00", False, "2026-11-23 21:20"),
        ("2026-03-06 23:00", False, "2026-03-09 20:20"),  # the clocks change between
        ("2026-11-25 22:00", False, "2026-11-27 18:20"),  # Thanksgiving, and a half day
        ("2026-11-27 18:20", True, "2026-11-27 20:00"),
    ],
)
def test_next_slot(now, retry, slot):
    assert next_slot(at(now), retry=retry) == at(slot)


@given(MOMENTS, st.booleans())
def test_slots_are_ahead_in_sessions_and_never_far(moment, retry):
    slot = next_slot(moment, retry=retry)
    assert moment < slot <= moment + timedelta(days=5)
    assert slot in slots_of(slot)
    assert next_slot(moment, retry=True) <= next_slot(moment, retry=False)


def test_a_loop_begun_in_the_evening_records_at_once_and_at_a_weekend_waits():
    assert first_slot(at("2026-11-20 22:00")) == at("2026-11-20 22:00")
    assert first_slot(at("2026-11-20 20:00")) == at("2026-11-20 21:20")
    assert first_slot(at("2026-11-21 18:00")) == at("2026-11-23 21:20")


def run(time: Time, failures: list[list[str]]) -> list[tuple[datetime, list[str]]]:
    calls: list[tuple[datetime, list[str]]] = []

    def record(symbols):
        calls.append((time.now, list(symbols)))
        return failures.pop(0) if failures else []

    with pytest.raises(KeyboardInterrupt):
        record_daily(["AAPL", "AMD"], record, clock=time.clock, sleep=time.sleep, waiting=lambda slot: None)
    return calls


def test_every_session_once_and_no_weekend():
    time = Time("2026-11-19 12:00", "2026-11-24 12:00")
    both = ["AAPL", "AMD"]
    assert run(time, []) == [
        (at("2026-11-19 21:20"), both),
        (at("2026-11-20 21:20"), both),
        (at("2026-11-23 21:20"), both),
    ]
    assert max(time.naps) <= _NAP_SECONDS


def test_what_failed_is_tried_again_the_same_evening():
    calls = run(Time("2026-11-20 12:00", "2026-11-24 12:00"), [["AMD"], ["AMD"], ["AMD"]])
    assert calls == [
        (at("2026-11-20 21:20"), ["AAPL", "AMD"]),
        (at("2026-11-20 23:00"), ["AMD"]),
        (at("2026-11-21 01:00"), ["AMD"]),
        (at("2026-11-23 21:20"), ["AAPL", "AMD"]),
    ]


def test_woken_up_a_day_late_it_records_everything():
    time = Time("2026-11-19 12:00", "2026-11-20 23:59")
    plain = time.sleep

    def shut(seconds: float) -> None:
        plain(seconds)
        if at("2026-11-19 22:30") < time.now < at("2026-11-19 23:00"):
            time.now = at("2026-11-20 22:00")

    time.sleep = shut
    assert run(time, [["AMD"]]) == [
        (at("2026-11-19 21:20"), ["AAPL", "AMD"]),
        (at("2026-11-20 22:00"), ["AAPL", "AMD"]),
    ]


def test_naps_never_run_past_a_slot():
    time = Time("2026-11-20 21:00", "2026-11-20 21:30")
    calls = run(time, [])
    assert [moment for moment, _ in calls] == [at("2026-11-20 21:20")]
    slots = slots_of(at("2026-11-20 12:00"))
    assert all(later - earlier > timedelta(minutes=30) for earlier, later in pairwise(slots))


NOW = datetime(2026, 11, 20, 21, 20, tzinfo=UTC)


def quiet(done: int, total: int, what: str) -> None:
    """Nobody looks."""


def test_every_expiry_of_every_symbol_is_recorded(tmp_path):
    seen: list[tuple[int, int, str]] = []
    done = record_chains(
        ["AAPL", "AMD"], tmp_path, source=Source(NOW), progress=lambda *step: seen.append(step)
    )
    assert [(each.symbol, each.expiries, each.contracts, each.error) for each in done] == [
        ("AAPL", 2, 8, None),
        ("AMD", 2, 8, None),
    ]
    assert seen[:2] == [(0, 2, f"AAPL {EXPIRIES[0]}"), (1, 2, f"AAPL {EXPIRIES[1]}")]
    assert len(read_recorded(tmp_path)) == 16


def test_only_the_nearest_expiries(tmp_path):
    record_chains(["AAPL"], tmp_path, source=Source(NOW), expiries=1, progress=quiet)
    assert read_recorded(tmp_path)["expiry"].dt.date.unique().tolist() == [EXPIRIES[0]]


def test_a_symbol_that_fails_costs_no_other(tmp_path):
    done = record_chains(["BAD", "AMD"], tmp_path, source=Source(NOW, {"BAD"}), progress=quiet)
    assert [each.error for each in done] == ["no options of BAD", None]
    assert read_recorded(tmp_path)["underlying"].unique().tolist() == ["AMD"]


def test_what_came_before_a_failure_is_kept(tmp_path):
    source = Source(NOW, {("AAPL", EXPIRIES[1])})
    done = record_chains(["AAPL"], tmp_path, source=source, progress=quiet)
    assert done[0].error == "the line is dead"
    assert (done[0].expiries, done[0].contracts) == (1, 4)
    source.broken.clear()
    assert record_chains(["AAPL"], tmp_path, source=source, progress=quiet)[0].files[0].added == 4
    assert len(read_recorded(tmp_path)) == 8


def test_an_interrupt_ends_it_and_keeps_what_came(tmp_path):
    def interrupt(done: int, total: int, what: str) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_chains(["AAPL"], tmp_path, source=Source(NOW), progress=interrupt)
    assert len(read_recorded(tmp_path)) == 4


def test_a_folder_that_cannot_be_written_is_reported_for_each_symbol(tmp_path):
    (tmp_path / "chains").write_text("a file")
    done = record_chains(["AAPL", "AMD"], tmp_path / "chains", source=Source(NOW), progress=quiet)
    assert all("must be writable" in str(each.error) for each in done)
