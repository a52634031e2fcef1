"""A table of stocks becomes a panel: text is made into dates and numbers, and every rule is kept.

Rules come first. Doubts follow: no rule is broken, yet the data may not be what they seem. Some of them are
asked of option panels too (``option_doubts``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from qhq.data.checks.draft import (
    DROP_ROW,
    ROUNDED,
    Draft,
    RowFinding,
    Rules,
    check_bounds,
    check_dates,
    check_duplicates,
    check_future,
    check_letters,
    check_order,
    find_doubts,
    find_rows,
    sift,
    today,
)
from qhq.data.columns import ACTIONS, PRICES, STOCK_VALUES, canonical_name
from qhq.data.panel import FloatArray, Mask, Panel
from qhq.data.quarantine import STRICT, RowPolicy
from qhq.data.sessions import fits, missed_sessions, strays
from qhq.data.tables import check_present, match_columns, read_days, read_numbers


def check_panel(
    frame: pd.DataFrame,
    origin: str,
    *,
    symbols: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    policy: RowPolicy = STRICT,
    helpers: Sequence[str] = (),
) -> Panel:
    """Check a table of stocks against the schema and sort it.

    Args:
        frame: One row for each symbol and session, in any order; its index is not looked at.
        origin: Where it came from, for errors.
        symbols: Symbols to keep; None is all.
        columns: Value columns to keep; None is every column of the schema that is there.
        policy: What to do with rows that break a rule.
        helpers: Columns that only tell of splits. No row is bad for what stands in them: what is no price is
            NaN there, what is no ratio 0.

    Raises:
        DataError: At the first rule that is broken and whose rows ``policy`` does not let be set aside, with
            symbol, date and row.
    """
    draft = draft_stocks(frame, origin, symbols, columns, signed=policy.signed)
    sifted = sift(draft, STOCK_RULES, policy)
    draft = sifted.draft
    panel = Panel(
        tuple(filter(None, draft.symbols)),
        draft.columns,
        draft.code,
        draft.dates,
        draft.values,
        missed=sifted.missed,
        quarantine=sifted.quarantine,
        doubts=find_doubts(draft, _STOCK_READING_DOUBTS),
    )
    return panel.with_columns(_read_helpers(frame, helpers, draft.rows)) if helpers else panel


def _read_helpers(
    frame: pd.DataFrame, names: Sequence[str], rows: npt.NDArray[np.intp]
) -> dict[str, FloatArray]:
    there = {canonical_name(str(name)): str(name) for name in frame.columns}
    read = {name: read_numbers(frame[there[name]])[0][rows - 1] for name in names}
    with np.errstate(invalid="ignore"):
        return {
            name: np.where(values > 0, values, 0.0 if name in ACTIONS else np.nan)
            for name, values in read.items()
        }


def draft_stocks(
    frame: pd.DataFrame,
    origin: str,
    symbols: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    *,
    signed: bool = False,
) -> Draft:
    """Turn text into dates and numbers, and sort by symbol and date; arguments as of ``check_panel``.

    Raises:
        DataError: If a column or a symbol is missing.
    """
    names = match_columns(frame.columns, origin, columns)
    frame = frame[list(names)].rename(columns=names)
    wanted = tuple(columns or (name for name in STOCK_VALUES if name in frame.columns))
    labels = frame["symbol"].astype(str).mask(frame["symbol"].isna().to_numpy(), "")
    chosen = tuple(symbols) if symbols is not None else tuple(filter(None, labels.unique()))
    if not labels.all():
        chosen = (*chosen, "")  # the last, so that no other name changes its number when it goes
    codes = pd.Index(chosen).get_indexer(pd.Index(labels)).astype(np.intp)
    check_present(chosen, np.bincount(codes[codes >= 0], minlength=len(chosen)), labels.unique(), origin)
    kept = np.flatnonzero(codes >= 0)
    dates = read_days(frame["date"].iloc[kept])
    # By series, then by date: lexsort takes its last key first.
    order = np.lexsort((dates, codes[kept]))
    rows = kept[order]
    values = np.empty((len(rows), len(wanted)))
    unreadable = np.zeros(values.shape, dtype=np.bool_)
    for place, name in enumerate(wanted):
        values[:, place], unreadable[:, place] = (each[rows] for each in read_numbers(frame[name]))
    for name in set(ACTIONS).intersection(wanted):
        place = wanted.index(name)
        empty = np.isnan(values[:, place]) & ~unreadable[:, place]
        values[empty, place] = 0.0
    return Draft(
        chosen,
        wanted,
        codes[rows],
        dates[order],
        values,
        rows + 1,
        origin,
        unreadable=unreadable,
        signed=signed,
        table=frame,
    )


def _check_names(draft: Draft) -> Iterator[RowFinding]:
    """Every row names its symbol, in letters that can be seen."""
    nameless = np.array([not name for name in draft.symbols], dtype=np.bool_)[draft.code]
    yield from find_rows(
        nameless,
        "Every row must name its symbol",
        lambda row: f"nothing in column '{draft.header('symbol')}' of {draft.place(row)}",
        "Download the file again: it was probably cut off. data.format.symbol names that of a file of one",
    )
    yield from check_letters(draft, draft.symbols, draft.code, "symbol")


def _tell_cells(draft: Draft, broken: Mask, *, misread: bool) -> Iterator[RowFinding]:
    """Show the first cell of each column that cannot be used."""
    for place, name in enumerate(draft.columns):
        rows = np.flatnonzero(broken[:, place])
        if len(rows):
            first = int(rows[0])
            value = draft.values[first, place]
            got = f"{value:g} for {draft.at(first)}" if np.isinf(value) else draft.show(first, name)
            fix = f"{DROP_ROW if np.isinf(value) else draft.cure(first, name)} ({len(rows):,} in all)"
            must = f"'{draft.called(name)}' must be a finite number in every row"
            yield RowFinding(must, rows, got, fix, misread=misread, columns=(name,))


def _below_zero(draft: Draft, name: str) -> Mask:
    """Prices below zero that can be real: oil, power, spreads between contracts."""
    values, close = draft.column(name), draft.column("close")
    # Adjusting for dividends above the price makes adjusted closes below zero of closes above it.
    return (values < 0) & ~(close > 0) if name == "adj_close" else values < 0


def _check_below_zero(draft: Draft) -> Iterator[RowFinding]:
    """Negative prices are refused where logarithms are taken: the price may be real, but has no logarithm."""
    for name in PRICES:
        if name in draft.columns and not draft.signed:
            must, got = f"'{draft.called(name)}' must be above zero", _teller(draft, draft.column(name))
            fix = _ADJUSTED_TOO_FAR if draft.called(name) == "adj_close" else _NO_LOGARITHM
            for finding in find_rows(_below_zero(draft, name), must, got, fix, columns=(name,)):
                yield replace(finding, unusable=True)


def _check_prices(draft: Draft) -> Iterator[RowFinding]:
    """Prices are above zero. Zero is no price anywhere: vendors write it where they have none."""
    for name in PRICES:
        if name in draft.columns:
            values = draft.column(name)
            broken = (values <= 0) & ~_below_zero(draft, name)
            must = f"'{draft.called(name)}' must be above zero"
            yield from find_rows(broken, must, _teller(draft, values), columns=(name,))


def _teller(draft: Draft, values: FloatArray) -> Callable[[int], str]:
    return lambda row: f"{values[row]:g} for {draft.at(row)}"


_NO_LOGARITHM = (
    "Prices below zero have no logarithm: choose data.scaling window_mean, minmax or standard and no column"
    " made of returns, cut the days off with data.start or data.end, or correct that row; data.bad_rows:"
    " quarantine leaves it out"
)


_ADJUSTED_TOO_FAR = (
    "An adjusted close below zero comes of dividends above the price: take close, as it was traded, in the"
    " place of adj_close. If the price itself was below zero, choose data.scaling window_mean, minmax or"
    " standard; data.bad_rows: quarantine leaves the rows out"
)


def _check_dividends(draft: Draft) -> Iterator[RowFinding]:
    """Where a dividend is not below the close before it, nobody can say what an owner earned.

    Yahoo tells liquidations so, and payments in another unit. The adjusted close is missing on that day
    alone; the prices as traded need none.
    """
    if not {"close", "dividend", "adj_close"} <= set(draft.columns):
        return
    paid, close = draft.column("dividend"), draft.column("close")
    before = np.concatenate([close[:1] * np.nan, close[:-1]])
    yield from find_rows(
        # ~(paid < before) also where the close before is missing, against which nothing can be compared.
        draft.follows() & np.isnan(draft.column("adj_close")) & (paid > 0) & ~(paid < before),
        "A dividend must be smaller than the close before it, to adjust for",
        lambda row: f"a dividend of {paid[row]:g} after a close of {before[row]:g} for {draft.at(row)}",
        "Take close, as it was traded, in the place of adj_close",
        columns=("adj_close",),
    )


def _check_ranges(draft: Draft) -> Iterator[RowFinding]:
    """High is at least, and low at most, each of the day's unadjusted prices, but for rounding."""
    pairs = [("low", "high"), ("open", "high"), ("close", "high"), ("low", "open"), ("low", "close")]
    for below, above in pairs:
        yield from check_order(draft, below, above, rounded=ROUNDED)


