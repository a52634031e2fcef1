"""What a run or a study looks like in a tracking store: parameters, metrics, steps, tags, files."""

from __future__ import annotations

import csv
import datetime
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qhq.errors import ConfigError
from qhq.tracking.run_folder import RunFolder
from qhq.tracking.summary import RESULTS, run_design, run_summary

FILES = ("config.yaml", "run.json", "predictions.csv", "history.csv", "circuit.qasm", "model.safetensors")
FOLDERS = ("figures", "evals", "studies")
STUDY_FILES = ("*.json", "*.yaml", "*.png", "report.html")


@dataclass(frozen=True)
class Entry:
    """One run of a tracking store.

    Attributes:
        name: Of the folder.
        kind: ``train``, ``trial``, ``ablation`` or ``sweep``.
        status: ``finished``, ``running`` or ``failed``.
        params: The resolved config by dotted keys.
        metrics: Results; all finite.
        steps: Metric, epoch and value.
        tags: What else is known: seed, commit, versions, the verdict.
        files: Files with the folder that they go to in the store.
        started: Milliseconds since 1970.
        ended: The same; None of what still runs.
    """

    name: str
    kind: str
    status: str
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    steps: list[tuple[str, int, float]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    files: list[tuple[Path, str]] = field(default_factory=list)
    started: int = 0
    ended: int | None = None


def run_entry(folder: RunFolder, kind: str) -> Entry:
    """Read a run's folder.

    Raises:
        ConfigError: If it is damaged.
    """
    record = folder.read_record()
    summary = run_summary(record)
    whole = kind == "train"
    return Entry(
        name=folder.name,
        kind=kind,
        status=record["status"],
        params={key: str(value) for key, value in run_design(record).items()},
        metrics=dict(_metrics(folder, record, summary)),
        steps=list(_steps(folder)) if whole else [],
        tags=_tags(record, kind),
        files=[*_files(folder.path)] if whole else [],
        started=_milliseconds(record.get("created")) or 0,
        ended=_milliseconds(record.get("finished")),
    )


def study_entry(folder: RunFolder, kind: str, record: Mapping[str, Any]) -> Entry:
    """Describe a study by its record: one metric a row and result, the verdict as the note."""
    stages = record.get("stages") or []
    metrics = {f"stage.{stage['stage']}.value": float(stage["value"]) for stage in stages}
    for row in record.get("rows", ()):
        if "variant" in row:
            metrics |= {
                f"{row['variant']}.{key}": float(row[key]) for key in RESULTS if _is_number(row.get(key))
            }
    files = [(path, "") for pattern in STUDY_FILES for path in sorted(folder.path.glob(pattern))]
    files += [(path, "figures") for path in sorted(folder.path.glob("figures/*"))]
    return Entry(
        name=folder.name,
        kind=kind,
        status=str(record.get("status", "finished")),
        metrics=metrics,
        tags={
            "qhq.kind": kind,
            "qhq.run": folder.name,
            "mlflow.note.content": str(record.get("verdict", "")),
        },
        files=[each for each in files if each[0].name != "mlflow.json"],
        started=_milliseconds(record.get("created")) or 0,
    )


def _metrics(
    folder: RunFolder, record: Mapping[str, Any], summary: Mapping[str, Any]
) -> Iterator[tuple[str, float]]:
    found = {
        **{key: summary[key] for key in (*RESULTS, "naive_mae", "naive_mape", "epochs", "seconds")},
        "validation_loss": record.get("validation_loss"),
        **_evaluations(folder),
        **_noise(folder),
    }
    return ((key, float(value)) for key, value in found.items() if _is_number(value))


def _evaluations(folder: RunFolder) -> dict[str, Any]:
    """Errors of every `qhq eval`, the latest of a backend last."""
    found: dict[str, Any] = {}
    for content in _read_all(folder, "evals/*.json"):
        for result in content.get("results", [content]):
            name, metrics = result.get("backend"), result.get("metrics") or {}
            found |= {f"eval.{name}.{key}": metrics.get(key) for key in RESULTS}
            found |= {f"eval.{name}.{key}": result.get(key) for key in ("delta_mae", "expectation_error")}
    return found


def _noise(folder: RunFolder) -> dict[str, Any]:
    """Errors of every cell of noise studies."""
    return {
        f"noise.{content.get('backend')}.scale_{row['scale']:g}.shots_{row['shots'] or 'exact'}.mae": row[
            "mae"
        ]
        for content in _read_all(folder, "studies/noise-*.json")
        for row in content.get("rows", [])
    }


def _read_all(folder: RunFolder, pattern: str) -> Iterator[dict[str, Any]]:
    """Every file that can be read; a damaged one is left out."""
    for path in sorted(folder.path.glob(pattern)):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict):
            yield content


def _steps(folder: RunFolder) -> Iterator[tuple[str, int, float]]:
    """Every number of ``history.csv`` by epoch."""
    path = folder.path / "history.csv"
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            epoch = int(float(row.pop("epoch", None) or 0))
            for key, text in row.items():
                value = _parse(text)
                if value is not None:
                    yield key, epoch, value


def _tags(record: Mapping[str, Any], kind: str) -> dict[str, str]:
    data, git = record.get("data") or {}, record.get("git") or {}
    known = {
        "qhq.kind": kind,
        "qhq.run": record["run"],
        "qhq.status": record["status"],
        "qhq.backend": record["backend"],
        "qhq.seed": record["seed"],
        "qhq.leaks": " ".join(record.get("leaks") or []),
        "qhq.prices": data.get("fingerprint"),
        "qhq.error": record.get("error"),
        "mlflow.source.name": "qhq",
        "mlflow.source.git.commit": git.get("commit"),
        **{f"version.{name}": each for name, each in (record.get("versions") or {}).items()},
    }
    return {key: str(value) for key, value in known.items() if value not in (None, "")}


def _files(root: Path) -> Iterator[tuple[Path, str]]:
    yield from ((root / name, "") for name in FILES if (root / name).is_file())
    for name in FOLDERS:
        yield from ((path, name) for path in sorted((root / name).glob("*")) if path.is_file())


def _milliseconds(moment: object) -> int | None:
    if not isinstance(moment, str):
        return None
    try:
        return int(datetime.datetime.fromisoformat(moment).timestamp() * 1000)
    except ValueError as error:
        raise ConfigError(
            "A record's times must be ISO 8601", got=f"'{moment}'", fix="Restore the run folder"
        ) from error


def _parse(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
