"""What the fit of a head asks a backend: each split once, and on a device with the cost said before.

A head that is fitted, on a frozen circuit or anew behind a trained one, needs what the circuit gives for some
windows of each split and nothing else. So all that a device will be asked is known beforehand: one question a
split, all sent before any is waited for. The journal of hardware jobs knows them by what is asked, and
answers whoever asks again: a run that is resumed, or the same command.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

import numpy as np
import torch

from qhq.backends.executor import CostForecast, Executor, FloatArray, HardwareExecutor, Report
from qhq.backends.ibm.budget import add_costs, forecast_within_cap
from qhq.backends.registry import kind_of, open_backend
from qhq.data.windows import Windows, spread_subset
from qhq.errors import ConfigError
from qhq.experiment.evaluate import (
    Array,
    WindowForecasts,
    ask_circuit,
    beside_baselines,
    circuit_arguments,
    decode_scaled,
    encode,
    forecast_quantiles,
    forecast_scaled,
)
from qhq.experiment.opening import Experiment, shot_seed
from qhq.models.features import FeatureForecaster
from qhq.runs.record import DeviceUse

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)

Agree = Callable[[CostForecast], bool]
"""Shown what a device costs before anything is sent, and answers whether it may be."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What a backend gave for the windows of a split.

    Attributes:
        windows: N of them.
        latent: What the encoder makes of them, shape (N, V).
        values: Expectation values, shape (N, O); None of a model without a circuit.
        report: What ran; None without a circuit.
    """

    windows: Windows
    latent: torch.Tensor
    values: Array | None
    report: Report | None


class Questions:
    """The questions of one fit, a split each; a simulator is asked when an answer is first needed.

    Args:
        experiment: Whose windows, encoder and circuit they are about.
        samples: Windows of each split at most, a seeded subset; None is all of them.
        executors: The circuit on the backend, opened for each split; none without a circuit.
        on_device: Whether the backend is a device: its executors are `HardwareExecutor`.
    """

    def __init__(
        self,
        experiment: Experiment,
        samples: int | None,
        executors: Mapping[SplitName, Executor],
        *,
        on_device: bool = False,
    ) -> None:
        self.experiment, self.samples, self._executors = experiment, samples, executors
        self._answers: dict[SplitName, Answer] = {}
        self.cost: CostForecast | None = None
        """What a device would be paid; None of a simulator."""
        self._devices: dict[SplitName, HardwareExecutor] = {}
        if on_device:
            self._devices = {split: cast("HardwareExecutor", each) for split, each in executors.items()}
            # Kept: what is sent must be what the cost was said of, and its key in the journal the same.
            self._asked = {split: self._arguments(split) for split in self._devices}
            asked = [(device, *self._asked[split]) for split, device in self._devices.items()]
            self.cost = add_costs(forecast_within_cap(asked))

    def windows(self, split: SplitName) -> Windows:
        """Windows of a split that the circuit is run for."""
        whole: Windows = getattr(self.experiment.data, split)
        if self.samples is None or self.samples >= len(whole):
            return whole
        return spread_subset(whole, self.samples, self.experiment.config.seed)

    def _arguments(self, split: SplitName) -> tuple[FloatArray, FloatArray]:
        return circuit_arguments(self.experiment, encode(self.experiment, self.windows(split)))

    def confirm(self, agree: Agree | None) -> None:
        """Have the cost agreed to, if a device is to be sent anything.

        Raises:
            ConfigError: If nobody agrees.
        """
        # No job is left where the journal answers all, as of a run that goes on: nothing to agree to.
        if self.cost is None or not self.cost.jobs or (agree is not None and agree(self.cost)):
            return
        raise ConfigError(
            "A run on hardware must be confirmed",
            got=f"no --yes for {self.cost.backend}",
            fix="Look with --dry-run what it costs, then add --yes",
        )

    def send(self) -> None:
        """Send all that a device is asked, and wait for nothing.

        Raises:
            BackendError: If sending is refused, or the service does not take it.
        """
        for split, device in self._devices.items():
            device.send(*self._asked[split])

    def answer(self, split: SplitName) -> Answer:
        """What the backend gives for a split; waits for a device.

        Raises:
            BackendError: If the backend fails.
        """
        if split not in self._answers:
            windows, executor = self.windows(split), self._executors.get(split)
            latent = encode(self.experiment, windows)
            values: Array | None = None
            if executor is not None:
                values = np.asarray(ask_circuit(self.experiment, executor, latent), dtype=np.float64)
            report = None if executor is None else executor.report()
            self._answers[split] = Answer(windows, latent, values, report)
        return self._answers[split]

    def evaluate(self, split: SplitName) -> WindowForecasts:
        """Forecast a split with the model as it is, of what the backend gave."""
        asked, experiment = self.answer(split), self.experiment
        if asked.values is None:
            scaled, _ = forecast_scaled(experiment, None, asked.windows, asked.latent)
        else:
            scaled = decode_scaled(experiment, asked.latent, asked.values)
        found = beside_baselines(experiment, asked.windows, scaled, asked.values, asked.report)
        quantiles = forecast_quantiles(experiment, asked.windows, asked.latent, asked.values)
        return replace(found, quantiles=quantiles)

    def used(self) -> DeviceUse | None:
        """What ran on a device, for the run's record; None of a simulator."""
        reports = [each.report for each in self._answers.values() if each.report is not None]
        if self.cost is None or not reports:
            return None
        last = reports[-1]
        return DeviceUse(
            windows={split: len(each.windows) for split, each in self._answers.items()},
            shots=last.shots,
            layout=None if last.layout is None else list(last.layout),
            calibration=last.calibration,
            job_ids=[job for report in reports for job in report.job_ids],
            qpu_seconds=sum(report.qpu_seconds for report in reports),
        )

    def close(self) -> None:
        """Close batches and sessions of a device: an open one costs by the wall clock."""
        for device in self._devices.values():
            device.close()


def open_questions(experiment: Experiment) -> Questions | None:
    """Open the backend for what a model of frozen features asks; nothing is sent yet.

    Returns:
        None of a model that trains by epochs.

    Raises:
        BackendError: If a device cannot be reached or read, or the circuit does not fit it.
    """
    model = experiment.model
    if not isinstance(model, FeatureForecaster):
        return None
    if model.quantum is None or experiment.asks_device:
        return ask_splits(experiment, model.spec.samples)
    # A simulator has been opened with the model; the test split has shots of its own, as in every training.
    own, test = model.quantum.neural_network.executor, experiment.open_executor("test")
    assert test is not None
    return Questions(experiment, model.spec.samples, {"train": own, "validation": own, "test": test})


def ask_splits(experiment: Experiment, samples: int | None) -> Questions:
    """Open the backend anew for each split, which has a stream of shots of its own; nothing is sent yet.

    Raises:
        BackendError: If a device cannot be reached or read, or the circuit does not fit it.
    """
    ansatz, backend = experiment.ansatz, experiment.backend
    if ansatz is None:
        return Questions(experiment, samples, {})
    kind = kind_of(backend)
    # A device is reached once: what it says of itself may change in between.
    connection = kind.connector()(backend)
    executors: dict[SplitName, Executor] = {
        split: open_backend(backend, ansatz, seed=shot_seed(experiment.config, split), connection=connection)
        for split in SPLITS
    }
    return Questions(experiment, samples, executors, on_device=kind.is_hardware)
