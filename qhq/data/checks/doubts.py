"""What rows may hold but ought to be looked at: no rule is broken, yet the data may not be what they seem.

The doubts of stocks, and those that both panels share; ``option_doubts`` has the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from qhq.data.checks.draft import Draft, Finding, Rules, find_rows, today
from qhq.data.panel import FloatArray, Mask

_FILLED_RUN = 5
"""Equal rows in a row that look as if they were filled forward."""
_LONGEST_GAP = 10
"""Weekdays that a series may miss."""
_LARGEST_MOVE = 0.4
"""Move of an unadjusted price from one row to the next; a split of 2 for 1 moves it by half."""
SLIP = 5.0
"""Factor by which a price leaves both its neighbours, to look like a slip of the decimal point."""
_LONGEST_STEP = 5.0
"""Median days from row to row from which rows are weeks or months."""
_FEWEST_STEPS = 8
_LARGEST_DIVIDEND = 0.25
"""Share of the price that a regular dividend never reaches."""


def _doubt_filled_stocks(draft: Draft) -> Iterator[Finding]:
    """Days on which nothing was traded that repeat the day before."""
    names = [name for name in ("open", "high", "low", "close") if name in draft.columns]
    if names:
        same = repeats(draft, names)
        if "volume" in draft.columns:
            same &= draft.column("volume") == 0
        yield from tell_filled(draft, same, " and ".join(names))


def tell_filled(draft: Draft, same: Mask, names: str) -> Iterator[Finding]:
    """Tell of runs in which each row but the first is the same as the one before."""
    run = np.cumsum(~same)
    long = same & (np.bincount(run)[run] >= _FILLED_RUN) if len(run) else same
    return find_rows(
        long,
        f"Rows should not look filled forward: {names} the same {_FILLED_RUN} times",
        lambda row: f"the values of the row before for {draft.at(row)}",
        "Drop rows that were filled in; a target must never be one",
    )


def repeats(draft: Draft, names: Sequence[str]) -> Mask:
    """Whether a row has the same values as the row before in its series, or like it none."""
    same = draft.follows()
    for name in names:
        values = draft.column(name)
        both_empty = np.isnan(values[1:]) & np.isnan(values[:-1])
        same[1:] &= (values[1:] == values[:-1]) | both_empty
    return same


def doubt_gaps(draft: Draft) -> Iterator[Finding]:
    """Series that stop for long; weekdays stand in for the sessions of an exchange."""
    pairs = draft.follows()
    pairs[1:] &= ~np.isnat(draft.dates[1:]) & ~np.isnat(draft.dates[:-1])
    late = np.flatnonzero(pairs)
    missed = np.zeros(len(pairs), dtype=np.int64)
    missed[late] = np.busday_count(draft.dates[late - 1], draft.dates[late]) - 1
    return find_rows(
        missed > _LONGEST_GAP,
        f"A series should not miss more than {_LONGEST_GAP} sessions",
        lambda row: f"about {missed[row]} from {draft.dates[row - 1]} to {draft.at(row)}",
        "Fetch the missing rows; data.max_gap keeps windows from spanning them",
    )


def doubt_jumps(draft: Draft, name: str) -> Iterator[Finding]:
    """Moves of an unadjusted price that only a split explains, without one in the column split."""
    values = draft.column(name)
    move = np.full(len(values), np.nan)
    with np.errstate(all="ignore"):  # prices that are no prices break a rule of their own
        move[1:] = values[1:] / values[:-1] - 1
    ratio = draft.column("split")
    known = (ratio > 0) & (ratio != 1)
    return find_rows(
        draft.follows() & (np.abs(move) > _LARGEST_MOVE) & ~known & ~_beside_slips(draft, values),
        f"'{name}' should not move by more than {_LARGEST_MOVE:.0%} without a split in the column 'split'",
        lambda row: f"{move[row]:+.0%} for {draft.at(row)}",
        "If the shares were split, write the ratio into 'split'",
    )


def _beside_slips(draft: Draft, values: FloatArray) -> Mask:
    """Whether a row is a slip, or follows one: no split explains its move."""
    slipped = _slips(draft, values, SLIP)
    after = np.zeros(len(slipped), dtype=np.bool_)
    after[1:] = slipped[:-1]
    return np.asarray(slipped | after)


def doubt_slips(draft: Draft, name: str, values: FloatArray, factor: float) -> Iterator[Finding]:
    """Values that leave those before and after by a factor: a decimal point in another place."""
    slipped = _slips(draft, values, factor)
    return find_rows(
        slipped,
        f"'{name}' should not leave its neighbours by a factor of {factor:g} for one row",
        lambda row: (
            f"{values[row]:g} for {draft.at(row)}, between {values[row - 1]:g} and {values[row + 1]:g}"
        ),
        "It looks like a slip of the decimal point or another contract: look the row up, and correct or drop"
        " it",
    )


def _slips(draft: Draft, values: FloatArray, factor: float) -> Mask:
    """Whether a row's value is so far above, or below, both of its neighbours in the series."""
    follows, slipped = draft.follows(), np.zeros(len(values), dtype=np.bool_)
    if len(values) < 3:
        return slipped
    with np.errstate(all="ignore"):
        before, after = values[1:-1] / values[:-2], values[1:-1] / values[2:]
        far = (np.minimum(before, after) > factor) | (np.maximum(before, after) < 1 / factor)
    slipped[1:-1] = far & (np.fmin(before, after) > 0) & follows[1:-1] & follows[2:]
    return slipped


