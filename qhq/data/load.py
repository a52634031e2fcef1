"""From a config to a checked panel: read the rows, check them, cut the span, compute the other columns."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from qhq.data.checks.draft import close_stands_in
from qhq.data.checks.options import check_options
from qhq.data.checks.stocks import check_panel
from qhq.data.columns import REALISED, UNADJUSTED, canonical_name, columns_to_read
from qhq.data.file_format import FileFormat
from qhq.data.formulas import complete_market, compute_columns, infer_splits
from qhq.data.panel import Panel
from qhq.data.periods import by_period
from qhq.data.recording import read_recorded
from qhq.data.sessions import find_calendar
from qhq.data.sources.files import BUNDLED, Asked, read_file
from qhq.data.sources.meaning import WIDE
from qhq.data.sources.surface import read_surface
from qhq.data.sources.synthetic import make_control, synthesise
from qhq.data.spec import DataSpec, Source
from qhq.data.yahoo.load import load_history
from qhq.errors import DataError, visible

# Columns of Yahoo's that say why there is no adjusted close.
_EXPLAINING = ("close", "dividend")


def load_panel(spec: DataSpec) -> Panel:
    """Read, check and compute the rows and columns that a config asks for.

    Raises:
        DataError: If the file cannot be read, breaks a rule of the panel, or lacks a symbol, a column or
            the span between ``start`` and ``end``, or its rows do not fit ``calendar``.
        ConfigError: If there is no such calendar.
    """
    origin = _origin(spec)
    panel = _load_options(spec, origin) if spec.kind == "options" else _load_stocks(spec, origin)
    # Cut after the checks: rows outside the span are the file's as well, and say how it was written.
    panel = _cut_span(_before_today(panel, origin), spec)
    if spec.calendar is not None:
        find_calendar(panel.dates, spec.calendar)  # refuses rows of another exchange
    if spec.kind == "options":
        panel = complete_market(panel, spec.rate)
    if spec.every is None:
        return compute_columns(panel, spec.kind, spec.columns)
    # First, so that each other column is computed from the periods' own open, high, low and close.
    panel = by_period(panel, spec.every, spec.columns, spec.calendar)
    return compute_columns(panel, spec.kind, [name for name in spec.columns if name not in REALISED])


def read_table(spec: DataSpec) -> tuple[pd.DataFrame, str]:
    """Read the rows of a config's source as they stand there, unchecked, with the name of the source.

    Raises:
        DataError: If they cannot be read.
    """
    return _SOURCES[spec.source].read(spec, None, ()), _origin(spec)


def _origin(spec: DataSpec) -> str:
    return spec.path or _SOURCES[spec.source].title


def _load_stocks(spec: DataSpec, origin: str) -> Panel:
    columns, optional = columns_to_read(spec.columns), _split_columns(spec)
    frame = _SOURCES[spec.source].read(spec, columns, optional)
    there = {canonical_name(str(name)) for name in frame.columns}
    # A column that nobody asked for is not checked as one that is: its gaps refuse no row.
    helpers = [name for name in optional if name in there and name not in columns]
    explained = spec.source == "yahoo" and "adj_close" in columns
    explaining = [name for name in _EXPLAINING if explained and name not in (*columns, *helpers)]
    panel = check_panel(
        frame,
        origin,
        symbols=spec.symbols,
        columns=(*columns, *explaining),
        policy=spec.row_policy,
        helpers=helpers,
    )
    # What only explains an adjusted close that is missing.
    panel = panel.without_columns(explaining)
    called = _called(frame)
    panel = replace(panel, notes=tuple(frame.attrs.get("notes", ())), called=called)
    return infer_splits(panel) if optional else panel


def _called(frame: pd.DataFrame) -> dict[str, str]:
    """What people call the prices: by their file, where its column has another name than the schema's."""
    headers: Mapping[str, object] = frame.attrs.get("headers", {})
    standing = "close" if close_stands_in(frame) else "adj_close"
    found = {"adj_close": "close"} if standing == "close" else {}
    for name in ("adj_close", "close", "open", "high", "low"):
        header = str(headers.get(standing if name == "adj_close" else name, name))
        plain = re.sub(r"[^a-z0-9]+", "_", header.lower()).strip("_")
        # A vendor's form may take a column for what its name does not say; 'Adj Close' says it.
        if plain not in (name, found.get(name)) and header != WIDE:
            found[name] = visible(header, cell=True)
    return found


def _split_columns(spec: DataSpec) -> tuple[str, ...]:
    """What tells of splits, where a column in use is not adjusted for them."""
    # A split within a week would widen its range, so there whatever is computed of prices counts, too.
    used = columns_to_read(spec.columns) if spec.every else (*spec.features, *spec.targets)
    if UNADJUSTED.isdisjoint(used):
        return ()
    return ("split", "close", "adj_close")


