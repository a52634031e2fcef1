"""What CONFIG or FILE means to ``qhq data show`` and ``qhq data check``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qhq.data.columns import STOCK_VALUES, PanelKind, canonical_name

if TYPE_CHECKING:
    from qhq.data.sources.files import Reading
    from qhq.data.spec import DataSpec

CONFIGS = (".yaml", ".yml", "")
"""Endings of configs, a folder's included; every other file is one of rows."""


@dataclass(frozen=True)
class NamedData:
    """Rows that a command was pointed to.

    Attributes:
        spec: The config's data, or one made for a file, with all its symbols.
        has_split: Whether a config says how the sessions are shared out.
        reading: The file as it was understood, where a file was named and no config.
    """

    spec: DataSpec
    has_split: bool
    reading: Reading | None = None


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
    content, reading = _describe_file(target, source, panel, overrides)
    spec = load_config(None, [f"data={json.dumps(content)}", *overrides]).data
    # Named as the user did: a config's path is made absolute.
    return NamedData(spec.model_copy(update={"path": target}), has_split=False, reading=reading)


def _table_source(target: str | None) -> str | None:
    path = Path(target or "")
    if target and path.suffix.lower() not in CONFIGS and not path.is_dir():
        return "parquet" if path.suffix == ".parquet" else "csv"
    is_recording = path.is_dir() and not (path / "config.yaml").exists() and any(path.glob("*/*.parquet"))
    return "recorded" if target and is_recording else None


def _describe_file(
    target: str, source: str, panel: str | None, overrides: Sequence[str]
) -> tuple[dict[str, Any], Reading | None]:
    """Write the ``data`` section of a config for a file; only what must be there is named as a feature."""
    from qhq.data.sources.files import Asked, understand_file
    from qhq.experiment.config import load_config

    kind, feature, reading = "options", "mid", None
    if source != "recorded":
        # What --set says of the file's form is needed to find out what it holds.
        given = load_config(None, [each for each in overrides if each.startswith("data.format")]).data.format
        wanted: PanelKind | None = None if panel is None else "options" if panel == "options" else "stocks"
        reading = understand_file(Path(target), target, asked=Asked(given, wanted))
        kind = reading.kind
        names = {canonical_name(str(name)) for name in reading.frame.columns}
        main = next((name for name in ("close", "adj_close", *STOCK_VALUES) if name in names), "close")
        feature = feature if kind == "options" else main
    chosen = {"features": [feature], "targets": [feature]}
    return {"source": source, "path": target, "panel": kind, "symbols": None, **chosen}, reading
