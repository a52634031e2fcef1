"""Files of rows: the bundled prices, CSV and Parquet, each read with nothing guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow.parquet as pq

from qhq.data.panel import match_columns

BUNDLED = Path(__file__).parents[1] / "bundled" / "stocks_daily_2000_2013.csv.gz"
"""Real daily prices in the public domain; see the NOTICE beside it."""


def read_csv(path: Path, origin: str, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read every cell as text, so that a ticker 'NA' stays one and a bad number can be named."""
    packed: Literal["gzip"] | None = "gzip" if path.suffix == ".gz" else None
    # Only a read of all columns notices a row with a comma too many, such as an unquoted 1,234.50.
    table = pd.read_csv(path, dtype=str, keep_default_na=False, compression=packed, encoding="utf-8-sig")
    if not isinstance(table.index, pd.RangeIndex):
        raise ValueError("the rows have more fields than the header")
    return table[list(match_columns(table.columns, origin, columns))]


def read_parquet(path: Path, origin: str, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read the needed columns; an index that pandas stored is a column like any other."""
    names = match_columns(pq.read_schema(path).names, origin, columns)
    table: pd.DataFrame = pq.read_table(path, columns=list(names)).to_pandas(ignore_metadata=True)
    return table
