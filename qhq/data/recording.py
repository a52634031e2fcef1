"""The option panel on disk: one Parquet file for each underlying and session, and its way back to a table.

::

    chains/AAPL/2026-11-20.parquet              every quote recorded of that session
    chains/AAPL/2026-11-20.parquet.damaged-1    a file that could not be read, kept aside
    chains/AAPL/.lock                           held while a file is rewritten

A row is a quote of one contract at one ``quote_time``. Appending only ever adds rows: rows that are the same
in every column are one, rows that differ anywhere are all kept, the one that came last below the others. A
file has the same types of columns for good, is read whole or named, and is written whole or not at all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import filelock
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from qhq.data.sessions import session_close
from qhq.data.sizes import check_parquet
from qhq.errors import ConfigError, DataError, nearest
from qhq.files import MOST_TABLE_BYTES, check_regular, own_file, replacing

# How long a recorder waits for another one that writes the same underlying.
_LOCK_SECONDS = 60.0

_NEEDED = ("contract_id", "underlying", "date", "quote_time")
_STAMP = pa.timestamp("us", tz="UTC")
_DAYS = ("date", "expiry")
_UNREADABLE = (OSError, pa.ArrowException, ValueError, ConfigError)


def _typed(chain: pd.DataFrame) -> pa.Table:
    """Give every column the type that it has in every file: times, days, float64, or text.

    Raises:
        DataError: If a row lacks what identifies a quote.
    """
    for name in _NEEDED:
        if name not in chain.columns or chain[name].isna().any():
            raise DataError(
                f"Every row of a chain must have {', '.join(_NEEDED)}",
                got=f"none or an empty '{name}'",
                fix=nearest(name, map(str, chain.columns)),
            )
    return pa.table({str(name): _array(str(name), chain[name]) for name in chain.columns})


def _array(name: str, column: pd.Series) -> pa.Array:
    if name in _DAYS:
        # Drops the zone and keeps the exchange's day; as UTC, midnight in Tokyo is the day before.
        days = pd.to_datetime(column).dt.tz_localize(None)
        return pa.array(days.to_numpy().astype("datetime64[D]"), type=pa.date32())
    if name == "quote_time" or pd.api.types.is_datetime64_any_dtype(column):
        return pa.array(pd.to_datetime(column, utc=True).dt.as_unit("us"), type=_STAMP)
    if pd.api.types.is_numeric_dtype(column):
        # Whole numbers too: a column of strikes is int64 on a day without a half one.
        return pa.array(column.to_numpy(dtype="float64", na_value=float("nan")))
    if column.isna().all():
        # Without a type a column joins numbers and texts alike; as strings it would clash with another day's
        # numbers.
        return pa.nulls(len(column))
    return pa.array(column, type=pa.string(), from_pandas=True)


def _join(tables: Sequence[pa.Table], names: Sequence[Path]) -> pa.Table:
    """Put tables below each other; a column that one of them lacks is empty there.

    Raises:
        DataError: If a column is text in one and numbers in another, with the name of the first such table.
    """
    schema = tables[0].schema
    for table, name in zip(tables, names, strict=True):
        try:
            # Permissive: a column that was empty that day comes back from Parquet without a type.
            schema = pa.unify_schemas([schema, table.schema], promote_options="permissive")
        except pa.ArrowException as error:
            raise _retyped(name, error) from error
    return pa.concat_tables(tables, promote_options="permissive")


def _join_whole(paths: Sequence[Path]) -> tuple[pa.Table, list[DataError]]:
    """Read files and put them below each other, without those that cannot be read or do not go with the rest.

    Returns:
        The rows, and why each file that was left out was.

    Raises:
        DataError: If none can be read: the first reason.
    """
    tables, left_out = list[tuple[Path, pa.Table]](), list[DataError]()
    for path in paths:
        try:
            tables.append((path, _read_or_name(path)))
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
    return _join([table for _, table in kept], [path for path, _ in kept]), left_out


def _usual_types(tables: Sequence[pa.Table]) -> pa.Schema:
    """Of each column the type that most files give it, so that the odd one is left out and not all others."""
    counts: dict[str, Counter[pa.DataType]] = {}
    for table in tables:
        for column in table.schema:
            # An empty column has no type, and must not vote.
            if not pa.types.is_null(column.type):
                counts.setdefault(column.name, Counter())[column.type] += 1
    return pa.schema([(name, types.most_common(1)[0][0]) for name, types in counts.items()])


def _retyped(path: Path, error: Exception) -> DataError:
    return DataError(
        "A column of recorded chains must keep its type",
        got=f"{path}: {_reason(error)}",
        fix="Keep it in another folder than the other sessions",
    )


def _read_or_name(path: Path) -> pa.Table:
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


def _read_or_set_aside(path: Path) -> tuple[pa.Table | None, Path | None]:
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
    # Of two columns of one name nobody could say which is meant.
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


# What identifies a quote -> the test of its type, and what to call it.
_IDENTITY: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
    "contract_id": (_is_text, "text"),
    "underlying": (_is_text, "text"),
    "date": (lambda kind: pa.types.is_date(kind) or pa.types.is_timestamp(kind), "days"),
    "quote_time": (lambda kind: pa.types.is_timestamp(kind) and kind.tz is not None, "times with their zone"),
}


def _free_name(path: Path) -> Path:
    number = 1
    # Numbered, never over an earlier one: what was set aside may be all that is left of a session.
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return aside


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Hold the file's folder alone; a failing write becomes an error in three parts.

    Raises:
        DataError: If another process holds it for long, or the disk refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.parent / ".lock", timeout=_LOCK_SECONDS):
            yield
    except filelock.Timeout as error:
        raise DataError(
            "An underlying must be recorded by one process at a time",
            got=f"{path.parent}, which another process has held for {_LOCK_SECONDS:g} s",
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


# It becomes the name of a folder: no slash, and no leading dot.
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
            table, left_out = _join_whole(self.sessions(name))
            tables.append(table)
            notes += [
                f"{error.got} (left out: {error.must[0].lower()}{error.must[1:]})" for error in left_out
            ]
        whole = _join(tables, [self.root / name for name in underlyings])
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
        tables = [_typed(chain) for chain in chains]
        table = _join(tables, [self.root] * len(tables))
        # Chains of several underlyings and sessions may come in one call.
        keys = table.group_by(["underlying", "date"]).aggregate([]).to_pylist()
        files = sorted((key["underlying"], key["date"]) for key in keys)
        done = []
        for underlying, session in files:
            own = (pc.field("underlying") == underlying) & (pc.field("date") == session)
            done.append(self._append(table.filter(own), underlying, session))
        return done

    def _append(self, table: pa.Table, underlying: str, session: date) -> Appended:
        self._folder(underlying)
        path = self._own(f"{underlying}/{session}.parquet")
        with writing(path):
            before, aside = _read_or_set_aside(path)
            rows = table if before is None else _join([before, table], [path, path])
            # By pandas, to whom NaN equals NaN in the rows that repeat an earlier one; Arrow has no such
            # function.
            again = rows.to_pandas().duplicated(keep="first").to_numpy()
            rows = rows.filter(pa.array(~again)) if again.any() else rows
            known = 0 if before is None else before.num_rows
            # A file that gains nothing is not written: recording every few minutes would otherwise rewrite
            # it all day.
            if rows.num_rows > known:
                # Beside it first, then moved into place: a kill at any moment leaves a whole file.
                with replacing(path) as temporary:
                    pq.write_table(rows, temporary, compression="zstd")
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


def read_recorded(path: Path, underlyings: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a recording: of each contract and session the latest row that has a quote.

    Args:
        path: Folder that ``qhq data record`` wrote to.
        underlyings: Underlyings to read, in this order; None is all, by name.

    Returns:
        One row for each (contract_id, date), by underlying, then by session. ``quote_time`` is empty where
        the quotes were asked for more than a day later, over a weekend. ``attrs`` hold ``notes``, which name
        the files that cannot be read.

    Raises:
        DataError: If nothing is recorded there, an underlying is not, or none of its files can be read.
    """
    store = ChainStore(path)
    known = store.underlyings()
    if not known:
        raise DataError(
            "data.path must be a folder of recorded chains",
            got=f"{path}, which {'holds none' if path.is_dir() else 'is no folder'}",
            fix="Record some with 'qhq data record AAPL', or correct the path",
        )
    # In the order asked for, which is that of all tables that follow.
    chosen = known if underlyings is None else list(underlyings)
    for name in chosen:
        if name not in known:
            raise DataError(
                f"Every underlying must be recorded in {path}", got=f"'{name}'", fix=nearest(name, known)
            )
    rows = store.read(chosen)
    frame = _latest(_finished(rows, path))
    frame.attrs["notes"] = rows.attrs["notes"]
    return frame


