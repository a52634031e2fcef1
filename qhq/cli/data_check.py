"""What ``qhq data check`` says of a file: its form, its columns, and the config that reads it."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from qhq.cli.command import plain_table
from qhq.data.columns import ACTIONS, TABLES, canonical_name

if TYPE_CHECKING:
    from rich.table import Table

    from qhq.data.checks import Breach
    from qhq.data.plausibility import LeakDoubt
    from qhq.data.sources.files import FileReading
    from qhq.data.spec import DataSpec
    from qhq.experiment.config import NamedData
    from qhq.runs.record import Plausibility

_WIDTH = 80
_SHOWN_SYMBOLS = 8
_SHOWN_ROWS = 3
# Share of cells that are numbers in a column of numbers.
_MOSTLY = 0.9


class SymbolSpan(TypedDict):
    """First and last session and rows of a symbol, or an underlying."""

    symbol: str
    first: str | None
    last: str | None
    rows: int


# A row of the user's file as it is understood, by the schema's columns.
_Row = dict[str, float | str | None]


class FileFacts(TypedDict):
    """What a file is and how it is read, as ``qhq data check --json`` prints it."""

    container: str
    delimiter: str | None
    encoding: str | None
    header_line: int
    form: str | None
    vendor: str
    columns: dict[str, str]
    unread: list[str]
    dates: str
    decimal: str
    thousands: str
    symbol_from: str
    symbols: list[SymbolSpan]
    sample: list[_Row]
    notes: list[str]
    config: str
    command: str


def file_facts(named: NamedData, overrides: Sequence[str] = ()) -> FileFacts | None:
    """What a file is and how it is read, with these overrides; None for a config or a recording."""
    reading = named.reading
    if reading is None:
        return None
    numerals, raw = reading.numerals, reading.raw
    return {
        "container": raw.container,
        "delimiter": raw.delimiter,
        "encoding": raw.encoding,
        "header_line": raw.header_line,
        "form": reading.form,
        "vendor": reading.title,
        "columns": {name: str(reading.columns[name]) for name in _in_order(reading)},
        "unread": [str(name) for name in raw.frame.columns if name not in set(reading.columns.values())],
        "dates": reading.dates,
        "decimal": numerals.decimal if numerals else ".",
        "thousands": numerals.thousands if numerals else "",
        "symbol_from": reading.symbol or "a column",
        "symbols": _spans(reading),
        "sample": _sample(reading),
        "notes": list(reading.notes),
        "config": _config(named, reading),
        "command": _command(named, overrides),
    }


def _spans(reading: FileReading) -> list[SymbolSpan]:
    """First and last session and rows of each symbol, or underlying."""
    from qhq.data.tables import read_days

    key = "symbol" if reading.kind == "stocks" else "underlying"
    frame = reading.frame
    if not {key, "date"} <= set(frame.columns):
        return []
    # Of the cells as they stand, and not of a panel: a file that training would refuse is shown as well.
    days = frame[[key]].assign(date=read_days(frame["date"])).groupby(key, sort=False)["date"]
    spans = days.agg(["min", "max", "size"])
    return [
        {"symbol": str(name), "first": _day(first), "last": _day(last), "rows": int(rows)}
        for name, first, last, rows in spans.itertuples()
        if str(name)
    ]


def _day(day: Any) -> str | None:
    # Whatever the library calls a missing date, it prints as NaT.
    text = str(day)[:10]
    return None if text == "NaT" else text


def _sample(reading: FileReading) -> list[_Row]:
    """The first rows as they are understood, columns of the schema alone."""
    key = "symbol" if reading.kind == "stocks" else "underlying"
    names = [name for name in dict.fromkeys((key, *_in_order(reading))) if name in reading.frame.columns]
    first = reading.frame[list(names)].head(_SHOWN_ROWS)
    return [{name: _cell(row[name]) for name in names} for _, row in first.iterrows()]


def _in_order(reading: FileReading) -> list[str]:
    """Names of the columns that are read, in the order of the schema."""
    order = list(TABLES[reading.kind])
    return sorted(reading.columns, key=lambda name: order.index(name) if name in order else len(order))


def _cell(value: Any) -> float | str | None:
    import numpy as np
    import pandas as pd

    if pd.isna(value):
        return None
    if isinstance(value, float | int | np.number):
        return float(value)  # JSON knows no number of NumPy's
    return str(value)[:10] if isinstance(value, pd.Timestamp | np.datetime64) else str(value)


def _config(named: NamedData, reading: FileReading) -> str:
    """The section ``data`` of a config that reads the file, as YAML."""
    lines = ["data:", f"  path: {_yaml(named.spec.path or '')}"]
    if reading.kind == "options":
        lines.append("  panel: options")
    from qhq.data.sessions import suggest_calendars

    given = named.spec.format.model_dump(mode="json", exclude_defaults=True)
    if given:
        lines.append("  format:")
        lines += [f"    {key}: {_yaml(value)}" for key, value in given.items()]
    names = [span["symbol"] for span in _spans(reading)]
    # Some thousand names would bury the rest of the config.
    shown = ", ".join(map(_yaml, names)) if 0 < len(names) <= _SHOWN_SYMBOLS else ""
    lines.append(f"  symbols: [{shown}]" if shown else "  symbols: null  # all of them")
    if named.spec.calendar is not None:
        lines.append(f"  calendar: {_yaml(named.spec.calendar)}")
    elif len(fitting := suggest_calendars(names)) == 1:
        lines.append(f"  # calendar: {fitting[0]}  # whose symbols end like these")
    return "\n".join(lines)


def _command(named: NamedData, overrides: Sequence[str]) -> str:
    """The command that trains on the file."""
    import shlex

    config, sets = _training(named, overrides)
    what = "qhq train" if config is None else f"qhq train {config}"
    return " ".join([what, *(f"--set {shlex.quote(each)}" for each in sets)])


def _training(named: NamedData, overrides: Sequence[str]) -> tuple[str | None, list[str]]:
    """The config that trains on a file or a recording, None for the quickstart, and what is set of it."""
    sets = [f"data.path={named.spec.path}"]
    sets += [] if named.spec.calendar is None else [f"data.calendar={named.spec.calendar}"]
    given = named.spec.format.model_dump(mode="json", exclude_defaults=True)
    for key, value in given.items():
        # --set takes one value a key, so that a mapping is written entry by entry.
        pairs = value.items() if isinstance(value, dict) else [("", value)]
        sets += [f"data.format.{key}{'.' if name else ''}{name}={_yaml(each)}" for name, each in pairs]
    # What was set for this check, a shorter window for example, decides whether a training takes the rows.
    sets += [each for each in overrides if not re.match(r"\s*data\.(path|calendar|format)\b", each)]
    return "experiments/options" if named.spec.kind == "options" else None, sets


def find_refusal(named: NamedData, overrides: Sequence[str]) -> str | None:
    """Why a training would refuse rows that break no rule, too few for example; None if it takes them.

    Of a file or a recording the training is the one whose command is shown.
    """
    from qhq.data.prepare import prepare
    from qhq.errors import QHQError
    from qhq.experiment.config import load_config

    try:
        spec = named.spec if named.has_split else load_config(*_training(named, overrides)).data
        prepare(spec)
    except QHQError as error:
        return str(error)
    return None


def _yaml(value: Any) -> str:
    """A value as YAML, quoted where it would be read as something else than the text it is."""
    if not isinstance(value, str):
        return json.dumps(value)
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_./^-]*", value) and value.lower() not in _OTHERWISE
    return value if plain else json.dumps(value, ensure_ascii=False)


# What YAML 1.1 reads as a truth value, among them the tickers ON and TRUE.
_OTHERWISE = ("true", "false", "yes", "no", "on", "off", "null", "nan", "y", "n")


def file_parts(facts: FileFacts, *, refused: bool) -> list[str | Table]:
    """The same for a person, in 80 columns; the command only where a training would not refuse the rows."""
    where = [facts["container"]]
    if facts["container"] == "CSV":
        delimiter = {"\t": "tab", None: ""}.get(facts["delimiter"], str(facts["delimiter"]))
        where += [f"fields between '{delimiter}'", str(facts["encoding"])]
    lines = [_wrap(f"Form: {facts['vendor']} ({', '.join(where)})")]
    pairs = [f"{name} = '{column.strip()}'" for name, column in facts["columns"].items()]
    lines.append(_wrap(f"Columns: {'; '.join(pairs)}", "  "))
    if facts["unread"]:
        lines.append(
            _wrap(f"Not read: {', '.join(name.strip() or '(unnamed)' for name in facts['unread'])}", "  ")
        )
    thousands = f", thousands '{facts['thousands']}'" if facts["thousands"] else ""
    lines.append(_wrap(f"Dates: {facts['dates']}; decimal mark '{facts['decimal']}'{thousands}"))
    spans = [
        f"{each['symbol']} {each['first']} to {each['last']} ({each['rows']:,} rows)"
        for each in facts["symbols"][:_SHOWN_SYMBOLS]
    ]
    more = len(facts["symbols"]) - _SHOWN_SYMBOLS
    lines.append(_wrap(f"Symbols: {'; '.join(spans)}" + (f"; and {more} more" if more > 0 else ""), "  "))
    lines += [_wrap(f"Note: {note}.", "  ") for note in facts["notes"]]
    config = ["Config that reads it:", textwrap.indent(facts["config"], "  ")]
    config += [] if refused else ["Train on it:", f"  {facts['command']}"]
    return ["\n".join(lines), *_sample_table(facts["sample"]), "\n".join(config)]


def _sample_table(sample: list[_Row]) -> list[Table]:
    """The rows that are understood, as many columns as fit."""
    if not sample:
        return []
    cells = {name: [_number(row[name]) for row in sample] for name in sample[0]}
    shown, width = [], 1
    for name, column in cells.items():
        # Two blanks and a border beside each column.
        width += max(len(name), *map(len, column)) + 3
        if width > _WIDTH:
            break
        shown.append(name)
    rows = [[cells[name][place] for name in shown] for place in range(len(sample))]
    return [plain_table(shown, rows, title="First rows as they are understood")]


def _number(value: float | str | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.6g}" if isinstance(value, float) and abs(value) < 1e6 else (
        f"{value:,.0f}" if isinstance(value, float) else str(value)
    )  # fmt: skip


@dataclass(frozen=True)
class Look:
    """A look for leaks.

    Attributes:
        found: What was found.
        columns: Which columns were looked through.
        unseen: Why none could be; empty where they were.
    """

    found: Plausibility
    columns: tuple[str, ...] = ()
    unseen: str = ""

    def to_dict(self) -> dict[str, object]:
        """As plain JSON."""
        unseen = {"unseen": self.unseen} if self.unseen else {}
        return {**self.found.to_dict(), "columns": list(self.columns), **unseen}


def look_for_leaks(named: NamedData, names: Sequence[str], *, refused: bool) -> Look:
    """Doubts of the data, as a training would raise them; of a file alone, of all of its numeric columns.

    Args:
        named: What was pointed to.
        names: Doubts that the user accepts.
        refused: Whether a training would refuse the rows anyway.
    """
    from qhq.data.load import load_panel
    from qhq.data.plausibility import find_leaks
    from qhq.data.split import split_panel
    from qhq.data.windows import arrange_rows
    from qhq.errors import DataError
    from qhq.experiment.plausibility import plausibility_record

    reason = "training would refuse these rows"
    # First with every column of the file; where these are too short or too odd to be laid out, without them.
    for spec in () if refused else _looked_through(named):
        try:
            panel = arrange_rows(load_panel(spec), spec)
            doubts = find_leaks(panel, split_panel(panel, spec), spec)
        except DataError as error:
            reason = str(error).removesuffix(".")
            continue
        return Look(plausibility_record(doubts, names), tuple(spec.features))
    return Look(plausibility_record((), names), unseen=reason)


def _looked_through(named: NamedData) -> Iterator[DataSpec]:
    """Configs to look for leaks with: of a file, with every column that looks numeric, then without them."""
    import pandas as pd

    spec, reading = named.spec, named.reading
    if reading is not None:
        table = TABLES[reading.kind]
        skipped = {name for name, column in table.items() if column.unit in ("text", "time", "date")}
        skipped |= {*spec.features, *ACTIONS, "rate", "forward"}
        added = []
        for header in reading.frame.columns:
            name, cells = canonical_name(str(header), table), reading.frame[header]
            # A decimal comma is a number as well; which of the two it is decides the reading, not this look.
            numbers = pd.to_numeric(cells.astype(str).str.replace(",", ".", regex=False), errors="coerce")
            if name and name not in skipped and numbers.notna().mean() > _MOSTLY:
                added.append(name)
        if added:
            yield spec.model_copy(update={"features": (*spec.features, *dict.fromkeys(added))})
    yield spec


def plausible_lines(look: Look) -> list[str]:
    """The doubts for a person: what, which rows, what to do, and how to accept it."""
    from qhq.experiment.plausibility import read_doubts

    if look.unseen:
        return [_wrap(f"Leaks: not looked for; {look.unseen}.")]
    return ["\n".join(_doubt(doubt)) for doubt in read_doubts(look.found)] or [
        _wrap(f"Leaks: none found in {', '.join(look.columns)}.")
    ]


def _doubt(doubt: LeakDoubt) -> list[str]:
    if doubt.accepted is not None:
        return [_wrap(doubt.sentence())]
    rows = ", ".join(doubt.rows) + (", ..." if doubt.count > len(doubt.rows) else "")
    return [
        _wrap(f"DOUBT {doubt.code}: {doubt.must}."),
        _wrap(f"  got: {doubt.got}", "    "),
        *([_wrap(f"  {doubt.count:,} rows: {rows}", "    ")] if doubt.rows else []),
        _wrap(f"  fix: {doubt.fix}", "    "),
        _wrap(f"  looked at, and right: --accept '{doubt.code}'", "    "),
    ]


def refusal_lines(refusal: str | None) -> list[str]:
    """Why a training would refuse the rows, for a person."""
    return [] if refusal is None else [_wrap(f"Training would refuse them: {refusal}")]


def breach_lines(breaches: Iterable[Breach]) -> list[str]:
    """Each broken rule for a person: how many rows, the first of them, and what to do."""
    return ["\n".join(_breach(breach)) for breach in breaches]


def _breach(breach: Breach) -> list[str]:
    rows = ", ".join(map(str, breach.rows)) + (", ..." if breach.count > len(breach.rows) else "")
    head = f"{breach.severity.upper()} {breach.rule}: {breach.must}."
    return [
        _wrap(head),
        _wrap(f"  {breach.count:,} row{'s' if breach.count > 1 else ''}: {rows}", "    "),
        _wrap(f"  first: {breach.example}", "    "),
        _wrap(f"  fix: {breach.fix}", "    "),
    ]


def _wrap(text: str, indent: str = "  ") -> str:
    return textwrap.fill(
        text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
