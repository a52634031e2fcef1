"""A file's one way in: whatever a vendor wrote, as the columns of the schema, or refused with the cell.

Five steps, each of which may refuse and none of which guesses: the bytes become a table of text (``raw``),
its header tells the vendor's form and what the columns mean (``meaning``), all cells of a column together
tell how its dates and numbers are written (``marked``), an option's missing columns come from the others
(``contracts``), and the rows become one a session (here). What was understood travels with the frame, so that
``qhq data check`` can say it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from qhq.data.columns import PanelKind
from qhq.data.file_format import FileFormat
from qhq.data.marks import Numerals
from qhq.data.sources.contracts import complete_options, convert_units
from qhq.data.sources.marked import date_columns, number_columns
from qhq.data.sources.meaning import CLOCK, TableMeaning, find_meaning, is_wide, pick_columns
from qhq.data.sources.raw import read_raw
from qhq.data.sources.text import RawTable
from qhq.data.tables import match_columns
from qhq.errors import DataError

_Columns = tuple[str, ...] | None

BUNDLED = Path(__file__).parents[1] / "bundled" / "stocks_daily_2000_2013.csv.gz"
"""Real daily prices in the public domain; see the NOTICE beside it."""


@dataclass(frozen=True)
class Asked:
    """What a config says of a file.

    Attributes:
        given: How it is written.
        kind: Stocks or options; None is what its header says.
        symbols: Symbols that are asked for: a file without a column for them may hold the only one of them.
    """

    given: FileFormat = field(default_factory=FileFormat)
    kind: PanelKind | None = None
    symbols: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class FileReading:
    """A file as it was understood.

    Attributes:
        frame: The columns of the schema under its names, and the file's other columns under their own. Dates
            and numbers are such where every cell could be read; a column with a cell that could not is text,
            in which that cell stands as the file has it. The index, ``line``, is the line of the file, and
            ``attrs`` hold ``headers`` ``{name of the schema: column of the file}`` and ``notes``.
        kind: Stocks or options.
        raw: The table of text behind it.
        form: Name of the vendor's form, None where the header is nobody's.
        title: Of that form, for people.
        columns: ``{name of the schema: column of the file}``.
        dates: How dates are written, as ``data.format.dates`` says it.
        numerals: How numbers are written; None where they are as Python has them.
        symbol: Where the symbol came from, if no column has it.
        notes: What a user should know.
    """

    frame: pd.DataFrame
    kind: PanelKind
    raw: RawTable
    form: str | None
    title: str
    columns: Mapping[str, str]
    dates: str
    numerals: Numerals | None
    symbol: str | None
    notes: tuple[str, ...]


def read_file(
    path: Path,
    origin: str,
    columns: _Columns = None,
    optional: tuple[str, ...] = (),
    asked: Asked | None = None,
) -> pd.DataFrame:
    """Read a file of prices into the columns of the schema: the frame of ``understand_file``."""
    return understand_file(path, origin, columns, optional, asked).frame


def understand_file(
    path: Path,
    origin: str,
    columns: _Columns = None,
    optional: tuple[str, ...] = (),
    asked: Asked | None = None,
) -> FileReading:
    """Read a file in whichever form its vendor writes it.

    Args:
        path: CSV or other delimited text, Excel, Parquet or JSON, packed or not; its content decides.
        origin: Its name in errors.
        columns: Columns of a stock file to read, by the names of the schema; None is all.
        optional: Columns to read where they are there.
        asked: What a config says of it.

    Raises:
        DataError: If it is not there, no table, or has no single reading: with the cell, both readings and
            the key of ``data.format`` that decides.
    """
    asked = asked or Asked()
    if not path.is_file():
        raise DataError(
            "data.path must be a file",
            got=f"{origin}, which is {'a folder' if path.is_dir() else 'not there'}",
            fix=f"Check the path; it is looked up in {Path.cwd()}",
        )
    raw = read_raw(path, origin, asked.given)
    meaning = find_meaning(raw, origin, asked.given, asked.kind)
    # After the meaning was found, so that a file of another kind is called that, and not empty.
    if not len(raw.frame):
        names = ", ".join(str(name) for name in raw.frame.columns[:6])
        raise DataError(
            f"{origin} must have rows",
            got=f"a header alone ({names})",
            fix="Check that it is the right file; a failed download often looks so",
        )
    frame = _keep_rows(pick_columns(meaning, asked.given, columns, optional), meaning)
    frame, symbol = _name_series(frame, meaning, asked, path)
    frame, dates, times = date_columns(frame, meaning, asked.given)
    if not len(frame):
        raise DataError(
            f"{origin} must have rows with a date that can be read",
            got=f"none of {len(raw.frame):,}, such as '{' '.join(map(str, raw.frame.iloc[0]))[:60]}'",
            fix="See which column is taken for the date with 'qhq data check', and name it in"
            " data.format.columns.date",
        )
    frame, numerals = number_columns(frame, meaning, asked.given, {*(columns or ()), *optional})
    # After all cells are numbers, and before anything is computed from them.
    frame = convert_units(frame, meaning)
    if meaning.kind == "options":
        frame = complete_options(frame, meaning, _spot_prices(frame, asked.given))
    if times is not None:
        frame = _one_a_session(frame, times, meaning, asked.given)
    if meaning.kind == "stocks" and columns is not None:
        frame = _chosen(frame, meaning, columns, optional)
    form = meaning.form
    notes = [*meaning.notes, *([f"{form.title}: {note}" for note in form.notes] if form else [])]
    frame.attrs = {
        "headers": dict(meaning.columns),
        "notes": notes,
        "origin": origin,
        "words": meaning.words,
        "dates": asked.given.dates,
    }
    return FileReading(
        frame, meaning.kind, raw, meaning.form_name, form.title if form else _title(meaning),
        meaning.columns, dates, numerals, symbol, tuple(notes),
    )  # fmt: skip


def _title(meaning: TableMeaning) -> str:
    """What to call a form that is nobody's own."""
    # Volume is optional: files of indices and currencies have none.
    usual = {"date", "open", "high", "low", "close"}
    if meaning.kind == "stocks" and usual <= set(meaning.header) <= {*usual, "volume"}:
        return "the usual columns, as stooq's CSV and others have them"
    return "no vendor's in particular"


