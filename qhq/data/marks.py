"""Marks that vendors put into cells: separators, currencies, percent and unit signs, and dates in any order.

A column is judged as a whole: one cell ``13/01/2024`` decides that all of it is day-first, one cell
``1.234,56`` that the whole file writes a decimal comma. Where the cells allow two readings, or contradict
each other, nothing is guessed: the caller is given both and asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd

from qhq.data.panel import DateArray, FloatArray, Mask
from qhq.data.tables import EMPTY_WORDS

CURRENCY = (
    r"(?:[$€£¥₹₩₽฿₺₪₫円元원]|(?:US|HK|C|A|S|R|NT|NZ)\$|USD|EUR|GBP|GBX|GBp|CHF|INR|JPY|CNY|HKD|CAD|AUD|NZD|SGD|KRW|SEK"
    r"|NOK|DKK|PLN|CZK|HUF|TRY|RUB|BRL|MXN|ZAR|ZAc|ILS|TWD|Rs\.?|R(?= ?\d)|kr\.?|zł|TL|руб\.?|(?<=\d)p)"
)
"""Pattern of a currency's code or sign."""

_NUMBER = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>[-+])?\s*{CURRENCY}?\s*(?P<sign2>[-+])?(?P<body>\d[\d.,' ]*|\.\d+)"
    rf"(?P<exponent>[eE][-+]?\d{{1,5}})?\s*(?P<size>[kKmMbBtT]|[mM]n|[bB]n|[lL]akh|Cr|cr)?\s*(?P<percent>%)?"
    rf"\s*{CURRENCY}?\s*(?P<close>\))?"
)
# Powers of ten.
_SIZES = {"k": 3, "m": 6, "mn": 6, "b": 9, "bn": 9, "t": 12, "lakh": 5, "cr": 7}
_BLANKS = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2212": "-", "\u2019": "'"})
# Units of which a percent sign means hundredths; in any other column it is a mistake.
_PERCENT_UNITS = frozenset({"volatility", "rate", "return", "number"})


@dataclass(frozen=True)
class Numerals:
    """How numbers are written.

    Attributes:
        decimal: Before the fraction.
        thousands: Between groups of digits; '' is none.
        ignore: Characters around a number that say nothing, such as a footnote's ``*``.
    """

    decimal: str = "."
    thousands: str = ","
    ignore: str = ""


@dataclass(frozen=True)
class Ambiguity:
    """Why a column has no single reading: two cells that contradict each other, or one with two meanings.

    Attributes:
        cells: The cells that decide, at most two.
        readings: What is possible, in words.
        settings: The values of a key of ``data.format``, one for each reading.
    """

    cells: tuple[str, ...]
    readings: tuple[str, ...]
    settings: tuple[str, ...]


def read_marked_number(text: str, numerals: Numerals, unit: str = "number") -> float:
    """Read one cell with the marks of a vendor, NaN where it is no number.

    >>> read_marked_number("$1,234.50", Numerals()), read_marked_number("1.23M", Numerals())
    (1234.5, 1230000.0)
    >>> read_marked_number("1.234,56", Numerals(",", ".")), read_marked_number("0.45%", Numerals(), "rate")
    (1234.56, 0.0045)
    """
    match = _match(text, numerals.ignore)
    if match is None or (match["percent"] and unit not in _PERCENT_UNITS):
        return np.nan
    whole, _, fraction = match["body"].strip().partition(numerals.decimal)
    groups = re.split(f"[{re.escape(numerals.thousands)}]", whole) if numerals.thousands else [whole]
    # Indian numbers are grouped 12,34,567: only the last group has three digits.
    grouped = len(groups) == 1 or (len(groups[-1]) == 3 and all(1 <= len(each) <= 3 for each in groups[:-1]))
    digits = "".join(groups)
    if not grouped or not (digits + fraction).isdigit():
        return np.nan
    # All powers of ten go into the exponent, so that the value is the nearest to what is written.
    power = int((match["exponent"] or "e0")[1:]) + _SIZES.get((match["size"] or "").lower(), 0)
    value = float(f"{digits or '0'}.{fraction or '0'}e{power - 2 if match['percent'] else power}")
    negative = "-" in (match["sign"] or "", match["sign2"] or "") or bool(match["open"] and match["close"])
    return -value if negative else value


def _match(text: str, ignore: str = "") -> re.Match[str] | None:
    return _NUMBER.fullmatch(text.translate(_BLANKS).strip().strip(ignore).strip() if ignore else
                             text.translate(_BLANKS).strip())  # fmt: skip


def choose_numerals(cells: Iterable[str], *, counts: bool = False) -> Numerals | Ambiguity | None:
    """Find how the numbers of a file are written from cells that Python cannot read as they are.

    Args:
        cells: Texts, each once, of all columns of numbers.
        counts: Whether they are counts (shares, contracts): '1,234' then has thousands and no fraction.

    Returns:
        The numerals; an ambiguity where the cells contradict each other or allow two readings; or None where
        no cell has a separator.
    """
    points, commas, either = "", "", ""
    other = ""
    for cell in cells:
        match = _match(cell, "*")
        if match is None:
            continue
        body = match["body"].strip()
        other = other or next((mark for mark in "' " if mark in body), "")
        verdict = _decimal_of(body)
        if verdict == ".":
            points = points or cell
        elif verdict == ",":
            commas = commas or cell
        elif verdict == "?":
            either = either or cell
    if points and commas:
        return Ambiguity((points, commas), ("a decimal point", "a decimal comma"), (".", ","))
    if commas:
        return Numerals(",", other or ".")
    if points or (either and counts):
        return Numerals(".", other or ",")
    if either:
        number = either.strip()
        digits, fraction = number.replace(",", ""), number.replace(",", ".")
        return Ambiguity((number,), (f"{digits} (thousands)", f"{fraction} (a decimal comma)"),
                     (".", ","))  # fmt: skip
    return Numerals(".", other) if other else None


def _decimal_of(body: str) -> str:
    """Decimal mark that a number shows: ``.``, ``,``, ``?`` for a lone comma before three digits, or ''."""
    point, comma = body.rfind("."), body.rfind(",")
    if point >= 0 and comma >= 0:
        # Of two marks the last is the decimal one, 1,234.5 and 1.234,5, unless both repeat: 1,2,3.4.5 is no
        # number.
        mark, other = (".", ",") if point > comma else (",", ".")
        return mark if body.count(mark) == 1 or body.count(other) == 1 else ""
    if point >= 0:
        if body.count(".") > 1:
            # Several points can only part thousands, and then the comma is the decimal mark.
            return "," if re.fullmatch(r"\d{1,3}(\.\d{3})+", body) else ""
        # 1.234 may be German for 1234; 0.234 is a fraction, as no thousands begin with a zero.
        return "." if len(body) - point != 4 or body.startswith("0.") else ""
    if comma >= 0:
        if body.count(",") > 1:
            # In India groups of two stand before the last one of three: 12,34,567.
            return "." if re.fullmatch(r"\d{1,3}(,\d{2,3})*,\d{3}", body) else ""
        return "," if len(body) - comma != 4 or body.startswith("0,") else "?"
    return ""


# Dates

_CLOCK = re.compile(
    r"[T ,]+\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\s*(?:[AaPp]\.?[Mm]\.?)?"
    r"\s*(?:Z|(?:UTC|GMT)?[-+]\d{2}:?\d{2}|[A-Z]{3,4})?$"
)
# A date that was written as a time: 2024-01-02 00:00:00, 20240102 000000.
_MIDNIGHT = re.compile(r"[T ,]+(?:0?0:00(?::00(?:[.,]0+)?)?(?![:\d])|0{4,6}$)")
# A clock without colons, as behind 20240102.
_COMPACT_CLOCK = re.compile(r"(?<=^\d{8})[T ]\d{4}(?:\d{2})?$")
# Wed, 2 Jan 2024.
_WEEKDAY = re.compile(r"^(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+", re.IGNORECASE)
# By the first letters, four where three are those of two months: English, German, French, Spanish, Italian,
# Portuguese, Dutch, Polish, Turkish.
_MONTHS = {
    name: number
    for number, names in enumerate(
        ("jan ene gen sty oca", "feb fev fév lut şub", "mar mrz mär mrt", "apr abr avr kwi nis",
         "may mai mag mei maj", "jun juin giu cze haz", "jul juil lug lip tem", "aug ago aoû aou sie ağu",
         "sep set wrz eyl", "oct okt ott out paź eki", "nov lis kas", "dec dez déc dic gru ara"), start=1,
    )
    for name in names.split()
}  # fmt: skip
# Unit by the digits: one fewer before September 2001.
_EPOCHS = {9: "s", 10: "s", 12: "ms", 13: "ms", 15: "us", 16: "us", 18: "ns", 19: "ns"}
_EPOCH_UNITS = {f"epoch_{unit}": unit for unit in _EPOCHS.values()}
# What stands in a date beside its numbers and its month: East Asian signs, a float's .0, a Spanish 'de'.
_SIGNS = (
    (re.compile(r"\s*[年월月년]\s*"), "-"),
    (re.compile(r"\s*[日일]$|(?<=\d)\.0+$"), ""),
    (re.compile(r" del? "), " "),
)
PART_ORDERS = {"dayfirst": (2, 1, 0), "monthfirst": (2, 0, 1), "yearfirst": (0, 1, 2)}
_Parts = tuple[int, int, int]

# Forms of a date; of ``numeric`` the parts are three numbers in an order that only the column tells.
_FORMS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("iso", re.compile(r"(?P<y>\d{4})([-/.])(?P<m>\d{1,2})\2(?P<d>\d{1,2})")),
    ("compact", re.compile(r"(?P<y>(?:18|19|20|21)\d\d)(?P<m>\d{2})(?P<d>\d{2})")),
    ("numeric", re.compile(r"(?P<y>\d{1,2})([-/.])(?P<m>\d{1,2})\2(?P<d>\d{4}|\d{2})")),
    ("named", re.compile(r"(?P<d>\d{1,2})(?:st|nd|rd|th)?[-. /]+(?P<m>[^\W\d_]{3,10})\.?[-.,"
    r" /]+(?P<y>\d{4}|\d{2})")),
    ("named", re.compile(r"(?P<m>[^\W\d_]{3,10})\.? +(?P<d>\d{1,2})(?:st|nd|rd|th)?,? +(?P<y>\d{4})")),
)  # fmt: skip
_ISO_DAY = re.compile(r"[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, eq=False)
class Days:
    """Dates of N texts.

    Attributes:
        days: datetime64[D], NaT where there is none, shape (N,).
        order: How they are written, as ``data.format.dates`` says it; ``named`` with a month in words.
        timed: Whether a time of day other than midnight stands in a cell, shape (N,).
    """

    days: DateArray
    order: str
    timed: Mask


def read_dates(
    cells: Sequence[str], *, wanted: str | None = None, usual: str | None = None
) -> Days | Ambiguity:
    """Read dates in whichever order all of them allow.

    Args:
        cells: Texts, each once.
        wanted: The order that the user names, or a pattern; nothing else is then read.
        usual: The vendor's order, taken where the cells allow several.

    Returns:
        The days, or the ambiguity where the cells contradict each other or allow two orders.
    """
    days = np.full(len(cells), np.datetime64("NaT", "D"))
    timed = np.zeros(len(cells), dtype=np.bool_)
    if wanted is not None and "%" in wanted:
        # Cells that do not fit come back empty, and are reported with their rows.
        found = pd.to_datetime(pd.Series(list(cells), dtype=object), format=wanted, errors="coerce")
        return Days(found.to_numpy().astype("datetime64[D]"), wanted, timed)
    if cells and wanted in (None, "iso", "yearfirst") and all(map(_ISO_DAY.fullmatch, cells)):
        with suppress(ValueError):  # a day that no month has, which is found below
            # Most files: forty times as fast as cell by cell.
            return Days(np.array(cells, dtype="datetime64[D]"), "iso", timed)
    numeric: dict[int, _Parts] = {}
    orders: dict[str, int] = {}
    for place, cell in enumerate(cells):
        text, timed[place] = _split_clock(cell)
        order, parts = _split_date(text)
        if order == "numeric":
            # Which of the three is the day only all cells together tell.
            numeric[place] = parts
        elif order and (
            wanted in (None, order)
            or (order == "named" and wanted in PART_ORDERS)
            or (order == "iso" and wanted == "yearfirst")
        ):
            orders[order] = orders.get(order, 0) + 1
            if order in _EPOCH_UNITS or order == "excel":
                days[place], timed[place] = _count_days(int(text), order)
            else:
                days[place] = _day(*parts)
    if numeric and wanted in (None, *PART_ORDERS):
        dotted = all("." in cells[place] for place in numeric)
        chosen = wanted or _choose_order(cells, numeric, usual or ("dayfirst" if dotted else None))
        if isinstance(chosen, Ambiguity):
            return chosen
        orders[chosen] = len(numeric)
        for place, parts in numeric.items():
            days[place] = _day(*_arrange(parts, chosen))
    return Days(days, max(orders, key=orders.__getitem__, default=wanted or "iso"), timed)


def _split_clock(cell: str) -> tuple[str, bool]:
    """A date without its time of day, its weekday and its signs; and whether that time is not midnight."""
    text = cell.strip()
    for sign, mark in _SIGNS:
        text = sign.sub(mark, text)
    clock = _CLOCK.search(text) or _COMPACT_CLOCK.search(text)
    timed = clock is not None and not _MIDNIGHT.search(clock[0])
    return _WEEKDAY.sub("", text[: clock.start()] if clock else text).strip(), timed


def _split_date(text: str) -> tuple[str, _Parts]:
    """Order and (year, month, day) of a date; of ``numeric`` the three numbers as they stand."""
    for order, pattern in _FORMS:
        if match := pattern.fullmatch(text):
            month = match["m"]
            number = (
                int(month)
                if month.isdigit()
                else _MONTHS.get(month.lower()[:4], _MONTHS.get(month.lower()[:3], 0))
            )
            year = int(match["y"]) if order == "numeric" else _year(int(match["y"]))
            return order, (year, number, int(match["d"]))
    if text.isdigit() and len(text) in _EPOCHS:
        return f"epoch_{_EPOCHS[len(text)]}", (0, 0, 0)
    # Excel's days since 1899, from 1954 to 2091.
    return ("excel", (0, 0, 0)) if re.fullmatch(r"[2-6]\d{4}", text) else ("", (0, 0, 0))


def _year(number: int) -> int:
    return number if number > 99 else number + (2000 if number < 70 else 1900)


def _day(year: int, month: int, day: int) -> np.datetime64:
    if not (1 <= month <= 12 and 1 <= day <= 31 and year >= 1000):
        return np.datetime64("NaT", "D")
    first = np.datetime64(f"{year:04d}-{month:02d}", "M")
    found = first.astype("datetime64[D]") + (day - 1)
    return found if found.astype("datetime64[M]") == first else np.datetime64("NaT", "D")


def _count_days(number: int, order: str) -> tuple[np.datetime64, bool]:
    if order == "excel":
        # Day 1 is 1900-01-01, but Excel counts a 29 February 1900 that there never was: since then it is one
        # ahead.
        return np.datetime64("1899-12-30", "D") + number, False
    moment = np.datetime64(number, _EPOCH_UNITS[order])  # type: ignore[call-overload]
    day = moment.astype("datetime64[D]")
    return day, bool(moment != day)


def _arrange(parts: _Parts, order: str) -> _Parts:
    year, month, day = (parts[place] for place in PART_ORDERS[order])
    return _year(year), month, day


def _choose_order(cells: Sequence[str], numeric: dict[int, _Parts], usual: str | None) -> str | Ambiguity:
    """Order in which every date of three numbers is a day."""
    short = any(parts[2] < 100 for parts in numeric.values())
    names = list(PART_ORDERS)[: 3 if short else 2]
    fits = {
        place: [name for name in names if not np.isnat(_day(*_arrange(parts, name)))]
        for place, parts in numeric.items()
    }
    # A day that no month has, such as 31/02, is a slip of its own and no evidence of an order.
    denied = {
        name: next((cells[place] for place, fit in fits.items() if fit and name not in fit), None)
        for name in names
    }
    fitting = [name for name in names if denied[name] is None]
    if len(fitting) > 1 and "yearfirst" in fitting:
        # The years of a file are few and its days many: 19/01/02 to 19/12/31 are no nineteenths of months.
        first, last = (len({parts[place] for parts in numeric.values()}) for place in (0, 2))
        fitting = ["yearfirst"] if first < last else [name for name in fitting if name != "yearfirst"]
    if not fitting:
        two = (str(denied["monthfirst"]), str(denied["dayfirst"]))
        return Ambiguity(two, ("a day first", "a month first"), ("dayfirst", "monthfirst"))
    clear = next((each for each in numeric.items() if each[1][0] != each[1][1]), None)
    if len(fitting) == 1 or clear is None:
        return fitting[0]
    if usual in fitting:
        return str(usual)
    place, parts = clear
    readings = tuple(f"{_day(*_arrange(parts, name))} ({name})" for name in fitting)
    return Ambiguity((cells[place],), readings, tuple(fitting))


# What a cell that cannot be read most likely is

_REMARK = r".*\b(totals?|average|mean|sources?|downloaded|note|copyright|disclaimer|as of)\b.*"
_CAUSES: tuple[tuple[str, str, str], ...] = (
    (_REMARK, "a footer or a row of totals", "Delete that line: it is no session"),
    (r"#[A-Z/0!?]+[!?A]?|#+", "an error of the spreadsheet that wrote it",
     "Mend the cell there and save the file again"),
    (r"[-+]?\d+\.\d+(\.\d+)+", "two decimal points", "Look the number up at the vendor and correct the cell"),
    (r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.*", "a date in a column of numbers",
     "See which column is read as what with 'qhq data check', and name it in data.format.columns"),
)  # fmt: skip
_NO_SESSION = (
    "qhq forecasts sessions: download daily prices, or name the column of the days in"
    " data.format.columns.date"
)
_MONTH_ALONE = (
    r"\d{4}[-/.](0?[1-9]|1[0-2])|(19|20)\d\d(0[1-9]|1[0-2])"
    r"|[a-z]{3,9}\.?[- ]+(\d{4}|\d{2})|\d{4}[- ][a-z]{3,9}"
)
_DATE_CAUSES: tuple[tuple[str, str, str], ...] = (
    (_REMARK, "a footer or a row of totals", "Delete that line: it is no session"),
    (r"\d{4}[- ]?W\d{1,2}", "a week, no day", _NO_SESSION),
    (r"(\d{4}[- ]?Q[1-4])|(Q[1-4][- ]?\d{4})", "a quarter, no day", _NO_SESSION),
    (_MONTH_ALONE, "a month, no day", _NO_SESSION),
    (r"(18|19|20)\d\d", "a year, no day", _NO_SESSION),
    (r"\d{6}", "a day in six digits, of which only you know the order",
     "Set data.format.dates='%y%m%d' or data.format.dates='%d%m%y'"),
    (r"(19|20)\d\d[0-3]\d\d", "a year and the number of a day in it", "Set data.format.dates='%Y%j'"),
    (r"\d(\.\d+)?e\+?\d+", "a date that a spreadsheet has rounded",
     "Export the column as text, or with all its digits"),
    (r"\d{1,2}:\d{2}.*", "a time without a date", "Name the column of the dates in data.format.columns.date"),
    (r"\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})(\D.*)?", "no day of the calendar, or another order than the"
    " rest",
     "Set data.format.dates=dayfirst or data.format.dates=monthfirst, or correct the cell"),
    (r"\d{4}-?\d{1,2}-?\d{1,2}(\D.*)?", "a day that no calendar has", "Correct the cell"),
    (r"[-+]?\d+([.,]\d+)?", "a number where a date should be", "Name the dates in data.format.columns.date"),
)  # fmt: skip


def explain_cell(text: str, unit: str = "number") -> tuple[str, str]:
    """Tell the likely cause of a cell that cannot be read, and what to do about it.

    >>> explain_cell("1.34.1")[0]
    'two decimal points'
    """
    cell = text.strip()
    if cell.lower() in EMPTY_WORDS:
        cause = "a sign for no value" if cell else "an empty cell"
        return cause, "Look the value up at the vendor; never fill it in from other rows"
    for pattern, cause, cure in _DATE_CAUSES if unit == "date" else _CAUSES:
        if re.fullmatch(pattern, cell, re.IGNORECASE):
            return cause, cure
    if unit == "date":
        return "no date", "Set data.format.dates to its pattern, such as '%d.%m.%y', or correct the cell"
    return _explain_number(cell, unit)


def _explain_number(cell: str, unit: str) -> tuple[str, str]:
    match = _match(cell, "*†‡^")
    if match is None:
        return "a word where a number should be", "Correct the cell at its source"
    if match["percent"] and unit not in _PERCENT_UNITS:
        return f"a percentage in a column of {unit}", "Name the right column in data.format.columns"
    if _match(cell) is None:
        return "a number with a footnote mark", "Set data.format.ignore='*' (the marks to drop) to read it"
    if "," in cell:
        return "a thousands separator or a decimal comma", (
            "Set data.format.decimal and data.format.thousands to the marks of the file"
        )
    return "a number with marks that do not fit the column", "Correct the cell at its source"


def read_marked_numbers(texts: Sequence[str], numerals: Numerals, unit: str) -> FloatArray:
    """Read texts with marks, each once; NaN where there is no number."""
    return np.array([read_marked_number(text, numerals, unit) for text in texts], dtype=np.float64)
