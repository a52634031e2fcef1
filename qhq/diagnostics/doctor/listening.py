"""Listening to quantum layers while a model runs: what goes in, what comes out, how often a circuit ran.

Any ``TorchConnector`` is a quantum layer, qhq's own as well as one over a user's ``EstimatorQNN``. The model
is not changed: hooks and counters are taken off again.

What stands between the encoder and the angles is read from torch's graph of the angles, where activations are
seen whether they are modules or functions, with the values they saved. A function counts by what it does,
whatever it is called: whatever is flat on one side is a ``relu`` (``relu6``, ``threshold``, ``clamp(min=0)``,
``maximum`` with a constant), on both sides a ``clamp``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from qiskit_machine_learning.connectors import TorchConnector
from torch import Tensor, nn

from qhq.errors import BackendError

# What an executor or a network may be asked for values by.
_VERBS = ("forward", "expectations", "expectations_on_device")


@dataclass
class Heard:
    """What one quantum layer did in one pass over the samples; one entry a call of it.

    Attributes:
        name: Of the layer in the model.
        layer: The layer.
        runs: How often a circuit was asked for values.
        angles: What went in, each (rows, I), radians; still in torch's graph.
        outputs: What came out, each (rows, O); still in torch's graph.
        activations: What stands before the encoding; of several calls with the rows of all of them.
    """

    name: str
    layer: nn.Module
    runs: int = 0
    angles: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    activations: list[Activation] = field(default_factory=list)
    _passed: set[Any] = field(default_factory=set)

    def hear(self, angles: Tensor) -> None:
        """Keep the angles of a call, and what stands before them."""
        self.angles.append(angles)
        # Now, and not after the backward pass, which frees what the graph saved. At a later step of a
        # sequence the graph leads back through the earlier ones, which were read. A ReLU counts wherever it
        # is, of the others those nearest to the encoding.
        way = _walk(angles.grad_fn, self._passed)
        found = [each for each in way if each.near or each.kind == "relu"]
        if len(found) != len(self.activations):
            self.activations += found
            return
        # A call at each step: an activation is closed, or folds, over all steps, not at the last one alone.
        for place, (earlier, each) in enumerate(zip(self.activations, found, strict=True)):
            self.activations[place] = earlier.extended(each)


def quantum_layers(model: nn.Module) -> dict[str, TorchConnector]:
    """The quantum layers of a model by name."""
    return {name: each for name, each in model.named_modules() if isinstance(each, TorchConnector)}


@contextmanager
def listen(model: nn.Module) -> Iterator[list[Heard]]:
    """Record each quantum layer inside the block."""
    with ExitStack() as stack:
        heard = [Heard(name, layer) for name, layer in quantum_layers(model).items()]
        for each in heard:
            stack.enter_context(_hooked(each))
        # Layers may share an executor, as those of a recurrent unit's gates do.
        shared: dict[int, list[Heard]] = {}
        for each in heard:
            shared.setdefault(id(_behind(each.layer)), []).append(each)
        for together in shared.values():
            stack.enter_context(_counted(together))
        yield heard


@contextmanager
def _hooked(heard: Heard) -> Iterator[None]:
    def listened(angles: Tensor) -> Tensor:
        # A view of its own: its gradient is that of the circuit alone, whatever else uses the angles.
        angles = angles.view_as(angles)
        heard.hear(angles)
        return angles

    def before(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not given or not isinstance(given[0], Tensor):
            return None
        return (listened(given[0]), *given[1:])

    def scaled(_: nn.Module, __: tuple[Any, ...], angles: Tensor) -> Tensor:
        return listened(angles)

    def after(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> None:
        heard.outputs.append(output)

    handles = [heard.layer.register_forward_hook(after)]
    scaling = getattr(heard.layer, "angle_scaling", None)
    if isinstance(scaling, nn.Module):  # the layer makes the angles itself
        handles.append(scaling.register_forward_hook(scaled))
    else:
        handles.append(heard.layer.register_forward_pre_hook(before))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _counted(together: list[Heard]) -> Iterator[None]:
    """Count calls by wrapping, for a while, the verbs of what stands behind layers.

    A call counts for the layer whose forward pass it is in.
    """
    behind, current = _behind(together[0].layer), together[0]

    def entering(heard: Heard) -> Callable[..., None]:
        def enter(*_: Any) -> None:
            nonlocal current
            current = heard

        return enter

    def wrap(verb: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            current.runs += 1
            return verb(*arguments, **options)

        return counted

    # One that stands in the instance itself is somebody's own wrapper: taking ours off would take that off
    # too.
    verbs = [name for name in _VERBS if callable(getattr(behind, name, None)) and name not in vars(behind)]
    for name in verbs:
        setattr(behind, name, wrap(getattr(behind, name)))
    handles = [each.layer.register_forward_pre_hook(entering(each)) for each in together]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for name in verbs:
            delattr(behind, name)


def _behind(layer: nn.Module) -> Any:
    """The executor of qhq's own layer, the network of any other."""
    network: Any = layer.neural_network
    try:
        return getattr(network, "executor", network)
    except BackendError:  # a closed layer: the forward pass will say so
        return network


