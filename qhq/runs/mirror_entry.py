"""What the mirror says of a run or a study: parameters, metrics, tags, files. Of MLflow only the limits."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Iterator
from csv import DictReader
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qhq.files import MOST_TABLE_BYTES, read_json, read_regular
from qhq.runs.flatten import flatten
from qhq.runs.mirror_units import Unit

KEY_LENGTH, PARAM_LENGTH, TAG_LENGTH = 250, 6000, 5000
"""MLflow's limits, in characters."""

STATUS = {"finished": "FINISHED", "running": "RUNNING", "failed": "FAILED"}
RESULTS = ("test", "naive", "baselines", "seen", "held_out", "validation", "validation_naive")
"""Parts of a run's metrics that become metrics of the mirror; the rest stays in ``run.json``."""

FIGURES = ("epochs", "best_epoch", "validation_loss", "seconds", "parameters", "quantum")
EVAL_KEYS = ("delta_mae", "delta_skill", "expectation_error", "samples", "shots", "depth", "two_qubit_gates",
             "qpu_seconds")  # fmt: skip


@dataclass(frozen=True)
class Point:
    """One value of a metric; ``time`` in milliseconds since 1970."""

    key: str
    value: float
    step: int
    time: int


@dataclass(frozen=True)
class Entry:
    """All that the mirror logs of one unit; times in milliseconds since 1970."""

    name: str
    status: str
    started: int
    ended: int
    params: dict[str, str]
    points: list[Point]
    tags: dict[str, str]
    files: list[tuple[Path, str | None]]


def make_entry(unit: Unit) -> Entry:
    """Read a unit's folder.

    Raises:
        ValueError, TypeError, AttributeError, KeyError, OSError: If it was damaged by hand.
    """
    record = unit.read()
    started = _time(record.get("created")) or unit.written()
    ended = _time(record.get("finished")) or started
    is_run = unit.record == "run.json"
    points = _run_points(unit, record, started, ended) if is_run else _study_points(record, ended)
    status = STATUS.get(record.get("status", "finished"), "FAILED")
    params = _run_params(record) if is_run else _study_params(record)
    return Entry(unit.name, status, started, ended, params, points, _tags(unit, record), _files(unit))


def _time(text: object) -> int:
    if not isinstance(text, str):
        return 0
    return int(1000 * datetime.datetime.fromisoformat(text).timestamp())


def _key(text: str) -> str:
    """A name as MLflow allows it."""
    return re.sub(r"[^\w. -]", "_", text, flags=re.ASCII)[:KEY_LENGTH]


def _text(value: object, limit: int) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:limit]


def _numbers(content: object, prefix: str) -> Iterator[tuple[str, float]]:
    """Every finite number below ``content``, with its dotted name."""
    for key, value in flatten(content, prefix).items():
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield _key(key), float(value)


def _run_params(record: dict[str, Any]) -> dict[str, str]:
    design = flatten(record.get("design"))
    return {_key(key): _text(value, PARAM_LENGTH) for key, value in design.items()}


def _study_params(record: dict[str, Any]) -> dict[str, str]:
    plain = {key: value for key, value in record.items() if key not in ("rows", "pairs", "life", "verdict")}
    texts = {key: value for key, value in flatten(plain).items() if not isinstance(value, float)}
    left_out = ("versions.", "git.", "seed_", "folder", "file", "figure", "page", "created")
    return {
        _key(key): _text(value, PARAM_LENGTH) for key, value in texts.items() if not key.startswith(left_out)
    }


def _run_points(unit: Unit, record: dict[str, Any], started: int, ended: int) -> list[Point]:
    metrics = record.get("metrics") or {}
    step = int(record.get("epochs") or 0)
    found = [each for part in RESULTS for each in _numbers(metrics.get(part), part)]
    found += [each for part in FIGURES for each in _numbers(record.get(part), part)]
    points = [Point(key, value, step, ended) for key, value in found]
    return [*points, *_history(unit, started), *_evals(unit)]


def _history(unit: Unit, started: int) -> Iterator[Point]:
    """Losses and gradient norms; the step is the epoch, and so many milliseconds after the start."""
    path = unit.folder / "history.csv"
    if path not in unit.files():
        return
    for row in DictReader(read_regular(path, most=MOST_TABLE_BYTES).decode("utf-8").splitlines()):
        epoch = int(row.pop("epoch"))
        values = {key: float(value) for key, value in row.items() if value}
        for key, value in _numbers(values, "history"):
            yield Point(key, value, epoch, started + epoch)


def _evals(unit: Unit) -> Iterator[Point]:
    """``eval.BACKEND.mae`` and the like; the step counts the evaluations on that backend.

    On other data than the run's own it is ``eval_other_data.BACKEND.mae``: another curve, never on the same.
    """
    counts: dict[str, int] = {}
    for path in (each for each in unit.files() if each.parent.name == "evals"):
        content = read_json(path)
        kind = "eval_other_data" if content.get("other_data") else "eval"
        for result in content["results"]:
            backend = f"{kind}.{result['backend']}"
            counts[backend] = counts.get(backend, -1) + 1
            values = {**result["metrics"], "naive_mae": result["naive"]["mae"]}
            values |= {key: result[key] for key in EVAL_KEYS if key in result}
            for key, value in _numbers(values, backend):
                yield Point(key, value, counts[backend], _time(content.get("created")))


def _study_points(record: dict[str, Any], ended: int) -> list[Point]:
    """``VARIANT.mae`` where rows are variants, else ``rows.mae`` with the number of the row as step."""
    points = []
    for number, row in enumerate(record.get("rows") or []):
        prefix, step = (row["variant"], 0) if "variant" in row else ("rows", number)
        points += [Point(key, value, step, ended) for key, value in _numbers(row, prefix)]
    points += [Point(key, value, 0, ended) for key, value in _numbers(_outside_rows(record), "study")]
    return points


def _outside_rows(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if isinstance(value, float)}


def _tags(unit: Unit, record: dict[str, Any]) -> dict[str, str]:
    # The ``data`` of an ablation is a sentence for people, that of a run a mapping.
    git, data, versions = (
        part if isinstance(part := record.get(key), dict) else {} for key in ("git", "data", "versions")
    )
    leaks = record.get("leaks")
    tags = {
        "mlflow.runName": unit.name,
        "mlflow.source.name": f"qhq {unit.kind}",
        "mlflow.source.git.commit": git.get("commit"),
        "mlflow.note.content": record.get("verdict") or record.get("error"),
        "qhq.identity": unit.identity,
        "qhq.kind": unit.kind,
        "qhq.status": record.get("status", "finished"),
        "qhq.seed": record.get("seed"),
        "qhq.backend": record.get("backend"),
        "qhq.task": record.get("task"),
        "qhq.data": data.get("fingerprint"),
        "qhq.changed": git.get("changed"),
        "qhq.leaks": leaks if leaks else None,
        "qhq.collapse": (record.get("collapse") or {}).get("message"),
        **{f"version.{name}": version for name, version in versions.items()},
    }
    return {_key(key): _text(value, TAG_LENGTH) for key, value in tags.items() if value is not None}


def _files(unit: Unit) -> list[tuple[Path, str | None]]:
    return [(path, _below(path, unit.folder)) for path in unit.files()]


def _below(path: Path, folder: Path) -> str | None:
    """The folder of a file in the mirror: that below the unit's own, None for the top."""
    parent = path.parent
    return parent.name if parent != folder else None
