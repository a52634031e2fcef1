"""An executor behind the interface of qiskit-machine-learning."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from qiskit_machine_learning.neural_networks import NeuralNetwork
from torch import Tensor

from qhq.ansatz.program import Ansatz
from qhq.ansatz.stored import ansatz_fingerprint
from qhq.backends.executor import Executor, FloatArray
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.errors import BackendError
from qhq.seeding import child_generator

# Two programs on more qubits are distinguished by their gates alone, not by what they compute.
_MOST_QUBITS = 12

_numbers = itertools.count()


class ExecutorNetwork(NeuralNetwork):
    """A ``NeuralNetwork`` whose values and gradients come from an executor.

    A copy in this process shares the executor. A pickle leaves it behind, since a backend belongs to a
    process: what is loaded is closed until :meth:`reopen`.

    Args:
        ansatz: What the executor was opened for.
        executor: An ansatz opened on a backend; None leaves the network closed.

    Attributes:
        handle: Number by which a compiled graph, which can hold no Python object, finds the network.
        heard: Angles of each forward pass that has a gradient, where somebody listens; else None.

    Raises:
        BackendError: If the executor was opened for another ansatz.
    """

    def __init__(self, ansatz: Ansatz, executor: Executor | None = None) -> None:
        super().__init__(
            num_inputs=ansatz.num_inputs,
            num_weights=ansatz.num_weights,
            sparse=False,
            output_shape=ansatz.num_outputs,
            input_gradients=True,
        )
        self.ansatz = ansatz
        self._executor: Executor | None = None
        self.heard: list[Tensor] | None = None
        self._register()
        if executor is not None:
            self.reopen(executor)

    @property
    def executor(self) -> Executor:
        """The open executor.

        Raises:
            BackendError: If there is none, as after loading.
        """
        if self._executor is None:
            raise BackendError(
                "A quantum layer must be opened on a backend before it runs",
                got="one that was loaded without its backend",
                fix="Call layer.open(name) or layer.reopen(open_backend(name, ansatz, seed=seed))",
            )
        return self._executor

    @property
    def backend(self) -> str | None:
        """Name of the entry that the executor was opened on; None if the network is closed."""
        return None if self._executor is None else self._executor.report().backend

    def is_open_on(self, executor: Executor) -> bool:
        """Whether it stands on this very executor."""
        return self._executor is executor

    def hear(self, angles: Tensor) -> None:
        """Keep angles (B, I) that are asked for, where somebody listens and a gradient is to follow."""
        if self.heard is not None and torch.is_grad_enabled():
            self.heard.append(angles.detach())

    def reopen(self, executor: Executor) -> None:
        """Go on with another executor of the same ansatz.

        Raises:
            BackendError: If it was opened for another one.
        """
        other = getattr(executor, "ansatz", None)  # a user's own executor need not say it
        if isinstance(other, Ansatz) and not _same_program(self.ansatz, other):
            raise BackendError(
                "An executor must be opened for the ansatz of its layer",
                got=f"one for {_sizes(other)}; the layer has {_sizes(self.ansatz)}",
                fix="Open the backend for layer.ansatz, as layer.open(name) does",
            )
        self._executor = executor

    # A handle is of a process: copies and what is loaded from a pickle get one of their own.
    def _register(self) -> None:
        self.handle = next(_numbers)
        NETWORKS[self.handle] = self

    def __deepcopy__(self, memo: dict[int, Any]) -> ExecutorNetwork:
        """A network of its own over the same ansatz and executor, neither of which ever changes."""
        return ExecutorNetwork(self.ansatz, self._executor)

    def __getstate__(self) -> dict[str, object]:
        """State without the executor."""
        return {**self.__dict__, "_executor": None, "heard": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._register()

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


# Weak, since a compiled graph outlives its layer: the handle alone must not keep a backend open.
NETWORKS: WeakValueDictionary[int, ExecutorNetwork] = WeakValueDictionary()
"""Handle -> network, as long as something else holds it."""


def _given(values: FloatArray | None) -> FloatArray:
    """Values that qiskit-machine-learning may leave out; the executor then says what is missing."""
    return np.zeros(0) if values is None else values


def _same_program(one: Ansatz, other: Ansatz) -> bool:
    """Whether two ansatzes compute the same outputs of the same inputs and weights.

    Equal gates do. So do other gates with equal values, such as a circuit that was lowered or transpiled in
    between: two programs that agree at a random point agree everywhere but on a set of measure zero.
    """
    if one is other:
        return True
    if (one.num_inputs, one.num_weights, one.num_outputs) != (
        other.num_inputs,
        other.num_weights,
        other.num_outputs,
    ):
        return False
    # The model scales angles before the circuit, whatever the ansatz says of it: that may differ.
    if ansatz_fingerprint(one) == ansatz_fingerprint(replace(other, angle_scaling=one.angle_scaling)):
        return True
    if max(one.num_qubits, other.num_qubits) > _MOST_QUBITS:
        return False
    draw = child_generator(0, "same program")
    point = draw.uniform(-2, 2, (2, one.num_inputs)), draw.uniform(-2, 2, one.num_weights)
    # One thread: a comparison of two samples is over before a second one is awake.
    ours, theirs = (StatevectorExecutor(each, threads=1).expectations(*point) for each in (one, other))
    return bool(np.allclose(ours, theirs, rtol=0, atol=1e-9))


def _sizes(ansatz: Ansatz) -> str:
    return (
        f"'{ansatz.circuit.name}' ({ansatz.num_qubits} qubits, {ansatz.num_inputs} inputs,"
        f" {ansatz.num_weights} weights, {ansatz.num_outputs} outputs)"
    )
