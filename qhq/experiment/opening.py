"""Opening an experiment: everything that a config names is read, checked and built, nothing is written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor

from qhq.ansatz.assemble import Ansatz, build
from qhq.ansatz.program import without_entanglers
from qhq.ansatz.spec import is_path, load_ansatz
from qhq.ansatz.stored import ansatz_fingerprint, as_stored, load_built
from qhq.backends.backend import BackendSpec
from qhq.backends.executor import Executor
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.backends.noise_aware import open_noise_aware
from qhq.backends.registry import find_backend, kind_of, open_backend, open_training_backend
from qhq.data.prepare import PreparedData, prepare
from qhq.data.windows import Windows
from qhq.errors import BackendError, ConfigError
from qhq.experiment.config import CIRCUIT_IN_MEMORY, ExperimentConfig, QuantumSpec, without_later_keys
from qhq.files import Json
from qhq.limits import require_memory
from qhq.models.features import FeatureForecaster, Forecaster, build_features, projected
from qhq.models.gates import Circuits, build_gated, by_rows
from qhq.models.hybrid import Shape, build_model
from qhq.models.own import build_own
from qhq.models.several import build_several
from qhq.models.source import ModuleSource, read_source
from qhq.models.spec import FeaturesSpec, is_gated, stands_apart
from qhq.quantum.layer import QuantumLayer
from qhq.seeding import child_seed
from qhq.training.loop import Samples
from qhq.training.losses import Objective, open_objective

# Windows scaled at a time.
# Scaling takes several copies in double precision.
_CHUNK = 16384

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


Executors = tuple[Executor | None, Executor | None]
"""The ansatz on a backend, and an executor for the circuits of all gates in one batch, if any."""


@dataclass(frozen=True)
class Experiment:
    """A config with all that it names: data in windows, circuit, model on its training backend.

    ``design`` is the config of a run as its folder holds it, None of a new one. Runs that were
    made before qhq had some key are identified by the keys that they stored. ``module_source`` is what built
    a module of one's own.
    """

    config: ExperimentConfig
    data: PreparedData
    ansatz: Ansatz | None
    backend: BackendSpec
    model: Forecaster
    design: Json | None = None
    module_source: ModuleSource | None = None

    @property
    def asks_device(self) -> bool:
        """Whether a head is fitted on what a device gives, which is asked beside the model's own engine."""
        return self.ansatz is not None and fits_on_device(self.config, self.backend)

    def samples(self, windows: Windows) -> Samples:
        """Scaled inputs (N, T, F), targets (N, H, K) and static features of windows, to be trained on.

        Windows whose target has no scaled value (an option price without an implied volatility) are left
        out here; they are still forecast and judged.
        """
        targets = self.data.scaler.targets(windows)
        good = np.asarray(np.isfinite(targets).all(axis=(1, 2)))
        windows = windows.select(good)
        return Samples(self.inputs(windows), self._tensor(targets[good]), self.static(windows))

    def latent(self, windows: Windows) -> Tensor:
        """Latent features (N, I) that the model's encoder makes of windows."""
        model = self.model
        return torch.cat([model.encode(self._scaled(each), self.static(each)) for each in _chunks(windows)])

    def inputs(self, windows: Windows) -> Tensor:
        """Scaled inputs (N, T, F) of windows, in the training dtype; the mask of gaps is the last feature."""
        return torch.cat([self._scaled(each) for each in _chunks(windows)])

    def static(self, windows: Windows) -> Tensor | None:
        """Scaled static features (N, S) of windows, in the training dtype; None without any."""
        scaler = self.data.static
        return None if scaler is None else self._tensor(scaler.scale(windows))

    def executor_name(self) -> str | None:
        """What the quantum layer runs on in training: ``statevector`` for the exact engine."""
        if self.model.quantum is None:
            return None
        if self.asks_device:
            return self.backend.name
        return self.model.quantum.neural_network.executor.report().backend

    def open_executor(self, stream: str) -> Executor | None:
        """Open the backend for the circuit; ``stream`` names the random stream of its shots."""
        if self.ansatz is None:
            return None
        return open_backend(self.backend, self.ansatz, seed=shot_seed(self.config, stream))

    def identity(self) -> dict[str, str]:
        """What a checkpoint of this experiment must match besides its tensors."""
        design = self.config.model_dump(mode="json") if self.design is None else self.design
        # A name decides no number: configs that differ in it alone have the same weights.
        named = {key: value for key, value in without_later_keys(design).items() if key != "name"}
        content = TypeAdapter(Json).dump_json(named)
        return {
            "circuit": ansatz_fingerprint(self.ansatz) if self.ansatz else "none",
            "config": hashlib.sha256(content).hexdigest(),
            **({} if self.module_source is None else {"module": self.module_source.digest}),
        }

    def _scaled(self, windows: Windows) -> Tensor:
        inputs = self.data.scaler.inputs(windows)
        if windows.cut.masked:
            # Log returns have one row fewer than the window: the mask of its first row goes.
            mask = windows.mask[:, -inputs.shape[1] :]
            inputs = np.concatenate([inputs, mask[:, :, None]], axis=2)
        return self._tensor(inputs)

    def _tensor(self, values: object) -> Tensor:
        return torch.as_tensor(values, dtype=_DTYPES[self.config.training.dtype])


