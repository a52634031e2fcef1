"""Files of rows: the bundled prices, CSV and Parquet, each read with nothing guessed."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from qhq.data.checks.headers import match_columns
from qhq.data.schema import canonical_name
from qhq.errors import DataError

Columns = tuple[str, ...] | None

BUNDLED = Path(__file__).parents[1] / "bundled" / "stocks_daily_2000_2013.csv.gz"
"""Real daily prices in the public domain; see the NOTICE beside it."""


def read_file(
    path: Path,
    origin: str,
    columns: Columns = None,
    optional: tuple[str, ...] = (),
    *,
    parquet: bool | None = None,
) -> pd.DataFrame:
    """Read a CSV or Parquet file; which of the two, its ending says unless the caller does.

    Raises:
        DataError: If it is not there, or cannot be read as what it should be.
    """
    if not path.is_file():
        raise DataError(
            "data.path must be a file",
            got=f"{origin}, which is {'a folder' if path.is_dir() else 'not there'}",
            fix=f"Check the path; it is looked up in {Path.cwd()}",
        )
    packed = path.suffix == ".parquet" if parquet is None else parquet
    reader = read_parquet if packed else read_csv
    try:
        return reader(path, origin, columns, optional)
    except (OSError, EOFError, zlib.error, ValueError, pa.ArrowException) as error:
        kind = "Parquet" if reader is read_parquet else "CSV"
        raise DataError(
            f"{origin} must be a readable {kind} file",
            got=f"{type(error).__name__}: {str(error).partition(chr(10))[0].rstrip('.')}",
            fix="Check data.source and the file",
        ) from error


def read_csv(path: Path, origin: str, columns: Columns, optional: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read every cell as text, so that a ticker 'NA' stays one and a bad number can be named.

    Args:
        path: The file, as .gz too.
        origin: Its name in errors.
        columns: Columns to read, by the names of the schema; None is all.
        optional: Columns to read where they are there.
    """
    packed: Literal["gzip"] | None = "gzip" if path.suffix == ".gz" else None
    # Only a read of all columns notices a row with a comma too many, such as an unquoted 1,234.50.
    table = pd.read_csv(path, dtype=str, keep_default_na=False, compression=packed, encoding="utf-8-sig")
    if not isinstance(table.index, pd.RangeIndex):
        raise ValueError("the rows have more fields than the header")
    return table[_chosen(table.columns, origin, columns, optional)]


def read_parquet(path: Path, origin: str, columns: Columns, optional: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read the needed columns; an index that pandas stored is a column like any other."""
    chosen = _chosen(pq.read_schema(path).names, origin, columns, optional)
    table: pd.DataFrame = pq.read_table(path, columns=chosen).to_pandas(ignore_metadata=True)
    return table


def _chosen(present: Iterable[str], origin: str, columns: Columns, optional: tuple[str, ...]) -> list[str]:
    """Names in the file of the columns to read."""
    header = list(present)
    if columns is None:
        return header
    there = {canonical_name(name) for name in header}
    return list(match_columns(header, origin, (*columns, *(each for each in optional if each in there))))
