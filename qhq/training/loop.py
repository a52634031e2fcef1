"""The training loop: an optimiser, early stopping on the validation split, resumable at every epoch.

Everything random in epoch ``e`` (the order of the batches, dropout) is drawn from a generator named
after ``e``, and the learning rate is a function of ``e`` and the losses before it. A run cut off in an epoch
and taken up at its start therefore repeats it bit for bit.
"""

from __future__ import annotations

import copy
import csv
import io
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qhq.errors import ConfigError
from qhq.seeding import child_generator, child_seed
from qhq.training.losses import mean_loss, open_objective
from qhq.training.natural import MeasuredCircuit
from qhq.training.spec import OPTIMIZERS, TrainingSpec
from qhq.training.traces import copy_parts, drift, hearing

# Validation samples in one forward pass.
_CHUNK = 1024
# Validation samples whose circuits are heard where that takes a pass of its own.
_HEARD = 16


@dataclass(frozen=True)
class EpochRecord:
    """One epoch. Losses are in scaled units; gradient norms are L2 norms, averaged over the batches.

    ``learning_rate`` is that of the last batch, for all weights but a circuit's with a rate of its own.
    ``drift_*`` is the L2 distance of a part's weights from those before the first epoch, and ``output_q*``
    are quantiles of what the circuit gives for the validation split (`qhq.training.traces`). None where
    nothing was trained in steps, where there is no circuit, and in what earlier versions wrote.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    grad_encoder: float
    grad_circuit: float
    grad_head: float
    learning_rate: float | None = None
    drift_encoder: float | None = None
    drift_circuit: float | None = None
    drift_head: float | None = None
    output_q05: float | None = None
    output_q25: float | None = None
    output_q50: float | None = None
    output_q75: float | None = None
    output_q95: float | None = None


def history_csv(history: Sequence[EpochRecord]) -> str:
    """Write epochs as CSV text with a header, one row an epoch counted from 1, floats in full precision."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [field.name for field in fields(EpochRecord)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**asdict(record), "epoch": record.epoch + 1} for record in history)
    return stream.getvalue()


@dataclass(frozen=True)
class Samples:
    """Scaled windows (N, T, F), scaled targets (N, H, K) and, where there are any, static features (N, S)."""

    inputs: Tensor
    targets: Tensor
    static: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def arguments(self, rows: Tensor | slice) -> tuple[Tensor, ...]:
        """What a model is called with for some samples."""
        inputs = self.inputs[rows]
        return (inputs,) if self.static is None else (inputs, self.static[rows])