def _chunks(windows: Windows) -> Iterator[Windows]:
    """Some windows at a time; at least one lot, which may be empty."""
    for at in range(0, max(len(windows), 1), _CHUNK):
        yield windows.select(slice(at, at + _CHUNK))


def open_experiment(config: ExperimentConfig) -> Experiment:
    """Read the prices, build circuit and model, open the backend.

    Raises:
        QHQError: If any part cannot be had; nothing has been written then.
    """
    return open_on_data(config, prepare(config.data))


def open_on_data(config: ExperimentConfig, data: PreparedData) -> Experiment:
    """Open an experiment on data that is already prepared from ``config.data``.

    Raises:
        QHQError: If circuit, model or backend cannot be had.
    """
    ansatz = program_of(config)
    ansatz = None if ansatz is None else as_stored(ansatz)
    return on_training_backend(config, data, ansatz, find_backend(config.backend))


def open_design(config: ExperimentConfig, *, at_baseline: bool = True) -> Experiment:
    """Open an experiment with fresh weights on the exact engine; its backend is not asked.

    Args:
        config: The config.
        at_baseline: False gives the model as it is drawn, with which training begins: one that forecasts its
            baseline passes no gradient.

    Raises:
        QHQError: If the prices, the circuit or the model cannot be had.
    """
    ansatz = program_of(config)
    data, backend = prepare(config.data), find_backend(config.backend)
    return on_engine(config, data, ansatz, backend, at_baseline=at_baseline)


def program_of(config: ExperimentConfig) -> Ansatz | None:
    """The circuit of a config with the observables that its model reads; None without one.

    Raises:
        ConfigError: As `build_circuit`.
    """
    if config.quantum is None:
        return None
    ansatz = build_circuit(config.quantum, config.seed)
    reads_all = isinstance(config.model, FeaturesSpec) and config.model.observables == "projected"
    return projected(ansatz) if reads_all else ansatz


def build_circuit(spec: QuantumSpec, seed: int = 0) -> Ansatz:
    """Build the circuit of a config; that of a run is read from its folder.

    Args:
        spec: The ``quantum`` section of the config.
        seed: Of the run: where numbers come from that the circuit's file leaves to be drawn.

    Raises:
        ConfigError: If it is not there, is left without a part it needs, or is a program that a run alone
            names.
    """
    carried = load_built(spec.stored) if spec.stored is not None else spec.in_memory
    if carried is not None:
        return carried if spec.entangled else without_entanglers(carried)
    if spec.ansatz.startswith(CIRCUIT_IN_MEMORY):
        raise ConfigError(
            "A circuit that a program gave must be used as it is: there is no file to build another from",
            got=f"{spec.ansatz} with other keys, or away from its run",
            fix="Give the program's circuit again, or write it down as a file (docs/circuits.md)",
        )
    if spec.origin is not None and is_path(spec.ansatz):
        raise _named_by_a_run(spec.ansatz, spec.origin.folder.name, spec.ansatz)
    if spec.origin is not None:
        _check_parts_of_a_run(spec, spec.origin.folder.name)
    file = load_ansatz(spec.ansatz, spec.changes(), named=spec.key_of)
    files = [each.file.path for each in (file, *file.parts) if each.file is not None]
    if spec.origin is not None and files:
        raise _named_by_a_run(", ".join(files), spec.origin.folder.name, spec.ansatz)
    ansatz = build(file.drawn_from(seed))
    return ansatz if spec.entangled else without_entanglers(ansatz)


def _check_parts_of_a_run(spec: QuantumSpec, run: str) -> None:
    """Refuse files of parts that a run names, as the file of a circuit is.

    Raises:
        ConfigError: If it names any.
    """
    parts = spec.changes().get("parts")
    for each in parts if isinstance(parts, list | tuple) else ():
        name = each.get("ansatz") if isinstance(each, Mapping) else None
        if isinstance(name, str) and is_path(name):
            raise _named_by_a_run(name, run, spec.ansatz)


def _named_by_a_run(file: str, run: str, ansatz: str) -> ConfigError:
    """A run carries its circuit; of another width it would have to be read where its config says, or run."""
    return ConfigError(
        "The file of a circuit must be named by your own command or config before it is read",
        got=f"{file}, which the config of run {run} names",
        fix=f"Add --set quantum.ansatz={ansatz} if you trust it",
    )


