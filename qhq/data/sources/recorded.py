"""Chains that ``qhq data record`` kept, as an option table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from qhq.data.recording.store import ChainStore
from qhq.errors import DataError, nearest

EXCHANGE = "America/New_York"
CLOSE = pd.Timedelta(hours=16)


def read_recorded(path: Path, underlyings: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a recording: of each contract and session the latest row that has a quote.

    Args:
        path: Folder that ``qhq data record`` wrote to.
        underlyings: Underlyings to read, in this order; None is all, by name.

    Returns:
        One row for each (contract_id, date), by underlying, then by session. ``quote_time`` is empty where
        the quotes were asked for more than a day later, over a weekend. ``attrs`` hold ``notes``, which name
        the files that cannot be read.

    Raises:
        DataError: If nothing is recorded there, an underlying is not, or none of its files can be read.
    """
    store = ChainStore(path)
    known = store.underlyings()
    if not known:
        raise DataError(
            "data.path must be a folder of recorded chains",
            got=f"{path}, which {'holds none' if path.is_dir() else 'is no folder'}",
            fix="Record some with 'qhq data record AAPL', or correct the path",
        )
    chosen = known if underlyings is None else list(underlyings)
    for name in chosen:
        if name not in known:
            raise DataError(
                f"Every underlying must be recorded in {path}", got=f"'{name}'", fix=nearest(name, known)
            )
    rows = store.read(chosen)
    frame = _latest(_finished(rows, path))
    frame.attrs["notes"] = rows.attrs["notes"]
    return frame


def _finished(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Leave out quotes taken while the session was open: they are not those of its end.

    US options trade until 16:00 in New York; a quote after an early close, before that hour, is left out too.
    """
    taken = rows["quote_time"].dt.tz_convert(EXCHANGE).dt.tz_localize(None)
    over: pd.DataFrame = rows[taken >= rows["date"] + CLOSE]
    if over.empty and len(rows):
        raise DataError(
            f"Chains in {path} must be recorded after the close",
            got="quotes of open sessions only",
            fix="Record after 16:00 in New York; '--every day' does",
        )
    return over


def _latest(rows: pd.DataFrame) -> pd.DataFrame:
    """Newest row of each contract and session, those with a quote that is not crossed before the others.

    Outside hours Yahoo shows no quotes; such a row must not take the place of the afternoon's.
    """
    quotes = [name for name in ("bid", "ask", "mid") if name in rows.columns]
    quoted = rows[quotes].notna().any(axis=1) if quotes else True
    if {"bid", "ask"} <= set(quotes):
        quoted &= ~(rows["bid"] > rows["ask"])
    newest = rows.assign(_quoted=quoted).sort_values(["_quoted", "quote_time"], kind="stable")
    newest = newest.drop_duplicates(["contract_id", "date"], keep="last").drop(columns="_quoted")
    return _untimed(newest.sort_index().reset_index(drop=True))


def _untimed(rows: pd.DataFrame) -> pd.DataFrame:
    """Empty the stamps of quotes asked for over a weekend: they are older, nobody knows by how much."""
    days = rows["quote_time"].dt.tz_localize(None).dt.normalize()
    old = days > rows["date"] + pd.Timedelta(days=1)
    return rows.assign(quote_time=rows["quote_time"].mask(old))
