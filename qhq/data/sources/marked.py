"""Dates and numbers of a table, read from all cells of a column together (``qhq.data.marks``).

Where every cell can be read the column becomes dates or numbers; where one cannot, the column is text in
which that cell stands as the file has it, so that the rules of the panel can show it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from qhq.data.columns import KEYS, PRICES, TABLES, plain_name
from qhq.data.file_format import FileFormat
from qhq.data.marks import (
    PART_ORDERS,
    Ambiguity,
    Days,
    Numerals,
    choose_numerals,
    read_dates,
    read_marked_numbers,
)
from qhq.data.panel import Mask
from qhq.data.sources.meaning import CLOCK, TableMeaning
from qhq.data.tables import is_empty, read_days, read_numbers
from qhq.errors import DataError

# Most cells of a column that say in words that they hold nothing, kept to be shown.
_WORDS = 500
# Most lines at the end of a file that are no rows: a total, a source.
_FOOTERS = 5


# Dates


def date_columns(
    frame: pd.DataFrame, meaning: TableMeaning, given: FileFormat
) -> tuple[pd.DataFrame, str, pd.Series | None]:
    """Read the dates.

    Returns:
        The table; how its dates are written; and, where a time of day stands in one, the text of each.

    Raises:
        DataError: If they have no single reading.
    """
    order, times = "iso", None
    usual = meaning.usual_dates
    expiries = _order_of(frame["expiry"]) if "expiry" in frame.columns else None
    if "date" in frame.columns:
        text = frame["date"].astype("str")
        frame, days = _date_column(frame, "date", meaning, given.dates, usual or expiries)
        order = days.order
        if days.timed.any():
            times = text
        elif CLOCK in frame.columns:
            times = text + " " + frame[CLOCK].astype("str")
        frame = _drop_footers(frame, meaning)
        times = None if times is None else times.iloc[frame.pop("keep:row").to_numpy()]
    if "expiry" in frame.columns:
        # Expiries may be written otherwise than the dates: what the config says is read where it fits.
        usual = given.dates if given.dates in PART_ORDERS else order if order in PART_ORDERS else usual
        pattern = given.dates if given.dates and "%" in given.dates else None
        fits = pattern and _order_of(frame["expiry"], pattern)
        frame, _ = _date_column(frame, "expiry", meaning, pattern if fits else None, usual)
    return frame.drop(columns=[CLOCK, "keep:row"], errors="ignore"), order, times


def _order_of(column: pd.Series, wanted: str | None = None) -> str | None:
    """How the dates of a column are written, None where that is open or none can be read."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return None
    cells = [str(cell) for cell in column.unique() if not isinstance(cell, datetime)]
    read = read_dates(cells, wanted=wanted)
    return None if isinstance(read, Ambiguity) or np.isnat(read.days).all() else read.order


def _date_column(
    frame: pd.DataFrame, name: str, meaning: TableMeaning, wanted: str | None, usual: str | None
) -> tuple[pd.DataFrame, Days]:
    column = frame[name]
    if pd.api.types.is_datetime64_any_dtype(column):
        local = column.dt.tz_localize(None)
        timed = (local != local.dt.normalize()).to_numpy()
        return frame.assign(**{name: read_days(column)}), Days(read_days(column), "dates", timed)
    codes, found = pd.factorize(column)
    # A date of a workbook is one already: no order of text applies to it.
    typed = {place: cell for place, cell in enumerate(found) if isinstance(cell, datetime)}
    cells = ["" if place in typed else str(cell) for place, cell in enumerate(found)]
    read = read_dates(cells, wanted=wanted, usual=usual)
    if isinstance(read, Ambiguity):
        raise _tell_ambiguity(frame[[name]], meaning, read, "dates")
    for place, moment in typed.items():
        read.days[place] = np.datetime64(moment.date(), "D")
        read.timed[place] = moment.time() != time()
    days = np.append(read.days, np.datetime64("NaT", "D"))[codes]
    bad = np.isnat(days)
    if not bad.any():
        return frame.assign(**{name: days}), read
    text = np.where(bad, column.astype("str").to_numpy(dtype=object), days.astype(str).astype(object))
    return frame.assign(**{name: pd.Series(text, index=frame.index, dtype="object")}), read


