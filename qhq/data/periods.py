"""Daily rows as rows of weeks or months, before anything is split, scaled or cut.

The row of a period bears the date of its last session, on which all of it is known. A period that is still
going on at the newest row is left out: its row would change with every session to come. So is the first
period of each series, whose first session has no return, and which may have begun before the rows do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import numpy as np

from qhq.data.columns import REALISED, UNADJUSTED, is_count
from qhq.data.formulas import log_return, logarithm
from qhq.data.panel import DateArray, FloatArray, IntArray, Panel
from qhq.data.sessions import Every, find_calendar, period_of
from qhq.errors import DataError

_Share = Literal["first", "highest", "lowest", "sum", "product", "last"]

# What a period has of the sessions' values of a column; of all others the last there is.
_SHARES: dict[str, _Share] = {
    "open": "first",
    "high": "highest",
    "low": "lowest",
    "volume": "sum",
    "dividend": "sum",
    "split": "product",
}


def by_period(panel: Panel, every: Every, names: Iterable[str], calendar: str | None = None) -> Panel:
    """One row a period and series, by series and date.

    The open is the first, the high the highest, the low the lowest, volume and dividends the sum, splits the
    product, and all else the last value. Unadjusted prices and volumes are in the shares of the period's end.

    Args:
        panel: Daily rows of stocks.
        every: How long a period is.
        names: Columns that are asked for. The realised volatilities among them are made here, of the
            sessions' returns, which the periods no longer have.
        calendar: Name of the exchange's calendar, which says whether the newest period is over; None as of
            `find_calendar`.

    Raises:
        DataError: If the rows do not fit the calendar, or a symbol has no period that is over.
    """
    period, sessions = period_of(panel.dates, every), panel.sessions
    # Not -1 before the first period: that is the number of one, in 1969.
    starts = np.flatnonzero((np.diff(panel.code, prepend=-1) != 0) | (np.diff(period, prepend=-(2**62)) != 0))
    numbers = period_of(sessions, every)
    last = np.append(numbers[1:] != numbers[:-1], True)
    numbers, ends = numbers[last], sessions[last]
    # By the next session and not by the date: a month whose last weekday is a holiday is over the day before.
    over = numbers < period_of(find_calendar(sessions, calendar).after(1), every)[0]
    place = np.searchsorted(numbers, period[starts])
    rows = _added_up(panel, starts)
    realised = _realised(panel, starts, names)
    missed = np.searchsorted(numbers, period_of(panel.missed, every))
    rows = replace(
        rows.without_columns(realised).with_columns(realised) if realised else rows,
        # Of the panel, not of the series: one that lacks the last session is known no later than the others.
        dates=ends[place],
        missed=np.unique(ends[missed[over[missed]]]),
        notes=(*panel.notes, *_left_out(sessions, numbers, over, every)),
    )
    found = rows.keep(over[place] & (np.diff(rows.code, prepend=-1) == 0))
    without = [name for name, count in zip(found.symbols, found.counts, strict=True) if not count]
    if without:
        raise DataError(
            f"Every symbol must have two {every}s of rows, the second of them over",
            got=f"fewer of {without[0]}",
            fix="Give more rows, drop the symbol, or leave data.every out",
        )
    return found


def _left_out(sessions: DateArray, numbers: IntArray, over: np.ndarray, every: Every) -> tuple[str, ...]:
    if over.all():
        return ()
    count = int(np.count_nonzero(period_of(sessions, every) == numbers[-1]))
    left = f"{count} sessions are" if count > 1 else "1 session is"
    return (f"the {every} of {sessions[-1]} is not over: {left} left out",)


def _added_up(panel: Panel, starts: IntArray) -> Panel:
    """Rows of which each stands for those from one of ``starts`` to the next; dates are of the first."""
    later = _later_splits(panel, starts)
    columns = []
    for name, given in zip(panel.columns, panel.values.T, strict=True):
        values = given
        if name in UNADJUSTED and name != "split":
            values = given * later if is_count(name) else given / later
        columns.append(_share(values, starts, _SHARES.get(name, "last")))
    return replace(
        panel,
        code=panel.code[starts],
        dates=panel.dates[starts],
        values=np.column_stack(columns),
        segment=np.empty(0, dtype=np.intp),
    )


def _share(values: FloatArray, starts: IntArray, kind: _Share) -> FloatArray:
    if kind == "first":
        return values[starts]
    if kind == "last":
        return np.asarray(values[np.append(starts[1:], len(values)) - 1])
    if kind == "product":
        product = np.multiply.reduceat(_ratios(values), starts)
        # Back to 0, by which the column says that there was no split, as Yahoo does.
        return np.asarray(np.where(product == 1, 0.0, product))
    # A missing value of a session leaves what the others say.
    if kind == "highest":
        return np.asarray(np.fmax.reduceat(values, starts))
    if kind == "lowest":
        return np.asarray(np.fmin.reduceat(values, starts))
    known = np.maximum.reduceat(np.isfinite(values), starts)
    # A session without a value counts as none; one NaN would make the whole period's sum NaN.
    return np.asarray(np.where(known, np.add.reduceat(np.nan_to_num(values), starts), np.nan))


def _ratios(split: FloatArray) -> FloatArray:
    """New shares for an old one, 1 where a cell says that nothing happened."""
    return np.where(np.nan_to_num(split) > 0, split, 1.0)


def _later_splits(panel: Panel, starts: IntArray) -> FloatArray:
    """Shares at the end of its period for one at each row, shape (R,)."""
    if "split" not in panel.columns:
        return np.ones(len(panel.code))
    # One running sum for all periods and series: only its differences within a period are taken.
    logs = np.cumsum(np.log(_ratios(panel.column("split"))))
    ends = np.append(starts[1:], len(logs)) - 1
    return np.asarray(np.exp(np.repeat(logs[ends], np.diff(starts, append=len(logs))) - logs))


def _realised(panel: Panel, starts: IntArray, names: Iterable[str]) -> dict[str, FloatArray]:
    """Root of the summed squares of the sessions' log returns, and its logarithm, where asked for."""
    wanted = [name for name in dict.fromkeys(names) if name in REALISED]
    if not wanted:
        return {}
    variance = np.add.reduceat(np.nan_to_num(log_return(panel)) ** 2, starts)
    both = dict(zip(REALISED, (np.sqrt(variance), logarithm(np.sqrt(variance))), strict=True))
    return {name: both[name] for name in wanted}