STOCK_RULES: Rules[Draft] = {
    "name": _check_names,
    "date": check_dates,
    "future": check_future,
    "cell": lambda draft: _tell_cells(draft, draft.unreadable, misread=True),
    "dividend": _check_dividends,
    "number": lambda draft: _tell_cells(draft, ~np.isfinite(draft.values) & ~draft.unreadable, misread=False),
    "below_zero": _check_below_zero,
    "price": _check_prices,
    "amount": lambda draft: check_bounds(draft, ("volume", "dividend", "split"), zero=True),
    "range": _check_ranges,
    "duplicate": check_duplicates,
}
"""What every row of a stock panel keeps, in the order in which it is checked."""


# Equal rows in a row that look as if they were filled forward.
_FILLED_RUN = 5
# Sessions that a series may miss.
_LONGEST_GAP = 10
LARGEST_MOVE = 0.4
"""Move of an unadjusted price from one row to the next that a split explains; 2 for 1 moves it by half."""
SLIP = 5.0
"""Factor by which a price leaves both its neighbours, to look like a slip of the decimal point."""
# Median days from row to row from which rows are weeks or months.
_LONGEST_STEP = 5.0
_FEWEST_STEPS = 8
# Share of the price that a regular dividend never reaches.
_LARGEST_DIVIDEND = 0.25


