"""A table of stocks becomes a panel: text is made into dates and numbers, and every rule is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from qhq.data.checks.doubts import STOCK_READING_DOUBTS
from qhq.data.checks.draft import (
    DROP_ROW,
    ROUNDED,
    Draft,
    Finding,
    Rules,
    check_bounds,
    check_dates,
    check_duplicates,
    check_future,
    check_order,
    find_doubts,
    find_rows,
    sift,
)
from qhq.data.checks.tables import check_names, match_columns, read_days, read_numbers
from qhq.data.columns import ACTIONS, PRICES, STOCK_VALUES, canonical_name
from qhq.data.panel import FloatArray, Mask, Panel
from qhq.data.quarantine import STRICT, RowPolicy


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
        doubts=find_doubts(draft, STOCK_READING_DOUBTS),
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
    check_names(chosen, np.bincount(codes[codes >= 0], minlength=len(chosen)), labels.unique(), origin)
    kept = np.flatnonzero(codes >= 0)
    dates = read_days(frame["date"].iloc[kept])
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


def _check_names(draft: Draft) -> Iterator[Finding]:
    """Every row names its symbol."""
    nameless = np.array([not name for name in draft.symbols], dtype=np.bool_)[draft.code]
    return find_rows(
        nameless,
        "Every row must name its symbol",
        lambda row: f"nothing in column '{draft.header('symbol')}' of {draft.place(row)}",
        "Download the file again: it was probably cut off. data.format.symbol names that of a file of one",
    )


def _tell_cells(draft: Draft, broken: Mask, *, misread: bool) -> Iterator[Finding]:
    """Show the first cell of each column that cannot be used."""
    for place, name in enumerate(draft.columns):
        rows = np.flatnonzero(broken[:, place])
        if len(rows):
            first = int(rows[0])
            value = draft.values[first, place]
            got = f"{value:g} for {draft.at(first)}" if np.isinf(value) else draft.show(first, name)
            fix = f"{DROP_ROW if np.isinf(value) else draft.cure(first, name)} ({len(rows):,} in all)"
            must = f"'{draft.called(name)}' must be a finite number in every row"
            yield Finding(must, rows, got, fix, misread=misread, columns=(name,))


def _below_zero(draft: Draft, name: str) -> Mask:
    """Prices below zero that can be real: oil, power, spreads between contracts."""
    values, close = draft.column(name), draft.column("close")
    # Adjusting for dividends above the price makes adjusted closes below zero of closes above it.
    return (values < 0) & ~(close > 0) if name == "adj_close" else values < 0


def _check_below_zero(draft: Draft) -> Iterator[Finding]:
    """No price is below zero where logarithms are taken; such a row is real, and the reading of it is not."""
    for name in PRICES:
        if name in draft.columns and not draft.signed:
            must, got = f"'{draft.called(name)}' must be above zero", _teller(draft, draft.column(name))
            fix = _ADJUSTED_TOO_FAR if draft.called(name) == "adj_close" else _NO_LOGARITHM
            for finding in find_rows(_below_zero(draft, name), must, got, fix, columns=(name,)):
                yield replace(finding, unusable=True)


def _check_prices(draft: Draft) -> Iterator[Finding]:
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


def _check_dividends(draft: Draft) -> Iterator[Finding]:
    """Where a dividend is not below the close before it, nobody can say what an owner earned.

    Yahoo tells liquidations so, and payments in another unit. The adjusted close is missing on that day
    alone; the prices as traded need none.
    """
    if not {"close", "dividend", "adj_close"} <= set(draft.columns):
        return
    paid, close = draft.column("dividend"), draft.column("close")
    before = np.concatenate([close[:1] * np.nan, close[:-1]])
    yield from find_rows(
        draft.follows() & np.isnan(draft.column("adj_close")) & (paid > 0) & ~(paid < before),
        "A dividend must be smaller than the close before it, to adjust for",
        lambda row: f"a dividend of {paid[row]:g} after a close of {before[row]:g} for {draft.at(row)}",
        "Take close, as it was traded, in the place of adj_close",
        columns=("adj_close",),
    )


def _check_ranges(draft: Draft) -> Iterator[Finding]:
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
