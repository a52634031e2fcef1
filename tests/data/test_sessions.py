"""Sessions: what follows the last of some dates, on an exchange that closes or by the dates' own spacing."""

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from qhq.data import sessions
from qhq.data.sessions import (
    Calendar,
    find_calendar,
    fits,
    is_closed,
    last_trading_day,
    missed_sessions,
    session_close,
    strays,
    suggest_calendars,
)
from qhq.errors import ConfigError, DataError


def new_york(first, last):
    """Weekdays without the holidays of New York."""
    days = pd.bdate_range(first, last)
    return days[~is_closed(days.to_numpy().astype("datetime64[D]").astype(np.int64))]


def following(dates, count=1, calendar=None):
    return find_calendar(pd.DatetimeIndex(dates).to_numpy(), calendar).after(count).astype(str).tolist()


def days(*texts):
    return np.array(texts, dtype="datetime64[D]")


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
    assert following(new_york(pd.Timestamp(last) - pd.Timedelta(days=200), last), count=2) == ahead


@given(st.dates(date(1963, 1, 1), date(2050, 1, 1)), st.integers(1, 30))
def test_sessions_ahead_are_ascending_open_and_without_a_hole(last, count):
    dates = new_york(last - pd.Timedelta(days=90), last)
    ahead = find_calendar(dates.to_numpy()).after(count)
    assert len(ahead) == count
    assert ahead[0] > dates[-1]
    days = np.concatenate([dates[-1:].to_numpy().astype("datetime64[D]"), ahead])
    assert (missed_sessions(days[:-1], days[1:]) == 0).all()
    assert not is_closed(days.astype(np.int64)).any()


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
    assert following(dates, count=3) == ahead


def test_dates_that_are_none_of_new_yorks_are_named():
    every = pd.date_range("2026-11-16", "2026-11-27").to_numpy()  # two weekend days, and Thanksgiving
    assert find_calendar(every).words.endswith(
        "(not New York's, which was closed on 2026-11-21, 2026-11-22, 2026-11-26)"
    )
    days = pd.bdate_range("2024-01-01", "2024-12-31").to_numpy()
    assert "closed on 2024-09-02, 2024-11-28, 2024-12-25 and 7 more)" in find_calendar(days).words


def test_order_and_repeats_of_the_dates_do_not_matter():
    dates = new_york("2026-01-02", "2026-11-25")
    mixed = pd.DatetimeIndex(np.random.default_rng(3).permutation(np.tile(dates.to_numpy(), 3)))
    assert following(mixed.append(pd.DatetimeIndex([pd.NaT]))) == following(dates) == ["2026-11-27"]


def test_without_a_date_there_is_none_after_it():
    with pytest.raises(DataError, match="Dates must be given"):
        find_calendar(days())


# --- A calendar that is named ---

# Rows that end on a day, the calendar of their exchange, and the next two sessions.
ELSEWHERE = {
    "a weekend in London": ("XLON", "2026-10-30", ["2026-11-02", "2026-11-03"]),
    "Boxing Day, moved": ("XLON", "2026-12-24", ["2026-12-29", "2026-12-30"]),
    "the Queen's funeral": ("XLON", "2022-09-16", ["2022-09-20", "2022-09-21"]),
    "Thanksgiving in Frankfurt": ("XETR", "2026-11-25", ["2026-11-26", "2026-11-27"]),
    "Whit Monday until 2021": ("XETR", "2021-05-21", ["2021-05-25", "2021-05-26"]),
    "Golden Week": ("XTKS", "2026-05-01", ["2026-05-07", "2026-05-08"]),
    "an emperor abdicates": ("XTKS", "2019-04-26", ["2019-05-07", "2019-05-08"]),
    "a half day before the Lunar New Year": ("XHKG", "2026-02-13", ["2026-02-16", "2026-02-20"]),
    "crypto": ("24/7", "2026-12-24", ["2026-12-25", "2026-12-26"]),
}


