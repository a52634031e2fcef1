"""Option tables: checked once at the border, coded and sorted into a panel (columns: ``qhq.data.columns``).

Missing quotes are NaN, and what is no quote becomes one:

- an empty cell of any column that need not be there;
- an ask, mid or last of zero or less, a bid below zero, and an iv below 1e-4 (Yahoo's mark for none);
- a bid of zero without an ask. With an ask it stays zero: the option is worthless to every buyer;
- a stale last: one without a volume above zero where there is a column ``volume``, or with a ``last_trade``
  before the row's day. A file that has neither column cannot tell, and all its last prices are stale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from qhq.data.checks.draft import cut_span, find_doubts, sift
from qhq.data.checks.option_doubts import OPTION_READING_DOUBTS
from qhq.data.checks.option_rules import OPTION_RULES, QUOTE_KINDS, OptionDraft
from qhq.data.checks.option_units import UNIT_RULES, convert
from qhq.data.columns import ACTIONS, OPTION_VALUES, OPTIONS, canonical_name
from qhq.data.file_format import AS_PANEL, OptionUnits
from qhq.data.panel import DateArray, FloatArray, IntArray, Mask, Panel
from qhq.data.quarantine import STRICT, RowPolicy
from qhq.data.tables import (
    check_present,
    code_names,
    code_words,
    is_empty,
    match_option_columns,
    read_days,
    read_numbers,
)
from qhq.errors import DataError

_RIGHTS = {
    "call": 1.0,
    "calls": 1.0,
    "c": 1.0,
    "ce": 1.0,
    "+1": 1.0,
    "1": 1.0,
    "1.0": 1.0,
    "put": -1.0,
    "puts": -1.0,
    "p": -1.0,
    "pe": -1.0,
    "-1": -1.0,
    "-1.0": -1.0,
}
_STYLES = {"european": 0.0, "e": 0.0, "0": 0.0, "0.0": 0.0, "american": 1.0, "a": 1.0, "1": 1.0, "1.0": 1.0}
_TINY = float(np.nextafter(0, 1))
# The least number that is a quote.
_LEAST = {"bid": 0.0, "ask": _TINY, "mid": _TINY, "last": _TINY, "iv": 1e-4}


def check_options(
    frame: pd.DataFrame,
    origin: str,
    *,
    underlyings: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    policy: RowPolicy = STRICT,
    units: OptionUnits = AS_PANEL,
) -> Panel:
    """Check a table of options against the schema, code its text and sort it.

    Args:
        frame: One row for each contract and session, in any order; its index is not looked at.
        origin: Where it came from, for errors.
        underlyings: Underlyings to keep; None is all.
        columns: Columns that a config names. One that qhq computes may be absent; a user's own numeric
            column is read when it is named here.
        policy: What to do with rows that break a rule.
        units: Units of the file.

    Returns:
        A panel whose series are the contracts, by underlying as asked for and then as they come first, whose
        groups are the underlyings and whose label is the kind, or 'mixed'. Its columns are every numeric
        column of the schema that is there, and the user's own: right is +1 or -1, style 0 or 1 (american),
        expiry the days since 1970-01-01, a missing quote NaN.

    Raises:
        DataError: If columns are missing, all of them named with the nearest present; if the units are other
            than they seem to be; or at the first rule that is broken and whose rows ``policy`` does not let
            be set aside, with contract, date and row.
    """
    draft = cut_span(draft_options(frame, origin, underlyings, columns, units), policy.span)
    for rule in UNIT_RULES.values():
        for finding in rule(draft):
            raise DataError(finding.must, got=finding.got, fix=finding.fix)
    sifted = sift(draft, OPTION_RULES, policy)
    draft = sifted.draft
    groups = np.zeros(len(draft.symbols), dtype=np.intp)
    groups[draft.code] = draft.group
    kinds = np.unique(draft.kind)
    return Panel(
        draft.symbols,
        draft.columns,
        draft.code,
        draft.dates,
        draft.values,
        groups=tuple(draft.groups[group] for group in groups),
        label=QUOTE_KINDS[int(kinds[0])] if len(kinds) == 1 else "mixed",
        missed=sifted.missed,
        quarantine=sifted.quarantine,
        doubts=find_doubts(draft, OPTION_READING_DOUBTS),
    )


def draft_options(
    frame: pd.DataFrame,
    origin: str,
    underlyings: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    units: OptionUnits = AS_PANEL,
) -> OptionDraft:
    """Turn text into dates and numbers, sort, and drop what is no quote; arguments as of ``check_options``.

    Raises:
        DataError: If a column or an underlying is missing.
    """
    own = [canonical_name(name, OPTIONS) for name in columns or ()]
    names = match_option_columns(frame.columns, origin, own)
    table = frame[list(names)].set_axis(list(names.values()), axis=1)
    lines = _sort(table, origin, underlyings)
    wanted = tuple(name for name in dict.fromkeys([*OPTION_VALUES, *own]) if name in table.columns)
    values = np.empty((len(lines.rows), len(wanted)))
    unreadable = np.zeros(values.shape, dtype=np.bool_)
    for place, name in enumerate(wanted):
        values[:, place], unreadable[:, place] = _read(table[name].iloc[lines.rows], name)
    quotes = dict(zip(wanted, values.T, strict=True))
    shares = _read_shares(table, lines.rows)
    convert(quotes, lines.dates, shares, units)
    negative = _drop_no_quotes(quotes)
    quoted, untimed = _read_quote_time(table, lines)
    return OptionDraft(
        symbols=lines.symbols,
        columns=wanted,
        code=lines.code,
        dates=lines.dates,
        values=values,
        rows=lines.rows + 1,
        origin=origin,
        table=table,
        groups=lines.groups,
        group=lines.group,
        kind=_read_kind(table, lines.rows),
        quoted=quoted,
        untimed=untimed,
        unreadable=unreadable,
        signed=False,
        negative=negative,
        stale=_drop_stale(quotes, _is_fresh(table, lines)),
        shares=shares,
        days=_read_days_to_expiry(table, lines.rows),
        units=units,
    )


@dataclass(frozen=True, eq=False)
class _Lines:
    """Which rows of a table a draft takes, in its order: R of them."""

    symbols: tuple[str, ...]
    groups: tuple[str, ...]
    code: IntArray
    group: IntArray
    dates: DateArray
    rows: IntArray


def _sort(table: pd.DataFrame, origin: str, underlyings: Sequence[str] | None) -> _Lines:
    """Sort the rows of the chosen underlyings by underlying, contract and date."""
    names, found = code_names(table["underlying"])
    chosen = tuple(underlyings) if underlyings is not None else tuple(found[np.unique(names)])
    group = pd.Index(chosen).get_indexer(pd.Index(found)).astype(np.intp)[names]
    kept = np.flatnonzero(group >= 0)
    check_present(chosen, np.bincount(group[kept], minlength=len(chosen)), found, origin)
    contract, contracts = code_names(table["contract_id"])
    present, first, code = np.unique(contract[kept], return_index=True, return_inverse=True)
    # Contracts of one underlying in the order in which the file has them first, whatever they are called.
    by_group = np.lexsort((first, group[kept][first]))
    code = np.argsort(by_group)[code]
    dates = read_days(table["date"].iloc[kept])
    order = np.lexsort((dates, code))
    symbols = tuple(str(name) for name in contracts[present[by_group]])
    rows = kept[order]
    return _Lines(symbols, chosen, code[order], group[rows], dates[order], rows)


def _read(column: pd.Series, name: str) -> tuple[FloatArray, Mask]:
    """Read a value column, and which of its cells hold something that cannot be read."""
    if name == "expiry":
        days = read_days(column)
        return np.where(np.isnat(days), np.nan, days.astype("datetime64[D]").astype(np.float64)), np.isnat(
            days
        )
    if name in ("right", "style"):
        codes = code_words(column, _RIGHTS if name == "right" else _STYLES)
        return codes, np.isnan(codes)
    values, unreadable = read_numbers(column)
    if name in ACTIONS:
        # An empty cell of dividends or splits is a day without one.
        values = np.where(np.isnan(values), 0.0, values)
    # A cell 'inf' is a float to Python, and no quote.
    return values, unreadable | np.isinf(values)


def _read_kind(table: pd.DataFrame, rows: IntArray) -> FloatArray:
    if "kind" not in table.columns:
        return np.zeros(len(rows))
    return code_words(table["kind"].iloc[rows], {kind: float(code) for code, kind in enumerate(QUOTE_KINDS)})


def _read_shares(table: pd.DataFrame, rows: IntArray) -> FloatArray:
    """Shares that each contract delivers, as a number or in Yahoo's words, shape (R,)."""
    if "multiplier" not in table.columns:
        return np.full(len(rows), np.nan)
    column = table["multiplier"].iloc[rows]
    words = code_words(column, {"regular": 100.0, "mini": 10.0})
    # Yahoo says contractSize in words where others give a number of shares.
    return np.where(np.isnan(words), read_numbers(column)[0], words)


