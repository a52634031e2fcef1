"""Training a model of frozen features: one pass of the training and the validation split, then one fit.

There is no gradient and no second epoch: what a circuit costs is its forward passes.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint

import numpy as np
import torch

from qhq.errors import ConfigError
from qhq.experiment.evaluate import Array
from qhq.experiment.opening import Experiment
from qhq.experiment.questions import Answer, Questions
from qhq.files import Json
from qhq.models.features import FeatureForecaster
from qhq.models.heads import FittedHead, Loss, fit_head
from qhq.models.spec import BoostingSpec
from qhq.seeding import child_seed
from qhq.training.loop import EpochRecord, TrainingState
from qhq.training.spec import LOSSES


@dataclass(frozen=True)
class FeatureFit:
    """What came of a fit.

    Attributes:
        state: As of a training of one epoch, so that whatever reads trainings reads it.
        record: What the run's record says of the head.
    """

    state: TrainingState
    record: Json


def fit_features(experiment: Experiment, questions: Questions) -> FeatureFit:
    """Run the circuit for the training and the validation windows, and fit the model's head on the values.

    Args:
        experiment: Its model is a `FeatureForecaster`; the head of it is changed.
        questions: Asks the backend.

    Raises:
        ConfigError: If a loss is not a finite number: the features or targets are not.
        BackendError: If the backend fails.
    """
    started = time.perf_counter()
    model, config = experiment.model, experiment.config
    assert isinstance(model, FeatureForecaster)
    loss = _loss(config.training.loss)
    train = _features(experiment, questions.answer("train"))
    validation = _features(experiment, questions.answer("validation"))
    # Scaled targets are changes from the baseline: zeros are its forecast.
    untrained = loss(np.zeros_like(validation[1]), validation[1])
    # Before the fit, which writes into these very tensors.
    first = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    seed = child_seed(config.seed, "head")
    fitted = fit_head(model.head, model.spec.head, train, validation, loss=loss, seed=seed)
    best = fitted.best
    if not np.isfinite([best.train_loss, best.validation_loss, untrained]).all():
        raise ConfigError(
            "The loss of a head must be a finite number",
            got=f"{best.validation_loss} on the validation split",
            fix="Look for gaps or infinite values in data.features, or choose another data.scaling",
        )
    # Strictly, as in a training by epochs: a head that is no better than none is not kept.
    kept = best.validation_loss < untrained
    if not kept:
        model.load_state_dict(first)
    # No gradient norms: nothing was followed downhill.
    epoch = EpochRecord(0, best.train_loss, best.validation_loss, 0.0, 0.0, 0.0)
    weights = model.state_dict()
    state = TrainingState(
        model=weights,
        # Nothing to go on with: a fit that was cut off is made anew.
        optimizer={},
        best_model=weights,
        best_loss=best.validation_loss if kept else untrained,
        untrained_loss=untrained,
        stopped=True,
        seconds=time.perf_counter() - started,
        history=[epoch],
    )
    return FeatureFit(state, _record(experiment, fitted, train, validation, kept=kept))


def _features(experiment: Experiment, answer: Answer) -> tuple[Array, Array]:
    """What the head sees of windows (N, D), and their scaled targets (N, H K).

    Windows without a scaled target are left out, as `Experiment.samples` does.
    """
    targets = experiment.data.scaler.targets(answer.windows)
    good = np.asarray(np.isfinite(targets).all(axis=(1, 2)))
    values, model = answer.latent, experiment.model
    assert isinstance(model, FeatureForecaster)
    with torch.no_grad():
        if answer.values is None:
            middle = model.middle(values)
        else:
            middle = torch.as_tensor(answer.values, dtype=values.dtype)
        features = model.head_inputs(values, middle).double().numpy()
    return features[good], targets[good].reshape(int(good.sum()), -1).astype(np.float64)


def _loss(name: str) -> Loss:
    """The loss of ``training.loss``, which chooses the strength."""
    criterion = EntryPoint(name, LOSSES[name], "").load()()  # of points: others were refused as it was opened

    def loss(forecasts: Array, targets: Array) -> float:
        return float(criterion(torch.as_tensor(forecasts), torch.as_tensor(targets)))

    return loss


def _record(
    experiment: Experiment,
    fitted: FittedHead,
    train: tuple[Array, Array],
    validation: tuple[Array, Array],
    *,
    kept: bool,
) -> Json:
    model = experiment.model
    assert isinstance(model, FeatureForecaster)
    spec = model.spec.head
    return {
        "kind": spec.kind,
        "chosen": "trees" if isinstance(spec, BoostingSpec) else "strength",
        "strength": fitted.best.strength,
        "kept": kept,
        "features": train[0].shape[1],
        "windows": {"train": len(train[0]), "validation": len(validation[0])},
        "candidates": [asdict(each) for each in fitted.candidates],
    }
