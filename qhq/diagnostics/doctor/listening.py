"""Listening to quantum layers while a model runs: what goes in, what comes out, how often a circuit ran.

Any ``TorchConnector`` is a quantum layer, qhq's own as well as one over a user's ``EstimatorQNN``. The model
is not changed: hooks and counters are taken off again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from qiskit_machine_learning.connectors import TorchConnector
from torch import Tensor, nn

from qhq.diagnostics.doctor.activations import Activation
from qhq.diagnostics.doctor.graph import find_activations
from qhq.errors import BackendError

_VERBS = ("forward", "expectations", "expectations_on_device")
"""What an executor or a network may be asked for values by."""


@dataclass
class Heard:
    """What one quantum layer did in one pass over the samples; one entry a call of it.

    Attributes:
        name: Of the layer in the model.
        layer: The layer.
        runs: How often a circuit was asked for values.
        angles: What went in, each (rows, I), radians; still in torch's graph.
        outputs: What came out, each (rows, O); still in torch's graph.
        activations: What stands before the encoding.
    """

    name: str
    layer: nn.Module
    runs: int = 0
    angles: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    activations: list[Activation] = field(default_factory=list)


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
            stack.enter_context(_counted(each))
        yield heard


@contextmanager
def _hooked(heard: Heard) -> Iterator[None]:
    def listened(angles: Tensor) -> Tensor:
        # A view of its own: its gradient is that of the circuit alone, whatever else uses the angles.
        angles = angles.view_as(angles)
        heard.angles.append(angles)
        heard.activations = find_activations(angles)
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
def _counted(heard: Heard) -> Iterator[None]:
    """Count calls by wrapping, for a while, the verbs of what stands behind the layer."""
    behind = _behind(heard.layer)

    def wrap(verb: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            heard.runs += 1
            return verb(*arguments, **options)

        return counted

    verbs = [name for name in _VERBS if callable(getattr(behind, name, None)) and name not in vars(behind)]
    for name in verbs:
        setattr(behind, name, wrap(getattr(behind, name)))
    try:
        yield
    finally:
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
