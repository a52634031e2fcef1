"""Names found when they are asked for: a package's own, in their files, and what other packages add.

What other packages add lies behind entry points. A name that is qhq's own is never looked for there, so no
package can stand in for it, and the code of a package runs only when a config names what it adds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

# `import qhq` passes through here, so nothing is imported that takes time: reading the metadata of packages
# and the error family wait until another package is asked for.


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Make a package's ``__getattr__`` (PEP 562), so that importing a light file of it stays light.

    Args:
        package: ``__name__`` in its ``__init__``.
        homes: Public name -> the file that defines it.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return find


def all_names(group: str, own: Iterable[str]) -> list[str]:
    """Names of qhq's own, then those that other packages add."""
    from importlib.metadata import entry_points

    known = list(own)
    return [*known, *sorted({point.name for point in entry_points(group=group)} - set(known))]


def find_point(group: str, name: str) -> EntryPoint | None:
    """What another package adds under a name, not loaded yet; None if no package does."""
    from importlib.metadata import entry_points

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
    from qhq.errors import ConfigError

    try:
        found = point.load()
        fault = None if fits(found) else f"a {type(found).__name__}"
        cause = None
    except Exception as error:  # whatever happens in another package as it is imported
        fault, cause = f"{type(error).__name__}: {error}", error
    if fault is None:
        return found
    package = point.dist.name if point.dist else "another package"
    raise ConfigError(
        must,
        got=f"{fault} from {point.value} of {package}, entry point '{point.name}'",
        fix=f"Update or uninstall {package}, or {otherwise}",
    ) from cause