@contextmanager
def with_outputs(layer: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let a layer answer with changed values inside the block."""
    handle = layer.register_forward_hook(lambda _, __, output: change(output))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def calm(model: nn.Module) -> Iterator[None]:
    """Run a model without dropout and leave its mode as it was, module by module."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        # cuDNN's recurrent layers refuse a backward pass in this mode; torch's own do not.
        with torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


_MOST_NODES = 4000

# Nodes that keep a column a column: an activation behind them still belongs to one input.
_PASSED = ("Mul", "Add", "Sub", "Div", "View", "Alias", "Clone", "Reshape", "UnsafeView", "ToCopy", "Expand")


def _walk(start: Any, seen: set[Any]) -> Iterator[Activation]:
    # A stack of its own: the graph of a long window is deeper than Python recurses.
    waiting, most = [(start, True)], len(seen) + _MOST_NODES
    while waiting and len(seen) < most:
        node, near = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        found = _read_activation(node, near=near)
        if found is not None:
            yield found
        stays = near and (found is not None or node.name().removesuffix("Backward0").endswith(_PASSED))
        waiting += [(each, stays) for each, _ in node.next_functions]


@dataclass(frozen=True)
class Activation:
    """An activation before the encoding.

    Attributes:
        kind: ``relu``, ``tanh``, ``sigmoid``, ``arctan``, ``erf``, ``sin``, ``cos`` or ``clamp``.
        near: Whether only elementwise steps lie between it and the angles.
        slopes: Its derivative over its largest one, shape (rows, columns).
        values: What it took, as ``sin`` and ``cos``, or what torch saved of it in its place; same shape.
    """

    kind: str
    near: bool
    slopes: Tensor
    values: Tensor

    def extended(self, other: Activation) -> Activation:
        """The same with the rows of another call; itself where the other is not the same one."""
        alike = self.kind == other.kind and self.near == other.near
        if not alike or self.slopes.shape[1:] != other.slopes.shape[1:]:
            return self
        slopes, values = torch.cat([self.slopes, other.slopes]), torch.cat([self.values, other.values])
        return Activation(self.kind, self.near, slopes, values)


# Kind, slopes and values.
_Slopes = tuple[str, Tensor, Tensor]


def _read_activation(node: Any, *, near: bool) -> Activation | None:
    """The activation that a node is; None if it is none."""
    reader = _READERS.get(node.name())
    found = reader(node) if reader else None
    if found is None:
        return None
    kind, slopes, values = found
    return Activation(kind, near, _rows(slopes), _rows(values))


def _rows(values: Tensor) -> Tensor:
    """As (rows, columns), the last dimension the columns."""
    return values.detach().reshape(-1, values.shape[-1]) if values.ndim else values.detach().reshape(1, 1)


def _of_result(kind: str, slope: Callable[[Tensor], Tensor]) -> Callable[[Any], _Slopes]:
    return lambda node: (kind, slope(node._saved_result), node._saved_result)


def _of_input(kind: str, slope: Callable[[Tensor], Tensor]) -> Callable[[Any], _Slopes]:
    return lambda node: (kind, slope(node._saved_self), node._saved_self)


def _limited(node: Any) -> _Slopes:
    """``clamp`` and its kin: open between two limits, of which one may be missing."""
    given: Tensor = node._saved_self
    low, high = _limit(node, "min", -math.inf), _limit(node, "max", math.inf)
    above, below = given > low, given < high
    bounded = bool(torch.isfinite(low).any() and torch.isfinite(high).any())
    from_zero = bool((low == 0).all() and below.all())  # relu6 at its lower end
    return "clamp" if bounded and not from_zero else "relu", (above & below).to(given.dtype), given


def _limit(node: Any, name: str, default: float) -> Tensor:
    found = (getattr(node, f"_saved_{each}", None) for each in (name, f"{name}_val"))
    return torch.as_tensor(next((each for each in found if each is not None), default))


def _threshold(node: Any) -> _Slopes:
    return "relu", (node._saved_self > node._saved_threshold).to(node._saved_self.dtype), node._saved_self


def _larger(node: Any) -> _Slopes | None:
    return _beside_constant(node, torch.gt)


def _smaller(node: Any) -> _Slopes | None:
    return _beside_constant(node, torch.lt)


def _beside_constant(node: Any, passes: Callable[[Tensor, Tensor], Tensor]) -> _Slopes | None:
    """The larger or smaller of a value and a constant; of two values neither is flat."""
    one, other = node._saved_self, node._saved_other
    first, second = (function is not None for function, _ in node.next_functions)
    if first and second:
        return None
    given, constant = (one, other) if first else (other, one)
    is_open = passes(given, constant)
    return "relu", is_open.to(given.dtype), given.expand_as(is_open)


# Node of torch's graph -> how it is read.
_READERS: dict[str, Callable[[Any], _Slopes | None]] = {
    "ReluBackward0": _of_result("relu", lambda result: (result > 0).to(result.dtype)),
    "ThresholdBackward0": _threshold,
    "MaximumBackward0": _larger,
    "MinimumBackward0": _smaller,
    "ClampBackward0": _limited,
    "ClampBackward1": _limited,
    "ClampMinBackward0": _limited,
    "ClampMaxBackward0": _limited,
    "HardtanhBackward0": _limited,
    "TanhBackward0": _of_result("tanh", lambda result: 1 - result**2),
    "SigmoidBackward0": _of_result("sigmoid", lambda result: 4 * result * (1 - result)),
    "HardsigmoidBackward0": _of_input("sigmoid", lambda given: (given.abs() < 3).to(given.dtype)),
    "AtanBackward0": _of_input("arctan", lambda given: 1 / (1 + given**2)),
    "ErfBackward0": _of_input("erf", lambda given: torch.exp(-(given**2))),
    "SinBackward0": _of_input("sin", lambda given: torch.cos(given).abs()),
    "CosBackward0": _of_input("cos", lambda given: torch.sin(given).abs()),
}
