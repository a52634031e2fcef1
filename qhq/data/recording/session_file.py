"""One file of recorded quotes: typed alike for good, read whole or named, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import filelock
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from qhq.errors import DataError, nearest
from qhq.files import replacing

LOCK_SECONDS = 60.0
"""How long a recorder waits for another one that writes the same underlying."""

NEEDED = ("contract_id", "underlying", "date", "quote_time")
_STAMP = pa.timestamp("us", tz="UTC")
_DAYS = ("date", "expiry")
_UNREADABLE = (OSError, pa.ArrowException, ValueError)


def typed(chain: pd.DataFrame) -> pa.Table:
    """Give every column the type that it has in every file: times, days, float64, or text.

    Raises:
        DataError: If a row lacks what identifies a quote.
    """
    for name in NEEDED:
        if name not in chain.columns or chain[name].isna().any():
            raise DataError(
                f"Every row of a chain must have {', '.join(NEEDED)}",
                got=f"none or an empty '{name}'",
                fix=nearest(name, map(str, chain.columns)),
            )
    return pa.table({str(name): _array(str(name), chain[name]) for name in chain.columns})


def _array(name: str, column: pd.Series) -> pa.Array:
    if name in _DAYS:
        days = pd.to_datetime(column).dt.tz_localize(None)
        return pa.array(days.to_numpy().astype("datetime64[D]"), type=pa.date32())
    if name == "quote_time" or pd.api.types.is_datetime64_any_dtype(column):
        return pa.array(pd.to_datetime(column, utc=True).dt.as_unit("us"), type=_STAMP)
    if pd.api.types.is_numeric_dtype(column):
        return pa.array(column.to_numpy(dtype="float64", na_value=float("nan")))
    if column.isna().all():
        return pa.nulls(len(column))
    return pa.array(column, type=pa.string(), from_pandas=True)


def join(tables: Sequence[pa.Table], names: Sequence[Path]) -> pa.Table:
    """Put tables below each other; a column that one of them lacks is empty there.

    Raises:
        DataError: If a column is text in one and numbers in another, with the name of the first such table.
    """
    schema = tables[0].schema
    for table, name in zip(tables, names, strict=True):
        try:
            schema = pa.unify_schemas([schema, table.schema], promote_options="permissive")
        except pa.ArrowException as error:
            raise DataError(
                "A column of recorded chains must keep its type",
                got=f"{name}: {_reason(error)}",
                fix="Keep it in another folder than the other sessions",
            ) from error
    return pa.concat_tables(tables, promote_options="permissive")


def read_or_name(path: Path) -> pa.Table:
    """Read one file.

    Raises:
        DataError: If it is damaged or cannot be read, with its name.
    """
    try:
        return _read(path)
    except _UNREADABLE as error:
        raise DataError(
            "A recorded session must be a readable Parquet file",
            got=f"{path}: {_reason(error)}",
            fix=f"Move it out of {path.parent} (the other sessions are whole), or restore a copy",
        ) from error


def read_or_set_aside(path: Path) -> tuple[pa.Table | None, Path | None]:
    """Read what is there, if anything; a damaged file is moved aside, never written over."""
    if not path.exists():
        return None, None
    try:
        return _read(path), None
    except _UNREADABLE as error:
        # With an errno the disk or the rights are at fault, not what stands in the file.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        aside = _free_name(path)
        path.rename(aside)
        return None, aside


def _read(path: Path) -> pa.Table:
    # Read as one file: a folder such as 'date=2026' above it must not become a column.
    with path.open("rb") as stream:
        table = pq.ParquetFile(stream).read()
    missing = [name for name in NEEDED if name not in table.column_names]
    if missing:
        raise ValueError(f"no column '{missing[0]}'")
    return table


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return aside


def write_whole(table: pa.Table, path: Path) -> None:
    """Write beside, then move into place, so that a kill at any moment leaves a whole file."""
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Hold the file's folder alone; a failing write becomes an error in three parts.

    Raises:
        DataError: If another process holds it for long, or the disk refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.parent / ".lock", timeout=LOCK_SECONDS):
            yield
    except filelock.Timeout as error:
        raise DataError(
            "An underlying must be recorded by one process at a time",
            got=f"{path.parent}, which another process has held for {LOCK_SECONDS:g} s",
            fix="End that process, or wait and record again",
        ) from error
    except OSError as error:
        raise DataError(
            "The recording must be writable",
            got=f"{path}: {error.strerror or error}",
            fix="Free some space, or choose another folder with --path",
        ) from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0].rstrip('.')}"