def _doubt_filled_stocks(draft: Draft) -> Iterator[RowFinding]:
    """Days on which nothing was traded that repeat the day before."""
    names = [name for name in ("open", "high", "low", "close") if name in draft.columns]
    if names:
        same = repeats(draft, names)
        if "volume" in draft.columns:
            same &= draft.column("volume") == 0
        yield from tell_filled(draft, same, " and ".join(names))


def tell_filled(draft: Draft, same: Mask, names: str) -> Iterator[RowFinding]:
    """Tell of runs in which each row but the first is the same as the one before."""
    # Rows that repeat share the number of the row that they repeat.
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


def doubt_gaps(draft: Draft) -> Iterator[RowFinding]:
    """Series that stop for long: by the exchange's sessions where they are known, else by weekdays."""
    pairs = draft.follows()
    pairs[1:] &= ~np.isnat(draft.dates[1:]) & ~np.isnat(draft.dates[:-1])
    late = np.flatnonzero(pairs)
    missed = np.zeros(len(pairs), dtype=np.int64)
    missed[late] = np.busday_count(draft.dates[late - 1], draft.dates[late]) - 1
    # Holidays only shorten a gap, so that without a long one no calendar is asked.
    long = np.flatnonzero(missed > _LONGEST_GAP)
    if len(long) and (draft.calendar or fits(draft.dates)):
        missed[long] = missed_sessions(draft.dates[long - 1], draft.dates[long], draft.calendar)
    return find_rows(
        missed > _LONGEST_GAP,
        f"A series should not miss more than {_LONGEST_GAP} sessions",
        lambda row: f"about {missed[row]} from {draft.dates[row - 1]} to {draft.at(row)}",
        "Fetch the missing rows; data.max_gap keeps windows from spanning them",
    )


def doubt_closed(draft: Draft) -> Iterator[RowFinding]:
    """Rows of days on which the exchange was closed: prices that were filled in, or of another exchange."""
    # Of the file's few thousand dates, and not of each row.
    days, row = np.unique(draft.dates, return_inverse=True)
    where = f"data.calendar {draft.calendar}" if draft.calendar else "New York, whose calendar the rows fit"
    return find_rows(
        strays(days, draft.calendar)[row],
        f"Rows should lie on sessions of {where}",
        lambda row: f"{draft.dates[row].astype(date):%A} for {draft.at(row)}",
        "Drop rows that were filled in for holidays; name another exchange with data.calendar if it was open",
    )


