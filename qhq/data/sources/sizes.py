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

import pyarrow.parquet as pq

from qhq.errors import BackendError, DataError
from qhq.files import MEBIBYTE
from qhq.memory import require_memory, size_text

Opener = Callable[[], AbstractContextManager[IO[bytes]]]

MOST_RATIO = 100
"""Bytes inside for each byte of the file, of what has more than `SMALL`."""

SMALL = 64 * MEBIBYTE
"""Expanded, whatever the ratio: no machine is filled by it."""

PER_BYTE = {"text": 8, "Parquet": 4, "workbook": 20}
"""Bytes of memory for each byte of content, at the peak of reading it."""


def check_text(path: Path, origin: str, inside: Opener | None) -> None:
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
        size, most = 0, max(SMALL, MOST_RATIO * packed)
        with inside() as stream:
            while piece := stream.read(MEBIBYTE):
                size += len(piece)
                if size > most:
                    raise _bomb(origin, packed, size)
    _require(origin, PER_BYTE["text"] * size)


def check_parquet(path: Path, origin: str) -> None:
    """Look at what the footer of a Parquet file says of its rows.

    Raises:
        DataError: If it would not fit, or expands beyond measure.
    """
    footer = pq.read_metadata(path)
    groups = sum(footer.row_group(index).total_byte_size for index in range(footer.num_row_groups))
    # A column of one value takes a few bytes, however many rows it has.
    size = max(groups, 8 * footer.num_rows * footer.num_columns)
    _check_ratio(origin, path.stat().st_size, size)
    _require(origin, PER_BYTE["Parquet"] * size)


def check_workbook(path: Path, origin: str) -> None:
    """Look at what the directory of a workbook says of its sheets.

    Raises:
        DataError: If it would not fit, or expands beyond measure.
    """
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    _check_ratio(origin, path.stat().st_size, size)
    _require(origin, PER_BYTE["workbook"] * size)


def _check_ratio(origin: str, packed: int, size: int) -> None:
    if size > max(SMALL, MOST_RATIO * packed):
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
        f"{origin} must not expand to more than {MOST_RATIO} times its size",
        got=f"{size_text(packed)} on disk that hold {size_text(size)} or more",
        fix="Look at what it holds before you use it; prices compress twentyfold at most",
    )
