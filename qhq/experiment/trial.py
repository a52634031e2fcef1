"""One trial of a search: trained, and judged on the validation split. The test split is not looked at.

A trial may be trained in legs: what the first left in its folder, the next goes on from, bit for bit.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from qhq.data.prepare import PreparedData
from qhq.evaluation.baselines.persistence import in_sample_naive_mae, last_value, symbol_scale
from qhq.evaluation.losses import date_losses, loss_unit
from qhq.evaluation.metrics import relative_errors, score_windows
from qhq.experiment.checkup import Doctor
from qhq.experiment.config import ExperimentConfig
from qhq.experiment.evaluate import forecast_scaled
from qhq.experiment.opening import Experiment, open_on_data
from qhq.experiment.record import Stopwatch
from qhq.experiment.run import FreshShots, fit, open_trainer, pass_parity_gate, write_design
from qhq.files import Json
from qhq.models.features import FeatureForecaster
from qhq.runs.run_folder import FINISHED, RUNNING, RunFolder, now
from qhq.training.checkpoint import load_state, save_state, save_weights
from qhq.training.loop import TrainingState, Watcher, Watchers, history_csv


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
    watch = Stopwatch()
    with watch.phase("data"):
        experiment = open_on_data(config, data)
        parity = pass_parity_gate(experiment)
    write_design(folder, experiment, parity)
    with watch.phase("train"):
        state, findings = _train(folder, experiment, until)
    ended = state.stopped or state.epoch >= config.training.epochs
    with watch.phase("eval"):
        metrics = _validation_metrics(experiment)
    results = {
        "finished": now(),
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
        "validation_loss": state.best_loss,
        "seconds": {**watch.seconds(), "train_all_legs": round(state.seconds, 4)},
        **metrics,
        "doctor": findings,
    }
    folder.write_record(folder.read_record().updated(status=FINISHED if ended else RUNNING, **results))


def _train(folder: RunFolder, experiment: Experiment, until: int | None) -> tuple[TrainingState, Json]:
    identity = experiment.identity()
    if isinstance(experiment.model, FeatureForecaster):
        state = fit(experiment, Watcher())  # whole, whatever the leg: it costs one pass
        doctor = Doctor(experiment, experiment.samples(experiment.data.train), Watcher())
    else:
        trainer = open_trainer(experiment)
        state = load_state(folder.resume, identity) if folder.resume.exists() else trainer.initial_state()
        doctor = Doctor(experiment, trainer.train, Watcher())
        state = trainer.run(state, Watchers([FreshShots(experiment), doctor]), until)
    # Once a leg, not once an epoch as a run does: legs are short, and a killed one is begun again.
    folder.write_text("history.csv", history_csv(state.history))
    save_state(state, folder.resume, identity)
    save_weights(experiment.model, folder.weights, identity)
    return state, doctor.record(state)


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
        "dates": np.datetime_as_string(np.unique(windows.dates[:, 0]), unit="D").tolist(),
        "losses": date_losses(windows, forecast, unit).tolist(),
        "naive": date_losses(windows, naive, unit).tolist(),
    }
    return {"metrics": metrics, "relative": asdict(relative), "validation_losses": losses}
