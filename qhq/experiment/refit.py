"""A trained model's head, fitted anew to what a backend gives in place of what the circuit was trained on.

The head is fitted to give, from what the backend gave for some training windows, what the exact model gives.
Not the actual targets: of a few windows a head would learn their noise. It is a ridge regression towards the
head as it was trained, whose strength is chosen by leave-one-out. Error mitigation does this for one
evaluation (`qhq.studies.mitigation`); fine-tuning keeps the head, in a run of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from qhq.backends.executor import FloatArray
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.errors import ConfigError
from qhq.experiment.evaluate import ask_circuit, decode_scaled
from qhq.experiment.opening import Experiment
from qhq.experiment.questions import Answer, Questions
from qhq.experiment.words import say_untrained
from qhq.models.hybrid import HybridForecaster
from qhq.models.own_forecaster import OwnForecaster
from qhq.runs.record import Refit, RunRecord
from qhq.training.loop import EpochRecord, TrainingState
from qhq.training.losses import mean_loss, open_objective


@dataclass(frozen=True)
class Lesson:
    """Training windows that a backend is asked about, because the exact answer is known.

    Attributes:
        latent: Latent features, shape (M, I).
        exact: Exact expectation values, shape (M, O).
    """

    latent: torch.Tensor
    exact: FloatArray

    def __len__(self) -> int:
        """M."""
        return len(self.exact)


def why_no_head(experiment: Experiment) -> str | None:
    """Why a model's head cannot be refitted; None where it can."""
    if experiment.model.has_known_head:
        return None
    return "a module of one's own, or several circuits, of which no head is known"


@torch.no_grad()
def refit_head(experiment: Experiment, lesson: Lesson, found: FloatArray) -> torch.nn.Linear:
    """The model's linear head, fitted to give of what a backend gave, (M, O), what the exact model gives.

    The change D of the weights minimises |F D - R|^2 + s |D|^2, F the inputs of the head and R what it
    misses; s is the strength whose leave-one-out errors are least, from none to so much that the weights stay
    and only the bias moves. Where not even that helps, the head is the model's own.
    """
    model = experiment.model.eval()
    assert not isinstance(model, OwnForecaster)  # `why_no_head` says so
    inputs, wanted = (
        model.head_inputs(lesson.latent, torch.as_tensor(each, dtype=lesson.latent.dtype)).double()
        for each in (found, lesson.exact)
    )
    head = model.linear_head()
    weight, bias = head.weight.double(), head.bias.double()
    missed = ((wanted - inputs) @ weight.T).numpy()
    features = inputs.numpy()
    change, shift = _ridge(features, missed)
    refitted = torch.nn.Linear(head.in_features, head.out_features, dtype=head.weight.dtype)
    refitted.weight.copy_(weight + torch.as_tensor(change.T))
    refitted.bias.copy_(bias + torch.as_tensor(shift))
    return refitted.requires_grad_(requires_grad=False)


