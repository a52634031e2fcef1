"""Rows that break a rule or may be misread: what is done with them, and what is said of them.

A row that breaks a rule is set aside or refuses the file (`RowPolicy`); `Quarantine` is the record of those
set aside. A row that breaks none, and yet looks as if it was read wrongly, is kept with a `RowDoubt`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Literal, TypedDict

BadRows = Literal["quarantine", "refuse"]

LIMIT = 0.01
"""Share of bad rows above which a source is refused, unless ``data.bad_rows_limit`` says otherwise."""


@dataclass(frozen=True)
class RowPolicy:
    """What to do with rows that break a rule.

    Attributes:
        bad_rows: ``quarantine`` sets every bad row aside, ``refuse`` takes no data with one. None sets aside
            what the market's data say wrongly (a crossed quote, a price of zero) and refuses what points at a
            wrong *reading*: text where a number or a date should be, dates after today, real prices below
            zero where logarithms are taken. Those are seldom the fault of the one row that shows it.
        limit: Largest share of bad rows that may be set aside, rounded up to whole rows.
        editable: Whether the source is a file of the user's own. Of a source that nobody can edit, unreadable
            cells are set aside too, and no message advises to correct a row.
        signed: Whether prices of stocks may be below zero: nothing takes their logarithms.
        span: First and last day to look at; None is no limit.
        calendar: Name of the exchange's calendar; None is New York's where the rows fit it.
    """

    bad_rows: BadRows | None = "refuse"
    limit: float = LIMIT
    editable: bool = True
    signed: bool = False
    span: tuple[date | None, date | None] = (None, None)
    calendar: str | None = None

    def allows(self, bad: int, checked: int) -> bool:
        """Whether so many bad rows may be set aside; one may be, however few rows there are."""
        # Rounded first: 0.07 * 100 is 7.000000000000001, whose ceiling is 8.
        return bad <= math.ceil(round(self.limit * checked, 9))


STRICT = RowPolicy()
"""Every broken rule is an error."""


@dataclass(frozen=True)
class Reason:
    """A rule, and the rows that were set aside because they break it.

    Attributes:
        rule: Its code, such as ``crossed``.
        must: What must hold.
        count: Rows set aside.
        rows: The first of them, as row numbers in the file; the first below the header is 1.
        example: What came in the first of them.
        counted: Whether they count towards ``data.bad_rows_limit``. Rows that repeat another one exactly, and
            contracts that deliver something else than 100 shares, are no fault of the data.
    """

    rule: str
    must: str
    count: int
    rows: tuple[int, ...]
    example: str
    counted: bool = True


@dataclass(frozen=True)
class RowDoubt:
    """What rows may hold but ought to be looked at: how they may have been misread, and what to set."""

    rule: str
    must: str
    count: int
    rows: tuple[int, ...]
    example: str
    fix: str


class ReasonRecord(TypedDict):
    """A `Reason` in a record."""

    rule: str
    must: str
    count: int
    rows: list[int]
    example: str
    counted: bool


class QuarantineRecord(TypedDict):
    """A `Quarantine` in a record: rows set aside, of how many, and why."""

    rows: int
    of: int
    reasons: list[ReasonRecord]


@dataclass(frozen=True)
class Quarantine:
    """The rows of a source that were set aside.

    Attributes:
        origin: The source.
        checked: Rows that were looked at: those of the symbols asked for.
        reasons: Why rows were set aside, in the order of the rules.
    """

    origin: str = ""
    checked: int = 0
    reasons: tuple[Reason, ...] = ()

    @property
    def count(self) -> int:
        """Rows set aside."""
        return sum(reason.count for reason in self.reasons)

    @property
    def counted(self) -> int:
        """Rows set aside that count towards the limit."""
        return sum(reason.count for reason in self.reasons if reason.counted)

    def to_dict(self) -> QuarantineRecord:
        """As the run's record holds it."""
        reasons: list[ReasonRecord] = [
            {
                "rule": each.rule,
                "must": each.must,
                "count": each.count,
                "rows": list(each.rows),
                "example": each.example,
                "counted": each.counted,
            }
            for each in self.reasons
        ]
        return {"rows": self.count, "of": self.checked, "reasons": reasons}

    def note(self) -> str:
        """Tell people, in one sentence for each reason; empty where nothing was set aside."""
        if not self.reasons:
            return ""
        listed = "; ".join(
            f"{reason.count:,} broke '{reason.rule}', such as {reason.example}" for reason in self.reasons
        )
        return (
            f"Set aside {self.count:,} of {self.checked:,} rows of {self.origin}"
            f" ({percent_of(self.count, self.checked)}): {listed}."
            " 'qhq data check' lists them; data.bad_rows: refuse takes none."
        )


NOTHING_ASIDE = Quarantine()


def tell_rows(
    quarantine: Quarantine, doubts: Iterable[RowDoubt] = (), notes: Iterable[str] = ()
) -> list[str]:
    """Say in whole sentences how a file was read, which rows were set aside, and which may be misread."""
    read = [f"Data: {note}." for note in notes]
    aside = [quarantine.note()] if quarantine.reasons else []
    return [*read, *aside] + [
        f"Doubt '{doubt.rule}' (rows: {doubt.count:,}): {doubt.must}. Got {doubt.example}. {doubt.fix}."
        for doubt in doubts
    ]


def percent_of(part: int, whole: int) -> str:
    """Write a share in percent, never as 0 where there is something.

    >>> percent_of(1, 350_000), percent_of(37, 1000)
    ('< 0.01 %', '3.7 %')
    """
    percent = 100 * part / max(whole, 1)
    return "< 0.01 %" if 0 < percent < 0.01 else f"{percent:.3g} %"
