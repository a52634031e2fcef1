"""A room's public names, imported from their files only when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(room: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Make a room's ``__getattr__`` (PEP 562), so that importing a light file of it stays light.

    Args:
        room: The package, ``__name__`` in its ``__init__``.
        homes: Public name -> the file that defines it.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(import_module(f"{room}.{homes[name]}"), name)

    return find
