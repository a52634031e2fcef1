"""Runs side by side: those that forecast the same of the same data form a group, and have one order."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from qhq.api.given import check_count, reference_of
from qhq.limits import MOST_COUNT
from qhq.progress import Progress, noting

if TYPE_CHECKING:
    import pandas as pd

    from qhq.runs.comparison import RunTable


def compare(
    *runs: str | os.PathLike[str],
    sort: str | None = None,
    filter: str | Sequence[str] = (),
    limit: int | None = None,
    columns: Sequence[str] | None = None,
    all: bool = False,
    progress: Progress = None,
) -> pd.DataFrame:
    """Put runs side by side, one row each; runs that forecast the same of the same data form a ``group``.

    Args:
        *runs: Runs, folders of runs, or globs; all runs if left out.
        sort: Result or config key to order each group by; from high to low with ``-`` before it.
        filter: Conditions such as ``"quantum.qubits >= 4"``, all of which must hold.
        limit: The first so many rows of each group.
        columns: These alone, in full or by their last words.
        all: All config keys, not those that differ.
        progress: Where it is said which run is left out, and why.

    Returns:
        Results and config keys; ``attrs`` say what each group was asked for, and which keys differ.

    Raises:
        ConfigError: If a reference means no run, or a key or column is unknown.

    >>> import qhq
    >>> qhq.compare(sort="-skill", columns=["run", "skill", "quantum.qubits"]).shape[1]
    3
    """
    import pandas as pd

    conditions = [filter] if isinstance(filter, str) else list(filter)
    names = [str(reference_of(each)) for each in runs if each is not None]
    table = compared(names, conditions, sort, limit, note=noting(progress))
    words = [columns] if isinstance(columns, str) else columns
    chosen = None if words is None or not table.summaries else table.choose(words)
    frame = pd.DataFrame(table.rows(table.keys if all or chosen is not None else table.differs))
    frame = frame if chosen is None or frame.empty else frame[chosen]
    frame.attrs = {"groups": dict(table.headings), "differs": list(table.differs)}
    return frame


def compared(
    runs: Sequence[str],
    conditions: Sequence[str],
    sort: str | None,
    limit: int | None,
    *,
    note: Callable[[str], None],
) -> RunTable:
    """The table of `compare`, before it is a DataFrame: the command line lays out its groups itself.

    Raises:
        ConfigError: As `compare`.
    """
    from qhq.runs.comparison import tabulate
    from qhq.runs.run_folder import gather_runs

    check_count("limit", limit, 1, MOST_COUNT)
    table = tabulate(gather_runs(runs), note)
    for condition in conditions:
        table = table.where(condition)
    table = table if sort is None else table.sorted_by(sort)
    return table if limit is None else table.first(limit)
