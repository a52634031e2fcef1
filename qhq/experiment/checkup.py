"""The doctor's visits: to a run, to a config before training, and to a training that goes on.

Nothing here asks a backend: whatever the model is to run on, it is looked at on the exact engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from qhq.ansatz.program import Ansatz
from qhq.backends.executor import Executor
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.data.caveat import Caveat
from qhq.data.plausibility import LeakDoubt
from qhq.diagnostics.doctor.checks import examine
from qhq.diagnostics.doctor.finding import Diagnosis, Finding
from qhq.diagnostics.doctor.signs import Background, can_simulate
from qhq.errors import ConfigError
from qhq.experiment.config import CIRCUIT_IN_MEMORY, ExperimentConfig, load_config
from qhq.experiment.features import fit_features
from qhq.experiment.opening import Experiment, open_design, program_of
from qhq.experiment.plausibility import doubt_data, read_doubts
from qhq.experiment.questions import SPLITS, Questions, SplitName
from qhq.experiment.reopening import check_own_prices, open_run_design
from qhq.files import Json
from qhq.models.features import FeatureForecaster
from qhq.models.spec import MODULE_IN_MEMORY, FeaturesSpec, ModelSpec, is_gated
from qhq.paths import as_argument
from qhq.runs.record import RunRecord
from qhq.runs.run_folder import FAILED, FINISHED, RunFolder, check_subject, find_run, refers_to_run
from qhq.runs.schema import OTHER_RUN
from qhq.training.checkpoint import load_state, load_weights
from qhq.training.loop import Samples, TrainingState, Watcher

# Training windows that a visit looks at, spread evenly over the training split.
_SAMPLES = 256
# The same while training.
_QUICK_SAMPLES = 64
# The same where the exact engine is slow.
_FEW_SAMPLES = 16


@dataclass(frozen=True)
class Examination:
    """What was looked at, for people, and the caveat of its data; what was found; and doubts of its data.

    Without a ``circuit``, ``healthy`` speaks of the rest of the model alone.
    """

    subject: str
    caveat: Caveat
    diagnosis: Diagnosis
    doubts: tuple[LeakDoubt, ...] = ()
    circuit: bool = True

    @property
    def healthy(self) -> bool:
        """Whether no finding is an error."""
        return self.diagnosis.healthy

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found, the gravest first."""
        return self.diagnosis.findings

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes of the findings that stand on their own: errors and warnings."""
        return self.diagnosis.codes

    def to_dict(self) -> Json:
        """As ``qhq doctor --json`` prints it."""
        doubts = {"plausibility": [doubt.to_dict() for doubt in self.doubts]}
        measured = {"measured": [each.to_dict() for each in self.diagnosis.measured]}
        return {**self.diagnosis.to_dict(), **self.caveat.to_dict(), **doubts, **measured}


def examine_subject(reference: str | None, overrides: Sequence[str] = ()) -> Examination:
    """Look at a run, or at what a config describes before training.

    Args:
        reference: A run's folder or name, or a config; None is the latest finished run.
        overrides: Config keys; a run with them is looked at as it would begin with them.

    Raises:
        QHQError: If there is no such run or config, or it cannot be opened.
    """
    if reference is None or refers_to_run(reference):
        folder = find_run(reference)
        if not overrides:
            config = load_config(str(folder.config))
            record = folder.read_record()
            which = "" if _keeps_training(record) else f", {_which_weights(folder, record)}"
            doubts = read_doubts(record.plausibility)
            found, subject = examine_run(folder), f"run {folder.name}{which}{_without_gradients(config)}"
            return Examination(subject, config.data.caveat, found, doubts, config.quantum is not None)
        reference = str(folder.config)
        check_own_prices(folder, overrides)
    else:
        check_subject(reference)
    return examine_design(load_config(reference, overrides))


def _without_gradients(config: ExperimentConfig) -> str:
    """What does not apply to a model of frozen features, for people."""
    if not isinstance(config.model, FeaturesSpec):
        return ""
    return ". Its circuit is frozen and its head is fitted: checks of gradients and plateaus do not apply"


def examine_design(config: ExperimentConfig) -> Examination:
    """Look thoroughly at the model that a config describes, with the weights that it would begin with.

    Raises:
        QHQError: If the prices, the circuit or the model cannot be had.
    """
    # With the drawn weights, with which training begins: at its baseline the model forecasts a constant.
    experiment = _with_head(open_design(config, at_baseline=False))
    diagnosis, doubts = _examine(experiment, initial=None, epochs=0), doubt_data(experiment.data, config.data)
    subject = f"config {config.name}, before training{_without_gradients(config)}"
    return Examination(subject, config.data.caveat, diagnosis, doubts, config.quantum is not None)


def examine_run(folder: RunFolder) -> Diagnosis:
    """Look thoroughly at a run's model: the best weights of a finished one, the last of one cut off.

    Where the best weights are the untrained ones, they say nothing of the training: then the last ones are
    looked at, too.

    Raises:
        QHQError: If the folder is damaged, or the prices are not those that the run was made for.
    """
    record = folder.read_record()
    epochs = _epochs_of(record) if record.status == FINISHED else 0
    trained = folder.resume.exists() or _keeps_training(record)
    if not trained:
        experiment = open_run_design(folder, at_baseline=False)
        # Of a finished run a head of zeros is what validation chose.
        experiment = experiment if record.status == FINISHED else _with_head(experiment)
        return _examine(experiment, initial=None, epochs=0)
    experiment = open_run_design(folder)
    model, identity = experiment.model, experiment.identity()
    initial = _copy(model.state_dict())
    if _keeps_training(record):
        load_weights(model, folder.weights, identity)
    else:
        state = load_state(folder.resume, identity)
        model.load_state_dict(state.model)
        epochs = state.epoch
    return _examine(experiment, initial=initial, epochs=epochs)


def _with_head(experiment: Experiment) -> Experiment:
    """Fit the head of a model of features on the exact engine: without one the forecast is a constant."""
    if isinstance(experiment.model, FeatureForecaster) and _is_small(experiment.ansatz):
        exact = None if experiment.ansatz is None else StatevectorExecutor(experiment.ansatz)
        # Exact values have no shots, so that one executor serves all splits.
        executors: dict[SplitName, Executor] = {} if exact is None else dict.fromkeys(SPLITS, exact)
        fit_features(experiment, Questions(experiment, experiment.model.spec.samples, executors))
    return experiment


def _keeps_training(record: RunRecord) -> bool:
    """Whether a run is finished and its best weights are not the untrained ones."""
    return record.status == FINISHED and record.best_epoch != 0


def _which_weights(folder: RunFolder, record: RunRecord) -> str:
    """Which weights are looked at of a run without best ones, or whose best ones are the untrained ones."""
    trained = folder.resume.exists()
    if record.status != FINISHED:
        # Which weights it will forecast with is settled when it is finished, and not before.
        state = "failed" if record.status == FAILED else "is not finished"
        weights = "with the weights of its last epoch so far" if trained else "as it began"
        return f"which {state} ('qhq train --resume {as_argument(folder.path)}' goes on), {weights}"
    return (
        "with the weights of its last epoch, though it forecasts with the untrained ones"
        if trained
        else "as it began"
    )


def _epochs_of(record: RunRecord) -> int:
    if record.epochs:
        return record.epochs
    raise ConfigError(
        "The run.json of a finished run must say how many epochs it was trained",
        got=f"epochs: {record.epochs!r} in that of {record.run}",
        fix=OTHER_RUN,
    )


def _examine(experiment: Experiment, *, initial: dict[str, Tensor] | None, epochs: int) -> Diagnosis:
    if isinstance(experiment.model, FeatureForecaster):
        epochs = 0  # nothing was to move
    train = experiment.data.train
    most = _SAMPLES if _is_small(experiment.ansatz) else _FEW_SAMPLES
    samples = experiment.samples(train.select(_spread_rows(len(train), most)))
    background = Background(
        circuit=experiment.ansatz,
        family=lambda qubits: _wide(experiment.config, qubits),
        shots=experiment.backend.shots,
        initial=initial,
        epochs=epochs,
        relative=not experiment.data.scaler.level,
        seed=experiment.config.seed,
        takes=keys_of(experiment.config),
    )
    return examine(experiment.model, samples.arguments(slice(None)), samples.targets, background=background)


def keys_of(config: ExperimentConfig) -> Callable[[str], bool]:
    """Whether a config takes a key that a fix of the doctor's may name, given what its model is."""
    model, quantum, refused = config.model, config.quantum, set[str]()
    if not isinstance(model, ModelSpec) or model.file is not None:
        refused |= {"model", "quantum"}  # the circuit as a whole: only a module's author can do without it
    elif is_gated(model) or model.circuits is not None:
        refused |= {"model.skip", "quantum"} | ({"model"} if is_gated(model) else set())
    units = [layer.unit for layer in model.recurrent] if isinstance(model, ModelSpec) else []
    if any(unit.endswith("_bare") for unit in units):
        refused.add("quantum.overrides.observables")  # they are the gates: as many as the unit has states
    if isinstance(model, ModelSpec) and model.circuits is not None and model.circuits.arrange == "window":
        refused.add("quantum.depth")  # a layer a step
    # The circuit of a program, or of a module in memory, has no file to build another from.
    carried = quantum is None or quantum.ansatz.startswith(CIRCUIT_IN_MEMORY)
    carried |= (model.file or "").startswith(MODULE_IN_MEMORY)
    if config.training.optimizer.line_search:
        refused.add("training.clip_norm")

    def takes(key: str) -> bool:
        section, _, rest = key.partition(".")
        if section == "quantum" and rest:
            return not carried and key not in refused
        return section not in refused and key not in refused

    return takes


