"""From an opened experiment to a trained model, past the parity gate: one alone, or several at once by seed.

What comes of each of several is what its own training gives, up to rounding (`qhq.training.stack`), and a
training of several is resumed as it was cut off, bit for bit. Where models cannot be stacked they are trained
one after another, with the same result; `why_alone` says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from qhq.ansatz.stored import ansatz_fingerprint
from qhq.backends.backend import BackendSpec
from qhq.backends.executor import Parity, check_parity, measure_parity, parity_tolerance
from qhq.backends.noise_aware import InTurnExecutor
from qhq.backends.registry import find_backend, open_parity_reference
from qhq.errors import ConfigError
from qhq.experiment.config import ExperimentConfig
from qhq.experiment.features import fit_features
from qhq.experiment.opening import Experiment, fits_on_device, shot_seed
from qhq.experiment.questions import Questions, open_questions
from qhq.models import stack as models
from qhq.models.features import FeatureForecaster
from qhq.models.hybrid import HybridForecaster
from qhq.models.spec import ModelSpec, stands_apart
from qhq.runs.run_folder import RunFolder
from qhq.seeding import child_seed
from qhq.training import stack as training
from qhq.training.checkpoint import save_state
from qhq.training.loop import Trainer, TrainingState, Watcher, Watchers, history_csv

_UNITS = frozenset({"gru", "lstm", "rnn"})

# From here on the parity gate takes long enough to be announced.
_WIDE_QUBITS = 16


def pass_gate(experiment: Experiment, watcher: Watcher) -> Parity | None:
    """Pass the parity gate, and say by how much engine and backend differ."""
    ansatz = experiment.ansatz
    several = experiment.config.training.backends
    engine = "noisy engine" if several or experiment.backend.is_noisy else "exact engine"
    if ansatz is not None and ansatz.num_qubits >= _WIDE_QUBITS:
        watcher.note(f"Comparing the {engine} with {experiment.config.backend} on {ansatz.num_qubits} qubits")
    parity = pass_parity_gate(experiment)
    if parity is not None:
        backend = ", ".join(several) or experiment.config.backend
        watcher.note(
            f"Parity of the {engine} with {backend}: {parity.values:.1e} in values,"
            f" {parity.gradients:.1e} in gradients"
        )
    return parity


@torch.no_grad()
def pass_parity_gate(experiment: Experiment) -> Parity | None:
    """Compare engine and backend on the first training batch, with the model's initial weights.

    Returns:
        The largest differences; None where training runs on the backend itself, or there is no circuit.

    Raises:
        BackendError: If they differ by more than the tolerance.
    """
    config, ansatz, model = experiment.config, experiment.ansatz, experiment.model
    if ansatz is None or model.quantum is None:
        return None
    engine: Any = model.quantum.neural_network.executor
    in_turn = isinstance(engine, InTurnExecutor)
    # An executor that adds errors to exact values is compared by these.
    engine = getattr(engine, "exact", engine)
    seed = shot_seed(config, "parity")
    # Shots of its own: with those of the training the comparison would take draws away from it.
    reference = None if in_turn else open_parity_reference(experiment.backend, ansatz, seed=seed)
    if reference is None and not in_turn:
        return None
    # As in an evaluation: with dropout the angles would be those of no forecast.
    model.eval()
    # Real windows, not random angles: a fault that only shows where the encoder sends its angles shows here.
    latent = experiment.latent(experiment.data.train.select(slice(config.training.batch_size)))
    angles, weights = model.angles(latent), model.quantum.weight.detach().numpy()
    inputs = angles.reshape(-1, angles.shape[-1]).numpy()
    noisy = in_turn or experiment.backend.is_noisy
    parity: Parity
    if reference is None:
        parity = engine.parity(inputs, weights, seed=seed)
    else:
        parity = measure_parity(engine, reference, inputs, weights, density=noisy)
    # Rounding grows with the gates: one bound for all circuits would be too tight for deep ones or blind for
    # shallow ones.
    tolerance = parity_tolerance(inputs.dtype, ansatz.circuit.size())
    check_parity(parity, tolerance, engine="noisy" if noisy else "exact")
    return parity


def fit(experiment: Experiment, watcher: Watcher) -> TrainingState:
    """Train the model from its first weights to its best ones, which it holds afterwards.

    Raises:
        QHQError: If the loss stops being a finite number, or the backend fails.
    """
    if questions := simulated(experiment):
        return fit_features(experiment, questions).state
    trainer = open_trainer(experiment)
    return trainer.run(trainer.initial_state(), Watchers([FreshShots(experiment), watcher]))


def open_trainer(experiment: Experiment, like: Trainer | None = None) -> Trainer:
    """Give the model its training and validation samples; the run's seed decides the order of the batches.

    Args:
        experiment: Whose model.
        like: The trainer of another one that differs in the seed alone: its samples serve both.
    """
    config, data = experiment.config, experiment.data
    return Trainer(
        experiment.model,
        experiment.samples(data.train) if like is None else like.train,
        experiment.samples(data.validation) if like is None else like.validation,
        config.training,
        seed=child_seed(config.seed, "training"),
    )


class FreshShots(Watcher):
    """Give each epoch on a sampling backend its own stream of shots, so that a resumed one repeats it."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment

    def epoch_started(self, epoch: int, batches: int) -> None:  # noqa: ARG002
        """Reopen a sampling backend with the epoch's seed."""
        layer, sampled = self.experiment.model.quantum, self.experiment.backend.shots is not None
        # One stream over the whole training would depend on how often the process was interrupted.
        executor = self.experiment.open_executor(str(epoch)) if sampled else None
        if layer is not None and executor is not None:
            self.experiment.model.reopen(executor)


