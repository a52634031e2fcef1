"""Leaks that a config may switch on by name, to show what a published protocol did. Off, there are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

Leak = Literal["scaler_sees_test", "last_symbol_inverts", "stops_on_test"]

LEAKS: tuple[Leak, ...] = get_args(Leak)

MEANINGS: dict[Leak, str] = {
    "scaler_sees_test": "the scaler is fitted on all rows, the test part included",
    "last_symbol_inverts": "every symbol is brought back, and judged, in the scale of the last one",
    "stops_on_test": "the best epoch is chosen, and training stopped, by the test part",
}


def leak_mark(leaks: Sequence[str]) -> str:
    """What every output says while leaks are on; empty without any.

    >>> leak_mark(["stops_on_test"])
    'LEAKS ON: stops_on_test'
    """
    return f"LEAKS ON: {', '.join(leaks)}" if leaks else ""


def explain_leaks(leaks: Sequence[Leak]) -> str:
    """One sentence on what leaks do."""
    return "; ".join(MEANINGS[leak] for leak in leaks)
