"""One flat row a run, for tables of runs."""

from __future__ import annotations

from typing import Any


def run_summary(record: dict[str, Any]) -> dict[str, Any]:
    """One flat row of a run's record, for tables of runs."""
    metrics = record.get("metrics", {})
    quantum = record.get("quantum") or {}
    return {
        "run": record["run"],
        "status": record["status"],
        "backend": record["backend"],
        "seed": record["seed"],
        "qubits": quantum.get("qubits"),
        "weights": quantum.get("weights"),
        "epochs": record.get("epochs"),
        **{key: metrics.get("test", {}).get(key) for key in ("mae", "rmse", "mape", "mase", "skill")},
        "naive_mae": metrics.get("naive", {}).get("mae"),
        "seconds": record.get("seconds", {}).get("total"),
    }
