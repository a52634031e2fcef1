"""What a run says of its data and of its skill being too good to be true, and who looked at it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from qhq.backends.local.statevector import StatevectorExecutor
from qhq.data.load import is_made_up
from qhq.data.plausibility import LeakDoubt, find_leaks
from qhq.data.plausibility.doubt import accept, open_doubts, unmatched
from qhq.data.prepare import PreparedData
from qhq.data.spec import DataSpec
from qhq.evaluation.baselines.persistence import last_value
from qhq.evaluation.plausibility import judge_skill
from qhq.experiment.evaluate import forecast_scaled
from qhq.experiment.opening import Experiment
from qhq.runs.record import LeakDoubtRecord, Plausibility
from qhq.runs.run_folder import now
from qhq.training.loop import Watcher

MOST_WINDOWS = 2_000
"""Validation windows, evenly spread, that a model's skill is judged on."""


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
    kept = min(len(windows), MOST_WINDOWS)
    windows = windows.select(np.linspace(0, len(windows) - 1, kept).round().astype(np.intp))
    executor = None if experiment.ansatz is None else StatevectorExecutor(experiment.ansatz)
    scaled, _ = forecast_scaled(experiment, executor, windows)
    forecast = data.scaler.to_raw_units(scaled, windows)
    return tuple(judge_skill(data.train, windows, forecast, last_value(windows), spec))


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