def _drop_footers(frame: pd.DataFrame, meaning: TableMeaning) -> pd.DataFrame:
    """Leave out a header that is repeated, and lines at the end that hold a remark and no prices."""
    frame["keep:row"] = np.arange(len(frame))
    remark = _tells_of_actions(frame)
    if pd.api.types.is_datetime64_any_dtype(frame["date"]) and not remark.any():
        return frame
    bad = np.isnat(read_days(frame["date"]))
    cells = frame["date"].astype("str")
    names = {plain_name(meaning.column("date")), *(("price", "ticker") if meaning.raw.form else ())}
    repeated = bad & cells.map(plain_name).isin(names).to_numpy()
    _refuse_other_order(
        frame[repeated & (cells.map(plain_name) == plain_name(meaning.column("date")))], meaning
    )
    remark |= bad & cells.str.match(r"\s*(#|//)").to_numpy()
    footer = np.zeros(len(frame), dtype=np.bool_)
    prices = [name for name in (*PRICES, "strike", "bid", "ask", "iv") if name in frame.columns]
    # From the end upwards and never past a good row: a bad date in the middle is a fault, not a footer.
    for row in range(len(frame) - 1, max(len(frame) - 1 - _FOOTERS, -1), -1):
        if not bad[row] or any(np.isfinite(read_numbers(frame[name].iloc[[row]])[0][0]) for name in prices):
            break
        footer[row] = True
    for mask, what in (
        (repeated, "repeated headers"),
        (remark, "remarks between the rows"),
        (footer & ~repeated & ~remark, "lines below the table"),
    ):
        if mask.any():
            first = int(np.argmax(mask))
            shown = f"line {frame.index[first]}: '{cells.iloc[first][:40]}'"
            meaning.notes.append(f"{what} left out: {np.count_nonzero(mask)}, such as {shown}")
    frame = frame[~(repeated | footer | remark)]
    days = read_days(frame["date"])
    return frame if np.isnat(days).any() else frame.assign(date=days)


def _refuse_other_order(headers: pd.DataFrame, meaning: TableMeaning) -> None:
    """Refuse files glued together of which the later has its columns in another order."""
    for name, column in meaning.columns.items():
        if name not in headers.columns or column not in meaning.raw.frame.columns:
            continue
        for line, cell in headers[name].items():
            if plain_name(cell) in meaning.header and plain_name(cell) != plain_name(column):
                raise DataError(
                    f"{meaning.origin} must have its columns in one order",
                    got=f"'{column}' above and '{cell}' in the header of line {line}, in the same place",
                    fix="These are several files in one: read them one by one and join them by column",
                )


def _tells_of_actions(frame: pd.DataFrame) -> Mask:
    """Lines such as '0.24 Dividend', which Yahoo's page puts between the days."""
    if not {"open", "close"} <= set(frame.columns) or pd.api.types.is_numeric_dtype(frame["open"]):
        return np.zeros(len(frame), dtype=np.bool_)
    remark = frame["open"].astype("str").str.contains(r"\d\s*(?:dividend|stock split|splits?)", case=False)
    return np.asarray(remark.to_numpy(dtype=np.bool_) & is_empty(frame["close"]))


def _tell_ambiguity(frame: pd.DataFrame, meaning: TableMeaning, ambiguity: Ambiguity, noun: str) -> DataError:
    """Tell of two readings: the cells with their lines, and the key that decides."""
    places = [_find_cell(frame, meaning, cell) for cell in ambiguity.cells]
    key = f"data.format.{'dates' if noun == 'dates' else 'decimal'}"
    settings = " or ".join(f"{key}={each}" for each in ambiguity.settings)
    if len(places) == 1:
        return DataError(
            f"The {noun} of {meaning.origin} must have one reading",
            got=f"{places[0]}, which is {' or '.join(ambiguity.readings)}",
            fix=f"Set {settings}",
        )
    shown = " and ".join(f"{place}, {how}" for place, how in zip(places, ambiguity.readings, strict=True))
    return DataError(
        f"The {noun} of {meaning.origin} must all be written in one way",
        got=shown,
        fix=f"Look at both lines. {settings} reads one way, and then shows each cell that does not fit",
    )


def _find_cell(frame: pd.DataFrame, meaning: TableMeaning, cell: str) -> str:
    for name in frame.columns:
        same = (frame[name].astype("str").str.strip() == cell.strip()).to_numpy()
        if same.any():
            return f"'{cell}' in column '{meaning.column(str(name))}' (line {frame.index[same][0]})"
    return f"'{cell}'"


# Numbers


