"""Losses of the final runs on the test part, date by date, on the windows that all of them share.

A stage may have changed the window, and then a run's first test windows are not those of another. Realised
volatility is judged by QLIKE, as everywhere; all else by the error over the unit of its group and target.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from qhq.data.panel import FloatArray
from qhq.evaluation.baselines.har import VOLATILITIES
from qhq.evaluation.losses import ABSOLUTE, QLIKE, qlike
from qhq.files import MOST_TABLE_BYTES, read_regular
from qhq.studies.comparisons import Measured
from qhq.tracking.run_folder import RunFolder

LAST_VALUE = "last_value"


@dataclass(frozen=True)
class Losses:
    """What can be compared.

    Attributes:
        measured: Losses of each date, of each run of a variant, of the last value, and of the baseline of the
            task where it is another.
        groups: By symbol, losses of each of its dates (D,) by variant, over all seeds.
        windows: Forecasts that all runs share.
        dates: How many dates they are of.
        horizon: Rows ahead of the furthest forecast, H.
        baseline: Name of the baseline of the task.
        loss: Name of the loss.
    """

    measured: Measured
    groups: dict[str, dict[str, FloatArray]]
    windows: int
    dates: int
    horizon: int
    baseline: str = LAST_VALUE
    loss: str = ABSOLUTE


def trial_losses(trials: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, FloatArray]:
    """Losses of the validation split, on the dates that all trials share, each averaged over its seeds.

    Args:
        trials: Records of each point's finished trials.

    Returns:
        Losses (D,) by point, and of the last value; none where a trial of an earlier version kept none, or no
        date is shared.
    """
    kept: dict[str, list[Any]] = {
        name: [record.get("validation_losses") for record in each] for name, each in trials.items()
    }
    every = [each for records in kept.values() for each in records]
    if not every or not all(every):
        return {}
    first = every[0]
    shared = sorted(set(first["dates"]).intersection(*(each["dates"] for each in every[1:])))

    def read(record: Mapping[str, Any], key: str) -> FloatArray:
        by_date = dict(zip(record["dates"], record[key], strict=True))
        return np.array([by_date[date] for date in shared])

    losses = {
        name: np.mean([read(each, "losses") for each in records], axis=0) for name, records in kept.items()
    }
    return {**losses, LAST_VALUE: read(first, "naive")} if shared else {}


def read_losses(
    runs: Mapping[str, Sequence[RunFolder]], targets: Sequence[str] = (), baseline: str = LAST_VALUE
) -> Losses:
    """Read the forecasts of runs, measured by the loss of their targets.

    Args:
        runs: Finished runs of each variant.
        targets: Names of what they forecast.
        baseline: That of the task; it is left out where the runs have no column of it.
    """
    frames = {variant: [_read(folder) for folder in folders] for variant, folders in runs.items()}
    every = [frame for each in frames.values() for frame in each]
    shared = every[0].index
    for frame in every[1:]:
        shared = shared.intersection(frame.index)
    shared = shared.sort_values()
    cut = {variant: [frame.loc[shared] for frame in each] for variant, each in frames.items()}
    first = every[0].loc[shared]
    loss = QLIKE if targets and VOLATILITIES.keys() >= set(targets) else ABSOLUTE
    unit = _unit(first) if loss == ABSOLUTE else _is_log(first, targets)
    columns = {variant: ("forecast", each) for variant, each in cut.items()}
    columns[LAST_VALUE] = ("naive", [first])
    # A winner whose windows are too short for HAR is tested against that of the start.
    known = next((each[0] for each in cut.values() if baseline in each[0]), None)
    if known is None:
        baseline = LAST_VALUE
    else:
        columns[baseline] = (baseline, [known])
    measure = _by_date if loss == ABSOLUTE else _qlike_by_date
    measured = {
        name: [{"losses": measure(frame, column, unit).tolist()} for frame in each]
        for name, (column, each) in columns.items()
    }
    groups = {
        str(name): {
            variant: np.mean([measure(frame.loc[rows.index], column, rows) for frame in each], axis=0)
            for variant, (column, each) in columns.items()
        }
        for name, rows in unit.groupby(first["underlying"])
    }
    horizon = int(shared.get_level_values("horizon").max())
    dates = len(measured[LAST_VALUE][0]["losses"])
    return Losses(measured, groups, len(shared), dates, horizon, baseline, loss)


def _read(folder: RunFolder) -> pd.DataFrame:
    """Predictions by origin (the first date that a window forecasts), symbol, horizon and target."""
    frame = pd.read_csv(io.BytesIO(read_regular(folder.file("predictions.csv"), most=MOST_TABLE_BYTES)))
    if "target" not in frame:
        frame["target"] = ""
    if "underlying" not in frame:
        frame["underlying"] = frame["symbol"]
    size = frame["horizon"].max() * frame["target"].nunique()
    window = np.arange(len(frame)) // size
    frame["origin"] = frame.groupby(window)["date"].transform("first")
    return frame.set_index(["origin", "symbol", "horizon", "target"])


def _unit(frame: pd.DataFrame) -> pd.Series[float]:
    """Mean error of the last value of each row's group and target; 1 where it never errs."""
    error = (frame["naive"] - frame["actual"]).abs()
    unit: pd.Series[float] = error.groupby([frame["underlying"], pd.Grouper(level="target")]).transform(
        "mean"
    )
    return unit.where(unit > 0, 1.0)


def _by_date(frame: pd.DataFrame, column: str, unit: pd.Series[float]) -> FloatArray:
    """Mean error over the unit of each date, shape (D,)."""
    error = (frame[column] - frame["actual"]).abs() / unit
    means: FloatArray = error.groupby(level="origin").mean().to_numpy(dtype=np.float64)
    return means


def _is_log(frame: pd.DataFrame, targets: Sequence[str]) -> pd.Series[float]:
    """1 for each row whose volatility is a logarithm, else 0; a table of one target does not name it."""
    names = frame.index.get_level_values("target")
    is_log = [float(VOLATILITIES[name or targets[0]]) for name in names]
    return pd.Series(is_log, index=frame.index)


def _qlike_by_date(frame: pd.DataFrame, column: str, is_log: pd.Series[float]) -> FloatArray:
    """Mean QLIKE of each date, shape (D,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        actual, found = (
            np.where(is_log > 0, frame[name], np.log(np.maximum(frame[name], 0.0)))
            for name in ("actual", column)
        )
        # A session that did not move charges every forecast alike.
        error = np.where(np.isneginf(actual), -np.inf, actual - found)
    losses: pd.Series[float] = pd.Series(qlike(error), index=frame.index)
    return np.asarray(losses.groupby(level="origin").mean().to_numpy(), dtype=np.float64)
