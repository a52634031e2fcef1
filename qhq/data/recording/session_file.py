"""One file of recorded quotes: typed alike for good, read whole or named, written whole or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import filelock
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from qhq.data.sizes import check_parquet
from qhq.errors import ConfigError, DataError, nearest
from qhq.files import MOST_TABLE_BYTES, check_regular, own_file, replacing

LOCK_SECONDS = 60.0
"""How long a recorder waits for another one that writes the same underlying."""

NEEDED = ("contract_id", "underlying", "date", "quote_time")
_STAMP = pa.timestamp("us", tz="UTC")
_DAYS = ("date", "expiry")
_UNREADABLE = (OSError, pa.ArrowException, ValueError, ConfigError)


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
            raise _retyped(name, error) from error
    return pa.concat_tables(tables, promote_options="permissive")


def join_whole(paths: Sequence[Path]) -> tuple[pa.Table, list[DataError]]:
    """Read files and put them below each other, without those that cannot be read or do not go with the rest.

    Returns:
        The rows, and why each file that was left out was.

    Raises:
        DataError: If none can be read: the first reason.
    """
    tables, left_out = list[tuple[Path, pa.Table]](), list[DataError]()
    for path in paths:
        try:
            tables.append((path, read_or_name(path)))
        except DataError as error:
            left_out.append(error)
    usual, kept = _usual_types([table for _, table in tables]), list[tuple[Path, pa.Table]]()
    for path, table in tables:
        try:
            pa.unify_schemas([usual, table.schema], promote_options="permissive")
        except pa.ArrowException as error:
            left_out.append(_retyped(path, error))
        else:
            kept.append((path, table))
    if not kept:
        raise left_out[0]
    return join([table for _, table in kept], [path for path, _ in kept]), left_out


def _usual_types(tables: Sequence[pa.Table]) -> pa.Schema:
    """Of each column the type that most files give it, so that the odd one is left out and not all others."""
    counts: dict[str, Counter[pa.DataType]] = {}
    for table in tables:
        for column in table.schema:
            if not pa.types.is_null(column.type):
                counts.setdefault(column.name, Counter())[column.type] += 1
    return pa.schema([(name, types.most_common(1)[0][0]) for name, types in counts.items()])


def _retyped(path: Path, error: Exception) -> DataError:
    return DataError(
        "A column of recorded chains must keep its type",
        got=f"{path}: {_reason(error)}",
        fix="Keep it in another folder than the other sessions",
    )


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
            fix=f"Move it out of {path.parent}, or restore a copy; the other sessions do not need it",
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
    """Read a file that may be another's: a regular one, which fits, with the columns of a quote.

    Raises:
        DataError: If it would not fit into memory.
    """
    # Of a recording that somebody else made a link could stand for any file.
    own_file(path.parents[1], path.relative_to(path.parents[1]))
    check_regular(path, most=MOST_TABLE_BYTES, what="recorded session")
    check_parquet(path, str(path))
    # Read as one file: a folder such as 'date=2026' above it must not become a column.
    with path.open("rb") as stream:
        table = pq.ParquetFile(stream).read()
    if len(set(table.column_names)) < table.num_columns:
        raise ValueError("two columns of one name")
    for name, (is_right, wanted) in _IDENTITY.items():
        if name not in table.column_names:
            raise ValueError(f"no column '{name}'")
        column = table.column(name)
        if not is_right(column.type):
            raise ValueError(f"'{name}' as {column.type}, where it must be {wanted}")
        if column.null_count:
            raise ValueError(f"{column.null_count:,} rows without '{name}'")
    return table


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


_IDENTITY: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
    "contract_id": (_is_text, "text"),
    "underlying": (_is_text, "text"),
    "date": (lambda kind: pa.types.is_date(kind) or pa.types.is_timestamp(kind), "days"),
    "quote_time": (lambda kind: pa.types.is_timestamp(kind) and kind.tz is not None, "times with their zone"),
}
"""What identifies a quote -> the test of its type, and what to call it."""


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
