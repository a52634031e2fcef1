"""Opening an experiment: everything that a config names is read, checked and built, nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from qhq.ansatz.assemble import Ansatz, build
from qhq.ansatz.catalogue import load_ansatz
from qhq.ansatz.stored import fingerprint, load_built
from qhq.backends.executor import Executor
from qhq.backends.registry import open_backend
from qhq.data.prepare import Prepared, prepare
from qhq.data.windows import Windows
from qhq.experiment.config import ExperimentConfig, load_config
from qhq.models.hybrid import HybridForecaster, Shape, build_model
from qhq.quantum.layer import QuantumLayer
from qhq.seeding import child_seed
from qhq.tracking.run_folder import RunFolder
from qhq.training.checkpoint import load_weights
from qhq.training.loop import Samples

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Experiment:
    """A config with all that it names: data in windows, circuit, model on its training backend."""

    config: ExperimentConfig
    data: Prepared
    ansatz: Ansatz | None
    model: HybridForecaster

    def samples(self, windows: Windows) -> Samples:
        """Scaled inputs (N, T, F) and targets (N, H, K) of windows, in the training dtype."""
        return Samples(self.inputs(windows), self._tensor(self.data.scaler.targets(windows)))

    def inputs(self, windows: Windows) -> Tensor:
        """Scaled inputs (N, T, F) of windows, in the training dtype."""
        return self._tensor(self.data.scaler.inputs(windows))

    def weights_metadata(self) -> dict[str, str]:
        """What a checkpoint of this experiment must match besides its tensors."""
        return {"circuit": fingerprint(self.ansatz) if self.ansatz else "none"}

    def _tensor(self, values: object) -> Tensor:
        return torch.as_tensor(values, dtype=DTYPES[self.config.training.dtype])


def open_experiment(config: ExperimentConfig, circuit: Path | None = None) -> Experiment:
    """Read the prices, build circuit and model.

    Args:
        config: What to open.
        circuit: QPY of a run to take the circuit from, instead of the ansatz that the config names.

    Raises:
        QHQError: If any part cannot be had; nothing has been written then.
    """
    torch.set_num_threads(config.training.threads)
    data = prepare(config.data)
    ansatz = open_ansatz(config, circuit)
    layer = None if ansatz is None else _open_layer(config, ansatz)
    shape = Shape(
        features=data.scaler.inputs(data.train.select(slice(1))).shape[2],
        horizon=config.data.horizon,
        targets=len(config.data.targets),
    )
    model = build_model(
        config.model,
        shape,
        quantum=layer,
        angle_scaling=ansatz.angle_scaling if ansatz else "pi_tanh",
        seed=child_seed(config.seed, "model"),
    )
    return Experiment(config, data, ansatz, model.to(DTYPES[config.training.dtype]))


def open_run(folder: RunFolder) -> Experiment:
    """Open a run's experiment from its folder alone, with its trained weights.

    Raises:
        QHQError: If the folder is damaged, or the prices are not those it was trained on.
    """
    experiment = open_run_experiment(folder)
    load_weights(experiment.model, folder.weights, experiment.weights_metadata())
    experiment.model.eval()
    return experiment


def open_run_experiment(folder: RunFolder) -> Experiment:
    """Open a run's experiment from its folder alone, with fresh weights."""
    config = load_config(str(folder.config))
    return open_experiment(config, folder.circuit if config.quantum else None)


def open_executor(config: ExperimentConfig, ansatz: Ansatz, stream: str) -> Executor:
    """Open the config's backend for a circuit; ``stream`` names the random stream of its shots."""
    return open_backend(config.backend, ansatz, seed=child_seed(config.seed, f"shots/{stream}"))


def open_ansatz(config: ExperimentConfig, circuit: Path | None) -> Ansatz | None:
    """Build the config's circuit, or read it from a run's QPY; None where there is no quantum layer."""
    if config.quantum is None:
        return None
    if circuit is not None:
        return load_built(circuit)
    return build(load_ansatz(config.quantum.ansatz, config.quantum.changes()))


def _open_layer(config: ExperimentConfig, ansatz: Ansatz) -> QuantumLayer:
    executor = open_executor(config, ansatz, "train")
    return QuantumLayer(ansatz, executor, seed=child_seed(config.seed, "circuit"))
