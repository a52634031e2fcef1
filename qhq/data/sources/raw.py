"""From the bytes of a file to a table: what it is, however it is packed and whatever its name says.

The content decides, never the ending: Excel named ``.csv`` is read as Excel, and a web page saved as ``.csv``
is refused as what it is. Text of rows is ``text``'s; Parquet, Excel and JSON, whose cells have types, are
read here.
"""

from __future__ import annotations

import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from qhq.data.columns import BINANCE_HEADER, plain_name
from qhq.data.file_format import FileFormat
from qhq.data.sizes import check_parquet, check_text, check_workbook
from qhq.data.sources.text import (
    MOST_LETTERS_SHOWN,
    RawTable,
    TextLayout,
    count_known,
    find_header,
    once_each,
    read_csv,
    read_lines,
    refuse,
    stacked_header,
    unpacked_file,
    unstack,
)
from qhq.errors import DataError
from qhq.files import Json

# Bytes of which the kind, the delimiter and the header are found.
_PEEKED = 1 << 16

# What cannot be read: its first bytes, what it is, and the cure.
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


def read_raw(path: Path, origin: str, given: FileFormat) -> RawTable:
    """Read a file as what its content is: text of any delimiter, Excel, Parquet or JSON; packed or not.

    Raises:
        DataError: If it is none of them, or damaged.
    """
    packed, start = "", b""
    try:
        packed, start = _peek(path)
        if not start.strip():
            raise refuse(origin, "an empty file", "Export or download it again")
        for magic, what, fix in _MAGIC:
            if start.startswith(magic):
                raise refuse(origin, what, fix)
        if start.startswith(b"PAR1"):
            check_parquet(path, origin)
            return _read_parquet(path)
        if start.startswith(b"PK"):
            check_workbook(path, origin)
            return _read_excel(path, origin, given)
        # UTF-16 has zero bytes too, hence the second look; anything else with one is no text.
        if start[:1] in (b"\x80", b"\x93") or (b"\x00" in start and _encoding_of(start) == "utf-8"):
            what = "a pickle or NumPy file" if start[:1] in (b"\x80", b"\x93") else "binary data"
            raise refuse(origin, what, "Save the table as CSV or Parquet")
        check_text(path, origin, (lambda: unpacked_file(path, packed)) if packed else None)
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


def _peek(path: Path) -> tuple[str, bytes]:
    """How a file is packed, and the first bytes inside."""
    with path.open("rb") as file:
        start = file.read(_PEEKED)
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
        with unpacked_file(path, packed) as inside:
            return packed, inside.read(_PEEKED)
    if path.suffix in (".gz", ".bz2", ".xz", ".zip"):
        what = f"no {path.suffix} archive, whatever its name says"
        raise refuse(path.name, what, "Give it the ending of what it is, or download it again")
    return "", start


_PACKERS = ((b"\x1f\x8b", "gzip"), (b"BZh", "bz2"), (b"\xfd7zXZ", "xz"), (b"PK\x03\x04", "zip"))


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
        text = start.decode(encoding, errors="strict" if len(start) < _PEEKED else "ignore")
        if len(start) == _PEEKED and encoding == "utf-8":
            start[: start.rfind(b"\n") + 1].decode("utf-8")
    except UnicodeDecodeError:
        # cp1252 takes any byte, so that control characters must tell what is no text at all.
        if any(byte < 9 for byte in start[:4096]):
            raise refuse(origin, "binary data", "Save the table as CSV or Parquet") from None
        encoding = "cp1252"
        text = start.decode(encoding, errors="replace")
    first = text.lstrip("\ufeff \r\n\t")
    if first[:1] == "<" and re.match(r"<(!doctype|html|head|\?xml|body|table)", first, re.IGNORECASE):
        title = re.search(r"<title>(.*?)</title>", first, re.IGNORECASE | re.DOTALL)
        what = "a web page or XML" + (f" ('{title[1].strip()[:MOST_LETTERS_SHOWN]}')" if title else "")
        raise refuse(
            origin,
            what,
            "Download the file itself, not the page (an expired link or a login often gives one)",
        )
    # OptionsDX writes its header as [QUOTE_DATE], [C_BID], ...
    if first[:1] in ("{", "[") and re.match(r"\[[^\]\n\"]+\]\s*[,;\t]", first) is None:
        return _read_json(path, origin, packed, encoding)
    layout = TextLayout.of(text, given, origin)
    try:
        return read_csv(path, origin, layout, packed, encoding, notes)
    except UnicodeDecodeError:
        # The first cell that is no UTF-8 may lie behind what was looked at.
        return read_csv(path, origin, layout, packed, "cp1252", notes)


# Parquet, Excel, JSON


