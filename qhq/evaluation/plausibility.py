"""Whether a model's skill on the validation split is more than was ever seen of its kind of target."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qhq.data.panel import FloatArray
from qhq.data.plausibility.doubt import BOUNDS, LeakDoubt
from qhq.data.plausibility.scan import BLOCKS, CLIP, FEWEST_WINDOWS, LEAST_T, Scan
from qhq.data.spec import DataSpec
from qhq.data.windows import Windows
from qhq.evaluation.metrics import relative_errors

MOST_WINDOWS = 4_000
"""Training windows, evenly spread, that say what the target's own past explains."""


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
    step = max(1, len(train) // MOST_WINDOWS)
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
                f"{100 * part:.1f} % on validation (t = {t:.1f}, {len(validation):,} windows"
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
        error = float(gains.std(ddof=1)) * np.sqrt(len(gains)) if len(gains) > 1 else np.inf
        best = max(best, (part, part / max(error, 1e-9)))
    return best