def _read_days_to_expiry(table: pd.DataFrame, rows: IntArray) -> FloatArray:
    if "days_to_expiry" not in table.columns:
        return np.full(len(rows), np.nan)
    return read_numbers(table["days_to_expiry"].iloc[rows])[0]


def _read_quote_time(table: pd.DataFrame, lines: _Lines) -> tuple[DateArray, Mask]:
    """Day of each quote_time, and where it cannot be read."""
    if "quote_time" not in table.columns:
        return np.full(len(lines.rows), np.datetime64("NaT", "D")), np.zeros(len(lines.rows), dtype=np.bool_)
    column = table["quote_time"].iloc[lines.rows]
    days = read_days(column)
    return days, np.isnat(days) & ~is_empty(column)


def _is_fresh(table: pd.DataFrame, lines: _Lines) -> Mask:
    """Whether a last price is known to be of the row's own day, shape (R,)."""
    fresh = np.full(len(lines.rows), "volume" in table.columns or "last_trade" in table.columns)
    if "volume" in table.columns:
        # An empty volume is NaN and not above zero: no trade is known.
        fresh &= read_numbers(table["volume"].iloc[lines.rows])[0] > 0
    if "last_trade" in table.columns:
        fresh &= read_days(table["last_trade"].iloc[lines.rows]) >= lines.dates
    return fresh


def _drop_no_quotes(columns: Mapping[str, FloatArray]) -> Mask:
    """Put NaN where a number is no quote (see the top of this file); the rows that had one below zero."""
    negative = np.zeros(len(columns["strike"]), dtype=np.bool_)
    # The arrays are views of the draft's values, which these assignments change.
    for name in _LEAST.keys() & columns.keys():
        negative |= columns[name] < 0
        columns[name][columns[name] < _LEAST[name]] = np.nan
    if {"bid", "ask"} <= columns.keys():
        columns["bid"][(columns["bid"] == 0) & np.isnan(columns["ask"])] = np.nan
    return negative


def _drop_stale(columns: Mapping[str, FloatArray], fresh: Mask) -> Mask:
    """Put NaN where a last price is not known to be of the row's own day; the rows that had one."""
    if "last" not in columns:
        return np.zeros(len(fresh), dtype=np.bool_)
    stale: Mask = ~np.isnan(columns["last"]) & ~fresh
    columns["last"][stale] = np.nan
    return stale
