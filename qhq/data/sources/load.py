"""Where prices come from: each source hands a table to the panel's checks."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from qhq.data.panel import Panel, check_panel
from qhq.data.sources.files import BUNDLED, read_csv, read_parquet
from qhq.data.spec import DataSpec, Source
from qhq.errors import DataError

_EDGE = np.timedelta64(7, "D")
"""How far outside the sessions a start or end may lie: a week of weekend and holidays."""


def load_panel(spec: DataSpec) -> Panel:
    """Read and check the rows that a config asks for.

    Raises:
        DataError: If the file cannot be read, breaks a rule of the panel, or lacks a symbol, a column or
            the span between ``start`` and ``end``.
    """
    path = BUNDLED if spec.path is None else Path(spec.path)
    origin = "the bundled prices" if spec.path is None else spec.path
    frame = _read(_SOURCES[spec.source], path, origin, spec.features)
    panel = check_panel(frame, origin, symbols=spec.symbols, columns=spec.features)
    return _cut_span(panel, spec, origin)


_Reader = Callable[[Path, str, tuple[str, ...]], pd.DataFrame]
_SOURCES: dict[Source, _Reader] = {"bundled": read_csv, "csv": read_csv, "parquet": read_parquet}


def _read(reader: _Reader, path: Path, origin: str, columns: tuple[str, ...]) -> pd.DataFrame:
    if not path.is_file():
        raise DataError(
            "data.path must be a file",
            got=f"{origin}, which is {'a folder' if path.is_dir() else 'not there'}",
            fix=f"Check the path; it is looked up in {Path.cwd()}",
        )
    try:
        return reader(path, origin, columns)
    except (OSError, EOFError, zlib.error, ValueError, pa.ArrowException) as error:
        kind = "Parquet" if reader is read_parquet else "CSV"
        raise DataError(
            f"{origin} must be a readable {kind} file",
            got=f"{type(error).__name__}: {str(error).partition(chr(10))[0].rstrip('.')}",
            fix="Check data.source and the file",
        ) from error


def _cut_span(panel: Panel, spec: DataSpec, origin: str) -> Panel:
    first, last = panel.dates.min(), panel.dates.max()
    _check_inside("start", spec.start, (first, last), origin)
    _check_inside("end", spec.end, (first, last), origin)
    cut = panel.between(np.datetime64(spec.start or first, "D"), np.datetime64(spec.end or last, "D"))
    for symbol, count in zip(cut.symbols, cut.counts, strict=True):
        if count == 0:
            raise DataError(
                "Every symbol must have rows between data.start and data.end",
                got=f"none of {symbol} from {spec.start or first} to {spec.end or last}",
                fix=f"Widen the span or drop {symbol}",
            )
    return cut


def _check_inside(key: str, day: date | None, span: tuple[np.datetime64, np.datetime64], origin: str) -> None:
    """A date outside the data is refused: cutting silently would pretend to years that are not there."""
    first, last = span
    if day is not None and not first - _EDGE <= np.datetime64(day, "D") <= last + _EDGE:
        raise DataError(
            f"data.{key} must lie in the span of the data",
            got=f"{day}, where the rows of {origin} run from {first} to {last}",
            fix=f"Choose a date in that span, or leave data.{key} out",
        )