def _ridge(features: FloatArray, missed: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weights (D, Y) and bias (Y,) from features (M, D) to what is missed, (M, Y), by leave-one-out."""
    count = len(features)
    middle, mean = features.mean(axis=0), missed.mean(axis=0)
    # One decomposition serves all strengths, and stands features that say the same.
    left, sizes, right = np.linalg.svd(features - middle, full_matrices=False)
    along = left.T @ (missed - mean)
    best, least = None, float((missed**2).sum())
    # Half a decade apart, from next to nothing to hundred times the strongest direction of the features.
    for strength in [*(sizes.max() ** 2 * np.logspace(-9, 2, 23)), np.inf]:
        kept = sizes**2 / (sizes**2 + strength) if np.isfinite(strength) else np.zeros_like(sizes)
        errors = missed - mean - left @ (kept[:, None] * along)
        leverage = 1 / count + (left**2 * kept).sum(axis=1)
        # With as many features as windows a leverage is 1: each window is fitted by itself alone, and the
        # error of leaving it out is as good as infinite.
        loss = float(((errors / np.maximum(1e-9, 1 - leverage)[:, None]) ** 2).sum())
        if loss < least:
            best, least = kept, loss
    if best is None:
        return np.zeros((features.shape[1], missed.shape[1])), np.zeros(missed.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(sizes > 0, best / sizes, 0.0)
    change: FloatArray = right.T @ (inverse[:, None] * along)
    return change, mean - middle @ change


def check_refit(experiment: Experiment, record: RunRecord) -> None:
    """Refuse a run whose head cannot be refitted, or of which noise took nothing.

    Raises:
        ConfigError: If there is no circuit, no linear head, or nothing that depends on the circuit.
    """
    must = "Only a run with a quantum layer and a linear head behind it can be fine-tuned"
    if experiment.ansatz is None:
        raise ConfigError(must, got=f"{record.run}, without a circuit", fix="Name another run")
    reason = why_no_head(experiment)
    if reason is not None:
        raise ConfigError(must, got=f"{record.run}: {reason}", fix="Evaluate it with --mitigation affine")
    if say_untrained(record):
        raise ConfigError(
            "Only a run whose forecasts depend on its circuit can be fine-tuned",
            got=f"{record.run}, which kept its untrained model",
            fix="Name a run that learned something: 'qhq compare' lists them",
        )
    assert not isinstance(experiment.model, OwnForecaster)
    experiment.model.linear_head()  # refuses one of trees before anything is sent


def refit_on(experiment: Experiment, questions: Questions, refit: Refit) -> tuple[TrainingState, Refit]:
    """Refit the model's head to what a backend gave for a few training windows, and keep it in the model.

    Args:
        experiment: Its model has the weights of the run that is fine-tuned.
        questions: Asks the backend.
        refit: What was asked for.

    Returns:
        A state as of a training of one epoch, and what the record says: losses and distances are of the
        validation windows, on the backend.
    """
    model, ansatz = experiment.model, experiment.ansatz
    assert ansatz is not None
    assert not isinstance(model, OwnForecaster)
    exact = StatevectorExecutor(ansatz)
    train, held = questions.answer("train"), questions.answer("validation")
    assert train.values is not None
    assert held.values is not None
    wanted = decode_scaled(experiment, held.latent, ask_circuit(experiment, exact, held.latent))
    before, far = _loss(experiment, held), _distance(experiment, held, wanted)
    lesson = Lesson(train.latent, ask_circuit(experiment, exact, train.latent))
    model.keep_head(refit_head(experiment, lesson, train.values))
    after, near = _loss(experiment, held), _distance(experiment, held, wanted)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    history = [EpochRecord(0, _loss(experiment, train), after, 0.0, 0.0, 0.0)]
    state = TrainingState(weights, {}, weights, best_loss=after, stopped=True, history=history)
    counts = {"train": len(train.windows), "validation": len(held.windows)}
    found = refit.updated(windows=counts, loss_before=before, distance_before=far, distance_after=near)
    return state, found


def _distance(experiment: Experiment, answer: Answer, wanted: FloatArray) -> float:
    """Root mean square of scaled forecasts of what a backend gave, from those of the exact model."""
    assert answer.values is not None
    found = decode_scaled(experiment, answer.latent, answer.values)
    return float(np.sqrt(np.mean((found - wanted) ** 2)))


@torch.no_grad()
def _loss(experiment: Experiment, answer: Answer) -> float:
    """Loss of the model that the run was trained for, of what a backend gave, against what came."""
    model, training = experiment.model.eval(), experiment.config.training
    targets = experiment.data.scaler.targets(answer.windows)
    good = np.flatnonzero(np.isfinite(targets).all(axis=(1, 2)))
    latent, middle = answer.latent[good], torch.as_tensor(answer.values, dtype=answer.latent.dtype)[good]
    start = None
    if isinstance(model, HybridForecaster):
        outputs, start = model.head_outputs(latent, middle), model.start
    else:
        outputs = model.decode(latent, middle)
    wanted = torch.as_tensor(targets[good], dtype=latent.dtype)
    return float(mean_loss(open_objective(training), outputs, wanted, start, training.horizon_weights))
