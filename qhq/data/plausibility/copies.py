"""The same prices twice: a held-out symbol that moves as a trained one, rows that come again elsewhere.

Prices are compared by their changes, so that a copy may be a multiple, shifted, or a logarithm of the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qhq.data.panel import DateArray, FloatArray, IntArray, Panel
from qhq.data.plausibility.doubt import MOST_ROWS_SHOWN, LeakDoubt
from qhq.data.spec import DataSpec
from qhq.data.split import Splits

# Correlation of changes from which a held-out symbol is no unseen one; sectors reach .95.
_SIMILAR = 0.99
_FEWEST_DAYS = 20
# Sessions by which a copy may lag.
_LATEST = 250
_CLIP = 6.0

FEWEST_REPEATED, MOST_REPEATED = 8, 60
"""Changes in a row that a repeated block must have: as many as make a chance match unlikely."""
# Expected matches by chance.
_CHANCE = 1e-9
# Times the information that changes without a memory would need: real ones have some.
_CAUTION = 1.5
# Factor between two widths of the bins in which changes are compared.
_GRAIN = 4.0


def find_copies(splits: Splits, spec: DataSpec) -> Iterator[LeakDoubt]:
    """Doubt copies of trained symbols among the held-out ones, and blocks of rows that come again."""
    yield from _copied_symbols(splits, spec)
    yield from _repeated_blocks(splits, spec)


def _copied_symbols(splits: Splits, spec: DataSpec) -> Iterator[LeakDoubt]:
    panel, held_out = splits.test.panel, set(spec.split.held_out)
    if not held_out:
        return
    names = ("spot",) if panel.groups else spec.targets
    for symbol in sorted(held_out):
        best: tuple[float, str, str, int, int] | None = None
        for name in names:
            days, table, groups = _by_date(panel, name)
            own = groups.index(symbol)
            trained = [place for place, group in enumerate(groups) if group not in held_out]
            for found in _likenesses(table[:, own], table[:, trained]):
                if best is None or abs(found[0]) > abs(best[0]):
                    best = (found[0], groups[trained[found[1]]], name, found[2], len(days))
        if best is None or abs(best[0]) < _SIMILAR:
            continue
        likeness, other, name, lag, count = best
        late = f", {abs(lag)} sessions {'later' if lag > 0 else 'earlier'}" if lag else ""
        yield LeakDoubt(
            f"copy_held_out:{symbol}",
            "A held-out symbol must not move as one that is trained on, or nothing unseen is tested",
            f"a correlation of {likeness:+.4f} between the changes of '{name}' of {symbol} and of"
            f" {other}{late},"
            f" over the {count:,} sessions of the test split",
            f"Hold out another symbol, or {other} with it",
            count=count,
            rows=tuple(f"{symbol} {day}" for day in days[:MOST_ROWS_SHOWN]),
            statistic=round(abs(likeness), 6),
            threshold=_SIMILAR,
        )


def _by_date(panel: Panel, name: str) -> tuple[DateArray, FloatArray, list[str]]:
    """One column as a table of dates by groups, (D, G), NaN where there is no row."""
    groups = list(dict.fromkeys(panel.group_names))
    place = np.array([groups.index(group) for group in panel.group_names], dtype=np.intp)[panel.code]
    days, row = np.unique(panel.dates, return_inverse=True)
    table = np.full((len(days), len(groups)), np.nan)
    table[row, place] = panel.column(name)
    return days, table, groups


def _likenesses(own: FloatArray, others: FloatArray) -> Iterator[tuple[float, int, int]]:
    """Largest correlation of changes with each other column, with its number and lag."""
    for mine in _changes(own[:, None]):
        for theirs in _changes(others):
            late = min(_LATEST, len(mine) - _FEWEST_DAYS)
            if late < 0:
                continue
            # Standardised changes, 0 where unknown: sums of products over the days that both have.
            products = _products(mine, theirs)
            mines, other_squares = (
                _products(mine**2, (theirs != 0).astype(float)),
                _products((mine != 0).astype(float), theirs**2),
            )
            lags = np.concatenate([np.arange(late + 1), np.arange(-late, 0)])
            with np.errstate(all="ignore"):
                # Of days on which a series did not move, its squares add up to 0.
                likeness = products[lags] / np.sqrt(np.maximum(mines[lags], 1e-9) * other_squares[lags])
            # Of lags at which one of the two did not move: no likeness, and no division that counts.
            likeness = np.nan_to_num(likeness, nan=0.0, posinf=0.0, neginf=0.0)
            for other in range(others.shape[1]):
                at = int(np.argmax(np.abs(likeness[:, other])))
                yield float(likeness[at, other]), other, int(lags[at])


def _products(left: FloatArray, right: FloatArray) -> FloatArray:
    """Sums of ``left[d + l] right[d]`` of (D, 1) and (D, G), a row for each lag l, shape (2 D, G)."""
    size = 2 * len(left)
    # Twice the length, so that what runs out at one end does not come in at the other.
    turned = np.conj(np.fft.rfft(right, size, axis=0))
    sums: FloatArray = np.fft.irfft(np.fft.rfft(left, size, axis=0) * turned, size, axis=0)
    return sums


def _changes(table: FloatArray) -> Iterator[FloatArray]:
    """Changes of values and of their logarithms, in robust standard deviations, clipped; 0 where unknown."""
    for logs in (False, True):
        with np.errstate(all="ignore"):
            values = np.log(table) if logs else table
            change = np.diff(values, axis=0)
        # Series below zero have no logarithms; their changes alone are compared.
        if logs and not np.isfinite(change).any():
            continue
        change = np.where(np.isfinite(change), change, np.nan)
        with np.errstate(all="ignore"):
            known = [column[np.isfinite(column)] for column in change.T]
            spreads = [
                # The second keeps series that mostly stand still, whose median change is 0, from an endless
                # scale.
                max(1.4826 * np.median(np.abs(each)), 0.3 * each.std()) if len(each) else 1
                for each in known
            ]
        # Least that can be divided by: a series that never moved has only zeros to be divided.
        scale = np.maximum(np.array(spreads, dtype=np.float64), 1e-300)
        # Clipped, lest one crash that all stocks share makes copies of them.
        yield np.clip(np.nan_to_num(change / scale), -_CLIP, _CLIP)


@dataclass(frozen=True, eq=False)
class _Changes:
    """Changes of one column along the rows of a split, the rows that they lead to, and the run each is in."""

    values: FloatArray
    rows: IntArray
    run: IntArray
    scale: FloatArray
    panel: Panel

    @classmethod
    def of(cls, panel: Panel, name: str, *, logs: bool) -> _Changes | None:
        values = panel.column(name)
        if logs and not (values[np.isfinite(values)] > 0).all():
            return None
        with np.errstate(all="ignore"):
            change = np.diff(np.log(values) if logs else values)
        good = (panel.segment[1:] == panel.segment[:-1]) & np.isfinite(change)
        rows = np.flatnonzero(good) + 1
        if not len(rows):
            return None
        # Changes that follow one another without a gap are a run.
        run = np.cumsum(np.diff(rows, prepend=-1) != 1)
        change = change[good]
        _, group = np.unique(np.asarray(panel.group_names, dtype=np.str_), return_inverse=True)
        group = group[panel.code[rows]]
        scale = np.empty(len(rows))
        for each in np.unique(group):
            moved = np.abs(change[(group == each) & (change != 0)])
            # Without the zeros: where most sessions bring no change, the median of all would be zero.
            scale[group == each] = np.median(moved) if len(moved) else np.inf
        return cls(change, rows, run, scale, panel)


def _repeated_blocks(splits: Splits, spec: DataSpec) -> Iterator[LeakDoubt]:
    """Blocks of rows in training that come again in validation or test, and of validation in test."""
    train, validation, test = (split.panel for split in (splits.train, splits.validation, splits.test))
    # The windows of a split begin in the one before it: those rows are in both by design.
    validation = validation.keep(validation.dates > train.dates.max())
    test = test.keep(test.dates > validation.dates.max())
    found: dict[str, LeakDoubt] = {}
    for early, late, where in (
        (train, test, ("training", "test")),
        (validation, test, ("validation", "test")),
        (train, validation, ("training", "validation")),
    ):
        for name in spec.targets:
            # Logs find a block that was multiplied, differences one that was shifted or crosses zero.
            for logs in (True, False):
                pair = [_Changes.of(panel, name, logs=logs) for panel in (early, late)]
                if pair[0] is None or pair[1] is None:
                    continue
                for match in _matches(pair[0], pair[1]):
                    doubt = _block_doubt(match, name, where)
                    if doubt.code not in found or doubt.count > found[doubt.code].count:
                        found[doubt.code] = doubt
    yield from found.values()


@dataclass(frozen=True)
class _Match:
    """Rows of a later split that repeat those of an earlier one."""

    symbol: str
    rows: tuple[str, str]
    count: int
    needed: int
    source: str
    source_day: str
    how: str


def _block_doubt(match: _Match, name: str, where: tuple[str, str]) -> LeakDoubt:
    early, late = where
    return LeakDoubt(
        f"repeated_block:{match.symbol}",
        f"No rows of the {early} split may come again in the {late} split: a model then knows them by heart",
        f"{match.count:,} rows of {match.symbol} between {match.rows[0]} and {match.rows[1]} whose changes of"
        f" '{name}' are those of {match.source} around {match.source_day}{match.how}",
        "Find out how the rows got there, and drop one of the two",
        count=match.count,
        rows=tuple(f"{match.symbol} {day}" for day in match.rows),
        statistic=float(match.count),
        threshold=float(match.needed),
    )


def _matches(early: _Changes, late: _Changes) -> Iterator[_Match]:
    """Find equal runs of changes, forwards, backwards and upside down, whatever the size of the prices.

    Changes are compared in bins of a twentieth of their usual size or less; series of other sizes in other
    bins.
    """
    scales = np.concatenate([early.scale, late.scale])
    if not np.isfinite(scales).any():
        return
    sizes = np.floor(np.log(scales[np.isfinite(scales)]) / np.log(_GRAIN))
    found: dict[tuple[str, str], dict[int, int]] = {}
    surprise = np.full(len(late.rows), np.inf)
    needed = 0
    for level in range(int(sizes.min()), int(sizes.max()) + 2):
        sides = [_binned(early, level), _binned(late, level)]
        length = _length_needed(sides[0].bins, sides[1].bins)
        if length is None:
            continue
        needed = max(needed, length)
        at = sides[1].places
        surprise[at] = np.minimum(surprise[at], _surprise(late.panel.code[late.rows[at]], sides[1].bins))
        for how, (sign, backwards) in _TURNS.items():
            first = sides[0].hashes(length, sign=sign, backwards=backwards)
            second = sides[1].hashes(length)
            if not len(first.value) or not len(second.value):
                continue
            order = np.argsort(first.value)
            # A value above all others is looked for behind the end.
            place = np.minimum(np.searchsorted(first.value, second.value, sorter=order), len(order) - 1)
            equal = np.flatnonzero(first.value[order[place]] == second.value)
            for here, there in zip(second.row[equal], first.row[order[place[equal]]], strict=True):
                rows = found.setdefault((_symbol(late, here), how), {})
                rows.update(dict.fromkeys(range(here, here + length), int(there)))
    enough = np.log(len(_TURNS) * len(early.rows)) + np.log(len(late.rows)) - np.log(_CHANCE)
    for (symbol, how), rows in found.items():
        ordered = np.array(sorted(rows))
        runs = np.split(ordered, np.flatnonzero(np.diff(ordered) != 1) + 1)
        # The length asks what is usual of all series together. Quotes that move by a tick or not at all, as
        # those of cheap options do, repeat one another for as long by chance: each is asked for its own.
        kept = [run for run in runs if surprise[run].sum() >= _CAUTION * enough]
        if not kept:
            continue
        places = np.concatenate(kept)
        days = late.panel.dates[late.rows[places]]
        there = rows[int(places[0])]
        day = early.panel.dates[early.rows[there]]
        yield _Match(
            symbol, (str(days[0]), str(days[-1])), len(places), needed, _symbol(early, there), str(day), how
        )


# Sign of the changes, and whether their order is turned round: backwards a price takes its changes back.
_TURNS: dict[str, tuple[int, bool]] = {
    "": (1, False),
    ", backwards": (-1, True),
    ", upside down": (-1, False),
    ", upside down and backwards": (1, True),
}


def _surprise(code: IntArray, bins: IntArray) -> FloatArray:
    """Minus the logarithm of how often each change (M,) comes in its own series, by the series' code (M,)."""
    _, series, sizes = np.unique(code, return_inverse=True, return_counts=True)
    _, kinds, counts = np.unique(np.stack([series, bins]), axis=1, return_inverse=True, return_counts=True)
    return np.asarray(np.log(sizes[series]) - np.log(counts[kinds.ravel()]))


