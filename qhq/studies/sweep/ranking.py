"""The rows of a stage, its best, and what ties with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qhq.data.panel import FloatArray
from qhq.studies.sweep.space import Point
from qhq.tracking.run_folder import FINISHED


@dataclass(frozen=True)
class Entry:
    """One point of a stage with what its trainings gave.

    Attributes:
        point: Labels and numbers by config key.
        trials: Names of its trials' folders, one a seed.
        records: Their records, in the order of the seeds.
        values: Error on the validation part over that of the last value there, of each seed, shape (n,);
            NaN of one that failed.
        status: Finished, pruned or failed.
    """

    point: Point
    trials: tuple[str, ...]
    records: tuple[dict[str, Any], ...]
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
        return sum(self.records[0].get("parameters", {}).values())


def relative_error(record: dict[str, Any], metric: str) -> float:
    """Error on the validation part over that of the last value on the same windows; NaN if undefined.

    No symbol may decide by the size of its prices. MASE and MAPE have no unit; of MAE and RMSE the ratio is
    that of each symbol and target alone, then their mean. A trial of an earlier version has no such mean: of
    it, and of it alone, the ratio is that of the pooled errors, which is the same for one symbol.
    """
    metrics = record.get("metrics", {})
    relative = record.get("relative", {}).get(metric)
    if relative is not None:
        return float(relative)
    own, naive = (metrics.get(part, {}).get(metric) for part in ("validation", "validation_naive"))
    return own / naive if own is not None and naive else math.nan


def best_of(entries: Sequence[Entry], margin: float) -> Entry | None:
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
    return min(tied, key=lambda entry: (entry.parameters, entry.value))


def table_rows(entries: Sequence[Entry], chosen: Entry | None, margin: float) -> list[dict[str, Any]]:
    """One flat object a point, the best first."""
    best = min((entry.value for entry in entries), default=math.inf)
    rows = [_row(entry, chosen, best + margin) for entry in entries]
    return sorted(rows, key=lambda row: (row["value"] is None, row["value"], row["parameters"]))


def _row(entry: Entry, chosen: Entry | None, tied_below: float) -> dict[str, Any]:
    known = entry.values[np.isfinite(entry.values)]
    finished = math.isfinite(entry.value)
    healthy = [record.get("doctor", {}).get("healthy") for record in entry.records]
    return {
        **entry.point,
        "status": entry.status,
        "value": entry.value if finished else None,
        "low": float(known.min()) if len(known) else None,
        "high": float(known.max()) if len(known) else None,
        "parameters": entry.parameters,
        "healthy": sum(each is True for each in healthy),
        "seeds": len(entry.records),
        "epochs": max((record.get("epochs") or 0 for record in entry.records), default=0),
        "seconds": round(
            sum(record.get("seconds", {}).get("train_all_legs", 0) for record in entry.records), 2
        ),
        "tied": finished and entry.value <= tied_below,
        "chosen": entry is chosen,
        "trials": list(entry.trials),
    }