class Saver(Watcher):
    """Keep on disk, after each epoch, what a resumed run needs."""

    def __init__(self, folder: RunFolder, identity: dict[str, str]) -> None:
        self.folder, self.identity = folder, identity

    def epoch_done(self, state: TrainingState) -> None:
        """Write history and state; the state last, since it decides where a resumed run begins."""
        self.folder.write_text("history.csv", history_csv(state.history))
        save_state(state, self.folder.resume, self.identity)


def simulated(experiment: Experiment) -> Questions | None:
    """What a model of frozen features asks a simulator; None of a model that trains by epochs.

    Raises:
        ConfigError: If it would ask a device, to whose cost nobody has agreed.
    """
    check_one_run(experiment.config, experiment.backend)
    return open_questions(experiment)


def check_one_run(config: ExperimentConfig, backend: BackendSpec) -> None:
    """Refuse a study whose trainings would each ask a device, to whose cost nobody has agreed.

    Raises:
        ConfigError: If they would.
    """
    if config.quantum is not None and fits_on_device(config, backend):
        raise ConfigError(
            "Feature models are trained on a device by 'qhq train' alone, one run at a time",
            got=f"several trainings on {backend.name}",
            fix="Train on aer or a fake device, or take one fold with data.split.fold",
        )


def why_alone(config: ExperimentConfig) -> str:
    """Why seeds of a config are trained one after another; empty if they are trained at once.

    Asked before anything is opened. Models are asked again (`qhq.models.stack.model_cannot_stack`).

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
    return training.spec_cannot_stack(spec)


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
        QHQError: As of `qhq.experiment.fit.fit`.
    """
    stacked = [each.model for each in experiments if isinstance(each.model, HybridForecaster)]
    # A reservoir's couplings are drawn from the seed: then each seed has a circuit of its own.
    circuits = {ansatz_fingerprint(each.ansatz) for each in experiments if each.ansatz is not None}
    alone = len(circuits) > 1 or bool(why_alone(experiments[0].config))
    if alone or any(models.model_cannot_stack(each.model) for each in experiments):
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
        QHQError: As of `qhq.experiment.fit.fit`.
    """
    if isinstance(experiments[0].model, FeatureForecaster):
        return [fit(each, watcher) for each, watcher in zip(experiments, watchers, strict=True)]
    trainers = open_trainers(experiments)
    states = [trainer.initial_state() for trainer in trainers]
    return train_together(experiments, trainers, states, watchers)
