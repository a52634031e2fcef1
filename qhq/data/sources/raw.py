"""From the bytes of a file to a table of text: what kind of file it is, its encoding, delimiter and header.

The content decides, never the ending: Excel named ``.csv`` is read as Excel, and a web page saved as ``.csv``
is refused as what it is. pandas reads; this file only tells it how.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from qhq.data.format_spec import FileFormat
from qhq.data.schema import OPTIONS, STOCKS, alias_names
from qhq.data.sizes import check_parquet, check_text, check_workbook
from qhq.data.sources.forms import BINANCE_HEADER, FORMS, WORDS, plain_name
from qhq.errors import DataError

PEEKED = 1 << 16
"""Bytes of which the kind, the delimiter and the header are told."""
_SHOWN = 60

_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (
        b"\xd0\xcf\x11\xe0",
        "an Excel file of before 2007 (.xls)",
        "Open it in a spreadsheet and save it as .xlsx or CSV",
    ),
    (b"\x89PNG", "a picture (PNG)", "Export the table behind it as CSV"),
    (b"\xff\xd8\xff", "a picture (JPEG)", "Export the table behind it as CSV"),
    (b"%PDF", "a PDF", "Export its table as CSV: a PDF has no columns"),
    (b"\x89HDF", "an HDF5 file", "Write it with pandas: pd.read_hdf(...).to_parquet('prices.parquet')"),
    (b"SQLite format 3", "an SQLite database", "Export the table as CSV or Parquet"),
    (b"ARROW1", "a Feather file", "Write it as Parquet: pd.read_feather(...).to_parquet('prices.parquet')"),
    (b"7z\xbc\xaf", "a 7z archive", "Unpack it first"),
    (b"Rar!", "a RAR archive", "Unpack it first"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself", "Fetch it with 'git lfs pull'"),
)
"""What cannot be read: its first bytes, what it is, and the cure."""


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


def read_raw(path: Path, origin: str, given: FileFormat) -> RawTable:
    """Read a file as what its content is: text of any delimiter, Excel, Parquet or JSON; packed or not.

    Raises:
        DataError: If it is none of them, or damaged.
    """
    packed, start = "", b""
    try:
        packed, start = _peek(path)
        if not start.strip():
            raise _refuse(origin, "an empty file", "Export or download it again")
        for magic, what, fix in _MAGIC:
            if start.startswith(magic):
                raise _refuse(origin, what, fix)
        if start.startswith(b"PAR1"):
            check_parquet(path, origin)
            return _read_parquet(path)
        if start.startswith(b"PK"):
            check_workbook(path, origin)
            return _read_excel(path, origin, given)
        if start[:1] in (b"\x80", b"\x93") or (b"\x00" in start and _encoding_of(start) == "utf-8"):
            what = "a pickle or NumPy file" if start[:1] in (b"\x80", b"\x93") else "binary data"
            raise _refuse(origin, what, "Save the table as CSV or Parquet")
        check_text(path, origin, (lambda: _unpacked(path, packed)) if packed else None)
        return _read_text(path, origin, given, packed, start)
    except (
        OSError,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        zipfile.BadZipFile,
        UnicodeError,
        ValueError,
        KeyError,
        # openpyxl meets a damaged workbook with whatever it stumbles over, and XML with a SyntaxError.
        SyntaxError,
        TypeError,
        IndexError,
        AttributeError,
        RecursionError,
        pa.ArrowException,
    ) as error:
        kind = "Parquet" if start.startswith(b"PAR1") else "Excel" if start.startswith(b"PK") else "CSV"
        reason = str(error).partition("\n")[0].rstrip(".")
        raise DataError(
            f"{origin} must be a readable {kind} file",
            got=f"{type(error).__name__}: {reason}",
            fix="The file looks damaged or cut short: export or download it again",
        ) from error


def _refuse(origin: str, what: str, fix: str) -> DataError:
    return DataError(f"{origin} must be a file of rows (CSV, Excel .xlsx or Parquet)", got=what, fix=fix)


def _peek(path: Path) -> tuple[str, bytes]:
    """How a file is packed, and the first bytes inside."""
    with path.open("rb") as file:
        start = file.read(PEEKED)
    packed = next((name for magic, name in _PACKERS if start.startswith(magic)), "")
    if packed == "zip":
        with zipfile.ZipFile(path) as archive:
            names = [each for each in archive.namelist() if not each.endswith("/") and "__MACOSX" not in each]
        if "[Content_Types].xml" in names:  # a workbook is a zip of its own
            return "", start
        if len(names) != 1:
            raise DataError(
                f"{path.name} must hold one file",
                got=f"a zip of {len(names)}: {', '.join(names[:3])}",
                fix="Unpack it and name one of its files",
            )
    if packed:
        with _unpacked(path, packed) as inside:
            return packed, inside.read(PEEKED)
    if path.suffix in (".gz", ".bz2", ".xz", ".zip"):
        what = f"no {path.suffix} archive, whatever its name says"
        raise _refuse(path.name, what, "Give it the ending of what it is, or download it again")
    return "", start


_PACKERS = ((b"\x1f\x8b", "gzip"), (b"BZh", "bz2"), (b"\xfd7zXZ", "xz"), (b"PK\x03\x04", "zip"))


@contextmanager
def _unpacked(path: Path, packed: str) -> Iterator[IO[bytes]]:
    """Open the bytes inside a file."""
    with ExitStack() as stack:
        if packed == "zip":
            archive = stack.enter_context(zipfile.ZipFile(path))
            name = next(
                each for each in archive.namelist() if not each.endswith("/") and "__MACOSX" not in each
            )
            yield stack.enter_context(archive.open(name))
        else:
            openers: dict[str, Callable[[Path, Literal["rb"]], Any]] = {
                "gzip": gzip.open,
                "bz2": bz2.open,
                "xz": lzma.open,
            }
            yield stack.enter_context(openers.get(packed, open)(path, "rb"))


def _lines(path: Path, packed: str, encoding: str) -> Iterator[str]:
    with (
        _unpacked(path, packed) as inside,
        io.TextIOWrapper(inside, encoding=encoding, errors="replace", newline="") as text,
    ):
        yield from text


# Text


def _encoding_of(start: bytes) -> str:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if start[1:2] == b"\x00" and start[3:4] == b"\x00":
        return "utf-16-le"
    return "utf-8-sig" if start.startswith(b"\xef\xbb\xbf") else "utf-8"


def _read_text(path: Path, origin: str, given: FileFormat, packed: str, start: bytes) -> RawTable:
    encoding = given.encoding or _encoding_of(start)
    notes: tuple[str, ...] = ()
    try:
        text = start.decode(encoding, errors="strict" if len(start) < PEEKED else "ignore")
        if len(start) == PEEKED and encoding == "utf-8":
            start[: start.rfind(b"\n") + 1].decode("utf-8")
    except UnicodeDecodeError:
        if any(byte < 9 for byte in start[:4096]):
            raise _refuse(origin, "binary data", "Save the table as CSV or Parquet") from None
        encoding = "cp1252"
        text = start.decode(encoding, errors="replace")
    first = text.lstrip("\ufeff \r\n\t")
    if first[:1] == "<" and re.match(r"<(!doctype|html|head|\?xml|body|table)", first, re.IGNORECASE):
        title = re.search(r"<title>(.*?)</title>", first, re.IGNORECASE | re.DOTALL)
        what = "a web page or XML" + (f" ('{title[1].strip()[:_SHOWN]}')" if title else "")
        raise _refuse(
            origin,
            what,
            "Download the file itself, not the page (an expired link or a login often gives one)",
        )
    # OptionsDX writes its header as [QUOTE_DATE], [C_BID], ...
    if first[:1] in ("{", "[") and re.match(r"\[[^\]\n\"]+\]\s*[,;\t]", first) is None:
        return _read_json(path, origin, packed, encoding)
    layout = _Layout.of(text, given, origin)
    try:
        return _read_csv(path, origin, layout, packed, encoding, notes)
    except UnicodeDecodeError:
        # The first cell that is no UTF-8 may lie behind what was looked at.
        return _read_csv(path, origin, layout, packed, "cp1252", notes)


@dataclass(frozen=True)
class _Layout:
    """Where the header of a text file is, and how its fields are told apart."""

    delimiter: str
    header: int
    names: tuple[tuple[str, ...], ...]
    headless: bool = False

    @classmethod
    def of(cls, text: str, given: FileFormat, origin: str) -> _Layout:
        """Find the delimiter and the line of the header among the first lines."""
        lines = text.splitlines()[: max(40, given.header or 0)]
        hint = re.fullmatch(r"sep=(.)", lines[0].strip()) if lines else None  # Excel's own
        named = given.delimiter or (hint[1] if hint else None)
        delimiters = [named] if named else [",", ";", "\t", "|"]
        best: tuple[float, str, int, list[list[str]]] | None = None
        for delimiter in delimiters:
            rows = [_fields(line, delimiter) for line in lines]
            place = given.header - 1 if given.header else _header_place(rows)
            known = _known(rows[place]) if place is not None and place < len(rows) else 0
            width = max(map(len, rows), default=0)
            score = known + min(width, 50) / 100
            if width > 1 and (best is None or score > best[0]):
                best = (score, delimiter, place or 0, rows)
        if best is None:
            one = _fields(next((line for line in lines if line.strip()), ""), "\0")
            raise DataError(
                f"{origin} must have at least two columns, a date and a price",
                got=f"one column, '{''.join(one[:1])[:_SHOWN]}'",
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
        place, count = (place, 1) if given.header else _stacked_header(rows, place)
        headless = given.header is None and _known(rows[place]) == 0 and _is_data(rows[place])
        return cls(delimiter, place, tuple(tuple(row) for row in rows[place : place + count]), headless)


def _fields(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [""])


_NAMES = (
    {*STOCKS, *OPTIONS, *alias_names(STOCKS), *alias_names(OPTIONS)}
    | {plain for form in FORMS.values() for plain in form.header}
    | {word for words in WORDS.values() for word in words}
    | {"price", "adj_close", "px_last", "observation_date"}
)


def _known(row: Sequence[str]) -> int:
    """How many cells of a row are names of columns that some file has."""
    return sum(plain_name(cell) in _NAMES for cell in row)


def _header_place(rows: Sequence[Sequence[str]]) -> int | None:
    """First row with the most known names of columns; a preamble has hardly any."""
    full = [(min(_known(row), 4), -place) for place, row in enumerate(rows[:30]) if len(row) > 1]
    best = max(full, default=(0, 0))
    if best[0] == 0:
        return next((place for place, row in enumerate(rows) if len(row) > 1), None)
    return -best[1]


def _is_data(row: Sequence[str]) -> bool:
    """Whether a row holds numbers or dates and no names."""
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
    return (prices[0] <= _PRICE_NAMES) != (prices[1] <= _PRICE_NAMES) and not _is_data(rows[place + 1])


def _stacked_header(rows: Sequence[Sequence[str]], place: int) -> tuple[int, int]:
    """First row of the names, and how many rows they take."""
    for first in (place, place - 1):  # of two rows of names, the one with the prices has more that are known
        if first >= 0 and _is_stacked(rows, first):
            return first, 3 if len(rows) > first + 2 and _is_index_row(rows[first + 2]) else 2
    return place, 1


def _is_index_row(row: Sequence[str]) -> bool:
    return (
        bool(row) and plain_name(row[0]) in ("date", "datetime") and not any(cell.strip() for cell in row[1:])
    )


def _read_csv(
    path: Path, origin: str, layout: _Layout, packed: str, encoding: str, notes: tuple[str, ...]
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


def _column_names(layout: _Layout, origin: str) -> list[str]:
    """Names of the columns, each once; an unnamed one is ''."""
    row = list(layout.names[-1] if len(layout.names) == 1 else layout.names[0])
    if len(layout.names) > 1:
        return [str(place) for place in range(len(row))]
    if layout.headless:
        if len(row) in (11, 12) and re.fullmatch(r"\d{13}|\d{16}", row[0]):
            return list(BINANCE_HEADER)
        raise DataError(
            f"{origin} must have a header: a line with the names of its columns",
            got=f"a first line of numbers, '{layout.delimiter.join(row)[:_SHOWN]}'",
            fix="Put one above it, such as 'date,open,high,low,close,volume'",
        )
    return once_each(row)


def once_each(names: Sequence[str]) -> list[str]:
    """Number names that come twice, as pandas does."""
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}.{seen[name] - 1}")
    return unique


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
            got=f"{frame.shape[1]} in line {first + row + 1}: '{text[:_SHOWN]}'",
            fix=_two_commas(delimiter),
        )
    return frame.iloc[:, : len(names)].set_axis(names, axis=1)


def _wide_line(
    path: Path, origin: str, layout: _Layout, packed: str, encoding: str, error: Exception
) -> DataError:
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
    if found is None:
        return DataError(
            f"{origin} must be a readable CSV file", got=str(error).strip().partition("\n")[0],
            fix="Look at that line; an open quote or a damaged download looks so",
        )  # fmt: skip
    line = int(found[2])
    text = next((text for number, text in enumerate(_lines(path, packed, encoding), 1) if number == line), "")
    names = layout.names[-1]
    return DataError(
        f"{origin} must have as many fields in each line as names in its header, {len(names)}",
        got=f"{found[3]} in line {line}: '{text.strip()[:_SHOWN]}'",
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
    if packed or path.stat().st_size > 1 << 28:
        return plain
    data = path.read_bytes()
    if data.count(b'"') == 0 or data.count(b"\n") - first <= len(frame):
        return plain
    numbers, before = [], 0
    reader = csv.reader(_lines(path, packed, encoding), delimiter=",")
    for _ in reader:
        numbers.append(before + 1)
        before = reader.line_num
    numbers = numbers[first:]
    return pd.Index(numbers, name="line") if len(numbers) == len(frame) else plain


# Tables of which the names stand in several rows


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
        part.insert(0, "Ticker", ticker)
        # A ticker that was not listed yet has empty cells there, and no row.
        cells = part.iloc[:, 2:]
        parts.append(part[((cells != "") & cells.notna()).any(axis=1)])
    frame = pd.concat(parts)
    frame.index.name = "line"
    return replace(table, frame=frame, form="yfinance_download")


# Parquet, Excel, JSON


def _read_parquet(path: Path) -> RawTable:
    """Read every column; an index that pandas stored is a column like any other."""
    frame = pq.read_table(path).to_pandas(ignore_metadata=True)
    frame.index = pd.RangeIndex(1, 1 + len(frame), name="line")
    # pandas writes the two rows of names of yfinance.download as "('Close', 'AAPL')".
    pairs = [re.fullmatch(r"\('([^']*)', '([^']*)'\)", str(name)) for name in frame.columns]
    if not any(pairs):
        return RawTable(frame, "Parquet", header_line=0)
    dates = [name for name, pair in zip(frame.columns, pairs, strict=True) if pair is None]
    first = dates[0] if dates else frame.columns[0]
    kept = [name for name, pair in zip(frame.columns, pairs, strict=True) if pair and name != first]
    names = [["", *(match[place] for match in pairs if match)] for place in (1, 2)]
    return unstack(RawTable(frame[[first, *kept]], "Parquet", header_line=0), names)


def _read_excel(path: Path, origin: str, given: FileFormat) -> RawTable:
    with pd.ExcelFile(path, engine="openpyxl") as book:
        sheets = [str(name) for name in book.sheet_names]
        if given.sheet is not None and given.sheet not in sheets:
            raise DataError(
                "data.format.sheet must be a sheet of the file",
                got=f"'{given.sheet}'",
                fix=f"{origin} has {', '.join(sheets)}",
            )
        texts = {name: _sheet_cells(book, name) for name in sheets}
    # A workbook often begins with a sheet of remarks: the first sheet with names of columns is the table.
    named = {
        name: max(map(_known, text.head(40).to_numpy().tolist()), default=0) for name, text in texts.items()
    }
    tables = [name for name in texts if named[name] > 1]
    sheet = given.sheet or (tables or sheets)[0]
    text, others = texts[sheet], [name for name in tables if name != sheet]
    notes: tuple[str, ...] = (
        (f"sheet '{sheet}' of {len(sheets)}; data.format.sheet takes another",) if len(sheets) > 1 else ()
    )
    if others:
        notes += (f"not read: {', '.join(others)}, which hold tables too",)
    if not len(text):
        raise _refuse(origin, f"an empty sheet '{sheet}'", "Name another with data.format.sheet")
    rows = [[str(cell) for cell in row] for row in text.head(40).to_numpy().tolist()]
    place = given.header - 1 if given.header else (_header_place(rows) or 0)
    place, count = (place, 1) if given.header else _stacked_header(rows, place)
    frame = text.iloc[place + count :]
    frame.index = pd.RangeIndex(place + count + 1, place + count + 1 + len(frame), name="line")
    frame = frame[(frame != "").any(axis=1)]
    # Where each sheet holds a table of its own, its name says which stock's.
    symbol = (
        sheet if others and not re.fullmatch(r"(?i)(sheet|tabelle|feuil|hoja|foglio) ?\d*", sheet) else None
    )
    table = RawTable(frame, "Excel", header_line=place + 1, notes=notes, symbol=symbol)
    if count > 1:
        return unstack(table, rows[place : place + count])
    return replace(table, frame=frame.set_axis(once_each(rows[place]), axis=1))


def _sheet_cells(book: pd.ExcelFile, name: str) -> pd.DataFrame:
    cells = pd.read_excel(
        book, sheet_name=name, header=None, dtype=object, keep_default_na=False, na_values=[]
    )
    return cells.map(_plain_cell)


def _plain_cell(cell: object) -> object:
    """A number or a date as it is, which no marks of ``data.format`` can misread; all else as text."""
    if cell is None or cell is pd.NaT or (isinstance(cell, float) and np.isnan(cell)):
        return ""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return int(cell)
    typed = isinstance(cell, int | float | datetime) and not isinstance(cell, bool)
    return cell if typed else str(cell)


def _read_json(path: Path, origin: str, packed: str, encoding: str) -> RawTable:
    """Read a list of rows, by itself or under one key, Alpha Vantage's rows by date, or a row a line."""
    try:
        content = json.loads("".join(_lines(path, packed, encoding)))
    except json.JSONDecodeError:
        content = [json.loads(line) for line in _lines(path, packed, encoding) if line.strip()]
    symbol = None
    if isinstance(content, dict):
        symbol = _json_symbol(content)
        content = _json_columns(content) or content
    if isinstance(content, dict):
        content = next((value for value in map(_json_rows, content.values()) if value), None) or content
    rows = _json_rows(content)
    if rows and "open_time" in rows[0] and "taker_buy_volume" in rows[0]:
        return replace(_json_table(rows, symbol), form="binance")
    if rows:
        return _json_table(rows, symbol)
    said = (
        [str(value) for value in content.values() if isinstance(value, str)]
        if isinstance(content, dict)
        else []
    )
    if said:
        raise _refuse(
            origin,
            f"an answer of a service without rows: '{said[0][:_SHOWN]}'",
            "Ask it again, and save that",
        )
    raise _refuse(origin, "JSON without rows", "Save the table as CSV: one row for each symbol and session")


