"""From the units of an option file to those of the panel; days on which the US exchanges are closed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import pandas as pd
from pandas.tseries import holiday

from qhq.data.option_units import OptionUnits, Volatility
from qhq.data.panel import DateArray, FloatArray, IntArray, Mask

SHARES = 100.0
"""Shares that a standard contract on a US stock delivers."""

_STRIKES = {"hundredths": 100.0, "thousandths": 1000.0}


def convert(
    columns: Mapping[str, FloatArray], dates: DateArray, shares: FloatArray, units: OptionUnits
) -> None:
    """Bring the columns of an option file into the panel's units, in place.

    Args:
        columns: Value columns by name, R rows each; ``expiry`` as days since 1970-01-01.
        dates: Session of each row, shape (R,).
        shares: Shares that each row's contract delivers, NaN where the file does not say, shape (R,).
        units: What the config says of them.
    """
    if units.expiries == "last_trading_day" and "expiry" in columns:
        columns["expiry"][:] = last_trading_day(columns["expiry"])
    if units.volatility is not None and "iv" in columns:
        years = (columns["expiry"] - as_days(dates)) / 365
        with np.errstate(all="ignore"):  # a negative variance is no volatility: NaN
            columns["iv"][:] = VOLATILITIES[units.volatility](columns["iv"], years)
    if units.rates == "percent" and "rate" in columns:
        columns["rate"][:] /= 100
    if units.prices == "per_contract":
        for name in {"bid", "ask", "mid", "last"} & columns.keys():
            columns[name][:] /= np.where(np.isnan(shares), SHARES, shares)
    if units.strikes in _STRIKES:
        columns["strike"][:] /= _STRIKES[units.strikes]


VOLATILITIES: dict[Volatility, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "fraction": lambda iv, years: iv,  # noqa: ARG005
    "percent": lambda iv, years: iv / 100,  # noqa: ARG005
    "basis_points": lambda iv, years: iv / 10_000,  # noqa: ARG005
    "variance": lambda iv, years: np.sqrt(iv),  # noqa: ARG005
    "total_variance": lambda iv, years: np.sqrt(iv / years),
}
"""From what a file calls volatility, and years to expiry, to a fraction per square root of a year."""


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


def as_days(dates: DateArray) -> FloatArray:
    """Days since 1970-01-01, NaN where there is no date."""
    days = dates.astype("datetime64[D]").astype(np.float64)
    return np.where(np.isnat(dates), np.nan, days)