def _keep_rows(frame: pd.DataFrame, meaning: TableMeaning) -> pd.DataFrame:
    """Leave out the rows of other things that a vendor puts into the same file."""
    for name, values in (meaning.form.keep if meaning.form else {}).items():
        key = f"keep:{name}"
        if key not in frame.columns:
            continue
        # Stripped: some vendors pad their texts to columns of equal width.
        cells = frame[key].astype("str").str.strip()
        kept, wanted = cells.isin(values).to_numpy(), "/".join(filter(None, values))
        if not kept.any():
            raise DataError(
                f"{meaning.origin} must have rows with {meaning.header[name]} {wanted}",
                got=f"only {', '.join(sorted(set(cells))[:6])}",
                fix="These rows are bars within the day, or neither stocks nor options: download the"
                " others, or"
                " set data.format.form=plain to read all rows by the names of their columns",
            )
        if not kept.all():
            count = int(np.count_nonzero(~kept))
            meaning.notes.append(f"{count:,} rows left out: {meaning.header[name]} other than {wanted}")
        frame = frame[kept]
    return frame.drop(
        columns=[name for name in frame.columns if str(name).startswith("keep:") and name != CLOCK]
    )


def _name_series(
    frame: pd.DataFrame, meaning: TableMeaning, asked: Asked, path: Path
) -> tuple[pd.DataFrame, str | None]:
    """Strip the symbols, or find the one of a file without; where it came from in the second case."""
    key = "symbol" if meaning.kind == "stocks" else "underlying"
    names = {key, "contract_id"}.intersection(map(str, frame.columns))
    frame = frame.assign(**{name: frame[name].astype("str").str.strip() for name in names})
    # First of all: what the user wrote down wins over every guess below.
    if asked.given.symbol is not None:
        return frame.assign(**{key: asked.given.symbol}), "data.format.symbol"
    if key in frame.columns or "contract_id" in frame.columns:
        return frame, None
    if meaning.raw.symbol is not None:
        return frame.assign(**{key: meaning.raw.symbol}), "the file itself"
    # Before the file's name: a download called "data (3).csv" says nothing of its symbol.
    if asked.symbols is not None and len(asked.symbols) == 1:
        meaning.notes.append(
            f"symbol {asked.symbols[0]}, the one that is asked for, as no column names it;"
            " data.format.symbol names another"
        )
        return frame.assign(**{key: asked.symbols[0]}), "data.symbols"
    symbol = symbol_of(path)
    meaning.notes.append(f"symbol {symbol} from the file's name; data.format.symbol names another")
    return frame.assign(**{key: symbol}), "the file's name"


def names_symbols(
    path: Path, origin: str, given: FileFormat, kind: PanelKind, columns: Collection[str]
) -> bool:
    """Whether a file, or what a config says of it, tells which symbol its rows are of.

    Raises:
        DataError: If it cannot be read.
    """
    raw = read_raw(path, origin, given)
    meaning = find_meaning(raw, origin, given, kind)
    keys = {"symbol" if kind == "stocks" else "underlying", "contract_id"}
    wide = kind == "stocks" and is_wide(meaning, given, columns)
    return bool(given.symbol or raw.symbol or keys & set(meaning.columns) or wide)


def symbol_of(path: Path) -> str:
    """Take the symbol from a file's name, without what vendors write around it.

    >>> [symbol_of(Path(name)) for name in ("aapl.us.txt", "daily_IBM.csv", "AAPL Historical Data.csv")]
    ['AAPL.US', 'IBM', 'AAPL']
    """
    stem = re.sub(
        r"(\.(csv|txt|tsv|xlsx|parquet|jsonl?|ndjson|gz|zip|bz2|xz|zst))+$",
        "",
        path.name,
        flags=re.IGNORECASE,
    )
    plain = stem
    for pattern in _AROUND:
        plain = re.sub(pattern, "", plain, flags=re.IGNORECASE).strip(" _-")
    # Where nothing is left but what vendors write around it, the whole name is still better than none.
    name = re.sub(r"\s+", "_", plain or stem)
    # A name in both cases was written so by somebody, and may be the symbol's own.
    return name.upper() if name == name.lower() else name


