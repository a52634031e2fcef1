"""What is ablated and what stands beside it, and how one cell of it is measured.

A variant is the same recipe with another middle, an ordinary config. The classical baseline model is a tanh
MLP in the circuit's place. One width alone would be a rival of straw: at a circuit's number of weights it may
be far too narrow, and the hybrid's own ansatz was chosen among many. So it is trained in several widths, each
with the seeds and the epochs of the hybrid, and two of them are judged: the one with about as many parameters
as the circuit, and the one that errs least on the validation split.

A cell is a variant trained with one seed, or a baseline, on the test split. Its loss on the validation split
is measured, too: by that, rivals are chosen. Of a variant with a circuit a cell also says whether the circuit
is alive: it learned, and the forecast listens to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from qhq.ansatz.program import Ansatz, without_entanglers
from qhq.data.prepare import PreparedData, prepare
from qhq.data.spec import DataSpec
from qhq.data.split import folds_of
from qhq.data.windows import Windows, arrange_rows, join_blocks
from qhq.errors import ConfigError
from qhq.evaluation.baselines.catalogue import fit_all_baselines, suited_baselines
from qhq.evaluation.baselines.persistence import in_sample_naive_mae, last_value, symbol_scale
from qhq.evaluation.baselines.regression import Setting
from qhq.evaluation.losses import task_losses
from qhq.evaluation.metrics import score_windows
from qhq.experiment.checkup import Doctor
from qhq.experiment.config import ExperimentConfig, QuantumSpec
from qhq.experiment.evaluate import Array, forecast_scaled
from qhq.experiment.fit import fit_together, pass_parity_gate
from qhq.experiment.opening import Experiment, open_on_data
from qhq.models.features import FeatureForecaster
from qhq.models.hybrid import matched_width
from qhq.models.spec import MOST_HIDDEN, CircuitsSpec, FeaturesSpec, MiddleSpec, is_gated, stands_apart
from qhq.seeding import child_generator
from qhq.studies.runner import Values
from qhq.studies.runner.reproducible import Fingerprints, loaded, one_training
from qhq.training.loop import EpochRecord, TrainingState, Watcher

HYBRID, MLP, TUNED_MLP, FROZEN = "hybrid", "mlp", "mlp_tuned", "frozen"
_UNENTANGLED, NO_MIDDLE = "unentangled", "no_middle"

WIDTHS = {MLP: 1, "mlp_x2": 2, "mlp_x4": 4}
"""Widths that the MLP is trained in, as multiples of the one that matches the circuit."""


@dataclass(frozen=True)
class VariantMeaning:
    """A variant for people: its name in a sentence, and what it is."""

    title: str
    text: str


MEANINGS = {
    HYBRID: VariantMeaning("the hybrid", "hybrid, as configured"),
    MLP: VariantMeaning("the MLP", "MLP in the circuit's place, about as many parameters"),
    TUNED_MLP: VariantMeaning(
        "the MLP of the best width", "MLP in the circuit's place, best width on validation"
    ),
    FROZEN: VariantMeaning("the frozen circuit", "circuit frozen at random weights"),
    _UNENTANGLED: VariantMeaning("the circuit without entanglers", "circuit without entanglers"),
    NO_MIDDLE: VariantMeaning("no middle", "no middle at all"),
}
"""Variants in the order of the table."""


@dataclass(frozen=True)
class Variants:
    """What is trained beside the hybrid.

    Attributes:
        configs: By name; an MLP for each of `WIDTHS`, of which the table shows two.
        left_out: Why others are not among them.
        widths: Hidden units of each MLP.
    """

    configs: dict[str, ExperimentConfig]
    left_out: dict[str, str]
    widths: dict[str, int]


def build_variants(config: ExperimentConfig, ansatz: Ansatz) -> Variants:
    """Write the config of each variant; all else than the middle stays as it is, seed, data and training too.

    Args:
        config: The hybrid's.
        ansatz: Its circuit, for the sizes.
    """
    quantum = quantum_of(config)
    features = isinstance(config.model, FeaturesSpec)
    left_out = {
        FROZEN: _frozen_already(quantum, ansatz, features=features),
        _UNENTANGLED: _uncoupled_already(ansatz),
        NO_MIDDLE: _cannot_leave_out(config),
    }
    middles = {name: mlp_spec(ansatz, factor) for name, factor in WIDTHS.items()}
    configs = {
        HYBRID: config,
        **{name: _classical(config, ansatz, middle) for name, middle in middles.items()},
        FROZEN: _with_quantum(config, quantum.model_copy(update={"frozen": True})),
        _UNENTANGLED: _with_quantum(config, quantum.model_copy(update={"entangled": False})),
        NO_MIDDLE: _classical(config, ansatz, None),
    }
    return Variants(
        {name: _renamed(each, name) for name, each in configs.items() if not left_out.get(name)},
        {name: reason for name, reason in left_out.items() if reason},
        {name: middle.hidden for name, middle in middles.items()},
    )


def _cannot_leave_out(config: ExperimentConfig) -> str:
    """Why there is no variant without a circuit and without anything in its place; empty if there is."""
    if config.model.file is not None:
        return "only its author knows the module without a circuit"
    if is_gated(config.model):
        return "the gates are nothing without their circuits"
    return "model.circuits arranges circuits alone" if stands_apart(config.model) else ""


def mlp_spec(ansatz: Ansatz, factor: int = 1) -> MiddleSpec:
    """The MLP with a circuit's inputs, outputs and angles, ``factor`` times as wide as the matched one."""
    matched = matched_width(ansatz.num_inputs, ansatz.num_outputs, ansatz.num_weights)
    hidden = min(factor * matched, MOST_HIDDEN)
    return MiddleSpec(hidden=hidden, outputs=ansatz.num_outputs, angle_scaling=ansatz.angle_scaling)


