"""Sessions by the exchange's calendar (``exchange_calendars``), or by the data's own spacing.

A config names the exchange with ``data.calendar``, and its rows must then fit that calendar. Without it New
York serves where the dates fit it, and where US data are the stated default: Yahoo's chains and the days on
which options expire. Dates that do not fit keep their own spacing, be they of another exchange, of crypto,
or of one value a month: which exchange it is cannot be told from dates, since any two of Europe agree on all
but a handful a year.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from qhq.data.panel import DateArray, FloatArray, IntArray, Mask
from qhq.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

Every = Literal["week", "month"]
"""A period of sessions; weeks begin on Monday."""

_NEW_YORK = "XNYS"
# Of New York's calendar: from the first of Yahoo's prices on. Its own default, twenty years back and one
# ahead, would move with the day on which qhq runs.
_SPAN = ("1962-01-01", "2060-12-31")
# Share of dates that may lie beside a calendar that fits: typing errors. Of a year in Toronto, the nearest to
# New York of all exchanges, 2 % do.
_MOST_STRAYS = 0.005
# The same of a calendar that a config names, and one date in any case: its exchange may have opened on a day
# that the calendar does not know. Of most wrong calendars more stray, of two neighbours in Europe fewer.
_MOST_NAMED_STRAYS = 0.01
# Two weeks; from fewer dates nobody can tell on which weekdays there are sessions.
_FEWEST_DAYS = 10


@cache
def _open_calendar(name: str) -> ExchangeCalendar:
    # Here, because it takes 0.3 s to import and to open, and few commands ask for a calendar.
    import exchange_calendars

    known = exchange_calendars.get_calendar_names()
    if name not in known:
        raise ConfigError(
            "data.calendar must be one of exchange_calendars, such as XNYS, XLON or 24/7",
            got=f"'{name}'",
            fix=nearest(name, known),
        )
    with warnings.catch_warnings():
        # What it uses of pandas is its makers' business.
        warnings.simplefilter("ignore")
        try:
            return _open_long(name)
        # Version 4.13.2 with pandas 3.1 cannot open Athens, Belgrade, Bucharest, Cyprus and Tel Aviv.
        except (ValueError, NotImplementedError) as error:
            raise ConfigError(
                "data.calendar must be one that the installed exchange_calendars can open",
                got=f"'{name}': {str(error).splitlines()[0][:120]}",
                fix="Update exchange_calendars, or leave data.calendar out: sessions then follow the spacing"
                " of the rows",
            ) from error


def _open_long(name: str) -> ExchangeCalendar:
    """Open a calendar over all of `_SPAN` that is known of it."""
    import exchange_calendars

    try:
        return exchange_calendars.get_calendar(name, start=_SPAN[0], end=_SPAN[1])
    except ValueError:  # an exchange whose holidays are known of fewer years
        # A year that all of them know: the whole default span would be computed for its bounds alone.
        short = exchange_calendars.get_calendar(name, start="2025-01-01", end="2025-12-31")
        first, last = short.bound_min(), short.bound_max()
        start, end = (pd.Timestamp(each) for each in _SPAN)
        start, end = max(start, first or start), min(end, last or end)
        return exchange_calendars.get_calendar(name, start=start, end=end)


@cache
def _sessions(name: str) -> DateArray:
    """Every session of a calendar, datetime64[D], ascending."""
    days: DateArray = np.array(_open_calendar(name).sessions, dtype="datetime64[D]")
    return days


def period_of(days: DateArray, every: Every) -> IntArray:
    """Number of the week or month that each date lies in, ascending with time.

    >>> days = np.array(["2026-11-29", "2026-11-30", "2026-12-01"], dtype="M8[D]")  # Sunday to Tuesday
    >>> np.diff(period_of(days, "week")).tolist(), np.diff(period_of(days, "month")).tolist()
    ([1, 0], [0, 1])
    """
    if every == "month":
        return days.astype("datetime64[M]").astype(np.int64)
    # 1970-01-01 was a Thursday.
    return (days.astype("datetime64[D]").astype(np.int64) + 3) // 7


@cache
def _period_ends(name: str, every: Every) -> DateArray:
    """Last session of every week or month of a calendar, ascending."""
    sessions = _sessions(name)
    numbers = period_of(sessions, every)
    ends: DateArray = sessions[np.append(numbers[1:] != numbers[:-1], True)]
    return ends


def session_close(day: date) -> datetime | None:
    """When New York's session of a day ends, in UTC: at 16:00, or at 13:00 of a half day; None without one.

    >>> session_close(date(2026, 11, 27)), session_close(date(2026, 12, 25))
    (datetime.datetime(2026, 11, 27, 18, 0, tzinfo=datetime.timezone.utc), None)
    """
    calendar = _open_calendar(_NEW_YORK)
    # Its indices have no zone, and neither has a date.
    stamp = pd.Timestamp(day)
    if stamp not in calendar.closes.index:
        return None
    seconds = calendar.closes[stamp].timestamp()
    return datetime.fromtimestamp(seconds, UTC)


def fits(days: DateArray) -> bool:
    """Whether dates are daily rows of New York: on its sessions, and mostly one session after the other.

    The second keeps out bars of weeks and months, whose dates are sessions too.

    Args:
        days: datetime64, in any order, also more than once.
    """
    return _follow(np.unique(days[~np.isnat(days)].astype("datetime64[D]")), _sessions(_NEW_YORK))


def _period_fitting(days: DateArray) -> Every | None:
    """Whether ascending dates are the last sessions of New York's weeks or months; None if not."""
    if len(days) < 2:  # one date alone is a session like any other
        return None
    known: tuple[Every, ...] = ("week", "month")
    return next((each for each in known if _follow(days, _period_ends(_NEW_YORK, each))), None)


