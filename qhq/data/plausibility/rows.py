"""Columns whose rows were made out of later ones, rows on which nothing was traded, and quotes that tell.

Each test is exact, so that honest data cannot fail it by chance: a mean of 0 and a spread of 1 to the sixth
digit over all rows, a value that is its own month's close, straight lines of another slope each. Of the
contracts of one date it asks what they must have in common, or it tells of their own quotes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from qhq.data.columns import PRICES, unit_of
from qhq.data.panel import DateArray, FloatArray, IntArray, Mask, Panel
from qhq.data.plausibility.doubt import MOST_ROWS_SHOWN, LeakDoubt
from qhq.data.spec import DataSpec

# Difference over the spot that is rounding.
_RELATIVE = 1e-6
# The same of a rate, a hundredth of a basis point.
_RATE = 1e-6


def find_quoted_columns(panel: Panel) -> Iterator[LeakDoubt]:
    """Doubt a spot that differs within a date, and a rate that differs within a date and expiry."""
    if not panel.groups:
        return
    _, group = np.unique(np.asarray(panel.groups, dtype=np.str_), return_inverse=True)
    group, day = group[panel.code], panel.dates.astype("datetime64[D]").astype(np.int64)
    spot, rate = panel.column("spot"), panel.column("rate")
    yield from _differing(panel, "spot", spot, (group, day), _RELATIVE * np.abs(spot))
    keys = (group, day, np.nan_to_num(panel.column("expiry"), nan=-1).astype(np.int64))
    yield from _differing(panel, "rate", rate, keys, np.full(len(rate), _RATE))


def _differing(
    panel: Panel, name: str, values: FloatArray, keys: tuple[IntArray, ...], tolerance: FloatArray
) -> Iterator[LeakDoubt]:
    """One doubt for each underlying whose contracts differ."""
    known = np.flatnonzero(np.isfinite(values))
    # lexsort sorts by its last key first.
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
    # One doubt an underlying: a wrong curve breaks thousands of dates, and one line says so as well.
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
            rows=tuple(f"{underlying} {panel.dates[row]}" for row in rows[:MOST_ROWS_SHOWN]),
            statistic=float((high - low)[places].max()),
            threshold=_RATE if name == "rate" else _RELATIVE,
        )


# Difference over the spread of a column that is rounding.
_SAME = 1e-6
_FEWEST_ROWS = 60
# Months, weeks or other groups that must show the same.
_FEWEST_GROUPS = 8
# Share of groups or days that must show it.
_ALL_BUT = 0.9
# Largest share of the other days on which a price stands still.
_MOSTLY_MOVES = 0.3
# Equal steps in a row that look drawn with a ruler, and the steps' least size in units of the last digit.
_STRAIGHT = 3
_LEAST_STEP = 20
# Share of the rows on such lines; a few may be chance, or harmless.
_LEAST_INSIDE = 0.02


def find_made_columns(panel: Panel, spec: DataSpec, train_end: np.datetime64) -> Iterator[LeakDoubt]:
    """Doubt columns that were scaled, averaged or filled in with rows that came later."""
    # What was scaled with the rows of training alone is no leak, however exact the 0 and the 1.
    late = panel.dates > train_end
    for name in dict.fromkeys((*spec.features, *spec.static)):
        values = panel.column(name)
        if np.isfinite(values).sum() < _FEWEST_ROWS:
            continue
        doubts = (
            _scaled(panel, name, values, late),
            _grouped(panel, spec, name, values),
            _interpolated(panel, name, values),
        )
        yield from (doubt for doubt in doubts if doubt is not None)


def _scaled(panel: Panel, name: str, values: FloatArray, late: Mask) -> LeakDoubt | None:
    """Mean 0 and spread 1 over all rows, or a range of exactly 0 to 1 that later rows span."""
    scopes = [("all symbols", slice(None))]
    if not panel.groups and len(panel.symbols) > 1:
        edges = np.searchsorted(panel.code, np.arange(len(panel.symbols) + 1))
        scopes += [(name, slice(*ends)) for name, ends in zip(panel.symbols, pairwise(edges), strict=True)]
    for scope, part in scopes:
        rows = np.flatnonzero(np.isfinite(values[part])) + (part.start or 0)
        how = _whole_sample(values[rows], late[rows]) if len(rows) >= _FEWEST_ROWS else ""
        if how:
            return LeakDoubt(
                f"whole_sample_scale:{name}",
                "A column must not be scaled with its later rows: a mean or a range of all rows tells in the"
                " first what the last will be",
                f"{how} over the {len(rows):,} rows of '{name}' of {scope}, those after the training split"
                " too",
                f"Give '{name}' unscaled: data.scaling is fitted on the training split",
                count=len(rows),
                rows=_named(panel, rows[:MOST_ROWS_SHOWN]),
                statistic=float(len(rows)),
                threshold=float(_FEWEST_ROWS),
            )
    return None


def _whole_sample(own: FloatArray, late: Mask) -> str:
    """How a column was scaled with all of its rows, if it was."""
    mean, spread, low, high = own.mean(), own.std(), own.min(), own.max()
    # Both definitions of the standard deviation: pandas divides by n - 1, NumPy by n.
    unit = min(abs(spread - 1), abs(spread * np.sqrt(len(own) / (len(own) - 1)) - 1))
    standard, ranged = abs(mean) < 1e-5 and unit < 1e-5, (low, high) in _RANGES
    robust, ranked = _has_unit_quartiles(own), _is_ranks(own)
    if (
        not (standard or ranged or robust or ranked)
        or not late.any()
        or late.all()
        or len(np.unique(own)) < len(own) / 4
    ):
        return ""
    if standard:
        return "mean 0 and standard deviation 1"
    if robust:
        return "median 0 and a range of quartiles of 1"
    if ranked:
        return "the ranks"
    ends = (own == low) | (own == high)
    # A share, an oscillator or a probability reaches its ends often; a range of the sample, once each.
    return f"a range of exactly {low:g} to {high:g}" if ends.sum() == 2 and late[ends].any() else ""


def _has_unit_quartiles(own: FloatArray) -> bool:
    """Median 0, and 1 from the lower to the upper quartile."""
    # Cheap, and false of nearly every column: the quantiles below sort all rows.
    if abs(float((own > 0).mean()) - 0.5) > 0.01:
        return False
    low, middle, high = np.quantile(own, (0.25, 0.5, 0.75))
    return bool(abs(middle) < 1e-6 and abs(high - low - 1) < 1e-6)


def _is_ranks(own: FloatArray) -> bool:
    """Every row's place among all of them, as a number or a share, and not in the order of the rows."""
    high, count = own.max(), len(own)
    # As numbers 1 to n, or as shares of n, as pandas writes them with pct=True.
    if high not in (1.0, count) or abs(own.min() - high / count) > 1e-6 * high:
        return False
    places = np.arange(1, count + 1) * (high / count)
    return bool(np.abs(np.sort(own) - places).max() <= 1e-6 * high and not (np.diff(own) > 0).all())


