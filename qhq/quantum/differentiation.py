"""How torch evaluates and differentiates an executor: autograd, ``torch.func`` and ``torch.compile``.

Four ways lead to the same numbers, and `differentiable_values` takes the shortest that the moment allows:

- off the CPU, the exact engine as torch operations;
- inside ``torch.compile``, and wherever a graph is recorded, an opaque operator: whatever looked into NumPy
  would take placeholder tensors for data, or today's values for constants;
- inside a transform of ``torch.func`` (``vmap``, ``grad``, ``jacrev``), `_Expectations`, which has a batching
  rule;
- else `_TwoPass`, whose backward sweep starts from the states of the forward one, or `_Expectations` for an
  executor that cannot do that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor

from qhq.backends.executor import Executor, FloatArray
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.errors import BackendError
from qhq.quantum.network import NETWORKS, ExecutorNetwork


class _TwoPassExecutor(Executor, Protocol):
    """An executor that can go back from where its forward pass ended."""

    def forward(self, inputs: FloatArray, weights: FloatArray) -> tuple[FloatArray, Any]:
        """Values (B, O), and what ``backward`` goes on from."""

    def backward(self, residual: Any, cotangent: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Pull a cotangent (B, O) back to inputs (B, I) and weights (W,)."""


def differentiable_values(network: ExecutorNetwork, rows: Tensor, weights: Tensor) -> Tensor:
    """Values (B, O) of angles (B, I) and weights (W,), in the dtype of the angles.

    They are differentiable once; on the exact engine any number of times, from the second on by the torch
    engine.

    Raises:
        BackendError: If the network is closed, or the backend fails.
    """
    executor = network.executor
    if rows.device.type != "cpu" and isinstance(executor, StatevectorExecutor):
        return executor.expectations_on_device(rows, weights)
    if is_recorded():
        _refuse_in_graphs()
        # By handle: the arguments of an operator are tensors and numbers, and no Python object.
        values: Tensor = _expectations_operator(rows, weights, network.handle, network.output_shape[0])
        return values
    network.hear(rows)
    if inside_transform():
        return _Expectations.apply(rows, weights, executor)  # type: ignore[no-any-return, no-untyped-call]
    # Neither a node of the graph, nor states that nobody goes back from.
    if not torch.is_grad_enabled():
        return _like(executor.expectations(array_of(rows), array_of(weights)), rows)
    function = _TwoPass if hasattr(executor, "forward") else _Expectations
    return function.apply(rows, weights, executor)  # type: ignore[no-any-return, no-untyped-call]


def is_recorded() -> bool:
    """Whether a compiler is at work, or ``make_fx`` or fake tensors, which torch does not count as one."""
    return torch.compiler.is_compiling() or _mode(_PROXY) is not None or _mode(_FAKE) is not None


_mode: Callable[[Any], object] = torch._C._get_dispatch_mode
_PROXY, _FAKE = torch._C._TorchDispatchModeKey.PROXY, torch._C._TorchDispatchModeKey.FAKE

# What ``Function.apply`` itself asks; `_TwoPass` has none of the rules that a transform needs, since
# handing its residual through them would cost as much as a small circuit.
inside_transform: Callable[[], bool] = torch._C._are_functorch_transforms_active


