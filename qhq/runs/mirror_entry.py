"""What the mirror says of a run or a study: parameters, metrics, tags, files. Of MLflow only the limits."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import platform
import re
import stat
from collections.abc import Iterator
from csv import DictReader
from dataclasses import dataclass, field, replace
from pathlib import Path

from qhq.errors import ConfigError
from qhq.files import MOST_TABLE_BYTES, Json, own_file, read_json, read_regular
from qhq.runs.run_folder import RunFolder

KEY_LENGTH, PARAM_LENGTH, TAG_LENGTH = 250, 6000, 5000
"""MLflow's limits, in characters."""

_STATUS = {"finished": "FINISHED", "running": "RUNNING", "failed": "FAILED"}
# Parts of a run's metrics that become metrics of the mirror; the rest stays in ``run.json``.
_RESULTS = ("test", "naive", "baselines", "seen", "held_out", "validation", "validation_naive")

_CURVES = "history"
_FIGURES = ("epochs", "best_epoch", "validation_loss", "seconds", "parameters", "quantum")
_EVAL_KEYS = ("delta_mae", "delta_skill", "expectation_error", "samples", "shots", "depth", "two_qubit_gates",
             "qpu_seconds")  # fmt: skip


@dataclass(frozen=True)
class MetricPoint:
    """One value of a metric; ``time`` in milliseconds since 1970."""

    key: str
    value: float
    step: int
    time: int


@dataclass(frozen=True)
class MirrorEntry:
    """All that the mirror logs of one unit; times in milliseconds since 1970."""

    name: str
    status: str
    started: int
    ended: int
    params: dict[str, str]
    points: list[MetricPoint]
    tags: dict[str, str]
    files: list[tuple[Path, str | None]]
    """Each with its folder in the mirror: that below the unit's own, None for the top."""

    def of_losses(self) -> MirrorEntry:
        """The same with its curves alone: other figures would be points of the epoch at which it began."""
        curves = [each for each in self.points if each.key.startswith(f"{_CURVES}.")]
        return replace(self, points=curves, files=[])


def make_entry(unit: Unit) -> MirrorEntry:
    """Read a unit's folder.

    Raises:
        ValueError, TypeError, AttributeError, KeyError, OSError: If it was damaged by hand.
    """
    record = unit.read()
    started = _time(record.get("created")) or unit.written()
    ended = _time(record.get("finished")) or started
    is_run = unit.record == "run.json"
    points = _run_points(unit, record, started, ended) if is_run else _study_points(record, ended)
    status = _STATUS.get(record.get("status", "finished"), "FAILED")
    if is_run:
        design = _flatten(record.get("design"))
        params = {_key(key): _text(value, PARAM_LENGTH) for key, value in design.items()}
    else:
        params = _study_params(record)
    files = [(path, None if path.parent == unit.folder else path.parent.name) for path in unit.files()]
    return MirrorEntry(unit.name, status, started, ended, params, points, _tags(unit, record), files)


def _time(text: object) -> int:
    if not isinstance(text, str):
        return 0
    # MLflow counts milliseconds.
    return int(1000 * datetime.datetime.fromisoformat(text).timestamp())


def _key(text: str) -> str:
    """A name as MLflow allows it."""
    return re.sub(r"[^\w. -]", "_", text, flags=re.ASCII)[:KEY_LENGTH]


def _text(value: object, limit: int) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:limit]


def _numbers(content: object, prefix: str) -> Iterator[tuple[str, float]]:
    """Every finite number below ``content``, with its dotted name."""
    for key, value in _flatten(content, prefix).items():
        # A truth value is an int in Python, and no metric.
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield _key(key), float(value)


def _study_params(record: Json) -> dict[str, str]:
    plain = {key: value for key, value in record.items() if key not in ("rows", "pairs", "life", "verdict")}
    # Floats are metrics, and stand among the points.
    texts = {key: value for key, value in _flatten(plain).items() if not isinstance(value, float)}
    # Tags have these, or they are of one machine alone.
    left_out = ("schema_version", "versions.", "git.", "seed_", "folder", "file", "figure", "page", "created")
    return {
        _key(key): _text(value, PARAM_LENGTH) for key, value in texts.items() if not key.startswith(left_out)
    }


def _run_points(unit: Unit, record: Json, started: int, ended: int) -> list[MetricPoint]:
    metrics = record.get("metrics") or {}
    step = int(record.get("epochs") or 0)
    found = [each for part in _RESULTS for each in _numbers(metrics.get(part), part)]
    found += [each for part in _FIGURES for each in _numbers(record.get(part), part)]
    points = [MetricPoint(key, value, step, ended) for key, value in found]
    return [*points, *_history(unit, started), *_evals(unit), *_predictions(unit)]


