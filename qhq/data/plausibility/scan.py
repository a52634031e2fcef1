"""Which columns know a target's next value: one ridge regression for each column, judged out of sample.

For each target and each column c that a window holds, the next change y of the target is regressed on the
newest values of c beside the target's own past. What c explains beyond the own past, on blocks of sessions
that the regression was not fitted on, is compared with what was ever seen of that kind of target
(`BOUNDS`). Windows of the training and the validation split take part, never one of the test split.

Let SSE be the error out of sample, S(c) that with the column, and S(0) the least of: the mean change, the
own past over two lags and over all, and (1 - n) Var(y). With n = max(0, -Corr(y(t+1), y(t))) the last of
these is what would be left if somebody knew what part of today's value is noise (bid-ask bounce, a
volatility of one day's range): an honest column may tell that, and it is no news of tomorrow. The statistic
is 1 - S(c) / S(0).

A column is tried as it is, as its changes and, beside a price, as its logarithm minus that of the target,
each over two lags and over up to `_LAGS`. The long ones undo a centred mean: with the own past subtracted,
an average over h sessions on either side holds the next value alone in its value of h - 1 sessions ago.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from qhq.data.columns import FROM_QUOTES, PRICES, change_scale, unit_of
from qhq.data.panel import DateArray, FloatArray, IntArray, Mask
from qhq.data.plausibility.doubt import BOUNDS, LeakDoubt
from qhq.data.scaling.option import black_scholes_reference
from qhq.data.spec import DataSpec
from qhq.data.split import Splits
from qhq.data.windows import Windows
from qhq.errors import apart

# Newest input rows that a long regression takes.
_LAGS = 20
# The same of a short one.
_NEAR = 2
BLOCKS = 10
"""Blocks of sessions; each is forecast from the nine others."""

# Penalty over the number of windows, of regressors with unit variance.
_RIDGE = 1e-3
# More are thinned out evenly: what is looked for shows in far fewer.
_MOST_WINDOWS = 8_000
_LONG_WINDOWS = 4_000
FEWEST_WINDOWS = 50
"""With fewer of a symbol nothing is said of it alone, and with fewer in all nothing at all."""

# Below it a gain may be luck.
LEAST_T = 4.0
"""Mean of the blocks' gains over its standard error, from which on a gain counts."""

# No single crash is to decide.
CLIP = 6.0
"""Robust standard deviations beyond which a value counts as that far."""

# Part of a price's change that its own past explains, and autocorrelation, that only an average has.
_SMOOTH = (0.5, 0.4)

_SESSION_PRICES = frozenset({"open", "high", "low"})


@dataclass(frozen=True, eq=False)
class _Target:
    """One target over N windows: its next change, and its own past on the same scale.

    Attributes:
        name: Of the target.
        bound: Key of `BOUNDS`.
        change: Change of the target from the last value on, one row for each horizon looked at, shape (H, N).
        own: Its past changes, newest first, shape (N, L).
        level: Its last value where that comes back to a mean, and the later prices of its session as
            changes from it, shape (N, P).
        logs: Logarithms of its past values, newest first, shape (N, L + 1); None where there are none.
        explained: Part of its next change that its own past explains out of sample, over all windows.
    """

    name: str
    bound: str
    change: FloatArray
    own: FloatArray
    level: FloatArray
    logs: FloatArray | None
    explained: float = 0.0