def _wide(config: ExperimentConfig, qubits: int) -> Ansatz:
    """The config's circuit at another width."""
    if config.quantum is None:
        raise ConfigError("There must be a circuit to widen", got="quantum: null", fix="Name an ansatz")
    quantum = config.quantum.model_copy(update={"qubits": qubits})
    wide = program_of(config.model_copy(update={"quantum": quantum}))
    assert wide is not None
    return wide


class Doctor(Watcher):
    """Looks at a model after the first and the last epoch of a training, cheaply, and warns.

    Args:
        experiment: The experiment, its model with the weights that training begins with.
        samples: The training samples.
        watcher: Receives what a person should know.
    """

    def __init__(self, experiment: Experiment, samples: Samples, watcher: Watcher) -> None:
        self.experiment, self.watcher = experiment, watcher
        self.rows = torch.from_numpy(_spread_rows(len(samples), _QUICK_SAMPLES))
        self.arguments, self.targets = samples.arguments(self.rows), samples.targets[self.rows]
        self.initial = _copy(experiment.model.state_dict())
        self.last: tuple[int, Diagnosis] | None = None
        self.reported: set[str] = set()

    def epoch_done(self, state: TrainingState) -> None:
        """Look after the first and the last epoch; a fault is reported once."""
        last = state.stopped or state.epoch == self.experiment.config.training.epochs
        # A dead layer shows after the first epoch, when hours can still be saved; the last goes on record.
        if state.epoch == 1 or last:
            self._look(state.epoch)

    def record(self, state: TrainingState) -> Json:
        """What was found after the last epoch, for the run's record."""
        if self.last is None or self.last[0] != state.epoch:  # a run resumed after its last epoch
            self._look(state.epoch)
        if self.last is None:
            return {"epoch": state.epoch, "healthy": None, "findings": []}
        return {"epoch": state.epoch, **self.last[1].to_dict()}

    def _look(self, epoch: int) -> None:
        if self._trains_elsewhere and not _is_small(self.experiment.ansatz):
            return  # a look on the exact engine would cost more than it may
        background = Background(
            circuit=self.experiment.ansatz,
            shots=self.experiment.backend.shots,
            initial=self.initial,
            epochs=0 if isinstance(self.experiment.model, FeatureForecaster) else epoch,
            seed=self.experiment.config.seed,
            takes=keys_of(self.experiment.config),
        )
        with self._on_engine():
            found = examine(
                self.experiment.model, self.arguments, self.targets, background=background, thorough=False
            )
        self.last = (epoch, found)
        for finding in found.findings:
            if finding.severity != "info" and finding.code not in self.reported:
                self.reported.add(finding.code)
                self.watcher.note(
                    f"Doctor, after epoch {epoch}: {finding.severity} {finding.code}. {finding.message}"
                    f" Fix: {finding.fix}."
                )

    @contextmanager
    def _on_engine(self) -> Iterator[None]:
        """Put the layer on the exact engine for a while: a visit costs no shots and draws none."""
        layer = self.experiment.model.quantum
        if layer is None or not self._trains_elsewhere:
            yield
            return
        trained_on = layer.neural_network.executor
        self.experiment.model.reopen(self._engine)
        try:
            yield
        finally:
            self.experiment.model.reopen(trained_on)

    @property
    def _trains_elsewhere(self) -> bool:
        layer = self.experiment.model.quantum
        return layer is not None and not isinstance(layer.neural_network.executor, StatevectorExecutor)

    @cached_property
    def _engine(self) -> StatevectorExecutor:
        assert self.experiment.ansatz is not None
        return StatevectorExecutor(self.experiment.ansatz)


def _is_small(ansatz: Ansatz | None) -> bool:
    return ansatz is None or can_simulate(ansatz)


def _spread_rows(count: int, most: int) -> np.typing.NDArray[np.int64]:
    # Spread in time: the first windows of a panel are all of one symbol and of old prices.
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def _copy(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
