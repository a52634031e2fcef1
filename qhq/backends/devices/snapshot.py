"""Calibration snapshots: a device frozen into one small file that ``aer`` entries replay offline."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from qhq.backends.devices.calibration import Calibration, make_calibration
from qhq.errors import BackendError, ConfigError
from qhq.files import write_atomically

FORMAT = 1


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
        raw = path.read_bytes()
        content = json.loads(gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw)
        if content["qhq_snapshot"] != FORMAT:
            raise ValueError(f"format {content['qhq_snapshot']}")
        return make_calibration(content["configuration"], content["properties"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, BackendError) as error:
        raise ConfigError(
            "A snapshot must be a file that 'qhq backends snapshot' wrote",
            got=f"{path}: {type(error).__name__}: {error}",
            fix="Correct the path, or make the snapshot again",
        ) from error
