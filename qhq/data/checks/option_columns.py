"""Which columns of an option file are which, and what to say when some are missing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from qhq.data.checks.headers import name_columns
from qhq.data.schema import DERIVED_UNITS, OPTIONS, QUOTES, canonical_name
from qhq.errors import SHOWN_NAMES, DataError

COMPUTED = frozenset({*DERIVED_UNITS, "rate"})
"""Columns that a config may name and a file need not have; ``data.rate`` stands in for the last."""

_LEAST_LIKENESS = 0.4


def match_option_columns(
    present: Iterable[object], origin: str, wanted: Sequence[str] = ()
) -> dict[str, str]:
    """Find the columns of the schema and the user's own, ``{name in the file: name in the schema}``.

    Args:
        present: Names in the file.
        origin: The file, for errors.
        wanted: Names that a config asks for.

    Raises:
        DataError: If columns are missing, with all of them and the nearest present; or if one stands there
            under two names.
    """
    header = [str(name) for name in present]
    found = name_columns(header, origin, (*OPTIONS, *wanted), OPTIONS)
    there = set(found.values())
    needed = [name for name, column in OPTIONS.items() if column.needed]
    asked = [name for name in wanted if name not in COMPUTED]
    single = [(name,) for name in (*needed, *asked) if name not in there]
    groups = list(dict.fromkeys([*single, *_missing_quotes(there)]))
    if groups:
        free = [name for name in header if name not in found] or header
        raise DataError(
            f"{origin} must have the columns {_needed(wanted)}",
            got="; ".join(_tell(names, free) for names in groups),
            fix=f"Say which it is with data.format.columns.{groups[0][0]}=NAME"
            + (
                ", or name a file of the underlyings' prices in data.format.spot"
                if ("spot",) in groups
                else ""
            )
            + f"; the file has: {_shorten(header)}",
        )
    return found


def _needed(wanted: Sequence[str]) -> str:
    needed = [name for name, column in OPTIONS.items() if column.needed]
    asked = [name for name in dict.fromkeys(wanted) if name not in COMPUTED and name not in needed]
    quotes = ", or ".join(" and ".join(names) for names in QUOTES)
    return f"{', '.join([*needed, *asked])}; and {quotes}"


def _missing_quotes(there: set[str]) -> list[tuple[str, ...]]:
    """What is missing of the quotes: the other of bid and ask, or all of them."""
    if any(there.issuperset(names) for names in QUOTES):
        return []
    half = [name for name in QUOTES[0] if name not in there]
    return [(half[0],)] if len(half) == 1 else [tuple(name for names in QUOTES for name in names)]


def _tell(names: tuple[str, ...], header: Sequence[str]) -> str:
    """Name what is missing and the column nearest to it, by its aliases too."""
    spellings = [
        each for name in names for each in (name, *(OPTIONS[name].aliases if name in OPTIONS else ()))
    ]
    likeness = {other: max(_likeness(other, each) for each in spellings) for other in header}
    best = max(likeness, key=likeness.__getitem__, default="")
    near = f"nearest: '{best}'" if likeness.get(best, 0.0) >= _LEAST_LIKENESS else "nothing near it"
    missing = f"no '{names[0]}'" if len(names) == 1 else "none of " + ", ".join(f"'{name}'" for name in names)
    return f"{missing} ({near})"


def _likeness(name: str, other: str) -> float:
    return difflib.SequenceMatcher(None, canonical_name(name, OPTIONS), other).ratio()


def _shorten(header: Sequence[str]) -> str:
    more = f" and {len(header) - SHOWN_NAMES} more" if len(header) > SHOWN_NAMES else ""
    return (", ".join(header[:SHOWN_NAMES]) or "none") + more