def _finished(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Leave out quotes taken while the session was open: they are not those of its end.

    US options trade until 16:00 in New York, on half days until 13:00.
    """
    # 16:00 in New York, for a day that Yahoo calls a session and the calendar does not know.
    ends = {
        day: session_close(day.date()) or (day + pd.Timedelta(hours=16)).tz_localize("America/New_York")
        for day in rows["date"].unique()
    }
    # Each session by its own close: half days, and summer time, lie elsewhere in UTC.
    over: pd.DataFrame = rows[rows["quote_time"] >= rows["date"].map(ends)]
    if over.empty and len(rows):
        raise DataError(
            f"Chains in {path} must be recorded after the close",
            got="quotes of open sessions only",
            fix="Record after 16:00 in New York; '--every day' does",
        )
    return over


def _latest(rows: pd.DataFrame) -> pd.DataFrame:
    """Newest row of each contract and session, those with a quote that is not crossed before the others."""
    quotes = [name for name in ("bid", "ask", "mid") if name in rows.columns]
    quoted = rows[quotes].notna().any(axis=1) if quotes else True
    if {"bid", "ask"} <= set(quotes):
        quoted &= ~(rows["bid"] > rows["ask"])
    # Outside hours Yahoo shows no quotes, and such a row must not take the place of the afternoon's. So
    # quoted rows come last, by time within: the last of each contract is its newest quote, if it has any.
    newest = rows.assign(_quoted=quoted).sort_values(["_quoted", "quote_time"], kind="stable")
    newest = newest.drop_duplicates(["contract_id", "date"], keep="last").drop(columns="_quoted")
    return _untimed(newest.sort_index().reset_index(drop=True))


def _untimed(rows: pd.DataFrame) -> pd.DataFrame:
    """Empty the stamps of quotes asked for over a weekend: they are older, nobody knows by how much."""
    # More than a day after the session, whatever the hour: a quote of the same night still is of that
    # session.
    days = rows["quote_time"].dt.tz_localize(None).dt.normalize()
    old = days > rows["date"] + pd.Timedelta(days=1)
    return rows.assign(quote_time=rows["quote_time"].mask(old))