@dataclass(frozen=True, eq=False)
class _Hashes:
    """A number for each stretch of changes, and the change that it begins with."""

    value: npt.NDArray[np.uint64]
    row: IntArray


@dataclass(frozen=True, eq=False)
class _Binned:
    """Changes in bins of one width, with their numbers and the run of rows that each is in."""

    bins: IntArray
    places: IntArray
    run: IntArray

    def hashes(self, length: int, *, sign: int = 1, backwards: bool = False) -> _Hashes:
        """Hash every stretch of ``length`` changes that lies in one run."""
        count = len(self.bins) - length + 1
        if count < 1:
            return _Hashes(np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.intp))
        # Odd random weights: stretches are told apart whatever their order, and equal ones always meet.
        weights = np.random.default_rng(0).integers(1, 2**63, length, dtype=np.uint64) | np.uint64(1)
        if backwards:
            weights = weights[::-1]
        value = np.zeros(count, dtype=np.uint64)
        turned = (sign * self.bins).astype(np.uint64)  # of negative ones modulo 2**64, as the products are
        for place, weight in enumerate(weights):
            value += turned[place : place + count] * weight
        # Prices that stand still are no block: half of the changes must be some.
        moved = np.concatenate([[0], np.cumsum(self.bins != 0)])
        whole = (self.run[:count] == self.run[length - 1 :]) & (
            2 * (moved[length:] - moved[:count]) >= length
        )
        return _Hashes(value[whole], self.places[:count][whole])


