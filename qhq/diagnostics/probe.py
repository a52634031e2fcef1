"""An ansatz on the exact engine, with inputs and weights that both differ by sample."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from qhq.ansatz.program import Ansatz
from qhq.diagnostics.estimate import Array
from qhq.engine import StateEngine, States, StatevectorEngine
from qhq.errors import ConfigError

SILENT = 1e-10
"""A slope below this is zero: rounding stays below 1e-13, and no slope of random angles comes so near."""

_NO_WEIGHTS = np.empty(0)


class Probe:
    """Batched over *values* (B, P): a row holds I inputs and then W weights in radians, P = I + W."""

    def __init__(self, ansatz: Ansatz) -> None:
        self.ansatz = ansatz

    def expectations(self, values: Array) -> Array:
        """Expectation values (B, O)."""
        return self._engine.expectations(values, _NO_WEIGHTS)

    def gradients(self, values: Array) -> Array:
        """Slopes ``[b, o, p] = d E[b, o] / d values[b, p]``, shape (B, O, P)."""
        slopes = np.empty((len(values), self.ansatz.num_outputs, values.shape[1]))
        for output in range(self.ansatz.num_outputs):
            cotangent = np.zeros(slopes.shape[:2])
            cotangent[:, output] = 1
            slopes[:, output], _ = self._engine.vjp(values, _NO_WEIGHTS, cotangent)
        return slopes

    def weight_gradients(self, values: Array) -> Array:
        """The slopes of the weights, (B, O, W)."""
        return self.gradients(values)[:, :, self.ansatz.num_inputs :]

    def input_gradients(self, values: Array) -> Array:
        """The slopes of the inputs, (B, O, I)."""
        return self.gradients(values)[:, :, : self.ansatz.num_inputs]

    def states(self, values: Array) -> States:
        """Final states (B, 2^Q), each up to a phase."""
        return self._state_engine.states(values, _NO_WEIGHTS)

    @cached_property
    def _engine(self) -> StatevectorEngine:
        ansatz = self.ansatz
        return StatevectorEngine(ansatz.circuit, ansatz.observables, ansatz.parameters, [])

    @cached_property
    def _state_engine(self) -> StateEngine:
        return StateEngine(self.ansatz.circuit, self.ansatz.parameters, [])


def check_has_weights(ansatz: Ansatz) -> None:
    """Refuse an ansatz that is an encoding alone.

    Raises:
        ConfigError: If it has no weights.
    """
    if ansatz.num_weights == 0:
        raise ConfigError(
            "The ansatz must have weights to look at", got="none", fix="Set depth to 1 or more, or add blocks"
        )
