"""From a config and what a point changes to the point's config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qhq.documents import validate
from qhq.experiment.config import ExperimentConfig


def change(config: ExperimentConfig, changes: Mapping[str, Any], source: str) -> ExperimentConfig:
    """Set dotted keys of a config.

    Args:
        config: Where the other keys come from.
        changes: Values by dotted key.
        source: Where the changes stand, for an error.

    Raises:
        ConfigError: If a key is unknown or a value is not valid; it names the nearest known key.
    """
    content = config.model_dump(mode="json")
    for key, value in changes.items():
        _put(content, key.split("."), value)
    return validate(ExperimentConfig, content, source)


def look_up(config: ExperimentConfig, key: str) -> Any:
    """The value of a dotted key; None where a part of it is not there."""
    node: Any = config.model_dump(mode="json")
    for word in key.split("."):
        node = node.get(word) if isinstance(node, dict) else None
    return node


def _put(node: dict[str, Any], keys: list[str], value: Any) -> None:
    *parents, last = keys
    for parent in parents:
        if not isinstance(node.get(parent), dict):
            node[parent] = {}
        node = node[parent]
    node[last] = value
