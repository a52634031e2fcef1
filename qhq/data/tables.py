"""A table of any file at the border: its columns found under any of their names, its cells read one by one.

Nothing is guessed: what is missing is named with the column nearest to it, what cannot be read is no number.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from qhq.data.columns import (
    COMPLETED,
    KEYS,
    OPTIONS,
    QUOTE_SETS,
    STOCK_VALUES,
    STOCKS,
    Column,
    canonical_name,
)
from qhq.data.panel import DateArray, FloatArray, IntArray, Mask
from qhq.errors import SHOWN_NAMES, DataError, nearest


def match_columns(
    present: Iterable[object],
    origin: str,
    wanted: Sequence[str] | None,
    shown: Iterable[object] | None = None,
) -> dict[str, str]:
    """Find the columns that are needed, ``{name in the file: name in the schema}``.

    Args:
        present: Names that are there.
        origin: The file, for errors.
        wanted: Names of the schema that are needed beside symbol and date; None is none.
        shown: Names of the file to suggest from, where ``present`` are not all of them.

    Raises:
        DataError: If one is missing, or stands there under two names.
    """
    header = [str(name) for name in present]
    needed = (*KEYS, *(STOCK_VALUES if wanted is None else wanted))
    found = _name_columns(header, origin, needed, STOCKS)
    missing = [name for name in (KEYS if wanted is None else needed) if name not in found.values()]
    if missing:
        raise DataError(
            f"{origin} must have the columns {', '.join(KEYS if wanted is None else needed)}",
            got=f"no '{missing[0]}'" + (f" (nor {', '.join(missing[1:])})" if missing[1:] else ""),
            fix=f"Say which column it is with data.format.columns.{missing[0]}=NAME, or change"
            " data.features and"
            f" data.targets. {nearest(missing[0], header if shown is None else map(str, shown))}",
        )
    return found


def _name_columns(
    header: Iterable[str], origin: str, wanted: Iterable[str], table: Mapping[str, Column]
) -> dict[str, str]:
    """Find the wanted columns that are there, ``{name in the file: name in the schema}``.

    Raises:
        DataError: If one stands there under two names.
    """
    names, known = set(wanted), {name: canonical_name(name, table) for name in header}
    found: dict[str, str] = {}
    for name in header:
        if known[name] not in names:
            continue
        first = next((other for other in found if found[other] == known[name]), None)
        if first is not None:
            raise DataError(
                f"{origin} must have one column for '{known[name]}'",
                got=f"both '{first}' and '{name}'",
                fix=f"Say which in data.format.columns.{known[name]}, or drop one",
            )
        found[name] = known[name]
    return found


def check_present(chosen: Sequence[str], counts: IntArray, present: Iterable[str], origin: str) -> None:
    """Every name that is asked for has rows.

    Raises:
        DataError: If one has none, or there is no name at all.
    """
    for symbol, count in zip(chosen, counts, strict=True):
        if count == 0:
            raise DataError(
                f"Every symbol of data.symbols must be in {origin}",
                got=f"no row of '{symbol}'",
                fix=f"{nearest(symbol, present)}. Others come with --set data.source=yahoo,"
                " or from a file of your own with --set data.path=FILE",
            )
    if not chosen:
        raise DataError(f"{origin} must have rows", got="none", fix="Check that the file is the right one")


# Of the vendors' headings that stand for a column nine in ten are at least so alike to one of its names, of
# all others a quarter.
_LEAST_LIKENESS = 0.4


def match_option_columns(
    present: Iterable[object], origin: str, wanted: Sequence[str] = ()
) -> dict[str, str]:
    """Find the columns of the schema and the user's own, ``{name in the file: name in the schema}``.

    Args:
        present: Names in the file.
        origin: The file, for errors.
        wanted: Names that a config asks for.

    Raises:
        DataError: If columns are missing, with all of them and the nearest present; or if one stands there
            under two names.
    """
    header = [str(name) for name in present]
    found = _name_columns(header, origin, (*OPTIONS, *wanted), OPTIONS)
    there = set(found.values())
    needed = [name for name, column in OPTIONS.items() if column.needed]
    asked = [name for name in wanted if name not in COMPLETED]
    single = [(name,) for name in (*needed, *asked) if name not in there]
    groups = list(dict.fromkeys([*single, *_missing_quotes(there)]))
    if groups:
        free = [name for name in header if name not in found] or header
        more = f" and {len(header) - SHOWN_NAMES} more" if len(header) > SHOWN_NAMES else ""
        raise DataError(
            f"{origin} must have the columns {_needed(wanted)}",
            got="; ".join(_tell(names, free) for names in groups),
            fix=f"Say which it is with data.format.columns.{groups[0][0]}=NAME"
            + (
                ", or name a file of the underlyings' prices in data.format.spot"
                if ("spot",) in groups
                else ""
            )
            + f"; the file has: {', '.join(header[:SHOWN_NAMES]) or 'none'}{more}",
        )
    return found


def _needed(wanted: Sequence[str]) -> str:
    needed = [name for name, column in OPTIONS.items() if column.needed]
    asked = [name for name in dict.fromkeys(wanted) if name not in COMPLETED and name not in needed]
    quotes = ", or ".join(" and ".join(names) for names in QUOTE_SETS)
    return f"{', '.join([*needed, *asked])}; and {quotes}"


def _missing_quotes(there: set[str]) -> list[tuple[str, ...]]:
    """What is missing of the quotes: the other of bid and ask, or all of them."""
    if any(there.issuperset(names) for names in QUOTE_SETS):
        return []
    half = [name for name in QUOTE_SETS[0] if name not in there]
    return [(half[0],)] if len(half) == 1 else [tuple(name for names in QUOTE_SETS for name in names)]


def _tell(names: tuple[str, ...], header: Sequence[str]) -> str:
    """Name what is missing and the column nearest to it, by its aliases too."""
    spellings = [
        each for name in names for each in (name, *(OPTIONS[name].other_names if name in OPTIONS else ()))
    ]
    likeness = {
        other: max(
            difflib.SequenceMatcher(None, canonical_name(other, OPTIONS), each).ratio() for each in spellings
        )
        for other in header
    }
    best = max(likeness, key=likeness.__getitem__, default="")
    near = f"nearest: '{best}'" if likeness.get(best, 0.0) >= _LEAST_LIKENESS else "nothing near it"
    missing = f"no '{names[0]}'" if len(names) == 1 else "none of " + ", ".join(f"'{name}'" for name in names)
    return f"{missing} ({near})"


EMPTY_WORDS = (
    "",
    "nan",
    "na",
    "n/a",
    "<na>",
    "nat",
    "none",
    "null",
    "nil",
    "-",
    "--",
    "---",
    ".",
    "..",
    "\u2013",
    "\u2014",
    "\u2026",
    "n.a.",
    "n.a",
    "n/d",
    "n.d.",
    "k.a.",
    "no data",
    "not available",
    "#na",
    "#n/a",
    "#n/a n/a",
)
"""What stands in a cell that holds nothing, without case."""

_DATE = r"\d{4}-\d{2}-\d{2}(?:[T ].*)?"


def read_days(column: pd.Series) -> DateArray:
    """Read YYYY-MM-DD with or without a time, NaT where there is none; with an offset, the local day."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return _days(column)
    # Each distinct date is parsed once: a file of options repeats a date in thousands of rows.
    codes, found = pd.factorize(column)
    text = pd.Series(pd.Index(found).astype(str)).str.strip()
    # The pattern first: pandas alone would also take '3/4/2020', in an order that it guesses.
    # An offset goes with the time, so that the day is that of the place and not of UTC.
    days = pd.to_datetime(text.where(text.str.fullmatch(_DATE)).str[:10], errors="coerce")
    # An empty cell has the code -1, which picks the NaT at the end.
    return np.append(_days(days), np.datetime64("NaT", "D"))[codes]


