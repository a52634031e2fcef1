"""Sessions: what follows the last of some dates, on an exchange that closes or by the dates' own spacing."""

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from qhq.data.sessions import (
    fits,
    is_closed,
    last_trading_day,
    missed_sessions,
    next_session,
    session_close,
)
from qhq.errors import ConfigError, DataError


def new_york(first, last):
    """Weekdays without the holidays of New York."""
    days = pd.bdate_range(first, last)
    return days[~is_closed(days.to_numpy().astype("datetime64[D]").astype(np.int64))]


def following(dates, **more):
    return next_session(pd.DatetimeIndex(dates), **more).strftime("%Y-%m-%d").tolist()


# --- The next session ---


@pytest.mark.parametrize(
    ("last", "ahead"),
    [
        ("2026-11-25", ["2026-11-27", "2026-11-30"]),  # Thanksgiving, and the half day behind it
        ("2026-12-23", ["2026-12-24", "2026-12-28"]),  # a half day, and Christmas
        ("2026-07-02", ["2026-07-06", "2026-07-07"]),  # the Fourth, observed on the Friday
        ("2012-10-26", ["2012-10-31", "2012-11-01"]),  # a hurricane, planned by nobody
        ("2010-12-31", ["2011-01-03", "2011-01-04"]),  # New Year's Day on a Saturday
    ],
)
def test_after_us_data_come_the_sessions_of_new_york(last, ahead):
    assert following(new_york(pd.Timestamp(last) - pd.Timedelta(days=200), last), sessions=2) == ahead


@given(st.dates(date(1963, 1, 1), date(2050, 1, 1)), st.integers(1, 30))
def test_sessions_ahead_are_ascending_open_and_without_a_hole(last, count):
    dates = new_york(last - pd.Timedelta(days=90), last)
    ahead = next_session(dates, sessions=count)
    assert len(ahead) == count
    assert ahead[0] > dates[-1]
    days = np.concatenate([dates[-1:].to_numpy(), ahead.to_numpy()]).astype("datetime64[D]")
    assert (missed_sessions(days[:-1], days[1:]) == 0).all()
    assert not is_closed(days.astype(np.int64)).any()


def test_another_exchange_is_asked_by_its_name():
    london = pd.bdate_range("2026-09-01", "2026-12-24")
    assert following(london, calendar="XLON", sessions=2) == ["2026-12-29", "2026-12-30"]
    with pytest.raises(ConfigError, match="such as XNYS or XLON. Got 'XLOM'"):
        following(london, calendar="XLOM")


@pytest.mark.parametrize(
    ("dates", "ahead"),
    [
        (pd.bdate_range("2020-01-01", "2026-11-25"), ["2026-11-26", "2026-11-27", "2026-11-30"]),
        (pd.date_range("2026-01-01", "2026-11-25"), ["2026-11-26", "2026-11-27", "2026-11-28"]),
        (
            pd.bdate_range("2025-01-01", "2026-11-25", freq="C", weekmask="Sun Mon Tue Wed Thu"),
            ["2026-11-26", "2026-11-29", "2026-11-30"],
        ),
        (pd.date_range("2020-01-01", "2026-11-01", freq="MS"), ["2026-12-01", "2027-01-01", "2027-02-01"]),
        (pd.date_range("2020-01-01", "2026-11-01", freq="ME"), ["2026-11-30", "2026-12-31", "2027-01-31"]),
        (pd.date_range("2020-01-01", "2026-11-01", freq="BME"), ["2026-11-30", "2026-12-31", "2027-01-29"]),
        (pd.date_range("2020-01-01", "2026-11-01", freq="QE"), ["2026-12-31", "2027-03-31", "2027-06-30"]),
        (pd.date_range("2020-01-01", "2026-11-01", freq="W-FRI"), ["2026-11-06", "2026-11-13", "2026-11-20"]),
        (
            pd.date_range("2020-01-01", "2026-11-01", freq="MS").delete(75),
            ["2026-12-01", "2027-01-01", "2027-02-01"],
        ),
        (["2026-11-20", "2026-11-25"], ["2026-11-30", "2026-12-05", "2026-12-10"]),
    ],
    ids=["holidays too", "crypto", "Tel Aviv", "months", "month ends", "last weekdays", "quarters", "Fridays",
         "a month missing", "two dates"],
)  # fmt: skip
def test_data_of_no_known_exchange_go_on_as_they_are_spaced(dates, ahead):
    assert following(dates, sessions=3) == ahead


