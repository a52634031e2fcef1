"""Cells of a table, read as days, numbers and codes; one column at a time, nothing guessed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
DateArray = npt.NDArray[np.datetime64]
Mask = npt.NDArray[np.bool_]

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
    codes, found = pd.factorize(column)
    text = pd.Series(pd.Index(found).astype(str)).str.strip()
    days = pd.to_datetime(text.where(text.str.fullmatch(_DATE)).str[:10], errors="coerce")
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
    again, names = pd.factorize(text)
    return again[codes].astype(np.intp), np.asarray(names, dtype=object)


def code_words(column: pd.Series, words: Mapping[str, float]) -> FloatArray:
    """Code each cell by ``words``, without case, NaN where it is none of them."""
    codes, names = code_names(column)
    values = np.array([words.get(str(name).strip().lower(), np.nan) for name in names], dtype=np.float64)
    return values[codes]
