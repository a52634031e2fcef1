"""An executor behind the interface of qiskit-machine-learning."""

from __future__ import annotations

from typing import Any

import numpy as np
from qiskit_machine_learning.neural_networks import NeuralNetwork

from qhq.ansatz.program import Ansatz
from qhq.backends.executor import Executor, FloatArray
from qhq.errors import BackendError


class ExecutorNetwork(NeuralNetwork):
    """A ``NeuralNetwork`` whose values and gradients come from an executor.

    The executor is never copied or pickled: a copy is closed until :meth:`reopen`.

    Args:
        ansatz: What the executor was opened for.
        executor: An ansatz opened on a backend; None leaves the network closed.
    """

    def __init__(self, ansatz: Ansatz, executor: Executor | None = None) -> None:
        super().__init__(
            num_inputs=ansatz.num_inputs,
            num_weights=ansatz.num_weights,
            sparse=False,
            output_shape=ansatz.num_outputs,
            input_gradients=True,
        )
        self.ansatz, self._executor = ansatz, executor

    @property
    def executor(self) -> Executor:
        """The open executor.

        Raises:
            BackendError: If there is none, as after copying or loading.
        """
        if self._executor is None:
            raise BackendError(
                "A quantum layer must be opened on a backend before it runs",
                got="one that was copied or loaded without its backend",
                fix="Call layer.reopen(open_backend(name, ansatz, seed=seed))",
            )
        return self._executor

    def reopen(self, executor: Executor) -> None:
        """Go on with another executor of the same ansatz."""
        self._executor = executor

    def __getstate__(self) -> dict[str, Any]:
        """State without the executor."""
        return {**self.__dict__, "_executor": None}

    def _forward(self, input_data: FloatArray | None, weights: FloatArray | None) -> FloatArray:
        return self.executor.expectations(_given(input_data), _given(weights))

    def _backward(
        self, input_data: FloatArray | None, weights: FloatArray | None
    ) -> tuple[FloatArray, FloatArray]:
        """Full Jacobians (B, O, I) and (B, O, W), one product a sample and output.

        The slow way that qiskit-machine-learning's own trainers need; ``QuantumLayer`` takes the one
        product it needs straight from the executor.
        """
        rows, units = _given(input_data), np.eye(self.output_shape[0])
        products = [
            [self.executor.vjp(row[None, :], _given(weights), unit[None, :]) for unit in units]
            for row in rows
        ]
        by_inputs = np.array([[pulled[0][0] for pulled in sample] for sample in products])
        by_weights = np.array([[pulled[1] for pulled in sample] for sample in products])
        return by_inputs, by_weights


def _given(values: FloatArray | None) -> FloatArray:
    """Values that qiskit-machine-learning may leave out; the executor then says what is missing."""
    return np.zeros(0) if values is None else values
