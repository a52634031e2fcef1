"""Run folders as `qhq train` and a sweep leave them, without a training."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qhq.runs.run_folder import RunFolder

ERRORS = {"mae": 0.7, "rmse": 1.2, "mape": 1.4, "mase": 1.1, "skill": -0.1}
NAIVE = {"mae": 0.6, "rmse": 1.1, "mape": 1.3, "mase": 1.0, "skill": 0.0}


MINIMAL: dict[str, Any] = {
    "status": "finished",
    "backend": "aer",
    "backend_entry": {},
    "seed": 0,
    "data": {},
    "scaler": {},
    "quantum": None,
}
"""The keys that every run.json holds from its first moment."""


def record(**changes: Any) -> dict[str, Any]:
    """A finished run; ``changes`` replace keys, dotted ones below them."""
    content: dict[str, Any] = {
        "status": "finished",
        "created": "2026-01-05T10:00:00+00:00",
        "finished": "2026-01-05T10:01:00+00:00",
        "task": "forecast",
        "backend": "aer",
        "backend_entry": {"kind": "aer", "name": "aer"},
        "seed": 1,
        "design": {
            "name": "tiny",
            "seed": 1,
            "backend": "aer",
            "data": {"symbols": ["AAPL", "MSFT"], "window": 5},
            "quantum": {"ansatz": "reference", "qubits": 2},
            "training": {"epochs": 2, "learning_rate": 0.01},
        },
        "quantum": {"qubits": 2, "weights": 2},
        "data": {"fingerprint": "f" * 64},
        "scaler": {"kind": "window"},
        "versions": {"qhq": "0.1.0"},
        "git": {"commit": "c" * 40, "changed": False},
        "epochs": 2,
        "seconds": {"total": 1.5},
        "metrics": {"test": dict(ERRORS), "naive": dict(NAIVE), "baselines": {}},
    }
    for key, value in changes.items():
        *parents, last = key.split("__")
        node = content
        for parent in parents:
            node = node[parent]
        node[last] = value
    return content


def trial(**changes: Any) -> dict[str, Any]:
    """A trial of a sweep: judged on the validation split, its test split not looked at."""
    return record(**{"metrics": {"validation": dict(ERRORS), "validation_naive": dict(NAIVE)}} | changes)


def write_run(folder: Path, content: dict[str, Any] | None = None) -> RunFolder:
    """A run folder with its record, config, history and a figure."""
    (folder / "figures").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(content or record()))
    (folder / "config.yaml").write_text("name: tiny\n")
    (folder / "history.csv").write_text("epoch,train_loss,grad_circuit\n1,3.5,\n2,2.5,0.1\n")
    (folder / "figures" / "history.png").write_bytes(b"\x89PNG")
    return RunFolder(folder)


def write_prediction(run):
    """What ``qhq predict --since`` leaves behind, of what the mirror reads."""
    content = {"backend": "fake_fez", "created": "2026-01-02T04:00:00+00:00", "rows": [], "qpu_seconds": 0.0}
    coverage = [{"level": 0.9, "horizon": 1, "held": {"value": 0.91, "count": 100}}]
    errors = {"metrics": {"mae": 0.5, "mape": None}, "naive": {"mae": 0.6}}
    run.add_prediction({**content, "scored": {"windows": 100, "coverage": coverage, **errors}})


def write_eval(run: RunFolder, mae: float = 0.8) -> None:
    """An evaluation on ``aer_shots``."""
    figures = {"samples": 20, "shots": 1024, "depth": 3, "two_qubit_gates": 1, "qpu_seconds": 0.0}
    result = {"backend": "aer_shots", "metrics": {**ERRORS, "mae": mae}, "naive": NAIVE, "delta_mae": 0.1,
              "expectation_error": None, **figures}  # fmt: skip
    run.add_evaluation({"run": run.name, "results": [result], "created": "2026-01-05T10:02:00+00:00"})


WRONG = (None, "x", 3, -1, [], {}, [1, "a"], {"a": []}, 1e308, 10**400, True)
DELETED = object()
"""Values that a damaged record has in the place of a key's own, and none at all."""


def keys_of(content: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where each value of a record is; of a list, whose items are all alike, the first."""
    pairs = content.items() if isinstance(content, dict) else [*enumerate(content)][:1]
    for key, value in pairs:
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from keys_of(value, (*above, key))


def damaged(content: dict[str, Any], keys: tuple[str, ...], value: Any) -> dict[str, Any]:
    found = copy.deepcopy(content)
    node = found
    for key in keys[:-1]:
        node = node[key]
    if value is DELETED:
        del node[keys[-1]]
    else:
        node[keys[-1]] = value
    return found
