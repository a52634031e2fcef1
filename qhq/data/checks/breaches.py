"""Every rule that a table breaks, where the checks of a panel stop at the first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from qhq.data.checks.doubts import OPTION_DOUBTS, STOCK_DOUBTS
from qhq.data.checks.option_rules import OPTION_RULES
from qhq.data.checks.options import draft_options
from qhq.data.checks.rules import STOCK_RULES, DraftT, Rules
from qhq.data.checks.stocks import draft_stocks
from qhq.data.schema import PanelKind

Severity = Literal["error", "warning"]
SHOWN_ROWS = 10


@dataclass(frozen=True)
class Breach:
    """A rule and the rows that break it.

    Attributes:
        rule: Its code, such as ``duplicate``.
        must: What must hold, or for a warning ought to.
        count: Rows that break it.
        rows: The first of them, as row numbers in the file; the first below the header is 1.
        example: What came in the first of them.
        fix: What the user can do.
        severity: ``error`` keeps the data out of training, ``warning`` does not.
    """

    rule: str
    must: str
    count: int
    rows: tuple[int, ...]
    example: str
    fix: str
    severity: Severity


def find_breaches(frame: pd.DataFrame, origin: str, kind: PanelKind) -> list[Breach]:
    """Check every rule on every row, errors first.

    Args:
        frame: A table, as ``check_panel`` or ``check_options`` take it; its index is not looked at.
        origin: Where it came from.
        kind: Which of the two panels it should be.

    Raises:
        DataError: If needed columns are missing, or it has no rows.
    """
    if kind == "stocks":
        stocks = draft_stocks(frame, origin)
        return [*_tell(stocks, STOCK_RULES, "error"), *_tell(stocks, STOCK_DOUBTS, "warning")]
    options = draft_options(frame, origin)
    return [*_tell(options, OPTION_RULES, "error"), *_tell(options, OPTION_DOUBTS, "warning")]


def _tell(draft: DraftT, rules: Rules[DraftT], severity: Severity) -> Iterator[Breach]:
    for code, rule in rules.items():
        for finding in rule(draft):
            rows = tuple(int(row) for row in draft.rows[finding.rows[:SHOWN_ROWS]])
            yield Breach(code, finding.must, len(finding.rows), rows, finding.got, finding.fix, severity)
