"""Getting tasks done: what lies on the shelf is taken from there, the rest goes to the workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qhq.errors import QHQError
from qhq.experiment.config import ExperimentConfig
from qhq.studies.sweep.shelf import Shelf
from qhq.studies.sweep.watcher import SweepWatcher
from qhq.studies.sweep.work import Outcome, Task, failure_files, open_task, run_task
from qhq.studies.workers.local import Workers
from qhq.tracking.run_folder import RunFolder

Folders = dict[str, RunFolder]
"""Folders of done tasks by the task's name."""
Follow = Callable[[str, Folders], None]
"""Told the name of each task that is done, and all that are."""


def follow_nothing(name: str, done: Folders) -> None:
    """Let tasks come."""


@dataclass(frozen=True)
class Dispatch:
    """The shelf, who works, and who is told."""

    shelf: Shelf
    workers: Workers
    watcher: SweepWatcher

    def open(self, name: str, config: ExperimentConfig) -> Task:
        """Describe a trial; one that cannot even be opened is kept as failed, for `execute` to find."""
        try:
            return open_task(name, config)
        except QHQError as error:
            task = Task(name, "trial", config, data="", circuit=None)
            self.shelf.keep(task, Outcome(failure_files(config, error), failed=True))
            return task

    def execute(self, tasks: Sequence[Task], follow: Follow = follow_nothing) -> Folders:
        """Do what is not done; two tasks of one name are one.

        Args:
            tasks: What is wanted.
            follow: Told of each.

        Raises:
            QHQError: If workers die, are not of the driver's version, or cannot write.
        """
        wanted = {task.name: task for task in tasks}
        found = {name: self.shelf.find(task) for name, task in wanted.items()}
        done: Folders = {}
        for name, folder in found.items():
            if folder is not None:
                done[name] = folder
                self._tell(wanted[name], folder, fresh=False)
                follow(name, done)
        missing = [self.shelf.hand_out(task) for name, task in wanted.items() if name not in done]
        for index, outcome in self.workers.run(run_task, missing):
            task = missing[index]
            done[task.name] = self.shelf.keep(task, outcome)
            self._tell(task, done[task.name], fresh=True)
            follow(task.name, done)
        return done

    def _tell(self, task: Task, folder: RunFolder, *, fresh: bool) -> None:
        if task.until is None:
            self.watcher.trial_done(folder, fresh=fresh)