def _follow(days: DateArray, sessions: DateArray) -> bool:
    """Whether ascending dates are among the sessions, and mostly one after the other."""
    if not len(days) or days[0] < sessions[0] or days[-1] > sessions[-1]:
        return False
    # In bounds, since the last date is no later than the last session.
    place = np.searchsorted(sessions, days)
    stray = sessions[place] != days
    return bool(stray.mean() <= _MOST_STRAYS and (len(days) == 1 or np.median(np.diff(place)) == 1))


def strays(days: DateArray, calendar: str | None) -> Mask:
    """Whether each date is none of a calendar's sessions, in the years that it knows; shape as ``days``.

    Args:
        days: datetime64[D]; no date is no stray.
        calendar: Its name; None is New York's where the dates fit that, and nothing strays where they do not.
    """
    if calendar is None and not fits(days):
        return np.zeros(len(days), dtype=np.bool_)
    sessions = _sessions(calendar or _NEW_YORK)
    inside = ~np.isnat(days) & (days >= sessions[0]) & (days <= sessions[-1])
    return np.asarray(inside & ~np.isin(days, sessions))


def missed_sessions(before: DateArray, after: DateArray, calendar: str | None = None) -> IntArray:
    """Count a calendar's sessions strictly between two dates, elementwise; New York's without a name."""
    sessions = _sessions(calendar or _NEW_YORK)
    # side="right" leaves out the session of `before` itself, the default that of `after`.
    missed: IntArray = np.searchsorted(sessions, after) - np.searchsorted(sessions, before, side="right")
    return missed


@dataclass(frozen=True, eq=False)
class Calendar:
    """On which days there are sessions: by an exchange's calendar, or by the spacing of some dates.

    Attributes:
        days: The dates, datetime64[D], ascending, each once; at least one.
        name: Name of the calendar in ``exchange_calendars``; None where the spacing of the dates decides.
        named: Whether the config names it.
        every: Of rows of weeks or months, which: a session is then the last of one.
    """

    days: DateArray
    name: str | None
    named: bool = False
    every: Every | None = None

    @property
    def words(self) -> str:
        """What says which days are sessions, for people."""
        if self.name is None:
            return f"the spacing of the rows, holidays not known ({_unlike_new_york(self.days)})"
        known = f"the calendar {self.name}" if self.named else "the calendar of New York"
        return known if self.every is None else f"the {self.every}s of {known}"

    def _known(self, name: str) -> DateArray:
        return _sessions(name) if self.every is None else _period_ends(name, self.every)

    def after(self, count: int) -> DateArray:
        """The sessions that follow the last date, datetime64[D], shape (count,).

        On a calendar there is no session on a holiday, and one on a half day. By spacing, daily rows go on
        on the weekdays that the dates have (crypto's include weekends), others by the frequency that pandas
        infers (month ends, quarters, Fridays), or else by their median step.

        Raises:
            DataError: If the calendar ends before.
        """
        if self.name is None:
            return _by_spacing(self.days, count)
        known = self._known(self.name)
        ahead = known[np.searchsorted(known, self.days[-1], side="right") :][:count]
        if len(ahead) == count:
            return ahead
        # New York's was only inferred from the rows: to go on by their spacing is better than to refuse.
        if not self.named:
            return _by_spacing(self.days, count)
        raise DataError(
            f"data.calendar must know the sessions after the last row, {self.days[-1]}",
            got=f"{self.name}, whose holidays are known to {known[-1]}",
            fix="Update exchange_calendars, or leave data.calendar out: sessions then follow the spacing of"
            " the rows",
        )

    def missed(self, today: date) -> int:
        """Sessions strictly between the last date and ``today``."""
        day = np.datetime64(today, "D")
        if self.name is not None:
            known = self._known(self.name)
            return int(((known > self.days[-1]) & (known < day)).sum())
        steps = np.diff(self.days).astype(np.float64)
        step = max(1.0, float(np.median(steps))) if len(steps) else 1.0
        # Twice as many steps as fit: a month may be shorter than the one that is usual.
        most = int(2 * (day - self.days[-1]).astype(np.float64) / step)
        return int(np.count_nonzero(_by_spacing(self.days, most) < day)) if most > 0 else 0

    def is_half_day(self, day: np.datetime64) -> bool:
        """Whether the exchange closes early on a day; False where no calendar knows."""
        return self.name is not None and pd.Timestamp(day) in _open_calendar(self.name).early_closes


