"""Is it too good to be true? Doubts about data, found before a model is trained on them.

Nothing here looks at what a model does with the test split: columns are tried on training and validation
alone. Rows of the test split are only compared with others, and asked whether they were made of later ones.
"""

from __future__ import annotations

from qhq.data.panel import Panel
from qhq.data.plausibility.copies import find_copies
from qhq.data.plausibility.doubt import DOUBT_KINDS, LeakDoubt, open_doubts
from qhq.data.plausibility.rows import find_filled_rows, find_made_columns, find_quoted_columns
from qhq.data.plausibility.scan import find_future_columns
from qhq.data.spec import DataSpec
from qhq.data.split import Splits

__all__ = ["DOUBT_KINDS", "LeakDoubt", "find_leaks", "open_doubts"]


def find_leaks(panel: Panel, splits: Splits, spec: DataSpec) -> tuple[LeakDoubt, ...]:
    """Raise every doubt about data, the gravest kinds first.

    Args:
        panel: All rows, as they were laid out.
        splits: Made of them.
        spec: The config that they were made with.
    """
    found = [
        *find_future_columns(splits, spec),
        *find_quoted_columns(panel),
        *find_copies(splits, spec),
        *find_made_columns(panel, spec, splits.train.panel.dates.max()),
        *find_filled_rows(panel, spec),
    ]
    return tuple(sorted(found, key=lambda doubt: list(DOUBT_KINDS).index(doubt.kind)))
