"""The quantum layer: a torch module over an executor."""

from __future__ import annotations

import math
from typing import Any

import torch
from qiskit_machine_learning.connectors import TorchConnector
from torch import Tensor

from qhq.ansatz.program import Ansatz
from qhq.backends.executor import Executor, FloatArray
from qhq.backends.simulators.statevector import StatevectorExecutor
from qhq.errors import BackendError
from qhq.quantum.network import ExecutorNetwork
from qhq.seeding import child_generator


class QuantumLayer(TorchConnector):
    """Angles in, expectation values out; trains its weights and passes gradients to what stands before.

    Against its parent, ``TorchConnector``, it keeps the dtype of its input, takes any leading shape, asks the
    executor for one vector-Jacobian product instead of full Jacobians, draws its weights from a seed,
    and saves each tensor once. Copies and pickles leave the backend behind: :meth:`reopen` them.

    Args:
        ansatz: The program; I inputs, W weights, O observables.
        executor: The ansatz opened on a backend.
        seed: Seed of the run; initial weights are uniform in [-pi, pi).
    """

    def __init__(self, ansatz: Ansatz, executor: Executor, *, seed: int) -> None:
        initial = child_generator(seed, "quantum weights").uniform(-math.pi, math.pi, ansatz.num_weights)
        super().__init__(ExecutorNetwork(ansatz, executor), initial_weights=initial)
        # The parent registers one tensor under two names, which safetensors refuses to save.
        del self._weights

    @property
    def neural_network(self) -> ExecutorNetwork:
        """The network that holds the executor."""
        network: ExecutorNetwork = self.__dict__["_neural_network"]
        return network

    @property
    def weight(self) -> Tensor:
        """Weights (W,), in radians."""
        weights: Tensor | None = self.__dict__.get("_parameters", {}).get("weight")
        if weights is None:
            raise AttributeError("weight")
        return weights

    def forward(self, input_data: Tensor | None = None) -> Tensor:
        """Expectation values (..., O) of angles (..., I), in the dtype and on the device of the input.

        Raises:
            BackendError: If the last dimension is not I, the layer is closed, or the backend fails.
        """
        network = self.neural_network
        shape = () if input_data is None else tuple(input_data.shape)
        if input_data is None or shape[-1:] != (network.num_inputs,):
            raise BackendError(
                "The last dimension of the angles must be the inputs of the ansatz",
                got=f"shape {shape} for {network.num_inputs} inputs",
                fix="Let the linear layer before it give that many",
            )
        if input_data.dtype not in (torch.float32, torch.float64):
            return self._in_float32(input_data)
        if input_data.ndim == 2:  # the common case; two views more would cost as much as a small circuit
            return _run(network.executor, input_data, self.weight)
        rows = input_data.reshape(-1, network.num_inputs)
        values = _run(network.executor, rows, self.weight)
        return values.reshape(*input_data.shape[:-1], *network.output_shape)

    def _in_float32(self, input_data: Tensor) -> Tensor:
        """Half precision, as under autocast, is too coarse for angles: go by float32 and back."""
        if not input_data.dtype.is_floating_point:
            raise BackendError(
                "The angles of a quantum layer must be real floating point numbers",
                got=f"{input_data.dtype}",
                fix="Convert them with .float()",
            )
        values: Tensor = self(input_data.float())
        return values.to(input_data.dtype)

    def reopen(self, executor: Executor) -> None:
        """Go on with another executor of the same ansatz; the weights stay."""
        self.neural_network.reopen(executor)


def _run(executor: Executor, rows: Tensor, weights: Tensor) -> Tensor:
    """Values (B, O) of angles (B, I), by the shortest way that the executor and the tensors allow."""
    function: type[torch.autograd.Function] = _Expectations
    if isinstance(executor, StatevectorExecutor):
        if rows.device.type != "cpu":
            return executor.expectations_on_device(rows, weights)
        function = _TwoPass
    if not torch.is_grad_enabled():
        return _like(executor.expectations(_array(rows), _array(weights)), rows)
    values: Tensor = function.apply(rows, weights, executor)  # type: ignore[no-untyped-call]
    return values


class _Expectations(torch.autograd.Function):
    """Values (B, O) of any executor, with its vector-Jacobian product as derivative."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weights: Tensor, executor: Executor) -> Tensor:
        ctx.save_for_backward(inputs, weights)
        ctx.executor = executor
        return _like(executor.expectations(_array(inputs), _array(weights)), inputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, Tensor, None]:
        inputs, weights = ctx.saved_tensors
        return *_Gradients.apply(inputs, weights, cotangents[0], ctx.executor), None  # type: ignore[no-untyped-call]


class _TwoPass(torch.autograd.Function):
    """Values (B, O) of the exact engine, whose backward sweep starts from the states of the forward one."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weights: Tensor, executor: StatevectorExecutor) -> Tensor:
        values, ctx.residual = executor.forward(_array(inputs), _array(weights))
        ctx.save_for_backward(inputs, weights)
        ctx.executor = executor
        return torch.from_numpy(values)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, Tensor, None]:
        # The residual looks at the tensors' own memory: torch refuses here if one changed since.
        inputs, weights = ctx.saved_tensors
        if torch.is_grad_enabled():  # asked for a graph of the gradients: see _Gradients
            return *_Gradients.apply(inputs, weights, cotangents[0], ctx.executor), None  # type: ignore[no-untyped-call]
        by_inputs, by_weights = ctx.executor.backward(ctx.residual, _array(cotangents[0]))
        return torch.from_numpy(by_inputs), _like(by_weights, weights), None


class _Gradients(torch.autograd.Function):
    """The product itself, a node of its own so that a second derivative is refused in plain words."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ARG004
        inputs: Tensor,
        weights: Tensor,
        cotangent: Tensor,
        executor: Executor,
    ) -> tuple[Tensor, Tensor]:
        by_inputs, by_weights = executor.vjp(_array(inputs), _array(weights), _array(cotangent))
        return _like(by_inputs, inputs), _like(by_weights, weights)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[None, None, None, None]:  # noqa: ARG004
        raise BackendError(
            "A quantum layer must be differentiated once only",
            got="a second derivative (create_graph=True, then backward again)",
            fix="Take second-order terms by finite differences, or leave create_graph out",
        )


def _array(tensor: Tensor) -> FloatArray:
    array: FloatArray = tensor.numpy(force=True)
    return array


def _like(values: FloatArray, tensor: Tensor) -> Tensor:
    made = torch.from_numpy(values)
    return made if made.dtype == tensor.dtype and tensor.device.type == "cpu" else made.to(tensor)