def find_calendar(dates: DateArray, name: str | None = None, every: Every | None = None) -> Calendar:
    """What says which days are sessions for some rows.

    Args:
        dates: Their dates, datetime64, in any order, also more than once.
        name: Name of the exchange's calendar in ``exchange_calendars``, such as ``XLON``; None is New York's
            where the dates fit it, and else their spacing.
        every: Of rows that ``data.every`` made, what they are rows of.

    Raises:
        DataError: If there is no date, or the dates do not fit the calendar that is named.
        ConfigError: If there is no such calendar.

    >>> prices = pd.bdate_range("2026-10-01", "2026-11-25").to_numpy()
    >>> find_calendar(prices).after(2).astype(str).tolist()  # behind Thanksgiving a half day
    ['2026-11-27', '2026-11-30']
    >>> find_calendar(prices, "XLON").after(1).astype(str).tolist()
    ['2026-11-26']
    """
    days = np.unique(dates[~np.isnat(dates)].astype("datetime64[D]"))
    if not len(days):
        raise DataError(
            "Dates must be given to find the session after them", got="none", fix="Give the data's own dates"
        )
    if name is None:
        if every is None and fits(days):
            return Calendar(days, _NEW_YORK)
        found = _period_fitting(days)
        return Calendar(days, found and _NEW_YORK, every=every or found)
    # Of weeks and months, the sessions that they were made of were held against it.
    problem = _misfit(days, name) if every is None else None
    if problem is not None:
        raise DataError(
            f"Rows must lie on the sessions of data.calendar {name}",
            got=problem,
            fix="Name the calendar of the exchange that the rows are of (24/7 is crypto's), or leave"
            " data.calendar out",
        )
    return Calendar(days, name, named=True, every=every)


def _unlike_new_york(days: DateArray) -> str:
    """Why ascending dates are no daily rows of New York, with some of those that do not fit."""
    sessions = _sessions(_NEW_YORK)
    if days[0] < sessions[0] or days[-1] > sessions[-1]:
        return f"New York's are known from {sessions[0]} to {sessions[-1]}"
    stray = days[~np.isin(days, sessions)]
    if not len(stray):
        return "not New York's, where there is a session between most of them"
    # The newest, which a person remembers.
    named = ", ".join(str(day) for day in stray[-3:])
    more = f" and {len(stray) - 3:,} more" if len(stray) > 3 else ""
    return f"not New York's, which was closed on {named}{more}"


def _misfit(days: DateArray, name: str) -> str | None:
    """What keeps dates from being daily rows of a calendar; None if nothing does."""
    sessions = _sessions(name)
    inside = days[(days >= sessions[0]) & (days <= sessions[-1])]
    if not len(inside):
        return f"rows from {days[0]} to {days[-1]}, where it is known from {sessions[0]} to {sessions[-1]}"
    stray = inside[~np.isin(inside, sessions)]
    if len(stray) > max(1, _MOST_NAMED_STRAYS * len(inside)):
        return f"{len(stray):,} of {len(inside):,} dates on which it is closed, such as {stray[-1]}"
    place = np.searchsorted(sessions, inside)
    if len(inside) > 1 and (step := float(np.median(np.diff(place)))) > 1:
        return f"a row every {step:g} sessions"
    if len(inside) >= _FEWEST_DAYS:
        # The week as it is now: exchanges move their weekend, as Tel Aviv's did in 2026.
        had, open_on = (np.bincount(_weekday(each), minlength=7) for each in (inside, sessions[-400:]))
        if len(never := np.flatnonzero((had == 0) & (open_on > 0))):
            return f"no row on a {_WEEKDAYS[never[0]]}, on which it is open"
    return None