def on_engine(
    config: ExperimentConfig,
    data: PreparedData,
    ansatz: Ansatz | None,
    backend: BackendSpec,
    *,
    at_baseline: bool = True,
) -> Experiment:
    """An experiment on the exact engine, whatever its backend: nothing is sent, and nothing is noisy."""
    return _assemble(config, data, ansatz, backend, engine_for(config, ansatz), at_baseline=at_baseline)


def engine_for(config: ExperimentConfig, ansatz: Ansatz | None) -> Executors:
    """The exact engine for the circuit of a config, if it has one."""
    if ansatz is None:
        return None, None
    together = StatevectorExecutor(by_rows(ansatz)) if stands_apart(config.model) else None
    return StatevectorExecutor(ansatz), together


def on_training_backend(
    config: ExperimentConfig, data: PreparedData, ansatz: Ansatz | None, backend: BackendSpec
) -> Experiment:
    """An experiment on what its backend trains on."""
    executor = None
    if ansatz is not None:
        executor = _open_executor(config, ansatz, backend)
        _check_search(config, executor)
    together = None if ansatz is None else _open_together(config, ansatz, backend)
    return _assemble(config, data, ansatz, backend, (executor, together))


def _open_together(config: ExperimentConfig, ansatz: Ansatz, backend: BackendSpec) -> Executor | None:
    """Open what asks the circuits of all gates at once; None where they are asked one by one."""
    training = config.training
    # One by one where values are drawn, since each epoch has executors of its own (`FreshShots`), and on
    # several backends, of which each step takes another.
    if not stands_apart(config.model) or backend.shots is not None or training.backends or training.injection:
        return None
    return open_training_backend(backend, by_rows(ansatz), seed=shot_seed(config, "train"))


def _open_executor(config: ExperimentConfig, ansatz: Ansatz, backend: BackendSpec) -> Executor:
    training, seed = config.training, shot_seed(config, "train")
    if fits_on_device(config, backend):
        # The device is asked by what fits the head (`qhq.experiment.questions`), once and with its consent.
        return StatevectorExecutor(ansatz)
    if not training.backends and training.injection is None:
        return open_training_backend(backend, ansatz, seed=seed)
    injected = training.injection
    pair = None if injected is None else (injected.backend, injected.shots)
    return open_noise_aware(training.backends, pair, ansatz, seed=seed)


def fits_on_device(config: ExperimentConfig, backend: BackendSpec) -> bool:
    """Whether a model asks a device about windows alone, and needs no gradient of it."""
    return isinstance(config.model, FeaturesSpec) and kind_of(backend).is_hardware


def _check_search(config: ExperimentConfig, executor: Executor) -> None:
    """Refuse an optimiser that needs more of the circuit than its executor gives.

    Raises:
        ConfigError: If the executor draws shots, or has no state, and the optimiser needs it.
    """
    optimizer, report = config.training.optimizer, executor.report()
    # On sampled values it would follow the shots, and end at the luckiest.
    if optimizer.line_search and report.shots is not None:
        raise ConfigError(
            f"training.optimizer {optimizer.kind} compares losses, and needs exact expectation values",
            got=f"{report.shots} shots on {config.backend}",
            fix="Train on aer or a noisy entry without shots, or take another optimiser",
        )
    # The metric is one of the circuit's state, which no other executor has.
    if optimizer.natural and not hasattr(executor, "metric"):
        training = config.training
        injected = () if training.injection is None else (training.injection.backend,)
        raise ConfigError(
            f"training.optimizer {optimizer.kind} needs the state of the circuit, which only the exact engine"
            " has",
            got=f"a training on {', '.join(training.backends or injected or (config.backend,))}",
            fix="Train on aer or statevector and evaluate there afterwards, or take another optimiser",
        )


def _assemble(
    config: ExperimentConfig,
    data: PreparedData,
    ansatz: Ansatz | None,
    backend: BackendSpec,
    executors: Executors,
    *,
    at_baseline: bool = True,
) -> Experiment:
    _check_room(config, data)
    torch.set_num_threads(config.training.threads)
    shape = _shape(config, data)
    # A scaled 0 is the baseline itself (the last value, or Black-Scholes) unless it is some level.
    at_zero = at_baseline and not data.scaler.level
    model, source = build_forecaster(config, shape, ansatz, executors, at_zero=at_zero)
    experiment = Experiment(config, data, ansatz, backend, model, module_source=source)
    if isinstance(model, FeatureForecaster) and len(data.train):  # a run on other data has its own
        model.project(experiment.latent(data.train), child_seed(config.seed, "model"))
    return experiment


