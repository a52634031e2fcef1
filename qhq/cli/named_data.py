"""What CONFIG or FILE means to ``qhq data show`` and ``qhq data check``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from qhq.data.spec import DataSpec

TABLES = {".csv": "csv", ".gz": "csv", ".parquet": "parquet"}
"""Endings of files of rows; everything else is a config."""


@dataclass(frozen=True)
class NamedData:
    """Rows that a command was pointed to.

    Attributes:
        spec: The config's data, or one made for a file, with all its symbols.
        has_split: Whether a config says how the sessions are shared out.
    """

    spec: DataSpec
    has_split: bool


def find_data(target: str | None, overrides: Sequence[str], panel: str | None) -> NamedData:
    """Find a config, a file of rows or a folder of recorded chains; None is the quickstart.

    Raises:
        ConfigError: If it is none of them, or an override does not fit.
        DataError: If it is a file that cannot be read.
    """
    from qhq.experiment.config import load_config

    source = _table_source(target)
    if target is None or source is None:
        forced = [f"data.panel={panel}"] if panel else []
        return NamedData(load_config(target, [*overrides, *forced]).data, has_split=True)
    data = json.dumps(_describe_file(target, source, panel))
    spec = load_config(None, [f"data={data}", *overrides]).data
    # Named as the user did: a config's path is made absolute.
    return NamedData(spec.model_copy(update={"path": target}), has_split=False)


def _table_source(target: str | None) -> str | None:
    path = Path(target or "")
    if target and path.suffix in TABLES:
        return TABLES[path.suffix]
    is_recording = path.is_dir() and not (path / "config.yaml").exists() and any(path.glob("*/*.parquet"))
    return "recorded" if target and is_recording else None


def _describe_file(target: str, source: str, panel: str | None) -> dict[str, Any]:
    """Write the ``data`` part of a config for a file; only what must be there is named as a feature."""
    from qhq.data.sources.files import read_file

    kind = "options"
    feature = "mid"
    if source != "recorded":
        frame = read_file(Path(target), target, parquet=source == "parquet")
        kind = panel or _panel_of(frame)
        feature = feature if kind == "options" else _main_column(frame)
    chosen = {"features": [feature], "targets": [feature]}
    return {"source": source, "path": target, "panel": kind, "symbols": None, **chosen}


def _panel_of(frame: pd.DataFrame) -> str:
    """No stock has a strike."""
    from qhq.data.schema import OPTIONS, canonical_name

    names = {canonical_name(str(name), OPTIONS) for name in frame.columns}
    return "options" if "strike" in names else "stocks"


def _main_column(frame: pd.DataFrame) -> str:
    """Name the price to draw: the first of the schema that is there."""
    from qhq.data.schema import COLUMNS, canonical_name

    names = {canonical_name(str(name)) for name in frame.columns}
    return next((name for name in ("close", "adj_close", *COLUMNS) if name in names), "close")
