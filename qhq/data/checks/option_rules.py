"""The rules that rows of an option panel must keep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from qhq.data.checks.rules import (
    Draft,
    Finding,
    FloatArray,
    Mask,
    Rules,
    check_bounds,
    check_dates,
    check_duplicates,
    check_future,
    check_order,
    find_rows,
)

KINDS = ("traded", "surface", "model")
MOST_IV = 20.0
LATEST_QUOTE_DAYS = 4
"""A chain recorded on a Monday holiday still has Friday's quotes."""


@dataclass(frozen=True, eq=False)
class OptionDraft(Draft):
    """Rows on their way into an option panel, R rows by contract and date, not yet to be trusted.

    Attributes:
        groups: Underlyings that ``group`` points into.
        group: Index into ``groups`` of each row, shape (R,).
        kind: Index into ``KINDS``, NaN where it is none of them, shape (R,).
        quoted: Day of quote_time, NaT without one, shape (R,).
        untimed: Whether a quote_time is there and cannot be read, shape (R,).
        unreadable: Whether a cell holds something that cannot be read, shape (R, C).
        negative: Whether a quote below zero was dropped, shape (R,).
        stale: Whether a last price of an earlier day was dropped, shape (R,).
    """

    groups: tuple[str, ...]
    group: npt.NDArray[np.intp]
    kind: FloatArray
    quoted: npt.NDArray[np.datetime64]
    untimed: Mask
    unreadable: Mask
    negative: Mask
    stale: Mask


def _check_names(draft: OptionDraft) -> Iterator[Finding]:
    """Every row names its contract and its underlying."""
    for name, names, code in (
        ("contract_id", draft.symbols, draft.code),
        ("underlying", draft.groups, draft.group),
    ):
        empty = np.array([not each.strip() for each in names], dtype=np.bool_)
        yield from find_rows(
            empty[code],
            f"Every row must have its {name}",
            lambda row: f"none in row {draft.rows[row]} of {draft.origin}",
        )


def _check_text(draft: OptionDraft) -> Iterator[Finding]:
    """What stands in a cell can be read; kind is one of three words."""
    for column, name in enumerate(draft.columns):
        must = f"'{name}' must be {_READABLE.get(name, 'a finite number in every row, or empty')}"
        yield from find_rows(
            draft.unreadable[:, column], must, lambda row: f"something else for {draft.at(row)}"
        )
    yield from find_rows(
        np.isnan(draft.kind),
        f"'kind' must be {', '.join(KINDS[:-1])} or {KINDS[-1]}",
        lambda row: f"something else for {draft.at(row)}",
    )


_READABLE = {
    "expiry": "a date written YYYY-MM-DD",
    "right": "call or put (C, P, +1, -1)",
    "style": "european or american",
}


def _check_present(draft: OptionDraft) -> Iterator[Finding]:
    """Strike and spot are in every row."""
    for name in ("strike", "spot"):
        yield from find_rows(
            np.isnan(draft.column(name)),
            f"'{name}' must be a finite number in every row",
            lambda row: f"none for {draft.at(row)}",
        )


def _check_prices(draft: OptionDraft) -> Iterator[Finding]:
    return check_bounds(draft, ("strike", "spot", "forward"), zero=False)


def _check_amounts(draft: OptionDraft) -> Iterator[Finding]:
    return check_bounds(draft, ("volume", "open_interest", "split"), zero=True)


def _check_fractions(draft: OptionDraft) -> Iterator[Finding]:
    """Volatilities and rates are fractions, not percent."""
    for name, least, most in (("iv", 0.0, MOST_IV), ("rate", -1.0, 1.0)):
        values = draft.column(name)
        yield from find_rows(
            (values <= least) | (values >= most),
            f"'{name}' must be a fraction between {least:g} and {most:g}",
            partial(_name_value, draft, values),
            "Divide percent by 100, or correct or drop that row",
        )


def _name_value(draft: OptionDraft, values: FloatArray, row: int) -> str:
    return f"{values[row]:g} for {draft.at(row)}"


def _check_expiry(draft: OptionDraft) -> Iterator[Finding]:
    """No row lies after its expiry."""
    expiry = draft.column("expiry").astype("datetime64[D]")
    return find_rows(
        draft.dates > expiry,
        "'date' must not lie after 'expiry'",
        lambda row: f"expiry {expiry[row]} for {draft.at(row)}",
    )


def _check_crossed(draft: OptionDraft) -> Iterator[Finding]:
    return check_order(draft, "bid", "ask")


def _check_one_contract(draft: OptionDraft) -> Iterator[Finding]:
    """A contract is one thing; only a point of a surface moves its expiry and strike."""
    surface = draft.kind == KINDS.index("surface")
    for name, values in (
        ("underlying", draft.group),
        ("kind", draft.kind),
        *((name, draft.column(name)) for name in ("right", "style")),
        *((name, np.where(surface, 0.0, draft.column(name))) for name in ("expiry", "strike")),
    ):
        changed = draft.follows()
        changed[1:] &= (values[1:] != values[:-1]) & ~np.isnan(values[1:]) & ~np.isnan(values[:-1])
        yield from find_rows(
            changed,
            f"A contract_id must have one {name}",
            lambda row: f"another for {draft.at(row)} than in row {draft.rows[row - 1]}",
            "Correct the row, or give each contract its own contract_id"
            + (" (kind surface lets expiry and strike move)" if name in ("expiry", "strike") else ""),
        )


def _check_quote_time(draft: OptionDraft) -> Iterator[Finding]:
    """Quotes are those of the row's session; over a long weekend they can still be taken after it."""
    yield from find_rows(
        draft.untimed,
        "'quote_time' must be written YYYY-MM-DD HH:MM:SS, or be empty",
        lambda row: f"something else for {draft.at(row)}",
    )
    yield from find_rows(
        draft.quoted > draft.dates + np.timedelta64(LATEST_QUOTE_DAYS, "D"),
        f"'quote_time' must not lie more than {LATEST_QUOTE_DAYS} days after 'date'",
        lambda row: f"{draft.quoted[row]} for {draft.at(row)}",
    )


def _check_duplicates(draft: OptionDraft) -> Iterator[Finding]:
    return check_duplicates(draft, "contract")


OPTION_RULES: Rules[OptionDraft] = {
    "name": _check_names,
    "date": check_dates,
    "cell": _check_text,
    "number": _check_present,
    "duplicate": _check_duplicates,
    "price": _check_prices,
    "amount": _check_amounts,
    "fraction": _check_fractions,
    "expiry": _check_expiry,
    "future": check_future,
    "crossed": _check_crossed,
    "contract": _check_one_contract,
    "quote_time": _check_quote_time,
}
"""What every row of an option panel keeps, in the order in which it is checked."""
