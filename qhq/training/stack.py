"""Several models of one design trained at once, each with its own seed, batches and early stopping.

Every tensor of the weights and of the optimiser is a stack of theirs, (S, ...), and an optimiser that treats
each value by itself takes the steps that S of them would take. Between epochs each member is a
`TrainingState` like any other: it is validated, stopped, kept on disk and resumed by itself.

A member keeps its place in the stack, and the stack its size, as long as any is trained: how a matrix library
rounds may depend on where a matrix lies in memory, and a training that is resumed must repeat the one that
was cut off bit for bit. So the places of those that have stopped are computed, and nobody looks at them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from qhq.training.loop import EpochRecord, Trainer, TrainingState, Watcher, finite, open_optimizer
from qhq.training.spec import PlateauSpec, TrainingSpec


class StackedModel(Protocol):
    """Models of one design as one (`qhq.models.stack.Stack`)."""

    @property
    def model(self) -> nn.Module:
        """Has the parameters of each of them, by their names, as (S, ...), and their `parts`."""

    @property
    def outputs(self) -> Callable[..., Tensor]:
        """Stacked arguments -> what the losses of all members are computed of, (S, B, ...)."""


def spec_cannot_stack(spec: TrainingSpec) -> str:
    """Why models are trained one by one as ``spec`` has it; empty if they need not be."""
    if spec.optimizer.line_search:
        return f"training.optimizer {spec.optimizer.kind} chooses a step for each model"
    if spec.optimizer.natural:
        return f"training.optimizer {spec.optimizer.kind} has a metric for each circuit"
    if isinstance(spec.schedule, PlateauSpec):
        return "training.schedule plateau follows the losses of each model"
    return ""


class StackTrainer:
    """Trains what several trainers would, of one design and on as many samples each.

    Args:
        trainers: One a member.
        stack: Their models as one; its weights are overwritten.
    """

    def __init__(self, trainers: Sequence[Trainer], stack: StackedModel) -> None:
        self.trainers, self.stack = tuple(trainers), stack
        self.spec = self.trainers[0].spec
        self.tensors = dict(stack.model.named_parameters())
        self.parts: dict[str, list[nn.Parameter]] = stack.model.parts()  # type: ignore[operator]
        self.optimizer = open_optimizer(stack.model, self.parts, self.spec)

    def run(
        self, states: Sequence[TrainingState], watchers: Sequence[Watcher], until: int | None = None
    ) -> list[TrainingState]:
        """Train each member from its state to the end and leave the best weights in its model.

        Args:
            states: Where to begin, one a member; one may have more epochs than another.
            watchers: Informed of each epoch of a member, as by `Trainer.run`; its seconds are its share.
            until: Leave off after so many epochs in all, as of `Trainer.run`.

        Raises:
            ConfigError: If the loss of a member stops being a finite number.
        """
        states = list(states)
        epochs = self.spec.epochs if until is None else min(until, self.spec.epochs)
        while left := [at for at, each in enumerate(states) if each.epoch < epochs and not each.stopped]:
            # After a kill some may be an epoch ahead: the others catch up.
            epoch = min(states[at].epoch for at in left)
            members = [at for at in left if states[at].epoch == epoch]
            started = time.perf_counter()
            self._load(states, members)
            records = self._run_epoch(states, members, watchers)
            whole = self.optimizer.state_dict()
            # One pass for all members: each is charged its part, so that all together are what passed.
            share = (time.perf_counter() - started) / len(members)
            for at, record in zip(members, records, strict=True):
                started = time.perf_counter()
                states[at] = self._state_of(at, record, whole, states[at])
                states[at].seconds += share + time.perf_counter() - started
                watchers[at].epoch_done(states[at])
        for trainer, state in zip(self.trainers, states, strict=True):
            trainer.model.load_state_dict(state.best_model)
        return states

    def _load(self, states: Sequence[TrainingState], members: Sequence[int]) -> None:
        """Lay weights and optimisers of all members into the stack."""
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                # In place, since the optimiser and the model hold these very tensors.
                torch.stack([state.model[name] for state in states], out=tensor.data)
        # In the place of one that is not trained now any other's will do: it may not have as many steps.
        some = states[members[0]].optimizer
        taken = [(states[at].optimizer if at in members else some)["state"] for at in range(len(states))]
        stacked = {
            key: {name: _stack(name, [each[key][name] for each in taken]) for name in kept}
            for key, kept in some["state"].items()
        }
        self.optimizer.load_state_dict({"state": stacked, "param_groups": some["param_groups"]})

    def _run_epoch(
        self, states: Sequence[TrainingState], members: Sequence[int], watchers: Sequence[Watcher]
    ) -> list[EpochRecord]:
        """Train an epoch; the records of the members lack what `Trainer.measured` adds."""
        first, some = self.trainers[0], states[members[0]]
        epoch, losses = some.epoch, [record.validation_loss for record in some.history]
        samples, batches = len(first.train), -(-len(first.train) // self.spec.batch_size)
        for at in members:
            watchers[at].epoch_started(epoch, batches)
        totals, norms = torch.zeros(len(states), dtype=torch.float64), dict[str, Tensor]()
        for number, rows in enumerate(zip(*(each.batches(epoch) for each in self.trainers), strict=True)):
            first.set_rates(self.optimizer, epoch + (number + 0.5) / batches, losses)
            found, by_part = self._step(rows, members)
            totals += found * len(rows[0])  # the last batch may be shorter, and counts for less
            norms = {part: norms.get(part, 0.0) + each for part, each in by_part.items()}
            shown = found.tolist(), {part: each.tolist() for part, each in by_part.items()}
            for at in members:
                watchers[at].batch_done(shown[0][at], {part: each[at] for part, each in shown[1].items()})
        rate = float(self.optimizer.param_groups[0]["lr"])
        return [
            EpochRecord(
                epoch,
                float(totals[at]) / samples,
                float("nan"),
                **{f"grad_{part}": float(each[at]) / batches for part, each in norms.items()},
                learning_rate=rate,
            )
            for at in members
        ]

    def _step(self, rows: Sequence[Tensor], members: Sequence[int]) -> tuple[Tensor, dict[str, Tensor]]:
        """One batch of each: losses (S,), and norms of gradients (S,) by part."""
        each = list(zip(self.trainers, rows, strict=True))
        arguments = zip(*(trainer.train.arguments(own) for trainer, own in each), strict=True)
        self.optimizer.zero_grad()
        outputs = self.stack.outputs(*map(torch.stack, arguments))
        # By each trainer's own hand, as if its model had given them alone.
        losses = torch.stack(
            [
                trainer.loss(found, trainer.train.targets[own])
                for (trainer, own), found in zip(each, outputs.unbind(), strict=True)
            ]
        )
        # A loss depends on the tensors of its own member alone: the gradient of the sum is that of each.
        losses.sum().backward()  # type: ignore[no-untyped-call]
        values = losses.detach().double()
        for at in members:
            finite(float(values[at]))
        norms = {part: _norms(own, len(rows)) for part, own in self.parts.items()}
        if self.spec.clip_norm is not None:
            _clip(list(self.tensors.values()), len(rows), self.spec.clip_norm)
        self.optimizer.step()
        return values, norms

    def _state_of(
        self, at: int, record: EpochRecord, optimizer: dict[str, Any], state: TrainingState
    ) -> TrainingState:
        """The state of a member after an epoch, as its own trainer would have it."""
        trainer = self.trainers[at]
        # Over those of the state: what is kept with the weights and not trained is not in the stack.
        own = {name: tensor.detach()[at] for name, tensor in self.tensors.items()}
        trainer.model.load_state_dict({**state.model, **own})
        kept = {
            key: {name: _pick(name, value, at) for name, value in each.items()}
            for key, each in optimizer["state"].items()
        }
        trainer.optimizer.load_state_dict({**optimizer, "state": kept})
        return trainer.advance(state, trainer.measured(record))


# What an optimiser keeps beside tensors of the shape of the weights; the same for all members.
_COUNT = "step"


def _stack(name: str, values: list[Any]) -> Any:
    if not isinstance(values[0], Tensor):
        return values[0]
    # A copy: an optimiser counts its steps in the tensor that it loads, and a state may be resumed again.
    return values[0].clone() if name == _COUNT else torch.stack(values)


def _pick(name: str, value: Any, at: int) -> Any:
    # A copy: a view would be kept, and written to disk, with the memory of all members.
    return value[at].clone() if name != _COUNT and isinstance(value, Tensor) else value


def _norms(parameters: list[nn.Parameter], members: int) -> Tensor:
    """L2 norm over all gradients of each member, (S,); 0 where there is none."""
    gradients = [each.grad.flatten(1) for each in parameters if each.grad is not None]
    if not gradients:
        return torch.zeros(members)
    norms: Tensor = torch.linalg.vector_norm(torch.cat(gradients, dim=1), dim=1)
    return norms


def _clip(parameters: list[nn.Parameter], members: int, most: float) -> None:
    """Scale the gradients of each member as ``torch.nn.utils.clip_grad_norm_`` does those of one model."""
    # 1e-6 is clip_grad_norm_'s own, without which a stack would not train as each member alone does.
    factors = (most / (_norms(parameters, members) + 1e-6)).clamp(max=1.0)
    for each in parameters:
        if each.grad is not None:
            each.grad.mul_(factors.view(-1, *[1] * (each.ndim - 1)))
