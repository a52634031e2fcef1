"""The rows of a stage, its best, what ties with it, and whether the order is more than the luck of the seeds.

A stage is a randomised block design: every point is trained with the same seeds. What is left of a value
after its point's and its seed's mean is the noise of the seeds; points that differ by no more than that say
nothing of the next seed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

from qhq.data.panel import FloatArray
from qhq.evaluation.significance import SIGNIFICANCE, say_p_value
from qhq.files import Json
from qhq.runs.measures import MetricsRecord
from qhq.runs.record import DateLosses, RunRecord
from qhq.runs.run_folder import FINISHED
from qhq.runs.schema import LAST_VALUE
from qhq.runs.studies import StageNoise
from qhq.seeding import child_generator
from qhq.studies.sweep.spec import Point


@dataclass(frozen=True)
class MeasuredPoint:
    """One point of a stage with what its trainings gave.

    Attributes:
        point: Labels and numbers by config key.
        trials: Names of its trials' folders, one a seed.
        records: Their records, in the order of the seeds.
        values: Error on the validation split over that of the last value there, of each seed, shape (n,);
            NaN of one that failed.
        status: Finished, pruned or failed.
    """

    point: Point
    trials: tuple[str, ...]
    records: tuple[RunRecord, ...]
    values: FloatArray
    status: str

    @property
    def value(self) -> float:
        """Median over seeds; infinite unless every seed was trained to its end."""
        good = self.status == FINISHED and np.isfinite(self.values).all()
        return float(np.median(self.values)) if good else math.inf

    @property
    def parameters(self) -> int:
        """Trained parameters of the whole model."""
        return sum(self.records[0].parameters.values())


def relative_error(record: RunRecord, metric: str) -> float:
    """Error on the validation split over that of the last value on the same windows; NaN if undefined.

    No symbol may decide by the size of its prices. MASE and MAPE have no unit; of MAE and RMSE the ratio is
    that of each symbol and target alone, then their mean. A trial of an earlier version has no such mean: of
    it, and of it alone, the ratio is that of the pooled errors, which is the same for one symbol.
    """
    relative: float | None = getattr(record.relative, metric, None)
    if relative is not None:
        return relative
    metrics = record.metrics or MetricsRecord()
    own, naive = (getattr(each, metric, None) for each in (metrics.validation, metrics.validation_naive))
    return own / naive if own is not None and naive else math.nan


def trial_losses(trials: Mapping[str, Sequence[RunRecord]]) -> dict[str, FloatArray]:
    """Losses of the validation split, on the dates that all trials share, each averaged over its seeds.

    Args:
        trials: Records of each point's finished trials.

    Returns:
        Losses (D,) by point, and of the last value; none where a trial of an earlier version kept none, or no
        date is shared.
    """
    kept = {
        name: [record.validation_losses for record in each if record.validation_losses is not None]
        for name, each in trials.items()
    }
    every = [each for records in kept.values() for each in records]
    if not every or any(len(kept[name]) < len(each) for name, each in trials.items()):
        return {}
    shared = sorted(set(every[0].dates).intersection(*(each.dates for each in every[1:])))

    def read(record: DateLosses, values: Sequence[float]) -> FloatArray:
        by_date = dict(zip(record.dates, values, strict=True))
        return np.array([by_date[date] for date in shared])

    losses = {
        name: np.mean([read(each, each.losses) for each in records], axis=0) for name, records in kept.items()
    }
    return {**losses, LAST_VALUE: read(every[0], every[0].naive)} if shared else {}


def best_of(entries: Sequence[MeasuredPoint], margin: float) -> MeasuredPoint | None:
    """The simplest of those that tie with the best; None if nothing could be trained.

    Args:
        entries: Of a stage.
        margin: How far above the best a value may be to tie with it.
    """
    good = [entry for entry in entries if math.isfinite(entry.value)]
    if not good:
        return None
    best = min(entry.value for entry in good)
    tied = [entry for entry in good if entry.value <= best + margin]
    # Within the margin the order is luck. Fewer parameters are no luck.
    return min(tied, key=lambda entry: (entry.parameters, entry.value))


def table_rows(entries: Sequence[MeasuredPoint], chosen: MeasuredPoint | None, margin: float) -> list[Json]:
    """One flat object a point, the best first."""
    best = min((entry.value for entry in entries), default=math.inf)
    rows = [_row(entry, chosen, best + margin) for entry in entries]
    return sorted(rows, key=lambda row: (row["value"] is None, row["value"], row["parameters"]))


def _row(entry: MeasuredPoint, chosen: MeasuredPoint | None, tied_below: float) -> Json:
    known = entry.values[np.isfinite(entry.values)]
    finished = math.isfinite(entry.value)
    healthy = [None if record.doctor is None else record.doctor.healthy for record in entry.records]
    return {
        **entry.point,
        "status": entry.status,
        "value": entry.value if finished else None,
        "low": float(known.min()) if len(known) else None,
        "high": float(known.max()) if len(known) else None,
        "parameters": entry.parameters,
        "healthy": sum(each is True for each in healthy),
        "seeds": len(entry.records),
        "epochs": max((record.epochs or 0 for record in entry.records), default=0),
        "seconds": round(sum(record.seconds.get("train_all_legs", 0) for record in entry.records), 2),
        "tied": finished and entry.value <= tied_below,
        "chosen": entry is chosen,
        "trials": list(entry.trials),
    }


# At 5 % a p-value of so many has a standard error of 0.0034.
_DRAWS = 4_000
# Of fewer points no trend is given: its interval would be of chance alone.
_LEAST_POINTS = 8


@dataclass(frozen=True)
class Noise:
    """Spread over seeds against spread over points.

    Attributes:
        points: Points trained with every seed, k.
        seeds: Seeds of each, n.
        seed_sd: Standard deviation of one training around its point, in the unit of the values; None of one
            seed or one point.
        point_sd: Standard deviation of the points' true means, the noise taken off; 0 if noise explains all.
        p_value: Probability of mean ranks as unequal as these if the points did not differ (Friedman's
            statistic, by permutation within the seeds).
        margin: Standard error of the difference of two points: what ties with the best.
    """

    points: int
    seeds: int
    seed_sd: float | None = None
    point_sd: float | None = None
    p_value: float | None = None
    margin: float = 0.0

    @property
    def is_ranking(self) -> bool | None:
        """Whether the order of the points is more than noise; None if that cannot be known."""
        return None if self.p_value is None else self.p_value < SIGNIFICANCE

    def record(self) -> StageNoise:
        """All of it, and a sentence."""
        return StageNoise(**asdict(self), is_ranking=self.is_ranking, sentence=say_noise(self))


def measure_noise(values: FloatArray) -> Noise:
    """Measure the noise of a stage.

    Args:
        values: Of each point and seed, shape (k, n); all finite.
    """
    points, seeds = values.shape
    if points < 2 or seeds < 2:
        return Noise(points, seeds)
    # The two-way layout without interaction: (k - 1)(n - 1) degrees of freedom are left for the noise.
    rest = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    seed_variance = float((rest**2).sum() / ((points - 1) * (seeds - 1)))
    # Expected is the variance of the points plus the noise of a mean of n seeds. The latter is taken off
    # below, where chance may leave less than nothing.
    between = float(values.mean(axis=1).var(ddof=1))
    return Noise(
        points,
        seeds,
        seed_sd=math.sqrt(seed_variance),
        point_sd=math.sqrt(max(0.0, between - seed_variance / seeds)),
        p_value=_permutation_p(values),
        margin=math.sqrt(2 * seed_variance / seeds),
    )


def _permutation_p(values: FloatArray) -> float:
    """Compare the spread of the mean ranks with that of ranks shuffled within each seed.

    Exact where there are few ways to shuffle them, else by so many draws.
    """

    def spread(*points: FloatArray, axis: int) -> FloatArray:
        # Rounded, since a sum in another order is another number, and equal spreads must count as equal.
        means = np.stack([each.mean(axis=axis) for each in points])
        spreads: FloatArray = means.var(axis=0).round(9)
        return spreads

    found = stats.permutation_test(
        # Ranked within each seed: a lucky seed lowers all its values, and says nothing of the points.
        tuple(stats.rankdata(values, axis=0)),
        spread,
        permutation_type="samples",
        alternative="greater",
        n_resamples=_DRAWS,
        rng=child_generator(0, "permutation"),
    )
    return float(found.pvalue)


@dataclass(frozen=True)
class Trend:
    """Rank correlation of the values with one number of the points.

    Attributes:
        key: Which number.
        rho: Spearman's; above 0, more is worse.
        low: Lower end of its 95 % bootstrap interval over points.
        high: Upper end.
        p_value: Two-sided.
        points: How many.
    """

    key: str
    rho: float
    low: float
    high: float
    p_value: float
    points: int


def measure_trends(sizes: Mapping[str, Sequence[float]], values: FloatArray) -> list[Trend]:
    """Correlate the points' values with each of their numbers.

    Args:
        sizes: Numbers of each point by name, each (k,); one that hardly varies is left out.
        values: Median of each point, shape (k,).
    """
    if len(values) < _LEAST_POINTS or np.ptp(values) == 0:
        return []
    return [
        _trend(key, np.asarray(each, dtype=float), values) for key, each in sizes.items() if np.ptp(each) > 0
    ]


def _trend(key: str, size: FloatArray, values: FloatArray) -> Trend:
    found = stats.spearmanr(size, values)
    with warnings.catch_warnings():
        # A draw in which all points have one size has no correlation, and is left out.
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        drawn = stats.bootstrap(
            (size, values),
            _rank_correlation,
            paired=True,
            method="percentile",
            n_resamples=_DRAWS // 4,
            rng=child_generator(0, f"trend/{key}"),
        ).bootstrap_distribution
    # Draws without a correlation are NaN (see above).
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Trend(key, float(found.statistic), float(low), float(high), float(found.pvalue), len(values))


def _rank_correlation(first: FloatArray, second: FloatArray, axis: int) -> FloatArray:
    """Spearman's along an axis, which `scipy.stats.spearmanr` does not do for many draws at once."""
    ranks, others = stats.rankdata(first, axis=axis), stats.rankdata(second, axis=axis)
    rho: FloatArray = stats.pearsonr(ranks, others, axis=axis).statistic
    return rho


def say_noise(noise: Noise) -> str:
    """One sentence on a stage's ranking."""
    if noise.p_value is None or noise.seed_sd is None or noise.point_sd is None:
        why = "one seed each" if noise.seeds < 2 else "one point only"
        return f"Indistinguishable from seed noise ({why})"
    sds = f"spread over points {noise.point_sd:.4f}, over seeds {noise.seed_sd:.4f}"
    spread = f"{sds}, p {say_p_value(noise.p_value)}"
    if noise.is_ranking:
        return f"More than seed noise ({spread})"
    return f"No more than seed noise ({spread})"
