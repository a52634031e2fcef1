"""Mirroring runs into MLflow: by itself, never twice, and never in the way of the run.

The run folder is the truth. What it was mirrored as stands in its ``mlflow.json``; a run that could not be
mirrored, since nobody answered, is with the next one that can.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from qhq.errors import ConfigError
from qhq.tracking.entry import Entry, run_entry, study_entry
from qhq.tracking.mlflow_store import Store, open_store, shown_uri, store_uri
from qhq.tracking.run_folder import RUNNING, RunFolder, list_runs

Note = Callable[[str], None]

DAMAGED = (ConfigError, AttributeError, KeyError, TypeError, ValueError)
"""What a run folder changed by hand may raise; it must not keep others from the store."""
MOST_MISSED = 50
"""Runs missed before that one call takes with it; the rest is for the next."""


def mirror_run(folder: RunFolder, note: Note) -> bool:
    """Mirror a run with all that was done with it, and runs that were missed; whether that was possible.

    Args:
        folder: The run.
        note: Told in one line if it was not.
    """

    def put(store: Store) -> None:
        _put_run(store, folder, "train")
        for missed in _missed(folder):
            _put_run(store, missed, "train")

    return _try(put, folder.name, note)


def mirror_study(folder: RunFolder, kind: str, record: Mapping[str, Any], note: Note) -> bool:
    """Mirror a study, and the trials of a sweep below it; whether that was possible.

    Args:
        folder: Of the study.
        kind: ``ablation`` or ``sweep``.
        record: What the study gave.
        note: Told in one line if it was not.
    """

    def put(store: Store) -> None:
        number = _put(
            store, folder, study_entry(folder, kind, record), _state(folder, "study.json", "sweep.json")
        )
        for path in sorted(folder.path.glob("trials/*/run.json")):
            _put_run(store, RunFolder(path.parent), "trial", number)

    return _try(put, folder.name, note)


def _try(put: Callable[[Store], None], name: str, note: Note) -> bool:
    if os.environ.get("QHQ_MLFLOW", "").lower() == "off":
        return False
    try:
        with open_store() as store:
            put(store)
    except Exception as error:  # whatever a server or a disk does: the run itself is whole
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        note(
            f"Not mirrored to {shown_uri(store_uri())}: {name} ({_short(reason)})."
            " Its folder has it all; the next run takes it along. QHQ_MLFLOW=off mirrors nothing."
        )
        return False
    return True


def _missed(but: RunFolder) -> Iterator[RunFolder]:
    """Runs that are not as they were when they were mirrored, the latest first; none that still runs."""
    left = MOST_MISSED
    for folder in reversed(list_runs()):
        if left and folder.path != but.path and not _is_mirrored(folder) and _is_whole(folder):
            left -= 1
            yield folder


def _is_whole(folder: RunFolder) -> bool:
    try:
        return bool(folder.read_record()["status"] != RUNNING)
    except DAMAGED:
        return False


def _put_run(store: Store, folder: RunFolder, kind: str, parent: str | None = None) -> None:
    if _is_mirrored(folder):
        return
    try:
        entry = run_entry(folder, kind)
    except DAMAGED:
        return  # `qhq compare` says so
    _put(store, folder, entry, _run_state(folder), parent)


def _put(store: Store, folder: RunFolder, entry: Entry, state: str, parent: str | None = None) -> str:
    memory = _memory(folder)
    number = store.put(entry, known=memory.get("run_id"), parent=parent)
    content = {**_memories(folder), _key(): {"run_id": number, "state": state}}
    folder.write_json("mlflow.json", content)
    return number


def _is_mirrored(folder: RunFolder) -> bool:
    return _memory(folder).get("state") == _run_state(folder)


def _run_state(folder: RunFolder) -> str:
    return _state(folder, "run.json", "evals/*.json", "studies/*.json")


def _state(folder: RunFolder, *patterns: str) -> str:
    """Changes whenever one of the files does."""
    paths = [path for pattern in patterns for path in sorted(folder.path.glob(pattern))]
    facts = [(path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in paths]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _memory(folder: RunFolder) -> dict[str, Any]:
    found: dict[str, Any] = _memories(folder).get(_key(), {})
    return found


def _memories(folder: RunFolder) -> dict[str, Any]:
    """What ``mlflow.json`` says by store; nothing if it is missing or damaged."""
    try:
        content = json.loads((folder.path / "mlflow.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _key() -> str:
    return f"{shown_uri(store_uri())} {os.environ.get('MLFLOW_EXPERIMENT_NAME') or 'qhq'}"


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."