def _history(unit: Unit, started: int) -> Iterator[MetricPoint]:
    """Losses and gradient norms; the step is the epoch, and so many milliseconds after the start."""
    path = unit.folder / "history.csv"
    # A link would lead out of the folder: only what may be sent is read.
    if path not in unit.files():
        return
    for row in DictReader(read_regular(path, most=MOST_TABLE_BYTES).decode("utf-8").splitlines()):
        epoch = int(row.pop("epoch"))
        # None is written as an empty cell.
        values = {key: float(value) for key, value in row.items() if value}
        for key, value in _numbers(values, _CURVES):
            # Not the clock: mirrored again, a run gives the very same points, which MLflow then keeps once.
            yield MetricPoint(key, value, epoch, started + epoch)


def _evals(unit: Unit) -> Iterator[MetricPoint]:
    """``eval.BACKEND.mae`` and the like; the step counts the evaluations on that backend.

    With error mitigation it is ``eval.BACKEND.METHOD.mae``.

    On other data than the run's own it is ``eval_other_data.BACKEND.mae``: another curve, never on the same.
    """
    counts: dict[str, int] = {}
    # Named by their time, so that the step counts them in the order in which they were measured.
    for path in (each for each in unit.files() if each.parent.name == "evals"):
        content = read_json(path)
        kind = "eval_other_data" if content.get("other_data") else "eval"
        for result in content["results"]:
            backend = f"{kind}.{result['backend']}"
            if result.get("mitigation"):
                backend += f".{result['mitigation']}"
            counts[backend] = counts.get(backend, -1) + 1
            values = {**result["metrics"], "naive_mae": result["naive"]["mae"]}
            values |= {key: result[key] for key in _EVAL_KEYS if key in result}
            for key, value in _numbers(values, backend):
                yield MetricPoint(key, value, counts[backend], _time(content.get("created")))


def _predictions(unit: Unit) -> Iterator[MetricPoint]:
    """``predict.BACKEND.mae`` and the like of what has come true; the step counts the predictions there.

    A prediction of sessions to come alone has ``predict.BACKEND.rows``, and what a device took.
    """
    counts: dict[str, int] = {}
    for path in (each for each in unit.files() if each.parent.name == "predictions"):
        content = read_json(path)
        backend = f"predict.{content['backend']}"
        counts[backend] = counts.get(backend, -1) + 1
        scored = content.get("scored") or {}
        values = {**(scored.get("metrics") or {}), "rows": len(content.get("rows") or [])}
        values |= {
            "qpu_seconds": content.get("qpu_seconds"),
            "sessions_missed": content.get("sessions_missed"),
        }
        values |= {"naive_mae": scored["naive"]["mae"], "windows": scored["windows"]} if scored else {}
        for each in scored.get("coverage") or []:
            values[f"held_{100 * each['level']:g}_h{each['horizon']}"] = each["held"]["value"]
        for key, value in _numbers(values, backend):
            yield MetricPoint(key, value, counts[backend], _time(content.get("created")))


def _study_points(record: Json, ended: int) -> list[MetricPoint]:
    """``VARIANT.mae`` where rows are variants, else ``rows.mae`` with the number of the row as step."""
    points = []
    for number, row in enumerate(record.get("rows") or []):
        prefix, step = (row["variant"], 0) if "variant" in row else ("rows", number)
        points += [MetricPoint(key, value, step, ended) for key, value in _numbers(row, prefix)]
    outside = {key: value for key, value in record.items() if isinstance(value, float)}
    return [*points, *(MetricPoint(key, value, 0, ended) for key, value in _numbers(outside, "study"))]


def _tags(unit: Unit, record: Json) -> dict[str, str]:
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


def _flatten(content: object, prefix: str = "") -> dict[str, object]:
    """Name each value by the keys that lead to it; lists of plain values and empty objects are values.

    >>> _flatten({"data": {"window": 5, "symbols": ["A"]}, "model": {"recurrent": [{"hidden": 4}]}})
    {'data.window': 5, 'data.symbols': ['A'], 'model.recurrent.0.hidden': 4}
    """
    if isinstance(content, dict) and content:
        pairs = [(str(key), value) for key, value in content.items()]
    elif isinstance(content, list) and any(isinstance(value, dict | list) for value in content):
        pairs = [(str(number), value) for number, value in enumerate(content)]
    else:
        return {prefix: content} if prefix else {}
    return {
        key: value
        for name, part in pairs
        for key, value in _flatten(part, f"{prefix}.{name}" if prefix else name).items()
    }


_MIRRORED_FILE = "mlflow.json"
_PATTERNS = {
    "*/run.json": "train",
    "*/studies/noise-*.json": "noise",
    "studies/*/study.json": "ablation",
    "sweeps/*/sweep.json": "sweep",
    "sweeps/*/trials/*/run.json": "trial",
}
_FILES = ("config.yaml", "run.json", "study.json", "sweep.json", "history.csv", "predictions.csv",
         "circuit.qasm", "report.html", "*.png", "figures/*", "evals/*.json", "predictions/*.json",
         "variants/*.yaml")  # fmt: skip
