"""Calibration snapshots: a device frozen into one small file that ``aer`` entries replay offline."""

from __future__ import annotations

import gzip
import json
from json import JSONDecodeError
from pathlib import Path
from typing import NoReturn

from qhq.backends.devices.calibration import Calibration, make_calibration
from qhq.errors import BackendError, ConfigError
from qhq.files import MEBIBYTE, expand_gzip, read_regular, write_atomically

FORMAT = 1

MOST_BYTES = 16 * MEBIBYTE
"""Of a snapshot, expanded: that of the largest devices has one or two."""


def save_snapshot(calibration: Calibration, path: Path) -> None:
    """Write a calibration as gzipped JSON; the same calibration gives the same bytes.

    Raises:
        BackendError: If the file cannot be written.
    """
    content = {
        "qhq_snapshot": FORMAT,
        "configuration": calibration.configuration,
        "properties": calibration.properties,
    }
    try:
        write_atomically(path, gzip.compress(json.dumps(content).encode(), mtime=0))
    except OSError as error:
        raise BackendError(
            "The snapshot must be writable", got=f"{path}: {error.strerror}", fix="Choose another path"
        ) from error


def load_snapshot(path: Path) -> Calibration:
    """Read a calibration that :func:`save_snapshot` wrote; the plain JSON inside is taken too.

    Raises:
        ConfigError: If the file is missing or no snapshot.
    """
    try:
        raw = read_regular(path, most=MOST_BYTES, what="snapshot")
        if raw.startswith(b"\x1f\x8b"):
            raw = expand_gzip(raw, most=MOST_BYTES, source=path, what="snapshot")
        content = json.loads(raw, parse_constant=_refuse)
        if content["qhq_snapshot"] != FORMAT:
            raise ValueError(f"format {content['qhq_snapshot']}")
        return make_calibration(content["configuration"], content["properties"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, BackendError) as error:
        raise ConfigError(
            "A snapshot must be a file that 'qhq backends snapshot' wrote",
            got=f"{path}: {_reason(error)}",
            fix="Correct the path, or make the snapshot again",
        ) from error


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word}, which is no number")


def _reason(error: Exception) -> str:
    if isinstance(error, BackendError):
        return error.got
    if isinstance(error, JSONDecodeError | UnicodeDecodeError):
        return f"no JSON ({error})"
    if isinstance(error, RecursionError):
        return "nested without end"
    return error.strerror or str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
