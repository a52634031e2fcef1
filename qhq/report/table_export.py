"""Tables of flat rows as CSV, Excel and LaTeX, each file whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import pandas as pd

from qhq.errors import ConfigError, no_formula, visible
from qhq.files import replacing

Format = Literal["csv", "excel", "latex"]

_WRITERS: dict[Format, Callable[[pd.DataFrame, Path], object]] = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "excel": lambda frame, path: frame.to_excel(path, index=False, engine="openpyxl"),
    "latex": lambda frame, path: path.write_text(_latex(frame), encoding="utf-8"),
}
_ENDINGS: dict[Format, str] = {"csv": ".csv", "excel": ".xlsx", "latex": ".tex"}


def export_table(rows: Sequence[Mapping[str, object]], path: Path, form: Format) -> Path:
    """Write rows, one line a row, over a file that may be there.

    Raises:
        ConfigError: If it cannot be written; what was there stays.
    """
    # As objects: a column of whole numbers with a gap would become one of floats, 4 qubits 4.0.
    plain: Callable[[str], str] = partial(visible, cell=True) if form == "latex" else no_formula
    # Whatever is written as a text is made one that does nothing when it is opened.
    cells = [
        {
            plain(str(key)): value if value is None or isinstance(value, int | float) else plain(str(value))
            for key, value in row.items()
        }
        for row in rows
    ]
    frame = pd.DataFrame(cells, dtype=object)
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


def _latex(frame: pd.DataFrame) -> str:
    """A booktabs table; texts are escaped, numbers have four decimals."""
    style = frame.style.hide(axis="index").format(precision=4, na_rep="--", escape="latex")
    style = style.format_index(axis="columns", escape="latex")
    text: str = style.to_latex(hrules=True)
    return text
