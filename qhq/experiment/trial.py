"""One trial of a search: trained, and judged on the validation split. The test split is not looked at.

A trial may be trained in legs: what the first left in its folder, the next goes on from, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from qhq.data.prepare import PreparedData
from qhq.evaluation.baselines.persistence import in_sample_naive_mae, last_value, symbol_scale
from qhq.evaluation.losses import date_losses, loss_unit
from qhq.evaluation.metrics import relative_errors, score_windows
from qhq.experiment.checkup import Doctor
from qhq.experiment.config import ExperimentConfig
from qhq.experiment.evaluate import forecast_scaled
from qhq.experiment.fit import fit, open_trainers, pass_parity_gate, train_together
from qhq.experiment.opening import Experiment, open_on_data
from qhq.experiment.record import Stopwatch
from qhq.experiment.run import write_design
from qhq.files import Json
from qhq.models.features import FeatureForecaster
from qhq.runs.run_folder import FINISHED, RUNNING, RunFolder, now
from qhq.training.checkpoint import load_state, save_state, save_weights
from qhq.training.loop import TrainingState, Watcher, history_csv


def run_trial(
    folder: RunFolder, config: ExperimentConfig, data: PreparedData, until: int | None = None
) -> None:
    """Train one leg of a trial and write its folder.

    Args:
        folder: Holds nothing, or the ``resume.pt`` of the leg before.
        config: The trial's.
        data: Prepared from ``config.data``.
        until: Epochs in all after which the leg ends; None trains to the end.

    Raises:
        QHQError: If circuit, model or backend cannot be had, or the loss stops being a finite number.
    """
    run_trials([folder], [config], data, until)


def run_trials(
    folders: Sequence[RunFolder],
    configs: Sequence[ExperimentConfig],
    data: PreparedData,
    until: int | None = None,
) -> None:
    """The same of trials that differ in the seed, trained at once where they can be; seconds are shares.

    Raises:
        QHQError: If any of them cannot be trained; the folders are half written then.
    """
    watch = Stopwatch()
    with watch.phase("data"):
        experiments = [open_on_data(config, data) for config in configs]
        for folder, experiment in zip(folders, experiments, strict=True):
            write_design(folder, experiment, pass_parity_gate(experiment))
    with watch.phase("train"):
        found = _train(folders, experiments, until)
    # What is trained at once has one time: shares add up to it, where each whole time would count it again.
    shares = {name: seconds / len(folders) for name, seconds in watch.phases.items()}
    for folder, experiment, (state, findings) in zip(folders, experiments, found, strict=True):
        own = Stopwatch(shares)
        with own.phase("eval"):
            metrics = _validation_metrics(experiment)
        ended = state.stopped or state.epoch >= experiment.config.training.epochs
        results = {
            "finished": now(),
            "epochs": state.epoch,
            "best_epoch": state.best_epoch,
            "validation_loss": state.best_loss,
            "seconds": {**own.seconds(), "train_all_legs": round(state.seconds, 4)},
            **metrics,
            "doctor": findings,
        }
        status = FINISHED if ended else RUNNING
        folder.write_record(folder.read_record().updated(status=status, **results))


def _train(
    folders: Sequence[RunFolder], experiments: Sequence[Experiment], until: int | None
) -> list[tuple[TrainingState, Json]]:
    """Train each, and say what the doctor found."""
    identities = [experiment.identity() for experiment in experiments]
    if isinstance(experiments[0].model, FeatureForecaster):
        # Whole, whatever the leg: it costs one pass.
        states = [fit(experiment, Watcher()) for experiment in experiments]
        samples = experiments[0].samples(experiments[0].data.train)
        doctors = [Doctor(experiment, samples, Watcher()) for experiment in experiments]
    else:
        trainers = open_trainers(experiments)
        begun = [
            load_state(folder.resume, identity) if folder.resume.exists() else trainer.initial_state()
            for folder, identity, trainer in zip(folders, identities, trainers, strict=True)
        ]
        doctors = [Doctor(experiment, trainers[0].train, Watcher()) for experiment in experiments]
        states = train_together(experiments, trainers, begun, doctors, until)
    for folder, experiment, identity, state in zip(folders, experiments, identities, states, strict=True):
        # Once a leg, not once an epoch as a run does: legs are short, and a killed one is begun again.
        folder.write_text("history.csv", history_csv(state.history))
        save_state(state, folder.resume, identity)
        save_weights(experiment.model, folder.weights, identity)
    return [(state, doctor.record(state)) for state, doctor in zip(states, doctors, strict=True)]


def _validation_metrics(experiment: Experiment) -> Json:
    """Errors of the best weights so far beside the last value's, in the unit of the data and over it."""
    data, windows = experiment.data, experiment.data.validation
    scaled, _ = forecast_scaled(experiment, experiment.open_executor("validation"), windows)
    forecast, naive = data.scaler.to_raw_units(scaled, windows), last_value(windows)
    scale = symbol_scale(windows, in_sample_naive_mae(data.train))
    relative = relative_errors(windows.targets, forecast, naive, windows.group)
    metrics = {
        "validation": asdict(score_windows(windows, forecast, naive, scale)),
        "validation_naive": asdict(score_windows(windows, naive, naive, scale)),
    }
    unit = loss_unit(windows, scale)
    losses = {
        # By date and not by window: trials are compared over dates, as all forecasts are.
        "dates": np.datetime_as_string(np.unique(windows.dates[:, 0]), unit="D").tolist(),
        "losses": date_losses(windows, forecast, unit).tolist(),
        "naive": date_losses(windows, naive, unit).tolist(),
    }
    return {"metrics": metrics, "relative": asdict(relative), "validation_losses": losses}
