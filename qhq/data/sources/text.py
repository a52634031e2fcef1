"""Text of any delimiter as a table of cells: where its header is, and what each line holds.

Names may stand in two rows above each other, as ``yfinance.download`` writes them; the rows of a workbook are
looked at in the same way. pandas reads; this file only tells it how.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pandas as pd

from qhq.data.columns import BINANCE_HEADER, OPTIONS, STOCKS, WORDS, alias_names, plain_name
from qhq.data.file_format import FileFormat
from qhq.data.sources.forms import VENDOR_FORMS
from qhq.errors import DataError

MOST_LETTERS_SHOWN = 60
"""Characters of a line or cell that an error shows."""


@dataclass(frozen=True, eq=False)
class RawTable:
    """A table as it stands in a file, nothing converted.

    Attributes:
        frame: Text of each cell, or the number or date that an Excel, JSON or Parquet file holds; the index
            is the line of the file, from 1.
        container: CSV text, Excel, Parquet or JSON.
        delimiter: Of text.
        encoding: Of text.
        header_line: Line of the names, counted from 1; 0 is a file without.
        symbol: What the file itself says beside its rows.
        notes: What was done to read it, for people.
        form: Name of the form, where it was recognised before there was a header.
    """

    frame: pd.DataFrame
    container: str
    delimiter: str | None = None
    encoding: str | None = None
    header_line: int = 1
    symbol: str | None = None
    notes: tuple[str, ...] = ()
    form: str | None = None


def refuse(origin: str, what: str, fix: str) -> DataError:
    """The error of a file that is no table."""
    return DataError(f"{origin} must be a file of rows (CSV, Excel .xlsx or Parquet)", got=what, fix=fix)


@contextmanager
def unpacked_file(path: Path, packed: str) -> Iterator[IO[bytes]]:
    """Open the bytes inside a file."""
    with ExitStack() as stack:
        if packed == "zip":
            archive = stack.enter_context(zipfile.ZipFile(path))
            name = next(
                # macOS puts a folder of resource forks beside the file that it compresses.
                each
                for each in archive.namelist()
                if not each.endswith("/") and "__MACOSX" not in each
            )
            yield stack.enter_context(archive.open(name))
        else:
            openers: dict[str, Callable[[Path, Literal["rb"]], Any]] = {
                "gzip": gzip.open,
                "bz2": bz2.open,
                "xz": lzma.open,
            }
            yield stack.enter_context(openers.get(packed, open)(path, "rb"))


def read_lines(path: Path, packed: str, encoding: str) -> Iterator[str]:
    """Lines of a text, with their ends; what is no character of the encoding is marked so."""
    with (
        unpacked_file(path, packed) as inside,
        io.TextIOWrapper(inside, encoding=encoding, errors="replace", newline="") as text,
    ):
        yield from text


# The header


def _fields(line: str, delimiter: str) -> list[str]:
    # The reader of the standard library, since a delimiter inside quotes separates nothing.
    return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [""])


_NAMES = (
    {*STOCKS, *OPTIONS, *alias_names(STOCKS), *alias_names(OPTIONS)}
    | {plain for form in VENDOR_FORMS.values() for plain in form.header}
    | {word for words in WORDS.values() for word in words}
    | {"price", "adj_close", "px_last", "observation_date"}
)


def count_known(row: Sequence[str]) -> int:
    """How many cells of a row are names of columns that some file has."""
    return sum(plain_name(cell) in _NAMES for cell in row)


def find_header(rows: Sequence[Sequence[str]]) -> int | None:
    """First row with the most known names of columns; a preamble has hardly any."""
    # Four known names are as good as forty: among such rows the first is the header, as others repeat it
    # below.
    full = [(min(count_known(row), 4), -place) for place, row in enumerate(rows[:30]) if len(row) > 1]
    best = max(full, default=(0, 0))
    # A header in a language nobody listed is still a header: the first row with more than one field.
    if best[0] == 0:
        return next((place for place, row in enumerate(rows) if len(row) > 1), None)
    return -best[1]


def _is_data(row: Sequence[str]) -> bool:
    """Whether a row holds numbers or dates and no names."""
    # Empty cells say nothing: a row of data may have many.
    cells = [cell.strip() for cell in row if cell.strip()]
    return bool(cells) and sum(bool(re.match(r"[-+$€£]?\d", cell)) for cell in cells) * 2 > len(cells)


_PRICE_NAMES = {
    "adj_close",
    "close",
    "high",
    "low",
    "open",
    "volume",
    "dividends",
    "stock_splits",
    "capital_gains",
}


def _is_stacked(rows: Sequence[Sequence[str]], place: int) -> bool:
    """Whether two rows of names stand above each other, as ``yfinance.download`` writes them."""
    if len(rows) < place + 2 or len(rows[place]) < 2 or len(rows[place]) != len(rows[place + 1]):
        return False
    above, below = ([plain_name(cell) for cell in rows[place + step]] for step in (0, 1))
    first, second = above[0], below[0]
    if first not in ("price", "ticker", "attributes", "") or second not in (
        "ticker", "price", "symbols", "",
    ):  # fmt: skip
        return False
    prices = [set(each[1:]) - {""} for each in (above, below)]
    # Exactly one of the two: were both rows of prices, there would be no tickers, and were neither, no
    # prices.
    return (prices[0] <= _PRICE_NAMES) != (prices[1] <= _PRICE_NAMES) and not _is_data(rows[place + 1])


def stacked_header(rows: Sequence[Sequence[str]], place: int) -> tuple[int, int]:
    """First row of the names, and how many rows they take."""
    for first in (place, place - 1):  # of two rows of names, the one with the prices has more that are known
        if first >= 0 and _is_stacked(rows, first):
            # pandas writes the name of the dates into a row of its own.
            below = list(rows[first + 2]) if len(rows) > first + 2 else []
            named = bool(below) and plain_name(below[0]) in ("date", "datetime")
            return first, 3 if named and not any(cell.strip() for cell in below[1:]) else 2
    return place, 1


def once_each(names: Sequence[str]) -> list[str]:
    """Number names that come twice, as pandas does."""
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}.{seen[name] - 1}")
    return unique


def unstack(table: RawTable, names: list[list[str]]) -> RawTable:
    """Bring the wide table of ``yfinance.download`` (a column for each price of each ticker) into rows."""
    upper, lower = names[0], names[1]
    for row in (upper, lower):  # Excel merges equal neighbours: only the first of them has the name
        for place in range(2, len(row)):
            row[place] = row[place] or row[place - 1]
    prices, tickers = (
        (upper, lower) if {plain_name(each) for each in upper[1:]} <= _PRICE_NAMES else (lower, upper)
    )
    parts = []
    for ticker in dict.fromkeys(tickers[1:]):
        places = [place for place in range(1, len(tickers)) if tickers[place] == ticker]
        part = table.frame.iloc[:, [0, *places]].set_axis(
            ["Date", *(prices[place] for place in places)], axis=1
        )
        # A name that is known for the column of a symbol.
        part.insert(0, "Ticker", ticker)
        # A ticker that was not listed yet has empty cells there, and no row.
        cells = part.iloc[:, 2:]
        parts.append(part[((cells != "") & cells.notna()).any(axis=1)])
    frame = pd.concat(parts)
    frame.index.name = "line"
    return replace(table, frame=frame, form="yfinance_download")


# Lines of text


@dataclass(frozen=True)
class TextLayout:
    """Where the header of a text file is, and what separates its fields."""

    delimiter: str
    header: int
    names: tuple[tuple[str, ...], ...]
    headless: bool = False

    @classmethod
    def of(cls, text: str, given: FileFormat, origin: str) -> TextLayout:
        """Find the delimiter and the line of the header among the first lines."""
        lines = text.splitlines()[: max(40, given.header or 0)]
        hint = re.fullmatch(r"sep=(.)", lines[0].strip()) if lines else None  # Excel's own
        named = given.delimiter or (hint[1] if hint else None)
        delimiters = [named] if named else [",", ";", "\t", "|"]
        best: tuple[float, str, int, list[list[str]]] | None = None
        for delimiter in delimiters:
            rows = [_fields(line, delimiter) for line in lines]
            place = given.header - 1 if given.header else find_header(rows)
            known = count_known(rows[place]) if place is not None and place < len(rows) else 0
            width = max(map(len, rows), default=0)
            score = known + min(width, 50) / 100
            if width > 1 and (best is None or score > best[0]):
                best = (score, delimiter, place or 0, rows)
        if best is None:
            one = _fields(next((line for line in lines if line.strip()), ""), "\0")
            raise DataError(
                f"{origin} must have at least two columns, a date and a price",
                got=f"one column, '{''.join(one[:1])[:MOST_LETTERS_SHOWN]}'",
                fix="Check that it is the right file; data.format.delimiter names what stands between the"
                " fields",
            )
        _, delimiter, place, rows = best
        if place >= len(rows):
            raise DataError(
                "data.format.header must be a line of the file",
                got=f"{place + 1}, where {origin} has {len(rows)}",
                fix="Name the line with the names of the columns, counted from 1",
            )
        place, count = (place, 1) if given.header else stacked_header(rows, place)
        headless = given.header is None and count_known(rows[place]) == 0 and _is_data(rows[place])
        return cls(delimiter, place, tuple(tuple(row) for row in rows[place : place + count]), headless)


def read_csv(
    path: Path, origin: str, layout: TextLayout, packed: str, encoding: str, notes: tuple[str, ...]
) -> RawTable:
    """Read every cell as text, so that a ticker 'NA' stays one and a bad number can be named."""
    count = len(layout.names)
    first = layout.header + (0 if layout.headless else count)
    names = _column_names(layout, origin)
    options: dict[str, Any] = {
        "sep": layout.delimiter, "dtype": str, "keep_default_na": False, "encoding": encoding,
        "compression": packed or None, "header": None, "skiprows": first, "skipinitialspace": True,
        "skip_blank_lines": False,
    }  # fmt: skip
    try:
        frame = pd.read_csv(path, names=names, **options)
        if not isinstance(frame.index, pd.RangeIndex):
            frame = _drop_trailing(pd.read_csv(path, **options), names, origin, first, layout.delimiter)
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame(columns=names, dtype=str)
    except pd.errors.ParserError as error:
        raise _wide_line(path, origin, layout, packed, encoding, error) from error
    frame.index = _line_numbers(path, frame, first, packed, encoding)
    blank = frame.iloc[:, 0].isna() | (frame.iloc[:, 0] == "")
    if blank.any():
        rest = frame[blank]
        frame = frame[~frame.index.isin(rest.index[((rest.isna()) | (rest == "")).all(axis=1)])]
    if frame.isna().to_numpy().any():
        frame = frame.fillna("")
    form = "binance" if layout.headless and tuple(names) == BINANCE_HEADER else None
    table = RawTable(
        frame,
        "CSV",
        layout.delimiter,
        encoding,
        0 if layout.headless else layout.header + 1,
        notes=notes,
        form=form,
    )
    return unstack(table, [list(row) for row in layout.names]) if count > 1 else table


def _column_names(layout: TextLayout, origin: str) -> list[str]:
    """Names of the columns, each once; an unnamed one is ''."""
    row = list(layout.names[-1] if len(layout.names) == 1 else layout.names[0])
    if len(layout.names) > 1:
        return [str(place) for place in range(len(row))]
    if layout.headless:
        # Binance writes klines without a header, their time in milliseconds, and in microseconds from 2025
        # on.
        if len(row) in (11, 12) and re.fullmatch(r"\d{13}|\d{16}", row[0]):
            return list(BINANCE_HEADER)
        raise DataError(
            f"{origin} must have a header: a line with the names of its columns",
            got=f"a first line of numbers, '{layout.delimiter.join(row)[:MOST_LETTERS_SHOWN]}'",
            fix="Put one above it, such as 'date,open,high,low,close,volume'",
        )
    return once_each(row)


def _drop_trailing(
    frame: pd.DataFrame, names: list[str], origin: str, first: int, delimiter: str
) -> pd.DataFrame:
    """Take a delimiter at the end of every line for what it is; anything else is a field without a name."""
    extra = frame.iloc[:, len(names) :]
    filled = np.flatnonzero(((extra != "") & extra.notna()).any(axis=1).to_numpy())
    if len(filled):
        row = int(filled[0])
        text = ",".join(str(cell) for cell in frame.iloc[row])
        raise DataError(
            f"{origin} must have as many fields in each line as names in its header, {len(names)}",
            got=f"{frame.shape[1]} in line {first + row + 1}: '{text[:MOST_LETTERS_SHOWN]}'",
            fix=_two_commas(delimiter),
        )
    return frame.iloc[:, : len(names)].set_axis(names, axis=1)


def _wide_line(
    path: Path, origin: str, layout: TextLayout, packed: str, encoding: str, error: Exception
) -> DataError:
    # pandas says where only in the text of its message.
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
    if found is None:
        return DataError(
            f"{origin} must be a readable CSV file", got=str(error).strip().partition("\n")[0],
            fix="Look at that line; an open quote or a damaged download looks so",
        )  # fmt: skip
    line = int(found[2])
    text = next(
        (text for number, text in enumerate(read_lines(path, packed, encoding), 1) if number == line), ""
    )
    names = layout.names[-1]
    return DataError(
        f"{origin} must have as many fields in each line as names in its header, {len(names)}",
        got=f"{found[3]} in line {line}: '{text.strip()[:MOST_LETTERS_SHOWN]}'",
        fix=_two_commas(layout.delimiter),
    )


def _two_commas(delimiter: str) -> str:
    """The two readings of a line with more fields than names, and the cure of both."""
    if delimiter != ",":
        return (
            f"A cell has the delimiter '{delimiter}' in it: export the file with quotes or another delimiter"
        )
    return (
        "A comma is likely a number's own: its decimal mark (12,34 is 12.34) or its thousands separator"
        " (1,234 is 1234). Export it with quotes around such cells, or with a delimiter such as ';'"
    )


def _line_numbers(path: Path, frame: pd.DataFrame, first: int, packed: str, encoding: str) -> pd.Index:
    """Line of each row as an editor counts: a quoted cell may span several lines."""
    plain = pd.RangeIndex(first + 1, first + 1 + len(frame), name="line")
    # A file of more than 256 MB is not read a second time for the numbers of its lines.
    if packed or path.stat().st_size > 1 << 28:
        return plain
    data = path.read_bytes()
    if data.count(b'"') == 0 or data.count(b"\n") - first <= len(frame):
        return plain
    numbers, before = [], 0
    reader = csv.reader(read_lines(path, packed, encoding), delimiter=",")
    for _ in reader:
        numbers.append(before + 1)
        before = reader.line_num
    numbers = numbers[first:]
    return pd.Index(numbers, name="line") if len(numbers) == len(frame) else plain