def quantum_of(config: ExperimentConfig) -> QuantumSpec:
    """The quantum section of a config that must have one.

    Raises:
        ConfigError: If it has none.
    """
    if config.quantum is None:
        raise ConfigError(
            "An ablation needs a config with a quantum layer",
            got="quantum: null",
            fix="Name an ansatz in quantum.ansatz",
        )
    return config.quantum


def _frozen_already(quantum: QuantumSpec, ansatz: Ansatz, *, features: bool) -> str:
    if features:
        return "the circuit of a model of features is frozen already"
    if not ansatz.num_weights:
        return "the circuit has no weights"
    return "the hybrid's circuit is frozen already" if quantum.frozen else ""


def _uncoupled_already(ansatz: Ansatz) -> str:
    try:
        product = without_entanglers(ansatz)
    # An input that enters by such gates alone would be lost with them, so there is no such variant.
    except ConfigError as error:
        return error.got
    same = len(product.circuit.data) == len(ansatz.circuit.data)
    return "no gate of the circuit couples qubits" if same else ""


def _classical(config: ExperimentConfig, ansatz: Ansatz, middle: MiddleSpec | None) -> ExperimentConfig:
    """Put ``middle`` in the circuit's place; without one, the latent features go on to the head."""
    # Said outright, since without a circuit nothing tells how many features it was fed: encoder and head must
    # stay as wide as they are.
    model = config.model.model_copy(update={"latent": ansatz.num_inputs, "middle": middle})
    one_mlp = stands_apart(model) and model.circuits is not None and model.circuits.arrange == "sequence"
    if ansatz.parts and one_mlp:
        # It has as many parameters as all parts; a sequence of MLPs would have so many each.
        model = model.model_copy(update={"circuits": CircuitsSpec(arrange="sequence", count=1)})
    return config.model_copy(update={"quantum": None, "model": model})


def _with_quantum(config: ExperimentConfig, quantum: QuantumSpec) -> ExperimentConfig:
    return config.model_copy(update={"quantum": quantum})


def _renamed(config: ExperimentConfig, variant: str) -> ExperimentConfig:
    """Name a variant's runs after it, within the 60 letters of a name."""
    if variant == HYBRID:
        return config
    return config.model_copy(update={"name": f"{config.name[: 59 - len(variant)]}-{variant}"})


