"""Further measures of a forecast: of all windows, by group, by horizon, by both; and histograms of errors.

Of directions, a value that did not move had none, and a forecast of no move gives none: both are left out and
counted, so the last value has no directional accuracy at all, rather than one of 0 or of a half.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from qhq.data.columns import unit_of
from qhq.data.panel import DateArray, FloatArray, IntArray, Mask
from qhq.data.windows import Windows
from qhq.errors import DataError
from qhq.evaluation.bootstrap import Share, hits_by_date, share_over_dates
from qhq.evaluation.metrics import Metrics, has_percent, score


@dataclass(frozen=True)
class Direction:
    """Directional accuracy.

    Attributes:
        right: Share of right directions where there is one; None where there never is.
        still: Values that did not move, left out.
        undecided: Forecasts of no move, of values that did move, left out.
    """

    right: Share | None
    still: int
    undecided: int


@dataclass(frozen=True)
class Detail:
    """Measures beside ``Metrics``; None where one is not defined.

    Attributes:
        smape: Mean of 200 |f - a| / (|f| + |a|), in percent, 0 to 200; None of returns and logarithms,
            and where an actual value is below zero.
        direction: Whether it goes up or down.
        qlike: Mean of s - ln s - 1, s the actual over the forecast variance; None unless a target is a
            volatility, or the logarithm of one, and where one is not above zero.
    """

    smape: float | None
    direction: Direction
    qlike: float | None


@dataclass(frozen=True)
class DetailRow:
    """One line of the table.

    Attributes:
        group: Underlying; None is all.
        horizon: Rows ahead, from 1; None is all.
        windows: How many.
        metrics: Errors.
        detail: Further measures.
    """

    group: str | None
    horizon: int | None
    windows: int
    metrics: Metrics
    detail: Detail


@dataclass(frozen=True, eq=False)
class _Case:
    """Forecasts beside what came: arrays (N, H, K), the scale of MASE (N,) or (N, K), groups and dates (N,).

    ``horizon`` is how far ahead the furthest forecast reaches, whatever part of it this case has.
    """

    targets: tuple[str, ...]
    group: npt.NDArray[np.str_]
    dates: DateArray
    horizon: int
    actual: FloatArray
    forecast: FloatArray
    naive: FloatArray
    scale: FloatArray

    def select(self, rows: Mask, steps: slice) -> _Case:
        """Some windows, a mask (N,), at some horizons."""
        # A slice, not a number, keeps the axis of the horizon: all measures take (N, H, K).
        cells = {name: getattr(self, name)[rows, steps] for name in ("actual", "forecast", "naive")}
        return replace(self, **cells, scale=self.scale[rows], group=self.group[rows], dates=self.dates[rows])

    def metrics(self) -> Metrics:
        percent = has_percent(self.targets)
        arrays = (self.actual, self.forecast, self.naive, self.scale)
        return score(*arrays, group=self.group, percent=percent)

    def _counts_up_from_zero(self) -> bool:
        # Of signed values every forecast of the other sign errs by the same 200 %.
        return has_percent(self.targets) and bool((self.actual >= 0).all())

    def detail(self, *, interval: bool = True) -> Detail:
        moves = (self.actual, self.forecast, self.naive, self.dates)
        return Detail(
            smape=smape(self.actual, self.forecast) if self._counts_up_from_zero() else None,
            direction=directional_accuracy(*moves, horizon=self.horizon, interval=interval),
            qlike=_volatility_qlike(self),
        )


def score_detail(windows: Windows, forecast: FloatArray, naive: FloatArray) -> Detail:
    """Measure a forecast (N, H, K) of windows; ``naive`` is their last value, from which directions start."""
    # Details have no MASE, so any scale will do.
    return _case(windows, forecast, naive, np.ones(len(windows))).detail()


def score_table(
    windows: Windows, forecast: FloatArray, naive: FloatArray, scale: FloatArray
) -> tuple[DetailRow, ...]:
    """Measure a forecast in all, by horizon, by group, and by both; arguments as in ``score``.

    With one horizon, or one group, what would stand there twice is left out. Shares of single groups have no
    interval: with hundreds of symbols it would take minutes.
    """
    case = _case(windows, forecast, naive, scale)
    return tuple(_rows(case))


def _case(windows: Windows, forecast: FloatArray, naive: FloatArray, scale: FloatArray) -> _Case:
    arrays = (windows.targets, forecast, naive, scale)
    return _Case(windows.cut.targets, windows.group, windows.dates[:, 0], windows.cut.horizon, *arrays)


def _rows(case: _Case) -> Iterator[DetailRow]:
    group = case.group
    names, horizon = list(dict.fromkeys(group.tolist())), case.actual.shape[1]
    groups = [None, *(names if len(names) > 1 else ())]
    steps = [None, *(range(1, horizon + 1) if horizon > 1 else ())]
    for name in groups:
        rows = np.ones(len(group), dtype=bool) if name is None else group == name
        for step in steps:
            some = case.select(rows, slice(None) if step is None else slice(step - 1, step))
            yield DetailRow(
                name, step, int(np.count_nonzero(rows)), some.metrics(), some.detail(interval=name is None)
            )


def directional_accuracy(
    actual: FloatArray,
    forecast: FloatArray,
    start: FloatArray,
    dates: DateArray,
    *,
    horizon: int = 1,
    interval: bool = True,
) -> Direction:
    """Compare the direction that was forecast with the one that came.

    Args:
        actual: What came, shape (N, ...).
        forecast: What was forecast, of the same shape.
        start: Where nothing moves, of the same shape: the last value, and of a return 0.
        dates: Of each window, that of its first target, shape (N,).
        horizon: As in `share_over_dates`.
        interval: As in `share_over_dates`.
    """
    came, said = np.sign(actual - start), np.sign(forecast - start)
    moved = came != 0
    # Neither a session that stood still nor a forecast of no change has a direction to be right about.
    both = moved & (said != 0)
    counts = hits_by_date(came == said, both, dates)
    return Direction(
        right=share_over_dates(counts, horizon=horizon, interval=interval) if len(counts) else None,
        still=int(np.count_nonzero(~moved)),
        undecided=int(np.count_nonzero(moved & (said == 0))),
    )


def smape(actual: FloatArray, forecast: FloatArray) -> float:
    """Symmetric error in percent, 0 to 200; where both are zero it is 0.

    >>> smape(np.array([100.0, 0.0]), np.array([300.0, 0.0]))
    50.0
    """
    size = np.abs(actual) + np.abs(forecast)
    return float(np.mean(200 * np.abs(forecast - actual) / np.where(size > 0, size, 1.0)))


def mean_qlike(actual: FloatArray, forecast: FloatArray) -> float | None:
    """QLIKE loss of volatilities, 0 for the truth; None where one is not above zero.

    Patton, "Volatility forecast comparison using imperfect volatility proxies" (2011): the ranking of
    forecasts is right in expectation though what came is measured with noise. An underestimate costs more.
    """
    if not (np.all(actual > 0) and np.all(forecast > 0)):
        return None
    with np.errstate(over="ignore"):
        logarithm = 2 * (np.log(actual) - np.log(forecast))
        mean = float(np.mean(np.expm1(logarithm) - logarithm))
    return mean if np.isfinite(mean) else None


def _volatility_targets(targets: tuple[str, ...]) -> dict[str, bool]:
    """Targets that are volatilities, and whether they are logarithms of them, ``{name: is logarithm}``.

    >>> _volatility_targets(("close", "iv", "log_parkinson", "log_moneyness"))
    {'iv': False, 'log_parkinson': True}
    """
    kinds = {name: unit_of(name.removeprefix("log_")) == "volatility" for name in targets}
    return {name: unit_of(name) == "log" for name, is_volatility in kinds.items() if is_volatility}


def _volatility_qlike(case: _Case) -> float | None:
    """QLIKE over the targets that are volatilities.

    The exponential of a forecast logarithm is a median, not a mean: it is a little low, which costs all
    forecasts of logarithms alike.
    """
    kinds = _volatility_targets(case.targets)
    if not kinds:
        return None
    place = [case.targets.index(name) for name in kinds]
    is_log = np.array(list(kinds.values()))
    with np.errstate(over="ignore"):
        pair = [
            np.where(is_log, np.exp(np.where(is_log, values[:, :, place], 0.0)), values[:, :, place])
            for values in (case.actual, case.forecast)
        ]
    return mean_qlike(pair[0], pair[1])


class HistogramRecord(TypedDict):
    """`Histograms` as plain JSON."""

    edges: list[float]
    counts: dict[str, list[int]]
    outside: dict[str, list[int]]


@dataclass(frozen=True, eq=False)
class Histograms:
    """Errors of several forecasts, counted in the same bins.

    Attributes:
        edges: Borders of the B bins, ascending, about 0, shape (B + 1,).
        counts: Errors in each bin, by forecast, each of shape (B,).
        outside: Errors below the first and above the last border, by forecast.
    """

    edges: FloatArray
    counts: dict[str, IntArray]
    outside: dict[str, tuple[int, int]]

    def to_dict(self) -> HistogramRecord:
        """All of it as plain JSON."""
        counts = {name: each.tolist() for name, each in self.counts.items()}
        outside = {name: list(each) for name, each in self.outside.items()}
        return {"edges": self.edges.tolist(), "counts": counts, "outside": outside}


def error_histograms(
    actual: FloatArray, forecasts: Mapping[str, FloatArray], unit: FloatArray | None = None, bins: int = 41
) -> Histograms:
    """Count errors, forecast minus actual, in bins that reach to the 99 % quantile of their size.

    Args:
        actual: What came, shape (N, H, K).
        forecasts: One or more, each (N, H, K); the bins suit the one in the middle.
        unit: Of each window's errors, above zero, so that symbols can be put together, shape (N,) or, of
            each target, (N, K): see ``losses.loss_unit``.
        bins: How many; an odd number has one about 0.

    Raises:
        DataError: If a window has no unit.
    """
    size = np.ones(len(actual)) if unit is None else unit
    if not np.all(size > 0):
        raise DataError(
            "Errors must have a unit above zero",
            got=f"{np.count_nonzero(~(size > 0).reshape(len(size), -1).all(axis=1))} windows without one",
            fix="Take losses.loss_unit",
        )
    size = size.reshape(len(size), 1, -1)
    errors = {name: ((each - actual) / size).ravel() for name, each in forecasts.items()}
    # The median over the forecasts, since one poor baseline would otherwise stretch the bins of all; 1 where
    # it is 0, as bins need a width.
    reach = float(np.median([np.quantile(np.abs(each), 0.99) for each in errors.values()])) or 1.0
    edges = np.linspace(-reach, reach, bins + 1)
    return Histograms(
        edges,
        {name: np.histogram(each, edges)[0] for name, each in errors.items()},
        {name: (int((each < -reach).sum()), int((each > reach).sum())) for name, each in errors.items()},
    )