def rows_of(calendar, last):
    """A year of an exchange's days."""
    known, last = sessions._sessions(calendar), np.datetime64(last)
    return pd.DatetimeIndex(known[(known > last - 365) & (known <= last)])


@pytest.mark.parametrize("case", ELSEWHERE)
def test_sessions_of_another_exchange_follow_its_calendar(case):
    calendar, last, ahead = ELSEWHERE[case]
    assert following(rows_of(calendar, last), calendar=calendar, count=2) == ahead


@pytest.mark.parametrize(
    ("calendar", "day", "half"),
    [
        ("XLON", "2026-12-24", True),
        ("XLON", "2026-11-27", False),
        ("XHKG", "2026-12-24", True),
        ("XTKS", "2026-12-30", False),
        ("24/7", "2026-12-25", False),
    ],
)
def test_a_half_day_is_the_exchanges_own(calendar, day, half):
    assert Calendar(days("2026-11-20"), calendar).is_half_day(np.datetime64(day)) is half


def test_rows_of_another_market_are_refused_with_what_does_not_fit():
    london, crypto = rows_of("XLON", "2026-11-20"), pd.date_range("2026-01-01", "2026-11-20")
    with pytest.raises(DataError, match="dates on which it is closed, such as 2026-11-03"):
        find_calendar(london.to_numpy(), "XTKS")
    with pytest.raises(DataError, match="no row on a Saturday, on which it is open"):
        find_calendar(london.to_numpy(), "24/7")
    with pytest.raises(DataError, match="closed, such as 2026-11-15"):
        find_calendar(crypto.to_numpy(), "XLON")
    with pytest.raises(DataError, match="a row every 5 sessions"):
        find_calendar(pd.bdate_range("2026-01-01", "2026-11-20", freq="W-FRI").to_numpy(), "24/5")
    with pytest.raises(DataError, match="where it is known from 1997-01-06"):
        find_calendar(days("1990-01-04", "1990-01-05"), "XTKS")


def test_one_day_that_a_calendar_does_not_know_is_no_reason_to_refuse():
    assert following([*new_york("2026-10-01", "2026-11-25"), "2026-10-04"], calendar="XNYS") == ["2026-11-27"]


def test_unknown_calendars_and_those_that_cannot_be_opened_are_told_apart():
    with pytest.raises(ConfigError, match=r"such as XNYS, XLON or 24/7. Got 'XLOM'.*XLON"):
        find_calendar(days("2026-11-20"), "XLOM")
    with pytest.raises(ConfigError, match=r"installed exchange_calendars can open. Got 'ASEX'"):
        find_calendar(days("2026-11-19"), "ASEX")  # Orthodox Easter, with pandas 3.1


def test_the_end_of_a_calendar_is_said():
    with pytest.raises(DataError, match=r"Got XHKG, whose holidays are known to 2049-12-31. Update"):
        find_calendar(days("2049-12-30"), "XHKG").after(2)
    assert str(find_calendar(days("2060-12-30")).after(2)[1]) == "2061-01-03"  # New York was not asked for


def test_sessions_that_passed_are_counted_as_they_are_known():
    assert find_calendar(rows_of_week("2026-12-21", "2026-12-24"), "XLON").missed(date(2026, 12, 30)) == 1
    assert find_calendar(rows_of_week("2026-12-21", "2026-12-24")).missed(date(2026, 12, 30)) == 2
    crypto = pd.date_range("2026-11-01", "2026-11-20").to_numpy()
    assert find_calendar(crypto).missed(date(2026, 11, 25)) == 4
    weekly = pd.date_range("2026-01-01", "2026-11-20", freq="W-FRI").to_numpy()
    assert find_calendar(weekly).missed(date(2026, 12, 10)) == 2
    assert (
        find_calendar(weekly).missed(date(2026, 11, 20))
        == find_calendar(weekly).missed(date(2020, 1, 1))
        == 0
    )


