"""The exchange's calendar: planned holidays, last trading days, third Fridays; days as numbers."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
from pandas.tseries import holiday

from qhq.data.panel import DateArray, FloatArray, IntArray, Mask


def last_trading_day(days: FloatArray) -> FloatArray:
    """Move weekends and holidays of the US exchanges to the trading day before, shape (R,).

    Until February 2015 the monthly options on US stocks expired on the Saturday after the third Friday, on
    which they last traded; and where that Friday is Good Friday, they last trade on the Thursday.

    >>> last_trading_day(np.array([16452.0])).tolist()  # Saturday 2015-01-17
    [16451.0]
    """
    known = np.isfinite(days)
    present = np.unique(days[known]).astype(np.int64)
    if not len(present):
        return days
    moved = present.copy()
    for _ in range(5):  # the longest closing for holidays and a weekend is four days
        moved = np.where(is_closed(moved), moved - 1, moved)
    out = days.copy()
    out[known] = moved[np.searchsorted(present, days[known].astype(np.int64))]
    return out


def is_closed(days: FloatArray | IntArray) -> Mask:
    """Whether the US exchanges are closed on some days (since 1970-01-01): weekends and planned holidays."""
    whole = days.astype(np.int64)
    weekday = (whole + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    return np.asarray((weekday > 4) | np.isin(whole, _holidays()))


class _Exchange(holiday.AbstractHolidayCalendar):
    """Planned holidays of the New York Stock Exchange."""

    rules = [  # noqa: RUF012
        # A New Year's Day on a Saturday is not made up for.
        holiday.Holiday("New Year", month=1, day=1, observance=holiday.sunday_to_monday),
        holiday.USMartinLutherKingJr,
        holiday.USPresidentsDay,
        holiday.GoodFriday,
        holiday.USMemorialDay,
        holiday.Holiday(
            "Juneteenth", month=6, day=19, start_date="2022-06-01", observance=holiday.nearest_workday
        ),
        holiday.Holiday("Independence", month=7, day=4, observance=holiday.nearest_workday),
        holiday.USLaborDay,
        holiday.USThanksgivingDay,
        holiday.Holiday("Christmas", month=12, day=25, observance=holiday.nearest_workday),
    ]


@cache
def _holidays() -> IntArray:
    """Days since 1970-01-01 of every planned holiday from 1973, when listed options began, to 2060."""
    found = _Exchange().holidays(pd.Timestamp("1973-01-01"), pd.Timestamp("2060-12-31"))
    return found.to_numpy().astype("datetime64[D]").astype(np.int64)


def third_fridays(first: np.datetime64, last: np.datetime64) -> DateArray:
    """Third Fridays of the months from that of ``first`` to that of ``last``, datetime64[D].

    >>> third_fridays(np.datetime64("2008-03-21"), np.datetime64("2008-04-01")).astype(str).tolist()
    ['2008-03-21', '2008-04-18']
    """
    months = np.arange(first.astype("M8[M]"), last.astype("M8[M]") + 1)
    days: DateArray = np.busday_offset(months.astype("M8[D]"), 2, roll="forward", weekmask="Fri")
    return days


def as_days(dates: DateArray) -> FloatArray:
    """Days since 1970-01-01, NaN where there is no date."""
    days = dates.astype("datetime64[D]").astype(np.float64)
    return np.where(np.isnat(dates), np.nan, days)