def _binned(changes: _Changes, level: int) -> _Binned:
    """The changes of series whose usual change is of a size that these bins are made for."""
    width = _GRAIN**level / 20
    places = np.flatnonzero(
        (changes.scale >= _GRAIN ** (level - 1)) & (changes.scale < _GRAIN ** (level + 1))
    )
    # Where some are left out the rest are no longer beside one another.
    run = np.cumsum((np.diff(places, prepend=-1) != 1) | (np.diff(changes.run[places], prepend=-1) != 0))
    return _Binned(np.round(changes.values[places] / width).astype(np.int64), places, run)


def _length_needed(left: IntArray, right: IntArray) -> int | None:
    """Changes in a row that are hardly equal by chance; None where no block of a useful length would tell."""
    if not len(left) or not len(right):
        return None
    _, place = np.unique(np.concatenate([left, right]), return_inverse=True)
    shares = [
        np.bincount(half, minlength=place.max() + 1) / len(half) for half in np.split(place, [len(left)])
    ]
    # Also as likely as in the calmer of the two: quiet times resemble one another.
    chance = max(float(shares[0] @ shares[1]), float(shares[0] @ shares[0]), float(shares[1] @ shares[1]))
    if chance >= 0.7:
        return None
    pairs = np.log(len(_TURNS) * len(left)) + np.log(len(right))
    length = int(np.ceil(_CAUTION * (pairs - np.log(_CHANCE)) / -np.log(chance)))
    return max(length, FEWEST_REPEATED) if length <= MOST_REPEATED else None


def _symbol(changes: _Changes, place: int) -> str:
    name: str = changes.panel.symbols[changes.panel.code[changes.rows[place]]]
    return name
