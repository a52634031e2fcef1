"""What the folds of a walk-forward forecast, put together: one table, one test, and skill fold by fold.

A regime is decided by a window's input rows, by the terciles of its own fold's training split
(`qhq.evaluation.conformal.Regimes`): it is known when the forecast is made.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from qhq.data.panel import IntArray, Panel
from qhq.data.split import Splits, split_panel
from qhq.data.windows import Windows, join_blocks
from qhq.errors import DataError
from qhq.evaluation.baselines.catalogue import title_of
from qhq.evaluation.baselines.persistence import in_sample_naive_mae, symbol_scale
from qhq.evaluation.collapse import find_collapse
from qhq.evaluation.conformal import REGIMES, Regimes, coverage_of
from qhq.evaluation.losses import TITLES, loss_names, task_losses
from qhq.evaluation.probabilistic import level_of
from qhq.evaluation.significance import Comparison, compare_pairs, say_p_value
from qhq.experiment.config import ExperimentConfig
from qhq.experiment.evaluate import Array, WindowForecasts, score_distribution
from qhq.experiment.record import metrics_record
from qhq.experiment.words import say_coverage
from qhq.files import MOST_TABLE_BYTES, Json, read_regular
from qhq.runs.record import WALK_RIVAL, Fold, Regime, RunRecord, WalkSeeds
from qhq.runs.run_folder import RunFolder, read_walk
from qhq.studies.comparisons import mean_losses, say_against, tested

# Of a predictions.csv, beside one for each other baseline, and one for each quantile.
_WINDOW_COLUMNS = (
    "symbol",
    "date",
    "horizon",
    "actual",
    "forecast",
    "naive",
    "low",
    "high",
    "underlying",
    "target",
    "leaks",
)


@dataclass(frozen=True, eq=False)
class Walk:
    """A walk-forward whose data are at hand.

    Attributes:
        folder: Where it lies.
        config: As the folder holds it.
        panel: As it was loaded, and ``laid_out`` as windows read it.
        folds: Numbers of the folds in which something is to be forecast.
    """

    folder: RunFolder
    config: ExperimentConfig
    panel: Panel
    laid_out: Panel
    folds: list[int]

    def fold(self, number: int) -> RunFolder:
        """The run of a fold."""
        return RunFolder(self.folder.file(fold_name(number)))

    def splits(self, number: int) -> Splits:
        """Training, validation and test split of a fold."""
        return split_panel(self.laid_out, self.config.data.with_fold(number))


def fold_name(number: int) -> str:
    """Name of a fold's folder."""
    return f"fold-{number:03d}"


@dataclass(frozen=True, eq=False)
class Pooled:
    """The forecasts of all folds as those of one split.

    Attributes:
        evaluation: Of every window, in the order of the panel.
        ends: Lower and upper ends of the intervals, each (N, H, K); None where a fold has none.
        regime: Place in ``REGIMES`` of each window, shape (N,).
        folds: A row a fold.
    """

    evaluation: WindowForecasts
    ends: tuple[Array, Array] | None
    regime: IntArray
    folds: list[Fold]


def pool(walk: Walk) -> Pooled:
    """Put the forecasts of all folds together, and measure each fold alone.

    Raises:
        DataError: If a fold does not hold the forecasts of its own windows.
    """
    blocks, scales, tables, regimes, rows = [], [], [], [], []
    for number in walk.folds:
        splits, record = walk.splits(number), walk.fold(number).read_record()
        windows = splits.test.windows
        scale = symbol_scale(windows, in_sample_naive_mae(splits.train.windows))
        table = _read_forecasts(walk.fold(number), windows)
        blocks.append(windows)
        scales.append(scale)
        tables.append(table)
        # The borders of a fold's own training split: those of a later one would know how the market went on.
        regimes.append(Regimes.fit(splits.train.windows).of(windows))
        errors = _evaluation(windows, table, scale)
        metrics, naive = errors.metrics(), errors.naive_metrics()
        rows.append(
            Fold(
                fold=number,
                run=f"{walk.folder.name}/{walk.fold(number).name}",
                trained_to=str(splits.train.windows.dates.max()),
                first=str(windows.dates[:, 0].min()),
                last=str(windows.dates[:, 0].max()),
                windows=len(windows),
                skill=metrics.skill,
                mae=metrics.mae,
                naive_mae=naive.mae,
                epochs=record.epochs,
            )
        )
    windows, order = join_blocks(walk.laid_out, blocks)
    # A fold whose validation split is short has no intervals.
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    whole = {name: np.concatenate([table[name] for table in tables])[order] for name in shared}
    ends = (whole["low"], whole["high"]) if {"low", "high"} <= whole.keys() else None
    evaluation = _evaluation(windows, whole, np.concatenate(scales)[order])
    return Pooled(evaluation, ends, np.concatenate(regimes)[order], rows)


