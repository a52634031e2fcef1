"""Sessions by the exchange's calendar (``exchange_calendars``), or by the data's own spacing.

The calendar of New York serves where US data are the stated default: Yahoo's chains and the days on which
options expire. A table from elsewhere is never held against it: dates that it does not fit keep their own
spacing, be they of another exchange, of crypto, or of one value a month.
"""

from __future__ import annotations

import warnings
from datetime import UTC, date, datetime
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from qhq.data.panel import DateArray, FloatArray, IntArray, Mask
from qhq.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

_NEW_YORK = "XNYS"
# Of New York's calendar: from the first of Yahoo's prices on. Its own default, twenty years back and one
# ahead, would move with the day on which qhq runs.
_SPAN = ("1962-01-01", "2060-12-31")
# Share of dates that may lie beside a calendar that fits: typing errors. Of a year in Toronto, the nearest to
# New York of all exchanges, 2 % do.
_MOST_STRAYS = 0.005
# Two weeks; from fewer dates nobody can tell on which weekdays there are sessions.
_FEWEST_DAYS = 10


@cache
def _open_calendar(name: str) -> ExchangeCalendar | None:
    # Here, because it takes 0.2 s to import and to open, and few commands ask for a calendar.
    import exchange_calendars

    known = exchange_calendars.get_calendar_names()
    if name not in known:
        raise ConfigError(
            "A calendar must be one of exchange_calendars, such as XNYS or XLON",
            got=f"'{name}'",
            fix=nearest(name, known),
        )
    with warnings.catch_warnings():
        # What it uses of pandas is its makers' business.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            if name == _NEW_YORK:
                return exchange_calendars.get_calendar(name, start=_SPAN[0], end=_SPAN[1])
            # Each of the others is known for other years.
            return exchange_calendars.get_calendar(name)
        except ValueError:  # 4.13.2 cannot open Tel Aviv's
            return None


@cache
def _sessions(name: str) -> DateArray:
    """Every session of a calendar, datetime64[D], ascending; none where it cannot be opened."""
    calendar = _open_calendar(name)
    days: DateArray = np.array([] if calendar is None else calendar.sessions, dtype="datetime64[D]")
    return days


def session_close(day: date) -> datetime | None:
    """When New York's session of a day ends, in UTC: at 16:00, or at 13:00 of a half day; None without one.

    >>> session_close(date(2026, 11, 27)), session_close(date(2026, 12, 25))
    (datetime.datetime(2026, 11, 27, 18, 0, tzinfo=datetime.timezone.utc), None)
    """
    calendar = _open_calendar(_NEW_YORK)
    # Its indices have no zone, and neither has a date.
    stamp = pd.Timestamp(day)
    if calendar is None or stamp not in calendar.closes.index:
        return None
    seconds = calendar.closes[stamp].timestamp()
    return datetime.fromtimestamp(seconds, UTC)


def is_half_day(day: date) -> bool:
    """Whether New York's session of a day ends before 16:00.

    >>> is_half_day(date(2026, 11, 27)), is_half_day(date(2026, 11, 30))
    (True, False)
    """
    calendar = _open_calendar(_NEW_YORK)
    return calendar is not None and pd.Timestamp(day) in calendar.early_closes


def fits(days: DateArray, calendar: str = _NEW_YORK) -> bool:
    """Whether dates are daily rows of a calendar: on its sessions, and mostly one session after the other.

    The second keeps out bars of weeks and months, whose dates are sessions too.

    Args:
        days: datetime64, in any order, also more than once.
        calendar: Its name.
    """
    days, sessions = np.unique(days[~np.isnat(days)].astype("datetime64[D]")), _sessions(calendar)
    if not len(days) or not len(sessions) or days[0] < sessions[0] or days[-1] > sessions[-1]:
        return False
    # In bounds, since the last date is no later than the last session.
    place = np.searchsorted(sessions, days)
    stray = sessions[place] != days
    return bool(stray.mean() <= _MOST_STRAYS and (len(days) == 1 or np.median(np.diff(place)) == 1))


def missed_sessions(before: DateArray, after: DateArray) -> IntArray:
    """Count New York's sessions strictly between two dates, elementwise."""
    sessions = _sessions(_NEW_YORK)
    # side="right" leaves out the session of `before` itself, the default that of `after`.
    missed: IntArray = np.searchsorted(sessions, after) - np.searchsorted(sessions, before, side="right")
    return missed


