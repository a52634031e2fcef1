"""What other packages add to qhq: objects behind entry points, found by group and name.

A name that is qhq's own is never looked for here, so no package can stand in for it. The code of a package
runs only when a config names what it adds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from qhq.errors import ConfigError


def all_names(group: str, own: Iterable[str]) -> list[str]:
    """Names of qhq's own, then those that other packages add."""
    known = list(own)
    return [*known, *sorted({point.name for point in entry_points(group=group)} - set(known))]


def find_point(group: str, name: str) -> EntryPoint | None:
    """What another package adds under a name, not loaded yet; None if no package does."""
    return next(iter(entry_points(group=group, name=name)), None)


def load_point(point: EntryPoint, fits: Callable[[Any], bool], *, must: str, otherwise: str) -> Any:
    """Import what an entry point names.

    Args:
        point: The entry point.
        fits: Whether an object is of the sort that is asked for.
        must: What must hold of it, for the error.
        otherwise: What to do besides updating or uninstalling the package, for the error.

    Raises:
        ConfigError: If it cannot be imported, or is something else.
    """
    try:
        found = point.load()
    except Exception as error:  # whatever happens in another package as it is imported
        raise _misfit(point, f"{type(error).__name__}: {error}", must, otherwise) from error
    if not fits(found):
        raise _misfit(point, f"a {type(found).__name__}", must, otherwise)
    return found


def _misfit(point: EntryPoint, got: str, must: str, otherwise: str) -> ConfigError:
    package = point.dist.name if point.dist else "another package"
    return ConfigError(
        must,
        got=f"{got} from {point.value} of {package}, entry point '{point.name}'",
        fix=f"Update or uninstall {package}, or {otherwise}",
    )
