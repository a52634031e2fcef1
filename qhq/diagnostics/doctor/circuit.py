"""The ansatz of a quantum layer, so that the exact engine can be asked about it."""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np
from torch import nn

from qhq.ansatz.program import Ansatz
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.diagnostics.estimate import Array
from qhq.errors import QHQError
from qhq.quantum.adjoint_network import AdjointNetwork, as_pauli_sum

MOST_QUBITS = 14
"""Wider circuits are not simulated for the checks that need many states."""


def circuit_of(layer: nn.Module) -> Ansatz | None:
    """The ansatz of qhq's own layer, or of a network that says its circuit as ``EstimatorQNN`` does."""
    network: Any = layer.neural_network
    ansatz = getattr(network, "ansatz", None)
    if isinstance(ansatz, Ansatz):
        return ansatz
    try:
        return Ansatz(
            circuit=network.circuit,
            inputs=tuple(network.input_params),
            weights=tuple(network.weight_params),
            observables=tuple(as_pauli_sum(each) for each in network.observables),
        )
    except (AttributeError, TypeError, QHQError):  # a network of another kind, as SamplerQNN
        return None


def can_simulate(circuit: Ansatz | None) -> TypeGuard[Ansatz]:
    """Whether the circuit is known and small enough to be asked often."""
    return circuit is not None and circuit.num_qubits <= MOST_QUBITS


def is_exact(layer: nn.Module) -> bool | None:
    """Whether the layer's values are exact; False where noise may shift them, None where they are drawn."""
    network: Any = layer.neural_network
    executor: Any = getattr(network, "executor", None)
    if isinstance(network, AdjointNetwork) or isinstance(executor, StatevectorExecutor):
        return True
    return False if executor is not None and shots_of(layer) is None else None


def shots_of(layer: nn.Module) -> int | None:
    """Shots of the executor that the layer stands on; None if exact or unknown.

    A network that asks an estimator for a precision p, as ``EstimatorQNN``, stands for ``1 / p^2`` shots.
    """
    network: Any = layer.neural_network
    executor: Any = getattr(network, "executor", None)
    if executor is not None:
        shots: int | None = executor.report().shots
        return shots
    precision: float | None = getattr(network, "default_precision", None)
    if isinstance(network, AdjointNetwork) or not precision:
        return None
    return round(1 / precision**2)


def values_at(angles: Array, weights: Array) -> Array:
    """Rows of angles and weights (R, I + W) for a `qhq.diagnostics.probe.Probe`."""
    return np.hstack([angles, np.tile(weights, (len(angles), 1))])