def _by_regime(whole: Pooled) -> list[Regime]:
    """Errors in each regime in which there are windows."""
    found = []
    for place, name in enumerate(REGIMES):
        rows = np.flatnonzero(whole.regime == place)
        if not len(rows):
            continue
        every = whole.evaluation
        windows = every.windows.select(rows)
        table = {"forecast": every.forecast[rows], "naive": every.naive[rows]}
        errors = _evaluation(windows, table, every.scale[rows])
        metrics = errors.metrics()
        found.append(
            Regime(
                regime=name,
                windows=len(rows),
                dates=len(np.unique(windows.dates[:, 0])),
                skill=metrics.skill,
                mae=metrics.mae,
                naive_mae=errors.naive_metrics().mae,
            )
        )
    return found


def _evaluation(windows: Windows, table: dict[str, Array], scale: Array) -> WindowForecasts:
    forecast = table["forecast"]
    return WindowForecasts(
        windows=windows,
        forecast=forecast,
        naive=table["naive"],
        baselines={
            name: each
            for name, each in table.items()
            if name not in _WINDOW_COLUMNS and level_of(name) is None
        },
        expectations=None,
        scale=scale,
        report=None,
        collapse=find_collapse(windows, forecast),
        quantiles={level: each for name, each in table.items() if (level := level_of(name)) is not None},
    )


def _read_forecasts(folder: RunFolder, windows: Windows) -> dict[str, Array]:
    """Forecasts of a fold by the names of their columns, each (N, H, K), in the order of its windows.

    Raises:
        DataError: If they are not those of these windows.
    """
    path, shape = folder.file("predictions.csv"), windows.targets.shape
    try:
        content = read_regular(path, most=MOST_TABLE_BYTES, what="table of forecasts")
        frame = pd.read_csv(io.BytesIO(content), dtype={"symbol": str}, keep_default_na=False)
        names = [
            name for name in frame.columns if name not in ("symbol", "date", "underlying", "target", "leaks")
        ]
        # Rows stand by window, session and target, as `predictions_csv` writes them.
        numbers = {name: frame[name].to_numpy(dtype=np.float64).reshape(shape) for name in names}
        dates = frame["date"].to_numpy(dtype="datetime64[D]").reshape(shape)[:, :, 0]
        # Bit for bit, as the table holds each number in full.
        same = bool((dates == windows.dates).all() and (numbers["actual"] == windows.targets).all())
        same &= bool((frame["symbol"].to_numpy().reshape(shape)[:, 0, 0] == windows.symbol).all())
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            "A finished fold must hold its forecasts in predictions.csv",
            got=f"{path}: {type(error).__name__}: {error}",
            fix=f"Remove {folder.path}, and go on with --resume",
        ) from error
    if not same:
        raise DataError(
            "The forecasts of a fold must be of its own windows",
            got=f"{path}, in which symbols, dates or actual values are others",
            fix=f"Remove {folder.path}, and go on with --resume",
        )
    return numbers


def pooled_record(walk: Walk, whole: Pooled) -> Json:
    """What ``walk.json`` says of the results."""
    evaluation, rows = whole.evaluation, whole.folds
    records = [walk.fold(number).read_record() for number in walk.folds]
    windows, split = evaluation.windows, walk.config.data.split
    metrics = metrics_record(evaluation, split.held_out).updated(intervals=_coverage(whole, records))
    # Without the last value's quantiles: each fold has a validation split of its own to measure them on.
    if (spread := score_distribution(None, evaluation)) is not None:
        metrics = metrics.updated(distribution=spread)
    tests = _tests(evaluation, metrics.baseline, len(rows))
    seconds = {
        key: round(sum(each.seconds.get(key, 0.0) for each in records), 4)
        for key in ("total", "data", "train", "eval")
    }
    return {
        "quantum": records[0].quantum,
        "epochs": sum(each.epochs or 0 for each in records),
        "seconds": seconds,
        "metrics": metrics,
        "collapse": None if evaluation.collapse is None else evaluation.collapse.to_dict(),
        "data": {
            **read_walk(walk.folder).data.to_dict(),
            "test": {
                "windows": len(windows),
                "from": str(windows.dates.min()),
                "to": str(windows.dates.max()),
            },
        },
        "folds": rows,
        "regimes": _by_regime(whole),
        "tests": [vars(each) | {"verdict": each.verdict()} for each in tests],
        "verdict": _verdict(evaluation, tests, rows),
    }


def _coverage(whole: Pooled, records: list[RunRecord]) -> Json:
    """How often the intervals of all folds, each fitted on its own validation, held what came."""
    ends, windows = whole.ends, whole.evaluation.windows
    intervals = [None if each.metrics is None else each.metrics.intervals for each in records]
    levels = [None if each is None or each.conformal is None else each.conformal.level for each in intervals]
    if ends is None or levels[0] is None or None in levels:
        return {"reason": "a fold has no intervals: its validation split is too short for them"}
    found = coverage_of(ends, windows, levels[0], windows.targets, whole.regime)
    coverage = [asdict(each) for each in found]
    return {"coverage": coverage, "verdict": say_coverage(coverage)}


_MODEL = "model"


