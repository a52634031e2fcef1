"""Checking a table of stocks: columns found, text made into dates and numbers, every rule kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from qhq.data.checks.cells import read_days, read_numbers
from qhq.data.checks.doubts import STOCK_READING_DOUBTS
from qhq.data.checks.headers import check_names, match_columns
from qhq.data.checks.rules import STOCK_RULES, Draft
from qhq.data.checks.sift import find_doubts, sift
from qhq.data.panel import FloatArray, Panel
from qhq.data.quarantine import STRICT, RowPolicy
from qhq.data.schema import ACTIONS, COLUMNS, canonical_name


def check_panel(
    frame: pd.DataFrame,
    origin: str,
    *,
    symbols: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    policy: RowPolicy = STRICT,
    helpers: Sequence[str] = (),
) -> Panel:
    """Check a table of stocks against the schema and sort it.

    Args:
        frame: One row for each symbol and session, in any order; its index is not looked at.
        origin: Where it came from, for errors.
        symbols: Symbols to keep; None is all.
        columns: Value columns to keep; None is every column of the schema that is there.
        policy: What to do with rows that break a rule.
        helpers: Columns that only tell of splits. No row is bad for what stands in them: what is no price is
            NaN there, what is no ratio 0.

    Raises:
        DataError: At the first rule that is broken and whose rows ``policy`` does not let be set aside, with
            symbol, date and row.
    """
    draft = draft_stocks(frame, origin, symbols, columns, signed=policy.signed)
    sifted = sift(draft, STOCK_RULES, policy)
    draft = sifted.draft
    panel = Panel(
        tuple(filter(None, draft.symbols)),
        draft.columns,
        draft.code,
        draft.dates,
        draft.values,
        missed=sifted.missed,
        quarantine=sifted.quarantine,
        doubts=find_doubts(draft, STOCK_READING_DOUBTS),
    )
    return panel.with_columns(_read_helpers(frame, helpers, draft.rows)) if helpers else panel


def _read_helpers(
    frame: pd.DataFrame, names: Sequence[str], rows: npt.NDArray[np.intp]
) -> dict[str, FloatArray]:
    there = {canonical_name(str(name)): str(name) for name in frame.columns}
    read = {name: read_numbers(frame[there[name]])[0][rows - 1] for name in names}
    with np.errstate(invalid="ignore"):
        return {
            name: np.where(values > 0, values, 0.0 if name in ACTIONS else np.nan)
            for name, values in read.items()
        }


def draft_stocks(
    frame: pd.DataFrame,
    origin: str,
    symbols: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    *,
    signed: bool = False,
) -> Draft:
    """Turn text into dates and numbers, and sort by symbol and date; arguments as of ``check_panel``.

    Raises:
        DataError: If a column or a symbol is missing.
    """
    names = match_columns(frame.columns, origin, columns)
    frame = frame[list(names)].rename(columns=names)
    wanted = tuple(columns or (name for name in COLUMNS if name in frame.columns))
    labels = frame["symbol"].astype(str).mask(frame["symbol"].isna().to_numpy(), "")
    chosen = tuple(symbols) if symbols is not None else tuple(filter(None, labels.unique()))
    if not labels.all():
        chosen = (*chosen, "")  # the last, so that no other name changes its number when it goes
    codes = pd.Index(chosen).get_indexer(pd.Index(labels)).astype(np.intp)
    check_names(chosen, np.bincount(codes[codes >= 0], minlength=len(chosen)), labels.unique(), origin)
    kept = np.flatnonzero(codes >= 0)
    dates = read_days(frame["date"].iloc[kept])
    order = np.lexsort((dates, codes[kept]))
    rows = kept[order]
    values = np.empty((len(rows), len(wanted)))
    unreadable = np.zeros(values.shape, dtype=np.bool_)
    for place, name in enumerate(wanted):
        values[:, place], unreadable[:, place] = (each[rows] for each in read_numbers(frame[name]))
    for name in set(ACTIONS).intersection(wanted):
        place = wanted.index(name)
        empty = np.isnan(values[:, place]) & ~unreadable[:, place]
        values[empty, place] = 0.0
    return Draft(
        chosen,
        wanted,
        codes[rows],
        dates[order],
        values,
        rows + 1,
        origin,
        unreadable=unreadable,
        signed=signed,
        table=frame,
    )
