"""The progress of a training: a bar and a line an epoch on standard error, a callable, or nobody."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from qhq.errors import visible
from qhq.progress import Live, doing
from qhq.training.loop import TrainingState, Watcher

logger = logging.getLogger("qhq")


class Called(Watcher):
    """Tells a callable, or nobody; what a person should know by the way goes to the log of ``qhq``.

    Args:
        call: Called with the epochs done, how many there are at most, and the losses of the last one.
        epochs: How many there are at most.
    """

    def __init__(self, call: Callable[[int, int, str], None] | None = None, epochs: int = 0) -> None:
        self.call, self.epochs, self.whose = call, epochs, ""

    def seed_begins(self, seed: int) -> None:
        """Name it with what follows."""
        self.whose = f"seed {seed}, "

    def note(self, text: str) -> None:
        """Log it."""
        logger.info("%s", text)

    def epoch_done(self, state: TrainingState) -> None:
        """Say so, with its losses on the training and the validation split."""
        if self.call is not None:
            last = state.history[-1]
            losses = f"loss {last.train_loss:.4f} / {last.validation_loss:.4f}"
            self.call(state.epoch, self.epochs, self.whose + losses)


class TrainingProgress(Live, Watcher):
    """One bar an epoch, then one line with its losses and gradient norms."""

    def __init__(self) -> None:
        # Into a file lines of 160: without a terminal rich would break them at 80.
        self.console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 160)
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]:>3}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )
        self.task = self.bar.add_task("", total=None, epoch=1, status="", visible=False)
        self.epoch, self.batches, self.batch = 1, 0, 0
        self.explained, self.whose = False, ""

    def seed_begins(self, seed: int) -> None:
        """Name it with what follows."""
        self.whose = f"seed {seed:>3}  "

    def note(self, text: str) -> None:
        """Print a line."""
        self.console.print(visible(text), markup=False)
        doing("Training")

    def epoch_started(self, epoch: int, batches: int) -> None:
        """Start the epoch's bar."""
        self.epoch, self.batches, self.batch = epoch + 1, batches, 0
        doing(f"Epoch {self.epoch}, batch 1 of {batches}")
        self.bar.reset(self.task, total=batches, epoch=epoch + 1, status="", visible=True)

    def batch_done(self, loss: float, gradient_norms: dict[str, float]) -> None:
        """Move the bar by one batch."""
        self.batch += 1
        doing(f"Epoch {self.epoch}, {self.batch} of {self.batches} batches done")
        status = f"loss {loss:.4f}  {_norms(gradient_norms)}"
        self.bar.update(self.task, advance=1, status=status)

    def epoch_done(self, state: TrainingState) -> None:
        """Print the epoch's line; a star marks the best validation loss so far."""
        last = state.history[-1]
        # With the first line that it explains: before, it would stand above an empty bar.
        if not self.explained:
            self.console.print("loss: training / validation; |grad|: gradient norms; *: best so far")
            self.explained = True
        doing("Beginning the next epoch, or evaluating")
        norms = {"encoder": last.grad_encoder, "circuit": last.grad_circuit, "head": last.grad_head}
        best = " *" if state.best_epoch == state.epoch else ""
        self.console.print(
            f"{self.whose}epoch {last.epoch + 1:>3}  loss {last.train_loss:.4f} / {last.validation_loss:.4f}"
            f"  {_norms(norms)}{best}"
        )


def _norms(norms: dict[str, float]) -> str:
    return "|grad| " + " ".join(f"{part} {norm:.0e}" for part, norm in norms.items())
