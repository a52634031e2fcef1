"""What a leak would look like, as doubts that a person can look at and accept by name.

A doubt is no broken rule: training goes on. But results should not be trusted while a doubt is
open. Each has a code, such as ``future_column:ret_next``: its kind, and the column, symbol or target that it
is about.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from qhq.errors import ConfigError, nearest

DOUBT_KINDS: dict[str, str] = {
    "future_column": "a column tells of the target's next value more than was ever seen of its kind",
    "smooth_target": "a target that is a price moves on as only an average does",
    "whole_sample_scale": "a column is scaled with the mean or the range of all rows, the test split's too",
    "group_value": "a column holds in each row what its whole month or group has only at the end",
    "interpolated": "values lie on straight lines between others, the later of which was not known",
    "filled_rows": "rows of days without a session repeat the session before",
    "copy_held_out": "a held-out symbol moves as one that is trained on",
    "repeated_block": "rows of one split come again in another",
    "spot_differs": "contracts of one underlying and date have different spots",
    "rate_differs": "contracts of one underlying, date and expiry have different rates",
    "implausible_skill": "the model is better on validation than was ever seen of its kind",
}
"""Every kind of doubt, and what it says."""

MOST_ROWS_SHOWN = 5
"""Rows that a doubt names."""


@dataclass(frozen=True)
class Bound:
    """The most that a target's next change was ever forecast, beyond its own past.

    Attributes:
        most: Largest share of what the target's own past leaves unexplained, out of sample.
        source: Where that is known from.
    """

    most: float
    source: str


BOUNDS: dict[str, Bound] = {
    "price": Bound(
        0.10,
        "out-of-sample R2 of returns is about 0 to 2 % (Welch and Goyal 2008; Campbell and Thompson 2008;"
        " Gu, Kelly and Xiu 2020); the largest known is the 9 % of weekly indices of the sixties"
        " (Lo and MacKinlay 1988)",
    ),
    "session price": Bound(0.25, "open, high and low, beside the close of their session, are prices too"),
    "volatility": Bound(
        0.25,
        "HAR explains 40 to 60 % of the level (Corsi 2009), which its own past does here too; implied"
        " volatility or better measures explain up to about 15 % of the rest (Busch, Christensen and"
        " Nielsen 2011; Bollerslev, Patton and Quaedvlieg 2016)",
    ),
    "volume": Bound(0.25, "volume is forecast from its own past and the calendar (Lo and Wang 2000)"),
    "option forecast": Bound(0.25, "quotes follow the spot, whose bound is 10 %, with noise from bid to ask"),
    "option price": Bound(
        0.65,
        "moves of the underlying explain up to about half of the change of an index's implied volatility"
        " (Hull and White 2017)",
    ),
    "other": Bound(0.50, "no literature: half of what the column's own past leaves"),
}
"""By kind of target. Whoever moves one, moves the table of ``docs/data.md`` with it."""


@dataclass(frozen=True)
class LeakDoubt:
    """One doubt, with what raised it.

    Attributes:
        code: Kind and subject, such as ``future_column:ret_next``.
        must: What must hold.
        got: What came.
        fix: What to do.
        count: How many rows or dates show it; 0 where it is of all.
        rows: The first of them, such as ``AAPL 2012-01-03``.
        statistic: What was measured.
        threshold: What it must not exceed.
        accepted: Who looked, and when; None while nobody did.
    """

    code: str
    must: str
    got: str
    fix: str
    count: int = 0
    rows: tuple[str, ...] = ()
    statistic: float = 0.0
    threshold: float = 0.0
    accepted: dict[str, str] | None = None

    @property
    def kind(self) -> str:
        """The first half of the code."""
        return self.code.partition(":")[0]

    def to_dict(self) -> dict[str, object]:
        """As plain JSON."""
        return {**asdict(self), "rows": list(self.rows)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> LeakDoubt:
        """Inverse of `to_dict`."""
        return cls(**{**plain, "rows": tuple(plain["rows"])})

    def sentence(self) -> str:
        """Tell a person, in one line."""
        if self.accepted is not None:
            return f"Doubt {self.code}, accepted by {self.accepted['by']} on {self.accepted['at'][:10]}."
        return (
            f"DOUBT {self.code}: {self.must}. Got {self.got}. {self.fix}. If you looked and it is right:"
            f" --accept '{self.code}'."
        )


def check_accepted(names: Iterable[str]) -> tuple[str, ...]:
    """Names given to ``--accept``, each once.

    Raises:
        ConfigError: If one is not written as a doubt is.
    """
    names = tuple(dict.fromkeys(name.strip() for name in names))
    for name in names:
        kind, colon, subject = name.partition(":")
        if kind not in DOUBT_KINDS or not colon or not subject:
            raise ConfigError(
                "--accept must name a doubt as it was written, such as future_column:ret_next",
                got=f"'{name}'",
                fix=nearest(kind, DOUBT_KINDS)
                if kind not in DOUBT_KINDS
                else "Write what it is about behind the colon",
            )
    return names


def accept(doubts: Sequence[LeakDoubt], names: Iterable[str], *, at: str) -> tuple[LeakDoubt, ...]:
    """Mark the doubts that somebody looked at; who that is, is the user of this machine."""
    chosen = set(names)
    looked = {"by": _user(), "at": at}
    return tuple(
        replace(doubt, accepted=looked) if doubt.code in chosen and doubt.accepted is None else doubt
        for doubt in doubts
    )


def open_doubts(doubts: Iterable[LeakDoubt]) -> tuple[LeakDoubt, ...]:
    """Those that nobody accepted."""
    return tuple(doubt for doubt in doubts if doubt.accepted is None)


def unmatched(doubts: Iterable[LeakDoubt], names: Iterable[str]) -> tuple[str, ...]:
    """Names that no doubt has."""
    known = {doubt.code for doubt in doubts}
    return tuple(name for name in names if name not in known)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return "unknown"
