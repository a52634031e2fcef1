"""Experiments that differ in the seed alone, trained at once where their models can be stacked.

What comes of each is what its own training gives, up to rounding (`qhq.training.stack`), and a training of
several is resumed as it was cut off, bit for bit. Where models cannot be stacked they are trained one after
another, with the same result; `why_alone` says why.
"""

from __future__ import annotations

from collections.abc import Sequence

from qhq.backends.registry import find_backend
from qhq.experiment.config import ExperimentConfig
from qhq.experiment.opening import Experiment
from qhq.experiment.run import FreshShots, fit, open_trainer
from qhq.models import stack as models
from qhq.models.features import FeatureForecaster
from qhq.models.hybrid import HybridForecaster
from qhq.models.spec import ModelSpec, stands_apart
from qhq.training import stack as training
from qhq.training.loop import Trainer, TrainingState, Watcher, Watchers

_UNITS = frozenset({"gru", "lstm", "rnn"})


def why_alone(config: ExperimentConfig) -> str:
    """Why seeds of a config are trained one after another; empty if they are trained at once.

    Asked before anything is opened. Models are asked again (`qhq.models.stack.cannot_stack`).

    Raises:
        ConfigError: If there is no such backend.
    """
    model, spec = config.model, config.training
    if not isinstance(model, ModelSpec) or model.file is not None or stands_apart(model):
        return "only the reference model with one circuit or none can be stacked"
    others = [each.unit for each in model.recurrent if model.encoder != "none" and each.unit not in _UNITS]
    if others:
        return f"layers of {others[0]} cannot be stacked"
    if model.dropout:
        return "model.dropout draws from a stream of its own"
    if spec.dtype != "float32":
        return "training.dtype is not float32"
    noisy = spec.backends or spec.injection or find_backend(config.backend).shots is not None
    if config.quantum is not None and noisy:
        return "values are drawn from a stream of its own"
    return training.cannot_stack(spec)


def open_trainers(experiments: Sequence[Experiment]) -> list[Trainer]:
    """One a member; the samples, which are the same for all, are there once."""
    first = open_trainer(experiments[0])
    return [first, *(open_trainer(each, like=first) for each in experiments[1:])]


def train_together(
    experiments: Sequence[Experiment],
    trainers: Sequence[Trainer],
    states: Sequence[TrainingState],
    watchers: Sequence[Watcher],
    until: int | None = None,
) -> list[TrainingState]:
    """Train experiments of one config, but for the seed, from where each is to the end.

    Args:
        experiments: On the same data.
        trainers: Theirs, of `open_trainers`.
        states: Where each begins.
        watchers: One for each.
        until: Leave off after so many epochs in all.

    Returns:
        The states that they end with; the models hold the best weights.

    Raises:
        QHQError: As of `qhq.experiment.run.fit`.
    """
    stacked = [each.model for each in experiments if isinstance(each.model, HybridForecaster)]
    if why_alone(experiments[0].config) or any(models.cannot_stack(each.model) for each in experiments):
        return [
            trainer.run(state, Watchers([FreshShots(experiment), watcher]), until)
            for experiment, trainer, state, watcher in zip(
                experiments, trainers, states, watchers, strict=True
            )
        ]
    # One alone, too: it is rounded as with others beside it, and most units are faster so.
    return training.StackTrainer(trainers, models.Stack(stacked)).run(states, watchers, until)


def fit_together(experiments: Sequence[Experiment], watchers: Sequence[Watcher]) -> list[TrainingState]:
    """Train each model from its first weights to its best ones, which it holds afterwards.

    Raises:
        QHQError: As of `qhq.experiment.run.fit`.
    """
    if isinstance(experiments[0].model, FeatureForecaster):
        return [fit(each, watcher) for each, watcher in zip(experiments, watchers, strict=True)]
    trainers = open_trainers(experiments)
    states = [trainer.initial_state() for trainer in trainers]
    return train_together(experiments, trainers, states, watchers)
