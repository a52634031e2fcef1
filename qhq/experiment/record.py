"""What a run records of itself: design, data, versions, git commit; errors on its validation and test splits.

The test split is looked at once. Whether a training came to anything can be seen before, on the split that
chose the weights: a model that is no better there than its baseline will hardly be so later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from math import isfinite
from typing import Any

import numpy as np

from qhq.ansatz.program import count_facts
from qhq.backends.executor import Parity
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.data.prepare import PreparedData
from qhq.evaluation.baselines.catalogue import task_baseline
from qhq.evaluation.detail import error_histograms, score_detail, score_table
from qhq.evaluation.losses import has_option_prices, loss_unit, score_options, score_options_by_group
from qhq.evaluation.metrics import Metrics, relative_errors, score_by_group, score_held_out, why_no_percent
from qhq.experiment.evaluate import (
    Array,
    Intervals,
    WindowForecasts,
    circuit_arguments,
    encode,
    forecast_windows,
    score_distribution,
)
from qhq.experiment.opening import Experiment
from qhq.experiment.words import say_validation
from qhq.files import Json
from qhq.models.own_forecaster import OwnForecaster
from qhq.runs.measures import Errors, MetricsRecord, OptionErrors, OptionMetricsRecord, Ratios
from qhq.runs.record import AngleCounts, Plausibility, RunRecord, SeenModule, Validation
from qhq.runs.run_folder import RUNNING, now, provenance
from qhq.runs.schema import LAST_VALUE, SCHEMA_VERSION, RecordT
from qhq.training.loop import TrainingState
from qhq.training.traces import weights_of_circuits


class Stopwatch:
    """Wall seconds by phase.

    Args:
        phases: Those that are over, of which the total begins.
    """

    def __init__(self, phases: Mapping[str, float] | None = None) -> None:
        self.phases = dict(phases or {})
        # As if the phases of an earlier process had been passed in this one.
        self.started = time.perf_counter() - sum(self.phases.values())

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the block as the phase ``name``."""
        start = time.perf_counter()
        yield
        self.phases[name] = round(time.perf_counter() - start, 4)

    def seconds(self) -> dict[str, float]:
        """Total so far, and each phase."""
        return {"total": round(time.perf_counter() - self.started, 4), **self.phases}


def design_record(
    experiment: Experiment, parity: Parity | None, plausibility: Plausibility | None = None
) -> RunRecord:
    """What is known before training: the run's design and what it runs on."""
    config, data = experiment.config, experiment.data
    content = {
        "schema_version": SCHEMA_VERSION,
        "status": RUNNING,
        **provenance(),
        "task": config.data.task,
        **config.data.caveat.to_dict(),
        "backend": config.backend,
        # The entry, not only its name: backends.yaml may say something else of the name tomorrow.
        "backend_entry": experiment.backend.model_dump(mode="json"),
        "seed": config.seed,
        # With every default spelled out: a default that changes in a later version must not change an old
        # run.
        "design": config.model_dump(mode="json"),
        "quantum": _quantum(experiment, parity),
        "data": {
            "fingerprint": data.fingerprint,
            "first": str(data.span[0]),
            "last": str(data.span[1]),
            **_split_facts(data),
            "quarantine": data.quarantine.to_dict(),
            "doubts": [asdict(doubt) for doubt in data.doubts],
            "notes": list(data.notes),
            **({} if data.panel is None or not data.panel.called else {"called": dict(data.panel.called)}),
        },
        "scaler": data.scaler.to_dict(),
        "static_scaler": None if data.static is None else data.static.to_dict(),
        **_own(experiment),
        **_begun(experiment),
        "parameters": {
            part: sum(each.numel() for each in tensors) for part, tensors in experiment.model.parts().items()
        },
    }
    doubted = {} if plausibility is None else {"plausibility": plausibility.to_dict()}
    return RunRecord.model_validate({**content, **doubted})


def _own(experiment: Experiment) -> dict[str, object]:
    """Digest and stages of a module of one's own; nothing of the reference model, which the config tells."""
    model, source = experiment.model, experiment.module_source
    if not isinstance(model, OwnForecaster):
        return {}
    stages = [stage.to_dict() for stage in stages_of(model)]
    return {"stages": stages} if source is None else {"module": source.digest, "stages": stages}


# Weights of circuits that a record names: more are no picture.
_MOST_BEGUN = 1024