def doubt_jumps(draft: Draft, name: str) -> Iterator[RowFinding]:
    """Moves of an unadjusted price that only a split explains, without one in the column split."""
    values = draft.column(name)
    move = np.full(len(values), np.nan)
    with np.errstate(all="ignore"):  # prices that are no prices break a rule of their own
        move[1:] = values[1:] / values[:-1] - 1
    ratio = draft.column("split")
    known = (ratio > 0) & (ratio != 1)
    return find_rows(
        draft.follows() & (np.abs(move) > LARGEST_MOVE) & ~known & ~_beside_slips(draft, values),
        f"'{name}' should not move by more than {LARGEST_MOVE:.0%} without a split in the column 'split'",
        lambda row: f"{move[row]:+.0%} for {draft.at(row)}",
        "If the shares were split, write the ratio into 'split'",
    )


def _beside_slips(draft: Draft, values: FloatArray) -> Mask:
    """Whether a row is a slip, or follows one: no split explains its move."""
    slipped = _slips(draft, values, SLIP)
    after = np.zeros(len(slipped), dtype=np.bool_)
    after[1:] = slipped[:-1]
    return np.asarray(slipped | after)


def doubt_slips(draft: Draft, name: str, values: FloatArray, factor: float) -> Iterator[RowFinding]:
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
    # The ratio of prices on either side of zero, as oil's of April 2020, says nothing about a decimal point.
    slipped[1:-1] = far & (np.fmin(before, after) > 0) & follows[1:-1] & follows[2:]
    return slipped


def _doubt_slipped_closes(draft: Draft) -> Iterator[RowFinding]:
    name = "close" if "close" in draft.columns else "adj_close"
    return doubt_slips(draft, name, draft.column(name), SLIP)


def _doubt_frequency(draft: Draft) -> Iterator[RowFinding]:
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


def _doubt_shifted(draft: Draft) -> Iterator[RowFinding]:
    """Sundays and no Fridays: stamps in UTC of an exchange in the East, whose day began the day before."""
    # Monday is 0, as 1970-01-01 was a Thursday; what has no date counts as no day at all.
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


def doubt_today(draft: Draft) -> Iterator[RowFinding]:
    """Bars that may not be finished."""
    return find_rows(
        draft.dates >= today(),
        "Rows should lie before today: today's session may not be over",
        draft.at,
        "Set data.end, or fetch again when the session is over",
    )


def doubt_volume(draft: Draft) -> Iterator[RowFinding]:
    """Sessions on which nothing was traded."""
    return find_rows(
        draft.column("volume") == 0,
        "'volume' should be above zero: nothing was traded",
        lambda row: f"0 for {draft.at(row)}",
        "Look at the rows; log scalings need a volume above zero",
    )


def _doubt_dividends(draft: Draft) -> Iterator[RowFinding]:
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


def _doubt_below_zero(draft: Draft) -> Iterator[RowFinding]:
    """Prices below zero, where nothing takes their logarithms."""
    close = draft.column("close")
    return find_rows(
        (close < 0) & draft.signed,
        "Prices should be above zero",
        lambda row: f"{close[row]:g} for {draft.at(row)}",
        "Nothing if they are real (oil, power, spreads): this scaling takes them; percent errors say little",
    )


# Ways in which prices may mean something else than they seem to; shown at training too.
_STOCK_READING_DOUBTS: Rules[Draft] = {
    "slip": _doubt_slipped_closes,
    "frequency": _doubt_frequency,
    "shifted": _doubt_shifted,
}
STOCK_DOUBTS: Rules[Draft] = {
    **_STOCK_READING_DOUBTS,
    "filled": _doubt_filled_stocks,
    "gap": doubt_gaps,
    "closed": doubt_closed,
    "jump": lambda draft: doubt_jumps(draft, "close"),
    "today": doubt_today,
    "volume": doubt_volume,
    "large_dividend": _doubt_dividends,
    "below_zero": _doubt_below_zero,
}