@dataclass(frozen=True)
class AblationCell:
    """A variant and a seed, or a baseline.

    Attributes:
        name: Of the variant or baseline.
        seed: Of the training; None of a baseline.
        config: The variant's with this seed; of a baseline any of the study, for the data.
        seen: What the driver has, and a worker must have.
    """

    name: str
    seed: int | None
    config: ExperimentConfig
    seen: Fingerprints

    @property
    def key(self) -> str:
        """Name of the cell in the store."""
        return f"baseline/{self.name}" if self.seed is None else f"{self.name}/{self.seed}"


def plan_cells(
    configs: Mapping[str, ExperimentConfig], data: PreparedData, seeds: range
) -> list[AblationCell]:
    """All cells: the baselines, then one seed of every variant after the other.

    Args:
        configs: The variants' by name; their data is the same.
        data: Prepared from that.
        seeds: Of each variant.
    """
    seen = {name: Fingerprints.of(config) for name, config in configs.items()}
    some = next(iter(configs))
    baselines = [AblationCell(name, None, configs[some], seen[some]) for name in suited_baselines(data.train)]
    return [
        *baselines,
        *(
            AblationCell(name, seed, config.model_copy(update={"seed": seed}), seen[name])
            for seed in seeds
            for name, config in configs.items()
        ),
    ]


def _folds_to_train(config: ExperimentConfig, first: PreparedData) -> Iterator[PreparedData]:
    """The data of every fold of a walk-forward, oldest first; of a single split that alone.

    Args:
        config: Whose ``data.split`` names a fold, or walks.
        first: Prepared from it as it stands: of a walk-forward the first fold.
    """
    yield first
    spec = config.data
    if spec.split.walks:
        panel = loaded(spec)
        for fold in folds_of(arrange_rows(panel, spec), spec)[1:]:
            yield prepare(spec.with_fold(fold), panel)


def count_folds(spec: DataSpec) -> int:
    """How many models a cell trains: those of a walk-forward, else one."""
    return len(folds_of(arrange_rows(loaded(spec), spec), spec)) if spec.split.walks else 1


def measure_ablation_cell(cell: AblationCell, data: PreparedData) -> Values:
    """Train or fit, and forecast the test split; of a walk-forward in every fold, and its blocks are one.

    Returns:
        ``mae``, ``skill``, ``seconds``, and of the test split ``losses``, those that decide, by the first
        loss of the task, one a date; ``other_losses``, the same by the task's other losses, by name (see
        `qhq.evaluation.losses`); and ``bounded``, how many values were taken at a bound. ``validation_loss``
        is the mean over the dates of the validation split of the loss that decides; of a walk-forward that of
        the first fold, since later ones are validated on sessions that are tested. Of a variant also
        ``epochs``, ``parameters_middle``, ``parameters_trained``, ``parameters_total``, and of one with a
        circuit what `Activity` has.

    Raises:
        QHQError: If that cannot be done.
    """
    return measure_cells([cell], data)[0]


def measure_cells(cells: Sequence[AblationCell], data: PreparedData) -> list[Values]:
    """Measure seeds of one variant, which are trained at once where they can be; ``seconds`` are shares.

    Args:
        cells: Of one variant; or a single one, of whatever there is.
        data: As of `measure_ablation_cell`.

    Returns:
        What `measure_ablation_cell` gives of each.

    Raises:
        QHQError: As there.
    """
    started, first = time.perf_counter(), cells[0]
    with one_training():
        folds = [
            [_baseline(first.name, each)]
            if first.seed is None
            else _seeds([cell.config for cell in cells], each)
            for each in _folds_to_train(first.config, data)
        ]
        found = []
        for own in zip(*folds, strict=True):
            values = _judge(data, own)
            if first.seed is not None:
                values |= _over_folds([fold.facts for fold in own])
            found.append(values)
    seconds = round((time.perf_counter() - started) / len(cells), 3)
    return [{**values, "seconds": seconds} for values in found]


