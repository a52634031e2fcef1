"""Losses of the final runs on the test part, date by date, on the windows that all of them share.

A stage may have changed the window, and then a run's first test windows are not those of another.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from qhq.files import MOST_TABLE_BYTES, read_regular
from qhq.studies.comparisons import Measured
from qhq.tracking.run_folder import RunFolder

LAST_VALUE = "last_value"


@dataclass(frozen=True)
class Losses:
    """What can be compared.

    Attributes:
        measured: Losses of each date, of each run of a variant and of the last value.
        windows: Forecasts that all runs share.
        dates: How many dates they are of.
        horizon: Rows ahead of the furthest forecast, H.
    """

    measured: Measured
    windows: int
    dates: int
    horizon: int


def read_losses(runs: Mapping[str, Sequence[RunFolder]]) -> Losses:
    """Read the forecasts of runs, measured in the mean error of the last value of each group and target.

    Args:
        runs: Finished runs of each variant.
    """
    frames = {variant: [_read(folder) for folder in folders] for variant, folders in runs.items()}
    every = [frame for each in frames.values() for frame in each]
    shared = every[0].index
    for frame in every[1:]:
        shared = shared.intersection(frame.index)
    shared = shared.sort_values()
    first = every[0].loc[shared]
    unit = _unit(first)
    measured: dict[str, list[dict[str, Any]]] = {
        variant: [{"losses": _by_date(frame.loc[shared], "forecast", unit)} for frame in each]
        for variant, each in frames.items()
    }
    losses = _by_date(first, "naive", unit)
    measured[LAST_VALUE] = [{"losses": losses}]
    horizon = int(shared.get_level_values("horizon").max())
    return Losses(measured, len(shared), len(losses), horizon)


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


def _by_date(frame: pd.DataFrame, column: str, unit: pd.Series[float]) -> list[float]:
    error = (frame[column] - frame["actual"]).abs() / unit
    means: list[float] = error.groupby(level="origin").mean().tolist()
    return means
