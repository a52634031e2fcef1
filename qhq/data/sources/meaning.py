"""What the columns of a file mean: its vendor's form, stocks or options, and which column is which.

A form is asked first, then the names of the schema, then names that only hint (``WEAK``). Two columns for
one meaning are refused with their first cells and the key that decides; nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from qhq.data.checks.option_rules import read_symbols
from qhq.data.columns import (
    DAY_FIRST,
    KEYS,
    MAY_HOLD_CONTRACTS,
    OF_OPTIONS,
    PRICES,
    TABLES,
    WEAK,
    WORDS,
    PanelKind,
    alias_names,
    canonical_name,
    plain_name,
)
from qhq.data.file_format import FileFormat
from qhq.data.marks import CURRENCY, Numerals, read_marked_numbers
from qhq.data.sources.forms import VENDOR_FORMS, Form, recognise
from qhq.data.sources.text import RawTable
from qhq.data.tables import is_empty, read_numbers
from qhq.errors import DataError, nearest

WIDE = "one for each symbol"
"""What stands for the name of a column where a file has one for each symbol."""

CLOCK = "keep:clock"
"""Where the time of day stands while rows are read, if it has a column of its own."""


@dataclass(frozen=True, eq=False)
class TableMeaning:
    """How a table is to be read.

    Attributes:
        raw: The table.
        origin: Its name in errors.
        form: Its vendor's form; None is nobody's.
        form_name: Name of that form.
        kind: Stocks or options.
        header: ``{plain name: column of the file}``.
        columns: ``{name of the schema: column of the file}``.
        notes: What to tell of it; filled while it is read.
        words: ``{name of the schema: {line: text}}`` of cells that say in words that they hold nothing, such
            as N/A: the first of each column; filled while it is read.
    """

    raw: RawTable
    origin: str
    form: Form | None
    form_name: str | None
    kind: PanelKind
    header: Mapping[str, str]
    columns: dict[str, str]
    notes: list[str] = field(default_factory=list)
    words: dict[str, dict[int, str]] = field(default_factory=dict)

    def column(self, name: str) -> str:
        """Name in the file of a column of the schema."""
        return str(self.columns.get(name, name)).strip()

    @property
    def usual_dates(self) -> str | None:
        """Order of the dates where cells allow several: the vendor's, or that of the header's language."""
        foreign = plain_name(self.columns.get("date", "")) in DAY_FIRST
        return (self.form.dates if self.form else None) or ("dayfirst" if foreign else None)

    def unit(self, name: str) -> str:
        """Unit of a column."""
        column = TABLES[self.kind].get(name)
        return column.unit if column else "price" if name in ("spot_bid", "spot_ask") else "number"


def find_meaning(raw: RawTable, origin: str, given: FileFormat, kind: PanelKind | None) -> TableMeaning:
    """Find out what the columns of a table mean.

    Raises:
        DataError: If two columns have one meaning, a column that the config names is not there, or the file
            holds options where stocks are asked for.
    """
    header: dict[str, str] = {}
    for name in raw.frame.columns:
        header.setdefault(plain_name(name), name)
    _name_without_currencies(header)
    symbols = _column_of_contracts(raw, header)
    options = next((header[name] for name in OF_OPTIONS if name in header), symbols)
    if kind == "stocks" and options is not None:
        raise DataError(
            f"{origin} must hold stocks, as data.panel says or leaves out",
            got=f"a file of options: it has a column '{options}'",
            fix="Train on it with 'qhq train experiments/options --set data.path=FILE', or set"
            " data.panel=options",
        )
    form_name = _find_form(raw, header, given, kind or ("options" if options else None))
    form = VENDOR_FORMS.get(form_name or "")
    found: PanelKind = kind or (form.kind if form else "options" if options else "stocks")
    meaning = TableMeaning(raw, origin, form, form_name, found, header, {}, list(raw.notes))
    # The order is one of authority: the config, the vendor's form, the schema's names, at last words that
    # only may mean a column. What is decided is not asked again.
    meaning.columns.update(_given_columns(meaning, given))
    for name, plain in (meaning.form.columns if meaning.form else {}).items():
        if plain in meaning.header:
            meaning.columns.setdefault(name, meaning.header[plain])
    if found == "options" and symbols and symbols not in meaning.columns.values():
        meaning.columns.setdefault("contract_id", symbols)
    _match_schema(meaning)
    _match_weak(meaning)
    _refuse_doubles(meaning, given)
    return meaning


# 'Close (USD)', 'Settlement Price [EUR/MWh]'. Not 'Close USD', where USD may be the fund of that name.
_IN_CURRENCY = re.compile(rf"(\w.*?)\s*[(\[]\s*(?:in\s+)?{CURRENCY}(?:\s*/\s*\w+)?\s*[)\]]\s*", re.IGNORECASE)


def _name_without_currencies(header: dict[str, str]) -> None:
    """Let a price go by its name without the currency in brackets, which would be taken for its ticker.

    Unless two would have one name then, as prices of one thing in two currencies.
    """
    found: dict[str, list[str]] = {}
    for column in header.values():
        if match := _IN_CURRENCY.fullmatch(str(column)):
            found.setdefault(plain_name(match[1]), []).append(column)
    for plain, columns in found.items():
        if len(columns) == 1:
            header.setdefault(plain, columns[0])


def _column_of_contracts(raw: RawTable, header: Mapping[str, str]) -> str | None:
    """A column of symbols that say what contract each is, as ``O:SPY251219C00650000`` does."""
    for name in MAY_HOLD_CONTRACTS:
        if name in header:
            cells = [str(cell) for cell in raw.frame[header[name]].head(20)]
            if cells and bool(read_symbols(cells).known.all()):
                return header[name]
    return None


def _find_form(
    raw: RawTable, header: Mapping[str, str], given: FileFormat, kind: PanelKind | None
) -> str | None:
    if given.form is None:
        return raw.form or recognise(header, kind)
    if given.form not in ("plain", *VENDOR_FORMS):
        raise DataError(
            "data.format.form must be a form that qhq knows",
            got=f"'{given.form}'",
            fix=nearest(given.form, ("plain", *VENDOR_FORMS)),
        )
    # "plain" is how a user says that a file only looks like a vendor's.
    return None if given.form == "plain" else given.form


def _given_columns(meaning: TableMeaning, given: FileFormat) -> dict[str, str]:
    found = {}
    for name, column in given.columns.items():
        if plain_name(column) not in meaning.header:
            raise DataError(
                f"data.format.columns.{name} must be a column of {meaning.origin}",
                got=f"'{column}'",
                fix=nearest(column, map(str, meaning.raw.frame.columns)),
            )
        # 'Close' and 'close' are one plain name, and both may be columns of the file.
        exact = next((each for each in meaning.raw.frame.columns if str(each) == column), None)
        found[canonical_name(name, TABLES[meaning.kind])] = exact or meaning.header[plain_name(column)]
    return found


def _match_schema(meaning: TableMeaning) -> None:
    """Take what is left by the names of the schema; the form's word and the config's stand above them."""
    table, decided = TABLES[meaning.kind], set(meaning.columns)
    aliases, spoken = (
        alias_names(table),
        {*meaning.columns.values(), *_spoken_for(meaning.form, meaning.header)},
    )
    for plain, column in meaning.header.items():
        name = aliases.get(plain, plain)
        if name not in table or column in spoken or name in decided:
            continue
        if name in meaning.columns:
            raise _two_columns(meaning, name, [meaning.columns[name], column])
        meaning.columns[name] = column


def _spoken_for(form: Form | None, header: Mapping[str, str]) -> set[str]:
    """Columns that a form takes or ignores."""
    if form is None:
        return set()
    plain = {*form.ignore, *form.calls.values(), *form.puts.values()}
    return {header[name] for name in plain if name in header}


def _match_weak(meaning: TableMeaning) -> None:
    known = WEAK[meaning.kind]
    words = WORDS if meaning.kind == "stocks" else {}
    for name in dict.fromkeys((*known, *words)):
        if name in (*PRICES, "volume") and name != "close" and "close" not in meaning.columns:
            continue  # of a table with a column for each ticker: BAS and MAX are such
        weak = (*known.get(name, ()), *sorted(words.get(name, ())))
        spoken = {*meaning.columns.values(), *_spoken_for(meaning.form, meaning.header)}
        there = [meaning.header[each] for each in weak if each in meaning.header]
        there = [column for column in there if column not in spoken]
        if name in meaning.columns or not there:
            continue
        if len(there) > 1 and name == "close":
            raise _two_columns(meaning, name, there)
        meaning.columns[name] = there[0]


def _refuse_doubles(meaning: TableMeaning, given: FileFormat) -> None:
    """Refuse two columns of one name that say different things: which of them is meant nobody can tell."""
    frame, said = meaning.raw.frame, {canonical_name(name, TABLES[meaning.kind]) for name in given.columns}
    for name, column in meaning.columns.items():
        for other in frame.columns:
            # pandas reads a second column "close" as "close.1".
            base = re.sub(r"\.\d+$", "", str(other))
            if other == column or not base or plain_name(base) != plain_name(column) or name in said:
                continue
            if not (frame[other].astype("str") == frame[column].astype("str")).all():
                raise _two_columns(meaning, name, [column, other])


def _two_columns(meaning: TableMeaning, name: str, columns: Sequence[str]) -> DataError:
    frame = meaning.raw.frame
    cells = [f" ({frame[each].iloc[0]})" if len(frame) else "" for each in columns]
    shown = " and ".join(f"'{column}'{cell}" for column, cell in zip(columns, cells, strict=True))
    return DataError(
        f"{meaning.origin} must have one column for '{name}'",
        got=f"both {shown}",
        fix=f"Set data.format.columns.{name}='{columns[0]}' or '{columns[1]}', whichever it is",
    )


def pick_columns(
    meaning: TableMeaning, given: FileFormat, columns: Sequence[str] | None, optional: Sequence[str]
) -> pd.DataFrame:
    """Take the columns out of a table, under the names of the schema; calls and puts below each other.

    Args:
        meaning: The table.
        given: What the config says of it.
        columns: Columns of stocks to take; None is all.
        optional: Columns to take where they are there.
    """
    raw = meaning.raw.frame
    if meaning.kind == "stocks" and is_wide(meaning, given, columns or ()):
        return _melt(meaning)
    if meaning.kind == "stocks" and columns is not None:
        wanted = {*KEYS, *columns, *optional, *(("close",) if "adj_close" in columns else ())}
        own = {canonical_name(str(name)): str(name) for name in raw.columns}
        chosen = {name: column for name, column in meaning.columns.items() if name in wanted}
        chosen |= {name: own[name] for name in wanted if name not in chosen and name in own}
    else:
        chosen = meaning.columns | _others(meaning)
    frame = raw[list(chosen.values())].set_axis(list(chosen), axis=1)
    hidden = {f"keep:{name}": name for name in (meaning.form.keep if meaning.form else {})}
    if "time" in meaning.header and meaning.header["time"] not in meaning.columns.values():
        hidden[CLOCK] = "time"
    there = {key: raw[meaning.header[name]] for key, name in hidden.items() if name in meaning.header}
    frame = frame.assign(**there) if there else frame
    return _stack_sides(meaning, frame, meaning.form) if meaning.form and meaning.form.calls else frame


def _others(meaning: TableMeaning) -> dict[str, str]:
    """What is left keeps its own name, but no name that the schema would read again."""
    table, taken = TABLES[meaning.kind], set(meaning.columns.values())
    aliases = alias_names(table)
    spoken = _spoken_for(meaning.form, meaning.header) if meaning.form and meaning.form.calls else set()
    return {
        str(column): column
        for plain, column in meaning.header.items()
        if column not in taken and column not in spoken and aliases.get(plain, plain) not in table
    }


def _stack_sides(meaning: TableMeaning, frame: pd.DataFrame, form: Form) -> pd.DataFrame:
    sides = []
    for right, columns in (("call", form.calls), ("put", form.puts)):
        there = {name: plain for name, plain in columns.items() if plain in meaning.header}
        values = {name: meaning.raw.frame[meaning.header[plain]] for name, plain in there.items()}
        sides.append(frame.assign(right=right, **values))
    return pd.concat(sides)


def is_wide(meaning: TableMeaning, given: FileFormat, columns: Collection[str]) -> bool:
    """Whether a table has a column of prices for each ticker: a date, and no name that says price.

    Args:
        meaning: The table.
        given: What the config says of it.
        columns: Columns that are asked for, by the names of the schema or the file's own.
    """
    # What a config trains on is a quantity, such as a measured volatility: its name is no ticker's.
    if set(columns) & {canonical_name(str(name)) for name in meaning.raw.frame.columns}:
        return False
    named = set(meaning.columns)
    alone = named <= set(KEYS) and "date" in named and "symbol" not in named
    free = given.symbol is None and set(given.columns) <= {"date"}
    return alone and free and len(meaning.raw.frame.columns) > 1


def _melt(meaning: TableMeaning) -> pd.DataFrame:
    """Bring a column for each ticker into rows, or for each price of each ticker (``AAPL.Open``)."""
    table, dates = meaning.raw.frame, meaning.columns["date"]
    names = [name for name in table.columns if name != dates and str(name).strip()]
    names = [name for name in names if _has_numbers(table[name])]
    priced = {name: pair for name in names if (pair := _ticker_and_price(name))}
    if 2 * len(priced) > len(names):
        return _melt_priced(meaning, names, priced)
    parts, others = [], [name for name, (_, price) in priced.items() if price != "close"]
    if others:
        meaning.notes.append(f"no ticker's prices, left out: {', '.join(map(str, others))}")
    for name in names:
        if name in others:
            continue
        part = pd.DataFrame({"symbol": str(name).strip(), "date": table[dates], "close": table[name]})
        # A ticker that was listed later has no row before, rather than a row without a price.
        parts.append(part[~is_empty(table[name])])
    if not parts:
        raise DataError(
            f"{meaning.origin} must have a column of prices beside its dates",
            got=f"the columns {', '.join(map(str, table.columns[:8]))}",
            fix="Name the price in data.format.columns.close",
        )
    frame = pd.concat(parts)
    empty = len(table) * len(parts) - len(frame)
    meaning.columns.update(close=WIDE, symbol="the header")
    meaning.notes.append(
        f"one column for each symbol ({len(parts)}), each read as its close"
        + (f"; {empty:,} empty cells have no row" if empty else "")
    )
    return frame


_PRICE = r"(?P<price>adj(?:usted)?[ _.]?close|adjusted|open|high|low|close|volume)"
_BETWEEN = r"[\s._|/:-]+"
# Words beside a price that say which price it is: 'Close/Last' of Nasdaq.com, 'Close price'.
_NO_TICKERS = frozenset({"last", "price"})


def _ticker_and_price(name: object) -> tuple[str, str] | None:
    """Take apart a name such as ``AAPL.Open``, ``Close_AAPL`` or ``('Close', 'AAPL')``.

    >>> _ticker_and_price("BRK.B.Adjusted"), _ticker_and_price("('Close', 'AAPL')"), _ticker_and_price("MSFT")
    (('BRK.B', 'adj_close'), ('AAPL', 'close'), None)
    """
    text = re.sub(r"[()'\"]", "", str(name)).replace(", ", " ").strip()
    for pattern in (rf"(?P<ticker>.+?){_BETWEEN}{_PRICE}", rf"{_PRICE}{_BETWEEN}(?P<ticker>.+)"):
        match = re.fullmatch(pattern, text, re.IGNORECASE)
        if match and match["ticker"].lower() not in _NO_TICKERS:
            price = match["price"].lower()
            return match["ticker"], "adj_close" if price.startswith("adj") else price
    return None


def _melt_priced(
    meaning: TableMeaning, names: Sequence[str], priced: Mapping[str, tuple[str, str]]
) -> pd.DataFrame:
    """Bring a column for each price of each ticker into rows of one ticker and session."""
    table, dates = meaning.raw.frame, meaning.columns["date"]
    parts = []
    for ticker in dict.fromkeys(ticker for ticker, _ in priced.values()):
        own = {price: name for name, (each, price) in priced.items() if each == ticker}
        part = pd.DataFrame({"symbol": ticker, "date": table[dates]} | {key: table[own[key]] for key in own})
        parts.append(part[~np.all([is_empty(table[name]) for name in own.values()], axis=0)])
    prices = dict.fromkeys(price for _, price in priced.values())
    meaning.columns.update(dict.fromkeys(prices, WIDE), symbol="the header")
    meaning.notes.append(f"one column for each price of each symbol ({len(parts)}): {', '.join(prices)}")
    if others := [str(name) for name in names if name not in priced]:
        meaning.notes.append(f"no ticker's prices, left out: {', '.join(others)}")
    frame: pd.DataFrame = pd.concat(parts)
    return frame


def _has_numbers(column: pd.Series) -> bool:
    """Whether the first cell that is not empty may be a number, with marks or without."""
    values, unreadable = read_numbers(column)
    if np.isfinite(values).any() or not unreadable.any():
        return bool(np.isfinite(values).any())
    cell = str(column[unreadable].iloc[0])
    return any(
        bool(np.isfinite(read_marked_numbers([cell], numerals, "price")).any())
        # A comma may be the decimal point; which it is the whole column decides later.
        for numerals in (Numerals(), Numerals(",", "."))
    )
