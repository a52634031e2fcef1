"""IBM's fake devices: real calibrations that the package qiskit-ibm-runtime carries as JSON files."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

from qhq.backends.devices.calibration import Calibration, make_calibration
from qhq.errors import BackendError, ConfigError, nearest

PREFIX = "fake_"


def list_fakes() -> list[str]:
    """Names of all fake devices, such as ``fake_fez``.

    Raises:
        BackendError: If qiskit-ibm-runtime is not installed.
    """
    return sorted(
        PREFIX + folder.name for folder in _root().iterdir() if _configuration_file(folder).is_file()
    )


def load_fake(device: str) -> Calibration:
    """Read the calibration of a fake device.

    The files are read as they lie there: importing the package would take two seconds.

    Raises:
        ConfigError: If there is no such device, with the nearest.
        BackendError: If qiskit-ibm-runtime is not installed.
    """
    known = list_fakes()
    if device not in known:
        raise ConfigError("A fake device must be one of IBM's", got=f"'{device}'", fix=nearest(device, known))
    folder = _root() / device.removeprefix(PREFIX)
    configuration = json.loads(_configuration_file(folder).read_text(encoding="utf-8"))
    properties = json.loads((folder / f"props_{folder.name}.json").read_text(encoding="utf-8"))
    return make_calibration({**configuration, "backend_name": device}, properties)


def _root() -> Path:
    # Looking for a top-level package does not import it.
    package = find_spec("qiskit_ibm_runtime")
    for location in (package and package.submodule_search_locations) or ():
        root = Path(location) / "fake_provider" / "backends"
        if root.is_dir():
            return root
    raise BackendError(
        "Fake devices must be installed",
        got="no qiskit-ibm-runtime with fake devices in this environment",
        fix="Run: pip install qiskit-ibm-runtime",
    )


def _configuration_file(folder: Path) -> Path:
    return folder / f"conf_{folder.name}.json"
