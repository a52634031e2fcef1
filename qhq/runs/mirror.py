"""The mirror: what lies in the run folders, shown by MLflow as well. The folders stay the truth.

A mirror never raises and never keeps a run from ending well. It says in one line what it could not
mirror; the next one that reaches the store makes up for it.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from qhq.files import held_alone
from qhq.paths import runs_dir
from qhq.runs.mirror_entry import Memory, Unit, all_units, make_entry, recall, remember
from qhq.runs.mirror_store import (
    DATABASE,
    MirrorStore,
    MirrorTarget,
    find_target,
    open_store,
    without_password,
)
from qhq.runs.run_folder import RunFolder

_SWITCH = "QHQ_MLFLOW"
# How long one command makes up for earlier runs that were missed.
_CATCH_UP_SECONDS = 10.0

# How long a store may fail, in all, before the rest is left for the next command.
_WASTED_SECONDS = 5.0

# How long a process waits for another one that mirrors the same folder.
_LOCKED_SECONDS = 20.0

_Note = Callable[[str], None]


def is_on() -> bool:
    """Whether runs are mirrored: ``QHQ_MLFLOW=off`` says no."""
    return os.environ.get(_SWITCH, "").lower() != "off"


def mirror_run(folder: RunFolder | Path, note: _Note) -> bool | None:
    """Mirror a run with its evaluations, then earlier ones that were missed.

    Args:
        folder: The run's folder, complete.
        note: Called with each line that a person should read.

    Returns:
        Whether it is mirrored; None where the mirror is switched off by ``QHQ_MLFLOW=off``.
    """
    path = _path(folder)
    return _mirror([Unit(path, "run.json", "trial" if path.parent.name == "trials" else "train")], note)


def mirror_losses(folder: Path) -> None:
    """Mirror a run that is training: its config and tags, and its losses so far, so that curves grow.

    Files, results and what other runs missed are left for `mirror_run`, when it has ended.

    Raises:
        Exception: Whatever a store raises that cannot be reached.
    """
    if not is_on():
        return
    with open_store(find_target(runs_dir())) as store:
        _write(store, Unit(_path(folder), "run.json", "train"), losses_only=True)


def mirror_study(
    folder: RunFolder | Path,
    kind: str,
    record: Mapping[str, Any],
    note: _Note,
    runs: Iterable[RunFolder] = (),
) -> bool | None:
    """Mirror a study; with a sweep its trials too, and the runs that it made or looked at.

    Args:
        folder: The study's folder; a noise study's is that of its run.
        kind: ``noise``, ``ablation`` or ``sweep``.
        record: Its record; ``file`` names the file that holds it, else it is ``sweep.json`` of a sweep
            or ``study.json``.
        note: Called with each line that a person should read.
        runs: The final runs of a sweep; the run of a noise study.

    Returns:
        Whether all of it is mirrored; None where the mirror is switched off.
    """
    own = _path(folder) / f"{kind}.json"
    file = Path(record.get("file") or (own if own.exists() else _path(folder) / "study.json"))
    units = [Unit(file.parent, file.name, kind, dict(record))]
    trials = sorted(_path(folder).glob("trials/*/run.json")) if kind == "sweep" else []
    # A hidden folder is a trial that is being laid down.
    units += [Unit(path.parent, path.name, "trial") for path in trials if path.parent.name[0] != "."]
    return _mirror([*units, *(Unit(_path(run), "run.json", "train") for run in runs)], note)


def _path(folder: RunFolder | Path) -> Path:
    return (folder.path if isinstance(folder, RunFolder) else folder).absolute()


def _mirror(units: list[Unit], note: _Note) -> bool | None:
    if not is_on():
        return None
    target = find_target(runs_dir())
    is_new = target.is_default and not (target.root / DATABASE).exists()
    missed = {unit.name: "the store was not reached" for unit in units}
    try:
        with open_store(target) as store:
            missed = _write_all(store, units)
            _catch_up(store, target.root, units, note)
    except KeyboardInterrupt:
        # Ctrl-C ends the waiting for a store, not the command: what it was asked for is done.
        note("The mirror was interrupted.")
    except Exception as error:  # Whatever a store does, the run is there and has ended well.
        missed = {name: _short(error) for name in missed}
    if missed:
        note(_explain(missed, target))
    elif is_new:
        note("The runs folder has an MLflow store now; docs/tracking.md says how to look at it.")
    return not missed


def _explain(missed: dict[str, str], target: MirrorTarget) -> str:
    names = ", ".join(list(missed)[:3]) + (f" and {len(missed) - 3} more" if len(missed) > 3 else "")
    reason = next(iter(missed.values()))
    return (
        f"Not mirrored to MLflow ({target.shown}): {names}; {reason}."
        f" The run folder holds everything; the next run that reaches the store mirrors it too."
    )


def _short(error: Exception) -> str:
    # The first line: errors of databases go on with whole statements and their values.
    lines = str(error).splitlines() or [""]
    # Drivers put the whole address of a database into their messages.
    text = without_password(lines[0]).rstrip(".")
    return f"{type(error).__name__}: {text[:160]}{'...' if len(text) > 160 else ''}"


def _write_all(store: MirrorStore, units: Iterable[Unit], deadline: float = math.inf) -> dict[str, str]:
    """Mirror each; the names of those that could not be, and why."""
    missed: dict[str, str] = {}
    wasted = 0.0
    for unit in units:
        # Monotonic: a clock that is set while a store hangs must not end the waiting, nor prolong it.
        begin = time.monotonic()
        if begin > deadline or wasted > _WASTED_SECONDS:
            missed[unit.name] = next(iter(missed.values()), "no time was left")
            continue
        try:
            _write(store, unit)
        except Exception as error:  # One folder damaged by hand must not keep the others.
            missed[unit.name] = _short(error)
            wasted += time.monotonic() - begin
    return missed


def _write(store: MirrorStore, unit: Unit, *, losses_only: bool = False) -> None:
    # Of two processes that find nothing in the store, each would make a run of it there.
    alone = held_alone(
        unit.folder / ".mlflow.lock",
        must="A folder must be mirrored by one process at a time",
        fix="The next command mirrors it",
        seconds=_LOCKED_SECONDS,
    )
    with alone:
        # Without a state the next one does not take the unit for mirrored, as it is not.
        state = None if losses_only else unit.state()
        entry = make_entry(unit)
        if losses_only:
            entry = entry.of_losses()
        known = store.find(recall(unit, store.key).run_id, entry)
        parent: str | None = None
        if unit.kind == "trial":
            # A sweep is mirrored before its trials.
            parent = recall(Unit(unit.folder.parents[1], "sweep.json", "sweep"), store.key).run_id
        run_id = known or store.create(entry, parent)
        # At once, without a state: killed before the rest is written, the next command goes on with this run
        # and does not make a second one.
        remember(unit, store.key, Memory(run_id))
        store.write(run_id, entry)
        remember(unit, store.key, Memory(run_id, state))


def _catch_up(store: MirrorStore, root: Path, done: list[Unit], note: _Note) -> None:
    """Mirror what earlier commands missed, for a while."""
    left = [
        unit
        for unit in all_units(root)
        if unit not in done
        # A trial goes below its sweep, which has no record at first.
        and (unit.kind != "trial" or (unit.folder.parents[1] / "sweep.json").exists())
        and recall(unit, store.key).state != unit.state()
    ]
    still = _write_all(store, left, time.monotonic() + _CATCH_UP_SECONDS)
    count = len(left) - len(still)
    if count:
        what = "1 run or study" if count == 1 else f"{count} runs or studies"
        later = f"; {len(still)} left for later" if still else ""
        note(f"Also mirrored to MLflow, as earlier commands had not: {what}{later}.")