def _load_options(spec: DataSpec, origin: str) -> Panel:
    frame = _SOURCES[spec.source].read(spec, None, ())
    panel = check_options(
        frame,
        origin,
        underlyings=spec.symbols,
        columns=spec.columns,
        policy=spec.row_policy,
        units=spec.format,
    )
    return replace(panel, notes=tuple(frame.attrs.get("notes", ())))


def _before_today(panel: Panel, origin: str) -> Panel:
    """Leave out the rows of today, whose session may not be over."""
    # Whole days: while a session lasts its newest price would be taken for a close that never was.
    yesterday = np.datetime64("today", "D") - np.timedelta64(1, "D")
    if not (panel.dates <= yesterday).any():
        raise DataError(
            f"{origin} must have rows of sessions that are over",
            got="rows of today only",
            fix="Come back tomorrow, or add older rows",
        )
    return panel.between(panel.dates.min(), yesterday)


_Columns = tuple[str, ...] | None
_Reader = Callable[[DataSpec, _Columns, tuple[str, ...]], pd.DataFrame]


def _read_file(spec: DataSpec, columns: _Columns, optional: tuple[str, ...]) -> pd.DataFrame:
    if spec.path is None and spec.kind == "stocks" and spec.format == FileFormat():
        # Read once a process and kept: whoever changes the table must not change it for the next.
        return _read_bundled(columns, optional).copy()
    path = BUNDLED if spec.path is None else Path(spec.path)
    return read_file(path, _origin(spec), columns, optional, Asked(spec.format, spec.kind, spec.symbols))


# The one file that does not change meanwhile: whoever studies it opens it for each cell.
@functools.lru_cache(maxsize=4)
def _read_bundled(columns: _Columns, optional: tuple[str, ...]) -> pd.DataFrame:
    return read_file(BUNDLED, _SOURCES["bundled"].title, columns, optional, Asked(kind="stocks"))


@dataclass(frozen=True)
class _Source:
    """Where rows come from: how they are read, and what they are.

    Attributes:
        read: Reads them.
        what: What they are, for people: a result on model prices says nothing of traded ones.
        title: What the source is called where it has no path.
        made_up: Whether a formula makes them, so that nothing known of markets holds of them.
    """

    read: _Reader
    what: str
    title: str = ""
    made_up: bool = False


# To add a source, add a line, and its name to ``qhq.data.spec.Source``.
_SOURCES: dict[Source, _Source] = {
    "bundled": _Source(_read_file, "real prices (bundled)", "the bundled prices"),
    "csv": _Source(_read_file, "the user's file"),
    "parquet": _Source(_read_file, "the user's file"),
    "yahoo": _Source(
        lambda spec, *_: load_history(spec.symbols or (), spec.start, spec.end, offline=spec.offline),
        "real prices (Yahoo)",
        "Yahoo",
    ),
    "recorded": _Source(
        lambda spec, *_: read_recorded(Path(spec.path or ""), spec.symbols), "real option chains (recorded)"
    ),
    "surface": _Source(
        lambda *_: read_surface(),
        "real volatility surfaces, interpolated at standard points: no traded contracts",
        "the surface data",
    ),
    "synthetic": _Source(
        lambda spec, *_: synthesise(spec.symbols, spec.start, spec.end, seed=spec.panel_seed),
        "synthetic option prices on real underlyings",
        "the synthetic panel",
        made_up=True,
    ),
    "random_walk": _Source(
        lambda spec, *_: make_control("random_walk", spec.symbols, seed=spec.panel_seed),
        "synthetic (random walk)",
        "the random walk",
        made_up=True,
    ),
    "planted": _Source(
        lambda spec, *_: make_control("planted", spec.symbols, seed=spec.panel_seed),
        "synthetic (planted signal)",
        "the planted signal",
        made_up=True,
    ),
}


def describe_source(source: Source) -> str:
    """What the rows of a source are, for people."""
    return _SOURCES[source].what


def is_made_up(source: Source) -> bool:
    """Whether a formula makes the rows of a source."""
    return _SOURCES[source].made_up


def _cut_span(panel: Panel, spec: DataSpec) -> Panel:
    first, last = panel.dates.min(), panel.dates.max()
    cut = panel.between(np.datetime64(spec.start or first, "D"), np.datetime64(spec.end or last, "D"))
    # By group: of the contracts of an underlying hardly any has rows over the whole span.
    left = set(np.asarray(cut.group_names)[np.unique(cut.code)])
    for symbol in dict.fromkeys(cut.group_names):
        if symbol not in left:
            raise DataError(
                "Every symbol must have rows between data.start and data.end",
                got=f"none of {symbol} from {spec.start or first} to {spec.end or last}",
                fix=f"Widen the span or drop {symbol}",
            )
    return cut.without_empty_series()