# What min-max scaling makes of a column: scikit-learn's default, the symmetric one, and percent.
_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 100.0))


def _grouped(panel: Panel, spec: DataSpec, name: str, values: FloatArray) -> LeakDoubt | None:
    """Each row holds what its whole week, month or category has: known only at the end."""
    good = np.isfinite(values)
    some = values[good][:2000]
    if panel.groups or len(np.unique(some)) > 0.6 * len(some):
        return None  # every row has a value of its own
    spread = float(values[good].std())
    if spread == 0:
        return None
    references = _references(panel, spec, name)
    for period, key in _periods(panel):
        edges = np.flatnonzero(np.diff(key, prepend=-1))
        counts = np.diff(np.append(edges, len(key)))
        several = counts > 1
        if several.sum() < _FEWEST_GROUPS or counts.mean() < 2:
            continue
        low, high = np.minimum.reduceat(values, edges), np.maximum.reduceat(values, edges)
        still = (high - low)[several] <= _SAME * spread
        if still.mean() < _ALL_BUT or len(np.unique(low[several])) < several.sum() / 2:
            continue
        for what, reference in references.items():
            for how, aggregate in _AGGREGATES.items():
                equal = np.abs(aggregate(reference, edges, counts) - low) <= _SAME * spread
                if equal[several].mean() >= _ALL_BUT:
                    rows = edges[several & equal]
                    return _group_doubt(
                        panel,
                        name,
                        f"the {how} of {what} over the row's own {period}",
                        rows,
                        float(equal[several].mean()),
                    )
    return _encoded(panel, name, values, references)


