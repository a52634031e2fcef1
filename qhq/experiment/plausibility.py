"""What a run says of its data and of its skill being too good to be true, and who looked at it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from qhq.backends.local.statevector import StatevectorExecutor
from qhq.data.load import is_made_up
from qhq.data.panel import FloatArray
from qhq.data.plausibility import LeakDoubt, find_leaks
from qhq.data.plausibility.doubt import BOUNDS, accept, open_doubts, unmatched
from qhq.data.plausibility.scan import BLOCKS, CLIP, FEWEST_WINDOWS, LEAST_T, Scan
from qhq.data.prepare import PreparedData
from qhq.data.spec import DataSpec
from qhq.data.windows import Windows
from qhq.errors import apart
from qhq.evaluation.baselines.persistence import last_value
from qhq.evaluation.metrics import relative_errors
from qhq.experiment.evaluate import forecast_scaled
from qhq.experiment.opening import Experiment
from qhq.runs.record import LeakDoubtRecord, Plausibility
from qhq.runs.run_folder import now
from qhq.training.loop import Watcher

# Validation windows, evenly spread, that a model's skill is judged on.
_JUDGED_WINDOWS = 2_000
# Training windows, evenly spread, that say what the target's own past explains.
_PAST_WINDOWS = 4_000


def doubt_data(data: PreparedData, spec: DataSpec) -> tuple[LeakDoubt, ...]:
    """Look for leaks in the data of a run."""
    return () if data.panel is None else find_leaks(data.panel, data.splits, spec)


def doubt_skill(experiment: Experiment) -> tuple[LeakDoubt, ...]:
    """Look at a trained model's skill on validation, on the exact engine whatever the backend is."""
    data, spec = experiment.data, experiment.config.data
    # Of what a formula makes a model can know more than anyone ever knew of a market, and no column of the
    # user's that might leak is among it.
    if is_made_up(spec.source):
        return ()
    windows = data.splits.validation.windows
    kept = min(len(windows), _JUDGED_WINDOWS)
    windows = windows.select(np.linspace(0, len(windows) - 1, kept).round().astype(np.intp))
    executor = None if experiment.ansatz is None else StatevectorExecutor(experiment.ansatz)
    scaled, _ = forecast_scaled(experiment, executor, windows)
    forecast = data.scaler.to_raw_units(scaled, windows)
    return tuple(judge_skill(data.train, windows, forecast, last_value(windows), spec))


