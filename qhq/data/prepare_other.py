"""Other data than a run was made from: the same windows and the run's own scalers, nothing fitted anew.

A run knows the dates of its splits. In other data they are found by date again: windows whose targets lie in
the training split serve the baselines and the scale of MASE, and what is evaluated begins where the run's
test split began. Its inputs may look back over that border, since what has happened by then is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pandas as pd

from qhq.data.columns import unit_of
from qhq.data.load import load_panel
from qhq.data.panel import DateArray, Mask, Panel
from qhq.data.prepare import (
    OtherData,
    Overlap,
    PreparedData,
    assemble,
    check_targets,
    is_unit_free,
    panel_fingerprint,
    say_scaling,
)
from qhq.data.scaling.affine import Scaler
from qhq.data.scaling.fit import StaticScaler, check_scalable
from qhq.data.spec import DataSpec
from qhq.data.split import Splits, TestSplit, TrainingSplit, ValidationSplit, split_panel
from qhq.data.windows import Cut, Windows, arrange_rows, cut_windows
from qhq.errors import DataError, QHQError, apart

# Prices that many times another run's, or more, are in another unit: no dividend moves a series so far.
_OTHER_UNIT = 1.25
# Relative difference below which two prices are one price.
_SAME = 1e-9
# Days between sessions, as a multiple of the run's, from which on the rows are of another frequency.
_OTHER_FREQUENCY = 3.0


@dataclass(frozen=True, eq=False)
class Known:
    """What is still known of the data that a run was made from.

    Attributes:
        spec: The run's own data config.
        fingerprint: Of its rows (see ``qhq.data.prepare.panel_fingerprint``).
        splits: ``train``, ``validation`` and ``test``: the first and last date of its targets.
        first: Its oldest row; None where an older run did not write it down.
        last: Its newest row; None likewise.
        actual: What came in the test split: columns symbol, date, target, value.
    """

    spec: DataSpec
    fingerprint: str
    splits: Mapping[str, tuple[np.datetime64, np.datetime64]]
    first: np.datetime64 | None
    last: np.datetime64 | None
    actual: pd.DataFrame

    def own_panel(self, other: Panel) -> Panel | None:
        """The very rows of the run, from other data or its own source; None if neither has them."""
        first = self.first if self.first is not None else other.dates.min()
        last = self.last if self.last is not None else self.splits["test"][1]
        older = other.between(first, last)
        if len(older.code) and panel_fingerprint(older) == self.fingerprint:
            return older
        try:
            # A look at an old run needs no network: its cache has the rows, or nobody has.
            panel = load_panel(self.spec.model_copy(update={"offline": True}))
        except QHQError:
            return None
        return panel if panel_fingerprint(panel) == self.fingerprint else None


class _SplitsByDate(Splits):
    """The splits of a run found again by date: any may be empty, and the evaluated one lies anywhere."""

    def __post_init__(self) -> None:
        pass


def prepare_other(
    spec: DataSpec,
    known: Known,
    scaler: Scaler,
    static: StaticScaler | None,
    since: date | None = None,
) -> PreparedData:
    """Load other data and cut it into windows, for a run whose scalers are given.

    Args:
        spec: The run's data config, but for where the rows come from.
        known: What is known of the run's own data.
        scaler: The run's.
        static: The run's.
        since: First date of an evaluated target; None is where the run's test split began.

    Returns:
        The data: ``test`` is what is evaluated; ``other`` says how it overlaps with the run's own, and is
        None if the rows are those of the run.

    Raises:
        DataError: If the rows cannot be read, break a rule, or do not fit the run.
    """
    panel = load_panel(spec)
    origin = spec.path or f"source {spec.source}"
    cut, laid_out = Cut.of(spec), arrange_rows(panel, spec)
    name, own = panel_fingerprint(panel), known.own_panel(panel)
    if name == known.fingerprint and since is None:
        splits: Splits = split_panel(arrange_rows(panel, known.spec), known.spec)
        return assemble(panel, splits, known.spec, scaler, static)
    windows = cut_windows(laid_out, cut)
    begin = known.splits["test"][0] if since is None else np.datetime64(since, "D")
    chosen = windows.select(_targets_between(windows, begin, laid_out.dates.max()))
    overlap = find_overlap(panel, own, known)
    check_unit(overlap, spec, origin, panel, known)
    if not len(chosen):
        raise _no_window(origin, laid_out, cut, begin, asked=since is not None)
    check_frequency(chosen, own, known, origin)
    train = _training_windows(windows, own, known, overlap)
    test = TestSplit(laid_out.between(begin, laid_out.dates.max()), chosen)
    check_targets(test, moving=False)
    check_scalable(spec.scaling, test)
    # One window is enough to learn, before any work, that a symbol or column is unknown to the scaler.
    scaler.inputs(chosen.select(slice(1)))
    training, validation = own_training(laid_out, windows, known)
    splits = splits_by_date(replace(training, windows=train), validation, test)
    other = describe_other(panel, spec, known, overlap, chosen, seen=np.unique(chosen.dates))
    return replace(assemble(panel, splits, known.spec, scaler, static), other=other)


def describe_other(
    panel: Panel, spec: DataSpec, known: Known, overlap: Overlap, windows: Windows, *, seen: DateArray
) -> OtherData:
    """What must be said of other data.

    Args:
        panel: The other data.
        spec: The data config with what was asked for.
        known: What is known of the run's own data.
        overlap: What both have.
        windows: The windows that are forecast.
        seen: Sessions among their targets whose values are there; those up to the end of the run's validation
            split are counted.
    """
    targets, name = np.unique(windows.dates), panel_fingerprint(panel)
    begin, border = known.first or targets[0], known.splits["validation"][1]
    return OtherData(
        origin=spec.path or f"source {spec.source}",
        spec=spec,
        fingerprint=name,
        first=str(panel.dates.min()),
        last=str(panel.dates.max()),
        since=str(targets[0]),
        until=str(targets[-1]),
        windows=len(windows),
        overlap=overlap,
        seen_sessions=int(np.count_nonzero((seen >= begin) & (seen <= border))),
        same=name == known.fingerprint,
        quarantine=panel.quarantine,
        doubts=panel.doubts,
        read=panel.notes,
    )


def splits_by_date(train: TrainingSplit, validation: ValidationSplit, test: TestSplit) -> Splits:
    """Put splits together that were found again by date."""
    return _SplitsByDate(train, validation, test)


def own_training(panel: Panel, windows: Windows, known: Known) -> tuple[TrainingSplit, ValidationSplit]:
    """What of other data lies in the run's training and validation split, by date; either may be empty."""
    trained, border = known.splits["train"][1], known.splits["validation"][1]
    before = panel.keep(panel.dates <= trained)
    between = panel.keep((panel.dates > trained) & (panel.dates <= border))
    train, held = (
        windows.select(_targets_between(windows, *known.splits[name])) for name in ("train", "validation")
    )
    return TrainingSplit(before, train), ValidationSplit(between, held)