def number_columns(
    frame: pd.DataFrame, meaning: TableMeaning, given: FileFormat, asked: Collection[str]
) -> tuple[pd.DataFrame, Numerals | None]:
    """Make numbers of the schema's columns and of those asked for, with the marks that all of them show.

    Returns:
        The table, and how its numbers are written; None where Python reads them as they are.

    Raises:
        DataError: If the cells contradict each other, or have two readings.
    """
    names = [str(name) for name in frame.columns if _is_number(str(name), meaning, asked)]
    texts = [name for name in names if not pd.api.types.is_numeric_dtype(frame[name])]
    read = {name: read_numbers(frame[name]) for name in names}
    failing = [name for name, (_, bad) in read.items() if bad.any()]
    numerals = None
    unit = {"iv": given.volatility, "rate": given.rates}  # what the config calls them
    if texts and (failing or given.decimal or given.thousands or given.ignore):
        numerals = _find_numerals(frame, meaning, given, {name: read[name][1] for name in texts})
        # A decimal comma makes thousands of 1.234, which Python reads without complaint.
        for name in texts if numerals.decimal == "," else failing:
            read[name] = _read_marked(
                frame[name], numerals, meaning.unit(name), _SIGNED.get(str(unit.get(name)))
            )
    for name in texts:
        hollow = np.flatnonzero(is_empty(frame[name]))
        cells = frame[name].iloc[hollow].astype("str").str.strip()
        said = cells[cells != ""].head(_WORDS)
        if len(said):
            meaning.words[name] = dict(zip(said.index.to_numpy().tolist(), said.tolist(), strict=True))
    plain = {name: _with_cells(frame[name], *values) for name, values in read.items()}
    return frame.assign(**plain), numerals


def _is_number(name: str, meaning: TableMeaning, asked: Collection[str]) -> bool:
    if name in ("right", "style", *KEYS):
        return False
    column = TABLES[meaning.kind].get(name)
    if column is None:
        return name in asked or name in ("spot_bid", "spot_ask")
    return column.unit not in ("text", "time", "date")


def _with_cells(column: pd.Series, values: np.ndarray, bad: Mask) -> np.ndarray:
    """Numbers; or text, where a cell is none and must be shown."""
    if not bad.any():
        return values
    text = np.array([repr(value) for value in values.tolist()], dtype=object)
    cells = column.astype("str").to_numpy(dtype=object)
    return np.where(bad, cells, np.where(np.isnan(values), "", text))


def _find_numerals(
    frame: pd.DataFrame, meaning: TableMeaning, given: FileFormat, failing: dict[str, Mask]
) -> Numerals:
    if given.decimal is not None:
        other = "." if given.decimal == "," else ","
        return Numerals(given.decimal, other if given.thousands is None else given.thousands, given.ignore)
    counts: set[str] = set()  # '1,234' shares are no fraction; as a price they may be
    others: set[str] = set()
    for name, bad in failing.items():
        cells = map(str, frame[name][bad].astype("str").unique())
        (counts if meaning.unit(name) in ("shares", "contracts") else others).update(cells)
        others.update(_pointed(frame[name]))  # what Python reads may show the file's decimal point
    chosen = choose_numerals(sorted(others))
    if chosen is None:
        chosen = choose_numerals(sorted(counts), counts=True)
    if isinstance(chosen, Ambiguity):
        raise _tell_ambiguity(frame[list(failing)], meaning, chosen, "numbers")
    chosen = chosen or Numerals()
    thousands = chosen.thousands if given.thousands is None else given.thousands
    return Numerals(chosen.decimal, thousands, given.ignore)


def _pointed(column: pd.Series) -> list[str]:
    """First text of a column with a decimal point that cannot be a thousands separator, if there is one."""
    if column.dtype == object:  # numbers of a workbook show no mark
        column = column[[isinstance(cell, str) for cell in column]]
    cells = pa.array(column.astype("str"), from_pandas=True)
    cells = cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells
    shown = pc.match_substring_regex(cells.cast(pa.string()), r"^\s*[-+]?(0\.\d+|\d*\.(\d{1,2}|\d{4,}))\s*$")
    rows = np.flatnonzero(shown.fill_null(False).to_numpy(zero_copy_only=False))
    return [str(column.iloc[int(rows[0])])] if len(rows) else []


# What a fraction is in a unit that the config names: '25%' is 25 percent, and not a quarter of one.
_SIGNED = {"percent": 100.0, "basis_points": 10_000.0}


def _read_marked(
    column: pd.Series, numerals: Numerals, unit: str, signed: float | None
) -> tuple[np.ndarray, Mask]:
    """Read a column with marks; ``signed`` is what a cell with a percent sign is multiplied by."""
    codes, found = pd.factorize(column)
    cells: Sequence[str] = [str(cell) for cell in found]
    numbers = read_marked_numbers(cells, numerals, unit)
    typed = [isinstance(cell, int | float) for cell in found]
    numbers[typed] = [float(cell) for cell, is_number in zip(found, typed, strict=True) if is_number]
    if signed is not None:
        numbers = np.where(["%" in cell for cell in cells], numbers * signed, numbers)
    values = np.append(numbers, np.nan)[codes]
    return values, np.isnan(values) & ~is_empty(column)
