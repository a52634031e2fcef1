"""One run, from prices to a run folder. Read this file first.

    config -> open_experiment (prices, windows, circuit, model on its backend)
           -> pass_gate (the exact engine agrees with the backend)
           -> Trainer.run (early stopping on the validation split; a state on disk after each epoch; the
              doctor looks after the first and the last)
           -> the validation split: is the model better than its baseline?
           -> evaluate (the test split, looked at once) -> run folder

Nothing is written before everything could be opened. From then on the folder says ``running`` until
its last file is whole, and `resume_run` continues it after a kill, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace

from qhq.ansatz.export import UnsupportedExport, to_qasm3
from qhq.ansatz.stored import save_ansatz
from qhq.backends.executor import CostForecast, Parity
from qhq.backends.ibm.journal import in_run
from qhq.backends.registry import find_backend
from qhq.data.prepare import PreparedData
from qhq.data.quarantine import tell_rows
from qhq.documents import dump_document
from qhq.errors import QHQError
from qhq.evaluation.metrics import largest_share
from qhq.experiment.checkup import Doctor
from qhq.experiment.config import ExperimentConfig
from qhq.experiment.evaluate import forecast_windows, prediction_intervals, predictions_csv
from qhq.experiment.features import fit_features
from qhq.experiment.fit import FreshShots, Saver, open_trainer, pass_gate, simulated
from qhq.experiment.opening import Experiment, open_experiment, open_on_data
from qhq.experiment.plausibility import (
    add_doubts,
    doubt_data,
    doubt_skill,
    plausibility_record,
    read_doubts,
    tell_doubts,
    tell_unmatched,
)
from qhq.experiment.questions import Agree, Questions, ask_splits, open_questions
from qhq.experiment.record import (
    Stopwatch,
    angles_record,
    design_record,
    evaluate_validation,
    result_record,
    validation_record,
)
from qhq.experiment.refit import check_refit, refit_on
from qhq.experiment.reopening import open_run_design, open_run_experiment, open_trained
from qhq.experiment.words import say_subset, say_test
from qhq.files import Json, reserving, write_atomically
from qhq.models.source import ModuleSource
from qhq.runs.looks import add_look
from qhq.runs.record import Plausibility, Refit
from qhq.runs.run_folder import FAILED, FINISHED, RUNNING, RunFolder, create_run, writable
from qhq.training.checkpoint import load_state, save_state, save_weights
from qhq.training.loop import TrainingState, Watcher, Watchers, history_csv

# A symbol or target with more of the validation loss than this decides alone.
_MOST_OF_LOSS = 0.95
# Kept free while a run trains, and more than a run.json has: on a full disk a run can still be called failed.
_LAST_WORD_BYTES = 256 * 1024
KEPT_LEVELS = (0.5, 0.8, 0.95, 0.99)
"""Levels of intervals that are kept beside that of `COVERAGE`, of a head fitted to what a backend gave."""


@dataclass(frozen=True)
class Trained:
    """What a training came to, beside the weights that the model holds now.

    Attributes:
        state: At its end.
        findings: The doctor's, for the record.
        fitted: What the record says of a head that was fitted.
    """

    state: TrainingState
    findings: Json
    fitted: Json = field(default_factory=dict)


@dataclass(eq=False)
class Training:
    """A training that could begin now, or go on; nothing of it has been written or sent.

    Attributes:
        experiment: The experiment, its model with the weights that it begins with.
        watch: Runs since the data were opened.
        parity: Of the engine with the backend; None where they are not compared.
        doubts: About the data; None of a run that goes on, whose record has them.
        questions: What a model of frozen features asks its backend; None of a model that trains by epochs.
        refit: What a head is refitted to that was trained before; None of any other training.
        folder: Of a run that was cut off; None of a new one.
        command: What the ledger of looks calls it; None where the caller keeps it.
        trained: Where it was trained at once with others, and only the test is left.
    """

    experiment: Experiment
    watch: Stopwatch
    parity: Parity | None = None
    doubts: Plausibility | None = None
    questions: Questions | None = None
    refit: Refit | None = None
    folder: RunFolder | None = None
    command: str | None = "train"
    trained: Trained | None = None

    @property
    def costs(self) -> list[CostForecast]:
        """What a device costs, in one row; none without a device."""
        cost = None if self.questions is None else self.questions.cost
        return [] if cost is None else [cost]

    def close(self) -> None:
        """Close what was opened on a device."""
        if self.questions is not None:
            self.questions.close()


def train_run(
    config: ExperimentConfig, watcher: Watcher, accept: Sequence[str] = (), agree: Agree | None = None
) -> RunFolder:
    """Train and evaluate what ``config`` describes, in a new run folder.

    Args:
        config: Of the run.
        watcher: Informed of each step.
        accept: Names of doubts that a person looked at (`qhq.data.plausibility`).
        agree: Agrees to what a device costs; nobody does if left out.

    Raises:
        QHQError: If the config, the data or the backend is not good, or a device is not agreed to; no folder
            is made then.
    """
    return run_training(plan_training(config, watcher, accept), watcher, agree)


def plan_training(config: ExperimentConfig, watcher: Watcher, accept: Sequence[str] = ()) -> Training:
    """Open all that a new run needs; arguments as of `train_run`.

    Raises:
        QHQError: If the config, the data or the backend is not good.
    """
    watch = Stopwatch()
    with watch.phase("data"):
        experiment = open_experiment(config)
        tell_of_rows(experiment.data, watcher)
        doubts = plausibility_record(doubt_data(experiment.data, config.data), accept)
        tell_doubts(read_doubts(doubts), watcher)
        parity = pass_gate(experiment, watcher)
        questions = open_questions(experiment)
    return Training(experiment, watch, parity, doubts, questions)


def plan_refit(origin: RunFolder, backend: str, samples: int, watcher: Watcher) -> Training:
    """Open a run whose head is to be fitted anew to what a backend gives; everything before the head stays.

    Args:
        origin: The run.
        backend: Name of an entry, or of a device.
        samples: Windows of each split at most that the backend is asked about, a seeded subset.
        watcher: Informed of what a person should know.

    Raises:
        QHQError: If the run is not finished, has no head that could be refitted, its prices are not those
            that it was made for, or the backend cannot be had.
    """
    watch = Stopwatch()
    with watch.phase("data"):
        trained, entry = open_trained(origin), find_backend(backend)
        check_refit(trained, origin.read_record())
        config = trained.config.model_copy(update={"backend": entry.name})
        experiment = replace(trained, config=config, backend=entry, design=None)
        doubts = plausibility_record(doubt_data(experiment.data, config.data), ())
        tell_doubts(read_doubts(doubts), watcher)
        questions = ask_splits(experiment, samples)
    refit = Refit(origin=origin.name, freeze="circuit", samples=samples)
    return Training(experiment, watch, doubts=doubts, questions=questions, refit=refit)


def plan_resume(
    folder: RunFolder, watcher: Watcher, *, command: str | None = "train", accept: Sequence[str] = ()
) -> Training | None:
    """Open a run that was cut off; None of a finished one. Arguments as of `resume_run`.

    Raises:
        QHQError: If the folder is damaged, or its backend cannot be reached.
    """
    # Before anything is opened: that somebody looked is kept, even if the data cannot be read today.
    if accept:
        with folder.locked():
            record = folder.read_record()
            doubts = add_doubts(record.plausibility, names=accept)
            folder.write_record(record.updated(plausibility=doubts))
    if folder.read_record().status == FINISHED:
        tell_finished(folder, watcher)
        return None
    watch = Stopwatch()
    with watch.phase("data"):
        refit = folder.read_record().finetuned
        if refit is None:
            experiment = open_run_experiment(folder)
            pass_gate(experiment, watcher)
            questions = open_questions(experiment)
        else:
            experiment = open_run_design(folder)
            # The weights that it began with: those of a run that may be gone.
            begun = load_state(folder.resume, experiment.identity())
            experiment.model.load_state_dict(begun.model)
            questions = ask_splits(experiment, refit.samples)
    return Training(experiment, watch, questions=questions, refit=refit, folder=folder, command=command)


def run_training(training: Training, watcher: Watcher, agree: Agree | None = None) -> RunFolder:
    """Train and evaluate what was planned, and write its folder.

    Args:
        training: From `plan_training` or `plan_resume`.
        watcher: Informed of each step.
        agree: Agrees to what a device costs; nobody does if left out.

    Raises:
        QHQError: If a device is not agreed to, the folder is damaged, or another process is training it.
    """
    try:
        if training.questions is not None:
            # Before the folder is made: a run that nobody agreed to pay for leaves nothing behind.
            training.questions.confirm(agree)
        folder = training.folder
        if folder is None:
            config = training.experiment.config
            folder = create_run(config.name, config.seed, lambda new: _write_new(new, training, watcher))
        with nullcontext() if training.command is None else folder.resumable(), folder.locked():
            record = folder.read_record()
            if record.status == FINISHED:  # by another process, while this one opened its data
                return folder
            if training.folder is not None:
                folder.write_record(record.without("error").updated(status=RUNNING))
            complete(folder, training, watcher)
        return folder
    finally:
        training.close()


def _write_new(folder: RunFolder, training: Training, watcher: Watcher) -> None:
    """Fill the folder of a run that has not begun."""
    experiment = training.experiment
    write_design(folder, experiment, training.parity, watcher, training.doubts)
    if training.refit is not None:
        # The weights that it begins with are a run's, which may be gone when this one goes on.
        weights = experiment.model.state_dict()
        save_state(TrainingState(weights, {}, weights), folder.resume, experiment.identity())
        folder.write_record(folder.read_record().updated(finetuned=training.refit.to_dict()))


def resume_run(
    folder: RunFolder,
    watcher: Watcher,
    *,
    command: str | None = "train",
    accept: Sequence[str] = (),
    agree: Agree | None = None,
) -> RunFolder:
    """Continue a run that was cut off; a finished one is left as it is, but for the doubts that are accepted.

    Args:
        folder: The run.
        watcher: Informed of each epoch.
        command: What the ledger of looks calls it; None for a fold of a walk-forward, which keeps it itself.
        accept: Names of doubts that a person looked at (`qhq.data.plausibility`).
        agree: Agrees to what a device still costs; nobody does if left out.

    Raises:
        QHQError: If the folder is damaged, a device is not agreed to, or another process is training it.
    """
    training = plan_resume(folder, watcher, command=command, accept=accept)
    return folder if training is None else run_training(training, watcher, agree)


def tell_finished(folder: RunFolder, watcher: Watcher) -> None:
    """Say that there is nothing to go on with, which the results alone would not tell."""
    watcher.note(f"{folder.name} is finished: nothing is left to train, and these are its results.")


def tell_of_rows(data: PreparedData, watcher: Watcher) -> None:
    """Say once how a file was read, which rows were set aside, and how others may have been misread."""
    for sentence in tell_rows(data.quarantine, data.doubts, data.notes):
        watcher.note(sentence)


def train_in(folder: RunFolder, config: ExperimentConfig, data: PreparedData, watcher: Watcher) -> None:
    """Train and evaluate as `train_run` does, on data already prepared, in an empty folder of the caller's.

    Raises:
        QHQError: As `train_run`; the folder is half written then.
    """
    watch = Stopwatch()
    with watch.phase("data"):
        experiment = open_on_data(config, data)
        parity = pass_gate(experiment, watcher)
    write_design(folder, experiment, parity, watcher)
    complete(folder, Training(experiment, watch, questions=simulated(experiment), command=None), watcher)


def write_design(
    folder: RunFolder,
    experiment: Experiment,
    parity: Parity | None,
    watcher: Watcher | None = None,
    plausibility: Plausibility | None = None,
) -> None:
    """Write all of a run's folder that is known before training.

    ``circuit.qpy`` is what the run is evaluated with later; ``circuit.qasm`` is for other tools, and is left
    out where OpenQASM 3 cannot hold the circuit.
    """
    folder.write_text("config.yaml", dump_document(experiment.config))
    carry_module(folder, experiment.module_source)
    if experiment.ansatz is not None:
        with writable(folder.circuit):
            save_ansatz(experiment.ansatz, folder.circuit)
        try:
            folder.write_text("circuit.qasm", to_qasm3(experiment.ansatz))
        # A convenience for other tools: the run itself needs circuit.qpy alone.
        except UnsupportedExport as error:
            if watcher is not None:
                watcher.note(f"circuit.qasm is left out: {error.got}.")
    folder.write_record(design_record(experiment, parity, plausibility))


def carry_module(folder: RunFolder, source: ModuleSource | None) -> None:
    """Give a run the file that builds its module; what lives in memory has none."""
    if source is not None and source.content:
        with writable(folder.module):
            write_atomically(folder.module, source.content)


def warn_of_weights(experiment: Experiment, watcher: Watcher) -> None:
    """Say so where one symbol or target decides alone when the training stops and which epoch is kept."""
    data = experiment.data
    found = largest_share(data.validation, data.scaler.targets(data.validation))
    if found is not None and found[1] > _MOST_OF_LOSS:
        watcher.note(
            f"Scaled by data.scaling {data.scaler.kind}, {found[0]} makes up {100 * found[1]:.1f} % of the"
            " validation loss: training and early stopping follow it alone. A scaling relative to the window"
            " (window), to the symbol (standard), or of options to the strike (over_strike) weighs all alike."
        )


def complete(folder: RunFolder, training: Training, watcher: Watcher) -> None:
    """Train, unless that is done, and test."""
    # A fold of a walk-forward goes on with the whole of it.
    going_on = nullcontext() if training.command is None else folder.resumable()
    with going_on, reserving(folder.path, _LAST_WORD_BYTES) as give_back:
        try:
            # What is sent to a device belongs to this run, in the list of its jobs.
            with in_run(folder.name):
                _train_and_test(folder, training, watcher)
        except Exception as error:
            give_back()
            # In a folder that has become read-only the record cannot be written: the run stays one cut off.
            with suppress(QHQError, OSError):
                reason = str(error) if isinstance(error, QHQError) else f"{type(error).__name__}: {error}"
                folder.write_record(folder.read_record().updated(status=FAILED, error=reason))
            raise


def _train_and_test(folder: RunFolder, training: Training, watcher: Watcher) -> None:
    experiment, watch, questions = training.experiment, training.watch, training.questions
    trained = training.trained
    if trained is None:
        warn_of_weights(experiment, watcher)
        with watch.phase("train"):
            trained = _train(folder, training, watcher)
    # Before the split is looked at: a run that is killed while it is evaluated has looked as well.
    command, test = training.command, experiment.data.test
    looks = None if command is None else add_look(test, run=folder.name, command=command)
    with watch.phase("eval"):
        if questions is None:
            chosen_on = evaluate_validation(experiment)
            evaluation = forecast_windows(experiment, experiment.open_executor("test"), test)
        else:
            chosen_on, evaluation = (questions.evaluate(split) for split in ("validation", "test"))
        angles = angles_record(experiment)
        validation = validation_record(chosen_on, trained.state, fitted=questions is not None)
        intervals = prediction_intervals(
            experiment.config.intervals, experiment.data.train, chosen_on, evaluation,
            () if questions is None else KEPT_LEVELS,
        )  # fmt: skip
    folder.write_text("predictions.csv", predictions_csv(evaluation, intervals.ends, experiment.data.caveat))
    design = folder.read_record()
    results = result_record(experiment, trained.state, evaluation, intervals, watch)
    device = None if questions is None else questions.used()
    record = design.updated(
        status=FINISHED,
        **results,
        **trained.fitted,
        **({} if device is None else {"device": device.to_dict()}),
        **({} if angles is None else {"angles": angles.to_dict()}),
        validation=validation.to_dict(),
        doctor=trained.findings,
        looks=looks,
    )
    record = record.updated(verdict=" ".join([say_test(record.tested()), *say_subset(record)]))
    if record.plausibility is not None:  # a study's cells have none
        record = record.updated(plausibility=_judge_skill(experiment, record.plausibility, watcher))
    folder.write_record(record)


def _judge_skill(experiment: Experiment, earlier: Plausibility, watcher: Watcher) -> Plausibility:
    """Warn if the measured skill is implausibly high."""
    # A resumed run has reported its doubts before; only what is new is worth a line.
    known = {doubt.code for doubt in read_doubts(earlier)}
    plausibility = add_doubts(earlier, doubt_skill(experiment))
    new = [doubt for doubt in read_doubts(plausibility) if doubt.code not in known]
    tell_doubts(new, watcher)
    tell_unmatched(plausibility, watcher)
    return plausibility


def _train(folder: RunFolder, training: Training, watcher: Watcher) -> Trained:
    """Train by epochs, or fit or refit a head to what a backend gave, and keep the weights."""
    experiment, questions = training.experiment, training.questions
    if questions is None:
        trained = _train_by_epochs(folder, experiment, watcher)
    else:
        questions.send()
        if training.refit is not None:
            state, refit = refit_on(experiment, questions, training.refit)
            # The doctor has looked at the circuit as it was trained, and nothing of that has changed.
            findings: Json = {"epoch": 1, "healthy": None, "findings": []}
            trained = Trained(state, findings, {"finetuned": refit.to_dict()})
        else:
            fitted = fit_features(experiment, questions)
            doctor = Doctor(experiment, experiment.samples(experiment.data.train), watcher)
            trained = Trained(fitted.state, doctor.record(fitted.state), {"head": fitted.record})
        # Epochs are written as they come, by the `Saver`; here there is one, and no state to go on from.
        folder.write_text("history.csv", history_csv(trained.state.history))
    save_weights(experiment.model, folder.weights, experiment.identity())
    return trained


def _train_by_epochs(folder: RunFolder, experiment: Experiment, watcher: Watcher) -> Trained:
    """Train from the start, or from where the run was cut off; a state is kept of each epoch."""
    trainer, identity = open_trainer(experiment), experiment.identity()
    # The identity goes with it: a state of another design would load without an error and train nonsense.
    state = load_state(folder.resume, identity) if folder.resume.exists() else trainer.initial_state()
    doctor = Doctor(experiment, trainer.train, watcher)
    watchers = Watchers([FreshShots(experiment), Saver(folder, identity), watcher, doctor])
    watchers.training_begins(folder.path, state, trainer.spec.epochs)
    state = trainer.run(state, watchers)
    return Trained(state, doctor.record(state))
