"""One run, from prices to a run folder. Read this file first.

    config -> open_experiment (prices, windows, circuit, model on its backend)
           -> Trainer.run (early stopping on the validation part; a state on disk after each epoch)
           -> evaluate (the test part, looked at once) -> run folder

Nothing is written before everything could be opened. From then on the folder says ``running`` until
its last file is whole, and `resume_run` continues it after a kill, bit for bit.
"""

from __future__ import annotations

from qhq.ansatz.export import to_qasm3
from qhq.ansatz.stored import save_ansatz
from qhq.documents import dump_document
from qhq.experiment.config import ExperimentConfig
from qhq.experiment.evaluate import Evaluation, evaluate, predictions_csv
from qhq.experiment.opening import Experiment, open_executor, open_experiment, open_run_experiment
from qhq.experiment.record import Stopwatch, design_record, result_record
from qhq.seeding import child_seed
from qhq.tracking.run_folder import FINISHED, RUNNING, RunFolder, create_run
from qhq.training.checkpoint import load_state, save_state, save_weights
from qhq.training.history import history_csv
from qhq.training.loop import Trainer, TrainingState, Watcher, Watchers


def train_run(config: ExperimentConfig, watcher: Watcher) -> RunFolder:
    """Train and evaluate what ``config`` describes, in a new run folder.

    Raises:
        QHQError: If the config, the data or the backend is not good; no folder is made then.
    """
    watch = Stopwatch()
    with watch.phase("data"):
        experiment = open_experiment(config)
    folder = create_run(config.name, config.seed, lambda new: _write_design(new, experiment))
    with folder.locked():
        _complete(folder, experiment, watcher, watch)
    return folder


def resume_run(folder: RunFolder, watcher: Watcher) -> RunFolder:
    """Continue a run that was cut off; a finished one is left as it is.

    Raises:
        QHQError: If the folder is damaged, or another process is training it.
    """
    if folder.read_record()["status"] == FINISHED:
        return folder
    watch = Stopwatch()
    with watch.phase("data"):
        experiment = open_run_experiment(folder)
    with folder.locked():
        _complete(folder, experiment, watcher, watch)
    return folder


def _write_design(folder: RunFolder, experiment: Experiment) -> None:
    folder.write_text("config.yaml", dump_document(experiment.config))
    if experiment.ansatz is not None:
        save_ansatz(experiment.ansatz, folder.circuit)
        folder.write_text("circuit.qasm", to_qasm3(experiment.ansatz))
    folder.write_json("run.json", {"status": RUNNING, **design_record(experiment)})


def _complete(folder: RunFolder, experiment: Experiment, watcher: Watcher, watch: Stopwatch) -> None:
    with watch.phase("train"):
        state = _train(folder, experiment, watcher)
    with watch.phase("eval"):
        evaluation = _evaluate_test(experiment)
    folder.write_text("predictions.csv", predictions_csv(evaluation))
    design = folder.read_record()
    results = result_record(state, evaluation, watch)
    folder.write_json("run.json", {**design, "status": FINISHED, **results})


def _train(folder: RunFolder, experiment: Experiment, watcher: Watcher) -> TrainingState:
    config, data = experiment.config, experiment.data
    trainer = Trainer(
        experiment.model,
        experiment.samples(data.train),
        experiment.samples(data.validation),
        config.training,
        seed=child_seed(config.seed, "training"),
    )
    state = load_state(folder.resume) if folder.resume.exists() else trainer.initial_state()
    watchers = Watchers([_FreshShots(experiment), _Saver(folder), watcher])
    state = trainer.run(state, watchers)
    save_weights(experiment.model, folder.weights, experiment.weights_metadata())
    return state


def _evaluate_test(experiment: Experiment) -> Evaluation:
    executor = None
    if experiment.ansatz is not None:
        executor = open_executor(experiment.config, experiment.ansatz, "test")
    return evaluate(experiment, executor, experiment.data.test)


class _Saver(Watcher):
    """Keep on disk, after each epoch, what a resumed run needs."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def epoch_done(self, state: TrainingState) -> None:
        """Write history and state; the state last, since it decides where a resumed run begins."""
        self.folder.write_text("history.csv", history_csv(state.history))
        save_state(state, self.folder.resume)


class _FreshShots(Watcher):
    """Give each epoch on a sampling backend its own stream of shots, so that a resumed one repeats it."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment

    def epoch_started(self, epoch: int, batches: int) -> None:  # noqa: ARG002
        """Reopen a sampling backend with the epoch's seed."""
        layer, ansatz = self.experiment.model.quantum, self.experiment.ansatz
        if (
            layer is not None
            and ansatz is not None
            and layer.neural_network.executor.report().shots is not None
        ):
            layer.reopen(open_executor(self.experiment.config, ansatz, str(epoch)))