def _encoded(
    panel: Panel, name: str, values: FloatArray, references: dict[str, FloatArray]
) -> LeakDoubt | None:
    """A value for each category that is the mean of the target over all rows of that category."""
    good = np.isfinite(values)
    kinds, place, counts = np.unique(values[good], return_inverse=True, return_counts=True)
    if not 3 <= len(kinds) <= good.sum() / 3:
        return None
    # A mean over the symbols of one day is known at its end; only over several days is it a leak.
    order = np.argsort(place, kind="stable")
    day, first = panel.dates[good][order], np.cumsum(counts) - counts
    counts = np.where(np.minimum.reduceat(day, first) < np.maximum.reduceat(day, first), counts, 0)
    for what, reference in references.items():
        own = reference[good]
        known = np.isfinite(own)
        # The reference may lack rows that the column has; its mean is then of those that are there.
        number = np.bincount(place[known], minlength=len(kinds))
        with np.errstate(all="ignore"):
            means = np.bincount(place[known], own[known], len(kinds)) / number
        spread = float(own[known].std())
        several = (counts > 2) & (number > 0)
        if several.sum() < 3 or spread == 0:
            continue
        equal = np.abs(means - kinds)[several] <= _SAME * spread
        # Nor may the categories be the target's own few values.
        if equal.mean() >= _ALL_BUT and float(np.abs(own[known] - kinds[place[known]]).max()) > 1e-3 * spread:
            rows = np.flatnonzero(good)[np.isin(place, np.flatnonzero(several))]
            return _group_doubt(
                panel, name, f"the mean of {what} over all rows of the same value", rows, float(equal.mean())
            )
    return None


def _group_doubt(panel: Panel, name: str, what: str, rows: IntArray, share: float) -> LeakDoubt:
    return LeakDoubt(
        f"group_value:{name}",
        "A row must not hold what its whole group has only when the last row of it is there",
        f"'{name}' is {what}, in {100 * share:.0f} % of them, such as {_named(panel, rows[:1])[0]}",
        f"Give '{name}' the value of the period before, or the mean of earlier rows alone",
        count=len(rows),
        rows=_named(panel, rows[:MOST_ROWS_SHOWN]),
        statistic=share,
        threshold=_ALL_BUT,
    )


def _references(panel: Panel, spec: DataSpec, name: str) -> dict[str, FloatArray]:
    """What a group's value may have been made of, each of shape (R,)."""
    found: dict[str, FloatArray] = {}
    same = np.zeros(len(panel.code), dtype=bool)
    same[1:] = panel.segment[1:] == panel.segment[:-1]
    for other in dict.fromkeys((*spec.targets, *spec.features)):
        if other == name:
            continue
        values = panel.column(other)
        found[f"'{other}'"] = values
        before = np.concatenate([[np.nan], values[:-1]])
        with np.errstate(all="ignore"):
            changes = {"change": values - before, "return": values / before - 1}
            changes["log return"] = np.log(np.where(values > 0, values, np.nan) / before)
        for kind, change in changes.items() if other in spec.targets else ():
            own = np.where(same, change, np.nan)
            found[f"the {kind} of '{other}'"] = own
            after = np.concatenate([own[1:], [np.nan]])
            found[f"the next {kind} of '{other}'"] = after
    return found