def build_forecaster(
    config: ExperimentConfig,
    shape: Shape,
    ansatz: Ansatz | None,
    executors: Executors,
    *,
    at_zero: bool = False,
) -> tuple[Forecaster, ModuleSource | None]:
    """Build the model of a config for data of known sizes, with fresh weights.

    Args:
        config: The config.
        shape: Sizes of the data.
        ansatz: The circuit, if the config has one.
        executors: The ansatz on a backend, and for the circuits of all gates in one batch.
        at_zero: Whether it starts at a forecast of 0.

    Returns:
        The model, and what built a module of one's own.

    Raises:
        QHQError: If the model cannot be had.
    """
    executor, together = executors
    layer, source = None, read_source(config.model)
    if ansatz is not None and executor is not None:
        # A module of one's own gives its circuit any numbers; the reference model makes the angles itself.
        scale, seed = source is not None, child_seed(config.seed, "circuit")
        layer = QuantumLayer(ansatz, executor, seed=seed, scale_inputs=scale)
        # Frozen after it is drawn, so that the weights are those of the trained variant with the same seed.
        layer.requires_grad_(not _is_frozen(config))
    seed, dtype = child_seed(config.seed, "model"), _DTYPES[config.training.dtype]
    scaling = ansatz.angle_scaling if ansatz else "pi_tanh"
    model: Forecaster
    if isinstance(config.model, FeaturesSpec):
        _check_point(config, shape)
        model = build_features(config.model, shape, quantum=layer, angle_scaling=scaling, seed=seed)
    elif source is not None:
        model = build_own(config.model, source, shape, quantum=layer, seed=seed, dtype=dtype, at_zero=at_zero)
    elif stands_apart(config.model):
        circuits = Circuits(
            ansatz, executor, together, child_seed(config.seed, "circuit"), _is_frozen(config)
        )
        build_it = build_gated if is_gated(config.model) else build_several
        model = build_it(config.model, shape, circuits, seed=seed, dtype=dtype, at_zero=at_zero)
    else:
        model = build_model(
            config.model, shape, quantum=layer, angle_scaling=scaling, seed=seed, at_zero=at_zero
        )
    return model.to(dtype), source


def _check_point(config: ExperimentConfig, shape: Shape) -> None:
    """Refuse a distribution of a head that scikit-learn fits, by least squares and to one value a target.

    Raises:
        ConfigError: If the loss has several.
    """
    if shape.values > 1:
        raise ConfigError(
            "A head that is fitted must be trained for a point forecast",
            got=f"training.loss {config.training.loss}, which has {shape.values} values a target",
            fix="Take training.loss mse, mae or huber",
        )


def _objective(config: ExperimentConfig, data: PreparedData) -> Objective:
    """What the model is trained for, fitted to the training targets; a run's weights have their own fit."""
    objective = open_objective(config.training)
    if objective.values > 1:
        shape = (1, config.data.horizon, len(config.data.targets))
        targets = data.scaler.targets(data.train) if len(data.train) else np.zeros(shape)
        known = targets[np.isfinite(targets).all(axis=(1, 2))]
        objective.fitted = objective.start(torch.as_tensor(known if len(known) else np.zeros(shape)))
    return objective


def _check_room(config: ExperimentConfig, data: PreparedData) -> None:
    """Refuse windows that would not fit, before they are gathered.

    Raises:
        ConfigError: With both figures.
    """
    spec, count = config.data, max(len(data.train), len(data.test))
    kept = 4 if config.training.dtype == "float32" else 8
    each = spec.window * (len(spec.features) + 1)
    # Kept once in the training dtype; a chunk is scaled in double precision, in up to three copies.
    needed = count * each * kept + min(count, _CHUNK) * each * 8 * 3
    needed += count * spec.horizon * len(spec.targets) * 8 * 3
    what = f"{count:,} windows of {spec.window} + {spec.horizon} sessions"
    try:
        require_memory(needed, what, fix="Shorten data.window or data.horizon, or take fewer symbols")
    except BackendError as error:
        raise ConfigError(error.must, got=error.got, fix=error.fix) from error


def _is_frozen(config: ExperimentConfig) -> bool:
    return config.quantum is not None and config.quantum.frozen


def _shape(config: ExperimentConfig, data: PreparedData) -> Shape:
    # Other data may hold none of the training split.
    some = data.train if len(data.train) else data.test
    scaled = data.scaler.inputs(some.select(slice(1)))
    features = scaled.shape[2] + (config.data.gaps == "mask")
    spec, window = config.data, scaled.shape[1]
    sizes = features, spec.horizon, len(spec.targets), len(spec.static)
    return Shape(*sizes, window=window, objective=_objective(config, data))


def shot_seed(config: ExperimentConfig, stream: str) -> int:
    """Seed of one random stream of a run's shots."""
    return child_seed(config.seed, f"shots/{stream}")