def _days(column: pd.Series) -> DateArray:
    days: DateArray = column.dt.tz_localize(None).to_numpy().astype("datetime64[D]")
    return days


def read_numbers(column: pd.Series) -> tuple[FloatArray, Mask]:
    """Read numbers exactly as Python does.

    Returns:
        Values, NaN where there is none, and whether a cell holds something that is no number.
    """
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan), np.zeros(len(column), dtype=np.bool_)
    text, empty = _text(column)
    try:
        filled = pc.if_else(pa.array(empty), pa.scalar(None, pa.string()), text)
        # Arrow reads a column of texts many times as fast as pandas, but all of it or nothing.
        return filled.cast(pa.float64()).to_numpy(zero_copy_only=False), np.zeros(len(empty), dtype=np.bool_)
    except pa.ArrowInvalid:
        cells = text.to_pandas()
        readable = pd.to_numeric(cells, errors="coerce").notna().to_numpy()
        values = cells.where(readable, "nan").to_numpy(dtype=object).astype(np.float64)
        return values, ~readable & ~empty


def is_empty(column: pd.Series) -> Mask:
    """Whether a cell holds nothing."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return column.isna().to_numpy()
    return _text(column)[1]


def _text(column: pd.Series) -> tuple[pa.Array, Mask]:
    """Trimmed text of each cell, and whether it holds nothing."""
    cells = pa.array(column.astype("str"), from_pandas=True)
    # pandas keeps long columns of texts in chunks, which the functions below do not take.
    cells = cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells
    text = pc.utf8_trim_whitespace(cells.cast(pa.string()).fill_null(""))
    words = pa.array(EMPTY_WORDS)
    empty: Mask = pc.is_in(pc.utf8_lower(text), value_set=words).to_numpy(zero_copy_only=False)
    return text, empty


def code_names(column: pd.Series) -> tuple[IntArray, npt.NDArray[np.object_]]:
    """Number the names of a column in the order in which they come first; an empty cell is the name ''.

    Returns:
        Index into the names of each row, and the names.
    """
    codes, found = pd.factorize(column)
    text = np.append(pd.Index(found).astype(str).to_numpy(dtype=object), "")
    # Once more by their texts: 1 and '1' are two values of a column of mixed types and one name.
    again, names = pd.factorize(text)
    return again[codes].astype(np.intp), np.asarray(names, dtype=object)


def code_words(column: pd.Series, words: Mapping[str, float]) -> FloatArray:
    """Code each cell by ``words``, without case, NaN where it is none of them."""
    codes, names = code_names(column)
    values = np.array([words.get(str(name).strip().lower(), np.nan) for name in names], dtype=np.float64)
    return values[codes]