# What vendors write around a symbol in a file's name.
_AROUND = (
    r"[\s_-]*\(\d+\)$",  # a second download
    r"\s*-\s*sheet ?\d+$|,\s*1D(ay)?$|_candlestick_1_d_(bid|ask).*$",  # Google Sheets, TradingView, Dukascopy
    r"[\s_-]*(stock price history|historical[ _]?(data|prices|quotes)|price history|max|historische["
    " _]daten|données[ _]historiques"
    r"|geçmiş[ _]verileri|過去データ|datos[ _]históricos|dati[ _]storici|dados[ _]históricos)[\s_-]*\d*$",
    r"^(daily|weekly|download data - \w+_[a-z]+_\w{4}|quote-equity|quote|stock)[\s_-]+",
    r"_(eod|eoddata)?_?\d{4,8}$",
    r"[_-](1?d|d1|daily|1day|historic)$",
)


def _spot_prices(frame: pd.DataFrame, given: FileFormat) -> pd.DataFrame | None:
    """Daily prices of the underlyings, from the file that ``data.format.spot`` names."""
    if given.spot is None:
        return None
    names = tuple(dict.fromkeys(frame["underlying"].astype("str"))) if "underlying" in frame.columns else ()
    return read_file(Path(given.spot), given.spot, ("close",), (), Asked(kind="stocks", symbols=names))


# One row a session


def _one_a_session(
    frame: pd.DataFrame, times: pd.Series, meaning: TableMeaning, given: FileFormat
) -> pd.DataFrame:
    """Refuse bars within the day, or make one row of each session where the config says so."""
    key = "symbol" if meaning.kind == "stocks" else "contract_id"
    if key not in frame.columns:
        return frame
    rows = pd.DataFrame({"key": frame[key].array, "day": frame["date"].array, "time": times.array})
    # Lines of one moment that come twice are no bars within the day; the rules of the panel take care of
    # them.
    several = rows.drop_duplicates().duplicated(["key", "day"], keep=False)
    if not several.any():
        return frame
    if given.intraday == "last":
        return _aggregate(frame, rows, key, meaning)
    first = int(several[several].index[0])
    symbol, day = rows["key"].iloc[first], str(rows["day"].iloc[first])[:10]
    count = int(((rows["key"] == symbol) & (rows["day"] == rows["day"].iloc[first])).sum())
    raise DataError(
        f"{meaning.origin} must have one row for each {'symbol' if key == 'symbol' else 'contract'} and"
        " session",
        got=f"{count} times on {day} for {symbol}, the first '{rows['time'].iloc[first]}' (line"
        f" {frame.index[first]}):"
        " bars or quotes within the day",
        fix="Download daily prices, as qhq forecasts sessions; or set data.format.intraday=last, which"
        " makes one row"
        " of each day (of bars the first open, highest high, lowest low, last close and whole volume)",
    )


def _aggregate(frame: pd.DataFrame, rows: pd.DataFrame, key: str, meaning: TableMeaning) -> pd.DataFrame:
    # In UTC only to be sorted; the day is the one that the file writes.
    moments = pd.to_datetime(rows["time"], utc=True, errors="coerce", format="mixed").to_numpy()
    # By time, not by line: some vendors write the newest bar first.
    ordered = frame.iloc[np.argsort(moments, kind="stable")]
    last = ordered[~ordered.duplicated([key, "date"], keep="last")]
    if key == "symbol":
        how = {"open": "first", "high": "max", "low": "min", "volume": "sum", "dividend": "sum"}
        there = {name: rule for name, rule in how.items() if name in frame.columns}
        made = (
            ordered.groupby([key, "date"], sort=False)
            .agg(there)
            .reindex(pd.MultiIndex.from_frame(last[[key, "date"]]))
        )
        last = last.assign(**{name: made[name].to_numpy() for name in there})
    meaning.notes.append(
        f"{len(frame):,} rows within the day made {len(last):,} sessions (data.format.intraday)"
    )
    return last


def _chosen(
    frame: pd.DataFrame, meaning: TableMeaning, columns: Sequence[str], optional: Sequence[str]
) -> pd.DataFrame:
    """Take the columns asked for; the close stands for an adjusted close that is not there."""
    if "adj_close" in columns and "adj_close" not in frame.columns and "close" in frame.columns:
        meaning.notes.append(
            f"no adjusted close: '{meaning.column('close')}' stands for it, with prices as the file has them"
        )
        frame = frame.assign(adj_close=frame["close"])
        meaning.columns["adj_close"] = meaning.column("close")  # what an error shows is in the file
    needed = (*columns, *(name for name in optional if name in frame.columns))
    return frame[list(match_columns(frame.columns, meaning.origin, needed, meaning.raw.frame.columns))]
