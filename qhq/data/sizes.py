"""What a file of rows will take in memory, looked at before it is read.

Real prices compress ten- or twentyfold. What expands a hundredfold was made to fill a machine, and is
refused; anything else is read if it fits.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from qhq.errors import BackendError, DataError
from qhq.files import MEBIBYTE
from qhq.limits import require_memory, size_text

_Opener = Callable[[], AbstractContextManager[IO[bytes]]]

# Bytes inside for each byte of the file, of what has more than `_SMALL`.
_MOST_RATIO = 100

# Expanded, whatever the ratio: no machine is filled by it.
_SMALL = 64 * MEBIBYTE

# Bytes of memory for each byte of content, at the peak of reading it.
_PER_BYTE = {"text": 8, "Parquet": 4, "workbook": 20}


def check_text(path: Path, origin: str, inside: _Opener | None) -> None:
    """Count what a text has, expanded, and refuse it where that would not fit.

    Args:
        path: The file.
        origin: Its name in errors.
        inside: Opens the bytes inside a packed file; None where it is not packed.

    Raises:
        DataError: If it would not fit, or expands beyond measure.
    """
    packed = path.stat().st_size
    size = packed
    if inside is not None:
        size, most = 0, max(_SMALL, _MOST_RATIO * packed)
        with inside() as stream:
            while piece := stream.read(MEBIBYTE):
                size += len(piece)
                if size > most:
                    raise _bomb(origin, packed, size)
    _require(origin, _PER_BYTE["text"] * size)


def check_parquet(path: Path, origin: str) -> None:
    """Look at what a Parquet file says of its rows, and at its texts, which the footer does not count.

    Raises:
        DataError: If it would not fit, or expands beyond measure.
    """
    footer, packed = pq.read_metadata(path), path.stat().st_size
    groups = sum(footer.row_group(index).total_byte_size for index in range(footer.num_row_groups))
    # A column of one value takes a few bytes, however many rows it has.
    size = max(groups, 8 * footer.num_rows * footer.num_columns)
    _check_ratio(origin, packed, size)
    size += _text_bytes(path, origin, footer, packed)
    _check_ratio(origin, packed, size)
    _require(origin, _PER_BYTE["Parquet"] * size)


def _text_bytes(path: Path, origin: str, footer: pq.FileMetaData, packed: int) -> int:
    """Bytes of all texts of a Parquet file, each row's its own, which it keeps once for all rows.

    They are counted without being written out: a text of a megabyte in a million rows is a terabyte.
    """
    # No text of a column can be longer than the column itself, so that most need not be opened at all.
    suspects: set[str] = set()
    for group in map(footer.row_group, range(footer.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            most = group.num_rows * column.total_uncompressed_size
            if column.physical_type == "BYTE_ARRAY" and most > _SMALL:
                suspects.add(column.path_in_schema)
    # As dictionaries each distinct text is in memory once; plain reading would write it out for every row.
    file = pq.ParquetFile(path, read_dictionary=list(suspects))
    counted = 0
    for name in sorted(suspects & set(file.schema_arrow.names)):
        for batch in file.iter_batches(batch_size=65_536, columns=[name]):
            array = batch.column(0)
            if not isinstance(array, pa.DictionaryArray):
                counted += array.nbytes
                continue
            lengths = pc.binary_length(array.dictionary).cast(pa.int64()).take(array.indices)
            counted += pc.sum(lengths).as_py() or 0
            _check_ratio(origin, packed, counted)
    return counted


def check_workbook(path: Path, origin: str) -> None:
    """Look at what the directory of a workbook says of its sheets.

    Raises:
        DataError: If it would not fit, or expands beyond measure.
    """
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    _check_ratio(origin, path.stat().st_size, size)
    _require(origin, _PER_BYTE["workbook"] * size)


def _check_ratio(origin: str, packed: int, size: int) -> None:
    if size > max(_SMALL, _MOST_RATIO * packed):
        raise _bomb(origin, packed, size)


def _require(origin: str, needed: int) -> None:
    try:
        require_memory(
            needed, f"{origin}, read whole,", fix="Cut it into smaller files, by date or by symbol"
        )
    except BackendError as error:
        raise DataError(error.must, got=error.got, fix=error.fix) from error


def _bomb(origin: str, packed: int, size: int) -> DataError:
    return DataError(
        f"{origin} must not expand to more than {_MOST_RATIO} times its size",
        got=f"{size_text(packed)} on disk that hold {size_text(size)} or more",
        fix="Look at what it holds before you use it; prices compress twentyfold at most",
    )
