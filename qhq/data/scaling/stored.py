"""What a fitted scaler checks and reads, whatever its kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from qhq.data.panel import FloatArray
from qhq.data.windows import Windows
from qhq.errors import DataError


def check_columns(columns: tuple[str, ...], windows: Windows) -> None:
    """Check that windows have the features that a scaler was fitted on.

    Raises:
        DataError: If they have others.
    """
    _check_same("features", columns, windows.cut.features)


def check_outputs(columns: tuple[str, ...], windows: Windows) -> None:
    """Check that windows have the targets that a scaler was fitted on.

    Raises:
        DataError: If they have others.
    """
    _check_same("targets", columns, windows.cut.targets)


def check_statics(columns: tuple[str, ...], windows: Windows) -> None:
    """Check that windows have the static features that a scaler was fitted on.

    Raises:
        DataError: If they have others.
    """
    _check_same("static features", columns, windows.cut.static)


def _check_same(role: str, fitted: tuple[str, ...], present: tuple[str, ...]) -> None:
    if fitted != present:
        raise DataError(
            f"The scaler was fitted on the {role} {', '.join(fitted)}",
            got=f"windows of {', '.join(present)}",
            fix="Use the data section of the run that the scaler came from",
        )


def read_array(content: Any) -> FloatArray:
    """Read numbers that ``to_dict`` wrote."""
    return np.array(content, dtype=np.float64)