def find_future_columns(splits: Splits, spec: DataSpec) -> Iterator[LeakDoubt]:
    """Doubt columns that know the next value of a target, and targets that are averages."""
    looked_at = [split.windows for split in (splits.train, splits.validation)]
    total = sum(map(len, looked_at))
    # Nothing is said of so few: a doubt that comes by luck teaches people to accept all of them.
    if total < FEWEST_WINDOWS:
        return
    stocks = 0 if splits.train.panel.groups else len(splits.train.panel.symbols)
    # At least twice the fewest of every stock, so that each can still be judged alone.
    share = min(1.0, max(_MOST_WINDOWS, 2 * FEWEST_WINDOWS * stocks) / total)
    scan = Scan([_thin(windows, share) for windows in looked_at], spec)
    found: dict[str, LeakDoubt] = {}
    for target in scan.targets():
        for column in scan.columns(target.name):
            doubt = scan.judge(target, column)
            if doubt is not None and doubt.statistic > (found[column].statistic if column in found else -1):
                found[column] = doubt
        smooth = scan.judge_smoothness(target)
        if smooth is not None:
            yield smooth
    yield from found.values()


class Scan:
    """The N windows that are looked at, and one regression after another.

    Args:
        windows: Of each split that takes part.
        spec: How they were cut.
    """

    def __init__(self, windows: Sequence[Windows], spec: DataSpec) -> None:
        self.spec, self.lags = spec, min(_LAGS, spec.window - 1)
        self.windows = tuple(windows)
        groups, group = np.unique(self._joined(lambda each: each.group), return_inverse=True)
        # By group, so that each is a slice.
        self.order = np.argsort(group, kind="stable")
        self.groups, self.group = groups, group[self.order]
        self.edges = np.searchsorted(self.group, np.arange(len(groups) + 1))
        days = self.of(lambda each: each.dates[:, 0]).astype("datetime64[D]").astype(np.int64)
        # Blocks of whole dates: the same day of two symbols must not stand on both sides of a regression.
        borders = np.quantile(days, np.linspace(0, 1, BLOCKS + 1)[1:-1], method="nearest")
        self.block = np.searchsorted(borders, days, side="right")
        self._calendar = _Calendar(self.of(lambda each: each.input_dates[:, -1]))
        static = self.of(lambda each: each.static)
        # Beside today's spot a price follows by its greeks: what these tell is no news of the quotes.
        self.statics = self._each_standard(static if spec.task == "price" else static[:, :0])

    def _joined(self, get: Callable[[Windows], Any]) -> Any:
        return np.concatenate([get(each) for each in self.windows])

    def of(self, get: Callable[[Windows], Any]) -> Any:
        """Gather something of all windows, in the order of their groups."""
        return self._joined(get)[self.order]

    def past(self, name: str, lags: int) -> FloatArray:
        """Values of a column in the newest input rows, newest first, shape (N, lags)."""
        values: FloatArray = self.of(lambda each: each.along(name)[:, : -lags - 1 : -1])
        return values

    def columns(self, target: str) -> tuple[str, ...]:
        """Columns of a window that may tell of a target: not itself, and not the calendar.

        What is known at the close of a session tells most of the next open, high and low: their columns are
        tried beside the close, and not at all without it.
        """
        also = self.spec.static if self.spec.task == "forecast" else ()
        names = dict.fromkeys((*self.spec.features, *also))
        known = {target, *self._known_beside(target)}
        if self._is_session_price(target) and known.isdisjoint(("close", "adj_close")):
            return ()
        return tuple(
            name
            for name in names
            if name not in known and not self._calendar.explains(self.past(name, 1)[:, 0])
        )

    def _is_session_price(self, target: str) -> bool:
        return target in _SESSION_PRICES and self.spec.kind == "stocks"

    def _known_beside(self, target: str) -> tuple[str, ...]:
        """Prices of the same session that belong to the base, for a target that is one before its close."""
        names = [name for name in PRICES if name != target and name in self.spec.features]
        return tuple(names) if self._is_session_price(target) else ()

    def targets(self) -> Iterator[_Target]:
        """Each target, its next change and its own past."""
        future = self.of(lambda each: each.targets)
        for place, name in enumerate(self.spec.targets):
            past, kind, forth = self._on_scale(name, future[:, :, place])
            is_return = unit_of(name) == "return"
            returns_to_mean = kind not in ("log", "strike") and not is_return
            level = [past[:, : int(returns_to_mean)]]
            level += [forth(self.past(each, 1)) - past[:, :1] for each in self._known_beside(name)]
            target = _Target(
                name,
                _bound_of(name, self.spec),
                self._each_standard(self.changes(place, future), centre=False).T,
                self._standard(past[:, :-1] if is_return else past[:, :-1] - past[:, 1:]),
                self._each_standard(np.hstack(level)),
                past[:, :-1] if kind == "log" else None,
            )
            yield replace(target, explained=self._explained(target))

    def changes(self, place: int, future: FloatArray) -> FloatArray:
        """What lies between the last value of a target (of task price, Black-Scholes) and what is to follow.

        Args:
            place: Number of the target.
            future: What followed, or a forecast of it, in the unit of the file, shape (N, H, K).

        Returns:
            The change by the first session ahead, and by the last if that is another: (N, 1 or 2).
        """
        name, steps = self.spec.targets[place], sorted({0, self.spec.horizon - 1})
        past, _, forth = self._on_scale(name, self.of(lambda each: each.targets)[:, :, place])
        with np.errstate(all="ignore"):
            ahead = forth(future[:, :, place])
            if self.spec.task == "price":
                change = ahead - forth(self.of(black_scholes_reference)[:, :, place])
            else:
                # Returns add up to the change over the horizon; a level is compared with its last value.
                change = np.cumsum(ahead, axis=1) if unit_of(name) == "return" else ahead - past[:, :1]
        chosen: FloatArray = change[:, steps]
        return chosen

    def _on_scale(self, name: str, ahead: FloatArray) -> tuple[FloatArray, str, Callable[[Any], Any]]:
        """Past values of a target on a scale where changes are alike at every price, and the way there."""
        past = self.past(name, self.lags + 1)
        options = self.spec.kind == "options"
        kind = change_scale(name, options=options)
        # Prices below zero, of oil or power, have no logarithm.
        if kind == "log" and any(np.nanmin(each) <= 0 for each in (past, ahead)):
            kind = "plain"
        strike = self.of(lambda each: each.at_last("strike"))[:, None] if options else 1.0
        forth = {"log": np.log, "count": np.log1p}.get(kind, lambda values: values / strike)
        with np.errstate(all="ignore"):
            return forth(past), kind, forth

    def _explained(self, target: _Target) -> float:
        """Part of the next change that the own past explains, or that is noise taken back; 0 if none."""
        rows = _finite(target.change[0], target.own, target.level)
        if rows.sum() < FEWEST_WINDOWS:
            return 0.0
        y = target.change[0][rows]
        table = np.column_stack([np.ones(len(y)), target.level[rows], target.own[rows], y])
        sums, last = _block_sums(table, self.block[rows], BLOCKS)[None], table.shape[1] - 1
        own, total = _errors(sums, [*range(last + 1)]).sum(), _errors(sums, [0, last]).sum()
        if total <= 0:
            return 0.0
        noise = float(_noise(sums.sum(axis=1), 1 + target.level.shape[1])[0])
        return max(noise, 1 - float(own / total))

    def judge(self, target: _Target, column: str) -> LeakDoubt | None:
        """Doubt a column that explains too much of a target."""
        bound = BOUNDS[target.bound].most
        # Of all symbols together where that shows it, of the worst one otherwise.
        gains = sorted(self.gains(target, column), key=lambda gain: gain.share)
        # A leak in all symbols should be named as that, not by the symbol in which it happens to be largest.
        wide = [gain for gain in gains if not gain.symbol and gain.share > bound]
        best = (wide or gains or [NO_GAIN])[-1]
        if best.share <= bound:
            return None
        return LeakDoubt(
            f"future_column:{column}",
            f"A column must not know what comes after its row: of the next change of '{target.name}' no more"
            f" than {100 * bound:.0f} % was ever forecast beyond what its own past tells",
            f"{apart(100 * best.share, 100 * bound, digits=3)[0]} % explained by '{column}' for"
            f" {best.symbol or 'all symbols together'},"
            f" out of sample on training and validation (t = {best.t:.1f}, {best.windows:,} windows)",
            f"Find out how '{column}' was made: shift it, so that each row holds what was known when its"
            " session"
            " ended, or drop it",
            count=best.windows,
            statistic=round(best.share, 6),
            threshold=bound,
        )

    def judge_smoothness(self, target: _Target) -> LeakDoubt | None:
        """Doubt a price that moves on as an average of prices does."""
        # Volatility and volume do move smoothly; only prices cannot.
        if target.bound != "price" or unit_of(target.name) == "return":
            return None
        rows = _finite(target.change[0], target.own)
        if rows.sum() < FEWEST_WINDOWS:
            return None
        now, before = target.change[0][rows], target.own[rows, 0]
        spread = now.std() * before.std()
        again = float(np.mean((now - now.mean()) * (before - before.mean())) / spread) if spread > 0 else 0.0
        if target.explained < _SMOOTH[0] or again < _SMOOTH[1]:
            return None
        return LeakDoubt(
            f"smooth_target:{target.name}",
            "The next change of a price must not be known from the changes before: only averages, filtered"
            " and"
            " interpolated prices move so, and skill on them is no forecast of a price",
            f"{100 * target.explained:.1f} % of the next change of '{target.name}' explained by its own past,"
            f" autocorrelation {again:+.2f}",
            "Forecast the price itself",
            count=int(rows.sum()),
            statistic=round(target.explained, 6),
            threshold=_SMOOTH[0],
        )

    def gains(self, target: _Target, column: str) -> Iterator[_Gain]:
        """What a column explains: over two lags, of all windows and of each symbol; over many, of all."""
        past = self.past(column, self.lags + 1)
        # As a level, as a change, and beside the target: a leak may be hidden in any of the three.
        tried = [self._standard(past[:, :-1]), self._standard(past[:, :-1] - past[:, 1:])]
        if target.logs is not None and (past > 0).all():
            tried.append(self._standard(np.log(past[:, :-1]) - target.logs))
        groups = len(self.groups)
        for change in target.change:
            cells = self._cells(target, change, [each[:, :_NEAR] for each in tried], groups)
            scopes = np.concatenate([cells.sum(axis=0)[None], cells]) if groups > 1 else cells
            yield from self._compared(scopes, target, len(tried))
            if self.lags > _NEAR:
                yield from self._compared(self._cells(target, change, tried, 1), target, len(tried))

    def _cells(self, target: _Target, change: FloatArray, tried: list[FloatArray], groups: int) -> FloatArray:
        """Cross products of 1, base, own past, each variant of the column, and y: (G, BLOCKS, P, P)."""
        own = target.own[:, : tried[0].shape[1]]
        rows = _finite(target.level, self.statics, own, change, *tried)
        if tried[0].shape[1] > _NEAR:
            # Every n-th window, spread over all dates: the long regression costs the square of its columns.
            rows &= np.arange(len(rows)) % max(1, len(rows) // _LONG_WINDOWS) == 0
        parts = (target.level, self.statics, own, *tried, change[:, None])
        table = np.column_stack([np.ones(int(rows.sum())), *(each[rows] for each in parts)])
        cell = self.block[rows] + (BLOCKS * self.group[rows] if groups > 1 else 0)
        sums = _block_sums(table, cell, groups * BLOCKS)
        return sums.reshape(groups, BLOCKS, *sums.shape[1:])

    def _compared(self, scopes: FloatArray, target: _Target, tried: int) -> Iterator[_Gain]:
        """Errors with each variant of a column and without it, in each scope of shape (BLOCKS, P, P).

        The first scope is of all windows, the others are of one symbol each.
        """
        counts = scopes[:, :, 0, 0]
        # Every block must have windows, or it could not be forecast from the others.
        enough = (counts.sum(axis=1) >= FEWEST_WINDOWS) & (counts > 0).all(axis=1)
        names = np.array(["", *self.groups] if len(scopes) > 1 else [""])[enough]
        scopes, counts = scopes[enough], counts[enough].sum(axis=1)
        if not len(scopes):
            return
        newest = 1 + target.level.shape[1] + self.statics.shape[1]
        y = scopes.shape[-1] - 1
        lags = (y - newest) // (tried + 1)
        known = [*range(newest + lags)]
        total = _errors(scopes, [0, y])
        most = np.maximum(target.explained, _noise(scopes.sum(axis=1), newest))[:, None]
        own, bounded = _errors(scopes, [*known, y]), total * (1 - most)
        lower = own.sum(axis=1, keepdims=True) < bounded.sum(axis=1, keepdims=True)
        base = np.where(lower, own, bounded)
        left = base.sum(axis=1, keepdims=True)
        # Where the base explains everything, a share of what is left would be a share of rounding.
        tells = left[:, 0] > 1e-9 * total.sum(axis=1)
        for place in range(tried):
            first = newest + lags + place * lags
            errors = _errors(scopes, [*known, *range(first, first + lags), y])
            with np.errstate(all="ignore"):
                gains = (base - errors) / left * BLOCKS
                share = gains.mean(axis=1)
                # Over blocks of dates, and not over windows, which share most of their rows.
                t = share / np.maximum(gains.std(axis=1, ddof=1) / np.sqrt(BLOCKS), 1e-9)
            for scope in np.flatnonzero(tells & (t >= LEAST_T)):
                yield _Gain(float(share[scope]), float(t[scope]), int(counts[scope]), str(names[scope]))

    def _standard(self, values: FloatArray, *, centre: bool = True) -> FloatArray:
        """Values (N, L) in robust standard deviations of their group's newest ones, clipped."""
        out = np.full_like(values, np.nan)
        if not values.size:
            return out
        for first, end in pairwise(self.edges):
            newest = values[first:end, 0]
            newest = newest[np.isfinite(newest)]
            if not len(newest):
                continue
            middle = float(np.median(newest))
            # 1.4826 median deviations are a standard deviation of a normal; a column that mostly stays has
            # none.
            scale = max(1.4826 * float(np.median(np.abs(newest - middle))), 0.3 * float(newest.std()))
            if scale <= 1e-12 * float(np.abs(newest).max()):
                scale = np.inf  # a column that does not move tells nothing
            out[first:end] = (values[first:end] - (middle if centre else 0.0)) / scale
        return np.clip(out, -CLIP, CLIP, out=out)

    def _each_standard(self, values: FloatArray, *, centre: bool = True) -> FloatArray:
        """The same of columns that each have a spread of their own."""
        columns = [self._standard(each[:, None], centre=centre) for each in values.T]
        return np.hstack(columns) if columns else values


@dataclass(frozen=True)
class _Gain:
    """Share of what was left that a column explains, its t value, and of how many windows of which symbol."""

    share: float
    t: float
    windows: int
    symbol: str = ""


NO_GAIN = _Gain(0.0, 0.0, 0)


def _noise(whole: FloatArray, newest: int) -> FloatArray:
    """Part of the next change that only takes back what was noise in the last one, of scopes (S, P, P)."""
    count = whole[:, 0, 0]
    means = whole[:, 0] / count[:, None]
    variance = whole[:, -1, -1] / count - means[:, -1] ** 2
    covariance = whole[:, newest, -1] / count - means[:, newest] * means[:, -1]
    with np.errstate(all="ignore"):
        # White noise about a value brings back half of what it adds at the most, and never more of the same.
        return np.where(variance > 0, np.clip(-covariance / variance, 0.0, 0.5), 0.0)


def _errors(sums: FloatArray, columns: list[int]) -> FloatArray:
    """Squared error of each block, forecast from the other blocks, shape (S, B).

    Args:
        sums: Cross products of each scope and block, shape (S, B, P, P).
        columns: Regressors, the constant first, and at the end what they forecast.
    """
    chosen = sums[:, :, columns][:, :, :, columns]
    rest = chosen.sum(axis=1, keepdims=True) - chosen
    penalty = _RIDGE * np.eye(len(columns) - 1)
    # The constant is not penalised, but for what keeps the matrix regular.
    penalty[0, 0] = 1e-9
    slopes = np.linalg.solve(rest[..., :-1, :-1] + penalty * rest[..., :1, :1], rest[..., :-1, -1:])
    turned = np.swapaxes(slopes, 2, 3)
    forecast = 2 * turned @ chosen[..., :-1, -1:] - turned @ chosen[..., :-1, :-1] @ slopes
    errors: FloatArray = chosen[..., -1, -1] - forecast[..., 0, 0]
    return errors


def _block_sums(table: FloatArray, cell: IntArray, count: int) -> FloatArray:
    """Cross products of the columns of a table (N, P) in each of some cells, shape (count, P, P)."""
    # Sorted once, each cell is a slice, and its cross products one matrix product.
    order = np.argsort(cell, kind="stable")
    edges = np.searchsorted(cell[order], np.arange(count + 1))
    table, sums = table[order], np.zeros((count, table.shape[1], table.shape[1]))
    for place, (first, end) in enumerate(pairwise(edges)):
        np.matmul(table[first:end].T, table[first:end], out=sums[place])
    return sums


def _finite(*arrays: FloatArray) -> Mask:
    """Rows in which every array has a number."""
    good = [np.isfinite(each if each.ndim == 2 else each[:, None]).all(axis=1) for each in arrays]
    return np.asarray(np.logical_and.reduce(good))


def _thin(windows: Windows, share: float) -> Windows:
    """Keep a share of windows, evenly spread over all series, those of one group side by side."""
    kept = max(1, int(share * len(windows)))
    rows = np.linspace(0, len(windows) - 1, kept).round().astype(np.intp)
    return windows.select(rows)


def _bound_of(name: str, spec: DataSpec) -> str:
    """Key of the bound that holds for a target."""
    unit = unit_of(name)
    if spec.kind == "options" and name in FROM_QUOTES:
        return "option price" if spec.task == "price" else "option forecast"
    if spec.kind == "stocks" and name in _SESSION_PRICES:
        return "session price"
    if unit in ("price", "return"):
        return "price"
    return {"volatility": "volatility", "log": "volatility", "shares": "volume", "contracts": "volume"}.get(
        unit, "other"
    )


class _Calendar:
    """The days of the last input rows, to know a column that is made of nothing else."""

    def __init__(self, days: DateArray) -> None:
        months = days.astype("datetime64[M]").astype(np.int64)
        numbers = days.astype("datetime64[D]").astype(np.int64)
        weekday = (numbers + 3) % 7
        in_month = (days - days.astype("datetime64[M]")).astype(np.int64)
        self.keys = (weekday, months % 12, in_month, months % 12 * 31 + in_month, months % 12 * 7 + weekday)

    def explains(self, values: FloatArray) -> bool:
        """Whether a column is a function of the day of the week, the month or the year."""
        good = np.isfinite(values)
        # A column that never moves is a function of anything.
        spread = values[good].std() if good.any() else 0.0
        return bool(spread == 0) or any(
            _spread_within(values[good], key[good]) <= 1e-6 * spread for key in self.keys
        )


def _spread_within(values: FloatArray, key: IntArray) -> float:
    """Standard deviation about the means of groups that have several members each; inf where few have."""
    _, place, count = np.unique(key, return_inverse=True, return_counts=True)
    if count.mean() < 3:
        return float("inf")
    means = np.bincount(place, values) / count
    return float((values - means[place]).std())
