"""The option panel on disk: one Parquet file for each underlying and session.

::

    chains/AAPL/2026-11-20.parquet              every quote recorded of that session
    chains/AAPL/2026-11-20.parquet.damaged-1    a file that could not be read, kept aside
    chains/AAPL/.lock                           held while a file is rewritten

A row is a quote of one contract at one ``quote_time``. Appending only ever adds rows: rows that are the same
in every column are one, rows that differ anywhere are all kept, the one that came last below the others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from qhq.data.recording.session_file import (
    join,
    join_whole,
    read_or_set_aside,
    typed,
    write_whole,
    writing,
)
from qhq.errors import ConfigError, DataError
from qhq.files import own_file

_TICKER = re.compile(r"[A-Za-z0-9^=_-][A-Za-z0-9^=._-]{0,39}")


@dataclass(frozen=True)
class Appended:
    """What one append did to one file.

    Attributes:
        path: The file.
        session: Its session.
        added: Rows that were new.
        rows: Rows that it holds now.
        aside: Where a damaged file went that stood in its place; None where there was none.
    """

    path: Path
    session: date
    added: int
    rows: int
    aside: Path | None = None


@dataclass(frozen=True)
class ChainStore:
    """Recorded chains below one folder."""

    root: Path

    def underlyings(self) -> list[str]:
        """Underlyings with at least one recorded session, sorted."""
        return sorted({path.parent.name for path in self.root.glob("[!.]*/[!.]*.parquet")})

    def sessions(self, underlying: str) -> list[Path]:
        """Files of one underlying, oldest first."""
        return sorted(self._folder(underlying).glob("[!.]*.parquet"))

    def read(self, underlyings: Sequence[str]) -> pd.DataFrame:
        """Read every quote of some underlyings, by session, within one in the order of recording.

        A file that is damaged, or that another program wrote in another form, costs its own session alone.

        Returns:
            ``quote_time`` in UTC, ``date`` and ``expiry`` as datetime64; ``attrs`` hold ``notes``, which name
            each file that was left out, and why.

        Raises:
            DataError: If no file of an underlying can be read, with the name of the first one.
        """
        tables, notes = list[pa.Table](), list[str]()
        for name in underlyings:
            table, left_out = join_whole(self.sessions(name))
            tables.append(table)
            notes += [
                f"{error.got} (left out: {error.must[0].lower()}{error.must[1:]})" for error in left_out
            ]
        whole = join(tables, [self.root / name for name in underlyings])
        frame: pd.DataFrame = whole.to_pandas(date_as_object=False, ignore_metadata=True)
        frame.attrs["notes"] = notes
        return frame

    def append(self, chains: Sequence[pd.DataFrame]) -> list[Appended]:
        """Add the rows of some chains to the files of their underlyings and sessions.

        Args:
            chains: Rows with at least ``contract_id``, ``underlying``, ``date`` and ``quote_time``.

        Raises:
            DataError: If a column is missing or empty, or a file cannot be written. What was there stays.
        """
        tables = [typed(chain) for chain in chains]
        table = join(tables, [self.root] * len(tables))
        keys = table.group_by(["underlying", "date"]).aggregate([]).to_pylist()
        files = sorted((key["underlying"], key["date"]) for key in keys)
        return [self._append(_rows_of(table, *file), *file) for file in files]

    def _append(self, table: pa.Table, underlying: str, session: date) -> Appended:
        self._folder(underlying)
        path = self._own(f"{underlying}/{session}.parquet")
        with writing(path):
            before, aside = read_or_set_aside(path)
            rows = _distinct(table if before is None else join([before, table], [path, path]))
            known = 0 if before is None else before.num_rows
            if rows.num_rows > known:
                write_whole(rows, path)
        return Appended(path, session, rows.num_rows - known, rows.num_rows, aside)

    def _folder(self, underlying: str) -> Path:
        if not _TICKER.fullmatch(underlying):
            raise DataError(
                "An underlying must be a ticker of letters, digits and ^ = . _ -",
                got=f"'{underlying}'",
                fix="Write it as Yahoo does, such as BRK-B",
            )
        return self._own(underlying)

    def _own(self, name: str) -> Path:
        """A file or folder of the recording, unless a link leads out of it: it may be written."""
        try:
            return own_file(self.root, name)
        except ConfigError as error:
            raise DataError(error.must, got=error.got, fix=error.fix) from error


def _rows_of(table: pa.Table, underlying: str, session: date) -> pa.Table:
    return table.filter((pc.field("underlying") == underlying) & (pc.field("date") == session))


def _distinct(table: pa.Table) -> pa.Table:
    """Drop rows that repeat an earlier one in every column; NaN equals NaN."""
    again = table.to_pandas().duplicated(keep="first").to_numpy()
    return table.filter(pa.array(~again)) if again.any() else table