def _periods(panel: Panel) -> Iterator[tuple[str, IntArray]]:
    """Number of the week, month, quarter and year of each row within its series, ascending, shape (R,)."""
    days = panel.dates.astype("datetime64[D]").astype(np.int64)
    months = panel.dates.astype("datetime64[M]").astype(np.int64)
    for period, number in (
        ("week", (days + 3) // 7),
        ("month", months),
        ("quarter", months // 3),
        ("year", months // 12),
    ):
        yield period, np.cumsum((np.diff(number, prepend=-1) != 0) | (np.diff(panel.code, prepend=-1) != 0))


def _at_end(values: FloatArray, edges: IntArray, counts: IntArray) -> FloatArray:
    last: FloatArray = values[edges + counts - 1]
    return last


def _mean(values: FloatArray, edges: IntArray, counts: IntArray) -> FloatArray:
    mean: FloatArray = np.add.reduceat(values, edges) / counts
    return mean


_AGGREGATES: dict[str, Callable[[FloatArray, IntArray, IntArray], FloatArray]] = {
    "last value": _at_end,
    "mean": _mean,
    "sum": lambda values, edges, _: np.add.reduceat(values, edges),
    "largest value": lambda values, edges, _: np.maximum.reduceat(values, edges),
    "smallest value": lambda values, edges, _: np.minimum.reduceat(values, edges),
}


def _interpolated(panel: Panel, name: str, values: FloatArray) -> LeakDoubt | None:
    """Runs of equal steps, each run with a step of its own."""
    steps = np.diff(values, prepend=np.nan)
    steps[1:][panel.segment[1:] != panel.segment[:-1]] = np.nan
    known = np.abs(steps[np.isfinite(steps) & (steps != 0)])
    if len(known) < _FEWEST_ROWS / 2:
        return None
    digit = _last_digit(values[np.isfinite(values)])
    # Two steps of rounded values differ by a unit of the last digit where the line itself has equal ones; of
    # values in full by rounding.
    tolerance = max(1e-9 * float(np.nanmax(np.abs(values))), 0.0) if digit == 0 else 1.01 * digit
    long = (np.abs(steps) > 1e-6 * float(np.median(known))) & (np.abs(steps) >= _LEAST_STEP * digit)
    straight = np.zeros(len(steps), dtype=bool)
    straight[1:] = long[1:] & long[:-1] & (np.abs(np.diff(steps)) <= tolerance)
    starts = np.flatnonzero(straight & ~np.concatenate([[False], straight[:-1]]))
    ends = np.flatnonzero(straight & ~np.concatenate([straight[1:], [False]]))
    lengths = ends - starts + 2  # equal steps of the run
    # Rounded to few digits, equal steps come by chance: there a line must be longer.
    least = _STRAIGHT if digit == 0 else _STRAIGHT + 2
    starts, lengths = starts[lengths >= least], lengths[lengths >= least]
    slopes = steps[starts]
    # Lines of one slope are a trend, such as interest that accrues, and nothing was filled in.
    distinct = len(np.unique(np.round(slopes / max(float(np.median(known)), 1e-300), 6)))
    inside = int((lengths - 1).sum())
    if len(starts) < 3 or distinct < 3 or inside < _LEAST_INSIDE * np.isfinite(values).sum():
        return None
    return LeakDoubt(
        f"interpolated:{name}",
        "A missing value must not be filled in on the straight line to the next one, which was not known yet",
        f"{len(starts):,} runs of equal steps in '{name}', {inside:,} rows, such as the {lengths[0]} steps of"
        f" {slopes[0]:.6g} to {_named(panel, starts[:1] + lengths[0] - 2)[0]}",
        "Leave missing rows out (data.gaps lays them out), or fill them from before",
        count=inside,
        rows=_named(panel, starts[:MOST_ROWS_SHOWN]),
        statistic=float(inside),
        threshold=float(least),
    )


def _last_digit(values: FloatArray) -> float:
    """Unit of the last decimal that a column is written with, 0 where it is not rounded."""
    some = values[:: max(1, len(values) // 2000)]
    for digits in range(6):
        if np.allclose(np.round(some, digits), some, rtol=0, atol=1e-9 * max(1.0, float(np.abs(some).max()))):
            return float(10.0**-digits)
    return 0.0


def find_filled_rows(panel: Panel, spec: DataSpec) -> Iterator[LeakDoubt]:
    """Doubt rows of weekends and holidays that only repeat the session before, or the one after."""
    if panel.groups:
        return
    names = [name for name in panel.columns if name in PRICES]
    names = names or [name for name in spec.targets if unit_of(name) == "number"]
    if not names:
        return
    values = panel.values[:, panel.positions(names)]
    follows = np.zeros(len(panel.code), dtype=bool)
    follows[1:] = panel.code[1:] == panel.code[:-1]
    still = follows.copy()
    still[1:] &= (values[1:] == values[:-1]).all(axis=1)
    weekday = (panel.dates.astype("datetime64[D]").astype(np.int64) + 3) % 7
    weekend, holiday = weekday >= 5, _is_holiday(panel.dates) & (weekday < 5)
    together = _still_together(panel, still, follows) & (weekday < 5)
    # Filled backwards, the row after repeats it, and Monday's price is known on Saturday.
    backwards = still | np.append(still[1:], False)
    plain = follows & (weekday > 0) & (weekday < 5) & ~holiday
    for kind, days, alike in (
        ("weekends", weekend, backwards), ("holidays", together, still), ("holidays", holiday, still)
    ):  # fmt: skip
        rows, others = days & follows, plain & ~days
        if rows.sum() < 3 or others.sum() < _FEWEST_ROWS:
            continue
        share, usual = float(alike[rows].mean()), float(still[others].mean())
        if share < _ALL_BUT or usual > _MOSTLY_MOVES:
            continue
        shown = np.flatnonzero(rows & alike)
        yield LeakDoubt(
            f"filled_rows:{kind}",
            f"Rows must be of sessions: on {kind} nothing was traded, and the last value is the answer there,"
            " or the next session's is given",
            f"{len(shown):,} rows with the {' and '.join(names)} of the row beside them"
            f" ({100 * share:.0f} % of those days, {100 * usual:.1f} % of the others), such as"
            f" {_named(panel, shown[:1])[0]}",
            "Drop the rows that were filled in",
            count=len(shown),
            rows=_named(panel, shown[:MOST_ROWS_SHOWN]),
            statistic=round(share, 6),
            threshold=_ALL_BUT,
        )
        if kind == "holidays":
            return


def _still_together(panel: Panel, still: Mask, follows: Mask) -> Mask:
    """Rows of days on which every series repeats its row before, where that is no chance, shape (R,)."""
    none = np.zeros(len(still), dtype=bool)
    if len(panel.symbols) < 3:
        return none
    _, place = np.unique(panel.dates, return_inverse=True)
    there = np.bincount(place[follows], minlength=place.max() + 1)
    count = np.bincount(place[still], minlength=place.max() + 1)
    days = (there >= 3) & (count == there)
    usual = np.array([still[(panel.code == code) & follows].mean() for code in range(len(panel.symbols))])
    # Three series must stand still at the least: by chance, as often as the three that do so most seldom.
    expected = len(there) * float(np.prod(np.sort(usual)[:3]))
    return np.asarray(days[place]) if days.sum() > 3 + 10 * expected else none


def _is_holiday(days: DateArray) -> Mask:
    """New Year's Day and Christmas Day, on which hardly an exchange is open, shape (R,)."""
    month = days.astype("datetime64[M]").astype(np.int64) % 12
    day = (days - days.astype("datetime64[M]")).astype(np.int64) + 1
    return np.asarray(((month == 0) & (day == 1)) | ((month == 11) & (day == 25)))


def _named(panel: Panel, rows: IntArray) -> tuple[str, ...]:
    return tuple(f"{panel.symbols[panel.code[row]]} {panel.dates[row]}" for row in rows)
