"""The sweep's folder: what is done, what was cut off.

::

    sweep.yaml          the sweep as it was asked for
    start.yaml          the config that it starts from
    sweep.json          rankings, winner, final results; there from the first stage on
    winner.yaml         the config of the best so far
    final.json          names of the final runs, which lie beside all other runs
    trials/NAME/        one run folder a trial that ended, finished or failed
    legs/NAME-eN/       a trial's first N epochs, where a stage prunes; run.json alone once it has ended
    working/NAME        a trial that was handed out and has not come back
    figures/            one a stage
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qhq.errors import ConfigError
from qhq.files import MOST_TABLE_BYTES, make_folder, read_json, read_regular, write_atomically
from qhq.paths import runs_dir
from qhq.studies.sweep.work import Outcome, Task
from qhq.tracking.run_folder import FAILED, RunFolder, writable


@dataclass(frozen=True)
class Shelf:
    """The folder of one sweep; only its driver writes there."""

    folder: RunFolder

    def find(self, task: Task) -> RunFolder | None:
        """What a task has made, if it is done; a trial that failed in one leg has failed in all."""
        trial, whole = RunFolder(self._trial(task.name)), RunFolder(self._whole(task))
        if _is_there(trial) and (task.until is None or _has_failed(trial)):
            return trial
        return whole if _is_there(whole) else None

    def keep(self, task: Task, outcome: Outcome) -> RunFolder:
        """Put the files of a task where `find` finds them, whole or not at all."""
        ended = task.until is None or outcome.failed
        path = self._trial(task.name) if outcome.failed else self._whole(task)
        with writable(path):
            lay_down(outcome.files, path)
            if ended:
                self._strip(task.name)
            self._working(task.name).unlink(missing_ok=True)
        return RunFolder(path)

    def hand_out(self, task: Task) -> Task:
        """Remember that a task is being worked on, and give it with what its last leg left."""
        with writable(self._working(task.name)):
            self._working(task.name).parent.mkdir(parents=True, exist_ok=True)
            self._working(task.name).touch()
        legs = [self._own(path) for path in self.folder.file("legs").glob(f"{task.name}-e*/resume.pt")]
        last = max(legs, key=lambda path: int(path.parent.name.rpartition("-e")[2]), default=None)
        return task if last is None else replace(task, resume=read_regular(last, most=MOST_TABLE_BYTES))

    def stale(self) -> list[str]:
        """Forget what was handed out by a driver that is no more, and say what it was."""
        found = sorted(self.folder.file("working").glob("*"))
        for path in found:
            path.unlink(missing_ok=True)
        return [path.name for path in found if not _is_there(RunFolder(self._trial(path.name)))]

    def read(self, name: str) -> dict[str, Any] | None:
        """One of its JSON files; None if there is none yet.

        Raises:
            ConfigError: If it is damaged.
        """
        path = self.folder.file(name)
        content: dict[str, Any] | None = None
        if path.is_file():
            try:
                content = read_json(path, most=MOST_TABLE_BYTES, what="record of a sweep")
            except ValueError as error:
                raise _damaged(path, str(error)) from error
            if not isinstance(content, dict):
                raise _damaged(path, f"a {type(content).__name__}")
        return content

    def _trial(self, name: str) -> Path:
        return self.folder.file(f"trials/{name}")

    def _whole(self, task: Task) -> Path:
        """Where the files of a task that went well go."""
        if task.kind == "run":
            return runs_dir() / task.name
        return self._trial(task.name) if task.until is None else self._leg(task)

    def _leg(self, task: Task) -> Path:
        return self.folder.file(f"legs/{task.name}-e{task.until}")

    def _working(self, name: str) -> Path:
        return self.folder.file(f"working/{name}")

    def _own(self, path: Path) -> Path:
        """A path found in the folder, unless a link leads out of it: what is found may be removed."""
        return self.folder.file(str(path.relative_to(self.folder.path)))

    def _strip(self, name: str) -> None:
        """Of the legs of a trial that ended keep what was measured: a sweep that goes on is told the same."""
        for leg in self.folder.file("legs").glob(f"{name}-e*"):
            for path in self._own(leg).iterdir():
                if path.name != "run.json":
                    path.unlink()
        (self._trial(name) / "resume.pt").unlink(missing_ok=True)


def _damaged(path: Path, got: str) -> ConfigError:
    return ConfigError(
        "A record of a sweep must be a JSON object", got=f"{path}: {got}", fix="Remove it; it is made again"
    )


def _is_there(folder: RunFolder) -> bool:
    return folder.file("run.json").is_file()


def _has_failed(trial: RunFolder) -> bool:
    return bool(trial.read_record()["status"] == FAILED)


def lay_down(files: dict[str, bytes], path: Path) -> None:
    """Make a folder of files; it appears when it is whole. One that is there stays."""
    if (path / "run.json").is_file():
        return

    def fill(folder: Path) -> None:
        for name, content in files.items():
            write_atomically(folder / name, content)

    make_folder(path, fill)
