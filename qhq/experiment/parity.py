"""The parity gate of a training: the engine it runs on against the backend it was asked for."""

from __future__ import annotations

import torch

from qhq.backends.parity import Parity, check_parity, measure_parity, parity_tolerance
from qhq.backends.registry import open_parity_reference
from qhq.experiment.opening import Experiment, shot_seed


@torch.no_grad()
def pass_parity_gate(experiment: Experiment) -> Parity | None:
    """Compare engine and backend on the first training batch, with the model's initial weights.

    Returns:
        The largest differences; None where training runs on the backend itself, or there is no circuit.

    Raises:
        BackendError: If they differ by more than the tolerance.
    """
    config, ansatz, model = experiment.config, experiment.ansatz, experiment.model
    if ansatz is None or model.quantum is None:
        return None
    reference = open_parity_reference(experiment.backend, ansatz, seed=shot_seed(config, "parity"))
    if reference is None:
        return None
    model.eval()
    latent = experiment.latent(experiment.data.train.select(slice(config.training.batch_size)))
    angles, weights = model.angles(latent), model.quantum.weight
    engine = model.quantum.neural_network.executor
    inputs = angles.numpy()
    noisy = experiment.backend.is_noisy
    parity = measure_parity(engine, reference, inputs, weights.detach().numpy(), density=noisy)
    tolerance = parity_tolerance(inputs.dtype, ansatz.circuit.size())
    check_parity(parity, tolerance, engine="noisy" if noisy else "exact")
    return parity