# A larger file stays in the folder alone.
_LARGEST_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Unit:
    """One run or study to be mirrored: its folder, the file that holds its record, and its kind."""

    folder: Path
    record: str
    kind: str
    given: Json | None = field(default=None, compare=False)
    """What a caller knows of it besides the file."""

    @property
    def name(self) -> str:
        """What the mirror calls it: its folder; for a noise study its run and file."""
        if self.kind == "noise":
            return f"{self.folder.parent.name}/{self.record.removesuffix('.json')}"
        return self.folder.name

    @property
    def identity(self) -> str:
        """A tag to find it by when ``mlflow.json`` is lost: machine, folder and file."""
        # The machine too: one server may have the runs of several, whose folders are called alike.
        text = f"{platform.node()}:{self.folder.resolve()}:{self.record}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def read(self) -> Json:
        """The record.

        Raises:
            ValueError: If the file holds none.
            OSError: If it cannot be read.
        """
        path = self.folder / self.record
        if self.given is not None and not path.exists():
            return self.given
        content = read_json(own_file(self.folder, self.record))
        if not isinstance(content, dict):
            raise ValueError(f"{self.record} holds no object")
        return {**(self.given or {}), **content}

    def written(self) -> int:
        """When its record was written, in milliseconds since 1970; 0 where there is no file."""
        path = self.folder / self.record
        return path.stat().st_mtime_ns // 1_000_000 if path.exists() else 0

    def files(self) -> list[Path]:
        """The files to be mirrored, each below `_LARGEST_BYTES`.

        A store may be a server, and a run folder somebody else's: only regular files inside the folder go
        there, found by their names. A link, or a path that a record names, could point at anything.
        """
        if self.kind == "noise":
            figures = self.folder.parent / "figures"
            found = [self.folder / self.record, *sorted(figures.glob("noise-*.png"))]
            drawn = f"noise-{self._backend()}.png"
            found = [path for path in found if path.name in (self.record, drawn)]
        else:
            found = [path for pattern in _FILES for path in sorted(self.folder.glob(pattern))]
        return [path for path in found if self._is_own(path)]

    def _backend(self) -> object:
        try:
            return self.read().get("backend")
        except (OSError, ValueError, ConfigError):
            return None

    def _is_own(self, path: Path) -> bool:
        """Whether a path is a regular file of its own below the folder, neither a link nor behind one."""
        top = self.folder.parent if self.kind == "noise" else self.folder
        # A hidden file is one that is being written, or was when its writer was killed.
        if any(part.startswith(".") for part in path.relative_to(top).parts):
            return False
        steps = [path, *path.parents]
        if any(step.is_symlink() for step in steps[: steps.index(top)]):
            return False
        found = path.lstat() if path.exists() else None
        # A second name of one file (a hard link) may be that of a file elsewhere.
        return (
            found is not None
            and stat.S_ISREG(found.st_mode)
            and found.st_nlink == 1
            and found.st_size <= _LARGEST_BYTES
        )

    def state(self) -> str:
        """A digest that changes whenever one of the files does."""
        # Not their contents: this is asked of every run of the folder, after every command.
        stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self.files()]
        return hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:16]


def all_units(root: Path) -> Iterator[Unit]:
    """Every run, trial and study below the runs folder, the oldest run first."""
    for pattern, kind in _PATTERNS.items():
        for path in sorted(root.glob(pattern)):
            if not any(part.startswith(".") for part in path.relative_to(root).parts):
                yield Unit(path.parent, path.name, kind)


@dataclass(frozen=True)
class Memory:
    """What a store has of a unit: the id of its run there, and the state that was mirrored."""

    run_id: str | None = None
    state: str | None = None


def recall(unit: Unit, store: str) -> Memory:
    """Read ``mlflow.json``; a lost or damaged one remembers nothing."""
    entry = _memories(unit.folder).get(unit.record, {})
    known = entry.get(store) if isinstance(entry, dict) else None
    if not isinstance(known, dict):
        return Memory()
    run_id, state = known.get("run_id"), known.get("state")
    return Memory(run_id if isinstance(run_id, str) else None, state if isinstance(state, str) else None)


def remember(unit: Unit, store: str, memory: Memory) -> None:
    """Write ``mlflow.json``, keeping what other stores have.

    Raises:
        ConfigError: If the folder cannot be written.
    """
    memories = _memories(unit.folder)
    entry = memories.get(unit.record)
    stores = entry if isinstance(entry, dict) else {}
    stores[store] = {"run_id": memory.run_id, "state": memory.state}
    RunFolder(unit.folder).write_json(_MIRRORED_FILE, {**memories, unit.record: stores})


def _memories(folder: Path) -> Json:
    try:
        content = read_json(own_file(folder, _MIRRORED_FILE))
    except (OSError, ValueError, ConfigError):
        return {}
    return content if isinstance(content, dict) else {}
