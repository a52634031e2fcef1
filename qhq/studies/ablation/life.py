"""Whether a trained circuit is alive: it learned, and the forecast listens to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from qhq.data.windows import Windows
from qhq.experiment.opening import Experiment
from qhq.seeding import child_generator
from qhq.training.history import EpochRecord

LEAST_SHARE = 0.01
"""A circuit through which less of the forecast's variance goes is idle."""

STILL = 1e-6
"""Weights that moved by less than this, in radians, did not move."""


@dataclass(frozen=True)
class Life:
    """What the circuit did.

    Attributes:
        gradient: Mean L2 norm of the weights' gradient, over all epochs.
        moved: Largest movement of a weight from its first to its best value, in radians.
        share: Part of the variance of the model's scaled outputs that is lost if the circuit's outputs are
            those of another window: ``E[(f(x) - f(x'))^2] / (2 Var f)``, a total sensitivity index (Sobol);
            above 1 where the skip connection works against the circuit.
    """

    gradient: float
    moved: float
    share: float

    @property
    def alive(self) -> bool:
        """Whether the circuit learned and is listened to."""
        return self.gradient > 0 and self.moved > STILL and self.share >= LEAST_SHARE

    def to_dict(self, findings: Sequence[str] = ()) -> dict[str, Any]:
        """All of it, the doctor's errors, and the answer as 0 or 1: an unhealthy model's circuit is idle."""
        alive = self.alive and not findings
        return {**asdict(self), "findings": list(findings), "alive": float(alive)}


def circuit_weights(experiment: Experiment) -> np.ndarray:
    """Copy of the circuit's weights (W,), in radians; none without a circuit."""
    layer = experiment.model.quantum
    return np.empty(0) if layer is None else layer.weight.detach().double().numpy().copy()


def measure_life(
    experiment: Experiment, windows: Windows, first_weights: np.ndarray, history: list[EpochRecord]
) -> Life:
    """Look at a trained model's circuit on some windows; its layer must stand on its training backend."""
    change = np.abs(circuit_weights(experiment) - first_weights)
    return Life(
        gradient=float(np.mean([epoch.grad_circuit for epoch in history])),
        moved=float(change.max(initial=0.0)),
        share=_share(experiment, windows),
    )


@torch.no_grad()
def _share(experiment: Experiment, windows: Windows) -> float:
    model = experiment.model.eval()
    latent = experiment.latent(windows)
    middle = model.middle(latent)
    order = child_generator(experiment.config.seed, "shuffled outputs").permutation(len(windows))
    outputs = model.decode(latent, middle).double().numpy()
    shuffled = model.decode(latent, middle[torch.from_numpy(order)]).double().numpy()
    variance = float(outputs.var(axis=0).sum())
    lost = float(((outputs - shuffled) ** 2).mean(axis=0).sum()) / 2
    # Of a constant forecast rounding alone would be left to divide.
    return lost / variance if variance > 1e-12 * float((outputs**2).mean()) else 0.0