def _json_columns(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a table that was written column by column: pandas' ``to_json``, Finnhub, Yahoo's chart."""
    chart = content.get("chart")
    if isinstance(chart, dict) and isinstance(chart.get("result"), list) and chart["result"]:
        result = chart["result"][0]
        adjusted = (result["indicators"].get("adjclose") or [{}])[0]
        content = {"timestamp": result["timestamp"], **result["indicators"]["quote"][0], **adjusted}
    if isinstance(content.get("columns"), list) and isinstance(content.get("data"), list):  # orient="split"
        names, index = content["columns"], content.get("index", [])
        dated = not _known(list(map(str, names))) or not {"date", "datetime", "time"} & set(
            map(plain_name, names)
        )
        names = ["date", *names] if dated and index else names
        data = (
            [[day, *row] for day, row in zip(index, content["data"], strict=False)]
            if dated and index
            else content["data"]
        )
        return [dict(zip(names, row, strict=False)) for row in data]
    columns = {
        str(name): cells for name, cells in content.items() if isinstance(cells, list | dict) and cells
    }
    if len(columns) < 2 or len({len(cells) for cells in columns.values()}) != 1:
        return []
    if all(isinstance(cells, list) for cells in columns.values()):
        flat = all(not isinstance(cell, list | dict) for cells in columns.values() for cell in cells[:2])
        return (
            [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
            if flat
            else []
        )
    by_row = {name: cells for name, cells in columns.items() if isinstance(cells, dict)}
    if _known(list(columns)) < 2 or len(by_row) < len(columns):
        return []
    index = list(next(iter(by_row.values())))  # the rows' own names: dates, or nothing but numbers
    dated = not {"date", "datetime", "timestamp"} & set(map(plain_name, columns))
    return [
        ({"date": key} if dated else {}) | {name: cells.get(key) for name, cells in by_row.items()}
        for key in index
    ]


def _json_symbol(content: dict[str, Any]) -> str | None:
    """Symbol of an answer of a service, where it names one beside its rows."""
    about = content.get("Meta Data", content.get("meta", content))
    chart = content.get("chart")
    if isinstance(chart, dict) and chart.get("result"):
        about = chart["result"][0].get("meta", {})
    if not isinstance(about, dict):
        return None
    keys = [key for key in about if key.split(". ")[-1].lower() in ("symbol", "ticker")]
    return str(about[keys[0]]) if keys else None


def _json_rows(content: object) -> list[dict[str, Any]]:
    if isinstance(content, list) and content:
        if all(isinstance(row, dict) for row in content):
            return content
        if all(isinstance(row, list) and len(row) in (11, 12) for row in content):
            return [dict(zip(BINANCE_HEADER, row, strict=False)) for row in content]
    if isinstance(content, dict) and content and all(isinstance(row, dict) for row in content.values()):
        return [{"timestamp": day, **row} for day, row in content.items()]
    return []


def _json_table(records: Sequence[dict[str, Any]], symbol: str | None) -> RawTable:
    frame = pd.DataFrame(list(records), dtype=object).map(_plain_cell)
    frame.index = pd.RangeIndex(1, 1 + len(frame), name="line")
    return RawTable(frame, "JSON", header_line=0, symbol=symbol)