def judge_skill(
    train: Windows, validation: Windows, forecast: FloatArray, naive: FloatArray, spec: DataSpec
) -> Iterator[LeakDoubt]:
    """Doubt a skill on validation that no forecast of this kind of target ever had.

    The model is measured as a column is (`qhq.data.plausibility.scan`): by the part of the next change that
    it explains, of what the target's own past, over training and validation, leaves unexplained. So a
    strong signal in the own past, planted or real, raises no doubt; knowledge from elsewhere does.

    Args:
        train: Training windows.
        validation: Validation windows, N of them.
        forecast: Of these, in the unit of the file, shape (N, H, K).
        naive: Their last values, shape (N, H, K).
        spec: How they were cut.
    """
    if len(validation) < FEWEST_WINDOWS:
        return
    step = max(1, len(train) // _PAST_WINDOWS)
    past, ahead = Scan((train.select(slice(None, None, step)), validation), spec), Scan((validation,), spec)
    skill = relative_errors(validation.targets, forecast, naive, validation.group).mae
    for place, target in enumerate(past.targets()):
        part, t = _explained(ahead, place, forecast, target.explained)
        bound = BOUNDS[target.bound]
        if part > bound.most and t >= LEAST_T:
            yield LeakDoubt(
                f"implausible_skill:{target.name}",
                f"A model must not forecast more than {100 * bound.most:.0f} % of the next change of"
                f" '{target.name}' beyond"
                " what its own past explains: no published result does",
                f"{apart(100 * part, 100 * bound.most, digits=3)[0]} % on validation (t = {t:.1f},"
                f" {len(validation):,} windows"
                + ("" if skill is None else f", skill {100 * (1 - skill):+.1f} %")
                + f"), where its own past explains {100 * target.explained:.1f} %. Known: {bound.source}",
                "Look for a leak first: take the features out one by one (data.features)",
                count=len(validation),
                statistic=round(part, 6),
                threshold=bound.most,
            )


def _explained(scan: Scan, place: int, forecast: FloatArray, own_past: float) -> tuple[float, float]:
    """Part of what the own past leaves that a forecast explains, and its t value over blocks of sessions."""
    actual = scan.changes(place, scan.of(lambda each: each.targets))
    forecast_changes = scan.changes(place, forecast[scan.order])
    scale = np.empty(len(actual))
    for code in range(len(scan.groups)):
        own = slice(scan.edges[code], scan.edges[code + 1])
        size = np.abs(actual[own][np.isfinite(actual[own])])
        # 1.4826 makes the median of the absolute values the standard deviation of normal ones. The second
        # term is for series that seldom move: their median is 0.
        scale[own] = max(1.4826 * float(np.median(size)), 0.3 * float(size.std())) if len(size) else np.nan
    with np.errstate(all="ignore"):
        y, hat = (np.clip(each / scale[:, None], -CLIP, CLIP) for each in (actual, forecast_changes))
    good = np.isfinite(y) & np.isfinite(hat)
    best = (0.0, 0.0)
    for step in range(y.shape[1]):
        rows = good[:, step]
        if rows.sum() < FEWEST_WINDOWS:
            continue
        truth, guess, block = y[rows, step], hat[rows, step], scan.block[rows]
        count = np.bincount(block, minlength=BLOCKS)
        left = (1 - own_past) * np.bincount(block, (truth - truth.mean()) ** 2, BLOCKS)
        gains = (left - np.bincount(block, (truth - guess) ** 2, BLOCKS))[count > 0] / max(left.sum(), 1e-300)
        part = float(gains.sum())
        # The gain is a sum over blocks: its error is that of one block times the root of their number.
        error = float(gains.std(ddof=1)) * np.sqrt(len(gains)) if len(gains) > 1 else np.inf
        best = max(best, (part, part / max(error, 1e-9)))
    return best


def plausibility_record(doubts: Iterable[LeakDoubt], names: Iterable[str] = ()) -> Plausibility:
    """What ``run.json`` says under ``plausibility``.

    Args:
        doubts: All that were raised.
        names: What the user accepts. Those that no doubt has yet wait for one that the trained model may
        raise.
    """
    names = tuple(dict.fromkeys(names))
    marked = accept(tuple(doubts), names, at=now())
    return Plausibility(
        open=[doubt.code for doubt in open_doubts(marked)],
        accept=list(names),
        doubts=[LeakDoubtRecord.model_validate(doubt.to_dict()) for doubt in marked],
    )


def read_doubts(plausibility: Plausibility | None) -> tuple[LeakDoubt, ...]:
    """The doubts of a run's record; none where it was made before qhq looked for any."""
    return () if plausibility is None else tuple(map(_as_doubt, plausibility.doubts))


def _as_doubt(doubt: LeakDoubtRecord) -> LeakDoubt:
    accepted = None if doubt.accepted is None else {"by": doubt.accepted.by, "at": doubt.accepted.at}
    return LeakDoubt(
        doubt.code, doubt.must, doubt.got, doubt.fix, doubt.count, tuple(doubt.rows),
        doubt.statistic, doubt.threshold, accepted,
    )  # fmt: skip


def add_doubts(
    earlier: Plausibility | None, doubts: Sequence[LeakDoubt] = (), names: Sequence[str] = ()
) -> Plausibility:
    """The ``plausibility`` of a run's record with more doubts or names; who looked before stays."""
    accepted = () if earlier is None else earlier.accept
    return plausibility_record((*read_doubts(earlier), *doubts), (*accepted, *names))


def tell_doubts(doubts: Iterable[LeakDoubt], watcher: Watcher) -> None:
    """Say each doubt in whole sentences."""
    for doubt in doubts:
        watcher.note(doubt.sentence())


def tell_unmatched(plausibility: Plausibility, watcher: Watcher) -> None:
    """Say which of the accepted names no doubt has."""
    for name in unmatched(read_doubts(plausibility), plausibility.accept):
        watcher.note(f"--accept '{name}' matches no doubt.")