def _begun(experiment: Experiment) -> dict[str, object]:
    """Weights of the circuits as they are now; nothing where there are none."""
    model, ansatz = experiment.model, experiment.ansatz
    if ansatz is None:
        return {}
    stages = model.found.stages if isinstance(model, OwnForecaster) else ()
    layers = [each.name for each in stages if each.kind == "QuantumLayer"]
    found = weights_of_circuits(model.state_dict(), layers, ansatz.num_weights)
    return {"begun": found} if 0 < len(found) <= _MOST_BEGUN else {}


def stages_of(model: OwnForecaster) -> list[SeenModule]:
    """Modules of a model of one's own as they were seen at work, and how many parameters each has."""
    found = []
    for each in model.found.stages:
        inside = f"{each.name}." if each.name else ""
        # Those of a part that is a stage, too, are counted there.
        parts = [
            one.name.removeprefix(inside)
            for one in model.found.stages
            if one.name.startswith(inside) and one.name != each.name
        ]
        count = sum(
            one.numel()
            for name, one in model.module.get_submodule(each.name).named_parameters()
            if not any(name.startswith(f"{part}.") for part in parts)
        )
        found.append(SeenModule(name=each.name, kind=each.kind, shape=list(each.shape), parameters=count))
    return found


def result_record(
    experiment: Experiment,
    state: TrainingState,
    evaluation: WindowForecasts,
    intervals: Intervals,
    watch: Stopwatch,
) -> dict[str, object]:
    """What is known after training: epochs, seconds, metrics beside the baselines', a collapse if any."""
    collapse = evaluation.collapse
    spread = score_distribution(experiment.data.validation, evaluation)
    metrics = metrics_record(evaluation, experiment.config.data.split.held_out)
    metrics = metrics.updated(intervals=intervals.record)
    return {
        "finished": now(),
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
        "validation_loss": state.best_loss,
        "seconds": {**watch.seconds(), "train_all_legs": round(state.seconds, 4)},
        "metrics": metrics.updated(**({} if spread is None else {"distribution": spread})),
        "collapse": None if collapse is None else collapse.to_dict(),
    }


def _split_facts(data: PreparedData) -> dict[str, dict[str, object]]:
    """Windows of each split, and the first and last date of its targets."""
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    return {
        name: {"windows": len(split), "from": str(split.dates.min()), "to": str(split.dates.max())}
        for name, split in splits.items()
    }


def _quantum(experiment: Experiment, parity: Parity | None) -> dict[str, object] | None:
    if experiment.ansatz is None:
        return None
    facts = count_facts(experiment.ansatz)
    return {
        "qubits": facts.qubits,
        "inputs": experiment.ansatz.num_inputs,
        "outputs": experiment.ansatz.num_outputs,
        "weights": experiment.ansatz.num_weights,
        "angle_scaling": experiment.ansatz.angle_scaling,
        "depth": facts.depth,
        "two_qubit_gates": facts.two_qubit_gates,
        "engine": experiment.executor_name(),
        "parity_max_abs": None if parity is None else parity.max_abs,
    }


def metrics_record(evaluation: WindowForecasts, held_out: tuple[str, ...]) -> MetricsRecord:
    """Metrics of model and baselines, in all, by symbol, and by what was held out."""
    windows, naive, scale = evaluation.windows, evaluation.naive, evaluation.scale
    relative = {
        name: Ratios(**asdict(relative_errors(windows.targets, forecast, naive, windows.group)))
        for name, forecast in _forecasts(evaluation).items()
    }
    symbols = _turned(evaluation, lambda forecast: score_by_group(windows, forecast, naive, scale), Errors)
    unit = loss_unit(windows, scale)
    found = MetricsRecord(
        test=_errors(evaluation.metrics()),
        naive=_errors(evaluation.naive_metrics()),
        baselines={name: _errors(evaluation.score(each)) for name, each in evaluation.baselines.items()},
        mape_reason=why_no_percent(windows),
        baseline=task_baseline(windows.cut),
        relative=relative,
        symbols=symbols,
        detail=_detail(evaluation),
        # Each window's errors over its unit, those of every forecast counted in the same bins.
        histogram={**error_histograms(windows.targets, _forecasts(evaluation), unit).to_dict()},
    )
    if held_out:
        apart = _turned(
            evaluation, lambda forecast: score_held_out(windows, forecast, naive, scale, held_out), Errors
        )
        found = found.updated(**apart)
    if has_option_prices(windows):
        found = found.updated(options=_options(evaluation))
    return found


def _errors(metrics: Metrics) -> Errors:
    return Errors(**asdict(metrics))


def _forecasts(evaluation: WindowForecasts) -> dict[str, Array]:
    """Every forecast under the name that the record has for it."""
    return {"test": evaluation.forecast, "naive": evaluation.naive, **evaluation.baselines}


