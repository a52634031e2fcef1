"""Nested configs and records as flat objects with dotted names."""

from __future__ import annotations

from typing import Any


def flatten(content: object, prefix: str = "") -> dict[str, Any]:
    """Name each value by the keys that lead to it; lists of plain values and empty objects are values.

    >>> flatten({"data": {"window": 5, "symbols": ["A"]}, "model": {"recurrent": [{"hidden": 4}]}})
    {'data.window': 5, 'data.symbols': ['A'], 'model.recurrent.0.hidden': 4}
    """
    if isinstance(content, dict) and content:
        pairs = [(str(key), value) for key, value in content.items()]
    elif isinstance(content, list) and any(isinstance(value, dict | list) for value in content):
        pairs = [(str(number), value) for number, value in enumerate(content)]
    else:
        return {prefix: content} if prefix else {}
    return {
        key: value
        for name, part in pairs
        for key, value in flatten(part, f"{prefix}.{name}" if prefix else name).items()
    }