def _doubt_slipped_closes(draft: Draft) -> Iterator[Finding]:
    name = "close" if "close" in draft.columns else "adj_close"
    return doubt_slips(draft, name, draft.column(name), SLIP)


def _doubt_frequency(draft: Draft) -> Iterator[Finding]:
    """Bars of weeks or months: every window, return and test then means something else."""
    follows = draft.follows()
    steps = np.zeros(len(follows), dtype=np.float64)
    known = follows.copy()
    known[1:] &= ~np.isnat(draft.dates[1:]) & ~np.isnat(draft.dates[:-1])
    late = np.flatnonzero(known)
    steps[late] = (draft.dates[late] - draft.dates[late - 1]) / np.timedelta64(1, "D")
    rare = np.zeros(len(follows), dtype=np.bool_)
    middle: dict[int, float] = {}
    for code in np.unique(draft.code[late]):
        own = late[draft.code[late] == code]
        middle[int(code)] = float(np.median(steps[own]))
        if len(own) >= _FEWEST_STEPS and middle[int(code)] >= _LONGEST_STEP:
            rare[own] = True
    return find_rows(
        rare,
        "Rows should be daily sessions",
        lambda row: f"{_bars(middle[int(draft.code[row])])}, such as {draft.at(row)}",
        "Download daily prices. If these are meant, read each 'session' of a result as one of these bars",
    )


def _bars(days: float) -> str:
    return "bars of a week" if days < 10 else "bars of a month" if days < 45 else f"a row every {days:g} days"


def _doubt_shifted(draft: Draft) -> Iterator[Finding]:
    """Sundays and no Fridays: stamps in UTC of an exchange in the East, whose day began the day before."""
    weekday = (draft.dates.astype("datetime64[D]").astype(np.int64) + 3) % 7
    weekday = np.where(np.isnat(draft.dates), -1, weekday)
    sundays = np.bincount(draft.code, weights=weekday == 6, minlength=len(draft.symbols))
    fridays = np.bincount(draft.code, weights=weekday == 4, minlength=len(draft.symbols))
    shifted = (sundays >= 3) & (fridays < 0.2 * sundays)
    return find_rows(
        (weekday == 6) & shifted[draft.code],
        "Sessions should lie on the exchange's own days, Monday to Friday",
        lambda row: f"a Sunday for {draft.at(row)}, and hardly a Friday in the whole series",
        "The times look like UTC of an exchange whose day begins the day before: write its own dates",
    )


def doubt_today(draft: Draft) -> Iterator[Finding]:
    """Bars that may not be finished."""
    return find_rows(
        draft.dates >= today(),
        "Rows should lie before today: today's session may not be over",
        draft.at,
        "Set data.end, or fetch again when the session is over",
    )


def doubt_volume(draft: Draft) -> Iterator[Finding]:
    """Sessions on which nothing was traded."""
    return find_rows(
        draft.column("volume") == 0,
        "'volume' should be above zero: nothing was traded",
        lambda row: f"0 for {draft.at(row)}",
        "Look at the rows; log scalings need a volume above zero",
    )


def _doubt_dividends(draft: Draft) -> Iterator[Finding]:
    """Dividends of which a share of the price is paid: special ones, spin-offs, or another unit."""
    paid, close = draft.column("dividend"), draft.column("close")
    before = np.concatenate([close[:1] * np.nan, close[:-1]])
    return find_rows(
        draft.follows() & (paid > _LARGEST_DIVIDEND * before),
        f"A dividend should not be more than {_LARGEST_DIVIDEND:.0%} of the close before it",
        lambda row: f"{paid[row]:g} after a close of {before[row]:g} for {draft.at(row)}",
        "Nothing if it was a special dividend, a spin-off or a return of capital; else it is in another unit"
        " (pence): take close in the place of adj_close",
    )


def _doubt_below_zero(draft: Draft) -> Iterator[Finding]:
    """Prices below zero, where nothing takes their logarithms."""
    close = draft.column("close")
    return find_rows(
        (close < 0) & draft.signed,
        "Prices should be above zero",
        lambda row: f"{close[row]:g} for {draft.at(row)}",
        "Nothing if they are real (oil, power, spreads): this scaling takes them; percent errors say little",
    )


STOCK_READING_DOUBTS: Rules[Draft] = {
    "slip": _doubt_slipped_closes,
    "frequency": _doubt_frequency,
    "shifted": _doubt_shifted,
}
"""Ways in which prices may mean something else than they seem to; shown at training too."""
STOCK_DOUBTS: Rules[Draft] = {
    **STOCK_READING_DOUBTS,
    "filled": _doubt_filled_stocks,
    "gap": doubt_gaps,
    "jump": lambda draft: doubt_jumps(draft, "close"),
    "today": doubt_today,
    "volume": doubt_volume,
    "large_dividend": _doubt_dividends,
    "below_zero": _doubt_below_zero,
}