def rows_of_week(first, last):
    return pd.bdate_range(first, last).to_numpy()


def test_strays_are_of_the_named_calendar_or_of_new_york_where_it_fits():
    own = np.append(
        new_york("2020-01-01", "2024-01-01").to_numpy().astype("datetime64[D]"), days("2021-07-05")
    )
    assert own[strays(own, None)].astype(str).tolist() == ["2021-07-05"]
    assert not strays(
        pd.bdate_range("2020-01-01", "2024-01-01").to_numpy().astype("datetime64[D]"), None
    ).any()
    assert "2021-05-03" in own[strays(own, "XLON")].astype(str)
    assert not strays(days("NaT", "1950-01-01"), "XNYS").any()


def test_endings_of_symbols_suggest_a_calendar():
    assert suggest_calendars(["VOD.L", "HSBA.L"]) == ["XLON"]
    assert suggest_calendars(["SAP.DE", "7203.T", "RELIANCE.NS", "0700.HK"]) == [
        "XETR",
        "XTKS",
        "XBOM",
        "XHKG",
    ]
    assert suggest_calendars(["AAPL", "BRK.B", "BF-B", "L", ".L"]) == []
    assert suggest_calendars(["btc-usd"]) == ["24/7"]


def test_every_suggested_calendar_can_be_opened():
    import exchange_calendars

    assert set(sessions._ENDINGS.values()) <= set(exchange_calendars.get_calendar_names())


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


# --- Weeks and months ---


def last_days(first, last, unit):
    open_on = new_york(first, last)
    return open_on.to_series().groupby(open_on.to_period(unit)).last().to_numpy()


@pytest.mark.parametrize(
    ("last", "ahead"),
    [
        ("2026-11-20", ["2026-11-27", "2026-12-04"]),  # Thanksgiving's half day ends its week
        ("2022-04-08", ["2022-04-14", "2022-04-22"]),  # Good Friday
        ("2026-12-18", ["2026-12-24", "2026-12-31"]),  # both Fridays are holidays
    ],
)
def test_weeks_go_on_with_the_last_session_of_the_next(last, ahead):
    weeks = last_days(pd.Timestamp(last) - pd.Timedelta(weeks=60), last, "W-SUN")
    assert following(weeks, 2) == ahead
    assert find_calendar(weeks).every == "week"
    assert find_calendar(weeks).missed(date.fromisoformat(ahead[1])) == 1


def test_months_go_on_with_the_last_session_of_the_next():
    months = last_days("2020-01-01", "2026-04-30", "M")
    assert following(months, 2) == ["2026-05-29", "2026-06-30"]
    assert find_calendar(months).words == "the months of the calendar of New York"
    assert find_calendar(months).missed(date(2026, 6, 10)) == 1


def test_weeks_of_an_exchange_that_a_config_names():
    fridays = pd.date_range("2026-01-02", "2026-03-27", freq="W-FRI").to_numpy()
    found = find_calendar(fridays, "XLON", "week")
    # Good Friday, and Easter Monday, which does not matter.
    assert found.after(2).astype(str).tolist() == ["2026-04-02", "2026-04-10"]


def test_mondays_are_no_ends_of_weeks():
    mondays = pd.date_range("2025-01-06", periods=60, freq="W-MON")
    assert find_calendar(mondays.to_numpy()).every is None
    assert following(mondays) == [(mondays[-1] + pd.Timedelta(weeks=1)).strftime("%Y-%m-%d")]


def test_weeks_of_another_market_go_on_by_their_usual_day():
    fridays = pd.date_range("2025-01-03", periods=30, freq="W-FRI")
    with_holidays = fridays.where(np.arange(30) % 9 != 2, fridays - pd.Timedelta(days=1))
    for end in (20, 21):  # a Friday last, then a Thursday
        assert following(with_holidays[:end], 2) == fridays[end : end + 2].strftime("%Y-%m-%d").tolist()
