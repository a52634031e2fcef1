"""The progress of a training: a bar and a line an epoch on standard error, curves, a callable, or nobody."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from qhq.errors import visible
from qhq.progress import Live, doing
from qhq.progress.curves import LossCurve, draw_curves
from qhq.progress.steps import stderr_console
from qhq.training.loop import EpochRecord, TrainingState, Watcher

logger = logging.getLogger("qhq")

_PLOT_ROWS = 12
# Lines below the plot, and the prompt: a plot that fills the whole screen would scroll with each frame.
_OTHER_ROWS = 7
_COLOURS = ("magenta", "cyan", "green", "yellow", "red", "blue")


class CalledTraining(Watcher):
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

    def training_begins(self, folder: Path, state: TrainingState, epochs: int) -> None:  # noqa: ARG002
        """Learn how many epochs there are, which the caller of a resumed run does not know."""
        self.epochs = epochs

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

    bar: _Bar

    def __init__(self) -> None:
        self.console = stderr_console()
        self.bar = _Bar(
            TextColumn("epoch {task.fields[epoch]:>3}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            transient=True,
        )
        self.task = self.bar.add_task("", total=None, epoch=1, status="", left="", visible=False)
        self.epoch, self.batches, self.batch, self.epochs = 1, 0, 0, 0
        self.pace = _Pace()
        self.explained, self.whose = False, ""

    def seed_begins(self, seed: int) -> None:
        """Name it with what follows."""
        self.whose = f"seed {seed:>3}  "

    def training_begins(self, folder: Path, state: TrainingState, epochs: int) -> None:  # noqa: ARG002
        """Learn how many epochs are left."""
        self.epochs, self.pace = epochs, _Pace(state.epoch)

    def note(self, text: str) -> None:
        """Print a line."""
        self.console.print(visible(text), markup=False)
        doing("Training")

    def epoch_started(self, epoch: int, batches: int) -> None:
        """Start the epoch's bar."""
        self.epoch, self.batches, self.batch = epoch + 1, batches, 0
        doing(f"Epoch {self.epoch}, batch 1 of {batches}{self.pace.left(epoch, self.epochs)}")
        self.bar.reset(self.task, total=batches, epoch=epoch + 1, status="", left="", visible=True)

    def batch_done(self, loss: float, gradient_norms: dict[str, float]) -> None:  # noqa: ARG002
        """Move the bar by one batch."""
        self.batch += 1
        # Of the whole training, this epoch's batches among them.
        left = self.pace.left(self.epoch - 1 + self.batch / self.batches, self.epochs)
        doing(f"Epoch {self.epoch}, {self.batch} of {self.batches} batches done{left}")
        self.bar.update(self.task, advance=1, status=f"loss {loss:.4f}", left=left.removeprefix(", "))

    def epoch_done(self, state: TrainingState) -> None:
        """Print the epoch's line; a star marks the best validation loss so far."""
        last = state.history[-1]
        # With the first line that it explains: before, it would stand above an empty bar.
        if not self.explained:
            self.console.print("loss: training / validation; |grad|: gradient norms; *: best so far")
            self.explained = True
        doing("Beginning the next epoch, or evaluating")
        best = " *" if state.best_epoch == state.epoch else ""
        self.console.print(
            f"{self.whose}epoch {last.epoch + 1:>3}  loss {last.train_loss:.4f} / {last.validation_loss:.4f}"
            f"  |grad| {_norms(last)}{best}"
        )


@dataclass
class _Trained:
    """What is known of one training.

    Attributes:
        name: Of its folder.
        state: After its last epoch.
    """

    name: str
    state: TrainingState

    def curves(self) -> list[LossCurve]:
        """The losses by epoch; that of the untrained model, epoch 0, is known of the validation split."""
        history = self.state.history
        training = [(each.epoch + 1.0, each.train_loss) for each in history]
        return [
            LossCurve("training", training, "cyan"),
            LossCurve("validation", self.validation(), "bold magenta"),
        ]

    def validation(self) -> list[tuple[float, float]]:
        """The validation losses, from the untrained model on."""
        epochs = [(each.epoch + 1.0, each.validation_loss) for each in self.state.history]
        return [(0.0, self.state.untrained_loss), *epochs]


