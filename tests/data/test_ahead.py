"""Sessions to come: which they are, and which series have what a forecast of them takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qhq.data.ahead import _cut_ahead, _left_out, _with_sessions
from qhq.data.panel import Panel
from qhq.data.sessions import find_calendar
from qhq.data.windows import Cut


def days(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[D]")


def following_sessions(given: np.ndarray, count: int) -> tuple[np.ndarray, str]:
    calendar = find_calendar(given)
    return calendar.after(count), calendar.words


def weekdays(first: str, last: str, keep: tuple[int, ...] = (0, 1, 2, 3, 4)) -> np.ndarray:
    every = np.arange(np.datetime64(first), np.datetime64(last) + 1)
    return every[np.isin((every.astype(int) + 3) % 7, keep)]


@pytest.mark.parametrize(
    ("last", "following"),
    [
        ("2013-03-01", "2013-03-04"),  # a Friday: the weekend
        ("2024-07-03", "2024-07-05"),  # before Independence Day
        ("2024-03-28", "2024-04-01"),  # the Thursday before Good Friday
        ("2024-11-27", "2024-11-29"),  # Thanksgiving; the half day after it is a session
        ("2024-12-31", "2025-01-02"),
    ],
)
def test_the_exchange_is_closed_at_weekends_and_on_holidays(last, following):
    sessions, calendar = following_sessions(days(last), 1)
    assert str(sessions[0]) == following
    assert "New York" in calendar


def test_a_horizon_steps_over_what_is_closed():
    sessions, _ = following_sessions(days("2024-07-03"), 3)
    np.testing.assert_array_equal(sessions, days("2024-07-05", "2024-07-08", "2024-07-09"))


def test_a_market_that_never_closes_goes_on_the_next_day():
    sessions, calendar = following_sessions(np.arange("2024-01-01", "2024-07-06", dtype="M8[D]"), 2)
    np.testing.assert_array_equal(sessions, days("2024-07-06", "2024-07-07"))
    assert "spacing" in calendar


def test_a_market_of_other_weekdays_keeps_to_them():
    sundays_to_thursdays = weekdays("2024-01-01", "2024-07-04", (6, 0, 1, 2, 3))
    np.testing.assert_array_equal(following_sessions(sundays_to_thursdays, 1)[0], days("2024-07-07"))


def test_weekly_rows_go_on_by_the_week():
    np.testing.assert_array_equal(
        following_sessions(weekdays("2024-01-01", "2024-06-30", (4,)), 2)[0], days("2024-07-05", "2024-07-12")
    )


def panel(*lengths: int, groups: tuple[str, ...] = (), expiry: tuple[str, ...] = ()) -> Panel:
    """Series that end together, of so many rows each."""
    sessions = weekdays("2024-05-01", "2024-06-12")
    dates = np.concatenate([sessions[len(sessions) - length :] for length in lengths])
    code = np.repeat(np.arange(len(lengths)), lengths)
    columns = [np.arange(len(dates), dtype=float) + 1]
    if groups:
        columns.append(np.array([days(each)[0].astype(float) for each in expiry])[code])
    names = tuple(f"S{number}" for number in range(len(lengths)))
    return Panel(
        names,
        ("mid", "expiry") if groups else ("close",),
        code,
        dates,
        np.column_stack(columns),
        groups=groups,
    )


def cut(name: str, window: int = 5, horizon: int = 2) -> Cut:
    return Cut(window, horizon, (name,), (name,))


def looked_ahead(given: Panel, how: Cut):
    sessions, _ = following_sessions(np.unique(given.dates), how.horizon)
    windows = _cut_ahead(_with_sessions(given, sessions), how, sessions)
    newest = windows.select(windows.input_dates[:, -1] == given.dates.max())
    return newest, *_left_out(given, how, newest, sessions)


def test_every_series_with_enough_rows_has_one_window_that_ends_with_its_last_row():
    given = panel(20, 6)
    windows, left_out, _ = looked_ahead(given, cut("close"))
    assert windows.symbol.tolist() == ["S0", "S1"]
    assert left_out == ()
    np.testing.assert_array_equal(windows.dates, np.tile(days("2024-06-13", "2024-06-14"), (2, 1)))
    np.testing.assert_array_equal(windows.inputs[0, :, 0], np.arange(16.0, 21.0))
    assert np.isnan(windows.targets).all()


def test_a_series_that_was_listed_lately_is_left_out_with_a_reason():
    windows, (listed,), _ = looked_ahead(panel(20, 3), cut("close"))
    assert windows.symbol.tolist() == ["S0"]
    assert listed.symbol == "S1"
    assert "has 3 rows since 2024-06-10, where a forecast takes 5" in listed.reason


def test_a_series_that_ends_before_the_others_is_left_out_with_a_reason():
    given = panel(20, 20)
    given = given.keep((given.code == 0) | (given.dates < np.datetime64("2024-06-11")))
    windows, (stale,), _ = looked_ahead(given, cut("close"))
    assert windows.symbol.tolist() == ["S0"]
    assert stale.reason == "has no row after 2024-06-10, where the data go on to 2024-06-12"


def test_no_window_looks_back_over_a_split():
    given = panel(20, 20)
    split = (given.code == 1) & (given.dates >= np.datetime64("2024-06-10"))
    windows, (halved,), _ = looked_ahead(replace(given, segment=given.code + split), cut("close"))
    assert windows.symbol.tolist() == ["S0"]
    assert "3 rows since 2024-06-10" in halved.reason


def test_contracts_are_forecast_to_their_expiry_and_no_further():
    expiry = ("2024-07-19", "2024-06-13", "2024-06-12")
    windows, (soon,), expired = looked_ahead(panel(20, 20, 20, groups=("X",) * 3, expiry=expiry), cut("mid"))
    assert windows.symbol.tolist() == ["S0"]
    assert soon.symbol == "S1"
    assert soon.reason.startswith("expires on 2024-06-13, before the last session to be forecast, 2024-06-14")
    assert expired == 1