def _targets_between(windows: Windows, first: np.datetime64, last: np.datetime64) -> Mask:
    """Whether all targets of a window lie in a span, shape (N,)."""
    return np.asarray(((windows.dates >= first) & (windows.dates <= last)).all(axis=1))


def _training_windows(windows: Windows, own: Panel | None, known: Known, overlap: Overlap) -> Windows:
    """Windows that baselines are fitted on: the run's own, or the other data's of its training split."""
    # Its own, in another unit than the forecasts, would spoil the scale of MASE.
    if own is not None and not overlap.factors:
        return split_panel(arrange_rows(own, known.spec), known.spec).train.windows
    found = windows.select(_targets_between(windows, *known.splits["train"]))
    return found.select(~np.isin(found.group, list(known.spec.split.held_out)))


def find_overlap(panel: Panel, own: Panel | None, known: Known) -> Overlap:
    """Find what other data shares with the run's own rows, or with the test split's if those are gone."""
    keys = ["symbol", "date", "target"]
    old = known.actual if own is None else _values(own, known.spec.features)
    both = _values(panel, known.spec.features).merge(old, on=keys, suffixes=("_new", "_old"))
    new, before = (both[f"value_{each}"].to_numpy() for each in ("new", "old"))
    factors: dict[str, float] = {}
    expected = before.copy()
    # A split makes other contracts of options, not other prices of the same one.
    priced = np.array([not panel.groups and unit_of(name) == "price" for name in both["target"]], dtype=bool)
    kept = np.flatnonzero(priced & (before > 0))
    series = both.iloc[kept].groupby(["symbol", "target"], sort=False).ngroup().to_numpy()
    for number in range(series.max(initial=-1) + 1):
        places = kept[series == number]
        # The median, so that a few revised rows do not pass for another unit.
        factor = float(np.median(new[places] / before[places]))
        if abs(factor - 1) > _SAME:
            expected[places] *= factor
            symbol = str(both["symbol"].iloc[places[0]])
            factors[symbol] = max(factors.get(symbol, 1.0), factor, key=lambda each: abs(np.log(each)))
    # A vendor rounds adjusted prices anew after every dividend; that is no revision.
    slack = 1e-4 if factors else _SAME
    off = ~np.isclose(new, expected, rtol=slack, atol=0, equal_nan=True)
    example = ""
    if off.any():
        row = int(np.argmax(off))
        name, day, column = (both[key].iloc[row] for key in keys)
        pair = " instead of ".join(apart(new[row], before[row], digits=6))
        example = f"such as {column} of {name} on {day:%Y-%m-%d}: {pair}"
    sessions = panel.sessions
    start = known.first if known.first is not None else known.splits["train"][0]
    trained, seen = known.splits["train"][1], known.splits["validation"][1]
    spans = {"train": (start, trained), "validation": (trained + 1, seen), "test": known.splits["test"]}
    counts = {
        name: int(np.count_nonzero((sessions >= low) & (sessions <= high)))
        for name, (low, high) in spans.items()
    }
    return Overlap(counts, len(both), int(off.sum()), example, factors)