def _tests(evaluation: WindowForecasts, baseline: str, models: int) -> tuple[Comparison, ...]:
    """The model against the last value, and against the baseline of the task where that is another.

    The family is named here, before anything was measured: these two and no other. A walk of a single fold
    is one training with one seed, which tests nothing.
    """
    rivals = _rivals(evaluation, baseline)
    forecasts = {_MODEL: evaluation.forecast, **rivals}
    losses = task_losses(evaluation.windows, forecasts, evaluation.scale)
    family = [(_MODEL, name) for name in rivals]
    found = compare_pairs(losses.by_name[losses.primary], evaluation.windows.cut.horizon, family=family)
    if models > 1:
        return found
    return tuple(
        Comparison(each.first, each.second, each.gain, each.dates, None, None, None, "one seed")
        for each in found
    )


def pool_seeds(walks: Sequence[Walk], wholes: Sequence[Pooled]) -> WalkSeeds:
    """What walks that differ in the seed show together, of the losses of each date averaged over the seeds.

    The family is that of each walk alone, and a verdict needs the seeds to agree
    (`qhq.studies.comparisons`).

    Args:
        walks: By seed.
        wholes: Their forecasts.
    """
    first = wholes[0].evaluation
    baseline = metrics_record(first, walks[0].config.data.split.held_out).baseline
    rivals = _rivals(first, baseline)
    losses = [
        task_losses(each.windows, {_MODEL: each.forecast, **rivals}, each.scale)
        for each in (whole.evaluation for whole in wholes)
    ]
    measured: dict[str, list[dict[str, Array]]] = {
        _MODEL: [{"losses": each.by_name[each.primary][_MODEL]} for each in losses],
        # A rival is the same with every seed.
        **{name: [{"losses": losses[0].by_name[losses[0].primary][name]}] for name in rivals},
    }
    family = [(_MODEL, name) for name in rivals]
    horizon = first.windows.cut.horizon
    found = compare_pairs(
        {name: mean_losses(each) for name, each in measured.items()}, horizon, family=family
    )
    rows = [{"second": each.second, **tested(measured, each, "vs", [_MODEL])} for each in found]
    said = [
        # One pair of brackets for all figures.
        f"{say_against(row, 'vs', _name_of(each.second))}{_say_gain(each)}".replace(") (", "; ")
        for row, each in zip(rows, found, strict=True)
    ]
    return WalkSeeds(
        numbers=[walk.config.seed for walk in walks],
        tests=rows,
        verdict=(
            f"Over {found[0].dates} dates, forecast by {len(walks[0].folds)} models of {len(walks)} seeds"
            f" each: {' and '.join(said)} by {TITLES[losses[0].primary]} (Diebold-Mariano on losses averaged"
            " over the seeds, which must agree)."
        ),
    )


def _say_gain(found: Comparison) -> str:
    """By how much, and how sure, in brackets."""
    facts = [] if not found.gain else [f"loss {abs(100 * found.gain):.2f} % {_side(found.gain)}"]
    facts += [] if found.adjusted is None else [f"Holm p {say_p_value(found.adjusted)}"]
    return f" ({', '.join(facts)})" if facts else ""


def _side(gain: float) -> str:
    return "below" if gain > 0 else "above"


def _rivals(evaluation: WindowForecasts, baseline: str) -> dict[str, Array]:
    """What the model is tested against, named before anything was measured: these and no other."""
    others = {baseline: evaluation.baselines[baseline]} if baseline in evaluation.baselines else {}
    return {WALK_RIVAL: evaluation.naive, **others}


def _name_of(rival: str) -> str:
    return "the last value" if rival == WALK_RIVAL else title_of(rival)


_SAID = {"better": "better than", "worse": "worse than", "not tested": "not tested against"}


def _verdict(evaluation: WindowForecasts, tests: tuple[Comparison, ...], rows: list[Fold]) -> str:
    """One sentence on all dates, and in how many folds the model beat the last value."""
    loss = TITLES[loss_names(evaluation.windows)[0]]
    known = [row.skill for row in rows if row.skill is not None]
    ahead = sum(skill > 0 for skill in known)
    said = []
    for each in tests:
        verdict = each.verdict()
        facts = [] if not each.gain else [f"loss {abs(100 * each.gain):.2f} % {_side(each.gain)}"]
        facts.append(each.reason if each.adjusted is None else f"p {say_p_value(each.adjusted)}")
        if verdict == "not shown" and each.detectable is not None:
            facts.append(f"{100 * each.detectable:.2f} % would have been found in 4 of 5 cases")
        name = _SAID.get(verdict, "not shown to differ from")
        said.append(f"{name} {_name_of(each.second)} ({', '.join(facts)})")
    many = "one model of one seed" if len(rows) == 1 else f"{len(rows)} models of one seed"
    tested = sum(each.p_value is not None for each in tests)
    return (
        f"Over {tests[0].dates} dates, forecast by {many}, whose luck is not tested,"
        f" each trained on what came before: {' and '.join(said)} by {loss}"
        f"{f' (Diebold-Mariano, Holm over {tested})' if tested else ''};"
        f" error below that of the last value in {ahead} of {len(known)} folds."
    )
