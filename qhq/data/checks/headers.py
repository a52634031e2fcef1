"""Finding a panel's columns in the header of a file, under any of their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from qhq.data.panel import IntArray
from qhq.data.schema import COLUMNS, KEYS, STOCKS, Column, canonical_name
from qhq.errors import DataError, nearest


def match_columns(
    present: Iterable[object],
    origin: str,
    wanted: Sequence[str] | None,
    shown: Iterable[object] | None = None,
) -> dict[str, str]:
    """Find the columns that are needed, ``{name in the file: name in the schema}``.

    Args:
        present: Names that are there.
        origin: The file, for errors.
        wanted: Names of the schema that are needed beside symbol and date; None is none.
        shown: Names of the file to suggest from, where ``present`` are not all of them.

    Raises:
        DataError: If one is missing, or stands there under two names.
    """
    header = [str(name) for name in present]
    needed = (*KEYS, *(COLUMNS if wanted is None else wanted))
    found = name_columns(header, origin, needed, STOCKS)
    missing = [name for name in (KEYS if wanted is None else needed) if name not in found.values()]
    if missing:
        raise DataError(
            f"{origin} must have the columns {', '.join(KEYS if wanted is None else needed)}",
            got=f"no '{missing[0]}'" + (f" (nor {', '.join(missing[1:])})" if missing[1:] else ""),
            fix=f"Say which column it is with data.format.columns.{missing[0]}=NAME, or change"
            " data.features and"
            f" data.targets. {nearest(missing[0], header if shown is None else map(str, shown))}",
        )
    return found


def name_columns(
    header: Iterable[str], origin: str, wanted: Iterable[str], table: Mapping[str, Column]
) -> dict[str, str]:
    """Find the wanted columns that are there, ``{name in the file: name in the schema}``.

    Raises:
        DataError: If one stands there under two names.
    """
    names, known = set(wanted), {name: canonical_name(name, table) for name in header}
    found: dict[str, str] = {}
    for name in header:
        if known[name] not in names:
            continue
        twin = next((other for other in found if found[other] == known[name]), None)
        if twin is not None:
            raise DataError(
                f"{origin} must have one column for '{known[name]}'",
                got=f"both '{twin}' and '{name}'",
                fix=f"Say which in data.format.columns.{known[name]}, or drop one",
            )
        found[name] = known[name]
    return found


def check_names(chosen: Sequence[str], counts: IntArray, present: Iterable[str], origin: str) -> None:
    """Every name that is asked for has rows.

    Raises:
        DataError: If one has none, or there is no name at all.
    """
    for symbol, count in zip(chosen, counts, strict=True):
        if count == 0:
            raise DataError(
                f"Every symbol of data.symbols must be in {origin}",
                got=f"no row of '{symbol}'",
                fix=nearest(symbol, present),
            )
    if not chosen:
        raise DataError(f"{origin} must have rows", got="none", fix="Check that the file is the right one")