def _values(panel: Panel, columns: tuple[str, ...]) -> pd.DataFrame:
    """Every finite value of some columns: columns symbol, date, target, value."""
    wide = pd.DataFrame(panel.values[:, panel.positions(columns)], columns=list(columns))
    wide["symbol"] = np.asarray(panel.symbols, dtype=object)[panel.code]
    wide["date"] = panel.dates.astype("datetime64[s]")
    return wide.melt(["symbol", "date"], var_name="target", value_name="value").dropna(subset=["value"])


def check_unit(overlap: Overlap, spec: DataSpec, origin: str, panel: Panel, known: Known) -> None:
    """Refuse prices in another unit where the run's scaler was fitted on the old one."""
    if is_unit_free(spec):
        return
    for symbol, factor in overlap.factors.items():
        if not 1 / _OTHER_UNIT < factor < _OTHER_UNIT:
            raise DataError(
                "Prices must be in the unit of those that the run's scaling"
                f" '{say_scaling(spec)}' was fitted on",
                got=f"prices of {symbol} in {origin} that are {factor:.6g} times those of the run on the same"
                f" dates, {panel.dates.min()} to {known.splits['test'][1]}",
                fix="Bring them into the old unit (a split since?), or train again on the new prices",
            )


# Two weeks; from fewer rows nobody can tell.
_FEWEST_DAYS = 11


def check_frequency(chosen: Windows, own: Panel | None, known: Known, origin: str) -> None:
    """Refuse weekly rows for a run of daily ones, and the like."""
    then = np.unique(known.actual["date"].to_numpy().astype("datetime64[D]")) if own is None else own.sessions
    days = np.unique(chosen.panel.dates[np.unique(chosen.starts)[:, None] + np.arange(chosen.cut.rows)])
    if len(days) < _FEWEST_DAYS:
        # The five sessions around Christmas lie three days apart in the median.
        days = chosen.panel.sessions[chosen.panel.sessions <= days[-1]][-_FEWEST_DAYS:]
    before, now = _spacing(then), _spacing(days)
    if before and now and not 1 / _OTHER_FREQUENCY < now / before < _OTHER_FREQUENCY:
        raise DataError(
            "Rows must have the frequency of those that the run was trained on",
            got=f"{origin} with a row every {now:g} days, where the run had one every {before:g}",
            fix="Give rows of the same frequency, or train again on these",
        )


def _spacing(days: DateArray) -> float:
    """Median number of calendar days between sessions, 0 where there are too few to say."""
    return float(np.median(np.diff(days).astype(int))) if len(days) > 2 else 0.0


def _no_window(origin: str, laid_out: Panel, cut: Cut, begin: np.datetime64, *, asked: bool) -> DataError:
    rows = int(np.count_nonzero(laid_out.sessions >= begin))
    where = "from the date of --since on" if asked else "after the run's training and validation splits"
    return DataError(
        f"Other data must hold {cut.window} input rows and {cut.horizon} target rows of a series, the targets"
        f" {where}",
        got=f"{origin} with rows from {laid_out.dates.min()} to {laid_out.dates.max()}, {rows} sessions of"
        f" them from {begin} on",
        fix="Give newer or more rows, or an earlier --since"
        + ("" if asked else " DATE, from where on what the run has seen is evaluated too"),
    )