class _TwoPass(torch.autograd.Function):
    """Values (B, O) of an executor whose backward sweep starts from the states of the forward one."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weights: Tensor, executor: _TwoPassExecutor) -> Tensor:
        values, ctx.residual = executor.forward(array_of(inputs), array_of(weights))
        ctx.save_for_backward(inputs, weights)
        ctx.executor = executor
        return _like(values, inputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, Tensor, None]:
        # The residual looks at the tensors' own memory: torch refuses here if one changed since.
        inputs, weights = ctx.saved_tensors
        if torch.is_grad_enabled() or inside_transform():  # a graph of the gradients, or many cotangents
            return *_Gradients.apply(inputs, weights, cotangents[0], ctx.executor), None  # type: ignore[no-untyped-call]
        by_inputs, by_weights = ctx.executor.backward(ctx.residual, array_of(cotangents[0]))
        return _like(by_inputs, inputs), _like(by_weights, weights), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> NoReturn:  # noqa: ARG004
        _refuse_forward_mode()


class _Expectations(torch.autograd.Function):
    """Values (B, O) of any executor, with its vector-Jacobian product as derivative."""

    @staticmethod
    def forward(inputs: Tensor, weights: Tensor, executor: Executor) -> Tensor:
        return _like(executor.expectations(array_of(inputs), array_of(weights)), inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Executor], output: Tensor) -> None:  # noqa: ARG004
        rows, weights, ctx.executor = inputs
        ctx.save_for_backward(rows, weights)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, Tensor, None]:
        inputs, weights = ctx.saved_tensors
        return *_Gradients.apply(inputs, weights, cotangents[0], ctx.executor), None  # type: ignore[no-untyped-call]

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> NoReturn:  # noqa: ARG004
        _refuse_forward_mode()

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], inputs: Tensor, weights: Tensor, executor: Executor
    ) -> tuple[Tensor, int]:
        """N batches of angles are one larger batch; N sets of weights are N calls."""
        if in_dims[1] is None and in_dims[0] is not None:
            batches = inputs.movedim(in_dims[0], 0)
            rows = batches.reshape(-1, batches.shape[-1])
            values: Tensor = _Expectations.apply(rows, weights, executor)  # type: ignore[no-untyped-call]
            return values.reshape(*batches.shape[:2], values.shape[-1]), 0
        # The weights of a circuit are shared by a batch, in every executor: no larger batch would do.
        calls = _unstacked(info, in_dims, (inputs, weights))
        return torch.stack([_Expectations.apply(*each, executor) for each in calls]), 0  # type: ignore[no-untyped-call]


class _Gradients(torch.autograd.Function):
    """The product itself, a node of its own so that a second derivative is refused in plain words."""

    @staticmethod
    def forward(
        inputs: Tensor, weights: Tensor, cotangent: Tensor, executor: Executor
    ) -> tuple[Tensor, Tensor]:
        by_inputs, by_weights = executor.vjp(array_of(inputs), array_of(weights), array_of(cotangent))
        return _like(by_inputs, inputs), _like(by_weights, weights)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:  # noqa: ARG004
        *tensors, ctx.executor = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Go back once more: by torch's own operations, which torch can differentiate any number of times."""
        executor = ctx.executor
        if not isinstance(executor, StatevectorExecutor):
            _refuse_second_derivative("a second derivative (create_graph=True, then backward again)")

        def gradients(rows: Tensor, weights: Tensor, cotangent: Tensor) -> tuple[Tensor, ...]:
            # Two of three that torch's annotation has: the third is there with ``has_aux``.
            _, pull, *_ = torch.func.vjp(executor.expectations_on_device, rows, weights)
            pulled: tuple[Tensor, ...] = pull(cotangent)
            return pulled

        _, pull, *_ = torch.func.vjp(gradients, *ctx.saved_tensors)
        return *pull(cotangents), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> NoReturn:  # noqa: ARG004
        _refuse_second_derivative("a second derivative (torch.func.hessian, or jvp of grad)")

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        inputs: Tensor,
        weights: Tensor,
        cotangent: Tensor,
        executor: Executor,
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        """One product a member: each sums its gradient of the weights over rows of its own."""
        calls = _unstacked(info, in_dims, (inputs, weights, cotangent))
        pulled = [_Gradients.apply(*each, executor) for each in calls]  # type: ignore[no-untyped-call]
        by_inputs, by_weights = zip(*pulled, strict=True)
        return (torch.stack(by_inputs), torch.stack(by_weights)), (0, 0)


def _unstacked(
    info: Any, in_dims: tuple[int | None, ...], tensors: tuple[Tensor, ...]
) -> list[tuple[Tensor, ...]]:
    """Arguments of each member of a batch; what has no batch dimension is the same for all."""
    return [
        tuple(
            tensor if dim is None else tensor.select(dim, member)
            for tensor, dim in zip(tensors, in_dims, strict=False)
        )
        for member in range(info.batch_size)
    ]


# In a compiled graph. The schemas are spelled out, since torch cannot read annotations that are strings.


@torch.library.custom_op(
    "qhq::expectations",
    mutates_args=(),
    schema="(Tensor rows, Tensor weights, int handle, int outputs) -> Tensor",
)
def _expectations_operator(rows: Tensor, weights: Tensor, handle: int, outputs: int) -> Tensor:  # noqa: ARG001
    executor = _network(handle).executor
    return _like(executor.expectations(array_of(rows), array_of(weights)), rows)


@torch.library.custom_op(
    "qhq::gradients",
    mutates_args=(),
    schema="(Tensor rows, Tensor weights, Tensor cotangent, int handle) -> (Tensor, Tensor)",
)
def _gradients_operator(
    rows: Tensor, weights: Tensor, cotangent: Tensor, handle: int
) -> tuple[Tensor, Tensor]:
    executor = _network(handle).executor
    by_inputs, by_weights = executor.vjp(array_of(rows), array_of(weights), array_of(cotangent))
    return _like(by_inputs, rows), _like(by_weights, weights)


