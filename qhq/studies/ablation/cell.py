"""One cell of the study: a variant trained with one seed, or a baseline, on the test part."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from qhq.data.prepare import Prepared
from qhq.data.windows import Windows
from qhq.evaluation.baselines.catalogue import fit_all_baselines, suited_baselines
from qhq.evaluation.baselines.last_value import in_sample_naive_mae, last_value, symbol_scale
from qhq.evaluation.baselines.regression import Setting
from qhq.evaluation.groups import score_windows
from qhq.evaluation.significance import date_losses, loss_unit
from qhq.experiment.checkup import Doctor
from qhq.experiment.config import ExperimentConfig
from qhq.experiment.evaluate import Array, evaluate
from qhq.experiment.fit import fit
from qhq.experiment.opening import Experiment, open_on_data
from qhq.experiment.parity import pass_parity_gate
from qhq.studies.ablation.life import circuit_weights, measure_life
from qhq.training.loop import TrainingState, Watcher

Values = dict[str, Any]
"""What a cell gives, as plain JSON: ``mae``, ``skill``, ``losses`` (one a date), ``seconds``.

Of a variant also ``epochs``, ``parameters_middle``, ``parameters_trained``, ``parameters_total``, and of one
with a circuit what `Life` has.
"""


@dataclass(frozen=True)
class Cell:
    """A variant and a seed, or a baseline."""

    name: str
    seed: int | None

    @property
    def key(self) -> str:
        """Name of the cell in the store."""
        return f"baseline/{self.name}" if self.seed is None else f"{self.name}/{self.seed}"


@dataclass(frozen=True)
class Bench:
    """What all cells share: the variants' configs, and the data, which is the same for all."""

    configs: dict[str, ExperimentConfig]
    data: Prepared

    def cells(self, seeds: range) -> list[Cell]:
        """All cells: the baselines, then one seed of every variant after the other."""
        baselines = [Cell(name, None) for name in suited_baselines(self.data.train)]
        return [*baselines, *(Cell(name, seed) for seed in seeds for name in self.configs)]

    def measure(self, cell: Cell) -> Values:
        """Train or fit, and forecast the test part.

        Raises:
            QHQError: If that cannot be done.
        """
        started = time.perf_counter()
        if cell.seed is None:
            values = self._baseline(cell.name)
        else:
            values = self._variant(self.configs[cell.name].model_copy(update={"seed": cell.seed}))
        return {**values, "seconds": round(time.perf_counter() - started, 3)}

    def _baseline(self, name: str) -> Values:
        forecast = fit_all_baselines(Setting.of(self.data), [name])[name](self.data.test)
        return _errors(self.data, forecast)

    def _variant(self, config: ExperimentConfig) -> Values:
        experiment = open_on_data(config, self.data)
        pass_parity_gate(experiment)
        first = circuit_weights(experiment)
        doctor = Doctor(experiment, experiment.samples(self.data.train), Watcher())
        state = fit(experiment, doctor)
        evaluation = evaluate(experiment, experiment.open_executor("test"), self.data.test)
        values = {**_errors(self.data, evaluation.forecast), "epochs": state.epoch, **_sizes(experiment)}
        if experiment.model.quantum is not None:
            life = measure_life(experiment, self.data.test, first, state.history)
            values |= life.to_dict(_errors_found(doctor, state))
        return values


def _errors_found(doctor: Doctor, state: TrainingState) -> list[str]:
    """Codes of the doctor's findings that make a model unhealthy, after the last epoch."""
    return [each["code"] for each in doctor.record(state)["findings"] if each["severity"] == "error"]


def _errors(data: Prepared, forecast: Array) -> Values:
    windows: Windows = data.test
    scale = symbol_scale(windows, in_sample_naive_mae(data.train))
    metrics = score_windows(windows, forecast, last_value(windows), scale)
    losses = date_losses(windows, forecast, loss_unit(windows, scale))
    return {"mae": metrics.mae, "skill": metrics.skill, "losses": losses.tolist()}


def _sizes(experiment: Experiment) -> Values:
    tensors = list(experiment.model.parameters())
    return {
        "parameters_middle": sum(each.numel() for each in experiment.model.parts()["circuit"]),
        "parameters_trained": sum(each.numel() for each in tensors if each.requires_grad),
        "parameters_total": sum(each.numel() for each in tensors),
    }
