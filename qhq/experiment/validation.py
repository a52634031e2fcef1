"""The validation split after training: the weights that were kept, beside the baselines.

The test split is looked at once. Whether a training came to anything can be seen before, on the split that
chose the weights: a model that is no better there than its baseline will hardly be so later.
"""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite

import numpy as np

from qhq.backends.local.statevector import StatevectorExecutor
from qhq.evaluation.baselines.catalogue import task_baseline
from qhq.evaluation.metrics import relative_errors
from qhq.experiment.evaluate import Evaluation, evaluate
from qhq.experiment.opening import Experiment
from qhq.experiment.words import say_validation
from qhq.runs.record import LAST_VALUE, Validation
from qhq.training.loop import TrainingState


def evaluate_validation(experiment: Experiment) -> Evaluation:
    """Forecast the validation split with the model as it is, on the exact engine whatever its backend is."""
    executor = None if experiment.ansatz is None else StatevectorExecutor(experiment.ansatz)
    return evaluate(experiment, executor, experiment.data.validation)


def validation_record(evaluation: Evaluation, state: TrainingState) -> Validation:
    """Metrics of the kept weights beside those of the last value and the other baselines.

    Args:
        evaluation: Of the validation split, with the weights that were kept.
        state: At the end of the training.
    """
    windows, naive = evaluation.windows, evaluation.naive
    name = task_baseline(windows.cut)
    rival = naive if name == LAST_VALUE else evaluation.baselines[name]
    forecasts = {"model": evaluation.forecast, "naive": naive, **evaluation.baselines}
    relative = {
        key: relative_errors(windows.targets, forecast, naive, windows.group).mae
        for key, forecast in forecasts.items()
    }
    own, other = relative["model"], relative["naive" if name == LAST_VALUE else name]
    content = {
        "epoch": state.best_epoch,
        "loss": state.best_loss,
        "untrained_loss": state.untrained_loss if isfinite(state.untrained_loss) else None,
        "model": asdict(evaluation.metrics()),
        "naive": asdict(evaluation.naive_metrics()),
        "baselines": {key: asdict(evaluation.score(each)) for key, each in evaluation.baselines.items()},
        "baseline": name,
        "symbols": len(set(windows.group.tolist())),
        "relative": relative,
        "is_baseline": bool(np.allclose(evaluation.forecast, rival, rtol=1e-6, atol=0.0)),
        "better": own is not None and other is not None and own < other * (1 - 1e-9),
    }
    record = Validation.model_validate(content)
    return record.updated(verdict=say_validation(record))
