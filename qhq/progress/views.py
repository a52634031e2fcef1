"""Other programs that show a training while it goes on: MLflow's page, and TensorBoard."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from qhq.errors import ConfigError
from qhq.paths import runs_dir
from qhq.progress import Views
from qhq.runs.mirror import is_on
from qhq.training.loop import EpochRecord, TrainingState, Watcher

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

MIRROR_AFTER_SECONDS = 20.0
"""A training that is shorter is mirrored when it ends, and never pays for a second process."""
MIRROR_EVERY_SECONDS = 10.0
_MIRROR = (sys.executable, "-m", "qhq.runs.mirror_live")
# How long the end of a training waits for the last losses, which its results bring in any case.
_END_SECONDS = 5.0

EVENTS = "tensorboard"
"""Folder of a run that TensorBoard reads."""


@contextmanager
def open_views(views: Views) -> Iterator[list[Watcher]]:
    """Open what was asked for.

    Raises:
        ConfigError: If TensorBoard is not installed.
    """
    with ExitStack() as stack:
        watchers: list[Watcher] = []
        if views.tensorboard:
            watchers.append(stack.enter_context(TensorBoard()))
        if views.mirror and is_on():
            watchers.append(stack.enter_context(LiveMirror()))
        yield watchers


class LiveMirror(Watcher):
    """Tells a second process every few seconds which run has new losses for MLflow.

    Args:
        command: What it runs.
    """

    def __init__(self, command: Sequence[str] = _MIRROR) -> None:
        self.command = command
        self.child: subprocess.Popen[str] | None = None
        self.folder: Path | None = None
        self.folders: dict[int, Path] = {}
        self.due: dict[Path, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Let it end; it must be gone before the run is mirrored whole, or killed."""
        if self.child is None:
            return
        with contextlib.suppress(OSError):
            if self.child.stdin is not None:
                self.child.stdin.close()
        try:
            self.child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def seed_begins(self, seed: int) -> None:
        """Turn to its run."""
        self.folder = self.folders.get(seed)
        self.seed = seed

    seed: int | None = None

    def training_begins(self, folder: Path, state: TrainingState, epochs: int) -> None:  # noqa: ARG002
        """Learn where the run is; the folds of a walk-forward have no runs of their own in MLflow."""
        self.folder = folder if folder.parent == runs_dir().absolute() else None
        if self.folder is not None:
            self.due[self.folder] = time.monotonic() + MIRROR_AFTER_SECONDS
            if self.seed is not None:
                self.folders[self.seed] = self.folder

    def epoch_done(self, state: TrainingState) -> None:  # noqa: ARG002
        """Name the run, if it is time."""
        if self.folder is None or time.monotonic() < self.due[self.folder]:
            return
        self.due[self.folder] = time.monotonic() + MIRROR_EVERY_SECONDS
        with contextlib.suppress(OSError):  # the mirror never keeps a run from ending well
            if self.child is None:
                # A session of its own: Ctrl-C is for the training, and ends the child with its input.
                self.child = subprocess.Popen(
                    self.command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    text=True, start_new_session=True,
                )  # fmt: skip
            if self.child.stdin is not None:
                self.child.stdin.write(f"{self.folder}\n")
                self.child.stdin.flush()


class TensorBoard(Watcher):
    """Writes losses, gradient norms and the learning rate for TensorBoard, into each run's own folder.

    Raises:
        ConfigError: If TensorBoard is not installed.
    """

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "--tensorboard needs the package tensorboard",
                got="an environment without it",
                fix="Install it with: pip install 'qhq[tensorboard]', or leave the option out",
            ) from error
        self.open = SummaryWriter
        self.writer: SummaryWriter | None = None
        self.writers: dict[int, SummaryWriter] = {}
        self.seed: int | None = None
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def seed_begins(self, seed: int) -> None:
        """Turn to its run."""
        self.seed, self.writer = seed, self.writers.get(seed)

    def training_begins(self, folder: Path, state: TrainingState, epochs: int) -> None:  # noqa: ARG002
        """Open the files of the run; a resumed one goes on in its curves, or begins with all that it has."""
        place = folder / EVENTS
        new = not place.is_dir()
        # What was written of an epoch that was cut off is not shown again.
        self.writer = self.open(str(place), purge_step=None if new else state.epoch + 1)
        self.stack.callback(self.writer.close)
        if self.seed is not None:
            self.writers[self.seed] = self.writer
        if new:
            self.writer.add_scalar("loss/validation", state.untrained_loss, 0)
            for record in state.history:
                self._write(record)

    def epoch_done(self, state: TrainingState) -> None:
        """Write the epoch, whole."""
        self._write(state.history[-1])

    def _write(self, record: EpochRecord) -> None:
        if self.writer is None:
            return
        scalars = {
            "loss/training": record.train_loss,
            "loss/validation": record.validation_loss,
            "gradient norm/encoder": record.grad_encoder,
            "gradient norm/circuit": record.grad_circuit,
            "gradient norm/head": record.grad_head,
            "learning rate": record.learning_rate,
        }
        for name, value in scalars.items():
            if value is not None:
                self.writer.add_scalar(name, value, record.epoch + 1)
        self.writer.flush()
