"""Leaks that a config switches on by name, and what every output of such a run must say.

Off, there are none, and nothing is said. Records hold the names under ``leaks``; figures, tables, pages and
terminals render them from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

Leak = Literal["scaler_sees_test", "last_symbol_inverts", "stops_on_test"]

LEAKS: tuple[Leak, ...] = get_args(Leak)

_MEANINGS: dict[str, str] = {
    "scaler_sees_test": "the scaler is fitted on all rows, the test split included",
    "last_symbol_inverts": "every symbol is brought back, and judged, in the scale of the last one",
    "stops_on_test": "the best epoch is chosen, and training stopped, by the test split",
}


@dataclass(frozen=True)
class Caveat:
    """The leaks of a run or of a study; false without any.

    Attributes:
        leaks: Their names.
    """

    leaks: tuple[str, ...] = ()

    @classmethod
    def of(cls, *records: Mapping[str, Any]) -> Self:
        """Read it from records: a list of names, or in a row of a table one text of them.

        >>> Caveat.of({"leaks": ["stops_on_test"]}, {"leaks": None}, {"leaks": "stops_on_test"}).leaks
        ('stops_on_test',)
        """
        named = [record.get("leaks") or () for record in records]
        lists = [each.split() if isinstance(each, str) else each for each in named]
        return cls(tuple(dict.fromkeys(name for names in lists for name in names)))

    def __bool__(self) -> bool:
        """Whether there is anything to be said."""
        return bool(self.leaks)

    @property
    def mark(self) -> str:
        """What a figure and a page say; empty without any.

        >>> Caveat(("stops_on_test",)).mark
        'LEAKS ON: stops_on_test'
        """
        return f"LEAKS ON: {', '.join(self.leaks)}" if self else ""

    @property
    def sentence(self) -> str:
        """The mark, and what each leak does."""
        meanings = "; ".join(_MEANINGS.get(leak, "a leak of another version") for leak in self.leaks)
        return f"{self.mark} ({meanings})."

    def to_dict(self) -> dict[str, list[str]]:
        """As a record holds it."""
        return {"leaks": list(self.leaks)}


NO_CAVEAT = Caveat()