def _keep_arguments(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    rows, weights, ctx.handle, _ = inputs
    ctx.save_for_backward(rows, weights)


def _pull_back(ctx: Any, cotangent: Tensor) -> tuple[Tensor, Tensor, None, None]:
    return *_gradients_operator(*ctx.saved_tensors, cotangent, ctx.handle), None, None


_expectations_operator.register_fake(
    lambda rows, weights, handle, outputs: rows.new_empty(rows.shape[0], outputs)  # noqa: ARG005
)
_gradients_operator.register_fake(
    lambda rows, weights, cotangent, handle: (  # noqa: ARG005
        rows.new_empty(rows.shape),
        weights.new_empty(weights.shape),
    )
)
_expectations_operator.register_autograd(_pull_back, setup_context=_keep_arguments)


@_expectations_operator.register_vmap
def _expectations_of_batches(
    info: Any, in_dims: tuple[int | None, ...], rows: Tensor, weights: Tensor, handle: int, outputs: int
) -> tuple[Tensor, int]:
    """As `_Expectations.vmap`: without it torch asks for member after member, and warns of that."""
    if in_dims[1] is None and in_dims[0] is not None:
        batches = rows.movedim(in_dims[0], 0)
        flat: Tensor = _expectations_operator(
            batches.reshape(-1, batches.shape[-1]), weights, handle, outputs
        )
        return flat.reshape(*batches.shape[:2], outputs), 0
    calls = _unstacked(info, in_dims, (rows, weights))
    return torch.stack([_expectations_operator(*each, handle, outputs) for each in calls]), 0


def _refuse_second_derivative(got: str) -> NoReturn:
    raise BackendError(
        "A quantum layer must be differentiated once only, unless it stands on the exact engine",
        got=got,
        fix="Open it there for second-order terms, layer.open('statevector'), or leave create_graph out",
    )


def _refuse_forward_mode() -> NoReturn:
    raise BackendError(
        "A quantum layer must be differentiated in reverse mode",
        got="forward mode (torch.func.jvp, jacfwd or hessian)",
        fix="Use torch.func.vjp or jacrev; of second derivatives, jacrev(jacrev(f))",
    )


def _refuse_in_graphs() -> None:
    """Refuse what a recorded graph cannot have; a compiler runs this as it is, and passes its error on.

    Raises:
        BackendError: If the graph is to be exported, or ``torch.func`` takes a gradient inside it.
    """
    if torch.compiler.is_exporting():
        raise tracing_error("torch.export, whose program would name a backend of this process alone")
    levels = torch._functorch.pyfunctorch.retrieve_all_functorch_interpreters()
    if any(level.key() != torch._C._functorch.TransformType.Vmap for level in levels):
        raise BackendError(
            "In a compiled graph a quantum layer must be differentiated by autograd",
            got="torch.func.grad, vjp or jacrev together with torch.compile",
            fix="Call backward() on what the compiled function gives, or leave torch.compile out",
        )


# What torch.compiler.assume_constant_result sets. The decorator itself imports the whole compiler for it, a
# second of every command that opens a model.
_refuse_in_graphs._dynamo_marked_constant = True  # type: ignore[attr-defined]


def tracing_error(tracer: str) -> BackendError:
    """What a layer says to whoever writes its values down instead of running it."""
    return BackendError(
        "A quantum layer must run each time it is called",
        got=tracer,
        fix="Use torch.compile, or save the state_dict and build the layer again",
    )


def array_of(tensor: Tensor) -> FloatArray:
    """The tensor's own memory where it can be shared, else a copy of it.

    Raises:
        BackendError: If the tensor has none, as a placeholder of a compiler, or a sparse one.
    """
    try:
        array: FloatArray = tensor.numpy(force=True)
    except (RuntimeError, TypeError) as error:
        if tensor.dtype == torch.bfloat16:  # which NumPy does not have
            return array_of(tensor.float())
        if tensor.is_meta:
            raise BackendError(
                "The tensors of a quantum layer must hold data",
                got="one on the device 'meta', which has a shape alone",
                fix="Give weights and inputs a device: layer.to_empty(device='cpu'), then load_state_dict"
                " or torch.nn.init",
            ) from error
        said = str(error).rstrip(".")
        raise BackendError(
            "The tensors of a quantum layer must be plain dense ones that hold data",
            got=f"a {type(tensor).__name__} of layout {tensor.layout}, of which torch says: {said}",
            fix="Use to_dense(), torch.func in place of is_grads_batched and vectorize=True, or torch.compile"
            " in place of another tracer",
        ) from error
    return array


def _network(handle: int) -> ExecutorNetwork:
    network = NETWORKS.get(handle)
    if network is None:
        raise BackendError(
            "A compiled graph must run where its quantum layer is",
            got="one whose layer is gone, or belongs to another process",
            fix="Keep the layer, or build and compile it again",
        )
    return network


def _like(values: FloatArray, tensor: Tensor) -> Tensor:
    made = torch.from_numpy(values)
    # Not ``to`` in any case: it is asked in each step, and mostly there is nothing to change.
    return made if made.dtype == tensor.dtype and tensor.device.type == "cpu" else made.to(tensor)