@dataclass
class TrainingState:
    """All that the next epoch needs, and the best weights so far.

    Attributes:
        model: Weights after the last epoch.
        optimizer: State of the optimiser after the last epoch.
        best_model: Weights with the lowest validation loss, those before the first epoch among them.
        best_loss: That validation loss, in scaled units.
        untrained_loss: Validation loss before the first epoch, which is that of epoch 0; infinite in a state
            that an earlier version wrote, where epoch 0 was no candidate.
        epochs_since_best: Epochs since the best of the trained ones. Patience counts from there: a model
            that starts at a strong baseline has as many epochs to leave it as any other.
        stopped: Whether patience ended the training.
        seconds: Trained in all.
        history: One record an epoch.
    """

    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    best_model: dict[str, Tensor]
    best_loss: float = math.inf
    untrained_loss: float = math.inf
    epochs_since_best: int = 0
    stopped: bool = False
    seconds: float = 0.0
    history: list[EpochRecord] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """Number of epochs done."""
        return len(self.history)

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights are kept, counted from 1; 0 is the untrained model."""
        return 0 if self.untrained_loss <= self.best_trained_loss else self.epoch - self.epochs_since_best

    @property
    def best_trained_loss(self) -> float:
        """Lowest validation loss after an epoch; infinite before the first."""
        return min((record.validation_loss for record in self.history), default=math.inf)

    def to_dict(self) -> dict[str, object]:
        """Plain containers and tensors only, so that it can be read back with ``weights_only``."""
        # Not ``asdict``, which would copy every tensor of the model, the optimizer and the best weights.
        plain = dict(vars(self))
        plain["history"] = [asdict(record) for record in self.history]
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> TrainingState:
        """Inverse of `to_dict`."""
        history = [EpochRecord(**record) for record in plain["history"]]
        return cls(**{**plain, "history": history})


class Watcher:
    """What a caller may do while a training goes on; each verb does nothing unless overridden."""

    def note(self, text: str) -> None:
        """Something a person should know, before or between epochs."""

    def seed_begins(self, seed: int) -> None:
        """What follows is of the run with this seed, where there are several."""

    def training_begins(self, folder: Path, state: TrainingState, epochs: int) -> None:
        """Before the first epoch: where the run is kept, where it goes on, and how many epochs at most."""

    def epoch_started(self, epoch: int, batches: int) -> None:
        """Before the first batch of an epoch (counted from 0)."""

    def batch_done(self, loss: float, gradient_norms: dict[str, float]) -> None:
        """After one optimiser step."""

    def epoch_done(self, state: TrainingState) -> None:
        """After validation; ``state`` is all that a resumed run needs."""


class Watchers(Watcher):
    """Several watchers as one, called in order."""

    def __init__(self, watchers: Iterable[Watcher]) -> None:
        self.watchers = tuple(watchers)

    def note(self, text: str) -> None:
        """Tell each watcher."""
        for watcher in self.watchers:
            watcher.note(text)

    def seed_begins(self, seed: int) -> None:
        """Tell each watcher."""
        for watcher in self.watchers:
            watcher.seed_begins(seed)

    def training_begins(self, folder: Path, state: TrainingState, epochs: int) -> None:
        """Tell each watcher."""
        for watcher in self.watchers:
            watcher.training_begins(folder, state, epochs)

    def epoch_started(self, epoch: int, batches: int) -> None:
        """Tell each watcher."""
        for watcher in self.watchers:
            watcher.epoch_started(epoch, batches)

    def batch_done(self, loss: float, gradient_norms: dict[str, float]) -> None:
        """Tell each watcher."""
        for watcher in self.watchers:
            watcher.batch_done(loss, gradient_norms)

    def epoch_done(self, state: TrainingState) -> None:
        """Tell each watcher."""
        for watcher in self.watchers:
            watcher.epoch_done(state)


class Trainer:
    """Trains one model on one pair of training and validation samples.

    Args:
        model: A module whose `parts()` names its parameters by part (see `HybridForecaster.parts`);
            its weights are changed in place.
        train: Training samples.
        validation: Validation samples, the only ones that decide when to stop.
        spec: Epochs, batch size, optimiser, patience.
        seed: Seed of the batch order and of dropout.
    """

    def __init__(
        self, model: nn.Module, train: Samples, validation: Samples, spec: TrainingSpec, *, seed: int
    ) -> None:
        self.model, self.spec, self.seed = model, spec, seed
        self.train, self.validation = train, validation
        self.objective = open_objective(spec)
        self.parts: dict[str, list[nn.Parameter]] = model.parts()  # type: ignore[operator]
        self.optimizer = open_optimizer(model, self.parts, spec)
        self.rates: list[float] = [group["lr"] for group in self.optimizer.param_groups]
        # Those that the seed gives, whether the training begins or is taken up: `run` loads others.
        self.begun = copy_parts(self.parts)

    def initial_state(self) -> TrainingState:
        """State before the first epoch; its weights are the first candidate for the best ones.

        Raises:
            ConfigError: If the validation loss is not a finite number.
        """
        weights, loss = _copy(self.model.state_dict()), self.validation_loss()
        # A model that starts at its baseline has weights of its own for that (see `HybridForecaster`).
        untrained = getattr(self.model, "untrained_state", self.model.state_dict)()
        optimizer = copy.deepcopy(self.optimizer.state_dict())
        return TrainingState(weights, optimizer, _copy(untrained), best_loss=loss, untrained_loss=loss)

    def run(self, state: TrainingState, watcher: Watcher, until: int | None = None) -> TrainingState:
        """Train from ``state`` to the end and leave the best weights in the model.

        Args:
            state: Where to begin.
            watcher: Informed of each epoch.
            until: Leave off after so many epochs in all, to go on later from the state returned.

        Raises:
            ConfigError: If the loss stops being a finite number.
        """
        self.model.load_state_dict(state.model)
        # A copy, since Adam goes on in the tensors that it loads, and ``state`` may be resumed a second time.
        self.optimizer.load_state_dict(copy.deepcopy(state.optimizer))
        # ``until`` counts from the first epoch, so that a study's stages need not know where a trial stands.
        epochs = self.spec.epochs if until is None else min(until, self.spec.epochs)
        while state.epoch < epochs and not state.stopped:
            started = time.perf_counter()
            record = self._run_epoch(state, watcher)
            state = self.advance(state, record)
            # Before the epoch is told of, which saves states and draws: it is the time of training alone.
            state.seconds += time.perf_counter() - started
            watcher.epoch_done(state)
        # Also after an interruption by ``until``: what is returned holds the last weights, the model the
        # best.
        self.model.load_state_dict(state.best_model)
        return state

    def _run_epoch(self, state: TrainingState, watcher: Watcher) -> EpochRecord:
        epoch, losses = state.epoch, [record.validation_loss for record in state.history]
        batches = -(-len(self.train) // self.spec.batch_size)
        watcher.epoch_started(epoch, batches)
        self.model.train()
        total, norms = 0.0, dict.fromkeys(self.parts, 0.0)
        # Dropout draws from torch's global generator, the only one that it knows; the caller's is given back.
        # No devices: left out, the generators of all GPUs would be saved and put back at each epoch.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(child_seed(self.seed, f"dropout/{epoch}"))
            for number, batch in enumerate(self.batches(epoch)):
                self.set_rates(self.optimizer, epoch + (number + 0.5) / batches, losses)
                loss, batch_norms = self._step(batch)
                total += loss * len(batch)  # the last batch may be shorter, and counts for less
                norms = {part: norms[part] + batch_norms[part] for part in norms}
                watcher.batch_done(loss, batch_norms)
        grads = {f"grad_{part}": norm / batches for part, norm in norms.items()}
        rate = float(self.optimizer.param_groups[0]["lr"])
        record = EpochRecord(epoch, total / len(self.train), math.nan, **grads, learning_rate=rate)
        return self.measured(record)

    def measured(self, record: EpochRecord) -> EpochRecord:
        """The record of an epoch with what is measured of the weights after it."""
        circuits: list[nn.Module] = getattr(self.model, "heard_circuits", list)()
        # Where a hook would take the shortest way from a whole sequence, a few windows are forecast beside.
        apart = bool(circuits) and getattr(self.model, "hears_slowly", False)
        with hearing([] if apart else circuits) as heard:
            loss = self.validation_loss()
        if apart:
            rows = torch.linspace(0, len(self.validation) - 1, min(len(self.validation), _HEARD)).long()
            with hearing(circuits) as heard, torch.no_grad():
                self._outputs(*self.validation.arguments(rows))
        found: dict[str, Any] = {**drift(self.parts, self.begun), **heard.quantiles()}
        return replace(record, validation_loss=loss, **found)

    def batches(self, epoch: int) -> Iterator[Tensor]:
        """Rows of each batch of an epoch, drawn for it."""
        order = child_generator(self.seed, f"batches/{epoch}").permutation(len(self.train))
        return iter(torch.split(torch.from_numpy(order), self.spec.batch_size))

    def set_rates(self, optimizer: torch.optim.Optimizer, at: float, losses: Sequence[float]) -> None:
        """Set the learning rates of a batch; ``at`` is its place among the epochs."""
        factor = self.spec.schedule.factor(at, self.spec.epochs, losses)
        for group, rate in zip(optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor

    def _step(self, batch: Tensor) -> tuple[float, dict[str, float]]:
        arguments, targets = self.train.arguments(batch), self.train.targets[batch]

        def measure() -> float:
            self.optimizer.zero_grad()
            loss = self.loss(self._outputs(*arguments), targets)
            loss.backward()  # type: ignore[no-untyped-call]
            return float(loss.detach())

        generator = torch.random.get_rng_state()
        value = finite(measure())
        # Before clipping, which would hide the explosion that the norms are there to show.
        norms = {part: gradient_norm(parameters) for part, parameters in self.parts.items()}
        if self.spec.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.clip_norm)
        if not self.spec.optimizer.line_search:
            self.optimizer.step()
            return value, norms

        def again() -> float:
            # The losses that are compared must be those of one function: with dropout, under one mask.
            torch.random.set_rng_state(generator)
            return measure()

        self.optimizer.step(again)
        return value, norms

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Loss over the validation split, in scaled units."""
        self.model.eval()
        starts = range(0, len(self.validation), _CHUNK)
        forecasts = [self._outputs(*self.validation.arguments(slice(at, at + _CHUNK))) for at in starts]
        # One loss of all, not a mean of chunks: the last chunk is shorter.
        return finite(float(self.loss(torch.cat(forecasts), self.validation.targets)))

    def _outputs(self, *arguments: Tensor) -> Tensor:
        """What the objective reads: of a model with several values a target all of them."""
        outputs: Tensor = getattr(self.model, "outputs", self.model)(*arguments)
        return outputs

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of what the model gave for some samples."""
        start: Tensor | None = getattr(self.model, "start", None)
        return mean_loss(self.objective, outputs, targets, start, self.spec.horizon_weights)

    def advance(self, state: TrainingState, record: EpochRecord) -> TrainingState:
        """The state after an epoch, of the weights and the optimiser as they are now."""
        weights = _copy(self.model.state_dict())
        # Strictly: of equal losses the earlier weights stay, so that a dead model keeps the untrained ones.
        better = record.validation_loss < state.best_loss
        ahead = record.validation_loss < state.best_trained_loss
        since_best = 0 if ahead else state.epochs_since_best + 1
        return TrainingState(
            model=weights,
            # state_dict() hands out the very tensors that the next step changes.
            optimizer=copy.deepcopy(self.optimizer.state_dict()),
            best_model=weights if better else state.best_model,
            best_loss=record.validation_loss if better else state.best_loss,
            untrained_loss=state.untrained_loss,
            epochs_since_best=since_best,
            seconds=state.seconds,
            stopped=self.spec.patience is not None and since_best >= self.spec.patience,
            history=[*state.history, record],
        )


def open_optimizer(
    model: nn.Module, parts: dict[str, list[nn.Parameter]], spec: TrainingSpec
) -> torch.optim.Optimizer:
    """Make the optimiser of a config; the circuit's weights are a group only where they have rates.

    With one group its parameters stand in the order of the model's, as in states that earlier versions wrote.
    """
    kind: Callable[..., torch.optim.Optimizer] = EntryPoint("", OPTIMIZERS[spec.optimizer.kind], "").load()
    settings: dict[str, object] = {"lr": spec.learning_rate, **spec.optimizer.settings()}
    # torch's LBFGS refuses several groups of parameters, and knows no weight decay.
    if spec.optimizer.line_search:
        return kind(model.parameters(), **settings)
    if spec.optimizer.natural:
        settings["circuits"] = [each for each in model.modules() if isinstance(each, MeasuredCircuit)]
    groups: list[dict[str, object]] = [{"params": list(model.parameters())}]
    given = {"lr": spec.circuit.learning_rate, "weight_decay": spec.circuit.weight_decay}
    own = {key: value for key, value in given.items() if value is not None}
    if own and parts["circuit"]:
        # By identity: `in` would compare tensors element by element.
        circuit = {id(each) for each in parts["circuit"]}
        groups[0]["params"] = [each for each in model.parameters() if id(each) not in circuit]
        groups.append({"params": parts["circuit"], **own})
    return kind(groups, weight_decay=spec.weight_decay, **settings)


def gradient_norm(parameters: list[nn.Parameter]) -> float:
    """L2 norm over all gradients of ``parameters``; 0 where there is none."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return 0.0
    # As clip_grad_norm_ does it: one call for all tensors instead of one for each.
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))


def _copy(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # The optimizer changes weights in place: without a copy the best ones would go on with the others.
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def finite(loss: float) -> float:
    """Give a loss back if it is a finite number.

    Raises:
        ConfigError: If it is no finite number.
    """
    if not math.isfinite(loss):
        raise ConfigError(
            "The loss must stay a finite number",
            got=f"{loss}",
            fix="Lower training.learning_rate or set training.clip_norm",
        )
    return loss