def next_session(
    dates: pd.DatetimeIndex, *, calendar: str | None = None, sessions: int = 1
) -> pd.DatetimeIndex:
    """The sessions that follow the last of some dates.

    Where the dates fit an exchange's calendar they follow it: no session on a holiday, one on a half day.
    Elsewhere they follow the spacing of the dates: daily rows on the weekdays that the dates have (crypto's
    include weekends), others by the frequency that pandas infers (month ends, quarters, Fridays), or else by
    their median step.

    Args:
        dates: Dates of rows, in any order, also more than once.
        calendar: Name of the exchange's calendar in ``exchange_calendars``, such as ``XLON``; None is
            New York's, for US data.
        sessions: How many.

    Returns:
        ``sessions`` dates at midnight without a zone, ascending.

    Raises:
        DataError: If there is no date.
        ConfigError: If there is no such calendar.

    >>> prices = pd.bdate_range("2026-10-01", "2026-11-25")
    >>> next_session(prices, sessions=2).strftime("%a %F").tolist()  # behind Thanksgiving a half day
    ['Fri 2026-11-27', 'Mon 2026-11-30']
    >>> next_session(pd.date_range("2026-01-01", "2026-11-25"))[0]  # every day of the week
    Timestamp('2026-11-26 00:00:00')
    """
    days = np.unique(dates[dates.notna()].to_numpy().astype("datetime64[D]"))
    if not len(days):
        raise DataError(
            "Dates must be given to find the session after them", got="none", fix="Give the data's own dates"
        )
    name = calendar or _NEW_YORK
    if fits(days, name):
        known = _sessions(name)
        ahead = known[np.searchsorted(known, days[-1], side="right") :][:sessions]
        if len(ahead) == sessions:  # not where the calendar itself ends before
            return pd.DatetimeIndex(ahead)
    return _by_spacing(days, sessions)


def _by_spacing(days: DateArray, sessions: int) -> pd.DatetimeIndex:
    # The median: one long closing, or a gap in a file, must not turn daily rows into weekly ones.
    step = float(np.median(np.diff(days).astype(np.float64))) if len(days) > 1 else 1.0
    if step < 5:
        # 1970-01-01 was a Thursday; Monday is 0.
        weekday = (days.astype(np.int64) + 3) % 7
        share = np.bincount(weekday, minlength=7) / len(days)
        # A weekday with a fiftieth of the rows is no session's, but that of a few strays.
        open_on = share > 0.02
        if len(days) < _FEWEST_DAYS:
            open_on = np.ones(7, dtype=bool) if (weekday > 4).any() else np.arange(7) < 5
        # roll="backward": rolled forward, a last row that is a stray Sunday would become Monday, and Monday
        # be skipped.
        ahead = np.busday_offset(days[-1], np.arange(1, sessions + 1), roll="backward", weekmask=open_on)
        return pd.DatetimeIndex(ahead)
    # Two years of months at most, so that an old change of frequency does not count.
    recent = pd.DatetimeIndex(days[-24:])
    frequency: pd.DateOffset | str | None = None
    if len(recent) > 2:
        with warnings.catch_warnings():
            # pandas 3.1 says that this will be an offset one day; either will do here.
            warnings.simplefilter("ignore", DeprecationWarning)
            frequency = pd.infer_freq(recent)
    if frequency is None:
        # What pandas cannot name has a row too many or too few: its usual step.
        months = round(step / 30.44) if step >= 28 else 0
        frequency = pd.DateOffset(months=months) if months else pd.DateOffset(days=round(step))
    return pd.date_range(recent[-1], periods=sessions + 1, freq=frequency)[1:]


def last_trading_day(days: FloatArray) -> FloatArray:
    """Move weekends and holidays of the US exchanges to the trading day before, shape (R,).

    Until February 2015 the monthly options on US stocks expired on the Saturday after the third Friday, on
    which they last traded; and where that Friday is Good Friday, they last trade on the Thursday.

    >>> last_trading_day(np.array([16452.0])).tolist()  # Saturday 2015-01-17
    [16451.0]
    """
    known = np.isfinite(days)
    # Once for each date, of which there are some thousands, and not for each of the millions of rows.
    present = np.unique(days[known]).astype(np.int64)
    if not len(present):
        return days
    moved = present.copy()
    for _ in range(6):  # the longest closing, of September 2001, is six days with its weekend
        moved = np.where(is_closed(moved), moved - 1, moved)
    out = days.copy()
    out[known] = moved[np.searchsorted(present, days[known].astype(np.int64))]
    return out


def is_closed(days: FloatArray | IntArray) -> Mask:
    """Whether the US exchanges are closed on some days (since 1970-01-01): weekends, holidays, mournings."""
    whole = days.astype(np.int64)
    # Outside of the calendar's years only weekends are known to be closed.
    sessions = _sessions(_NEW_YORK).astype(np.int64)
    weekend = (whole + 3) % 7 > 4  # 1970-01-01 was a Thursday; Monday is 0
    known = (whole >= sessions[0]) & (whole <= sessions[-1])
    return np.asarray(weekend | (known & ~np.isin(whole, sessions)))


def third_fridays(first: np.datetime64, last: np.datetime64) -> DateArray:
    """Third Fridays of the months from that of ``first`` to that of ``last``, datetime64[D].

    Holidays are no exception: the expiries of made-up contracts are named by the rule.

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