def _read_parquet(path: Path) -> RawTable:
    """Read every column; an index that pandas stored is a column like any other."""
    # The metadata would make an index of the dates, and typed columns of what other programs wrote.
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
        name: max(map(count_known, text.head(40).to_numpy().tolist()), default=0)
        for name, text in texts.items()
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
        raise refuse(origin, f"an empty sheet '{sheet}'", "Name another with data.format.sheet")
    rows = [[str(cell) for cell in row] for row in text.head(40).to_numpy().tolist()]
    place = given.header - 1 if given.header else (find_header(rows) or 0)
    place, count = (place, 1) if given.header else stacked_header(rows, place)
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
    # As objects and without NaN: whether a cell is empty, text or a number is asked later, of all formats
    # alike.
    cells = pd.read_excel(
        book, sheet_name=name, header=None, dtype=object, keep_default_na=False, na_values=[]
    )
    return cells.map(_plain_cell)


def _plain_cell(cell: object) -> object:
    """A number or a date as it is, which no marks of ``data.format`` can misread; all else as text."""
    if cell is None or cell is pd.NaT or (isinstance(cell, float) and np.isnan(cell)):
        return ""
    # Excel has floats alone; 20240131.0 would be read as no date. Beyond 1e15 a float has no exact integers.
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return int(cell)
    # A truth value is an int in Python, and would be read as a price of 1.
    typed = isinstance(cell, int | float | datetime) and not isinstance(cell, bool)
    return cell if typed else str(cell)


def _read_json(path: Path, origin: str, packed: str, encoding: str) -> RawTable:
    """Read a list of rows, by itself or under one key, Alpha Vantage's rows by date, or a row a line."""
    try:
        content = json.loads("".join(read_lines(path, packed, encoding)))
    # One object a line, as JSON Lines has it, is no JSON as a whole.
    except json.JSONDecodeError:
        content = [json.loads(line) for line in read_lines(path, packed, encoding) if line.strip()]
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
        raise refuse(
            origin,
            f"an answer of a service without rows: '{said[0][:MOST_LETTERS_SHOWN]}'",
            "Ask it again, and save that",
        )
    raise refuse(origin, "JSON without rows", "Save the table as CSV: one row for each symbol and session")


def _json_columns(content: Json) -> list[Json]:
    """Rows of a table that was written column by column: pandas' ``to_json``, Finnhub, Yahoo's chart."""
    chart = content.get("chart")
    if isinstance(chart, dict) and isinstance(chart.get("result"), list) and chart["result"]:
        result = chart["result"][0]
        adjusted = (result["indicators"].get("adjclose") or [{}])[0]
        content = {"timestamp": result["timestamp"], **result["indicators"]["quote"][0], **adjusted}
    if isinstance(content.get("columns"), list) and isinstance(content.get("data"), list):  # orient="split"
        names, index = content["columns"], content.get("index", [])
        dated = not count_known(list(map(str, names))) or not {"date", "datetime", "time"} & set(
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
    if count_known(list(columns)) < 2 or len(by_row) < len(columns):
        return []
    index = list(next(iter(by_row.values())))  # the rows' own names: dates, or nothing but numbers
    dated = not {"date", "datetime", "timestamp"} & set(map(plain_name, columns))
    return [
        ({"date": key} if dated else {}) | {name: cells.get(key) for name, cells in by_row.items()}
        for key in index
    ]


def _json_symbol(content: Json) -> str | None:
    """Symbol of an answer of a service, where it names one beside its rows."""
    about = content.get("Meta Data", content.get("meta", content))
    chart = content.get("chart")
    if isinstance(chart, dict) and chart.get("result"):
        about = chart["result"][0].get("meta", {})
    if not isinstance(about, dict):
        return None
    keys = [key for key in about if key.split(". ")[-1].lower() in ("symbol", "ticker")]
    return str(about[keys[0]]) if keys else None


def _json_rows(content: object) -> list[Json]:
    if isinstance(content, list) and content:
        if all(isinstance(row, dict) for row in content):
            return content
        if all(isinstance(row, list) and len(row) in (11, 12) for row in content):
            # The twelfth column is there to be ignored, as Binance calls it, and some exports leave it out.
            return [dict(zip(BINANCE_HEADER, row, strict=False)) for row in content]
    if isinstance(content, dict) and content and all(isinstance(row, dict) for row in content.values()):
        return [{"timestamp": day, **row} for day, row in content.items()]
    return []


def _json_table(records: Sequence[Json], symbol: str | None) -> RawTable:
    frame = pd.DataFrame(list(records), dtype=object).map(_plain_cell)
    frame.index = pd.RangeIndex(1, 1 + len(frame), name="line")
    return RawTable(frame, "JSON", header_line=0, symbol=symbol)