def test_order_and_repeats_of_the_dates_do_not_matter():
    dates = new_york("2026-01-02", "2026-11-25")
    mixed = pd.DatetimeIndex(np.random.default_rng(3).permutation(np.tile(dates.to_numpy(), 3)))
    assert following(mixed.append(pd.DatetimeIndex([pd.NaT]))) == following(dates) == ["2026-11-27"]


def test_without_a_date_there_is_none_after_it():
    with pytest.raises(DataError, match="Dates must be given"):
        next_session(pd.DatetimeIndex([]))


# --- The calendar of New York ---


@pytest.mark.parametrize("freq", ["W-FRI", "BME", "D"])
def test_other_frequencies_do_not_fit_a_calendar_of_sessions(freq):
    assert not fits(pd.date_range("2020-01-01", "2024-01-01", freq=freq).to_numpy())


def test_a_typing_error_does_not_unfit_a_table_and_a_years_holidays_do():
    own = new_york("2020-01-01", "2024-01-01")
    assert fits(own.append(pd.DatetimeIndex(["2021-07-04"])).to_numpy())
    assert not fits(pd.bdate_range("2020-01-01", "2024-01-01").to_numpy())
    assert not fits(np.array(["1950-01-03"], dtype="datetime64[D]"))


@pytest.mark.parametrize(
    ("day", "close"),
    [
        (date(2026, 11, 25), datetime(2026, 11, 25, 21, tzinfo=UTC)),
        (date(2026, 11, 26), None),
        (date(2026, 11, 27), datetime(2026, 11, 27, 18, tzinfo=UTC)),
        (date(2026, 11, 28), None),
        (date(2026, 7, 1), datetime(2026, 7, 1, 20, tzinfo=UTC)),
    ],
    ids=["a day", "Thanksgiving", "a half day", "Saturday", "summer"],
)
def test_a_session_ends_at_four_or_at_one(day, close):
    assert session_close(day) == close


@pytest.mark.parametrize(
    ("written", "traded"),
    [
        ("2015-01-17", "2015-01-16"),
        ("2014-04-19", "2014-04-17"),
        ("2008-03-22", "2008-03-20"),
        ("2019-04-19", "2019-04-18"),
        ("2024-03-29", "2024-03-28"),
        ("2010-12-24", "2010-12-23"),
        ("2022-06-20", "2022-06-17"),
        ("2021-06-18", "2021-06-18"),
        ("2021-12-31", "2021-12-31"),
        ("2020-02-21", "2020-02-21"),
        ("2001-09-15", "2001-09-10"),
        ("1997-01-20", "1997-01-20"),
    ],
    ids=["Saturday", "Easter Saturday", "Easter", "Good Friday", "Good Friday 2024", "Christmas",
         "Juneteenth", "before Juneteenth", "New Year's Eve", "a Friday",
         "September 2001", "before Martin Luther King Day"],
)  # fmt: skip
def test_the_last_trading_day_of_an_expiry(written, traded):
    day = np.array([np.datetime64(written)]).astype("datetime64[D]").astype(float)
    assert last_trading_day(day).astype("datetime64[D]").astype(str).tolist() == [traded]
    assert not is_closed(last_trading_day(day)).any()


def test_missing_expiries_stay_missing():
    assert_array_equal(last_trading_day(np.array([np.nan])), [np.nan])