@dataclass(frozen=True, eq=False)
class _Forecasts:
    """What one model, or baseline, forecasts of a test split or block.

    Attributes:
        windows: Of the test split.
        found: Forecasts, shape (N, H, K), in the unit of the targets.
        scale: That of MASE, as `symbol_scale` gives it.
        validation_loss: Mean over the dates of the validation split of the loss that decides.
        facts: Of a model: epochs, sizes and what its circuit did.
    """

    windows: Windows
    found: Array
    scale: Array
    validation_loss: float
    facts: Values


def _baseline(name: str, data: PreparedData) -> _Forecasts:
    forecaster = fit_all_baselines(Setting.of(data), [name])[name]
    return _forecast(data, lambda windows, _: forecaster(windows))


def _seeds(configs: Sequence[ExperimentConfig], data: PreparedData) -> list[_Forecasts]:
    """Train a variant with several seeds, and forecast with each."""
    experiments = [open_on_data(config, data) for config in configs]
    for experiment in experiments:
        # As before every training: a gradient that is not the circuit's own would make this cell worthless.
        pass_parity_gate(experiment)
    first = [circuit_weights(experiment) for experiment in experiments]
    samples = experiments[0].samples(data.train)
    doctors = [Doctor(experiment, samples, Watcher()) for experiment in experiments]
    states = fit_together(experiments, doctors)
    return [_trained(*each) for each in zip(experiments, first, doctors, states, strict=True)]


def _trained(experiment: Experiment, first: np.ndarray, doctor: Doctor, state: TrainingState) -> _Forecasts:
    """Forecasts of a trained model, and what became of it; ``first`` are the weights that it began with."""
    data = experiment.data

    def forecast(windows: Windows, stream: str) -> Array:
        scaled, _ = forecast_scaled(experiment, experiment.open_executor(stream), windows)
        return data.scaler.to_raw_units(scaled, windows)

    made = _forecast(data, forecast)
    tensors = list(experiment.model.parameters())
    facts = {
        "epochs": state.epoch,
        "parameters_middle": sum(each.numel() for each in experiment.model.parts()["circuit"]),
        "parameters_trained": sum(each.numel() for each in tensors if each.requires_grad),
        "parameters_total": sum(each.numel() for each in tensors),
    }
    if experiment.model.quantum is not None:
        activity = measure_activity(experiment, data.test, first, state.history)
        findings = doctor.record(state)["findings"]
        facts |= activity.to_dict([each["code"] for each in findings if each["severity"] == "error"])
    return replace(made, facts=facts)


def _forecast(data: PreparedData, forecast: Callable[[Windows, str], Array]) -> _Forecasts:
    """Forecasts of the test split, and the loss on the validation split.

    Args:
        data: Of the study.
        forecast: Of windows; its second argument names the random stream of shots, as a run's evaluation has
            it. That on the validation split comes first, so that nothing can be chosen by the test split.
    """
    # The validation split itself, also where a leak that was switched on makes early stopping look elsewhere.
    validation, known = data.splits.validation.windows, in_sample_naive_mae(data.train)
    seen = task_losses(validation, {"": forecast(validation, "validation")}, symbol_scale(validation, known))
    loss = float(seen.by_name[seen.primary][""].mean())
    found, scale = forecast(data.test, "test"), symbol_scale(data.test, known)
    return _Forecasts(data.test, found, scale, loss, {})


def _judge(data: PreparedData, folds: Sequence[_Forecasts]) -> Values:
    """Errors on the test split: of a walk-forward on all blocks, as if they were one."""
    windows, found, scale = folds[0].windows, folds[0].found, folds[0].scale
    if len(folds) > 1:
        assert data.panel is not None  # `prepare` keeps it
        windows, order = join_blocks(data.panel, [fold.windows for fold in folds])
        found, scale = (
            np.concatenate([getattr(fold, name) for fold in folds])[order] for name in ("found", "scale")
        )
    losses = task_losses(windows, {"": found}, scale)
    metrics = score_windows(windows, found, last_value(windows), scale)
    return {
        "mae": metrics.mae,
        "skill": metrics.skill,
        "losses": losses.by_name[losses.primary][""].tolist(),
        "other_losses": {
            name: each[""].tolist() for name, each in losses.by_name.items() if name != losses.primary
        },
        "bounded": sum(losses.bounded.values()),
        "validation_loss": folds[0].validation_loss,
    }


