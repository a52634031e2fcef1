"""What the contracts of one date must have in common, or it tells of their own quotes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qhq.data.panel import FloatArray, IntArray, Panel
from qhq.data.plausibility.doubt import SHOWN, LeakDoubt

RELATIVE = 1e-6
"""Difference over the spot that is rounding."""
RATE = 1e-6
"""The same of a rate, a hundredth of a basis point."""


def find_quoted_columns(panel: Panel) -> Iterator[LeakDoubt]:
    """Doubt a spot that differs within a date, and a rate that differs within a date and expiry."""
    if not panel.groups:
        return
    _, group = np.unique(np.asarray(panel.groups, dtype=np.str_), return_inverse=True)
    group, day = group[panel.code], panel.dates.astype("datetime64[D]").astype(np.int64)
    spot, rate = panel.column("spot"), panel.column("rate")
    yield from _differing(panel, "spot", spot, (group, day), RELATIVE * np.abs(spot))
    keys = (group, day, np.nan_to_num(panel.column("expiry"), nan=-1).astype(np.int64))
    yield from _differing(panel, "rate", rate, keys, np.full(len(rate), RATE))


def _differing(
    panel: Panel, name: str, values: FloatArray, keys: tuple[IntArray, ...], tolerance: FloatArray
) -> Iterator[LeakDoubt]:
    """One doubt for each underlying whose contracts differ."""
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.lexsort([key[known] for key in reversed(keys)])]
    if not len(order):
        return
    new = np.zeros(len(order), dtype=bool)
    new[0] = True
    for key in keys:
        new[1:] |= key[order][1:] != key[order][:-1]
    edges = np.flatnonzero(new)
    low, high = np.minimum.reduceat(values[order], edges), np.maximum.reduceat(values[order], edges)
    # Half of the allowed difference to either side of what most contracts have.
    apart = high - low > tolerance[order[edges]]
    of_group = keys[0][order[edges]]
    several = np.diff(np.append(edges, len(order))) > 1
    for code, underlying in enumerate(np.unique(np.asarray(panel.groups, dtype=np.str_))):
        places = np.flatnonzero(apart & (of_group == code))
        if not len(places):
            continue
        rows = order[edges[places]]
        where = "one date and expiry" if name == "rate" else "one date"
        first = places[0]
        yield LeakDoubt(
            f"{name}_differs:{underlying}",
            f"All contracts of {where} must have one {name}: where it follows the contract, it tells of its"
            " quotes",
            f"{name} from {low[first]:.8g} to {high[first]:.8g} between contracts of {underlying} on"
            f" {panel.dates[rows[0]]}, and so on {len(places):,} of"
            f" {int((several & (of_group == code)).sum()):,}"
            " such dates",
            f"Take '{name}' from another source than the quotes"
            + (
                " (data.format.spot: a file of daily prices)"
                if name == "spot"
                else " (data.rate, or a yield curve)"
            ),
            count=len(places),
            rows=tuple(f"{underlying} {panel.dates[row]}" for row in rows[:SHOWN]),
            statistic=float((high - low)[places].max()),
            threshold=RATE if name == "rate" else RELATIVE,
        )
