"""Tables of flat rows as CSV, Excel and LaTeX, each file whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from qhq.errors import ConfigError
from qhq.files import replacing

Format = Literal["csv", "excel", "latex"]

_WRITERS: dict[Format, Callable[[pd.DataFrame, Path], object]] = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "excel": lambda frame, path: frame.to_excel(path, index=False, engine="openpyxl"),
    "latex": lambda frame, path: path.write_text(_latex(frame), encoding="utf-8"),
}
_ENDINGS: dict[Format, str] = {"csv": ".csv", "excel": ".xlsx", "latex": ".tex"}


def export_table(rows: Sequence[dict[str, Any]], path: Path, form: Format) -> Path:
    """Write rows, one line a row, over a file that may be there.

    Raises:
        ConfigError: If it cannot be written; what was there stays.
    """
    # As objects: a column of whole numbers with a gap would become one of floats, 4 qubits 4.0.
    frame = pd.DataFrame(list(rows), dtype=object)
    if form == "excel":
        frame = frame.map(_no_formula)
    try:
        with replacing(path, ending=_ENDINGS[form]) as temporary:
            _WRITERS[form](frame, temporary)
    except OSError as error:
        raise ConfigError(
            f"--{form} must name a file that can be written",
            got=f"{path}: {error.strerror or error}",
            fix="Name a file in a folder that exists",
        ) from error
    return path


def _no_formula(value: Any) -> Any:
    """A text that a spreadsheet would calculate, as a text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def _latex(frame: pd.DataFrame) -> str:
    """A booktabs table; texts are escaped, numbers have four decimals."""
    named = frame.rename(columns=lambda name: re.sub(r"([&%$#_{}])", r"\\\1", str(name)))
    style = named.style.hide(axis="index").format(precision=4, na_rep="--", escape="latex")
    text: str = style.to_latex(hrules=True)
    return text