def _over_folds(facts: Sequence[Values]) -> Values:
    """Facts of all models of one seed as those of one: a circuit is alive if that of every fold is."""
    values = dict(facts[0])
    values["epochs"] = sum(each["epochs"] for each in facts)
    if "alive" in values:
        values["moved"] = max(each["moved"] for each in facts)
        values["alive"] = min(each["alive"] for each in facts)
        values |= {key: float(np.mean([each[key] for each in facts])) for key in ("gradient", "share")}
        values["findings"] = sorted({code for each in facts for code in each["findings"]})
    return values


# A circuit through which less of the forecast's variance goes is idle.
_LEAST_SHARE = 0.01

# Weights that moved by less than this, in radians, did not move.
_STILL = 1e-6


@dataclass(frozen=True)
class Activity:
    """What the circuit did.

    Attributes:
        gradient: Mean L2 norm of the weights' gradient, over all epochs.
        moved: Largest movement of a weight from its first to its best value, in radians.
        share: Part of the variance of the model's scaled outputs that is lost if the circuit's outputs are
            those of another window: ``E[(f(x) - f(x'))^2] / (2 Var f)``, a total sensitivity index (Sobol);
            above 1 where the skip connection works against the circuit.
        trains: Whether its weights are to move; those of a model of features are not.
    """

    gradient: float
    moved: float
    share: float
    trains: bool = True

    @property
    def alive(self) -> bool:
        """Whether the circuit learned, if it is to, and is listened to."""
        learned = not self.trains or (self.gradient > 0 and self.moved > _STILL)
        return learned and self.share >= _LEAST_SHARE

    def to_dict(self, findings: Sequence[str] = ()) -> Values:
        """All of it, the doctor's errors, and the answer as 0 or 1: an unhealthy model's circuit is idle."""
        alive = self.alive and not findings
        shown = {name: value for name, value in asdict(self).items() if name != "trains"}
        return {**shown, "findings": list(findings), "alive": float(alive)}


def circuit_weights(experiment: Experiment) -> np.ndarray:
    """Copy of the circuit's weights (W,), in radians; none without a circuit."""
    layer = experiment.model.quantum
    # double() copies float32 weights, and shares the memory of float64 ones, which a training changes.
    return np.empty(0) if layer is None else layer.weight.detach().double().numpy().copy()


def measure_activity(
    experiment: Experiment, windows: Windows, first_weights: np.ndarray, history: list[EpochRecord]
) -> Activity:
    """Look at a trained model's circuit on some windows; its layer must stand on its training backend."""
    change = np.abs(circuit_weights(experiment) - first_weights)
    return Activity(
        gradient=float(np.mean([epoch.grad_circuit for epoch in history])),
        moved=float(change.max(initial=0.0)),
        share=_share(experiment, windows),
        trains=not isinstance(experiment.model, FeatureForecaster),
    )


@torch.no_grad()
def _share(experiment: Experiment, windows: Windows) -> float:
    model = experiment.model.eval()
    latent = experiment.latent(windows)
    middle = model.middle(latent)
    # A permutation, not noise: the outputs keep their distribution, and only belong to other windows.
    order = child_generator(experiment.config.seed, "shuffled outputs").permutation(len(windows))
    outputs = model.decode(latent, middle).double().numpy()
    shuffled = model.decode(latent, middle[torch.from_numpy(order)]).double().numpy()
    variance = float(outputs.var(axis=0).sum())
    # The mean square difference of two independent draws is twice their variance.
    lost = float(((outputs - shuffled) ** 2).mean(axis=0).sum()) / 2
    # Of a constant forecast rounding alone would be left to divide.
    return lost / variance if variance > 1e-12 * float((outputs**2).mean()) else 0.0
