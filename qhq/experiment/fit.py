"""Training an experiment's model, without a run folder."""

from __future__ import annotations

from qhq.experiment.opening import Experiment
from qhq.seeding import child_seed
from qhq.training.loop import Trainer, TrainingState, Watcher, Watchers


def fit(experiment: Experiment, watcher: Watcher) -> TrainingState:
    """Train the model from its first weights to its best ones, which it holds afterwards.

    Raises:
        QHQError: If the loss stops being a finite number, or the backend fails.
    """
    trainer = open_trainer(experiment)
    return trainer.run(trainer.initial_state(), Watchers([FreshShots(experiment), watcher]))


def open_trainer(experiment: Experiment) -> Trainer:
    """Give the model its training and validation samples; the run's seed decides the order of the batches."""
    config, data = experiment.config, experiment.data
    return Trainer(
        experiment.model,
        experiment.samples(data.train),
        experiment.samples(data.validation),
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
        executor = self.experiment.open_executor(str(epoch)) if sampled else None
        if layer is not None and executor is not None:
            layer.reopen(executor)