def _detail(evaluation: WindowForecasts) -> Json:
    """Further measures of the model and of each baseline, and of the model by symbol and horizon."""
    windows, naive = evaluation.windows, evaluation.naive
    whole = {
        name: asdict(score_detail(windows, each, naive)) for name, each in _forecasts(evaluation).items()
    }
    rows = score_table(windows, evaluation.forecast, naive, evaluation.scale)
    return {**whole, "rows": [asdict(row) for row in rows]}


def _options(evaluation: WindowForecasts) -> OptionMetricsRecord:
    windows = evaluation.windows
    whole = {
        name: OptionErrors(**asdict(score_options(windows, forecast)))
        for name, forecast in _forecasts(evaluation).items()
    }
    groups = _turned(evaluation, lambda forecast: score_options_by_group(windows, forecast), OptionErrors)
    return OptionMetricsRecord.model_validate({**whole, "symbols": groups})


def _turned(
    evaluation: WindowForecasts, measure: Callable[[Array], Mapping[str, Any]], model: type[RecordT]
) -> dict[str, dict[str, RecordT]]:
    """Measure every forecast by group, and sort by group first: ``{group: {forecast: errors}}``."""
    found = {name: measure(forecast) for name, forecast in _forecasts(evaluation).items()}
    # Every forecast is of the same windows, and so has the same groups.
    groups = next(iter(found.values()))
    return {
        group: {name: model(**asdict(each[group])) for name, each in found.items() if each[group] is not None}
        for group in groups
    }


def evaluate_validation(experiment: Experiment) -> WindowForecasts:
    """Forecast the validation split with the model as it is, on the exact engine whatever its backend is."""
    # The validation split says what was learned; the backend's noise has the evaluations to itself.
    executor = None if experiment.ansatz is None else StatevectorExecutor(experiment.ansatz)
    return forecast_windows(experiment, executor, experiment.data.validation)


_ANGLE_WINDOWS, _ANGLE_BINS = 64, 36
"""Windows whose angles are counted, spread over the validation split, and the bins of a turn."""


def angles_record(experiment: Experiment) -> AngleCounts | None:
    """Angles at which the kept weights run the circuit; None without one, or if a backend would be asked."""
    model, validation = experiment.model, experiment.data.validation
    if model.quantum is None or not len(validation):
        return None
    engine = model.quantum.neural_network.executor
    if model.stepwise and not isinstance(engine, StatevectorExecutor):
        return None  # what it is asked next depends on what it answered, and answers may be paid for
    rows = np.linspace(0, len(validation) - 1, min(len(validation), _ANGLE_WINDOWS)).round().astype(np.intp)
    some = validation.select(rows)
    angles = np.asarray(circuit_arguments(experiment, encode(experiment, some))[0], dtype=np.float64)
    places = np.floor((angles + np.pi) / (2 * np.pi) * _ANGLE_BINS).astype(np.intp) % _ANGLE_BINS
    counts = [np.bincount(column, minlength=_ANGLE_BINS).tolist() for column in places.T]
    return AngleCounts(windows=len(some), counts=counts)


def validation_record(
    evaluation: WindowForecasts, state: TrainingState, *, fitted: bool = False
) -> Validation:
    """Metrics of the kept weights beside those of the last value and the other baselines.

    Args:
        evaluation: Of the validation split, with the weights that were kept.
        state: At the end of the training.
        fitted: Whether there was no training but the fit of a head.
    """
    windows, naive = evaluation.windows, evaluation.naive
    name = task_baseline(windows.cut)
    rival = naive if name == LAST_VALUE else evaluation.baselines[name]
    forecasts = {"model": evaluation.forecast, "naive": naive, **evaluation.baselines}
    relative = {
        key: relative_errors(windows.targets, forecast, naive, windows.group).mae
        for key, forecast in forecasts.items()
    }
    # Relative errors: in the unit of prices "better" could be said of one dear symbol.
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
        # Weights are in single precision, whose last digits differ; no absolute tolerance, since prices may
        # be a millionth of a cent.
        "is_baseline": bool(np.allclose(evaluation.forecast, rival, rtol=1e-6, atol=0.0)),
        "better": own is not None and other is not None and own < other * (1 - 1e-9),
        **({"fitted": True} if fitted else {}),
    }
    if state.best_epoch == 0 and state.history and not fitted:
        losses = [each.validation_loss for each in state.history]
        # Counted from 1, as `best_epoch` is: 0 is the untrained model.
        content |= {"lowest_epoch": 1 + losses.index(min(losses)), "lowest_loss": min(losses)}
    record = Validation.model_validate(content)
    return record.updated(verdict=say_validation(record))