class CurvesProgress(TrainingProgress):
    """The losses as curves, drawn anew in place after each epoch, above the bar; at the end they stay.

    Where standard error is no terminal, there is nothing that could be drawn anew: lines, as without it.
    Several seeds are trained at once: then the validation loss of each is a curve.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.console.is_terminal and not self.console.is_dumb_terminal
        self.trainings: dict[str, _Trained] = {}
        if self.live:
            self.bar.above = self.picture

    def training_begins(self, folder: Path, state: TrainingState, epochs: int) -> None:
        """Begin with the epochs that a resumed run has already; those of the fold before are done with."""
        super().training_begins(folder, state, epochs)
        if not self.whose:
            self.trainings.clear()
        self.trainings[self.whose] = _Trained(folder.name, state)

    def epoch_done(self, state: TrainingState) -> None:
        """Take the epoch in."""
        if not self.live:
            super().epoch_done(state)
            return
        doing("Beginning the next epoch, or evaluating")
        name = self.trainings[self.whose].name if self.whose in self.trainings else ""
        self.trainings[self.whose] = _Trained(name, state)

    def __exit__(self, *error: object) -> None:
        """Leave the last curves on the screen."""
        super().__exit__(*error)  # type: ignore[arg-type]
        if self.live:
            for line in self.picture():
                self.console.print(line)

    def picture(self) -> list[Text]:
        """The curves and what they come to, for the terminal as wide and high as it is now."""
        begun = [each for each in self.trainings.values() if each.state.history]
        if not begun:
            return []
        width, height = self.console.size
        rows = min(_PLOT_ROWS, height - _OTHER_ROWS)
        # Braille has no letter in any other encoding, and writing it would raise an error.
        plain = not self.console.encoding.startswith("utf")
        lines = draw_curves(self._curves(), width=width - 1, rows=rows, plain=plain)
        title = begun[0].name if len(begun) == 1 else f"{len(begun)} seeds: validation loss of each"
        said = [f"{visible(title, cell=True)}, loss in scaled units"] if lines else []
        best = min(begun, key=lambda each: each.state.best_loss)
        said += [_say_best(best.state), _say_norms(best.state.history[-1])]
        texts = [Text(each, no_wrap=True, overflow="ellipsis") for each in said]
        return [*texts[:-2], *lines, *texts[-2:]]

    def _curves(self) -> Iterable[LossCurve]:
        if len(self.trainings) == 1:
            return next(iter(self.trainings.values())).curves()
        return [
            LossCurve(whose.strip(), each.validation(), _COLOURS[place % len(_COLOURS)])
            for place, (whose, each) in enumerate(self.trainings.items())
        ]


class _Bar(Progress):
    """A bar with lines above it, which are asked for with each frame."""

    above: Callable[[], Iterable[Text]] | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        """The lines, then the bar."""
        if self.above is not None:
            # Asked anew with each frame: the terminal may have another size since the last.
            yield from self.above()
        yield from super().get_renderables()


@dataclass
class _Pace:
    """How long an epoch takes, since this process began to train.

    Attributes:
        done: Epochs that were done before.
        since: When it began, on a clock that is never set.
    """

    done: float = 0.0
    since: float = field(default_factory=time.monotonic)

    def left(self, done: float, epochs: int) -> str:
        """Words on the time that is left at most: training may stop early; none where nothing is known."""
        # Epochs of an earlier process say nothing of the speed of this one.
        here = done - self.done
        if here <= 0 or epochs <= done:
            return ""
        seconds = (time.monotonic() - self.since) / here * (epochs - done)
        return f", {_duration(seconds)} left at most"


def _duration(seconds: float) -> str:
    """A time in words.

    >>> _duration(41.2), _duration(125), _duration(7300)
    ('41 s', '2 min', '2.0 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _say_best(state: TrainingState) -> str:
    """The epoch whose weights are kept, and what it gains over the untrained model."""
    if state.best_epoch == 0:
        return f"best: the untrained model, validation loss {state.best_loss:.4g}"
    gain = ""
    if math.isfinite(state.untrained_loss) and state.untrained_loss > 0:
        share = 1 - state.best_loss / state.untrained_loss
        gain = f", {100 * share:.1f} % below the untrained model's"
    return f"best: epoch {state.best_epoch}, validation loss {state.best_loss:.4g}{gain}"


def _say_norms(last: EpochRecord) -> str:
    rate = "" if last.learning_rate is None else f"; learning rate {last.learning_rate:.2g}"
    return f"gradient norms: {_norms(last)}{rate}"


def _norms(last: EpochRecord) -> str:
    norms = {"encoder": last.grad_encoder, "circuit": last.grad_circuit, "head": last.grad_head}
    return " ".join(f"{part} {norm:.0e}" for part, norm in norms.items())