_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _weekday(days: DateArray) -> IntArray:
    """0 is Monday."""
    numbers: IntArray = (days.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    return numbers


# Yahoo's endings of symbols and the exchanges that they stand for, but for those that cannot be opened.
_ENDINGS = {
    "L": "XLON", "IL": "XLON", "DE": "XETR", "F": "XFRA", "PA": "XPAR", "AS": "XAMS", "BR": "XBRU",
    "LS": "XLIS", "MI": "XMIL", "MC": "XMAD", "SW": "XSWX", "ST": "XSTO", "CO": "XCSE", "HE": "XHEL",
    "OL": "XOSL", "IC": "XICE", "IR": "XDUB", "VI": "XWBO", "WA": "XWAR", "PR": "XPRA", "BD": "XBUD",
    "IS": "XIST", "JO": "XJSE", "SR": "XSAU", "T": "XTKS", "HK": "XHKG", "SS": "XSHG", "SZ": "XSHG",
    "KS": "XKRX", "KQ": "XKRX", "TW": "XTAI", "SI": "XSES", "NS": "XBOM", "BO": "XBOM", "BK": "XBKK",
    "JK": "XIDX", "KL": "XKLS", "AX": "XASX", "NZ": "XNZE", "TO": "XTSE", "V": "XTSE", "SA": "BVMF",
    "MX": "XMEX", "BA": "XBUE", "SN": "XSGO",
}  # fmt: skip
# Bombay's calendar serves the National Stock Exchange (NS), and Shanghai's Shenzhen (SZ), which keep the same
# holidays and have no calendar of their own.
_CRYPTO = ("-USD", "-EUR", "-GBP", "-USDT", "-BTC")


def suggest_calendars(symbols: Sequence[str]) -> list[str]:
    """Calendars that the endings of symbols stand for, as Yahoo writes them; none for plain US symbols.

    >>> suggest_calendars(["VOD.L", "SAP.DE", "AAPL", "BTC-USD"])
    ['XLON', 'XETR', '24/7']
    """
    found = []
    for symbol in symbols:
        stem, _, ending = symbol.upper().rpartition(".")
        if stem and ending in _ENDINGS:
            found.append(_ENDINGS[ending])
        elif symbol.upper().endswith(_CRYPTO):
            found.append("24/7")
    return list(dict.fromkeys(found))


def _by_spacing(days: DateArray, sessions: int) -> DateArray:
    # The median: one long closing, or a gap in a file, must not turn daily rows into weekly ones.
    step = float(np.median(np.diff(days).astype(np.float64))) if len(days) > 1 else 1.0
    if step < 5:
        weekday = _weekday(days)
        share = np.bincount(weekday, minlength=7) / len(days)
        # A weekday with a fiftieth of the rows is no session's, but that of a few strays.
        open_on = share > 0.02
        if len(days) < _FEWEST_DAYS:
            open_on = np.ones(7, dtype=bool) if (weekday > 4).any() else np.arange(7) < 5
        # roll="backward": rolled forward, a last row that is a stray Sunday would become Monday, and Monday
        # be skipped.
        ahead: DateArray = np.busday_offset(
            days[-1], np.arange(1, sessions + 1), roll="backward", weekmask=open_on
        )
        return ahead
    # Two years of months at most, so that an old change of frequency does not count.
    recent = pd.DatetimeIndex(days[-24:])
    frequency: pd.DateOffset | str | None = None
    if len(recent) > 2:
        with warnings.catch_warnings():
            # pandas 3.1 says that this will be an offset one day; either will do here.
            warnings.simplefilter("ignore", DeprecationWarning)
            frequency = pd.infer_freq(recent)
    if frequency is None and round(step) == 7:
        # The usual weekday of the weeks to come: the last row may be a Thursday before a holiday.
        usual, last = int(np.bincount(_weekday(days[-24:])).argmax()), int(_weekday(days[-1:])[0])
        weeks: DateArray = days[-1] + (7 * np.arange(1, sessions + 1) + usual - last)
        return weeks
    if frequency is None:
        # What pandas cannot name has a row too many or too few: its usual step.
        months = round(step / 30.44) if step >= 28 else 0
        frequency = pd.DateOffset(months=months) if months else pd.DateOffset(days=round(step))
    following = pd.date_range(recent[-1], periods=sessions + 1, freq=frequency)[1:]
    return following.to_numpy().astype("datetime64[D]")


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
